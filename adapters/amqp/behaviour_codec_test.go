package amqp_test

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"portico/adapters/amqp/wire"
)

// §2.18: properties come out octet for octet, through a durable queue, too.
func TestBehaviour18PropertiesAreUntouched(t *testing.T) {
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

// §2.19: bodies around the frame size, to and from connections with different ones. The peer fails on a frame above what it negotiated.
func TestBehaviour19FrameMaxIsKept(t *testing.T) {
	d := open(t)
	for name, max := range map[string][2]uint32{"least to most": {4096, 131072}, "most to least": {131072, 4096}} {
		t.Run(name, func(t *testing.T) {
			from, to := d.peer(t, login{frameMax: max[0]}), d.peer(t, login{frameMax: max[1]})
			from.open(1)
			to.open(1)
			to.send(1, &wire.QueueDeclare{Exclusive: true})
			q := want[*wire.QueueDeclareOk](to, 1).Queue
			to.send(1, &wire.BasicConsume{NoAck: true})
			want[*wire.BasicConsumeOk](to, 1)
			for _, size := range []int{0, 1, 4087, 4088, 4089, 2 * 4088, 3*4088 + 1, 131064, 131065, 2 * 131064, 300000} {
				body := bytes.Repeat([]byte{byte(size)}, size)
				from.write(publication(1, "", q, body, max[0]))
				if m := want[*wire.BasicDeliver](to, 1); m.RoutingKey != q || m.Exchange != "" || m.Redelivered {
					t.Fatalf("deliver %+v", m)
				}
				if _, got := to.content(1); !bytes.Equal(got, body) {
					t.Fatalf("body of %d octets came as %d", size, len(got))
				}
			}
		})
	}
}

// §2.19: a header that does not fit into a frame of the consumer comes without its table.
func TestBehaviour19LargeHeadersToASmallFrame(t *testing.T) {
	d := open(t)
	from, to := d.peer(t, login{}), d.peer(t, login{frameMax: 4096})
	from.open(1)
	to.open(1)
	to.send(1, &wire.QueueDeclare{Exclusive: true})
	q := want[*wire.QueueDeclareOk](to, 1).Queue
	p := wire.Properties{ContentType: "text/plain", Headers: wire.Table{"large": string(make([]byte, 10000))}}
	b := method(1, &wire.BasicPublish{RoutingKey: q})
	from.write(wire.AppendHeader(b, 1, wire.ClassBasic, 0, p.Append(nil)))
	to.send(1, &wire.BasicConsume{NoAck: true})
	want[*wire.BasicConsumeOk](to, 1)
	want[*wire.BasicDeliver](to, 1)
	got, _ := to.content(1)
	back, err := wire.DecodeProperties(got)
	must(t, err)
	if back.ContentType != "text/plain" || len(back.Headers) != 0 {
		t.Fatalf("properties %+v", back)
	}
}

// everyType is a table with a value of each type, octet by octet as it is on the wire: RabbitMQ's tags, not the specification's.
func everyType() []byte {
	entry := func(key byte, tag byte, value ...byte) []byte { return append([]byte{1, key, tag}, value...) }
	entries := join(
		entry('0', 'S', 0, 0, 0, 2, 0xff, 0), entry('1', 't', 1), entry('2', 'b', 0x80), entry('3', 'B', 0x80), entry('4', 's', 0x80, 1), entry('5', 'u', 0x80, 1),
		entry('6', 'I', 0x80, 0, 0, 1), entry('7', 'i', 0x80, 0, 0, 1), entry('8', 'd', 0x40, 4, 0, 0, 0, 0, 0, 0), entry('9', 'f', 0x40, 0x20, 0, 0),
		entry('a', 'l', 0x80, 0, 0, 0, 0, 0, 0, 1), entry('b', 'L', 0x80, 0, 0, 0, 0, 0, 0, 1), entry('c', 'T', 0, 0, 0, 0, 0x5f, 0x5e, 0x10, 0),
		entry('d', 'D', 2, 0, 0, 1, 0x3a), entry('e', 'F', 0, 0, 0, 4, 1, 'n', 't', 0), entry('f', 'A', 0, 0, 0, 4, 'V', 'b', 1, 'V'),
		entry('g', 'x', 0, 0, 0, 2, 0, 0xce), entry('h', 'V'),
	)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(entries))), entries...)
}

// §2.18: every type of field comes back octet for octet, from a durable queue, too; through a dead letter exchange, which edits the table, with type and
// value.
func TestBehaviour18FieldTypes(t *testing.T) {
	d := open(t)
	durable(t, d.channel(t), "q", letters("letters", nil))
	durable(t, d.channel(t), "letters", nil)
	p := d.peer(t, login{})
	p.open(1)
	raw := append(binary.BigEndian.AppendUint16(nil, wire.FlagHeaders), everyType()...)
	p.write(wire.AppendHeader(method(1, &wire.BasicPublish{RoutingKey: "q"}), 1, wire.ClassBasic, 0, raw))
	p.declared(&wire.QueueDeclare{Queue: "q", Durable: true, Passive: true})
	p.send(1, &wire.BasicGet{Queue: "q"})
	tag := want[*wire.BasicGetOk](p, 1).DeliveryTag
	if got, _ := p.content(1); !bytes.Equal(got, raw) {
		t.Fatalf("properties %x came as %x", raw, got)
	}
	p.send(1, &wire.BasicReject{DeliveryTag: tag})
	sent, err := wire.DecodeProperties(raw)
	must(t, err)
	got := p.get("letters").Headers
	for key := range got {
		if len(key) > 1 {
			delete(got, key)
		}
	}
	same(t, "headers", got, sent.Headers)
}
