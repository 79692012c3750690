package differential

import (
	"time"

	"portico/adapters/amqp/wire"
)

func quorum(more ...any) wire.Table { return with(wire.Table{"x-queue-type": "quorum"}, more...) }

// quorumScript: the replicated type, which counts deliveries.
func quorumScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	quorumArguments(c)
	quorumEquivalence(c)
	quorumBasics(c, p)
	quorumDeliveryCount(c, p)
	quorumDeliveryLimit(c, p)
	quorumLimits(c, p)
	quorumDead(c, p)
	quorumRefusals(s, c)
}

func quorumArguments(c *channel) {
	c.queue("quorum.bad1", "", quorum())
	c.queue("quorum.bad2", "durable exclusive", quorum())
	c.queue("quorum.bad3", "durable autodelete", quorum())
	c.queue("", "durable", quorum())
	c.queue("quorum.bad4", "durable", wire.Table{"x-queue-type": "unheard"})
	c.queue("quorum.bad5", "durable", wire.Table{"x-queue-type": int32(1)})
	c.queue("quorum.bad6", "durable", quorum("x-max-priority", int32(5)))
	c.queue("quorum.bad7", "durable", quorum("x-queue-mode", "lazy"))
	c.queue("quorum.bad8", "durable", quorum("x-overflow", "reject-publish-dlx"))
	c.queue("quorum.bad9", "durable", quorum("x-delivery-limit", int32(-1)))
	c.queue("quorum.bad10", "durable", quorum("x-delivery-limit", "3"))
	c.queue("quorum.bad11", "durable", quorum("x-max-age", "1h"))
	c.queue("quorum.bad12", "durable", quorum("x-dead-letter-strategy", "sometimes"))
	c.queue("quorum.bad13", "durable", quorum("x-quorum-initial-group-size", int32(0)))
	c.queue("quorum.classic", "durable", wire.Table{"x-delivery-limit": int32(3)})
	c.queue("quorum.classic", "durable", wire.Table{"x-dead-letter-strategy": "at-least-once"})
	c.queue("quorum.classic", "durable", wire.Table{"x-quorum-initial-group-size": int32(1)})
}

func quorumEquivalence(c *channel) {
	c.queue("quorum.q", "durable", quorum())
	c.queue("quorum.q", "durable", quorum())
	c.queue("quorum.q", "durable")
	c.queue("quorum.q", "durable", wire.Table{"x-queue-type": "classic"})
	c.queue("quorum.q", "", quorum())
	c.queue("quorum.q", "passive")
	c.queue("quorum.q", "durable", quorum("x-delivery-limit", int32(3)))
	c.queue("quorum.plain", "durable")
	c.queue("quorum.plain", "durable", quorum())
	c.queue("quorum.plain", "durable", wire.Table{"x-queue-type": "classic"})
}

func quorumBasics(c, p *channel) {
	p.fill("quorum.q", "1 2 3")
	p.publish("", "quorum.q", msg{body: "persistent", props: wire.Properties{DeliveryMode: 2, Headers: wire.Table{"h": "v"}}})
	c.until("quorum.q", 4)
	c.get("quorum.q", "noack")
	c.get("quorum.q", "")
	c.ack(2, "")
	c.ack(2, "")
	c.until("quorum.q", 2)
	c.purge("quorum.q")
	c.get("quorum.q", "")
}

// quorumDeliveryCount: where what comes back goes, and how it says how often it was out.
func quorumDeliveryCount(c, p *channel) {
	p.fill("quorum.q", "a b c")
	c.get("quorum.q", "")
	c.nack(0, "multiple requeue") // without a limit: behind the others
	c.until("quorum.q", 3)
	drain(c, "quorum.q", 3)
	c.queue("quorum.limited", "durable", quorum("x-delivery-limit", int32(20)))
	p.fill("quorum.limited", "a b c")
	c.get("quorum.limited", "")
	c.nack(0, "multiple requeue") // with one: before them
	c.until("quorum.limited", 3)
	drain(c, "quorum.limited", 3)
	p.fill("quorum.q", "a b c")
	c.qos(2, "")
	c.consume("quorum.q", "two", "")
	c.expect(2)
	c.close() // who goes gives back in any case before the others
	c.until("quorum.q", 3)
	drain(c, "quorum.q", 3)
	p.fill("quorum.q", "taken-along")
	c.qos(10, "")
	c.consume("quorum.q", "t", "")
	c.expect(1)
	c.cancel("t")
	c.close()
	c.until("quorum.q", 1)
	c.get("quorum.q", "noack")
	p.fill("quorum.q", "recovered next")
	c.get("quorum.q", "")
	c.recover(true)
	c.until("quorum.q", 2)
	drain(c, "quorum.q", 2)
}

