package differential

import (
	"strings"
	"time"

	"portico/adapters/amqp/wire"
)

// publishScript: what travels with a message, and what comes back.
func publishScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	c.queue("publish.q", "")
	publishReturns(c, p)
	publishProperties(c, p)
	publishModes(c, p)
	publishBodies(c, p)
	publishUserID(c, p)
	p.publish("", "publish.q", msg{body: "now or never", flags: "immediate"})
	p.publish("", "publish.q", msg{body: "goes on"})
	c.get("publish.q", "noack")
}

func publishReturns(c, p *channel) {
	c.publish("", "publish.none", msg{body: "silently gone"})
	c.publish("", "publish.none", msg{body: "back", flags: "mandatory", props: wire.Properties{MessageID: "1", Headers: wire.Table{"h": "v"}}})
	p.publish("", "publish.none", msg{body: "silently acked"})
	p.publish("", "publish.none", msg{body: "back and acked", flags: "mandatory"})
	p.publish("amq.direct", "nobody", msg{body: "back and acked", flags: "mandatory"})
	p.publish("publish.nox", "k", msg{body: "no such exchange", flags: "mandatory"})
	p.publish("", "publish.q", msg{body: "the channel goes on"})
	c.get("publish.q", "noack")
}

func publishProperties(c, p *channel) {
	all := wire.Properties{
		ContentType: "text/plain", ContentEncoding: "utf-8", DeliveryMode: 2, Priority: 9, CorrelationID: "c", ReplyTo: "somewhere", Expiration: "60000",
		MessageID: "m", Timestamp: time.Unix(1700000000, 0).UTC(), Type: "t", UserID: "guest", AppID: "a", ClusterID: "cl",
	}
	all.Headers = wire.Table{
		"bool": true, "int8": int8(-8), "uint8": uint8(8), "int16": int16(-16), "uint16": uint16(16), "int32": int32(-32), "uint32": uint32(32), "int64": int64(-64),
		"float": float32(1.5), "double": 2.5, "decimal": wire.Decimal{Scale: 2, Value: 314}, "string": "s", "octets": []byte{0, 255}, "void": nil,
		"time": time.Unix(1600000000, 0).UTC(), "table": wire.Table{"nested": wire.Table{"deep": int32(1)}}, "array": []any{"a", int32(1), []any{}}, "": "no name",
		"utf8": "é", "not utf8": "\xff\xfe",
	}
	empty := wire.Properties{Flags: wire.FlagContentType | wire.FlagHeaders | wire.FlagCorrelationID | wire.FlagMessageID | wire.FlagReplyTo | wire.FlagPriority}
	for _, props := range []wire.Properties{all, {}, empty, {DeliveryMode: 1}} {
		p.publish("", "publish.q", msg{body: "with properties", props: props})
		c.get("publish.q", "noack")
	}
}

// publishModes: delivery modes that mean nothing.
func publishModes(c, p *channel) {
	for _, mode := range []uint8{0, 3, 255} {
		p.publish("", "publish.q", msg{body: "odd mode", props: wire.Properties{Flags: wire.FlagDeliveryMode, DeliveryMode: mode}})
		c.get("publish.q", "noack")
	}
}

func publishBodies(c, p *channel) {
	for _, size := range []int{0, 1, frameMax - 9, frameMax - 8, frameMax - 7, 2*frameMax - 16, 1 << 20} {
		p.publish("", "publish.q", msg{body: strings.Repeat("b", size)})
		c.get("publish.q", "noack")
	}
	p.publish("", "publish.none", msg{body: strings.Repeat("b", 17<<20)})
	p.publish("", "publish.q", msg{body: "\x00\xff octets \xce"})
	c.get("publish.q", "noack")
	c.bind("publish.q", "amq.direct", "\xff\xfe")
	p.publish("amq.direct", "k\u00e9y", msg{body: "odd key", flags: "mandatory"})
	c.bind("publish.q", "amq.direct", "k\u00e9y")
	p.publish("amq.direct", "k\u00e9y", msg{body: "odd key", flags: "mandatory"})
	c.get("publish.q", "noack")
	p.publish("amq.direct", "\xff", msg{body: "no utf-8", flags: "mandatory"})
}

func publishUserID(c, p *channel) {
	p.publish("", "publish.q", msg{body: "mine", props: wire.Properties{UserID: "guest"}})
	c.get("publish.q", "noack")
	p.publish("", "publish.q", msg{body: "not mine", props: wire.Properties{UserID: "somebody"}})
	p.publish("", "publish.q", msg{body: "empty", props: wire.Properties{Flags: wire.FlagUserID}})
	p.publish("", "publish.none", msg{body: "not mine", props: wire.Properties{UserID: "somebody"}})
}

