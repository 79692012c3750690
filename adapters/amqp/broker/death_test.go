package broker_test

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

var (
	noon  = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	later = noon.Add(time.Hour)
)

func entry(queue, reason, exchange string, count int64, at time.Time, keys ...any) wire.Table {
	if keys == nil {
		keys = []any{}
	}
	return wire.Table{"queue": queue, "reason": reason, "exchange": exchange, "count": count, "time": at, "routing-keys": keys}
}

func (e entryOf) with(key string, v any) wire.Table {
	c := maps.Clone(wire.Table(e))
	if c[key] = v; v == nil {
		delete(c, key)
	}
	return c
}

type entryOf wire.Table

func TestFirstDeath(t *testing.T) {
	p := wire.Properties{
		Flags: wire.FlagExpiration | wire.FlagTimestamp, Expiration: "060000", Timestamp: time.Unix(0, 0).UTC(), DeliveryMode: 2, Priority: 3,
		MessageID: "m", CorrelationID: "c", Type: "t",
		Headers: wire.Table{"CC": []any{"cc1", "cc2"}, "BCC": []any{"bcc"}, "mine": int16(5), "x-first-death-queue": "made up"},
	}
	before := maps.Clone(p.Headers)
	got := broker.DeadLetter(p, broker.Death{
		Queue: "q", Reason: broker.DeadExpired, Exchange: "x", Keys: []string{"k", "cc1", "cc2", "bcc"}, Blind: []string{"bcc"},
		At: noon.Add(999 * time.Millisecond).In(time.FixedZone("", 3600)),
	})
	want := p
	want.Flags, want.Expiration = wire.FlagTimestamp, ""
	want.Headers = wire.Table{
		"CC": []any{"cc1", "cc2"}, "mine": int16(5),
		"x-death":             []any{entryOf(entry("q", "expired", "x", 1, noon, "k", "cc1", "cc2")).with("original-expiration", "60000")},
		"x-first-death-queue": "q", "x-first-death-reason": "expired", "x-first-death-exchange": "x",
		"x-last-death-queue": "q", "x-last-death-reason": "expired", "x-last-death-exchange": "x",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if !reflect.DeepEqual(p.Headers, before) {
		t.Error("headers written")
	}
	again, err := wire.DecodeProperties(got.Append(nil))
	if err != nil || again.Has(wire.FlagExpiration) || !reflect.DeepEqual(again.Headers, want.Headers) {
		t.Errorf("over the wire: %+v, %v", again, err)
	}
}

func TestDeathsOfAMessageWithoutHeaders(t *testing.T) {
	got := broker.DeadLetter(wire.Properties{}, broker.Death{Queue: "q", Reason: broker.DeadMaxLength, At: noon})
	want := []any{entry("q", "maxlen", "", 1, noon)}
	if !reflect.DeepEqual(got.Headers["x-death"], want) {
		t.Fatalf("x-death %v", got.Headers["x-death"])
	}
}

// die is a death of the message as the broker routes it: as a dead letter it has gone
// through exchange dlx.
func die(p wire.Properties, queue, reason string, at time.Time) wire.Properties {
	return broker.DeadLetter(p, broker.Death{Queue: queue, Reason: reason, Exchange: "dlx", Keys: []string{"key of " + queue}, At: at})
}

func TestLaterDeaths(t *testing.T) {
	p := wire.Properties{Expiration: "5"}
	for i, d := range [][2]string{{"work", "rejected"}, {"retry", "expired"}, {"work", "rejected"}, {"work", "expired"}, {"retry", "expired"}, {"work", "rejected"}} {
		p = die(p, d[0], d[1], noon.Add(time.Duration(i)*time.Second))
	}
	want := wire.Table{
		"x-death": []any{
			entryOf(entry("work", "rejected", "dlx", 3, noon, "key of work")).with("original-expiration", "5"),
			entry("retry", "expired", "dlx", 2, noon.Add(time.Second), "key of retry"),
			entry("work", "expired", "dlx", 1, noon.Add(3*time.Second), "key of work"),
		},
		"x-first-death-queue": "work", "x-first-death-reason": "rejected", "x-first-death-exchange": "dlx",
		"x-last-death-queue": "work", "x-last-death-reason": "rejected", "x-last-death-exchange": "dlx",
	}
	if !reflect.DeepEqual(p.Headers, want) {
		t.Fatalf("got %v\nwant %v", p.Headers, want)
	}
}

func TestDeathsThatClientsSend(t *testing.T) {
	now := entry("q", "rejected", "x", 1, later, "k")
	other := entry("o", "expired", "x", 2, noon, "k")
	second := entry("q", "rejected", "y", 2, noon, "kept")
	first := entryOf(entry("q", "rejected", "y", 1, noon, "kept"))
	cases := map[string]struct {
		sent  any
		want  []any
		fresh bool // as the first death of the message
	}{
		"none":                        {nil, []any{now}, true},
		"a string":                    {"[{...}]", []any{now}, true},
		"a table":                     {wire.Table(first), []any{now}, true},
		"empty":                       {[]any{}, []any{now}, false},
		"nothing of use":              {[]any{"a", int32(5), nil, []any{}, wire.Table{}}, []any{now}, false},
		"of the same kind":            {[]any{wire.Table(first)}, []any{second}, false},
		"behind another":              {[]any{other, wire.Table(first)}, []any{second, other}, false},
		"twice":                       {[]any{wire.Table(first), other, wire.Table(first)}, []any{second, other, wire.Table(first)}, false},
		"as a plain map":              {[]any{map[string]any(first)}, []any{second}, false},
		"other encodings":             {[]any{entryOf(first.with("count", int8(1))).with("time", noon.Unix())}, []any{second}, false},
		"more fields":                 {[]any{first.with("mine", "dropped")}, []any{second}, false},
		"a reason nobody knows":       {[]any{first.with("reason", "boredom")}, []any{now, first.with("reason", "boredom")}, false},
		"an expiration":               {[]any{entryOf(other).with("original-expiration", "007")}, []any{now, entryOf(other).with("original-expiration", "7")}, false},
		"an expiration that is none":  {[]any{entryOf(other).with("original-expiration", "soon")}, []any{now, other}, false},
		"an expiration of other type": {[]any{entryOf(other).with("original-expiration", int32(5))}, []any{now, other}, false},
		"keys that are none":          {[]any{first.with("routing-keys", []any{"kept", int32(1), nil})}, []any{second}, false},
		"the largest count":           {[]any{first.with("count", int64(math.MaxInt64))}, []any{entryOf(second).with("count", int64(math.MaxInt64))}, false},
		"no queue":                    {[]any{first.with("queue", nil)}, []any{now}, false},
		"no reason":                   {[]any{first.with("reason", nil)}, []any{now}, false},
		"no exchange":                 {[]any{first.with("exchange", nil)}, []any{now}, false},
		"no keys":                     {[]any{first.with("routing-keys", nil)}, []any{now}, false},
		"no count":                    {[]any{first.with("count", nil)}, []any{now}, false},
		"no time":                     {[]any{first.with("time", nil)}, []any{now}, false},
		"count as text":               {[]any{first.with("count", "1")}, []any{now}, false},
		"time as text":                {[]any{first.with("time", "now")}, []any{now}, false},
		"queue as a number":           {[]any{first.with("queue", int64(1))}, []any{now}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := wire.Properties{Headers: wire.Table{"x-first-death-queue": "sent", "x-last-death-queue": "sent"}}
			if c.sent != nil {
				p.Headers["x-death"] = c.sent
			}
			got := broker.DeadLetter(p, broker.Death{Queue: "q", Reason: "rejected", Exchange: "x", Keys: []string{"k"}, At: later})
			if !reflect.DeepEqual(got.Headers["x-death"], c.want) {
				t.Errorf("got %v\nwant %v", got.Headers["x-death"], c.want)
			}
			if first := got.Headers["x-first-death-queue"] == "q"; first != c.fresh || got.Headers["x-last-death-queue"] != "q" {
				t.Errorf("marked as %v", got.Headers)
			}
			_ = broker.Cycle(wire.Table{"x-death": c.sent}, "q", "expired") // does not panic
		})
	}
}

