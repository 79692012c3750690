package differential

import (
	"regexp"
	"strings"
	"testing"
)

// changes are those between RabbitMQ 3.10, which Debian ships, and 3.13 that many operations show. Those that few show are in known.
func changes() []change {
	noCount := strings.NewReplacer(" headers={x-delivery-count: l0}", "", ", x-delivery-count: l0", "")
	deaths := regexp.MustCompile(`x-death: \[\{count: l\d+, exchange: ("[^"]*"),(?: original-expiration: "\d+",)? queue: ("[^"]*"), reason: ("[^"]*"), [^}]*now\}(?:, \{[^}]*\})*\](?:, x-first-death-exchange: "[^"]*", x-first-death-queue: "[^"]*", x-first-death-reason: "[^"]*")?`)
	return []change{
		{why: "basic.get from a quorum queue says x-delivery-count only if there is something to count", newer: noCount.Replace},
		{why: "x-last-death-… beside x-first-death-…", newer: func(older string) string {
			return deaths.ReplaceAllString(older, `${0}, x-last-death-exchange: $1, x-last-death-queue: $2, x-last-death-reason: $3`)
		}},
	}
}

func TestChanges(t *testing.T) {
	for older, want := range map[string]string{
		`#1 "a" via /q headers={x-delivery-count: l0} left=3`:       `#1 "a" via /q left=3`,
		`#1 "a" via /q headers={h: "v", x-delivery-count: l0}`:      `#1 "a" via /q headers={h: "v"}`,
		`#1 "a" via /q headers={x-delivery-count: l1} left=3`:       `#1 "a" via /q headers={x-delivery-count: l1} left=3`,
		`headers={x-death: [{count: l5, exchange: "x", time: T1}]}`: `headers={x-death: [{count: l5, exchange: "x", time: T1}]}`,
		`headers={x-death: [{count: l1, exchange: "x", queue: "q", reason: "r", routing-keys: ["k"], time: Tnow}, {count: l2, routing-keys: ["k"]}], x-first-death-exchange: "a", x-first-death-queue: "b", x-first-death-reason: "c"}`: `headers={x-death: [{count: l1, exchange: "x", queue: "q", reason: "r", routing-keys: ["k"], time: Tnow}, {count: l2, routing-keys: ["k"]}], x-first-death-exchange: "a", x-first-death-queue: "b", x-first-death-reason: "c", x-last-death-exchange: "x", x-last-death-queue: "q", x-last-death-reason: "r"}`,
	} {
		got := older
		for _, c := range changes() {
			got = c.newer(got)
		}
		if got != want {
			t.Errorf("%s\n\tbecame %s\n\twant   %s", older, got, want)
		}
	}
}
