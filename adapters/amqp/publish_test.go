package amqp_test

import (
	"bytes"
	"fmt"
	"testing"

	"portico/core"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.6: confirms, one per publish; what was confirmed is in the queue.
func TestPublishConfirmConsumeAck(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	value(ch.QueueDeclare("jobs", true, false, false, false, nil))(t)
	must(t, ch.Confirm(false))
	confirmed(t, ch, "", "jobs", "one", "two", "three")
	if n := ready(t, ch, "jobs"); n != 3 {
		t.Fatalf("%d ready, want 3", n)
	}
	ds := value(ch.Consume("jobs", "", false, false, false, false, nil))(t)
	for _, got := range wantTexts(t, ds, "one", "two", "three") {
		if got.Redelivered {
			t.Errorf("%q is redelivered", got.Body)
		}
		must(t, got.Ack(false))
	}
	if q := value(ch.QueueDeclarePassive("jobs", true, false, false, false, nil))(t); q.Messages != 0 || q.Consumers != 1 {
		t.Fatalf("queue has %d messages and %d consumers, want 0 and 1", q.Messages, q.Consumers)
	}
}

// §1.6: publishing to an exchange that is not there ends the channel; what was published before is kept.
func TestPublishToAMissingExchange(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "q")
	closed := ch.NotifyClose(make(chan *client.Error, 1))
	publish(t, ch, "", "q", "before")
	publish(t, ch, "nowhere", "q", "refused")
	wantCode(t, receive(t, closed, "close"), 404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'")
	if n := ready(t, d.channel(t), "q"); n != 1 {
		t.Errorf("%d ready, want 1", n)
	}
}

// §1.6: properties that a server looks at and lets pass. What it does not is in TestCode_406_Precondition.
func TestPropertiesThatPass(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "q", nil)
	for name, p := range map[string]client.Publishing{
		"expiration":        {Expiration: "60000"},
		"expiration, sign":  {Expiration: "+60000"},
		"expiration, zeros": {Expiration: "0060000"},
		"ten years":         {Expiration: "315360000000"},
		"own user-id":       {UserId: "guest"},
		"CC of nothing":     {Headers: client.Table{"CC": []any{}, "BCC": []any{}}},
		"CC of numbers":     {Headers: client.Table{"CC": []any{int32(1)}, "BCC": []any{int32(1)}}},
		"priority":          {Priority: 255},
	} {
		t.Run(name, func(t *testing.T) {
			put(t, ch, "", "q", p)
			if got := get(t, ch, "q"); got.Expiration != p.Expiration || got.UserId != p.UserId || got.Priority != p.Priority {
				t.Errorf("came as %+v", got)
			}
		})
	}
}

// Publishing more than the window holds, to a queue nobody reads, goes on: the window is of what is not kept yet.
func TestLargeMessagesThroughTheWindow(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	value(ch.QueueDeclare("q", true, false, false, false, nil))(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 4<<16) // 4 MiB
	for i := range 8 {
		body[0] = byte('a' + i)
		must(t, ch.PublishWithContext(t.Context(), "", "q", false, false, client.Publishing{Body: body}))
	}
	ds := value(ch.Consume("q", "", true, false, false, false, nil))(t)
	for i := range 8 {
		if got := next(t, ds); len(got.Body) != len(body) || got.Body[0] != byte('a'+i) || !bytes.Equal(got.Body[1:], body[1:]) {
			t.Fatalf("message %d: %d octets beginning %q", i, len(got.Body), got.Body[:1])
		}
	}
}

// The largest message that can be configured, as large as RabbitMQ's default, goes through a durable queue and to whoever listens on the bus.
func TestLargestMessage(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a gigabyte")
	}
	const limit = 128 << 20
	d := open(t, func(c *core.Config) { c.MaxMessage = limit })
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	value(ch.QueueDeclare("q", true, false, false, false, nil))(t)
	must(t, ch.QueueBind("q", "large", "amq.topic", false, nil))
	heard := make(chan *core.Message, 1)
	s, err := d.gateway.System().Subscribe("large", "", func(m *core.Message) { heard <- m })
	must(t, err)
	defer s.Unsubscribe()
	body := bytes.Repeat([]byte("0123456789abcdef"), (limit-1024)/16)
	confirm := value(ch.PublishWithDeferredConfirmWithContext(t.Context(), "amq.topic", "large", false, false, client.Publishing{DeliveryMode: client.Persistent, Body: body}))(t)
	if ok, err := confirm.WaitContext(t.Context()); !ok || err != nil {
		t.Fatalf("confirmed: %v %v", ok, err)
	}
	m := <-heard
	if !bytes.Equal(m.Data, body) {
		t.Errorf("the bus carried %d octets of %d", len(m.Data), len(body))
	}
	got, _, err := ch.Get("q", true)
	must(t, err)
	if !bytes.Equal(got.Body, body) {
		t.Errorf("the queue gave %d octets of %d", len(got.Body), len(body))
	}
}

// Routes that a channel remembers are forgotten when the topology changes.
func TestRoutesFollowTheTopology(t *testing.T) {
	d := open(t)
	ch, other := d.channel(t), d.channel(t)
	must(t, ch.Confirm(false))
	declare(t, other, "a")
	declare(t, other, "b")
	for i := range 20 {
		must(t, other.QueueBind("a", "k", "amq.direct", false, nil))
		confirmed(t, ch, "amq.direct", "k", fmt.Sprint(i))
		must(t, other.QueueUnbind("a", "k", "amq.direct", nil))
		must(t, other.QueueBind("b", "k", "amq.direct", false, nil))
		confirmed(t, ch, "amq.direct", "k", fmt.Sprint(i))
		must(t, other.QueueUnbind("b", "k", "amq.direct", nil))
		confirmed(t, ch, "amq.direct", "k", "nobody")
		confirmed(t, ch, "", "c", "nobody")
		declare(t, other, "c")
		confirmed(t, ch, "", "c", "somebody")
		if n := value(other.QueueDelete("c", false, false, false))(t); n != 1 {
			t.Fatalf("%d in the new queue", n)
		}
	}
	if a, b := ready(t, other, "a"), ready(t, other, "b"); a != 20 || b != 20 {
		t.Fatalf("%d and %d, want 20 each", a, b)
	}
}
