package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"portico/adapters/amqp/broker"
)

func TestTopicPatterns(t *testing.T) {
	cases := map[string]struct{ match, miss []string }{
		"*.stock.#":  {[]string{"usd.stock", "eur.stock.db", ".stock", "a.stock.b.c.d"}, []string{"stock.nasdaq", "stock", "a.b.stock"}},
		"a.#.b":      {[]string{"a.b", "a.x.b", "a.x.y.b", "a..b", "a.b.b"}, []string{"a", "b", "a.b.c", "a.xb"}},
		"#":          {[]string{"", ".", "a", "a.b.c", "..."}, nil},
		"#.#":        {[]string{"", ".", "a", "a.b.c"}, nil},
		"*":          {[]string{"a", "*", "#", "\x00\xff"}, []string{"", ".", "a.b"}},
		"*.*":        {[]string{".", "a.", ".b", "a.b"}, []string{"", "a", ".."}},
		"":           {[]string{""}, []string{".", "a"}},
		".":          {[]string{"."}, []string{"", "..", "a."}},
		"a..b":       {[]string{"a..b"}, []string{"a.b", "a...b", "a.x.b"}},
		"#.a":        {[]string{"a", "a.a", "x.a", ".a"}, []string{"", "a.x", "xa"}},
		"a.#":        {[]string{"a", "a.", "a.b.c"}, []string{"", "ab", "b.a"}},
		"#.*":        {[]string{"a", "a.b", "."}, []string{""}},
		"*.#":        {[]string{"a", "a.b", "."}, []string{""}},
		"#.a.#.b.#":  {[]string{"a.b", "x.a.y.b.z", "b.a.b"}, []string{"b.a", "a", "ab"}},
		"a*":         {[]string{"a*"}, []string{"ab", "a"}},
		"#a":         {[]string{"#a"}, []string{"a", "xa"}},
		"a.\xff.\n ": {[]string{"a.\xff.\n "}, []string{"a.\xfe.\n "}},
	}
	for pattern, c := range cases {
		t.Run(pattern, func(t *testing.T) {
			v := broker.New("/")
			bind(t, v, "amq.topic", "q", pattern)
			for _, key := range c.match {
				expectRoute(t, v, "amq.topic", key, "q")
			}
			for _, key := range c.miss {
				expectRoute(t, v, "amq.topic", key)
			}
			if _, err := v.Unbind(broker.Binding{Source: "amq.topic", Destination: "q", Key: pattern}); err != nil {
				t.Fatal(err)
			}
			for _, key := range c.match {
				expectRoute(t, v, "amq.topic", key)
			}
		})
	}
}

// topicMatches is the definition, read literally.
func topicMatches(pattern, key []string) bool {
	switch {
	case len(pattern) == 0:
		return len(key) == 0
	case pattern[0] == "#":
		return topicMatches(pattern[1:], key) || len(key) > 0 && topicMatches(pattern, key[1:])
	case len(key) == 0:
		return false
	}
	return (pattern[0] == "*" || pattern[0] == key[0]) && topicMatches(pattern[1:], key[1:])
}

func words(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

func TestTopicAgreesWithDefinition(t *testing.T) {
	pattern := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "", "*", "#", "#"}), 0, 6), join)
	key := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "", "c"}), 0, 7), join)
	rapid.Check(t, func(t *rapid.T) { // 100 × 200 keys, each against every pattern
		v := broker.New("/")
		patterns := rapid.SliceOfNDistinct(pattern, 1, 25, rapid.ID).Draw(t, "patterns")
		for _, p := range patterns {
			bind(t, v, "amq.topic", p, p)
		}
		if gone := rapid.IntRange(0, len(patterns)-1).Draw(t, "gone"); gone > 0 {
			for _, p := range patterns[:gone] {
				v.DeleteQueue(p)
			}
			patterns = patterns[gone:]
		}
		for range 200 {
			k := key.Draw(t, "key")
			var want []string
			for _, p := range patterns {
				if topicMatches(words(p), words(k)) {
					want = append(want, p)
				}
			}
			slices.Sort(want)
			expectRoute(t, v, "amq.topic", k, want...)
		}
	})
}

func join(words []string) string { return strings.Join(words, ".") }

// Going back over the key for every "#" would take some 10^30 steps here.
func TestTopicManyHashesStayCheap(t *testing.T) {
	v := broker.New("/")
	for i := range 60 {
		bind(t, v, "amq.topic", fmt.Sprint(i), strings.Repeat("#.a.", i)+"#.b")
		bind(t, v, "amq.topic", fmt.Sprint(i), strings.Repeat("#.*.", i)+"#.b")
	}
	expectRoute(t, v, "amq.topic", strings.Repeat("a.", 126)+"a")
	if got := routed(t, v, "amq.topic", strings.Repeat("a.", 126)+"b", nil); len(got) != 60 {
		t.Fatalf("%d queues", len(got))
	}
}
