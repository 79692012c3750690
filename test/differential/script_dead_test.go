package differential

import (
	"time"

	"portico/adapters/amqp/wire"
)

// to is the argument that sends dead letters to an exchange, and with a key of their own if one is given.
func to(exchange string, key ...string) wire.Table {
	t := wire.Table{"x-dead-letter-exchange": exchange}
	if len(key) > 0 {
		t["x-dead-letter-routing-key"] = key[0]
	}
	return t
}

// with is a table with more entries.
func with(t wire.Table, pairs ...any) wire.Table {
	more := wire.Table{}
	for k, v := range t {
		more[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		more[pairs[i].(string)] = pairs[i+1]
	}
	return more
}

// deadScript: the ways to die, what the headers say, and where dead letters go.
func deadScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	deadArguments(c)
	c.exchange("dead.x", "fanout", "")
	c.queue("dead.letters", "")
	c.bind("dead.letters", "dead.x", "")
	deadByReject(c, p)
	deadByNack(c, p)
	deadByExpiry(c, p)
	deadByLength(c, p)
	deadTwice(c, p)
	deadHeadersOfTheClient(c, p)
	deadByNobody(c, p)
}

func deadArguments(c *channel) {
	c.queue("dead.bad", "", wire.Table{"x-dead-letter-exchange": int32(5)})
	c.queue("dead.bad", "", wire.Table{"x-dead-letter-exchange": true})
	c.queue("dead.bad", "", wire.Table{"x-dead-letter-routing-key": "k"})
	c.queue("dead.bad", "", wire.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": int32(5)})
	c.queue("dead.same", "", to("dead.later", "k"))
	c.queue("dead.same", "", to("dead.later", "k"))
	c.queue("dead.same", "", to("dead.later", "other"))
	c.queue("dead.same", "", to("dead.other", "k"))
	c.queue("dead.same", "", to("dead.later"))
	c.queue("dead.same", "")
}

func deadByReject(c, p *channel) {
	c.queue("dead.rejected", "", to("dead.x"))
	p.publish("", "dead.rejected", msg{body: "all", props: wire.Properties{
		ContentType: "text/plain", Headers: wire.Table{"mine": int32(7)}, DeliveryMode: 2, Priority: 3, CorrelationID: "c", ReplyTo: "r",
		MessageID: "m", Timestamp: time.Unix(1700000000, 0).UTC(), Type: "t", UserID: "guest", AppID: "a",
	}})
	c.get("dead.rejected", "")
	c.reject(1, "")
	c.until("dead.letters", 1)
	c.get("dead.letters", "noack")
	p.fill("dead.rejected", "once-requeued")
	c.get("dead.rejected", "")
	c.nack(0, "multiple requeue")
	c.get("dead.rejected", "")
	c.nack(0, "multiple")
	c.until("dead.letters", 1)
	c.get("dead.letters", "noack")
}

func deadByNack(c, p *channel) {
	p.fill("dead.rejected", "1 2 3 4")
	for range 4 {
		c.get("dead.rejected", "")
	}
	c.nack(8, "multiple") // 6, 7, 8
	c.until("dead.letters", 3)
	for range 3 {
		c.get("dead.letters", "noack")
	}
	c.nack(0, "multiple")
	c.until("dead.letters", 1)
	c.purge("dead.letters")
}

func deadByExpiry(c, p *channel) {
	c.queue("dead.short", "", with(to("dead.x"), "x-message-ttl", int32(50)))
	p.fill("dead.short", "first second third")
	c.until("dead.letters", 3)
	for range 3 {
		c.get("dead.letters", "noack")
	}
	p.publish("", "dead.rejected", expiring("by itself", "50"))
	c.until("dead.letters", 1)
	c.get("dead.letters", "noack")
	c.queue("dead.zero", "", with(to("dead.x"), "x-message-ttl", int32(0)))
	p.fill("dead.zero", "at-once")
	c.until("dead.letters", 1)
	c.get("dead.letters", "noack")
	p.publish("", "dead.rejected", expiring("alive", "60000"))
	c.get("dead.rejected", "")
	c.nack(0, "multiple")
	c.until("dead.letters", 1)
	c.get("dead.letters", "noack") // rejected, and yet its expiration is gone
}

func deadByLength(c, p *channel) {
	c.queue("dead.full", "", with(to("dead.x"), "x-max-length", int32(1)))
	p.fill("dead.full", "oldest newer newest")
	c.until("dead.letters", 2)
	c.get("dead.letters", "noack")
	c.get("dead.letters", "noack")
	c.purge("dead.full")
}

// deadTwice lets a message die in two queues in turn, again and again.
func deadTwice(c, p *channel) {
	c.queue("dead.a", "", to("", "dead.b"))
	c.queue("dead.b", "", with(to("", "dead.a"), "x-message-ttl", int32(20)))
	p.fill("dead.a", "wanderer")
	for range 3 {
		c.until("dead.a", 1)
		c.get("dead.a", "")
		c.nack(0, "multiple")
	}
	c.until("dead.a", 1)
	c.get("dead.a", "noack")
}

func deadHeadersOfTheClient(c, p *channel) {
	death := wire.Table{
		"count": int64(5), "reason": "rejected", "queue": "dead.rejected", "exchange": "elsewhere",
		"time": time.Unix(1600000000, 0).UTC(), "routing-keys": []any{"k"},
	}
	for _, headers := range []wire.Table{
		{"x-death": []any{death}},
		{"x-death": []any{with(death, "queue", "another")}},
		{"x-death": "no array"},
		{"x-death": []any{}},
		{"x-first-death-queue": "mine", "x-first-death-reason": "mine", "x-first-death-exchange": "mine"},
	} {
		p.publish("", "dead.rejected", msg{body: "prepared", props: wire.Properties{Headers: headers}})
		c.get("dead.rejected", "")
		c.nack(0, "multiple")
		c.until("dead.letters", 1)
		c.get("dead.letters", "noack")
	}
}

// deadByNobody: what is no death.
func deadByNobody(c, p *channel) {
	p.fill("dead.rejected", "purged")
	c.purge("dead.rejected")
	p.fill("dead.rejected", "deleted")
	c.deleteQueue("dead.rejected", "")
	c.queue("dead.rejected", "", to("dead.x"))
	p.fill("dead.rejected", "acked")
	c.get("dead.rejected", "noack")
	c.count("dead.letters")
	c.queue("dead.plain", "")
	p.fill("dead.plain", "gone")
	c.consume("dead.plain", "p", "")
	c.expect(1)
	c.nack(0, "multiple")
	c.cancel("p")
	c.count("dead.plain")
}

// deadRouteScript: where dead letters go.
func deadRouteScript(s *session) {
	c, p := s.open("c1"), s.open("p1")
	p.confirm()
	c.exchange("route.topic", "topic", "")
	c.queue("route.any", "")
	c.bind("route.any", "route.topic", "#")
	routeKeys(c, p)
	routeCopies(c, p)
	routeNowhere(c, p)
	cyclesOfExpiry(c, p)
	cyclesOfRejection(c, p)
	routeManyLetters(c, p)
}

// die publishes to the queue that a binding or the default exchange leads to, rejects the message there and shows what became of it in another.
func die(c, p *channel, exchange, key, queue string, m msg, letters string) {
	p.publish(exchange, key, m)
	c.get(queue, "")
	c.nack(0, "multiple")
	c.until(letters, 1)
	c.get(letters, "noack")
}

func routeKeys(c, p *channel) {
	c.exchange("route.in", "direct", "")
	c.queue("route.kept", "", to("route.topic"))
	c.bind("route.kept", "route.in", "original.key")
	die(c, p, "route.in", "original.key", "route.kept", msg{body: "own key"}, "route.any")
	c.queue("route.new", "", to("route.topic", "new.key"))
	c.bind("route.new", "route.in", "original.key.2")
	die(c, p, "route.in", "original.key.2", "route.new", msg{body: "new key"}, "route.any")
	c.queue("route.empty", "", to("route.topic", ""))
	die(c, p, "", "route.empty", "route.empty", msg{body: "empty key"}, "route.any")
	c.queue("route.default", "", to("", "route.any"))
	die(c, p, "", "route.default", "route.default", msg{body: "by the default exchange"}, "route.any")
}

func routeCopies(c, p *channel) {
	copies := func(body string) msg {
		return msg{body: body, props: wire.Properties{Headers: wire.Table{"CC": []any{"cc.1", "cc.2"}, "BCC": []any{"bcc.1"}, "x": "y"}}}
	}
	die(c, p, "", "route.kept", "route.kept", copies("copies, own keys"), "route.any")
	die(c, p, "", "route.new", "route.new", copies("copies, new key"), "route.any")
	c.queue("cc.1", "")
	c.queue("route.back", "", to(""))
	p.publish("", "route.back", msg{body: "to itself", props: wire.Properties{Headers: wire.Table{"CC": []any{"cc.1"}}}})
	c.get("cc.1", "noack")
	c.get("route.back", "")
	c.nack(0, "multiple")
	for _, q := range []string{"cc.1", "route.back"} {
		c.until(q, 1)
		c.get(q, "noack")
	}
}

func routeNowhere(c, p *channel) {
	c.queue("route.missing", "", to("route.late"))
	p.fill("route.missing", "lost")
	c.consume("route.missing", "m", "")
	c.expect(1)
	c.nack(0, "multiple")
	c.expectNone() // it takes a moment to be gone
	c.exchange("route.late", "fanout", "")
	c.bind("route.any", "route.late", "")
	p.fill("route.missing", "found")
	c.expect(1)
	c.nack(0, "multiple")
	c.cancel("m")
	c.until("route.any", 1)
	c.get("route.any", "noack")
	c.exchange("route.internal", "fanout", "internal")
	c.bind("route.any", "route.internal", "")
	c.queue("route.toInternal", "", to("route.internal"))
	die(c, p, "", "route.toInternal", "route.toInternal", msg{body: "internal"}, "route.any")
}

// cyclesOfExpiry end by themselves: nobody but the broker moves the message.
func cyclesOfExpiry(c, p *channel) {
	c.queue("cycle.self", "", with(to("", "cycle.self"), "x-message-ttl", int32(20)))
	p.fill("cycle.self", "turns")
	c.until("cycle.self", 0)
	c.queue("cycle.a", "", with(to("", "cycle.b"), "x-message-ttl", int32(20)))
	c.queue("cycle.b", "", with(to("", "cycle.a"), "x-message-ttl", int32(20)))
	p.fill("cycle.a", "back-and-forth")
	c.wait(200 * time.Millisecond)
	c.count("cycle.a")
	c.count("cycle.b")
	c.queue("cycle.drop", "", with(to("", "cycle.drop"), "x-max-length", int32(1)))
	p.fill("cycle.drop", "one two three")
	c.until("cycle.drop", 1)
	c.get("cycle.drop", "noack")
}

// cyclesOfRejection go on as long as somebody rejects.
func cyclesOfRejection(c, p *channel) {
	c.queue("cycle.retry", "", to("", "cycle.delay"))
	c.queue("cycle.delay", "", with(to("", "cycle.retry"), "x-message-ttl", int32(20)))
	c.consume("cycle.retry", "r", "")
	p.fill("cycle.retry", "again")
	for range 3 {
		c.expect(1)
		c.nack(0, "multiple")
	}
	c.expect(1)
	c.ack(0, "multiple")
	c.cancel("r")
	c.queue("cycle.reject", "", to("", "cycle.reject"))
	p.fill("cycle.reject", "boomerang")
	c.consume("cycle.reject", "b", "")
	c.expect(1)
	c.nack(0, "multiple")
	c.expect(1)
	c.nack(0, "multiple")
	c.expect(1)
	c.ack(0, "multiple")
	c.cancel("b")
}

func routeManyLetters(c, p *channel) {
	c.exchange("route.fan", "fanout", "")
	c.queue("route.one", "")
	c.queue("route.two", "", to("", "route.one"))
	c.bind("route.one", "route.fan", "")
	c.bind("route.two", "route.fan", "")
	c.queue("route.source", "", to("route.fan", "fan.key"))
	die(c, p, "", "route.source", "route.source", msg{body: "to both"}, "route.one")
	c.until("route.two", 1)
	c.get("route.two", "noack")
	die(c, p, "", "route.two", "route.two", msg{body: "behind"}, "route.one")
}