func quorumDeliveryLimit(c, p *channel) {
	c.queue("quorum.letters", "durable")
	c.queue("quorum.limit", "durable", quorum("x-delivery-limit", int32(2), "x-dead-letter-exchange", "", "x-dead-letter-routing-key", "quorum.letters"))
	p.fill("quorum.limit", "poison")
	for range 3 {
		c.until("quorum.limit", 1)
		c.get("quorum.limit", "")
		c.nack(0, "multiple requeue")
	}
	c.until("quorum.letters", 1)
	c.get("quorum.letters", "noack")
	c.queue("quorum.once", "durable", quorum("x-delivery-limit", int32(0)))
	p.fill("quorum.once", "one-chance")
	c.until("quorum.once", 1)
	c.get("quorum.once", "")
	c.nack(0, "multiple requeue")
	c.until("quorum.once", 0)
	c.queue("quorum.unlimited", "durable", quorum())
	p.fill("quorum.unlimited", "survivor")
	c.qos(1, "")
	c.consume("quorum.unlimited", "u", "")
	for range 4 {
		c.expect(1)
		c.nack(0, "multiple requeue")
	}
	c.expect(1)
	c.ack(0, "multiple")
	c.cancel("u")
	c.qos(0, "")
}

func quorumLimits(c, p *channel) {
	c.queue("quorum.head", "durable", quorum("x-max-length", int32(2)))
	p.fill("quorum.head", "a b c")
	c.until("quorum.head", 2)
	drain(c, "quorum.head", 2)
	c.queue("quorum.octets", "durable", quorum("x-max-length-bytes", int32(5)))
	p.fill("quorum.octets", "aaa bbb c")
	c.until("quorum.octets", 2)
	drain(c, "quorum.octets", 2)
	c.queue("quorum.ttl", "durable", quorum("x-message-ttl", int32(100)))
	p.fill("quorum.ttl", "expires")
	c.until("quorum.ttl", 0)
	p.publish("", "quorum.q", expiring("expires, too", "100"))
	c.until("quorum.q", 0)
	c.queue("quorum.expires", "durable", quorum("x-expires", int32(0)))
	c.queue("quorum.expires", "durable", quorum("x-expires", int32(60000)))
	c.queue("quorum.reject", "durable", quorum("x-max-length", int32(1), "x-overflow", "reject-publish"))
	p.fill("quorum.reject", "kept")
	c.until("quorum.reject", 1)
	c.get("quorum.reject", "noack")
}

func quorumDead(c, p *channel) {
	dead := quorum("x-dead-letter-exchange", "", "x-dead-letter-routing-key", "quorum.letters")
	c.queue("quorum.dead", "durable", dead)
	p.publish("", "quorum.dead", msg{body: "rejected", props: wire.Properties{Headers: wire.Table{"h": "v", "CC": []any{"quorum.nobody"}}}})
	c.until("quorum.dead", 1)
	c.get("quorum.dead", "")
	c.nack(0, "multiple")
	c.until("quorum.letters", 1)
	c.get("quorum.letters", "noack")
	p.publish("", "quorum.dead", expiring("expired", "50"))
	c.until("quorum.letters", 1)
	c.get("quorum.letters", "noack")
	c.queue("quorum.full", "durable", with(dead, "x-max-length", int32(1)))
	p.fill("quorum.full", "old new")
	c.until("quorum.letters", 1)
	c.get("quorum.letters", "noack")
	p.fill("quorum.dead", "returned-first")
	c.until("quorum.dead", 1)
	c.get("quorum.dead", "")
	c.nack(0, "multiple requeue")
	c.until("quorum.dead", 1)
	c.get("quorum.dead", "")
	c.nack(0, "multiple")
	c.until("quorum.letters", 1)
	c.get("quorum.letters", "noack")
	c.queue("quorum.careful", "durable", with(dead, "x-dead-letter-strategy", "at-least-once", "x-overflow", "reject-publish"))
	p.fill("quorum.careful", "twice-sure")
	c.until("quorum.careful", 1)
	c.get("quorum.careful", "")
	c.nack(0, "multiple")
	c.until("quorum.letters", 1)
	c.get("quorum.letters", "noack")
}

