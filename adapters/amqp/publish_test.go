package amqp_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"portico/adapters/amqp/wire"

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

// §2.10, §2.11: a return precedes its ack, and the unroutable is acknowledged.
func TestReturnPrecedesAck(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, &wire.ConfirmSelect{})
	want[*wire.ConfirmSelectOk](p, 1)
	b := method(1, &wire.BasicPublish{Exchange: "amq.direct", RoutingKey: "nobody", Mandatory: true})
	props := wire.Properties{ContentType: "text/plain", MessageID: "m"}
	b = wire.AppendHeader(b, 1, wire.ClassBasic, 3, props.Append(nil))
	p.write(wire.AppendBody(b, 1, []byte("one"), 4096))
	m := want[*wire.BasicReturn](p, 1)
	if m.ReplyCode != wire.NoRoute || m.ReplyText != "NO_ROUTE" || m.Exchange != "amq.direct" || m.RoutingKey != "nobody" {
		t.Errorf("return %+v", m)
	}
	raw, body := p.content(1)
	if !bytes.Equal(raw, props.Append(nil)) || string(body) != "one" {
		t.Errorf("content %x %q", raw, body)
	}
	if ack := want[*wire.BasicAck](p, 1); ack.DeliveryTag != 1 || ack.Multiple {
		t.Errorf("ack %+v", ack)
	}
	p.write(publication(1, "", "nobody", []byte("two"), 4096))
	if ack := want[*wire.BasicAck](p, 1); ack.DeliveryTag != 2 {
		t.Errorf("ack %+v", ack)
	}
}

