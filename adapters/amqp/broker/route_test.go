package broker_test

import (
	"fmt"
	"slices"
	"testing"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

func TestDefaultExchangeLeadsToTheQueueNamedKey(t *testing.T) {
	v := broker.New("/")
	expectRoute(t, v, "", "any queue", "any queue")
	expectRoute(t, v, "", "", "")
}

func TestDirectMatchesOctetForOctet(t *testing.T) {
	v := broker.New("/")
	bind(t, v, "amq.direct", "q1", "k")
	bind(t, v, "amq.direct", "q2", "k")
	bind(t, v, "amq.direct", "q3", "K")
	bind(t, v, "amq.direct", "q4", "#")
	bind(t, v, "amq.direct", "q5", "")
	expectRoute(t, v, "amq.direct", "k", "q1", "q2")
	expectRoute(t, v, "amq.direct", "K", "q3")
	expectRoute(t, v, "amq.direct", "#", "q4")
	expectRoute(t, v, "amq.direct", "", "q5")
	expectRoute(t, v, "amq.direct", "other")
}

func TestFanoutIgnoresTheKey(t *testing.T) {
	v := broker.New("/")
	bind(t, v, "amq.fanout", "q1", "a")
	bind(t, v, "amq.fanout", "q2", "b")
	expectRoute(t, v, "amq.fanout", "c", "q1", "q2")
}

func TestRouteErrors(t *testing.T) {
	v := broker.New("prod")
	declare(t, v, "inner", broker.Fanout, internal)
	bind(t, v, "inner", "q", "")
	kept := []string{"before"}

	got, err := v.Route("none", "k", nil, kept)
	expectError(t, err, wire.NotFound, "no exchange 'none' in vhost 'prod'")
	if !slices.Equal(got, kept) {
		t.Fatalf("dst became %v", got)
	}
	_, err = v.Route("inner", "k", nil, nil)
	expectError(t, err, wire.AccessRefused, "cannot publish to internal exchange 'inner' in vhost 'prod'")

	if got := v.RouteFrom("none", "k", nil, kept); !slices.Equal(got, kept) {
		t.Fatalf("from the bus to no exchange: %v", got)
	}
	if got := v.RouteFrom("inner", "k", nil, nil); !slices.Equal(got, []string{"q"}) {
		t.Fatalf("from the bus to an internal exchange: %v", got)
	}
}

// A queue reached over several bindings, exchanges or keys gets one copy.
func TestDuplicateRoutesCountOnce(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "first", broker.Topic)
	declare(t, v, "second", broker.Fanout)
	for _, n := range []int{1, 200} { // below and above where looking through a list ends
		for i := range n {
			q := fmt.Sprintf("q%03d", i)
			for _, pattern := range []string{"#", "a.*", "a.b", "#.b"} {
				bind(t, v, "first", q, pattern)
			}
			mustBind(t, v, broker.Binding{Source: "first", Destination: q, Key: "a.b", Arguments: wire.Table{"n": int8(1)}})
			bind(t, v, "second", q, "")
			bind(t, v, "second", q, "again")
		}
		link(t, v, "first", "second", "a.#")
		link(t, v, "first", "second", "#")
		once := routed(t, v, "first", "a.b", nil)
		if len(once) != n || len(slices.Compact(slices.Clone(once))) != n {
			t.Fatalf("%d queues get %d copies", n, len(once))
		}
		twice, err := v.Route("second", "other key", nil, slices.Clone(once))
		if err != nil || len(twice) != n {
			t.Fatalf("with a second key %d copies for %d queues, %v", len(twice), n, err)
		}
	}
}

func TestExchangeToExchangeLoopsEnd(t *testing.T) {
	v := broker.New("/")
	for _, x := range []string{"a", "b", "c"} {
		declare(t, v, x, broker.Fanout)
		bind(t, v, x, "q-"+x, "")
	}
	link(t, v, "a", "b", "")
	link(t, v, "b", "c", "")
	link(t, v, "c", "a", "")
	link(t, v, "a", "a", "")
	for _, x := range []string{"a", "b", "c"} {
		expectRoute(t, v, x, "k", "q-a", "q-b", "q-c")
	}
}

func TestManyLinkedExchangesAreVisitedOnce(t *testing.T) {
	v := broker.New("/")
	const n = 100
	for i := range n {
		declare(t, v, fmt.Sprint(i), broker.Fanout)
		bind(t, v, fmt.Sprint(i), fmt.Sprint("q", i), "")
	}
	for i := range n {
		for j := range n {
			link(t, v, fmt.Sprint(i), fmt.Sprint(j), "")
		}
	}
	if got := routed(t, v, "0", "", nil); len(got) != n {
		t.Fatalf("%d queues, want %d", len(got), n)
	}
}

func TestInternalExchangeTakesFromExchanges(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "outer", broker.Direct)
	declare(t, v, "inner", broker.Topic, internal)
	link(t, v, "outer", "inner", "k")
	bind(t, v, "inner", "q", "#")
	expectRoute(t, v, "outer", "k", "q")
	expectRoute(t, v, "outer", "other")
}

