package broker_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

func with(arguments wire.Table) func(*broker.Exchange) {
	return func(x *broker.Exchange) { x.Arguments = arguments }
}

// only is the one queue that a message reaches.
func only(t fataler, v *broker.VHost, exchange, key string, p wire.Properties) string {
	t.Helper()
	got, err := v.Route(exchange, key, func() wire.Properties { return p }, nil)
	if err != nil || len(got) != 1 {
		t.Fatalf("%s %q reaches %v, %v", exchange, key, got, err)
	}
	return got[0]
}

// placement is where each of n keys goes.
func placement(t fataler, v *broker.VHost, exchange string, n int) map[string]string {
	t.Helper()
	places := make(map[string]string, n)
	for i := range n {
		key := fmt.Sprint("key.", i)
		places[key] = only(t, v, exchange, key, wire.Properties{})
	}
	return places
}

func shares(places map[string]string) map[string]int {
	counts := map[string]int{}
	for _, queue := range places {
		counts[queue]++
	}
	return counts
}

// expectShares allows five standard deviations, which a fixed hash either keeps or not.
func expectShares(t fataler, counts map[string]int, weights map[string]float64) {
	t.Helper()
	total, n := 0.0, 0
	for queue, weight := range weights {
		total += weight
		n += counts[queue]
	}
	for queue, weight := range weights {
		p := weight / total
		want, slack := p*float64(n), 5*math.Sqrt(p*(1-p)*float64(n))
		if got := float64(counts[queue]); math.Abs(got-want) > slack {
			t.Fatalf("%s of weight %v gets %v of %d, want %.0f ± %.0f", queue, weight, got, n, want, slack)
		}
	}
	if len(counts) > len(weights) {
		t.Fatalf("reached %v", counts)
	}
}

func TestHashExchangesSpreadEvenly(t *testing.T) {
	const n = 20000
	cases := map[string]struct {
		kind    string
		weights map[string]float64
		keys    map[string]string
	}{
		"consistent, equal":    {broker.ConsistentHash, map[string]float64{"a": 1, "b": 1, "c": 1, "d": 1}, map[string]string{"a": "1", "b": "1", "c": "1", "d": "1"}},
		"consistent, weighted": {broker.ConsistentHash, map[string]float64{"a": 1, "b": 2, "c": 5}, map[string]string{"a": "1", "b": "+2", "c": "005"}},
		"consistent, huge":     {broker.ConsistentHash, map[string]float64{"a": 1, "b": 3}, map[string]string{"a": "1" + zeros(200), "b": "3" + zeros(200)}},
		"modulus":              {broker.ModulusHash, map[string]float64{"a": 1, "b": 1, "c": 1}, map[string]string{"a": "", "b": "x", "c": "-1"}},
		"random":               {broker.Random, map[string]float64{"a": 1, "b": 1, "c": 1}, map[string]string{"a": "", "b": "x", "c": "x"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := broker.New("/")
			declare(t, v, "x", c.kind)
			for queue, key := range c.keys {
				bind(t, v, "x", queue, key)
			}
			expectShares(t, shares(placement(t, v, "x", n)), c.weights)
		})
	}
}

func zeros(n int) string { return string(slices.Repeat([]byte("0"), n)) }

// A key moves only to a destination that has come, or from one that has gone.
func TestConsistentHashMovesNoOtherKey(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "x", broker.ConsistentHash)
	for i, weight := range []string{"1", "3", "2", "1", "10"} {
		bind(t, v, "x", fmt.Sprint("q", i), weight)
	}
	before := placement(t, v, "x", 5000)

	bind(t, v, "x", "new", "4")
	moved := 0
	for key, queue := range placement(t, v, "x", 5000) {
		if queue != before[key] {
			moved++
			if queue != "new" {
				t.Fatalf("%s moved from %s to %s", key, before[key], queue)
			}
		}
	}
	if moved < 5000*4/21/2 || moved > 5000*4/21*2 {
		t.Fatalf("%d keys moved", moved)
	}

	unbind(t, v, "x", "new", "4")
	if !maps.Equal(placement(t, v, "x", 5000), before) {
		t.Fatal("not as before")
	}
	v.DeleteQueue("q1") // from the middle
	for key, queue := range placement(t, v, "x", 5000) {
		if before[key] != "q1" && queue != before[key] {
			t.Fatalf("%s moved from %s to %s", key, before[key], queue)
		}
		if queue == "q1" {
			t.Fatal("a deleted queue is reached")
		}
	}
}

