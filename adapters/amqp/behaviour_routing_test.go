package amqp_test

import (
	"fmt"
	"slices"
	"testing"

	"portico/adapters/amqp/wire"

	client "github.com/rabbitmq/amqp091-go"
)

// §2.20: which headers match; x-… do not count unless asked for, and a binding without keys matches all or nothing.
func TestBehaviour20HeadersMatch(t *testing.T) {
	p := open(t).peer(t, login{})
	p.confirming()
	messages := map[string]wire.Table{
		"none": nil, "a": {"a": "1"}, "a, b": {"a": "1", "b": int32(2)}, "a, b as int64": {"a": "1", "b": int64(2)}, "b as text": {"a": "1", "b": "2"},
		"a is void": {"a": nil}, "x-a": {"x-a": "1"},
	}
	for name, c := range map[string]struct {
		binding wire.Table
		match   []string
	}{
		"all, no keys":       {nil, []string{"none", "a", "a, b", "a, b as int64", "b as text", "a is void", "x-a"}},
		"any, no keys":       {wire.Table{"x-match": "any"}, nil},
		"all":                {wire.Table{"x-match": "all", "a": "1", "b": int32(2)}, []string{"a, b", "a, b as int64"}},
		"all is the default": {wire.Table{"a": "1", "b": int8(2)}, []string{"a, b", "a, b as int64"}},
		"any":                {wire.Table{"x-match": "any", "a": "1", "b": int32(2)}, []string{"a", "a, b", "a, b as int64", "b as text"}},
		"present":            {wire.Table{"a": nil}, []string{"a", "a, b", "a, b as int64", "b as text", "a is void"}},
		"x- is ignored, all": {wire.Table{"x-a": "2"}, []string{"none", "a", "a, b", "a, b as int64", "b as text", "a is void", "x-a"}},
		"x- is ignored, any": {wire.Table{"x-match": "any", "x-a": "1"}, nil},
		"all-with-x":         {wire.Table{"x-match": "all-with-x", "x-a": "1"}, []string{"x-a"}},
		"any-with-x":         {wire.Table{"x-match": "any-with-x", "x-a": "1", "a": "1"}, []string{"a", "a, b", "a, b as int64", "b as text", "x-a"}},
	} {
		t.Run(name, func(t *testing.T) {
			q := p.declared(declareExclusive("")).Queue
			p.send(1, &wire.QueueBind{Queue: q, Exchange: "amq.headers", RoutingKey: "does not matter", Arguments: c.binding})
			want[*wire.QueueBindOk](p, 1)
			for text, headers := range messages {
				matches := p.routed("amq.headers", "any", wire.Properties{Flags: wire.FlagHeaders, Headers: headers})
				if matches != slices.Contains(c.match, text) {
					t.Errorf("%q: matches %t", text, matches)
				}
			}
			p.send(1, &wire.QueueDelete{Queue: q})
			want[*wire.QueueDeleteOk](p, 1)
		})
	}
}

// §2.20: a queue gets one copy, by however many bindings, keys and ways.
func TestBehaviour20OneCopy(t *testing.T) {
	ch := open(t).confirming(t)
	for _, q := range []string{"q", "other"} {
		transient(t, ch, q, nil)
	}
	must(t, ch.ExchangeDeclare("second", "fanout", false, false, false, false, nil))
	must(t, ch.ExchangeBind("second", "k.*", "amq.topic", false, nil))
	must(t, ch.ExchangeBind("amq.topic", "", "second", false, nil)) // a loop
	must(t, ch.QueueBind("q", "", "second", false, nil))
	for _, key := range []string{"#", "k.*", "k.1"} {
		must(t, ch.QueueBind("q", key, "amq.topic", false, nil))
		must(t, ch.QueueBind("q", key, "amq.topic", false, client.Table{"another": "binding"}))
	}
	put(t, ch, "amq.topic", "k.1", client.Publishing{Headers: client.Table{"CC": []any{"k.1", "k.2", "k.2", "nobody"}, "BCC": []any{"k.3"}}, Body: []byte("x")})
	drained(t, ch, "q", "x")
	put(t, ch, "", "q", client.Publishing{Headers: client.Table{"CC": []any{"q", "other", int32(1)}}, Body: []byte("y")})
	got := drained(t, ch, "q", "y")[0]
	drained(t, ch, "other", "y")
	if fmt.Sprint(got.Headers["CC"]) != "[q other 1]" { // kept as it was; what is no text is no key
		t.Errorf("CC is %v", got.Headers["CC"])
	}
}