func quorumRefusals(s *session, c *channel) {
	d := s.open("d1")
	d.deleteQueue("quorum.q", "if-unused")
	d.deleteQueue("quorum.q", "if-empty")
	d.qos(5, "global")
	d.consume("quorum.q", "g", "")
	d.qos(0, "global")
	d.consume("quorum.q", "x", "exclusive")
	c.consume("quorum.q", "y", "")
	c.cancel("y")
	d.conn.cut()
	c.untilConsumers("quorum.q", 0)
	c.deleteQueue("quorum.q", "")
	c.deleteQueue("quorum.q", "")
}

func stream(more ...any) wire.Table { return with(wire.Table{"x-queue-type": "stream"}, more...) }

// streamScript: the log that is read and not emptied.
func streamScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	c.queue("stream.bad", "", stream())
	c.queue("stream.bad", "durable exclusive", stream())
	c.queue("stream.bad", "durable autodelete", stream())
	c.queue("stream.bad", "durable", stream("x-message-ttl", int32(5)))
	c.queue("stream.bad", "durable", stream("x-dead-letter-exchange", ""))
	c.queue("stream.bad", "durable", stream("x-max-length", int32(5)))
	c.queue("stream.bad", "durable", stream("x-max-age", "1x"))
	c.queue("stream.bad", "durable", stream("x-max-age", int32(5)))
	c.queue("stream.bad", "durable", stream("x-single-active-consumer", true))
	c.queue("stream.q", "durable", stream("x-max-age", "1h"))
	c.queue("stream.q", "durable", stream("x-max-age", "1h"))
	c.queue("stream.q", "durable", stream())
	c.queue("stream.q", "durable")
	c.queue("stream.q", "passive")
	p.fill("stream.q", "zero one two three")
	streamRefusals(s)
	streamOffsets(c)
	streamTail(c, p)
	c.deleteQueue("stream.q", "")
}

func streamRefusals(s *session) {
	for i, refused := range []func(*channel){
		func(d *channel) { d.consume("stream.q", "s", "") },
		func(d *channel) { d.get("stream.q", "") },
		func(d *channel) { d.purge("stream.q") },
		func(d *channel) { d.queue("stream.2", "durable", stream()); d.deleteQueue("stream.2", "if-unused") },
		func(d *channel) { d.queue("stream.3", "durable", stream()); d.deleteQueue("stream.3", "if-empty") },
		func(d *channel) { d.qos(5, ""); d.consume("stream.q", "s", "noack") },
		func(d *channel) { d.qos(5, "global"); d.consume("stream.q", "s", "") },
		func(d *channel) { d.qos(5, ""); d.qos(5, "global"); d.consume("stream.q", "s", "") },
		func(d *channel) { d.qos(5, ""); d.consume("stream.q", "s", "exclusive"); d.cancel("s") },
		func(d *channel) { d.qos(5, ""); d.consume("stream.q", "s", "", offset("middle")) },
		func(d *channel) { d.qos(5, ""); d.consume("stream.q", "s", "", offset(true)) },
	} {
		refused(s.open(string(rune('d'+i)) + "1"))
	}
}

func offset(v any) wire.Table { return wire.Table{"x-stream-offset": v} }

func streamOffsets(c *channel) {
	c.qos(20, "")
	for _, from := range []any{"first", int64(0), int32(2), int64(100), "next", time.Unix(1000000000, 0).UTC(), "1h"} {
		c.consume("stream.q", "s", "", offset(from))
		c.whatever()
		c.cancel("s")
		c.ack(0, "multiple")
	}
}

func streamTail(c, p *channel) {
	c.qos(1, "")
	c.consume("stream.q", "t", "")
	p.fill("stream.q", "four")
	c.expect(1)
	p.fill("stream.q", "five")
	c.expectNone()
	c.ack(0, "multiple")
	c.expect(1)
	c.nack(0, "multiple requeue")
	c.cancel("t")
}