func TestOriginalExpiration(t *testing.T) {
	cases := map[string]struct {
		p    wire.Properties
		want any
	}{
		"none":     {wire.Properties{}, nil},
		"given":    {wire.Properties{Expiration: "1000"}, "1000"},
		"zero":     {wire.Properties{Expiration: "0"}, "0"},
		"signed":   {wire.Properties{Expiration: "+5"}, "5"},
		"nonsense": {wire.Properties{Expiration: "soon"}, nil},
		"negative": {wire.Properties{Expiration: "-5"}, nil},
		"empty":    {wire.Properties{Flags: wire.FlagExpiration}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := die(c.p, "q", broker.DeadExpired, noon)
			deaths := got.Headers["x-death"].([]any)
			if v := deaths[0].(wire.Table)["original-expiration"]; v != c.want {
				t.Errorf("original-expiration %v, want %v", v, c.want)
			}
			if got.Has(wire.FlagExpiration) {
				t.Errorf("expiration %q", got.Expiration)
			}
		})
	}
}

func TestBlindKeysAreLeftOut(t *testing.T) {
	cases := map[string]struct{ keys, blind, want []string }{
		"none":                 {[]string{"k", "c"}, nil, []string{"k", "c"}},
		"some":                 {[]string{"k", "c", "b1", "b2"}, []string{"b1", "b2"}, []string{"k", "c"}},
		"as CC too":            {[]string{"k", "a", "a"}, []string{"a"}, []string{"k", "a"}},
		"after a DL key":       {[]string{"dl"}, []string{"b1"}, []string{"dl"}},
		"blind is the DL key":  {[]string{"dl"}, []string{"dl"}, nil},
		"same as the main key": {[]string{"k", "k"}, []string{"k"}, []string{"k"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := broker.DeadLetter(wire.Properties{}, broker.Death{Queue: "q", Keys: c.keys, Blind: c.blind, At: noon})
			keys := []string{}
			for _, key := range got.Headers["x-death"].([]any)[0].(wire.Table)["routing-keys"].([]any) {
				keys = append(keys, key.(string))
			}
			if !slices.Equal(keys, c.want) {
				t.Fatalf("routing-keys %q", keys)
			}
		})
	}
}

