package differential

import "portico/adapters/amqp/wire"

// settleScript: acknowledging, refusing and giving back.
func settleScript(s *session) {
	c, d, p := s.open("c1"), s.open("d1"), s.open("p1")
	p.confirm()
	c.queue("settle.q", "")
	settleGets(c, p)
	settleTags(c, d, p)
	settleOrder(c, p)
	settleRecovers(c, p)
	settleLosses(s, c, p)
}

func settleGets(c, p *channel) {
	c.get("settle.q", "")
	c.get("settle.none", "")
	p.fill("settle.q", "a b c")
	c.get("settle.q", "")
	c.get("settle.q", "noack")
	c.count("settle.q")
	c.ack(1, "")
	c.get("settle.q", "noack")
	c.get("settle.q", "noack")
}

// settleTags: tags that are nobody's end the channel, and what it held goes back.
func settleTags(c, d, p *channel) {
	p.fill("settle.q", "a b c d")
	for range 3 {
		c.get("settle.q", "")
	}
	d.ack(4, "") // another channel's
	c.ack(99, "")
	c.until("settle.q", 4)
	for range 3 {
		c.get("settle.q", "")
	}
	c.ack(2, "multiple")
	c.ack(1, "")
	c.until("settle.q", 2)
	c.get("settle.q", "noack")
	c.ack(1, "")
	c.ack(0, "")
	c.ack(0, "multiple")
	c.nack(0, "multiple")
	c.nack(0, "multiple requeue")
	c.nack(0, "")
	c.reject(0, "")
	c.nack(5, "multiple")
	c.ack(5, "multiple")
	c.get("settle.q", "")
	c.ack(7, "multiple")
	c.until("settle.q", 1)
	c.get("settle.q", "noack")
}

// settleOrder: what comes back takes its old place.
func settleOrder(c, p *channel) {
	p.fill("settle.q", "1 2 3 4 5")
	for range 4 {
		c.get("settle.q", "")
	}
	c.reject(3, "requeue")
	c.nack(5, "requeue")
	c.reject(2, "requeue")
	p.fill("settle.q", "6")
	c.until("settle.q", 5)
	drain(c, "settle.q", 5)
	c.ack(0, "multiple")
	p.fill("settle.q", "1 2 3")
	c.qos(3, "")
	c.consume("settle.q", "o", "")
	c.expect(3)
	c.cancel("o")
	c.nack(0, "multiple requeue")
	c.until("settle.q", 3)
	drain(c, "settle.q", 3)
	c.qos(0, "")
}

func settleRecovers(c, p *channel) {
	p.fill("settle.q", "1 2")
	c.get("settle.q", "")
	c.get("settle.q", "")
	c.recover(true)
	c.until("settle.q", 2)
	drain(c, "settle.q", 2)
	p.fill("settle.q", "again")
	c.consume("settle.q", "r", "")
	c.expect(1)
	c.recover(true)
	c.expect(1)
	c.tell("basic.recover-async requeue=true", &wire.BasicRecoverAsync{Requeue: true})
	c.expect(1)
	c.ack(0, "multiple")
	c.cancel("r")
	c.recover(true)
}

func settleLosses(s *session, c, p *channel) {
	d := s.open("d2")
	p.fill("settle.q", "1 2 3")
	d.get("settle.q", "")
	d.get("settle.q", "noack")
	d.close()
	c.until("settle.q", 2)
	c.get("settle.q", "noack")
	d.get("settle.q", "")
	d.conn.close()
	c.until("settle.q", 1)
	d.consume("settle.q", "l", "")
	d.expect(1)
	d.conn.cut()
	c.until("settle.q", 1)
	c.get("settle.q", "noack")
	p.fill("settle.q", "never-seen")
	d.consume("settle.q", "l", "")
	d.queue("settle.none", "passive") // its channel ends, and so does what was on its way
	c.until("settle.q", 1)
	c.get("settle.q", "noack")
}

// qosScript: how much a consumer gets before it answers.
func qosScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	c.queue("qos.q", "")
	qosPerConsumer(c, p)
	qosGlobal(c, p)
	qosBoth(c, p)
	c.call("basic.qos size=1", &wire.BasicQos{PrefetchSize: 1})
}

func qosPerConsumer(c, p *channel) {
	c.qos(2, "")
	c.consume("qos.q", "two", "")
	c.qos(1, "") // for those that come later
	c.consume("qos.q", "one", "")
	p.fill("qos.q", "1 2 3 4 5")
	c.expectShares(3)
	c.count("qos.q")
	c.ack(0, "multiple")
	c.expectBodies(2)
	c.ack(0, "multiple")
	c.cancel("two")
	c.cancel("one")
	c.qos(0, "")
	c.consume("qos.q", "all", "")
	p.fill("qos.q", "1 2 3 4")
	c.expect(4)
	c.nack(0, "multiple")
	c.cancel("all")
	c.qos(1, "")
	c.consume("qos.q", "noack", "noack")
	p.fill("qos.q", "1 2 3")
	c.expect(3)
	c.cancel("noack")
	p.fill("qos.q", "1 2 3")
	for range 3 {
		c.get("qos.q", "") // does not count
	}
	c.ack(0, "multiple")
	c.qos(0, "")
}

