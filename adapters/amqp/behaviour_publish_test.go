package amqp_test

import (
	"bytes"
	"testing"

	"portico/adapters/amqp/wire"

	client "github.com/rabbitmq/amqp091-go"
)

// §2.10, §2.11: a return precedes its ack, and the unroutable is acknowledged.
func TestBehaviour10ReturnPrecedesAck(t *testing.T) {
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
func TestBehaviour11EveryPublishIsConfirmedOnce(t *testing.T) {
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

// §2.11: a queue that is deleted while confirms are due.
func TestBehaviour11ConfirmsOfADeletedQueue(t *testing.T) {
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

// §1.6, §2.20: CC and BCC name further keys; BCC is taken off; a queue gets one copy.
func TestBehaviour20Copies(t *testing.T) {
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

// §2.11: whatever becomes of a message its publish is confirmed, once, after the last of its queues; only a channel's end says nothing.
func TestBehaviour11ConfirmAlwaysComes(t *testing.T) {
	d := open(t)
	ch := d.confirming(t)
	for q, args := range map[string]client.Table{
		"plain": nil, "zero": {"x-message-ttl": int32(0)}, "head": {"x-max-length": int32(0)}, "full": {"x-max-length": int32(0), "x-overflow": "reject-publish"},
		"dead": letters("plain", client.Table{"x-max-length": int32(0), "x-overflow": "reject-publish-dlx"}), "quorum": quorum(client.Table{"x-max-length": int32(1)}),
	} {
		durable(t, ch, q, args)
	}
	must(t, ch.QueueBind("plain", "several", "amq.direct", false, nil))
	must(t, ch.QueueBind("quorum", "several", "amq.direct", false, nil))
	must(t, ch.QueueBind("plain", "one refuses", "amq.direct", false, nil))
	must(t, ch.QueueBind("full", "one refuses", "amq.direct", false, nil))
	p := d.peer(t, login{})
	p.confirming()
	for i, c := range []struct {
		exchange, key, expiration string
		ack                       bool
	}{
		{"", "plain", "", true}, {"", "nobody", "", true}, {"amq.fanout", "unbound", "", true}, {"", "zero", "", true}, {"", "plain", "0", true},
		{"", "head", "", true}, {"", "full", "", false}, {"", "dead", "", false}, {"", "quorum", "", true}, {"", "quorum", "", true},
		{"amq.direct", "several", "", true}, {"amq.direct", "one refuses", "", false}, {"", "plain", "", true},
	} {
		props := wire.Properties{Expiration: c.expiration, DeliveryMode: 2}
		b := method(1, &wire.BasicPublish{Exchange: c.exchange, RoutingKey: c.key})
		p.write(wire.AppendHeader(b, 1, wire.ClassBasic, 0, props.Append(nil)))
		tag, ack := p.verdict()
		if tag != uint64(i+1) || ack != c.ack {
			t.Fatalf("publish %d to %s/%s: tag %d, ack %t", i+1, c.exchange, c.key, tag, ack)
		}
	}
	p.write(publication(1, "nowhere", "", nil, 4096))
	p.wantChannelClose(1, 404)
}

// verdict reads the next confirm of channel 1, which must be of one message.
func (p *peer) verdict() (tag uint64, ack bool) {
	p.t.Helper()
	f := p.frame()
	if tag, multiple, err := wire.DecodeAck(f.Payload); err == nil && !multiple {
		return tag, true
	}
	tag, multiple, _, err := wire.DecodeNack(f.Payload)
	if err != nil || multiple {
		p.t.Fatalf("frame is %s, want a confirm", wire.Trace(f))
	}
	return tag, false
}
