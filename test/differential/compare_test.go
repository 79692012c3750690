package differential

import (
	"fmt"
	"maps"
	"slices"
	"testing"
)

// A difference is an operation whose outcomes differ, and are meant to.
type difference struct {
	ours string // the gateway's outcome
	why  string
}

// differences are those of one script, by operation.
type differences map[string]difference

// compare returns a complaint for every operation whose outcomes differ without being listed, and for everything listed that does not show.
func compare(theirs, ours []outcome, listed differences) (complaints []string) {
	shown := map[string]bool{}
	for i := range min(len(theirs), len(ours)) {
		r, g := theirs[i], ours[i]
		d, isListed := listed[r.op]
		switch {
		case r.op != g.op:
			return append(complaints, fmt.Sprintf("the scripts part at operation %d: %q and %q", i, r.op, g.op))
		case isListed && g.got == d.ours && g.got != r.got:
			shown[r.op] = true
		case isListed:
			shown[r.op] = true
			complaints = append(complaints, fmt.Sprintf("%s\n\trabbitmq: %s\n\tgateway:  %s\n\tlisted:   %s (%s)", r.op, r.got, g.got, d.ours, d.why))
		case g.got != r.got:
			complaints = append(complaints, fmt.Sprintf("%s\n\trabbitmq: %s\n\tgateway:  %s", r.op, r.got, g.got))
		}
	}
	if len(theirs) != len(ours) {
		complaints = append(complaints, fmt.Sprintf("%d operations on RabbitMQ, %d on the gateway", len(theirs), len(ours)))
	}
	for _, op := range slices.Sorted(maps.Keys(listed)) {
		if !shown[op] {
			complaints = append(complaints, "listed, but not in the script: "+op)
		}
	}
	return complaints
}

func TestCompare(t *testing.T) {
	two := []outcome{{"declare", "ok"}, {"get", "empty"}}
	for name, c := range map[string]struct {
		ours   []outcome
		listed differences
		want   int
	}{
		"the same":               {ours: two},
		"an unlisted difference": {ours: []outcome{{"declare", "ok"}, {"get", "#1"}}, want: 1},
		"a listed difference":    {ours: []outcome{{"declare", "ok"}, {"get", "#1"}}, listed: differences{"get": {ours: "#1"}}},
		"it differs otherwise":   {ours: []outcome{{"declare", "ok"}, {"get", "#2"}}, listed: differences{"get": {ours: "#1"}}, want: 1},
		"it differs no longer":   {ours: two, listed: differences{"get": {ours: "#1"}}, want: 1},
		"it is in no script":     {ours: two, listed: differences{"put": {ours: "#1"}}, want: 1},
		"another operation":      {ours: []outcome{{"declare", "ok"}, {"put", "empty"}}, want: 1},
		"one operation less":     {ours: two[:1], want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := compare(two, c.ours, c.listed); len(got) != c.want {
				t.Errorf("%d complaints, want %d: %q", len(got), c.want, got)
			}
		})
	}
}

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{
		"ok amq.gen-JzTY20BRgKO-HjmUJj0wLg ready=0":    "ok amq.gen-* ready=0",
		"no queue 'amq.gen-Jz' in vhost":               "no queue 'amq.gen-*' in vhost",
		"amq.ctag-x_1":                                 "amq.ctag-*",
		`reply-to="amq.rabbitmq.reply-to.g1h2AAZ.a=="`: `reply-to="amq.rabbitmq.reply-to.*"`,
		"amq.rabbitmq.reply-to":                        "amq.rabbitmq.reply-to",
		"unknown delivery tag 7":                       "unknown delivery tag 7",
	} {
		if got := normal(in); got != want {
			t.Errorf("normal(%q) = %q, want %q", in, got, want)
		}
	}
}
