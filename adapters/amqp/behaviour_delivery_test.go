package amqp_test

import (
	"testing"

	"portico/adapters/amqp/wire"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.8: tags, multiple, double acks.
func TestBehaviour06Acknowledgements(t *testing.T) {
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
func TestBehaviour06AckOfANoAckDelivery(t *testing.T) {
	d := open(t)
	filled(t, d, "q", "1")
	ch := d.channel(t)
	closed := ch.NotifyClose(make(chan *client.Error, 1))
	got := next(t, value(ch.Consume("q", "", true, false, false, false, nil))(t))
	must(t, ch.Ack(got.DeliveryTag, false))
	wantCode(t, receive(t, closed, "close"), 406, "")
}

// §2.8: what is requeued returns to where it was, in order, redelivered.
func TestBehaviour08RequeueKeepsPositions(t *testing.T) {
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

// §2.6: a tag is known to its channel, once: acknowledged twice, on another channel, or above all there are, it closes the channel.
func TestBehaviour06UnknownTags(t *testing.T) {
	d := open(t)
	for name, c := range map[string]struct {
		first, then wire.Method
		tag         string
		channel     uint16 // of then; 0: 1
	}{
		"acked twice":                {&wire.BasicAck{DeliveryTag: 1}, &wire.BasicAck{DeliveryTag: 1}, "1", 0},
		"acked, then rejected":       {&wire.BasicAck{DeliveryTag: 1}, &wire.BasicReject{DeliveryTag: 1}, "1", 0},
		"below a multiple":           {&wire.BasicNack{DeliveryTag: 2, Multiple: true, Requeue: true}, &wire.BasicNack{DeliveryTag: 1}, "1", 0},
		"multiple above the highest": {nil, &wire.BasicAck{DeliveryTag: 4, Multiple: true}, "4", 0},
		"nothing, multiple":          {&wire.BasicAck{Multiple: true}, &wire.BasicAck{DeliveryTag: 3, Multiple: true}, "3", 0},
		"zero alone":                 {nil, &wire.BasicAck{}, "0", 0},
		"zero, reject":               {nil, &wire.BasicReject{}, "0", 0},
		"of a no_ack get":            {&wire.BasicGet{NoAck: true}, &wire.BasicAck{DeliveryTag: 4}, "4", 0},
		"of another channel":         {nil, &wire.BasicAck{DeliveryTag: 1}, "1", 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := d.peer(t, login{})
			p.open(1)
			p.open(2)
			p.declared(declareExclusive(""))
			q := p.declared(declareExclusive("")).Queue
			for range 4 {
				p.write(publication(1, "", q, []byte("x"), 4096))
			}
			for range 3 {
				p.send(1, &wire.BasicGet{})
				want[*wire.BasicGetOk](p, 1)
				p.content(1)
			}
			if c.first != nil {
				p.send(1, c.first)
			}
			if _, gets := c.first.(*wire.BasicGet); gets {
				want[*wire.BasicGetOk](p, 1)
				p.content(1)
			}
			channel := max(c.channel, 1)
			p.send(channel, c.then)
			if m := p.wantChannelClose(channel, 406); m.ReplyText != "PRECONDITION_FAILED - unknown delivery tag "+c.tag {
				t.Errorf("text %q", m.ReplyText)
			}
		})
	}
}

// §2.8: several that are returned together keep their order, with a consumer waiting, too.
func TestBehaviour08RequeueOfMany(t *testing.T) {
	d := open(t)
	filled(t, d, "q", "1", "2", "3", "4")
	for name, back := range map[string]func(*client.Channel) error{
		"nack multiple": func(ch *client.Channel) error { return ch.Nack(0, true, true) },
		"recover":       func(ch *client.Channel) error { return ch.Recover(true) },
	} {
		t.Run(name, func(t *testing.T) {
			ch := d.channel(t)
			must(t, ch.Qos(3, 0, false))
			ds := value(ch.Consume("q", "", false, false, false, false, nil))(t)
			wantTexts(t, ds, "1", "2", "3")
			must(t, back(ch))
			for _, got := range wantTexts(t, ds, "1", "2", "3") {
				if !got.Redelivered {
					t.Errorf("%q is not redelivered", got.Body)
				}
			}
			must(t, ch.Close())
		})
	}
}

// §2.9: redelivered is false until a message has been with somebody, and true from then on: by requeue, recover, a lost channel, basic.get; a dead letter
// begins anew.
func TestBehaviour09RedeliveredIsExact(t *testing.T) {
	d := open(t)
	ch := d.confirming(t)
	transient(t, ch, "letters", nil)
	transient(t, ch, "q", letters("letters", client.Table{"x-max-priority": int32(3)}))
	putLeveled(t, ch, "q", leveled{"low", 1}, leveled{"high", 3}, leveled{"none", 0})
	expect := func(queue, text string, redelivered bool) client.Delivery {
		t.Helper()
		got := hold(t, ch, queue)
		if string(got.Body) != text || got.Redelivered != redelivered {
			t.Fatalf("%s gives %q, redelivered %t; want %q, %t", queue, got.Body, got.Redelivered, text, redelivered)
		}
		return got
	}
	must(t, expect("q", "high", false).Nack(false, true))
	expect("q", "high", true)
	must(t, ch.Recover(true))
	got := expect("q", "high", true)
	must(t, got.Reject(false))
	awaitReady(t, ch, "letters", 1)
	must(t, expect("letters", "high", false).Ack(false))
	other := d.channel(t)
	hold(t, other, "q")
	must(t, other.Close())
	must(t, expect("q", "low", true).Ack(false))
	must(t, expect("q", "none", false).Ack(false))
}

// §2.9: over a restart, what had been delivered is redelivered, and nothing else.
func TestBehaviour09RedeliveredOverARestart(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.confirming(t)
	durable(t, ch, "q", nil)
	confirmed(t, ch, "", "q", "held", "returned", "untouched")
	hold(t, ch, "q")
	must(t, hold(t, ch, "q").Nack(false, true))
	for _, got := range drained(t, d.restart(t, dir).channel(t), "q", "held", "returned", "untouched") {
		if want := string(got.Body) != "untouched"; got.Redelivered != want {
			t.Errorf("%q: redelivered %t", got.Body, got.Redelivered)
		}
	}
}

// §2.15: what counts is ready, and in order with what one has done oneself: publishes that are confirmed, gets, acks, purges, deletions.
func TestBehaviour15CountersAreOfReadyMessages(t *testing.T) {
	d := open(t)
	ch := d.confirming(t)
	transient(t, ch, "q", nil)
	for n := range 20 {
		confirmed(t, ch, "", "q", "x")
		if got := ready(t, ch, "q"); got != n+1 {
			t.Fatalf("%d ready after %d confirms", got, n+1)
		}
	}
	for left := uint32(19); left > 15; left-- {
		if got := hold(t, ch, "q"); got.MessageCount != left {
			t.Fatalf("get says %d are left, want %d", got.MessageCount, left)
		}
	}
	must(t, ch.Ack(0, true))
	if q := value(ch.QueueDeclarePassive("q", false, false, false, false, nil))(t); q.Messages != 16 || q.Consumers != 0 {
		t.Errorf("%d ready, %d consumers", q.Messages, q.Consumers)
	}
	hold(t, ch, "q")
	if n := value(ch.QueuePurge("q", false))(t); n != 15 {
		t.Errorf("purged %d", n)
	}
	must(t, ch.Nack(0, true, true))
	if n := ready(t, ch, "q"); n != 1 {
		t.Errorf("%d ready after the return", n)
	}
	value(ch.Consume("q", "", false, false, false, false, nil))(t)
	eventually(t, "the consumer has it", func() bool { return ready(t, ch, "q") == 0 })
	if n := value(ch.QueueDelete("q", false, false, false))(t); n != 0 {
		t.Errorf("deleted %d", n)
	}
}

// §2.25: an exclusive consumer's place is free when its channel or connection has gone; equal consumers take turns, lower ones wait until the higher
// have no room (TestConsumerPriority), and of single active ones the next takes over (TestSingleActiveConsumerTakesTurns).
func TestBehaviour25ExclusiveSACPriority(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	transient(t, ch, "q", nil)
	for name, leave := range map[string]func(p *peer){
		"cancel": func(p *peer) {
			p.send(1, &wire.BasicCancel{ConsumerTag: "only"})
			want[*wire.BasicCancelOk](p, 1)
		},
		"channel close": func(p *peer) {
			p.send(1, &wire.ChannelClose{ReplyCode: 200})
			want[*wire.ChannelCloseOk](p, 1)
		},
		"channel error": func(p *peer) {
			p.send(1, &wire.BasicAck{DeliveryTag: 9})
			p.wantChannelClose(1, 406)
		},
		"lost": func(p *peer) { _ = p.nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			p := d.peer(t, login{})
			p.open(1)
			p.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "only", Exclusive: true})
			want[*wire.BasicConsumeOk](p, 1)
			_, err := d.channel(t).Consume("q", "", false, false, false, false, nil)
			wantCode(t, err, 403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use")
			leave(p)
			if name == "lost" {
				eventually(t, "it has gone", func() bool {
					return value(ch.QueueDeclarePassive("q", false, false, false, false, nil))(t).Consumers == 0
				})
			}
			other := d.channel(t)
			value(other.Consume("q", "c", false, true, false, false, nil))(t)
			must(t, other.Cancel("c", false))
		})
	}
}
