package amqp_test

import (
	"bytes"
	"testing"
	"time"

	"portico/adapters/amqp/wire"
)

// §2, others: there are no heartbeats while there is traffic, which says as much.
func TestBehaviourOtherNoHeartbeatUnderTraffic(t *testing.T) {
	t.Parallel()
	d := open(t)
	p := d.peer(t, login{heartbeat: 1})
	p.open(1)
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); <-time.After(100 * time.Millisecond) {
		p.send(1, &wire.BasicQos{})
		f, err := p.in.ReadFrame()
		must(t, err)
		if f.Type != wire.FrameMethod {
			t.Fatalf("frame %s between answers", wire.Trace(f))
		}
	}
}

// §2, others: bodies of nothing, and of exactly so many frames, to two connections of different frame_max at once.
func TestBehaviour19FrameMaxOfEachReceiver(t *testing.T) {
	d := open(t)
	from := d.peer(t, login{frameMax: 5000})
	from.open(1)
	receivers := []*peer{d.peer(t, login{frameMax: 4096}), d.peer(t, login{frameMax: 8192}), d.peer(t, login{})}
	for _, p := range receivers {
		p.open(1)
		p.send(1, &wire.QueueDeclare{Exclusive: true}, &wire.QueueBind{Exchange: "amq.fanout"}, &wire.BasicConsume{NoAck: true})
		wantDeclared(p)
		want[*wire.QueueBindOk](p, 1)
		want[*wire.BasicConsumeOk](p, 1)
	}
	for _, size := range []int{0, 1, 4088, 4089, 2 * 4088, 8184, 8185, 3 * 8184, 131064, 131065} {
		body := bytes.Repeat([]byte{byte(size), 0xce}, size)[:size]
		from.write(publication(1, "amq.fanout", "", body, 5000))
		for _, p := range receivers {
			want[*wire.BasicDeliver](p, 1)
			if _, got := p.content(1); !bytes.Equal(got, body) {
				t.Fatalf("body of %d octets came as %d at frame_max %d", size, len(got), p.max)
			}
		}
	}
}

// §2, others: a connection that is closed in the middle of a publish is closed politely, and nothing is left of the half.
func TestBehaviourOtherCloseInTheMiddleOfAPublish(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "q")
	for name, sent := range map[string][]byte{
		"before the header": publishFrame(),
		"before the body":   join(publishFrame(), headerFrame(60, 10)),
		"within the body":   join(publishFrame(), headerFrame(60, 10), bodyFrame()),
	} {
		t.Run(name, func(t *testing.T) {
			p := d.peer(t, login{})
			p.open(1)
			p.write(sent)
			p.send(0, &wire.ConnectionClose{ReplyCode: 200})
			want[*wire.ConnectionCloseOk](p, 0)
			p.wantEnd()
			if n := ready(t, ch, "q"); n != 0 {
				t.Errorf("%d ready", n)
			}
		})
	}
}