// §1.6: sequence numbers start with confirm.select; each is confirmed once, whatever it met: a queue, several, none.
func TestEveryPublishIsConfirmedOnce(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	value(ch.QueueDeclare("durable", true, false, false, false, nil))(t)
	for _, q := range []string{"durable", declare(t, ch, "transient").Name} {
		must(t, ch.QueueBind(q, "", "amq.fanout", false, nil))
	}
	p := d.peer(t, login{})
	p.open(1)
	p.write(publication(1, "", "transient", []byte("before"), 4096))
	p.send(1, &wire.ConfirmSelect{})
	want[*wire.ConfirmSelectOk](p, 1)
	const n = 3000
	go func() {
		for i := range n {
			to := [][2]string{{"", "durable"}, {"", "transient"}, {"amq.fanout", ""}, {"", "nobody"}}[i%4]
			if _, err := p.nc.Write(publication(1, to[0], to[1], []byte("x"), 4096)); err != nil {
				return
			}
		}
	}()
	seen := make(map[uint64]bool, n)
	first := uint64(1)
	for len(seen) < n {
		ack := want[*wire.BasicAck](p, 1)
		if ack.DeliveryTag == 0 || ack.DeliveryTag > n {
			t.Fatalf("ack %+v", ack)
		}
		if !ack.Multiple {
			if seen[ack.DeliveryTag] {
				t.Fatalf("%d is confirmed twice", ack.DeliveryTag)
			}
			seen[ack.DeliveryTag] = true
			continue
		}
		for ; first <= ack.DeliveryTag; first++ {
			seen[first] = true
		}
	}
	if got := ready(t, ch, "durable"); got != n/2 {
		t.Errorf("%d in the durable queue, want %d", got, n/2)
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

// §1.6: what a server looks at in the properties.
func TestPropertyChecks(t *testing.T) {
	d := open(t)
	for name, p := range map[string]client.Publishing{
		"expiration not a number": {Expiration: "abc"},
		"expiration negative":     {Expiration: "-1"},
		"expiration empty sign":   {Expiration: "+1"},
		"expiration too long":     {Expiration: "315360000001"},
		"user-id of another":      {UserId: "somebody"},
		"CC not a list":           {Headers: client.Table{"CC": "q"}},
		"BCC not of strings":      {Headers: client.Table{"BCC": []any{int32(1)}}},
	} {
		t.Run(name, func(t *testing.T) {
			ch := d.channel(t)
			closed := ch.NotifyClose(make(chan *client.Error, 1))
			must(t, ch.PublishWithContext(t.Context(), "", "q", false, false, p))
			wantCode(t, receive(t, closed, "close"), 406, "")
		})
	}
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	declare(t, ch, "q")
	for _, p := range []client.Publishing{{Expiration: "60000"}, {UserId: "guest"}, {Expiration: "0"}} {
		must(t, ch.PublishWithContext(t.Context(), "", "q", false, false, p))
	}
	eventually(t, "all are taken", func() bool { return ready(t, ch, "q") == 3 })
}

// §1.6, §2.20: CC and BCC name further keys; BCC is taken off; a queue gets one copy.
func TestCopies(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	var ds []<-chan client.Delivery
	for _, q := range []string{"to", "cc", "bcc"} {
		declare(t, ch, q)
		ds = append(ds, value(ch.Consume(q, "", true, false, false, false, nil))(t))
	}
	must(t, ch.PublishWithContext(t.Context(), "", "to", false, false, client.Publishing{
		Headers: client.Table{"CC": []any{"cc", "to"}, "BCC": []any{"bcc"}, "n": int32(1)}, Body: []byte("x"),
	}))
	for _, c := range ds {
		got := next(t, c)
		if _, there := got.Headers["BCC"]; there || got.Headers["n"] != int32(1) || got.Headers["CC"] == nil || got.RoutingKey != "to" {
			t.Errorf("headers %v, key %q", got.Headers, got.RoutingKey)
		}
		wantNone(t, c)
	}
}

// §2.18: properties come out octet for octet, through a durable queue, too.
func TestPropertiesAreUntouched(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	value(ch.QueueDeclare("q", true, false, false, false, nil))(t)
	p := d.peer(t, login{})
	p.open(1)
	props := wire.Properties{
		Flags: wire.FlagContentType | wire.FlagReplyTo | wire.FlagTimestamp, Priority: 3, DeliveryMode: 2, CorrelationID: "\xff\x00", Timestamp: time.Unix(1, 0),
		Headers: wire.Table{"nested": wire.Table{"a": []any{nil, int8(-1), uint16(7), 1.5}}, "x": []byte{0, 1}, "d": wire.Decimal{Scale: 2, Value: 5}},
	}
	raw := props.Append(nil)
	b := method(1, &wire.BasicPublish{RoutingKey: "q"})
	p.write(wire.AppendHeader(b, 1, wire.ClassBasic, 0, raw))
	p.send(1, &wire.BasicConsume{Queue: "q", NoAck: true})
	want[*wire.BasicConsumeOk](p, 1)
	want[*wire.BasicDeliver](p, 1)
	if got, _ := p.content(1); !bytes.Equal(got, raw) {
		t.Fatalf("properties %x came as %x", raw, got)
	}
}

// §2.11: a queue that is deleted while confirms are due.
func TestConfirmsOfADeletedQueue(t *testing.T) {
	d := open(t)
	p := d.peer(t, login{})
	p.open(1)
	p.send(1, &wire.ConfirmSelect{}, &wire.QueueDeclare{Queue: "q", Durable: true})
	want[*wire.ConfirmSelectOk](p, 1)
	wantDeclared(p)
	var b []byte
	for range 200 {
		b = append(b, publication(1, "", "q", []byte("x"), 4096)...)
	}
	b = append(b, method(1, &wire.QueueDelete{Queue: "q"})...)
	for range 10 {
		b = append(b, publication(1, "", "q", []byte("x"), 4096)...)
	}
	go func() { _, _ = p.nc.Write(b) }()
	for confirmedTo := uint64(0); confirmedTo < 210; {
		f := p.frame()
		switch id, _ := wire.PeekMethod(f.Payload); id {
		case wire.IDBasicAck:
			tag, _, err := wire.DecodeAck(f.Payload)
			must(t, err)
			confirmedTo = max(confirmedTo, tag)
		case wire.IDQueueDeleteOk:
		default:
			t.Fatalf("frame %s", wire.Trace(f))
		}
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
