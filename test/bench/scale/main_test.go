// Package scale measures the gateway with much of one thing: thousands of connections, thousands of queues, millions of messages in one queue.
//
//	go test ./test/bench/scale                                       small sizes and loose bounds: whether it works
//	SCALE=1 go test -v -count=1 -timeout 30m ./test/bench/scale      full size and the targets; about ten minutes
//	SCALE=0.1 go test -v -count=1 -run Backlog ./test/bench/scale    a tenth of the size, loose bounds
//
// E2E=long is SCALE=1. The table at the end is the one in docs/benchmarks.md. The machine should be quiet, and 10,000 files should be allowed to be open.
// SCALE_GATEWAY names a program that has been built already. SCALE_PROFILE=DIR measures a program with a profiler in it and leaves profiles in DIR.
package scale

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// size is how much of everything, and how strict the targets are.
type size struct {
	connections, queues, messages int
	slack                         float64       // targets are so many times looser
	collect                       time.Duration // how long to wait for a garbage collection that nobody asks for
}

// chosen is the size that the environment asks for.
func chosen(t *testing.T) size {
	t.Helper()
	if testing.Short() {
		t.Skip("starts the gateway")
	}
	fraction, text := 0.01, os.Getenv("SCALE")
	if text == "" && os.Getenv("E2E") == "long" {
		text = "1"
	}
	if text != "" {
		var err error
		if fraction, err = strconv.ParseFloat(text, 64); err != nil || fraction <= 0 {
			t.Fatalf("SCALE=%s: want a number above 0, such as 1", text)
		}
	}
	part := func(n int) int { return max(int(float64(n)*fraction), 50) }
	s := size{connections: part(5_000), queues: part(5_000), messages: part(5_000_000), slack: 10, collect: 200 * time.Millisecond}
	if fraction >= 1 {
		s.slack, s.collect = 1, 150*time.Second // the Go runtime collects an idle program's garbage every two minutes
	}
	return s
}

// table is what has been measured so far.
type table struct {
	mu   sync.Mutex
	rows []string
}

var measured table

func (m *table) row(what, value, target string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = append(m.rows, fmt.Sprintf("| %s | %s | %s |", what, value, target))
}

// tell notes a figure without a target.
func tell(t *testing.T, what, value string) {
	t.Helper()
	t.Logf("%s: %s", what, value)
	measured.row(what, value, "")
}

// atMost notes a figure and fails the test when it is above its target.
func atMost[N int64 | float64 | time.Duration](t *testing.T, z size, what string, value, target N, show func(N) string) {
	t.Helper()
	t.Logf("%s: %s, target at most %s", what, show(value), show(target))
	measured.row(what, show(value), "≤ "+show(target))
	if float64(value) > float64(target)*z.slack {
		t.Errorf("%s: %s, want at most %v times %s", what, show(value), z.slack, show(target))
	}
}

// atLeast is atMost the other way round.
func atLeast(t *testing.T, z size, what string, value, target float64, show func(float64) string) {
	t.Helper()
	t.Logf("%s: %s, target at least %s", what, show(value), show(target))
	measured.row(what, show(value), "≥ "+show(target))
	if value < target/z.slack {
		t.Errorf("%s: %s, want at least %s divided by %v", what, show(value), show(target), z.slack)
	}
}

func perSecond(v float64) string          { return fmt.Sprintf("%.0f/s", v) }
func ratio(v float64) string              { return fmt.Sprintf("%.2f", v) }
func kib(v float64) string                { return fmt.Sprintf("%.1f KiB", v/1024) }
func mib(v int64) string                  { return fmt.Sprintf("%d MiB", v>>20) }
func seconds(v time.Duration) string      { return fmt.Sprintf("%.2f s", v.Seconds()) }
func rate(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

// builtProgram is the gateway, built once for all tests.
type builtProgram struct {
	once sync.Once
	dir  string
	path string
	err  error
}

var built builtProgram

func (b *builtProgram) build() {
	if b.path = os.Getenv("SCALE_GATEWAY"); b.path != "" {
		return
	}
	if b.dir, b.err = os.MkdirTemp("", "portico-scale-"); b.err != nil {
		return
	}
	b.path = filepath.Join(b.dir, "gateway")
	args := []string{"build", "-o", b.path}
	if profileDir() != "" {
		var overlay string
		if overlay, b.err = b.overlay(); b.err != nil {
			return
		}
		args = append(args, "-overlay", overlay)
	}
	if out, err := exec.Command("go", append(args, "portico/cmd/gateway")...).CombinedOutput(); err != nil {
		b.err = fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
}

// overlay adds the profiler to the program without adding it to the product.
func (b *builtProgram) overlay() (path string, err error) {
	source, err := filepath.Abs("testdata/profiler.go")
	if err != nil {
		return "", err
	}
	place := filepath.Join(filepath.Dir(source), "../../../../cmd/gateway/profiler.go")
	text, err := json.Marshal(map[string]map[string]string{"Replace": {place: source}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(b.dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}

func profileDir() string { return os.Getenv("SCALE_PROFILE") }

func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	if rows := measured.rows; len(rows) > 0 {
		fmt.Printf("\n| what | measured | target |\n| --- | --- | --- |\n%s\n\n", strings.Join(rows, "\n"))
	}
	os.Exit(status)
}
