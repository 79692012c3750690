package differential

import (
	"time"

	"portico/adapters/amqp/wire"
)

func ttl(ms any) wire.Table { return wire.Table{"x-message-ttl": ms} }

func expiring(body, ms string) msg { return msg{body: body, props: wire.Properties{Expiration: ms}} }

// ttlScript: messages that expire by their queue's argument or by their own property.
func ttlScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	ttlArguments(c)
	ttlEquivalence(c)
	ttlOfTheQueue(c, p)
	ttlZero(c, p)
	ttlOfTheMessage(c, p)
	ttlAtTheHead(c, p)
	expirationValues(c, p)
}

func ttlArguments(c *channel) {
	for _, bad := range []any{"60000", int32(-1), true, float64(1.5), nil, int64(315360000001), int64(1) << 62, wire.Table{}, []any{}} {
		c.queue("ttl.bad", "", ttl(bad))
	}
	c.queue("ttl.max", "", ttl(int64(315360000000)))
	c.queue("ttl.float", "", ttl(float64(60000)))
}

func ttlEquivalence(c *channel) {
	c.queue("ttl.same", "", ttl(int32(100)))
	for _, again := range []any{int8(100), uint8(100), int16(100), uint16(100), uint32(100), int64(100), int32(101), "100", float64(100), true} {
		c.queue("ttl.same", "", ttl(again))
	}
	c.queue("ttl.same", "")
	c.queue("ttl.same", "", wire.Table{"x-message-ttl": int32(100), "x-unknown": "ignored"})
	c.queue("ttl.none", "")
	c.queue("ttl.none", "", ttl(int32(100)))
	c.queue("ttl.none", "", wire.Table{"x-unknown": int32(5)})
}

func ttlOfTheQueue(c, p *channel) {
	c.queue("ttl.q", "", ttl(int32(300)))
	p.fill("ttl.q", "a b c")
	c.get("ttl.q", "")
	c.get("ttl.q", "")
	c.until("ttl.q", 0)
	c.get("ttl.q", "")
	c.nack(2, "multiple requeue") // what comes back keeps the hour of its death
	c.until("ttl.q", 0)
	p.fill("ttl.q", "d")
	c.get("ttl.q", "noack")
	c.purge("ttl.q")
	p.fill("ttl.q", "e f")
	c.deleteQueue("ttl.q", "")
}

func ttlZero(c, p *channel) {
	c.queue("ttl.zero", "", ttl(int32(0)))
	p.fill("ttl.zero", "nobody takes it")
	c.count("ttl.zero")
	c.get("ttl.zero", "")
	c.consume("ttl.zero", "z", "noack")
	p.fill("ttl.zero", "somebody")
	c.expect(1)
	c.cancel("z")
	c.qos(1, "")
	c.consume("ttl.zero", "one", "")
	p.fill("ttl.zero", "one two")
	c.expect(1)
	c.nack(0, "multiple requeue")
	c.until("ttl.zero", 0)
	c.cancel("one")
	c.qos(0, "")
	p.publish("", "ttl.zero", msg{body: "returned?", flags: "mandatory"})
}

func ttlOfTheMessage(c, p *channel) {
	c.queue("ttl.m", "")
	p.publish("", "ttl.m", expiring("short", "150"))
	c.get("ttl.m", "") // it does not expire while it is unacked
	c.wait(200 * time.Millisecond)
	c.nack(0, "multiple requeue")
	c.until("ttl.m", 0)
	p.publish("", "ttl.m", expiring("zero", "0"))
	c.get("ttl.m", "noack")
	p.publish("", "ttl.m", expiring("long", "60000"))
	c.get("ttl.m", "noack")
	c.queue("ttl.short", "", ttl(int32(150)))
	p.publish("", "ttl.short", expiring("long in a short queue", "60000"))
	c.until("ttl.short", 0)
	c.queue("ttl.long", "", ttl(int32(60000)))
	p.publish("", "ttl.long", expiring("short in a long queue", "100"))
	c.until("ttl.long", 0)
}

func ttlAtTheHead(c, p *channel) {
	c.queue("ttl.head", "")
	p.publish("", "ttl.head", expiring("alive", "60000"))
	p.publish("", "ttl.head", expiring("dead behind it", "50"))
	p.publish("", "ttl.head", msg{body: "immortal"})
	c.wait(150 * time.Millisecond)
	c.count("ttl.head")
	c.get("ttl.head", "noack")
	c.until("ttl.head", 1)
	c.get("ttl.head", "noack")
}

func expirationValues(c, p *channel) {
	c.queue("ttl.value", "")
	for _, v := range []string{"abc", "-1", "1.5", " 10", "10 ", "1e3", "0x10", "315360000001"} {
		p.publish("", "ttl.value", expiring("bad", v))
	}
	p.publish("", "ttl.value", msg{body: "empty", props: wire.Properties{Flags: wire.FlagExpiration}})
	for _, v := range []string{"315360000000", "0060000"} {
		p.publish("", "ttl.value", expiring("good", v))
		c.get("ttl.value", "noack")
	}
	p.publish("", "ttl.nowhere", expiring("bad and unroutable", "abc"))
	p.publish("", "ttl.value", expiring("good", "+60000"))
	c.purge("ttl.value")
}

func expires(ms any) wire.Table { return wire.Table{"x-expires": ms} }

// expiresScript: queues that end when nobody uses them.
func expiresScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	for _, bad := range []any{int32(0), int32(-1), "1000", true, int64(315360000001)} {
		c.queue("expires.bad", "", expires(bad))
	}
	c.queue("expires.same", "", expires(int32(60000)))
	c.queue("expires.same", "", expires(int64(60000)))
	c.queue("expires.same", "", expires(int32(60001)))
	c.queue("expires.same", "")
	c.queue("expires.short", "", expires(int32(200)))
	p.untilGone("expires.short")
	c.count("expires.short")
	expiresWhenUsed(c, p)
	expiresWithMessages(c, p)
}

func expiresWhenUsed(c, p *channel) {
	c.queue("expires.used", "", expires(int32(500)))
	c.consume("expires.used", "u", "")
	c.wait(900 * time.Millisecond)
	c.count("expires.used")
	c.cancel("u")
	p.untilGone("expires.used")
	c.queue("expires.touched", "", expires(int32(900)))
	for range 3 {
		c.wait(450 * time.Millisecond)
		c.get("expires.touched", "")
	}
	c.count("expires.touched")
	for range 3 {
		c.wait(450 * time.Millisecond)
		c.queue("expires.touched", "", expires(int32(900)))
	}
	p.untilGone("expires.touched")
}

func expiresWithMessages(c, p *channel) {
	c.queue("expires.dead", "")
	c.queue("expires.full", "", wire.Table{"x-expires": int32(200), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "expires.dead"})
	p.fill("expires.full", "goes with it")
	p.untilGone("expires.full")
	c.count("expires.dead")
	c.queue("expires.unacked", "", expires(int32(300)))
	p.fill("expires.unacked", "taken")
	c.get("expires.unacked", "")
	p.untilGone("expires.unacked")
	c.ack(1, "")
}