func TestDeadLetterKeys(t *testing.T) {
	keys, dl, empty := []string{"k", "cc", "bcc"}, "dl", ""
	if got := broker.DeadLetterKeys(nil, keys); !slices.Equal(got, keys) {
		t.Errorf("without a dead letter key %q", got)
	}
	if got := broker.DeadLetterKeys(&dl, keys); !slices.Equal(got, []string{"dl"}) {
		t.Errorf("with one %q", got)
	}
	if got := broker.DeadLetterKeys(&empty, keys); !slices.Equal(got, []string{""}) {
		t.Errorf("with an empty one %q", got)
	}
}

func TestCycle(t *testing.T) {
	type deaths [][2]string // oldest first; the last is the present one
	cases := map[string]struct {
		deaths deaths
		target string
		want   bool
	}{
		"first death":                       {deaths{{"a", "expired"}}, "b", false},
		"into itself, expired":              {deaths{{"a", "expired"}}, "a", true},
		"into itself, maxlen":               {deaths{{"a", "maxlen"}}, "a", true},
		"into itself, delivery limit":       {deaths{{"a", "delivery_limit"}}, "a", true},
		"into itself, rejected":             {deaths{{"a", "rejected"}}, "a", false},
		"expired in two":                    {deaths{{"a", "expired"}, {"b", "expired"}}, "a", true},
		"expired in two, on to a third":     {deaths{{"a", "expired"}, {"b", "expired"}}, "c", false},
		"retry queue":                       {deaths{{"work", "rejected"}, {"retry", "expired"}}, "work", false},
		"retry queue for ever":              {deaths{{"work", "rejected"}, {"retry", "expired"}, {"work", "rejected"}, {"retry", "expired"}}, "work", false},
		"rejected between":                  {deaths{{"a", "expired"}, {"b", "rejected"}, {"c", "expired"}}, "a", false},
		"rejected before":                   {deaths{{"z", "rejected"}, {"a", "expired"}, {"b", "maxlen"}}, "a", true},
		"rejected there once, expired last": {deaths{{"a", "rejected"}, {"a", "expired"}, {"b", "expired"}}, "a", true},
		"expired there once, rejected last": {deaths{{"a", "expired"}, {"a", "rejected"}, {"b", "expired"}}, "a", false},
		"rejected now":                      {deaths{{"a", "expired"}, {"b", "rejected"}}, "a", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var p wire.Properties
			var reason string
			for _, d := range c.deaths {
				reason = d[1]
				p = die(p, d[0], reason, noon)
			}
			if got := broker.Cycle(p.Headers, c.target, reason); got != c.want {
				t.Fatalf("cycle %v, x-death %v", got, p.Headers["x-death"])
			}
		})
	}
	if p := die(wire.Properties{}, "q", "expired", noon); broker.Cycle(p.Headers, "q", "rejected") {
		t.Error("rejected, but a cycle")
	}
	if broker.Cycle(nil, "q", "expired") {
		t.Error("no headers, but a cycle")
	}
}

