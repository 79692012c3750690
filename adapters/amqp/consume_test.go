package amqp_test

import (
	"testing"

	"portico/adapters/amqp/wire"

	client "github.com/rabbitmq/amqp091-go"
)

// filled declares a queue with the given messages and returns a channel on which it was done.
func filled(t testing.TB, d *door, queue string, texts ...string) *client.Channel {
	t.Helper()
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	declare(t, ch, queue)
	confirmed(t, ch, "", queue, texts...)
	return ch
}

// §1.8: the end of a connection, polite or not, returns everything; so does the end of a channel for what a cancelled consumer and basic.get hold.
func TestLostConnectionReturnsWhatItHolds(t *testing.T) {
	d := open(t)
	other := filled(t, d, "q", "1", "2", "3")
	p := d.peer(t, login{})
	p.open(1)
	p.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	want[*wire.BasicConsumeOk](p, 1)
	for range 3 {
		want[*wire.BasicDeliver](p, 1)
		p.content(1)
	}
	_ = p.nc.Close()
	eventually(t, "all are ready again", func() bool { return ready(t, other, "q") == 3 })

	ch := d.channel(t)
	must(t, ch.Qos(1, 0, false))
	ds := value(ch.Consume("q", "c", false, false, false, false, nil))(t)
	wantTexts(t, ds, "1")
	must(t, ch.Cancel("c", false))
	if _, ok, err := ch.Get("q", false); !ok || err != nil {
		t.Fatalf("get: %t, %v", ok, err)
	}
	if n := ready(t, other, "q"); n != 1 {
		t.Fatalf("%d ready, want 1", n)
	}
	must(t, ch.Close())
	if n := ready(t, other, "q"); n != 3 {
		t.Fatalf("%d ready, want 3", n)
	}
}

// §1.7: tags are the channel's; a second one is 530, a new one is made for "".
func TestConsumerTags(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, declareExclusive("q"))
	wantDeclared(p)
	p.send(1, &wire.BasicConsume{Queue: "q"}, &wire.BasicConsume{Queue: "q", ConsumerTag: "mine"})
	if m := want[*wire.BasicConsumeOk](p, 1); len(m.ConsumerTag) < 10 {
		t.Errorf("tag %q", m.ConsumerTag)
	}
	want[*wire.BasicConsumeOk](p, 1)
	p.open(2)
	p.send(2, &wire.BasicConsume{Queue: "q", ConsumerTag: "mine"})
	want[*wire.BasicConsumeOk](p, 2)
	p.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "mine"})
	if m := p.wantClose(wire.NotAllowed); m.ReplyText != "NOT_ALLOWED - attempt to reuse consumer tag 'mine'" {
		t.Errorf("text %q", m.ReplyText)
	}
}

// §1.7: a deleted queue cancels its consumers, if they want to know.
func TestConsumerCancelNotification(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "q")
	cancelled := ch.NotifyCancel(make(chan string, 1))
	ds := value(ch.Consume("q", "mine", false, false, false, false, nil))(t)
	publish(t, ch, "", "q", "held")
	held := next(t, ds)
	value(d.channel(t).QueueDelete("q", false, false, false))(t)
	if tag := receive(t, cancelled, "cancel"); tag != "mine" {
		t.Errorf("cancelled %q", tag)
	}
	must(t, held.Ack(false)) // the tag is known, there is nothing left to settle
	declare(t, ch, "q")
}

// §1.7: the same without the capability: no basic.cancel.
func TestNoCancelNotificationUnasked(t *testing.T) {
	d := open(t)
	p := d.peer(t, login{})
	p.open(1)
	p.send(1, declareExclusive("q"), &wire.BasicConsume{Queue: "q", ConsumerTag: "c"}, &wire.QueueDelete{Queue: "q"})
	wantDeclared(p)
	want[*wire.BasicConsumeOk](p, 1)
	want[*wire.QueueDeleteOk](p, 1)
	p.send(1, &wire.BasicQos{})
	want[*wire.BasicQosOk](p, 1)
}

// §1.8: recover returns everything unacknowledged.
func TestRecover(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, declareExclusive("q"))
	wantDeclared(p)
	p.write(append(publication(1, "", "q", []byte("1"), 4096), publication(1, "", "q", []byte("2"), 4096)...))
	p.send(1, &wire.BasicGet{Queue: "q"}, &wire.BasicGet{Queue: "q"}, &wire.BasicRecover{Requeue: true}, &wire.BasicGet{Queue: "q", NoAck: true})
	for range 2 {
		if m := want[*wire.BasicGetOk](p, 1); m.Redelivered {
			t.Error("redelivered at first")
		}
		p.content(1)
	}
	want[*wire.BasicRecoverOk](p, 1)
	if m := want[*wire.BasicGetOk](p, 1); !m.Redelivered || m.MessageCount != 1 {
		t.Errorf("get-ok %+v", m)
	}
	if _, body := p.content(1); string(body) != "1" {
		t.Errorf("body %q", body)
	}
}

// §1.7: get says how many are left, and when there is nothing.
func TestGet(t *testing.T) {
	d := open(t)
	ch := filled(t, d, "q", "1", "2")
	got, ok, err := ch.Get("q", false)
	if err != nil || !ok || string(got.Body) != "1" || got.MessageCount != 1 || got.RoutingKey != "q" {
		t.Fatalf("get: %t %v %+v", ok, err, got)
	}
	must(t, got.Ack(false))
	if got, ok, err = ch.Get("q", true); err != nil || !ok || string(got.Body) != "2" || got.MessageCount != 0 {
		t.Fatalf("get: %t %v %+v", ok, err, got)
	}
	if _, ok, err = ch.Get("q", true); err != nil || ok {
		t.Fatalf("get from an empty queue: %t, %v", ok, err)
	}
}

// Consumers of a channel are bounded.
func TestTooManyConsumers(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, declareExclusive("q"))
	wantDeclared(p)
	var b []byte
	for range 4097 {
		b = append(b, method(1, &wire.BasicConsume{Queue: "q", NoWait: true})...)
	}
	p.write(b)
	p.wantClose(wire.NotAllowed)
}
