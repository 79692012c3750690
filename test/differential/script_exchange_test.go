package differential

import (
	"strings"

	"portico/adapters/amqp/wire"
)

// exchangeScript: declaring exchanges, again and otherwise, and deleting them.
func exchangeScript(s *session) {
	c := s.open("c1")
	exchangeDeclares(c)
	exchangeEquivalence(c)
	exchangeDeletes(c)
	exchangeInternal(c)
	exchangeAutoDelete(c)
	exchangeAlternates(c)
	exchangeBindings(c)
}

func exchangeDeclares(c *channel) {
	c.exchange("exchange.none", "direct", "passive")
	for _, kind := range []string{"direct", "fanout", "topic", "headers"} {
		c.exchange("exchange."+kind, kind, "")
		c.exchange("exchange."+kind, kind, "passive")
	}
	c.exchange("exchange.direct", "fanout", "passive durable internal") // passive compares nothing
	c.exchange("exchange.odd", "unheard", "")
	c.exchange("exchange.odd", "", "")
	c.exchange("amq.mine", "direct", "")
	c.exchange("amq.direct", "direct", "durable")
	c.exchange("amq.direct", "direct", "")
	c.exchange("amq.rabbitmq.trace", "topic", "passive")
	c.exchange("", "direct", "")
	c.exchange("", "direct", "passive")
	c.exchange("exchange.li\r\nne", "direct", "")
	c.exchange("exchange.line", "direct", "passive")
	c.exchange(strings.Repeat("x", 255), "direct", "")
}

func exchangeEquivalence(c *channel) {
	c.exchange("exchange.direct", "fanout", "")
	c.exchange("exchange.direct", "direct", "durable")
	c.exchange("exchange.direct", "direct", "autodelete")
	c.exchange("exchange.direct", "direct", "internal")
	c.exchange("exchange.direct", "direct", "", wire.Table{"alternate-exchange": "amq.fanout"})
	c.exchange("exchange.direct", "direct", "", wire.Table{"x-anything": "goes"})
	c.exchange("exchange.alternate", "direct", "", wire.Table{"alternate-exchange": "amq.fanout"})
	c.exchange("exchange.alternate", "direct", "", wire.Table{"alternate-exchange": "amq.fanout"})
	c.exchange("exchange.alternate", "direct", "", wire.Table{"alternate-exchange": "amq.direct"})
	c.exchange("exchange.alternate", "direct", "")
	c.exchange("exchange.alternate.bad", "direct", "", wire.Table{"alternate-exchange": int32(5)})
}

func exchangeDeletes(c *channel) {
	c.deleteExchange("exchange.none", "")
	c.deleteExchange("exchange.none", "if-unused")
	c.deleteExchange("", "")
	c.deleteExchange("amq.direct", "")
	c.deleteExchange("amq.nothing", "")
	c.queue("exchange.q", "exclusive")
	c.bind("exchange.q", "exchange.fanout", "")
	c.deleteExchange("exchange.fanout", "if-unused")
	c.unbind("exchange.q", "exchange.fanout", "")
	c.deleteExchange("exchange.fanout", "if-unused")
	c.exchange("exchange.fanout", "fanout", "passive")
	c.exchange("exchange.fanout", "fanout", "")
	c.bind("exchange.q", "exchange.fanout", "")
	c.deleteExchange("exchange.fanout", "")
	c.exchange("exchange.fanout", "fanout", "") // without its bindings
	c.publish("exchange.fanout", "", msg{body: "to nobody", flags: "mandatory"})
}

func exchangeInternal(c *channel) {
	c.exchange("exchange.internal", "fanout", "internal")
	c.bind("exchange.q", "exchange.internal", "")
	c.publish("exchange.internal", "", msg{body: "no way"})
	c.publish("exchange.none", "", msg{body: "no way"})
	c.bindExchange("exchange.internal", "exchange.direct", "inside")
	c.publish("exchange.direct", "inside", msg{body: "the back way"})
	c.get("exchange.q", "noack")
}

