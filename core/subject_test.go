package core

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCheckSubjectAndPattern(t *testing.T) {
	for s, want := range map[string]struct{ subject, pattern bool }{
		"a":                               {true, true},
		"a.b.c":                           {true, true},
		"日本.é":                            {true, true},
		"$JS.API":                         {true, true},
		"a.*":                             {false, true},
		"*":                               {false, true},
		">":                               {false, true},
		"a.>":                             {false, true},
		"a.*.b.>":                         {false, true},
		"":                                {},
		".":                               {},
		"a.":                              {},
		".a":                              {},
		"a..b":                            {},
		"a b":                             {},
		"a\tb":                            {},
		"a\r\nPUB x 0\r\n":                {},
		"a\x00":                           {},
		"a\x7f":                           {},
		"a*":                              {},
		"*a":                              {},
		"a.>.b":                           {},
		"a>":                              {},
		strings.Repeat("a", maxSubject):   {true, true},
		strings.Repeat("a", maxSubject+1): {},
	} {
		if got := checkSubject(s) == nil; got != want.subject {
			t.Errorf("subject %.20q: accepted %v, want %v", s, got, want.subject)
		}
		if got := checkPattern(s) == nil; got != want.pattern {
			t.Errorf("pattern %.20q: accepted %v, want %v", s, got, want.pattern)
		}
	}
}

func TestCovers(t *testing.T) {
	for name, c := range map[string]struct {
		pattern, sub string
		want         bool
	}{
		"itself":               {"a.b", "a.b", true},
		"star":                 {"a.*", "a.b", true},
		"star for one only":    {"a.*", "a.b.c", false},
		"rest":                 {"a.>", "a.b.c", true},
		"rest needs one":       {"a.>", "a", false},
		"longer pattern":       {"a.b.c", "a.b", false},
		"star covers star":     {"a.*", "a.*", true},
		"star not rest":        {"a.*", "a.>", false},
		"rest covers star":     {"a.>", "a.*.b", true},
		"literal not star":     {"a.b", "a.*", false},
		"everything":           {">", "a.b", true},
		"not the bus's own":    {">", "$JS.API", false},
		"star not bus's own":   {"*.API", "$JS.API", false},
		"not inboxes":          {">", "_INBOX.x", false},
		"named":                {"$JS.>", "$JS.API", true},
		"everything as itself": {">", ">", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := covers(c.pattern, c.sub); got != c.want {
				t.Errorf("covers(%q, %q) = %v", c.pattern, c.sub, got)
			}
		})
	}
}

// TestTrieFindsWhatCoversFinds checks the trie against the rule written plainly, under random changes, and that earlier tries stay what they were.
func TestTrieFindsWhatCoversFinds(t *testing.T) {
	token := rapid.SampledFrom([]string{"a", "b", "c", "d", "*"})
	rapid.Check(t, func(t *rapid.T) {
		var now trie[int]
		model := map[string][]int{}
		var before trie[int]
		var beforeFound []int
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			pattern := strings.Join(rapid.SliceOfN(token, 1, 4).Draw(t, "tokens"), ".")
			if rapid.Bool().Draw(t, "rest") {
				pattern += ".>"
			}
			v := rapid.IntRange(1, 3).Draw(t, "value")
			before, beforeFound = now, sorted(now.match("a.b.c", nil))
			if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				now = now.without(pattern, v)
				model[pattern] = slices.DeleteFunc(slices.Clone(model[pattern]), func(x int) bool { return x == v })
			} else {
				now = now.with(pattern, v)
				if !slices.Contains(model[pattern], v) {
					model[pattern] = append(slices.Clone(model[pattern]), v)
				}
			}
			if got := sorted(before.match("a.b.c", nil)); !slices.Equal(got, beforeFound) {
				t.Fatalf("a trie changed: %v, was %v", got, beforeFound)
			}
			subject := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), 1, 5).Draw(t, "subject"), ".")
			var want []int
			for p, values := range model {
				if covers(p, subject) {
					want = append(want, values...)
				}
			}
			if got := sorted(now.match(subject, nil)); !slices.Equal(got, sorted(want)) {
				t.Fatalf("match(%q) = %v, want %v", subject, got, sorted(want))
			}
		}
		for p, values := range model {
			for _, v := range values {
				now = now.without(p, v)
			}
		}
		if now.root != nil {
			t.Fatalf("an emptied trie has nodes left")
		}
	})
}

func sorted(values []int) []int {
	slices.Sort(values)
	return values
}

func BenchmarkTrie(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		var tr trie[int]
		for i := range n {
			tr = tr.with("orders."+strconv.Itoa(i)+".created", i)
		}
		b.Run("match/"+strconv.Itoa(n), func(b *testing.B) {
			var dst []int
			b.ReportAllocs()
			for b.Loop() {
				dst = tr.match("orders.0.created", dst[:0])
			}
		})
	}
	b.Run("grow to 10000", func(b *testing.B) {
		for b.Loop() {
			var tr trie[int]
			for i := range 10_000 {
				tr = tr.with("orders."+strconv.Itoa(i), i)
			}
		}
	})
}