func unbind(t fataler, v *broker.VHost, source, queue, key string) {
	t.Helper()
	if removed, err := v.Unbind(broker.Binding{Source: source, Destination: queue, Key: key}); err != nil || len(removed.Bindings) != 1 {
		t.Fatalf("unbind %s: %v, %v", queue, removed, err)
	}
}

// What is picked depends on the bindings there are, not on what came and went before.
func TestPicksDoNotDependOnHistory(t *testing.T) {
	for _, kind := range []string{broker.ConsistentHash, broker.ModulusHash} {
		t.Run(kind, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				v := broker.New("/")
				declare(t, v, "x", kind)
				binding := rapid.Custom(func(t *rapid.T) broker.Binding {
					return broker.Binding{
						Source: "x", Destination: rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "queue"),
						Key: rapid.SampledFrom([]string{"1", "2", "10", "9"}).Draw(t, "weight"),
					}
				})
				for range rapid.IntRange(0, 30).Draw(t, "steps") {
					b := binding.Draw(t, "binding")
					if rapid.Bool().Draw(t, "bind") {
						mustBind(t, v, b)
					} else if _, err := v.Unbind(b); err != nil {
						t.Fatalf("%v", err)
					}
				}
				w := broker.New("/")
				bs := v.Bindings()
				slices.Reverse(bs)
				w.Restore(v.Exchanges(), bs)
				for i := range 50 {
					key := fmt.Sprint(i)
					if got, want := routed(t, w, "x", key, nil), routed(t, v, "x", key, nil); !slices.Equal(got, want) || len(want) > 1 {
						t.Fatalf("%q reaches %v, then %v", key, want, got)
					}
				}
			})
		})
	}
}

// Keys stay where they are over a restart, and from one release to the next.
func TestHashesAreStable(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "c", broker.ConsistentHash)
	declare(t, v, "m", broker.ModulusHash)
	for i := range 5 {
		bind(t, v, "c", fmt.Sprint("q", i), fmt.Sprint(i+1))
		bind(t, v, "m", fmt.Sprint("q", i), "")
	}
	got := ""
	for _, key := range []string{"", "a", "b", "orders.1", "orders.2", "\x00\xff"} {
		got += only(t, v, "c", key, wire.Properties{}) + only(t, v, "m", key, wire.Properties{}) + " "
	}
	if got != "q0q3 q3q1 q3q1 q3q4 q3q2 q2q3 " {
		t.Fatalf("got %q", got)
	}
}

func TestConsistentHashOnProperties(t *testing.T) {
	at := func(s int64) wire.Properties { return wire.Properties{Timestamp: time.Unix(s, 0)} }
	header := func(v any) wire.Properties { return wire.Properties{Headers: wire.Table{"x-h": v, "other": "o"}} }
	cases := map[string]struct {
		arguments wire.Table
		value     func(i int) wire.Properties
		same      []wire.Properties // all of them reach one queue
	}{
		"header": {wire.Table{"hash-header": "x-h"},
			func(i int) wire.Properties { return header(int32(i)) },
			[]wire.Properties{header(int8(7)), header(int64(7)), header(uint16(7))}},
		"no header": {wire.Table{"hash-header": "x-h"},
			func(i int) wire.Properties { return header(fmt.Sprint(i)) },
			[]wire.Properties{{}, {Headers: wire.Table{"y": "1"}}, {CorrelationID: "c"}}},
		"correlation": {wire.Table{"hash-property": "correlation_id"},
			func(i int) wire.Properties { return wire.Properties{CorrelationID: fmt.Sprint(i)} },
			[]wire.Properties{{CorrelationID: "c", MessageID: "1"}, {CorrelationID: "c", MessageID: "2"}}},
		"message": {wire.Table{"hash-property": "message_id"},
			func(i int) wire.Properties { return wire.Properties{MessageID: fmt.Sprint(i)} },
			[]wire.Properties{{CorrelationID: "1", MessageID: "m"}, {CorrelationID: "2", MessageID: "m"}}},
		"timestamp": {wire.Table{"hash-property": "timestamp"},
			func(i int) wire.Properties { return at(int64(i)) },
			[]wire.Properties{at(99), {Timestamp: time.Unix(99, 0).UTC(), MessageID: "m"}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := broker.New("/")
			declare(t, v, "x", broker.ConsistentHash, with(c.arguments))
			weights := map[string]float64{}
			for _, queue := range []string{"a", "b", "c"} {
				bind(t, v, "x", queue, "1")
				weights[queue] = 1
			}
			counts := map[string]int{}
			for i := range 3000 {
				counts[only(t, v, "x", "constant", c.value(i))]++
			}
			expectShares(t, counts, weights)
			want := only(t, v, "x", "k", c.same[0])
			for i, p := range c.same {
				if got := only(t, v, "x", fmt.Sprint("key", i), p); got != want {
					t.Fatalf("%d: %s, want %s", i, got, want)
				}
			}
		})
	}
}