func qosGlobal(c, p *channel) {
	c.consume("qos.q", "x", "")
	c.consume("qos.q", "y", "")
	c.qos(3, "global") // for those that are there, too
	p.fill("qos.q", "1 2 3 4 5")
	c.expectBodies(3)
	c.count("qos.q")
	c.qos(4, "global")
	c.expectBodies(1)
	c.ack(0, "multiple")
	c.expectBodies(1)
	c.ack(0, "multiple")
	c.qos(0, "global")
	p.fill("qos.q", "1 2 3 4 5")
	c.expectBodies(5)
	c.ack(0, "multiple")
	c.cancel("x")
	c.cancel("y")
}

func qosBoth(c, p *channel) {
	c.qos(2, "")
	c.qos(3, "global")
	c.consume("qos.q", "x", "")
	p.fill("qos.q", "1 2 3 4")
	c.expect(2)
	c.consume("qos.q", "y", "")
	c.expect(1)
	c.ack(0, "multiple")
	c.expect(1)
	c.ack(0, "multiple")
	c.cancel("x")
	c.cancel("y")
	c.qos(0, "global")
	c.qos(0, "")
}

// cancelScript: consumers that come, go and are sent away.
func cancelScript(s *session) {
	c, d, p := s.open("c1"), s.open("d1"), s.open("p1")
	p.confirm()
	c.queue("cancel.q", "")
	c.consume("cancel.none", "t", "")
	c.cancel("never-there")
	c.consume("cancel.q", "", "noack")
	c.close()
	c.consume("cancel.q", "t", "nolocal noack")
	c.fill("cancel.q", "from-the-same-connection")
	c.expect(1)
	d.consume("cancel.q", "t", "") // tags are the channel's
	d.cancel("t")
	c.consume("cancel.q", "t", "")
	c.until("cancel.q", 0)
	cancelHolds(c, p)
	cancelDeleted(s, c, d)
}

// cancelHolds: what a consumer has taken stays with the channel.
func cancelHolds(c, p *channel) {
	c.consume("cancel.q", "h", "")
	p.fill("cancel.q", "held")
	c.expect(1)
	c.cancel("h")
	p.fill("cancel.q", "left")
	c.expectNone()
	c.count("cancel.q")
	c.ack(1, "")
	c.cancel("h")
	c.get("cancel.q", "noack")
	c.consume("cancel.q", "h", "")
	c.cancel("h")
}

// cancelDeleted: a queue goes, and its consumers hear of it if they want to.
func cancelDeleted(s *session, c, d *channel) {
	c.consume("cancel.q", "gone", "")
	c.consume("cancel.q", "gone-too", "")
	d.deleteQueue("cancel.q", "")
	c.expectCancels(2)
	c.consume("cancel.q", "gone", "")
	quiet := s.open("q1")
	quiet.conn.dial(login{incapable: true})
	quiet.queue("cancel.q", "autodelete")
	quiet.consume("cancel.q", "unasked", "")
	d.deleteQueue("cancel.q", "")
	quiet.expectNone()
	c.queue("cancel.x", "exclusive")
	c.consume("cancel.x", "mine", "")
	c.deleteQueue("cancel.x", "")
	c.expect(1)
}

const direct = "amq.rabbitmq.reply-to"

// replyToScript: questions whose answers need no queue.
func replyToScript(s *session) {
	c, d := s.open("c1"), s.open("d1")
	c.queue("reply.q", "")
	c.publish("", "reply.q", msg{body: "nobody listens", props: wire.Properties{ReplyTo: direct}})
	c.consume(direct, "r", "")
	c.consume(direct, "r", "noack exclusive")
	c.consume(direct, "r2", "noack")
	c.cancel("r2")
	c.consume(direct, "r", "noack")
	c.queue(direct, "passive")
	c.queue(direct, "")
	c.consume(direct, "r", "noack")
	c.bind(direct, "amq.direct", "k")
	c.consume(direct, "r", "noack")
	c.get(direct, "")
	c.consume(direct, "r", "noack")
	c.purge(direct)
	c.consume(direct, "r", "noack")
	c.deleteQueue(direct, "")
	c.close()
	c.consume(direct, "r", "noack")
	replyToAsk(c, d)
}

func replyToAsk(c, d *channel) {
	c.publish("", "reply.q", msg{body: "question", props: wire.Properties{ReplyTo: direct, CorrelationID: "1"}})
	to := d.takeReplyTo("reply.q")
	d.queue(to, "passive")
	d.publish("", to, msg{body: "answer", props: wire.Properties{CorrelationID: "1", Headers: wire.Table{"h": "v"}}})
	d.publish("", to, msg{body: "and another", flags: "mandatory"})
	c.expect(2)
	d.publish("", direct, msg{body: "to everybody?", flags: "mandatory"})
	d.publish("", direct+".nonsense", msg{body: "to nobody", flags: "mandatory"})
	d.queue(direct+".nonsense", "passive")
	d.publish("amq.direct", to, msg{body: "by another exchange", flags: "mandatory"})
	c.cancel("r")
	d.publish("", to, msg{body: "too late", flags: "mandatory"})
	d.queue(to, "passive")
	c.consume(direct, "r", "noack")
	d.publish("", to, msg{body: "to the next one", flags: "mandatory"})
	c.whatever()
	c.close()
	d.queue(to, "passive")
	d.publish("", to, msg{body: "the channel is gone", flags: "mandatory"})
}
