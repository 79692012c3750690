package stomp

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDestinations(t *testing.T) {
	for text, want := range map[string]destination{
		"/queue/a":                 {kind: kindQueue, name: "a"},
		"/queue/a%2Fb%25":          {kind: kindQueue, name: "a/b%"},
		"/amq/queue/a":             {kind: kindAMQQueue, name: "a"},
		"/topic/a.b":               {kind: kindSubjects, key: "a.b"},
		"/exchange/x/a.b":          {kind: kindSubjects, exchange: "x", key: "a.b"},
		"/exchange/x":              {kind: kindSubjects, exchange: "x", anyKey: true},
		"/exchange/amq.topic/a":    {kind: kindSubjects, key: "a"},
		"bare":                     {kind: kindQueue, name: "bare"},
		"/temp-queue/t":            {kind: kindTemp, name: "t"},
		"/reply-queue/_INBOX.a.b":  {kind: kindReply, name: "_INBOX.a.b"},
		"/reply-queue/amq.gen-abc": {kind: kindAMQQueue, name: "amq.gen-abc"},
	} {
		want.text = text
		if got, err := parseDestination(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "/", "queue/a", "/queue", "/queue/", "/queue/a/b", "/queue/%zz", "/topic//a", "/amq/a", "/amq/queue/", "/exchange/a/b/c", "/dsub/a"} {
		if got, err := parseDestination(text); err == nil {
			t.Errorf("%q was taken for %+v", text, got)
		}
	}
}

func TestSubjectsOfDestinations(t *testing.T) {
	for text, want := range map[string]struct {
		subject  string
		patterns []string
	}{
		"/topic/a.b":           {"a.b", []string{"a.b"}},
		"/topic/a.*":           {"a.%2A", []string{"a.*"}},
		"/topic/a.#":           {"a.%23", []string{"a", "a.>"}},
		"/topic/#":             {"%23", []string{">"}},
		"/exchange/x":          {"x.%_", []string{"x.>"}},
		"/exchange/x/a b":      {"x.a%20b", []string{"x.a%20b"}},
		"/exchange/x/#":        {"x.%23", []string{"x.>"}},
		"/exchange/x/$a":       {"x.$a", []string{"x.$a"}},
		"/exchange/a.b/c.#":    {"a%2Eb.c.%23", []string{"a%2Eb.c", "a%2Eb.c.>"}},
		"/topic/$JS.API":       {"%24JS.API", []string{"%24JS.API"}},
		"/exchange/$JS/API.>":  {"%24JS.API.%3E", []string{"%24JS.API.%3E"}},
		"/exchange/_INBOX/a.b": {"%5FINBOX.a.b", []string{"%5FINBOX.a.b"}},
	} {
		d, err := parseDestination(text)
		if err != nil {
			t.Fatal(err)
		}
		subject := strings.ReplaceAll(want.subject, "%23", "#") // which is no wildcard of the bus
		if got := d.subject(); got != subject {
			t.Errorf("%s is published on %s, want %s", text, got, subject)
		}
		if got := d.patterns(); !slices.Equal(got, want.patterns) {
			t.Errorf("%s listens on %q, want %q", text, got, want.patterns)
		}
	}
}

// TestTopicMatch compares with a regular expression.
func TestTopicMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*", "#"}), 1, 5).Draw(t, "pattern")
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 6).Draw(t, "words")
		var expr strings.Builder
		for _, p := range pattern {
			expr.WriteString(map[string]string{"a": "a,", "b": "b,", "*": "[abc],", "#": "([abc],)*"}[p])
		}
		want := regexp.MustCompile("^" + expr.String() + "$").MatchString(strings.Join(words, ",") + ",")
		if got := topicMatch(pattern, words); got != want {
			t.Fatalf("%v matches %v: %v, want %v", pattern, words, got, want)
		}
	})
}