// One destination has one share, however often it is bound; the key that is first in
// the order of octets is its weight.
func TestConsistentHashWeighsADestinationOnce(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "x", broker.ConsistentHash)
	for _, weight := range []string{"9", "3", "4"} {
		bind(t, v, "x", "a", weight)
	}
	bind(t, v, "x", "b", "3")
	expectShares(t, shares(placement(t, v, "x", 5000)), map[string]float64{"a": 1, "b": 1})
	unbind(t, v, "x", "a", "3")
	unbind(t, v, "x", "a", "4")
	expectShares(t, shares(placement(t, v, "x", 5000)), map[string]float64{"a": 3, "b": 1})
}

// A queue and an exchange of one name are two destinations.
func TestConsistentHashTellsKindsOfDestinationsApart(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "x", broker.ConsistentHash)
	declare(t, v, "both", broker.Fanout)
	bind(t, v, "x", "both", "1")
	link(t, v, "x", "both", "1")
	bind(t, v, "both", "behind", "")
	expectShares(t, shares(placement(t, v, "x", 5000)), map[string]float64{"both": 1, "behind": 1})
}

// For x-random and x-modulus-hash every binding is a destination.
func TestBindingsShareByNumber(t *testing.T) {
	for _, kind := range []string{broker.ModulusHash, broker.Random} {
		v := broker.New("/")
		declare(t, v, "x", kind)
		for _, key := range []string{"1", "2", "3"} {
			bind(t, v, "x", "a", key)
		}
		bind(t, v, "x", "b", "1")
		expectShares(t, shares(placement(t, v, "x", 5000)), map[string]float64{"a": 3, "b": 1})
	}
}

func TestHashExchangesLeadToExchanges(t *testing.T) {
	v := broker.New("/")
	for _, kind := range []string{broker.ConsistentHash, broker.ModulusHash, broker.Random} {
		declare(t, v, kind, kind, func(x *broker.Exchange) { x.Arguments = wire.Table{"alternate-exchange": "amq.fanout"} })
		bind(t, v, "amq.fanout", "unrouted", "")
		if got := only(t, v, kind, "k", wire.Properties{}); got != "unrouted" {
			t.Fatalf("%s without bindings reaches %s", kind, got)
		}
		link(t, v, kind, "amq.topic", "1")
		bind(t, v, "amq.topic", "routed", "#")
		if got := only(t, v, kind, "k", wire.Properties{}); got != "routed" {
			t.Fatalf("%s reaches %s", kind, got)
		}
		b := broker.Binding{Source: kind, Destination: "amq.topic", ToExchange: true, Key: "1"}
		if removed, err := v.Unbind(b); err != nil || len(removed.Bindings) != 1 {
			t.Fatal(removed, err)
		}
		expectRoute(t, v, kind, "k", "unrouted")
	}
}

