package amqp_test

import (
	"testing"

	"portico/adapters/amqp/wire"

	client "github.com/rabbitmq/amqp091-go"
)

// §2.3: an exclusive queue is 405 to every other connection, before anything else is compared, and gone before close-ok.
func TestBehaviour03ExclusiveIsLockedBeforeItIsCompared(t *testing.T) {
	d := open(t)
	owner := d.dial(t)
	value(channelOf(t, owner).QueueDeclare("mine", true, false, true, false, nil))(t)
	for name, use := range map[string]func(*client.Channel) error{
		"declare": func(ch *client.Channel) error {
			_, err := ch.QueueDeclare("mine", true, true, true, false, nil)
			return err
		},
		"passive": func(ch *client.Channel) error {
			_, err := ch.QueueDeclarePassive("mine", true, false, true, false, nil)
			return err
		},
		"bind": func(ch *client.Channel) error { return ch.QueueBind("mine", "k", "amq.direct", false, nil) },
		"consume": func(ch *client.Channel) error {
			_, err := ch.Consume("mine", "", true, false, false, false, nil)
			return err
		},
		"get":    func(ch *client.Channel) error { _, _, err := ch.Get("mine", true); return err },
		"purge":  func(ch *client.Channel) error { _, err := ch.QueuePurge("mine", false); return err },
		"delete": func(ch *client.Channel) error { _, err := ch.QueueDelete("mine", false, false, false); return err },
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, use(d.channel(t)), 405, lockedText) })
	}
	_, err := channelOf(t, owner).QueueDeclare("mine", true, false, false, false, nil)
	wantCode(t, err, 405, lockedText)
	must(t, owner.Close())
	value(d.channel(t).QueueDeclare("mine", true, false, true, false, nil))(t)
}

// §2.3: an owner that is cut off loses its queue, too.
func TestBehaviour03ExclusiveDiesWithALostConnection(t *testing.T) {
	d := open(t)
	p := d.peer(t, login{})
	p.open(1)
	p.send(1, declareExclusive("lost"))
	wantDeclared(p)
	_ = p.nc.Close()
	eventually(t, "the queue is gone", func() bool { return d.gateway.System().Lookup("lost") == nil })
}

// §2.7: after an error the channel swallows whatever is still on its way, publishes with their bodies included, until close-ok.
func TestBehaviour07LateFramesAreSwallowed(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, &wire.BasicAck{DeliveryTag: 9})
	for range 10 {
		p.write(publication(1, "nowhere", "key", make([]byte, 10000), 4096))
	}
	p.send(1, &wire.QueueDeclare{Queue: "late"}, &wire.BasicAck{DeliveryTag: 10})
	p.wantChannelClose(1, 406)
	p.send(1, &wire.ChannelCloseOk{})
	p.open(1)
	p.send(1, &wire.QueueDeclare{Queue: "late", Passive: true})
	p.wantChannelClose(1, 404)
}

// §2.7: both ends close the channel at once.
func TestBehaviour07CrossingChannelClose(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, &wire.BasicAck{DeliveryTag: 9}, &wire.ChannelClose{ReplyCode: 200})
	p.wantChannelClose(1, 406)
	want[*wire.ChannelCloseOk](p, 1)
	p.send(1, &wire.ChannelCloseOk{})
	p.open(1)
}

// §1.2: a client that has not asked to be told sees the socket end.
func TestBehaviour23RefusedLoginIsSilent(t *testing.T) {
	p := open(t).connect(t)
	p.write(wire.ProtocolHeader[:])
	want[*wire.ConnectionStart](p, 0)
	p.send(0, login{response: "\x00guest\x00no"}.startOk())
	p.wantEnd()
}

// §2.24: a publisher is blocked from its first publish under an alarm on; consumers are not; then it goes on where it was.
func TestBehaviour24ConnectionBlocked(t *testing.T) {
	d := open(t)
	consumer := d.channel(t)
	declare(t, consumer, "q")
	ds := value(consumer.Consume("q", "", true, false, false, false, nil))(t)
	publisher := d.dial(t)
	blocked := publisher.NotifyBlocked(make(chan client.Blocking, 2))
	ch := channelOf(t, publisher)
	clear := d.adapter.RaiseForTest("low on disk")
	declare(t, ch, "not-a-publish")
	publish(t, ch, "", "q", "later")
	if b := receive(t, blocked, "blocked"); !b.Active || b.Reason != "low on disk" {
		t.Fatalf("blocked %+v", b)
	}
	declare(t, consumer, "consumers-go-on")
	wantNone(t, ds)
	clear()
	if b := receive(t, blocked, "unblocked"); b.Active {
		t.Fatalf("blocked %+v", b)
	}
	wantTexts(t, ds, "later")
}

// §2.24: heartbeats go on while the socket is not read, and a client without the capability is just held back.
func TestBehaviour24BlockedWithoutTheCapability(t *testing.T) {
	t.Parallel()
	d := open(t)
	p := d.peer(t, login{heartbeat: 1})
	p.open(1)
	p.send(1, declareExclusive("q"))
	wantDeclared(p)
	clear := d.adapter.RaiseForTest("low on disk")
	p.write(append(publication(1, "", "q", []byte("x"), 4096), method(1, &wire.BasicGet{Queue: "q", NoAck: true})...))
	for range 3 {
		f, err := p.in.ReadFrame()
		must(t, err)
		if f.Type != wire.FrameHeartbeat {
			t.Fatalf("frame %s", wire.Trace(f))
		}
	}
	clear()
	want[*wire.BasicGetOk](p, 1)
	p.content(1)
}