func TestAlternateExchange(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "main", broker.Direct, alternate("second"))
	declare(t, v, "second", broker.Topic, alternate("last"))
	declare(t, v, "last", broker.Fanout)
	bind(t, v, "main", "q-main", "k")
	bind(t, v, "second", "q-second", "a.*")
	bind(t, v, "last", "q-last", "")
	expectRoute(t, v, "main", "k", "q-main")
	expectRoute(t, v, "main", "a.b", "q-second")
	expectRoute(t, v, "main", "other", "q-last")

	t.Run("belongs to each exchange passed", func(t *testing.T) {
		declare(t, v, "front", broker.Fanout, alternate("last"))
		link(t, v, "front", "main", "")
		expectRoute(t, v, "front", "a.b", "q-second")
		declare(t, v, "dead end", broker.Direct)
		declare(t, v, "to dead end", broker.Fanout, alternate("last"))
		link(t, v, "to dead end", "dead end", "")
		expectRoute(t, v, "to dead end", "k") // its own lookup was not empty
	})
	t.Run("may be missing, for now", func(t *testing.T) {
		declare(t, v, "hopeful", broker.Direct, alternate("later"))
		expectRoute(t, v, "hopeful", "k")
		declare(t, v, "later", broker.Fanout)
		bind(t, v, "later", "q", "")
		expectRoute(t, v, "hopeful", "k", "q")
	})
	t.Run("may be internal", func(t *testing.T) {
		declare(t, v, "in", broker.Fanout, internal)
		bind(t, v, "in", "q-in", "")
		declare(t, v, "out", broker.Direct, alternate("in"))
		expectRoute(t, v, "out", "k", "q-in")
	})
	t.Run("named empty leads nowhere", func(t *testing.T) {
		declare(t, v, "e", broker.Direct, alternate(""))
		expectRoute(t, v, "e", "k")
	})
	t.Run("in a circle ends", func(t *testing.T) {
		declare(t, v, "c1", broker.Direct, alternate("c2"))
		declare(t, v, "c2", broker.Direct, alternate("c3"))
		declare(t, v, "c3", broker.Direct, alternate("c1"))
		declare(t, v, "self", broker.Direct, alternate("self"))
		expectRoute(t, v, "c1", "k")
		expectRoute(t, v, "self", "k")
		bind(t, v, "c3", "q", "k")
		expectRoute(t, v, "c1", "k", "q")
	})
}

func TestHeadersAreReadOnceAndOnlyWhenNeeded(t *testing.T) {
	v := broker.New("/")
	calls := 0
	count := func() wire.Properties { calls++; return wire.Properties{Headers: wire.Table{"h": "v"}} }
	route := func(exchange string) []string {
		t.Helper()
		calls = 0
		got, err := v.Route(exchange, "k", count, nil)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	bind(t, v, "amq.topic", "q", "#")
	if route("amq.topic"); calls != 0 {
		t.Fatal("read for a topic exchange")
	}
	if route("amq.match"); calls != 0 {
		t.Fatal("read for a headers exchange without bindings")
	}
	for _, q := range []string{"q1", "q2"} {
		mustBind(t, v, broker.Binding{Source: "amq.match", Destination: q, Arguments: wire.Table{"h": "v"}})
		mustBind(t, v, broker.Binding{Source: "amq.headers", Destination: q, Arguments: wire.Table{"h": "v"}})
	}
	link(t, v, "amq.topic", "amq.match", "#")
	link(t, v, "amq.topic", "amq.headers", "#")
	if got := route("amq.topic"); calls != 1 || len(got) != 3 {
		t.Fatalf("read %d times, reached %v", calls, got)
	}
	if got, err := v.Route("amq.match", "k", nil, nil); err != nil || len(got) != 0 {
		t.Fatalf("no headers: %v, %v", got, err)
	}
}

func TestRouteKeepsWhatDstHolds(t *testing.T) {
	v := broker.New("/")
	bind(t, v, "amq.fanout", "q1", "")
	bind(t, v, "amq.fanout", "q2", "")
	dst := append(make([]string, 0, 8), "q2", "q0")
	got, err := v.Route("amq.fanout", "", nil, dst)
	if err != nil || !slices.Equal(got, []string{"q2", "q0", "q1"}) {
		t.Fatalf("%v, %v", got, err)
	}
	if &got[0] != &dst[0] {
		t.Fatal("dst had room but was not used")
	}
}

func TestGenerationChangesWithEveryRoutingChangeOnly(t *testing.T) {
	v := broker.New("/")
	steps := []struct {
		name    string
		changes bool
		do      func()
	}{
		{"declare", true, func() { declare(t, v, "x", broker.Direct, autoDelete) }},
		{"declare again", false, func() { declare(t, v, "x", broker.Direct, autoDelete) }},
		{"bind", true, func() { bind(t, v, "x", "q", "k") }},
		{"bind again", false, func() { bind(t, v, "x", "q", "k") }},
		{"route", false, func() { expectRoute(t, v, "x", "k", "q") }},
		{"unbind nothing", false, func() { _, _ = v.Unbind(broker.Binding{Source: "x", Destination: "q"}) }},
		{"delete another queue", false, func() { v.DeleteQueue("other") }},
		{"delete the queue", true, func() { v.DeleteQueue("q") }},
		{"delete the exchange that is gone", false, func() { _, _ = v.DeleteExchange("x", false) }},
		{"restore", true, func() { v.Restore([]broker.Exchange{{Name: "y", Type: broker.Fanout}}, nil) }},
		{"restore nothing", false, func() { v.Restore(nil, nil) }},
	}
	for _, s := range steps {
		before := v.Generation()
		s.do()
		if (v.Generation() != before) != s.changes {
			t.Fatalf("%s: generation %d, then %d", s.name, before, v.Generation())
		}
	}
}
