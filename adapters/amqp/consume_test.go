package amqp_test

import (
	"fmt"
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

// §2.12: global=false limits each later consumer; a change does not reach those that are there.
func TestQosPerConsumer(t *testing.T) {
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
func TestQosGlobal(t *testing.T) {
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

// §2.8: what is requeued returns to where it was, in order, redelivered.
func TestRequeueKeepsPositions(t *testing.T) {
	d := open(t)
	filled(t, d, "q", "1", "2", "3", "4")
	ch := d.channel(t)
	must(t, ch.Qos(3, 0, false))
	ds := value(ch.Consume("q", "a", false, false, false, false, nil))(t)
	held := wantTexts(t, ds, "1", "2", "3")
	must(t, ch.Cancel("a", false))
	must(t, held[1].Nack(false, true))
	must(t, held[0].Reject(true))
	must(t, held[2].Nack(false, true))
	again := value(d.channel(t).Consume("q", "", false, false, false, false, nil))(t)
	for i, got := range wantTexts(t, again, "1", "2", "3", "4") {
		if want := i < 3; got.Redelivered != want {
			t.Errorf("%q redelivered %t, want %t", got.Body, got.Redelivered, want)
		}
	}
}

// §2.14: a channel's end returns what it holds before close-ok.
func TestChannelCloseReturnsWhatItHolds(t *testing.T) {
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

// §2.14: cancel-ok is a fence; what was delivered before stays with the channel and can be acknowledged.
func TestCancelIsAFence(t *testing.T) {
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

// §1.7, §2.25: an exclusive consumer is alone, until it goes.
func TestExclusiveConsumer(t *testing.T) {
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

// §1.8: tags, multiple, double acks.
func TestAcknowledgements(t *testing.T) {
	d := open(t)
	texts := []string{"1", "2", "3", "4", "5", "6"}
	other := filled(t, d, "q", texts...)
	conn := d.dial(t)
	ch := channelOf(t, conn)
	ds := value(ch.Consume("q", "", false, false, false, false, nil))(t)
	held := wantTexts(t, ds, texts...)
	must(t, held[3].Ack(false))
	must(t, held[2].Ack(true))
	must(t, ch.Ack(0, true))
	must(t, ch.Ack(0, true)) // nothing outstanding is no error
	if q := value(ch.QueueDeclarePassive("q", false, false, false, false, nil))(t); q.Messages != 0 {
		t.Fatalf("%d ready", q.Messages)
	}
	closed := ch.NotifyClose(make(chan *client.Error, 1))
	must(t, held[3].Ack(false))
	wantCode(t, receive(t, closed, "close"), 406, "PRECONDITION_FAILED - unknown delivery tag 4")
	if n := ready(t, other, "q"); n != 0 {
		t.Errorf("%d came back", n)
	}
}

// §2.6: a no_ack delivery has no tag to acknowledge.
func TestAckOfANoAckDelivery(t *testing.T) {
	d := open(t)
	filled(t, d, "q", "1")
	ch := d.channel(t)
	closed := ch.NotifyClose(make(chan *client.Error, 1))
	got := next(t, value(ch.Consume("q", "", true, false, false, false, nil))(t))
	must(t, ch.Ack(got.DeliveryTag, false))
	wantCode(t, receive(t, closed, "close"), 406, "")
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

// §2.13: without a prefetch a client that does not read holds what fits on its way, not the queue.
func TestUnlimitedPrefetchIsBoundedByTheSocket(t *testing.T) {
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

// §2.25: equal consumers take turns.
func TestConsumersTakeTurns(t *testing.T) {
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

// A consumer's priority is an integer.
func TestConsumerPriorityIsChecked(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "q")
	value(ch.Consume("q", "", true, false, false, false, client.Table{"x-priority": int8(-3), "x-unknown": "ignored"}))(t)
	_, err := ch.Consume("q", "", true, false, false, false, client.Table{"x-priority": "5"})
	wantCode(t, err, 406, "PRECONDITION_FAILED - invalid arg 'x-priority' for queue 'q' in vhost '/': an integer is expected")
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