func exchangeAutoDelete(c *channel) {
	c.exchange("exchange.auto", "fanout", "autodelete")
	c.exchange("exchange.auto", "fanout", "passive")
	c.bind("exchange.q", "exchange.auto", "a")
	c.bind("exchange.q", "exchange.auto", "b")
	c.unbind("exchange.q", "exchange.auto", "a")
	c.exchange("exchange.auto", "fanout", "passive")
	c.unbind("exchange.q", "exchange.auto", "b")
	c.exchange("exchange.auto", "fanout", "passive")
	c.exchange("exchange.auto", "fanout", "autodelete")
	c.exchange("exchange.auto2", "fanout", "autodelete")
	c.bindExchange("exchange.auto", "exchange.auto2", "")
	c.queue("exchange.short", "exclusive")
	c.bind("exchange.short", "exchange.auto", "")
	c.deleteQueue("exchange.short", "")
	c.exchange("exchange.auto", "fanout", "passive")
	c.exchange("exchange.auto2", "fanout", "passive")
}

func exchangeAlternates(c *channel) {
	c.queue("alternate.q", "exclusive")
	c.exchange("alternate.last", "fanout", "")
	c.exchange("alternate.middle", "direct", "", wire.Table{"alternate-exchange": "alternate.last"})
	c.exchange("alternate.first", "direct", "", wire.Table{"alternate-exchange": "alternate.middle"})
	c.bind("alternate.q", "alternate.last", "")
	c.publish("alternate.first", "nobody", msg{body: "through two", flags: "mandatory"})
	c.get("alternate.q", "noack")
	c.bind("exchange.q", "alternate.first", "known")
	c.publish("alternate.first", "known", msg{body: "routed", flags: "mandatory"})
	c.get("alternate.q", "noack")
	c.get("exchange.q", "noack")
	c.exchange("alternate.lost", "direct", "", wire.Table{"alternate-exchange": "alternate.none"})
	c.publish("alternate.lost", "k", msg{body: "nowhere", flags: "mandatory"})
	c.exchange("alternate.a", "direct", "", wire.Table{"alternate-exchange": "alternate.b"})
	c.exchange("alternate.b", "direct", "", wire.Table{"alternate-exchange": "alternate.a"})
	c.publish("alternate.a", "k", msg{body: "in circles", flags: "mandatory"})
}

func exchangeBindings(c *channel) {
	c.exchange("e2e.from", "topic", "")
	c.exchange("e2e.to", "fanout", "")
	c.queue("e2e.q", "exclusive")
	c.bindExchange("e2e.none", "e2e.from", "k")
	c.bindExchange("e2e.to", "e2e.none", "k")
	c.bindExchange("e2e.to", "", "k")
	c.bindExchange("", "e2e.from", "k")
	c.bindExchange("e2e.to", "e2e.from", "a.#")
	c.bindExchange("e2e.to", "e2e.from", "a.#")
	c.bind("e2e.q", "e2e.to", "")
	c.bind("e2e.q", "e2e.from", "a.b")
	c.publish("e2e.from", "a.b", msg{body: "two ways, one copy"})
	c.count("e2e.q")
	c.get("e2e.q", "noack")
	c.bindExchange("e2e.from", "e2e.to", "")
	c.publish("e2e.from", "a.c", msg{body: "loop"})
	c.count("e2e.q")
	c.unbindExchange("e2e.to", "e2e.from", "a.#")
	c.unbindExchange("e2e.to", "e2e.from", "a.#")
	c.unbindExchange("e2e.to", "e2e.none", "k")
	c.unbindExchange("e2e.none", "e2e.from", "k")
	c.publish("e2e.from", "a.c", msg{body: "unbound", flags: "mandatory"})
}

// routingScript: which message goes where.
func routingScript(s *session) {
	c := s.open("c1")
	routingBinds(c)
	routingTopics(c)
	routingHeaders(c)
	routingDirect(c)
}

func routingBinds(c *channel) {
	c.queue("routing.q", "exclusive")
	c.bind("routing.none", "amq.direct", "k")
	c.bind("routing.q", "routing.none", "k")
	c.bind("routing.none", "routing.none", "k")
	c.bind("routing.q", "", "k")
	c.unbind("routing.q", "", "k")
	c.unbind("routing.q", "", "routing.q")
	c.unbind("routing.none", "amq.direct", "k")
	c.unbind("routing.q", "routing.none", "k")
	c.unbind("routing.q", "amq.direct", "never bound")
	c.bind("routing.q", "amq.direct", "k")
	c.bind("routing.q", "amq.direct", "k")
	c.bind("routing.q", "amq.direct", "k", wire.Table{"a": "different binding"})
	c.publish("amq.direct", "k", msg{body: "one copy"})
	c.count("routing.q")
	c.unbind("routing.q", "amq.direct", "k")
	c.publish("amq.direct", "k", msg{body: "still bound", flags: "mandatory"})
	c.unbind("routing.q", "amq.direct", "k", wire.Table{"a": "different binding"})
	c.publish("amq.direct", "k", msg{body: "unbound", flags: "mandatory"})
	c.purge("routing.q")
}

