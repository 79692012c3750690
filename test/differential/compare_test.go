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

// A change is what RabbitMQ did between the release that runs here and the one that the gateway stands in for: it makes the newer outcome out of the older.
type change struct {
	why   string
	newer func(older string) string
}

// A comparison is of one script's outcomes. It collects complaints.
type comparison struct {
	changes    []change
	listed     differences
	applied    map[string]bool // changes that made a difference, by why
	complaints []string
}

// of compares every operation, and complains of those whose outcomes differ without being listed, and of everything listed that does not show.
func (c *comparison) of(theirs, ours []outcome) {
	shown := map[string]bool{}
	for i := range min(len(theirs), len(ours)) {
		if theirs[i].op != ours[i].op {
			c.complain("the scripts part at operation %d: %q and %q", i, theirs[i].op, ours[i].op)
			return
		}
		shown[theirs[i].op] = true
		c.one(theirs[i].op, c.newer(theirs[i].got), ours[i].got)
	}
	if len(theirs) != len(ours) {
		c.complain("%d operations on RabbitMQ, %d on the gateway", len(theirs), len(ours))
	}
	for _, op := range slices.Sorted(maps.Keys(c.listed)) {
		if !shown[op] {
			c.complain("listed, but not in the script: %s", op)
		}
	}
}

func (c *comparison) one(op, theirs, ours string) {
	d, isListed := c.listed[op]
	switch {
	case isListed && ours == theirs:
		c.complain("%s\n\tdiffers no longer: take it off the list (%s)", op, d.why)
	case isListed && ours != d.ours:
		c.complain("%s\n\trabbitmq: %s\n\tgateway:  %s\n\tlisted:   %s (%s)", op, theirs, ours, d.ours, d.why)
	case !isListed && ours != theirs:
		c.complain("%s\n\trabbitmq: %s\n\tgateway:  %s", op, theirs, ours)
	}
}

// newer is an outcome as the newer release would have it.
func (c *comparison) newer(got string) string {
	for _, change := range c.changes {
		if changed := change.newer(got); changed != got {
			c.applied[change.why] = true
			got = changed
		}
	}
	return got
}

func (c *comparison) complain(format string, args ...any) {
	c.complaints = append(c.complaints, fmt.Sprintf(format, args...))
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
			got := comparison{listed: c.listed}
			got.of(two, c.ours)
			if len(got.complaints) != c.want {
				t.Errorf("%d complaints, want %d: %q", len(got.complaints), c.want, got.complaints)
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
