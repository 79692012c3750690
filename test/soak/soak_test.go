// Package soak lives with the gateway for a while as a crowd of AMQP clients that behave as clients do: most of them well, some die in the middle of a frame,
// some make mistakes, and twice somebody kills the gateway. It keeps a ledger of every message and watches memory and goroutines.
//
//	go test ./test/soak                                            ten seconds: whether it works
//	SOAK=1h go test -v -count=1 -timeout 90m ./test/soak           the soak: also tells, and bounds, how memory and goroutines grow
//
// With E2E=long and without SOAK it takes two minutes. SOAK_GATEWAY names a program that has been built already, with the race detector perhaps.
//
// What it holds the gateway to:
//
//   - Every confirmed message reaches every queue it was published to, through kill -9, expiry and dead-lettering, until somebody has acknowledged it there.
//   - No message is with two consumers at once, or twice with one.
//   - A message that comes again says so (redelivered), and one whose acknowledgement was surely read does not come again while the gateway lives.
//   - Connections and channels end when a client ends them or makes a mistake, with the right code, and not otherwise; no publish is refused or returned.
//   - When everybody has gone nothing stays behind: messages, queues, connections, goroutines.
package soak

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

const (
	publishers = 4
	consumers  = 2 // for each queue
	getters    = 1 // for each queue
	churners   = 3

	patience   = 30 * time.Second // for whatever must happen
	steadySpan = 10 * time.Minute // of samples, from which on growth is judged and not only told
	maxGrowth  = 0.1              // of goroutines and memory in the steady part
)

// duration is how long the crowd is let loose.
func duration(t *testing.T) time.Duration {
	t.Helper()
	if text := os.Getenv("SOAK"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 5*time.Second {
			t.Fatalf("SOAK=%s: want a duration of 5s or more, such as 1h", text)
		}
		return d
	}
	if os.Getenv("E2E") == "long" {
		return 2 * time.Minute
	}
	return 10 * time.Second
}

// TestSoak is the soak; see the package comment.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the gateway and keeps it busy")
	}
	whole := duration(t)
	w := newWorld(t)
	w.start()
	w.declareTopology()
	w.open()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var crowd sync.WaitGroup
	w.gather(ctx, &crowd)
	samples := w.live(whole)
	stop()
	w.within("the clients end", 2*patience, crowd.Wait)

	w.drain()
	w.nothingLeft()
	w.report(whole)
	samples.judge(t)
}

// gather lets the clients loose.
func (w *world) gather(ctx context.Context, crowd *sync.WaitGroup) {
	slot := uint64(0)
	loose := func(n int, live func(ctx context.Context, rnd *rand.Rand)) {
		for range n {
			slot++
			rnd := rand.New(rand.NewPCG(w.seed, slot))
			crowd.Go(func() { live(ctx, rnd) })
		}
	}
	loose(publishers, w.publisher)
	for _, q := range w.queues {
		loose(consumers, func(ctx context.Context, rnd *rand.Rand) { w.consumer(ctx, rnd, q, (*consumer).consume) })
		loose(getters, func(ctx context.Context, rnd *rand.Rand) { w.consumer(ctx, rnd, q, (*consumer).get) })
	}
	for i := range churners {
		loose(1, func(ctx context.Context, rnd *rand.Rand) { w.churner(ctx, rnd, churnQueue(i)) })
	}
}

// live watches for so long, and kills the gateway twice in the first third, so that the rest is one life long enough to see whether something grows.
func (w *world) live(whole time.Duration) *series {
	rnd := rand.New(rand.NewPCG(w.seed, 0))
	at := func(from, to float64) <-chan time.Time {
		return time.After(time.Duration((from + rnd.Float64()*(to-from)) * float64(whole)))
	}
	over, first, second := time.After(whole), at(.05, .15), at(.2, .3)
	tick := time.NewTicker(min(max(whole/60, 500*time.Millisecond), time.Minute))
	defer tick.Stop()
	s := &series{}
	for {
		select {
		case <-tick.C:
			s.add(w.sample())
		case <-first:
			w.kill()
		case <-second:
			w.kill()
		case <-over:
			return s
		}
	}
}

// within fails the test when wait takes longer.
func (w *world) within(what string, atMost time.Duration, wait func()) {
	w.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		wait()
	}()
	select {
	case <-done:
	case <-time.After(atMost):
		w.t.Fatalf("%s: not within %v", what, atMost)
	}
}

// builtProgram is the gateway, built once.
type builtProgram struct {
	once sync.Once
	dir  string
	path string
	err  error
}

var built builtProgram

func (b *builtProgram) build() {
	if b.path = os.Getenv("SOAK_GATEWAY"); b.path != "" {
		return
	}
	if b.dir, b.err = os.MkdirTemp("", "portico-soak-"); b.err != nil {
		return
	}
	b.path = filepath.Join(b.dir, "gateway")
	if out, err := exec.Command("go", "build", "-o", b.path, "portico/cmd/gateway").CombinedOutput(); err != nil {
		b.err = fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
}

func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}
