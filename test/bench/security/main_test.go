// Package security measures what logins and permissions cost: the same load on a gateway that is open to everybody and on one with users and rules, in turns, in one run.
//
//	go test ./test/bench/security                                       a moment of each: whether it works
//	AUTHLOAD=3s go test -v -count=1 -timeout 20m ./test/bench/security  the table in docs/benchmarks.md; three minutes, on a quiet machine
//
// Both gateways are processes of their own; the load program shares the machine with them.
package security

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/test/gateway"
)

// rules are a user's: what the load needs is allowed by the last of many.
const rules = `users:
  - name: load
    password: secret
    publish: [%s, "bench.>", "$queue.bench"]
    subscribe: [%s, "bench.>", "$queue.bench"]
`

// rows are what has been measured so far.
var rows []string

func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	if len(rows) > 0 {
		fmt.Printf("\n| door | open | users and rules | ratio | asked |\n| --- | --- | --- | --- | --- |\n%s\n\n", strings.Join(rows, "\n"))
	}
	os.Exit(status)
}

// duration is how long one turn lasts, and how many of them there are.
func duration(t *testing.T) (d time.Duration, turns int) {
	t.Helper()
	text := os.Getenv("AUTHLOAD")
	if text == "" {
		return 150 * time.Millisecond, 1
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("AUTHLOAD: %v", err)
	}
	return d, 5
}

// start starts a gateway that is open to everybody, and one that is not.
func start(t *testing.T) (open, closed *gateway.Gateway) {
	t.Helper()
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("%q", fmt.Sprintf("tenant%d.*.orders.>", i)))
	}
	list := strings.Join(many, ", ")
	file := filepath.Join(t.TempDir(), "portico.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, rules, list, list), 0o600); err != nil {
		t.Fatal(err)
	}
	program := gateway.Build(t)
	return gateway.Run(t, exec.Command(program)), gateway.Run(t, exec.Command(program, "--config", file))
}

// load publishes as fast as it can until the time is over, and returns how many messages a second were acknowledged.
type load func(t *testing.T, g *gateway.Gateway, user, password string, d time.Duration) float64

// TestCost measures each door.
func TestCost(t *testing.T) {
	d, turns := duration(t)
	open, closed := start(t)
	for _, c := range []struct {
		name string
		run  load
	}{{"AMQP", overAMQP}, {"WebSocket", overWebSocket}, {"gRPC", overGRPC}, {"HTTP", overHTTP}} {
		t.Run(c.name, func(t *testing.T) {
			var free, checked []float64
			for range turns {
				free = append(free, c.run(t, open, "guest", "guest", d))
				checked = append(checked, c.run(t, closed, "load", "secret", d))
			}
			a, b := median(free), median(checked)
			if a == 0 || b == 0 {
				t.Fatalf("nothing was acknowledged: %v and %v", free, checked)
			}
			rows = append(rows, fmt.Sprintf("| %s | %.0f/s | %.0f/s | %.2f | 0.90 |", c.name, a, b, b/a))
		})
	}
}

func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
