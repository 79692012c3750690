package differential

import (
	"time"

	"portico/adapters/amqp/wire"
)

func ranked(body string, priority uint8) msg {
	return msg{body: body, props: wire.Properties{Flags: wire.FlagPriority, Priority: priority}}
}

// priorityScript: queues that hand out what matters most.
func priorityScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	for _, bad := range []any{int32(-1), int32(256), int64(1000), "5", true, float64(5)} {
		c.queue("priority.bad", "", wire.Table{"x-max-priority": bad})
	}
	for _, good := range []any{int32(0), int8(1), int32(255)} {
		c.queue("priority.good", "", wire.Table{"x-max-priority": good})
		c.deleteQueue("priority.good", "")
	}
	five := wire.Table{"x-max-priority": int32(5)}
	c.queue("priority.q", "", five)
	c.queue("priority.q", "", wire.Table{"x-max-priority": int8(5)})
	c.queue("priority.q", "", wire.Table{"x-max-priority": int8(6)})
	c.queue("priority.q", "")
	priorityOrder(c, p)
	priorityRequeue(c, p)
	priorityLimits(c, p)
	priorityConsumer(c, p)
	c.queue("priority.plain", "")
	p.publish("", "priority.plain", ranked("low", 1))
	p.publish("", "priority.plain", ranked("high", 9))
	drain(c, "priority.plain", 2)
}

func priorityOrder(c, p *channel) {
	p.publish("", "priority.q", msg{body: "none"})
	for _, m := range []msg{ranked("one", 1), ranked("five", 5), ranked("zero", 0), ranked("nine", 9), ranked("three", 3), ranked("five again", 5), ranked("all", 255)} {
		p.publish("", "priority.q", m)
	}
	c.count("priority.q")
	drain(c, "priority.q", 8)
}

func priorityRequeue(c, p *channel) {
	for _, m := range []msg{ranked("a1", 1), ranked("b1", 1), ranked("c4", 4), ranked("d4", 4)} {
		p.publish("", "priority.q", m)
	}
	for range 3 {
		c.get("priority.q", "")
	}
	p.publish("", "priority.q", ranked("e2", 2))
	c.nack(0, "multiple requeue")
	drain(c, "priority.q", 5)
}

// priorityLimits: what a full queue drops first, and how what expires goes.
func priorityLimits(c, p *channel) {
	c.queue("priority.full", "", wire.Table{"x-max-priority": int32(5), "x-max-length": int32(2)})
	for _, m := range []msg{ranked("high", 5), ranked("low", 1), ranked("middle", 3), ranked("low again", 1)} {
		p.publish("", "priority.full", m)
	}
	c.until("priority.full", 2)
	drain(c, "priority.full", 2)
	c.queue("priority.ttl", "", wire.Table{"x-max-priority": int32(5)})
	low, high := ranked("low, short", 1), ranked("high, long", 5)
	low.props.Expiration, high.props.Expiration = "50", "60000"
	p.publish("", "priority.ttl", low)
	p.publish("", "priority.ttl", high)
	c.wait(150 * time.Millisecond)
	c.count("priority.ttl")
	drain(c, "priority.ttl", 1)
}

func priorityConsumer(c, p *channel) {
	c.qos(1, "")
	c.consume("priority.q", "p", "")
	for _, m := range []msg{ranked("first come", 1), ranked("one", 1), ranked("five", 5)} {
		p.publish("", "priority.q", m)
	}
	for range 3 {
		c.expect(1)
		c.ack(0, "multiple")
	}
	c.cancel("p")
	c.qos(0, "")
}

func consumerPriority(v any) wire.Table { return wire.Table{"x-priority": v} }

// consumerScript: which of several consumers gets a message.
func consumerScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	c.queue("consumer.q", "")
	for _, bad := range []any{"5", true, float64(1.5), nil, wire.Table{}} {
		c.consume("consumer.q", "bad", "", consumerPriority(bad))
	}
	for _, good := range []any{int8(-1), int64(1) << 40, uint8(7)} {
		c.consume("consumer.q", "good", "", consumerPriority(good))
		c.cancel("good")
	}
	consumersByPriority(c, p)
	consumersInTurn(c, p)
	consumersExclusive(c, s.open("d1"), p)
}

func consumersByPriority(c, p *channel) {
	c.qos(2, "")
	c.consume("consumer.q", "low", "", consumerPriority(int32(-5)))
	c.consume("consumer.q", "none", "")
	c.consume("consumer.q", "high", "", consumerPriority(int32(10)))
	p.fill("consumer.q", "1 2 3 4 5 6 7")
	c.expect(6)
	c.ack(1, "")
	c.expect(1)
	c.cancel("high")
	c.ack(0, "multiple")
	p.fill("consumer.q", "8")
	c.expect(1)
	c.ack(0, "multiple")
	c.cancel("none")
	p.fill("consumer.q", "9")
	c.expect(1)
	c.ack(0, "multiple")
	c.cancel("low")
	c.qos(0, "")
}

