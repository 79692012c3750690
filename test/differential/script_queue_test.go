package differential

import (
	"strings"

	"portico/adapters/amqp/wire"
)

// queueScript: declaring queues, again and otherwise, and deleting them.
func queueScript(s *session) {
	c, d, p := s.open("c1"), s.open("d1"), s.open("p1")
	p.confirm()
	queueDeclares(c)
	queueEquivalence(c)
	queueNames(c)
	queueServerNames(c, d)
	queueArguments(c)
	queueExclusive(c, d)
	queueAutoDelete(c, d)
	queueDeletes(c, p)
	queuePurges(c, p)
}

func queueDeclares(c *channel) {
	c.queue("queue.none", "passive")
	c.queue("queue.q", "")
	c.queue("queue.q", "")
	c.queue("queue.q", "passive")
	c.queue("queue.q", "passive durable exclusive autodelete", ttl(int32(5))) // passive compares nothing
	c.queue("queue.durable", "durable")
	c.queue("queue.durable", "passive")
}

func queueEquivalence(c *channel) {
	c.queue("queue.q", "durable")
	c.queue("queue.q", "autodelete")
	c.queue("queue.q", "exclusive")
	c.queue("queue.q", "durable autodelete", ttl(int32(5)))
	c.queue("queue.durable", "")
	c.queue("queue.durable", "durable", wire.Table{"anything": "goes", "x-nothing": []any{int32(1)}})
}

func queueNames(c *channel) {
	c.queue("amq.mine", "")
	c.queue("amq.mine", "passive")
	c.queue("amq.rabbitmq.log", "")
	c.queue("queue.li\r\nne", "")
	c.queue("queue.line", "passive")
	c.queue("queue.\u00e9\u4e16 /%.*#", "")
	c.queue(strings.Repeat("q", 255), "")
	c.deleteQueue(strings.Repeat("q", 255), "")
}

func queueServerNames(c, d *channel) {
	d.bind("", "amq.direct", "none declared yet")
	d.consume("", "none", "")
	name := c.queue("", "exclusive")
	c.bind("", "amq.direct", "queue.key")
	c.bind("", "amq.direct", "")
	c.consume("", "t", "noack")
	c.publish("amq.direct", "queue.key", msg{body: "by key"})
	c.publish("amq.direct", name, msg{body: "by name"})
	c.expect(2)
	c.unbind("", "amq.direct", "queue.key")
	c.publish("amq.direct", "queue.key", msg{body: "by key", flags: "mandatory"})
	c.cancel("t")
	c.get("", "")
	c.purge("")
	d.queue(name, "")
	d.queue(name, "passive")
	c.queue("", "autodelete")
	c.queue("queue.last", "")
	c.bind("", "amq.fanout", "")
	c.deleteQueue("", "")
	c.bind("", "amq.fanout", "")
	c.count("queue.last")
	c.queue("", "passive")
	c.queue("", "exclusive autodelete")
	c.queue("", "passive")
}

func queueArguments(c *channel) {
	for _, args := range []wire.Table{
		{"x-queue-mode": "lazy"}, {"x-queue-mode": "busy"}, {"x-queue-mode": int32(1)},
		{"x-queue-version": int32(1)}, {"x-queue-version": int32(2)}, {"x-queue-version": int32(3)}, {"x-queue-version": "2"},
		{"x-queue-type": "classic"}, {"x-queue-type": ""}, {"x-queue-type": "undefined"}, {"x-queue-type": "CLASSIC"},
		{"x-queue-master-locator": "client-local"}, {"x-queue-master-locator": "nowhere"},
		{"x-max-age": "1h"}, {"x-stream-max-segment-size-bytes": int32(1000)}, {"x-initial-cluster-size": int32(1)},
		{"x-max-in-memory-length": int32(1)},
	} {
		c.queue("queue.args", "", args)
		c.deleteQueue("queue.args", "")
	}
}

func queueExclusive(c, d *channel) {
	c.queue("queue.mine", "exclusive")
	c.queue("queue.mine", "exclusive")
	c.queue("queue.mine", "exclusive durable")
	c.queue("queue.mine", "")
	d.queue("queue.mine", "exclusive")
	d.queue("queue.mine", "")
	d.queue("queue.mine", "passive")
	d.bind("queue.mine", "amq.fanout", "")
	d.unbind("queue.mine", "amq.fanout", "")
	c.bind("queue.mine", "amq.topic", "queue.mine")
	d.unbind("queue.mine", "amq.topic", "queue.mine")
	d.consume("queue.mine", "t", "")
	d.get("queue.mine", "")
	d.purge("queue.mine")
	d.deleteQueue("queue.mine", "")
	d.publish("", "queue.mine", msg{body: "anybody may", flags: "mandatory"})
	c.get("queue.mine", "noack")
	c.queue("queue.both", "exclusive durable")
	c.close()
	c.count("queue.mine") // it is the connection's, not the channel's
	c.conn.close()
	d.queue("queue.mine", "exclusive")
	d.queue("queue.both", "passive")
	d.conn.cut()
	c.untilMissing("queue.mine")
}

func queueAutoDelete(c, d *channel) {
	c.queue("queue.auto", "autodelete")
	c.get("queue.auto", "")
	c.consume("queue.auto", "a", "")
	d.consume("queue.auto", "b", "")
	c.cancel("a")
	d.count("queue.auto")
	d.cancel("b")
	c.count("queue.auto")
	c.queue("queue.auto", "autodelete")
	d.consume("queue.auto", "c", "")
	d.close()
	c.untilMissing("queue.auto")
}

func queueDeletes(c, p *channel) {
	c.deleteQueue("queue.none", "")
	c.deleteQueue("queue.none", "if-unused if-empty")
	c.queue("queue.used", "")
	c.consume("queue.used", "u", "")
	c.deleteQueue("queue.used", "if-unused")
	c.consume("queue.used", "u", "")
	c.deleteQueue("queue.used", "")
	c.expect(1)
	c.cancel("u")
	c.queue("queue.used", "")
	c.deleteQueue("queue.used", "if-unused")
	c.queue("queue.full", "")
	p.fill("queue.full", "a b")
	c.get("queue.full", "")
	c.deleteQueue("queue.full", "if-empty")
	c.deleteQueue("queue.full", "")
	c.ack(1, "")
	c.queue("queue.full", "")
	c.deleteQueue("queue.full", "if-unused if-empty")
}

func queuePurges(c, p *channel) {
	c.purge("queue.none")
	c.queue("queue.purged", "")
	p.fill("queue.purged", "a b c")
	c.get("queue.purged", "")
	c.purge("queue.purged")
	c.reject(1, "requeue")
	c.until("queue.purged", 1)
	c.get("queue.purged", "noack")
	c.purge("queue.purged")
}