// §2.21: "#" is any number of words, none too, "*" exactly one, which may be empty; all else is itself.
func TestBehaviour21TopicWords(t *testing.T) {
	p := open(t).peer(t, login{})
	p.confirming()
	for pattern, c := range map[string]struct{ match, differ []string }{
		"#":         {[]string{"", "a", "a.b", "."}, nil},
		"*":         {[]string{"a"}, []string{"", "a.b", "."}},
		"a.*":       {[]string{"a.", "a.b"}, []string{"a", "a.b.c", "b.a"}},
		"a.#":       {[]string{"a", "a.", "a.b.c"}, []string{"ab", ".a"}},
		"a.#.b":     {[]string{"a.b", "a.x.b", "a.x.y.b", "a.b.b"}, []string{"a.b.c", "a"}},
		"#.b":       {[]string{"b", "a.b", "..b"}, []string{"b.a"}},
		"*.#":       {[]string{"a", "a.b"}, []string{""}},
		"#.*.#":     {[]string{"a", "a.b"}, []string{""}},
		"*.*":       {[]string{"a.b", "."}, []string{"a", "a.b.c"}},
		"a..b":      {[]string{"a..b"}, []string{"a.b", "a.x.b"}},
		"":          {[]string{""}, []string{"a", "."}},
		"a*":        {[]string{"a*"}, []string{"ab", "a"}},
		"#.#":       {[]string{"", "a.b"}, nil},
		"a.*.*.#.d": {[]string{"a.b.c.d", "a.b.c.x.d"}, []string{"a.b.d"}},
		"kéy. .世界":  {[]string{"kéy. .世界"}, []string{"kéy.. .世界"}},
	} {
		t.Run(pattern, func(t *testing.T) {
			q := p.declared(declareExclusive("")).Queue
			p.send(1, &wire.QueueBind{Queue: q, Exchange: "amq.topic", RoutingKey: pattern})
			want[*wire.QueueBindOk](p, 1)
			for i, key := range append(c.match, c.differ...) {
				if matches := p.routed("amq.topic", key, wire.Properties{}); matches != (i < len(c.match)) {
					t.Errorf("key %q: matches %t", key, matches)
				}
			}
			p.send(1, &wire.QueueDelete{Queue: q})
			want[*wire.QueueDeleteOk](p, 1)
		})
	}
}

// confirming opens channel 1 in confirm mode.
func (p *peer) confirming() {
	p.t.Helper()
	p.open(1)
	p.send(1, &wire.ConfirmSelect{})
	want[*wire.ConfirmSelectOk](p, 1)
}

// routed publishes an empty message on channel 1, which confirms, and tells whether it was routed.
func (p *peer) routed(exchange, key string, props wire.Properties) bool {
	p.t.Helper()
	b := method(1, &wire.BasicPublish{Exchange: exchange, RoutingKey: key, Mandatory: true})
	p.write(wire.AppendHeader(b, 1, wire.ClassBasic, 0, props.Append(nil)))
	f := p.frame()
	if id, _ := wire.PeekMethod(f.Payload); id == wire.IDBasicAck {
		return true
	}
	if id, _ := wire.PeekMethod(f.Payload); id != wire.IDBasicReturn {
		p.t.Fatalf("frame is %s, want a return or an ack", wire.Trace(f))
	}
	p.content(1)
	want[*wire.BasicAck](p, 1)
	return false
}