func consumersInTurn(c, p *channel) {
	for _, tag := range []string{"x", "y", "z"} {
		c.consume("consumer.q", tag, "noack")
	}
	for _, body := range []string{"1", "2", "3", "4", "5"} {
		p.fill("consumer.q", body)
	}
	c.expect(5)
	c.cancel("x")
	p.fill("consumer.q", "6")
	p.fill("consumer.q", "7")
	c.expect(2)
	c.cancel("y")
	c.cancel("z")
}

func consumersExclusive(c, d, p *channel) {
	c.consume("consumer.q", "only", "exclusive")
	c.consume("consumer.q", "second", "")
	d.consume("consumer.q", "second", "")
	d.consume("consumer.q", "second", "exclusive")
	d.get("consumer.q", "")
	p.fill("consumer.q", "none-since-the-channel-closed")
	d.count("consumer.q")
	d.get("consumer.q", "noack")
	c.consume("consumer.q", "plain", "")
	d.consume("consumer.q", "late", "exclusive")
	c.cancel("plain")
	d.consume("consumer.q", "late", "exclusive")
	d.cancel("late")
	c.consume("consumer.q", "free", "")
	c.cancel("free")
	d.consume("consumer.q", "held", "exclusive")
	d.conn.cut()
	c.untilConsumers("consumer.q", 0)
	c.consume("consumer.q", "after", "exclusive")
}

// singleActiveScript: one consumer at a time, the next one when it goes.
func singleActiveScript(s *session) {
	c, d, p := s.open("c1"), s.open("d1"), s.open("p1")
	p.confirm()
	for _, bad := range []any{"true", int32(1), nil} {
		c.queue("single.bad", "", wire.Table{"x-single-active-consumer": bad})
	}
	single := wire.Table{"x-single-active-consumer": true}
	c.queue("single.q", "", single)
	c.queue("single.q", "", single)
	c.queue("single.q", "", wire.Table{"x-single-active-consumer": false})
	c.queue("single.q", "")
	c.queue("single.off", "", wire.Table{"x-single-active-consumer": false})
	c.queue("single.off", "")
	singleTurns(c, d, p)
	singleUnacked(c, d, p)
	singlePrefetch(c, d, p)
	singlePriority(c, d, p)
	c.consume("single.q", "sole", "exclusive")
	c.queue("single.quorum", "durable", with(single, "x-queue-type", "quorum"))
	singleQuorum(c, d, p)
}

func singleTurns(c, d, p *channel) {
	c.consume("single.q", "first", "noack")
	d.consume("single.q", "second", "noack")
	p.fill("single.q", "1 2 3")
	c.expect(3)
	d.expectNone()
	c.cancel("first")
	p.fill("single.q", "4")
	d.expect(1)
	c.consume("single.q", "third", "noack")
	p.fill("single.q", "5")
	d.expect(1)
	d.close()
	p.fill("single.q", "6")
	c.expect(1)
	c.cancel("third")
	c.count("single.q")
}

// singleUnacked: what the former consumer has not acknowledged stays with it.
func singleUnacked(c, d, p *channel) {
	c.consume("single.q", "first", "")
	d.consume("single.q", "second", "")
	p.fill("single.q", "held")
	c.expect(1)
	c.cancel("first")
	p.fill("single.q", "next")
	d.expect(1)
	c.nack(0, "multiple requeue")
	d.expect(1)
	d.ack(0, "multiple")
	c.consume("single.q", "third", "")
	p.fill("single.q", "last")
	d.expect(1)
	d.conn.cut()
	c.expect(1)
	c.ack(0, "multiple")
	c.cancel("third")
}

// singlePrefetch: the others wait even when the active one is busy.
func singlePrefetch(c, d, p *channel) {
	c.qos(1, "")
	c.consume("single.q", "busy", "")
	d.consume("single.q", "idle", "")
	p.fill("single.q", "1 2")
	c.expect(1)
	d.expectNone()
	c.ack(0, "multiple")
	c.expect(1)
	c.ack(0, "multiple")
	c.cancel("busy")
	d.cancel("idle")
	c.qos(0, "")
}

func singlePriority(c, d, p *channel) {
	c.consume("single.q", "low", "noack")
	d.consume("single.q", "high", "noack", consumerPriority(int32(10)))
	p.fill("single.q", "who?")
	c.expect(1)
	d.expectNone()
	c.cancel("low")
	d.cancel("high")
}

func singleQuorum(c, d, p *channel) {
	c.qos(10, "")
	d.qos(10, "")
	c.consume("single.quorum", "first", "")
	d.consume("single.quorum", "second", "")
	p.fill("single.quorum", "1 2")
	c.expect(2)
	d.expectNone()
	c.cancel("first")
	p.fill("single.quorum", "3")
	d.expect(1)
	c.nack(0, "multiple requeue")
	d.expect(2)
	d.ack(0, "multiple")
	d.cancel("second")
}
