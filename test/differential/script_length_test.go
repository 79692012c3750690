package differential

import (
	"strings"

	"portico/adapters/amqp/wire"
)

func length(n any, more ...any) wire.Table { return with(wire.Table{"x-max-length": n}, more...) }

func octets(n any, more ...any) wire.Table { return with(wire.Table{"x-max-length-bytes": n}, more...) }

// lengthScript: queues that hold so much and no more, and what becomes of the rest.
func lengthScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	lengthArguments(c)
	lengthDropHead(c, p)
	lengthZero(c, p)
	lengthCountsReady(c, p)
	lengthReject(c, p, s.open("u1"))
	lengthRejectSome(c, p)
	lengthRejectDead(c, p)
	lengthOctets(c, p)
	lengthBoth(c, p)
	lengthTx(c, s.open("t1"))
}

func lengthArguments(c *channel) {
	for _, key := range []string{"x-max-length", "x-max-length-bytes"} {
		for _, bad := range []any{int32(-1), "10", true} {
			c.queue("length.bad", "", wire.Table{key: bad})
		}
	}
	for _, bad := range []any{"drop-tail", "", int32(1), true} {
		c.queue("length.bad", "", wire.Table{"x-overflow": bad})
	}
	c.queue("length.same", "", length(int32(5), "x-overflow", "drop-head"))
	c.queue("length.same", "", length(int64(5), "x-overflow", "drop-head"))
	c.queue("length.same", "", length(int32(6), "x-overflow", "drop-head"))
	c.queue("length.same", "", length(int32(5), "x-overflow", "reject-publish"))
	c.queue("length.same", "", length(int32(5)))
	c.queue("length.same", "", length(int32(5), "x-overflow", "drop-head", "x-max-length-bytes", int32(5)))
	c.queue("length.only", "", wire.Table{"x-overflow": "reject-publish"})
}

// drain gets n messages without acknowledging them, and one more time to show that there are no others.
func drain(c *channel, queue string, n int) {
	for range n + 1 {
		c.get(queue, "noack")
	}
}

func lengthDropHead(c, p *channel) {
	c.queue("length.head", "", length(int32(3)))
	p.fill("length.head", "a b c d e")
	c.until("length.head", 3)
	drain(c, "length.head", 3)
	c.queue("length.letters", "")
	c.queue("length.dead", "", with(to("", "length.letters"), "x-max-length", int32(2)))
	p.fill("length.dead", "a b c d e")
	c.until("length.letters", 3)
	drain(c, "length.letters", 3)
	drain(c, "length.dead", 2)
}

func lengthZero(c, p *channel) {
	c.queue("length.zero", "", length(int32(0)))
	p.fill("length.zero", "nowhere")
	c.count("length.zero")
	p.publish("", "length.zero", msg{body: "mandatory", flags: "mandatory"})
	c.consume("length.zero", "z", "noack")
	p.fill("length.zero", "taken")
	c.expect(1)
	c.cancel("z")
	c.queue("length.none", "", length(int32(0), "x-overflow", "reject-publish"))
	p.fill("length.none", "refused")
	c.count("length.none")
}

func lengthCountsReady(c, p *channel) {
	c.queue("length.ready", "", length(int32(2)))
	p.fill("length.ready", "a b")
	c.get("length.ready", "")
	c.get("length.ready", "")
	p.fill("length.ready", "c d")
	c.until("length.ready", 2)
	c.nack(0, "multiple requeue")
	c.until("length.ready", 2)
	drain(c, "length.ready", 2)
}

func lengthReject(c, p, unconfirmed *channel) {
	c.queue("length.full", "", length(int32(2), "x-overflow", "reject-publish"))
	p.fill("length.full", "a b")
	p.fill("length.full", "c")
	p.publish("", "length.full", msg{body: "mandatory", flags: "mandatory"})
	unconfirmed.fill("length.full", "silently")
	c.count("length.full")
	c.get("length.full", "")
	p.fill("length.full", "d")
	p.fill("length.full", "e")
	c.nack(0, "multiple requeue") // above the limit, and yet nothing is lost
	c.until("length.full", 3)
	p.fill("length.full", "f")
	drain(c, "length.full", 3)
	p.fill("length.full", "g")
	c.purge("length.full")
}

// lengthRejectSome: one of two queues is full.
func lengthRejectSome(c, p *channel) {
	c.exchange("length.fan", "fanout", "")
	c.queue("length.small", "", length(int32(1), "x-overflow", "reject-publish"))
	c.queue("length.large", "")
	c.bind("length.small", "length.fan", "")
	c.bind("length.large", "length.fan", "")
	for range 2 {
		p.publish("length.fan", "", msg{body: "both?"})
	}
	c.count("length.small")
	c.count("length.large")
}

func lengthRejectDead(c, p *channel) {
	c.queue("length.refused", "")
	c.queue("length.rdlx", "", with(to("", "length.refused"), "x-max-length", int32(1), "x-overflow", "reject-publish-dlx"))
	p.fill("length.rdlx", "kept")
	p.fill("length.rdlx", "refused")
	c.until("length.refused", 1)
	c.get("length.refused", "noack")
	c.get("length.rdlx", "noack")
	c.queue("length.rp", "", with(to("", "length.refused"), "x-max-length", int32(1), "x-overflow", "reject-publish"))
	p.fill("length.rp", "kept")
	p.fill("length.rp", "refused")
	c.count("length.refused")
}

func lengthOctets(c, p *channel) {
	c.queue("length.octets", "", octets(int32(10)))
	p.fill("length.octets", "1234 5678")
	p.fill("length.octets", "90")
	c.until("length.octets", 3)
	p.fill("length.octets", "x")
	c.until("length.octets", 3)
	p.fill("length.octets", strings.Repeat("y", 11)) // larger than the queue
	c.until("length.octets", 0)
	p.publish("", "length.octets", msg{})
	p.publish("", "length.octets", msg{body: "headers do not count", props: wire.Properties{Headers: wire.Table{"long": strings.Repeat("z", 20)}}})
	p.publish("", "length.octets", msg{body: "ten octets", props: wire.Properties{Headers: wire.Table{"long": strings.Repeat("z", 20)}}})
	c.until("length.octets", 1)
	drain(c, "length.octets", 1)
	c.queue("length.strict", "", octets(int32(10), "x-overflow", "reject-publish"))
	p.fill("length.strict", "12345678") // below the limit, so the next one still comes in
	p.fill("length.strict", "12345678")
	p.fill("length.strict", "1")
	c.purge("length.strict")
	p.fill("length.strict", strings.Repeat("y", 11))
	p.fill("length.strict", "1")
	c.count("length.strict")
}

func lengthBoth(c, p *channel) {
	c.queue("length.both", "", length(int32(3), "x-max-length-bytes", int32(6)))
	p.fill("length.both", "a b c d")
	c.until("length.both", 3)
	p.fill("length.both", "eeeee")
	c.until("length.both", 2)
	drain(c, "length.both", 2)
}

// lengthTx: a transaction is committed, whatever the queue thinks of it.
func lengthTx(c, tx *channel) {
	c.queue("length.tx", "", length(int32(1), "x-overflow", "reject-publish"))
	tx.tx("select")
	tx.fill("length.tx", "a b c")
	tx.tx("commit")
	c.until("length.tx", 1)
	drain(c, "length.tx", 1)
}