// routes notes which keys an exchange lets through to a queue.
func routes(c *channel, exchange string, keys ...string) {
	for _, key := range keys {
		c.publish(exchange, key, msg{flags: "mandatory"})
	}
}

func routingTopics(c *channel) {
	c.exchange("topic.x", "topic", "")
	for _, t := range []struct {
		pattern string
		keys    []string
	}{
		{"#", []string{"", "a", "a.b", "."}},
		{"*", []string{"", "a", "a.b", "."}},
		{"a.*", []string{"a", "a.", "a.b", "a.b.c", "b.a"}},
		{"a.#", []string{"a", "a.", "a.b.c", "ab", ".a"}},
		{"a.#.b", []string{"a.b", "a.x.b", "a.x.y.b", "a.b.b", "a.b.c"}},
		{"#.b", []string{"b", "a.b", "b.a", "..b"}},
		{"*.#", []string{"", "a", "a.b"}},
		{"#.*.#", []string{"", "a", "a.b"}},
		{"*.*", []string{"a.b", ".", "a", "a.b.c"}},
		{"a..b", []string{"a..b", "a.b", "a.x.b"}},
		{"", []string{"", "a", "."}},
		{"a*", []string{"a*", "ab", "a"}},
		{"#.#", []string{"", "a.b"}},
		{"a.*.*.#.d", []string{"a.b.c.d", "a.b.d", "a.b.c.x.d"}},
	} {
		c.queue("topic.q", "exclusive")
		c.bind("topic.q", "topic.x", t.pattern)
		routes(c, "topic.x", t.keys...)
		c.deleteQueue("topic.q", "")
	}
}

func routingHeaders(c *channel) {
	c.exchange("headers.x", "headers", "")
	sent := []wire.Table{
		nil, {"a": "1"}, {"a": "1", "b": int32(2)}, {"a": "1", "b": int64(2)}, {"a": "1", "b": "2"}, {"b": int32(2)}, {"a": nil}, {"x-a": "1"}, {"a": "1", "x-a": "2"},
	}
	for _, args := range []wire.Table{
		nil,
		{"x-match": "any"},
		{"x-match": "all", "a": "1", "b": int32(2)},
		{"a": "1", "b": int32(2)},
		{"x-match": "any", "a": "1", "b": int32(2)},
		{"x-match": "all", "a": nil},
		{"x-match": "all", "x-a": "1"},
		{"x-match": "all-with-x", "x-a": "1"},
		{"x-match": "any-with-x", "x-a": "2", "b": int32(2)},
	} {
		c.queue("headers.q", "exclusive")
		c.bind("headers.q", "headers.x", "ignored", args)
		for _, headers := range sent {
			c.publish("headers.x", "", msg{flags: "mandatory", props: wire.Properties{Headers: headers}})
		}
		c.deleteQueue("headers.q", "")
	}
	c.queue("headers.q", "exclusive")
	for _, bad := range []any{"some", int32(1), true} {
		c.bind("headers.q", "headers.x", "", wire.Table{"x-match": bad})
	}
}

func routingDirect(c *channel) {
	c.exchange("direct.x", "direct", "")
	c.queue("direct.q", "exclusive")
	c.bind("direct.q", "direct.x", "k")
	c.bind("direct.q", "direct.x", "#")
	routes(c, "direct.x", "k", "K", "k.", "#", "")
	routes(c, "", "direct.q", "direct", "")
	c.bind("direct.q", "amq.match", "", wire.Table{"x-match": "any", "h": "1"})
	c.publish("amq.headers", "", msg{flags: "mandatory", props: wire.Properties{Headers: wire.Table{"h": "1"}}})
	c.publish("amq.match", "", msg{flags: "mandatory", props: wire.Properties{Headers: wire.Table{"h": "1"}}})
	c.count("direct.q")
}