func copies(cc, bcc any) msg {
	h := wire.Table{"other": "header"}
	if cc != nil {
		h["CC"] = cc
	}
	if bcc != nil {
		h["BCC"] = bcc
	}
	return msg{body: "copies", flags: "mandatory", props: wire.Properties{Headers: h}}
}

// copiesScript: more routing keys in the headers CC and BCC.
func copiesScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	queues := []string{"copies.1", "copies.2", "copies.3"}
	for _, q := range queues {
		c.queue(q, "")
	}
	for _, m := range []msg{
		copies([]any{"copies.2"}, nil),
		copies(nil, []any{"copies.2"}),
		copies([]any{"copies.2"}, []any{"copies.3"}),
		copies([]any{"copies.1", "copies.2", "copies.2", "nobody"}, nil), // one copy each
		copies([]any{}, []any{}),
		copies("copies.2", nil),
		copies(nil, "copies.2"),
		copies([]any{int32(1)}, nil),
		copies([]any{"copies.2", int32(1)}, nil),
		copies(wire.Table{}, nil),
	} {
		p.publish("", "copies.1", m)
		for _, q := range queues {
			c.get(q, "noack")
		}
	}
	p.publish("", "nobody", copies([]any{"copies.2"}, nil)) // a copy is routed, so nothing comes back
	c.get("copies.2", "noack")
	p.publish("", "nobody", copies([]any{"nobody, too"}, []any{"and nobody"}))
	c.exchange("copies.topic", "topic", "")
	c.bind("copies.3", "copies.topic", "a.*")
	p.publish("copies.topic", "b.c", copies([]any{"a.b"}, []any{"a.c"}))
	c.get("copies.3", "noack")
	c.get("copies.3", "noack")
	c.exchange("copies.fanout", "fanout", "")
	c.bind("copies.3", "copies.fanout", "")
	p.publish("copies.fanout", "x", copies([]any{"y"}, nil))
	c.get("copies.3", "noack")
	c.get("copies.3", "noack")
}

// confirmScript: the modes of a channel.
func confirmScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	c.queue("confirm.q", "")
	p.confirm()
	p.confirm()
	p.fill("confirm.q", "1 2 3 4 5 6 7 8 9 10")
	p.publish("confirm.none", "", msg{body: "closes the channel"})
	p.fill("confirm.q", "counted-from-one-again")
	p.tx("select")
	p.tx("commit")
	c.until("confirm.q", 11)
	c.call("confirm.select nowait", &wire.ConfirmSelect{})
	c.fill("confirm.q", "a")
	d := s.open("d1")
	d.tx("commit")
	d.tx("rollback")
	d.tx("select")
	d.tx("select")
	d.confirm()
	d.confirming = false
}

// txScript: publishes and acknowledgements that count together.
func txScript(s *session) {
	c, tx := s.open("c1"), s.open("t1")
	c.queue("tx.q", "")
	tx.tx("select")
	tx.tx("commit")
	tx.tx("rollback")
	tx.fill("tx.q", "a b")
	c.count("tx.q")
	tx.tx("commit")
	c.until("tx.q", 2)
	tx.fill("tx.q", "c")
	tx.tx("rollback")
	tx.tx("commit")
	c.until("tx.q", 2)
	txReturns(tx)
	txAcks(c, tx)
	txErrors(c, tx)
}

func txReturns(tx *channel) {
	tx.publish("", "tx.none", msg{body: "back at commit", flags: "mandatory"})
	tx.tx("commit")
	tx.returns()
	tx.publish("", "tx.none", msg{body: "never", flags: "mandatory"})
	tx.tx("rollback")
	tx.returns()
}

func txAcks(c, tx *channel) {
	tx.get("tx.q", "")
	tx.ack(1, "")
	c.count("tx.q")
	tx.tx("rollback")
	c.count("tx.q") // still unacknowledged, not requeued
	tx.ack(1, "")
	tx.tx("commit")
	tx.ack(1, "")
	c.until("tx.q", 1)
	tx.tx("select")
	tx.get("tx.q", "")
	tx.nack(1, "requeue")
	c.count("tx.q")
	tx.tx("commit")
	c.until("tx.q", 1)
	tx.get("tx.q", "")
	tx.ack(0, "multiple")
	tx.close()
	c.until("tx.q", 1)
	c.get("tx.q", "noack")
}

func txErrors(c, tx *channel) {
	tx.tx("select")
	tx.fill("tx.q", "lost-with-the-channel")
	tx.publish("tx.nox", "", msg{body: "no such exchange"})
	c.count("tx.q")
	tx.tx("select")
	tx.publish("", "tx.q", expiring("bad", "abc"))
	tx.tx("select")
	tx.ack(7, "")
	tx.tx("select")
	tx.fill("tx.q", "x")
	tx.tx("commit")
	c.until("tx.q", 1)
}