// Against a list of all deaths: entries are the last death of each kind, their count how
// many of the kind there were, and a cycle is to come back without a rejection since.
func TestDeathsAgreeWithAList(t *testing.T) {
	type kind struct{ queue, reason string }
	rapid.Check(t, func(t *rapid.T) {
		var p wire.Properties
		var all []kind
		for i := range rapid.IntRange(1, 25).Draw(t, "deaths") {
			k := kind{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "queue"),
				rapid.SampledFrom([]string{"rejected", "expired", "maxlen", "delivery_limit"}).Draw(t, "reason")}
			all = append(all, k)
			p = die(p, k.queue, k.reason, noon.Add(time.Duration(i)*time.Second))
			if raw := p.Append(nil); rapid.Bool().Draw(t, "over the wire") {
				var err error
				if p, err = wire.DecodeProperties(raw); err != nil {
					t.Fatal(err)
				}
			}
		}
		counts, firsts := map[kind]int64{}, map[kind]int{}
		for i, k := range all {
			if counts[k]++; counts[k] == 1 {
				firsts[k] = i
			}
		}
		var want []any
		for i := len(all) - 1; i >= 0; i-- {
			if k := all[i]; !slices.Contains(all[i+1:], k) {
				want = append(want, entry(k.queue, k.reason, "dlx", counts[k], noon.Add(time.Duration(firsts[k])*time.Second), "key of "+k.queue))
			}
		}
		if !reflect.DeepEqual(p.Headers["x-death"], want) {
			t.Fatalf("after %v\ngot  %v\nwant %v", all, p.Headers["x-death"], want)
		}
		for _, target := range []string{"a", "b", "c", "d"} {
			back := -1
			for i, k := range all {
				if k.queue == target {
					back = i
				}
			}
			cycle := back >= 0 && !slices.ContainsFunc(all[back:], func(k kind) bool { return k.reason == "rejected" })
			if got := broker.Cycle(p.Headers, target, all[len(all)-1].reason); got != cycle {
				t.Fatalf("after %v to %s: cycle %v, want %v", all, target, got, cycle)
			}
		}
	})
}

func FuzzDeadLetter(f *testing.F) {
	good := die(wire.Properties{Expiration: "5"}, "q", "expired", noon)
	f.Add(good.Append(nil))
	f.Add((&wire.Properties{Headers: wire.Table{"x-death": []any{wire.Table{"queue": "q"}}}}).Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := wire.DecodeProperties(raw)
		if err != nil {
			return
		}
		dead := die(p, "q", "expired", later)
		again, err := wire.DecodeProperties(dead.Append(nil))
		if err != nil || again.Has(wire.FlagExpiration) {
			t.Fatalf("%+v, %v", again, err)
		}
		if deaths, ok := again.Headers["x-death"].([]any); !ok || len(deaths) == 0 {
			t.Fatalf("x-death %v", again.Headers["x-death"])
		}
		if !broker.Cycle(again.Headers, "q", "expired") {
			t.Fatal(fmt.Sprint("no cycle: ", again.Headers))
		}
	})
}