// A result may be kept by exchange and key unless properties were asked for.
func TestWhatMayBeKept(t *testing.T) {
	byHeader := with(wire.Table{"hash-header": "h"})
	cases := map[string]struct {
		kind     string
		with     func(*broker.Exchange)
		queues   int
		expected int // calls
	}{
		"random":                        {broker.Random, with(nil), 2, 1},
		"random with one":               {broker.Random, with(nil), 1, 0},
		"random without":                {broker.Random, with(nil), 0, 0},
		"modulus":                       {broker.ModulusHash, with(nil), 3, 0},
		"consistent by key":             {broker.ConsistentHash, with(nil), 3, 0},
		"consistent by header":          {broker.ConsistentHash, byHeader, 2, 1},
		"consistent by header, one":     {broker.ConsistentHash, byHeader, 1, 0},
		"consistent by property":        {broker.ConsistentHash, with(wire.Table{"hash-property": "message_id"}), 2, 1},
		"delayed, as random":            {broker.DelayedMessage, with(wire.Table{"x-delayed-type": "x-random"}), 2, 1},
		"delayed, as consistent by key": {broker.DelayedMessage, with(wire.Table{"x-delayed-type": "x-consistent-hash"}), 2, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := broker.New("/")
			declare(t, v, "x", c.kind, c.with)
			link(t, v, "amq.topic", "x", "#")
			for i := range c.queues {
				bind(t, v, "x", fmt.Sprint("q", i), "1")
			}
			calls := 0
			got, err := v.Route("amq.topic", "k", func() wire.Properties { calls++; return wire.Properties{} }, nil)
			if err != nil || calls != c.expected || len(got) != min(c.queues, 1) {
				t.Fatalf("asked %d times, want %d; reached %v, %v", calls, c.expected, got, err)
			}
		})
	}
}

func TestPickingAllocatesNothing(t *testing.T) {
	for _, kind := range []string{broker.ConsistentHash, broker.ModulusHash, broker.Random} {
		v := broker.New("/")
		declare(t, v, "x", kind)
		for i := range 20 {
			bind(t, v, "x", fmt.Sprint("q", i), fmt.Sprint(i+1))
		}
		dst := make([]string, 0, 10)
		if n := testing.AllocsPerRun(200, func() { dst, _ = v.Route("x", "key", nil, dst[:0]) }); n > 0 && !raceEnabled {
			t.Errorf("%s: %v allocations", kind, n)
		}
		if len(dst) != 1 {
			t.Fatal(dst)
		}
	}
}

func TestRouteKeys(t *testing.T) {
	v := broker.New("/")
	declare(t, v, "d", broker.Direct, alternate("amq.fanout"))
	declare(t, v, "c", broker.ConsistentHash)
	declare(t, v, "r", broker.Random)
	bind(t, v, "amq.fanout", "unrouted", "")
	for i := range 10 {
		bind(t, v, "d", fmt.Sprint("d", i), fmt.Sprint(i))
		bind(t, v, "c", fmt.Sprint("c", i), "1")
		bind(t, v, "r", fmt.Sprint("r", i), "")
	}
	bind(t, v, "amq.topic", "t1", "a.*")
	bind(t, v, "amq.topic", "t2", "*.b")
	route := func(exchange string, keys ...string) []string {
		got, err := v.RouteKeys(exchange, keys, nil, []string{"before"})
		if err != nil || got[0] != "before" {
			t.Fatalf("%s %q: %v, %v", exchange, keys, got, err)
		}
		got = got[1:]
		slices.Sort(got)
		return got
	}
	cases := map[string]struct{ got, want []string }{
		"all keys":                         {route("d", "1", "2", "1"), []string{"d1", "d2"}},
		"one of them is enough":            {route("d", "none", "2"), []string{"d2"}},
		"alternate":                        {route("d", "none", "neither"), []string{"unrouted"}},
		"topic":                            {route("amq.topic", "a.c", "c.b", "a.b"), []string{"t1", "t2"}},
		"fanout":                           {route("amq.fanout", "a", "b"), []string{"unrouted"}},
		"default exchange":                 {route("", "q1", "q2", "q1"), []string{"q1", "q2"}},
		"no keys":                          {route("amq.fanout"), []string{}},
		"consistent hash by the first key": {route("c", "k", "l", "m", "n"), routed(t, v, "c", "k", nil)},
	}
	for name, c := range cases {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: reached %v, want %v", name, c.got, c.want)
		}
	}
	for range 20 {
		if got := route("r", "k", "l", "m", "n"); len(got) != 1 {
			t.Fatalf("x-random reached %v", got)
		}
	}
	_, err := v.RouteKeys("none", []string{"k"}, nil, nil)
	expectError(t, err, 404, "no exchange 'none' in vhost '/'")
}
