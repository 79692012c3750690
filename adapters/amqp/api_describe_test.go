package amqp

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestEveryPlaceIsDescribed: the OpenAPI document has every method of every place, and nothing else.
func TestEveryPlaceIsDescribed(t *testing.T) {
	told := map[string]int{}
	(&API{}).Describe(func(method, path, summary string, _ map[string]any, _, _ any, success ...int) {
		parts := strings.Split(path, "/")
		for i, p := range parts {
			if strings.HasPrefix(p, "{") {
				parts[i] = ":"
			}
		}
		told[method+" "+strings.Join(parts, "/")]++
		if summary == "" || len(success) == 0 {
			t.Errorf("%s %s: summary %q, statuses %v", method, path, summary, success)
		}
	})
	there := map[string]bool{}
	for _, p := range places() {
		for method := range p.methods {
			there[method+" "+strings.Join(p.path, "/")] = true
		}
	}
	for _, what := range slices.Sorted(maps.Keys(there)) {
		if told[what] != 1 {
			t.Errorf("%s is told %d times", what, told[what])
		}
	}
	for _, what := range slices.Sorted(maps.Keys(told)) {
		if !there[what] {
			t.Errorf("%s is told and not there", what)
		}
	}
}
