package amqp_test

import (
	"fmt"
	"testing"

	"portico/adapters/amqp/wire"

	client "github.com/rabbitmq/amqp091-go"
)

// §2.12: global=false limits each later consumer; a change does not reach those that are there.
func TestBehaviour12QosPerConsumer(t *testing.T) {
	d := open(t)
	filled(t, d, "q", "1", "2", "3", "4", "5", "6")
	ch := d.channel(t)
	must(t, ch.Qos(2, 0, false))
	a := value(ch.Consume("q", "a", false, false, false, false, nil))(t)
	first := wantTexts(t, a, "1", "2")
	must(t, ch.Qos(3, 0, false))
	if n := ready(t, ch, "q"); n != 4 {
		t.Fatalf("%d ready, want 4: the prefetch of a consumer has changed", n)
	}
	b := value(ch.Consume("q", "b", false, false, false, false, nil))(t)
	wantTexts(t, b, "3", "4", "5")
	must(t, first[0].Ack(false))
	wantTexts(t, a, "6")
}

// §2.12: global=true is shared by all consumers of the channel, counts what is there, and leaves get and no_ack alone.
func TestBehaviour12QosGlobal(t *testing.T) {
	d := open(t)
	filled(t, d, "p", "p1", "p2", "p3", "p4")
	filled(t, d, "q", "q1", "q2", "q3", "q4")
	ch := d.channel(t)
	must(t, ch.Qos(3, 0, true))
	got := make(chan client.Delivery, 16)
	for _, queue := range []string{"p", "q"} {
		ds := value(ch.Consume(queue, "", false, false, false, false, nil))(t)
		go func() {
			for d := range ds {
				got <- d
			}
		}()
	}
	held := []client.Delivery{next(t, got), next(t, got), next(t, got)}
	if n := ready(t, ch, "p") + ready(t, ch, "q"); n != 5 {
		t.Fatalf("%d ready, want 5", n)
	}
	if _, ok, err := ch.Get("q", true); err != nil || !ok {
		t.Fatalf("get: %t, %v", ok, err)
	}
	must(t, held[0].Ack(false))
	next(t, got)
	if n := ready(t, ch, "p") + ready(t, ch, "q"); n != 3 {
		t.Fatalf("%d ready, want 3", n)
	}
}

// §2.13: without a prefetch a client that does not read holds what fits on its way, not the queue.
func TestBehaviour13UnlimitedPrefetchIsBoundedByTheSocket(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	declare(t, ch, "q")
	const n = 2000
	body := make([]byte, 32<<10)
	for range n {
		must(t, ch.PublishWithContext(t.Context(), "", "q", false, false, client.Publishing{Body: body}))
	}
	eventually(t, "all are there", func() bool { return ready(t, ch, "q") == n })
	p := d.peer(t, login{})
	p.open(1)
	p.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	last := -1
	eventually(t, "deliveries stop", func() bool {
		now := ready(t, ch, "q")
		same := now == last
		last = now
		return same && now < n
	})
	if last < n/2 {
		t.Fatalf("only %d of %d are left in the queue", last, n)
	}
	want[*wire.BasicConsumeOk](p, 1)
	for range n {
		want[*wire.BasicDeliver](p, 1)
		p.content(1)
	}
}

// §2.14: cancel-ok is a fence; what was delivered before stays with the channel and can be acknowledged.
func TestBehaviour14CancelIsAFence(t *testing.T) {
	d := open(t)
	texts := make([]string, 500)
	for i := range texts {
		texts[i] = fmt.Sprint(i)
	}
	filled(t, d, "q", texts[:100]...)
	p := d.peer(t, login{})
	p.open(1)
	p.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"}, &wire.BasicCancel{ConsumerTag: "c"}, &wire.QueueDeclare{Queue: "q", Passive: true})
	want[*wire.BasicConsumeOk](p, 1)
	delivered := 0
	for {
		f := p.frame()
		if f.Type != wire.FrameMethod {
			continue
		}
		id, _ := wire.PeekMethod(f.Payload)
		if id == wire.IDBasicDeliver {
			delivered++
			continue
		}
		if id != wire.IDBasicCancelOk {
			t.Fatalf("frame %s", wire.Trace(f))
		}
		break
	}
	if m := wantDeclared(p); int(m.MessageCount) != 100-delivered || m.ConsumerCount != 0 {
		t.Fatalf("%d ready and %d consumers after %d deliveries", m.MessageCount, m.ConsumerCount, delivered)
	}
	p.send(1, &wire.BasicAck{Multiple: true}, &wire.QueueDeclare{Queue: "q", Passive: true})
	if m := wantDeclared(p); int(m.MessageCount) != 100-delivered {
		t.Fatalf("%d ready", m.MessageCount)
	}
}

// §2.14: a channel's end returns what it holds before close-ok.
func TestBehaviour14ChannelCloseReturnsWhatItHolds(t *testing.T) {
	d := open(t)
	other := filled(t, d, "q", "1", "2", "3")
	for range 10 {
		ch := d.channel(t)
		ds := value(ch.Consume("q", "", false, false, false, false, nil))(t)
		wantTexts(t, ds, "1", "2", "3")
		must(t, ch.Close())
		if n := ready(t, other, "q"); n != 3 {
			t.Fatalf("%d ready after close-ok, want 3", n)
		}
	}
	got, ok, err := other.Get("q", true)
	if err != nil || !ok || !got.Redelivered {
		t.Fatalf("get: %t, redelivered %t, %v", ok, got.Redelivered, err)
	}
}

// §1.7, §2.25: an exclusive consumer is alone, until it goes.
func TestBehaviour25ExclusiveConsumer(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "q")
	value(ch.Consume("q", "only", false, true, false, false, nil))(t)
	_, err := d.channel(t).Consume("q", "", false, false, false, false, nil)
	wantCode(t, err, 403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use")
	must(t, ch.Cancel("only", false))
	value(ch.Consume("q", "shared", false, false, false, false, nil))(t)
	_, err = d.channel(t).Consume("q", "", false, true, false, false, nil)
	wantCode(t, err, 403, "")
	must(t, ch.Close())
	value(d.channel(t).Consume("q", "", false, true, false, false, nil))(t)
}

// §2.25: equal consumers take turns.
func TestBehaviour25ConsumersTakeTurns(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	declare(t, ch, "q")
	var all [3]<-chan client.Delivery
	for i := range all {
		all[i] = value(ch.Consume("q", fmt.Sprint(i), true, false, false, false, nil))(t)
	}
	for i := range 30 {
		confirmed(t, ch, "", "q", fmt.Sprint(i))
	}
	for _, ds := range all {
		for range 10 {
			next(t, ds)
		}
	}
}
