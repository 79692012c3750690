package soak

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"

	amqp "github.com/rabbitmq/amqp091-go"
)

// tellFaults is how many faults are told one by one.
const tellFaults = 20

// hurried is how long before a kill publishers publish as fast as they can.
const hurried = 300 * time.Millisecond

// world is the gateway through its lives, and everything its clients share.
type world struct {
	// immutable
	t      *testing.T
	dir    string
	seed   uint64
	queues []*queue
	ledger *ledger

	// of the goroutine that runs the test
	gateway *gateway.Gateway
	cmd     *exec.Cmd
	begun   time.Time

	turns struct{ publisher, consumer atomic.Uint64 } // clients end in every way in turn
	hurry atomic.Bool                                 // publishers are to publish as fast as they can

	// guarded by mu
	mu     sync.Mutex
	url    string
	life   int           // counts the gateway's starts
	up     chan struct{} // closed while clients may connect
	counts map[string]int
	faults int
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, dir: t.TempDir(), seed: uint64(time.Now().UnixNano()), queues: workQueues(), begun: time.Now(),
		up: make(chan struct{}), counts: map[string]int{},
	}
	w.ledger = newLedger(w.fault)
	t.Logf("seed %d", w.seed)
	return w
}

// start starts the gateway; nobody connects before open is called.
func (w *world) start() {
	w.t.Helper()
	built.once.Do(built.build)
	if built.err != nil {
		w.t.Fatal(built.err)
	}
	began := time.Now()
	w.cmd = exec.Command(built.path, "--log-level", "warn")
	w.gateway = gateway.RunIn(w.t, w.dir, w.cmd)
	w.t.Logf("%v: the gateway opened after %v", w.clock(), time.Since(began).Round(time.Millisecond))
}

// open lets the clients connect.
func (w *world) open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.url = w.gateway.Doors["AMQP"] + "/"
	close(w.up)
}

// kill kills the gateway while much is on its way, and starts it again. The new life begins before the old one ends: whatever clients see of the end is then of the past.
func (w *world) kill() {
	w.t.Helper()
	w.hurry.Store(true)
	defer w.hurry.Store(false)
	<-time.After(hurried)
	w.mu.Lock()
	w.up = make(chan struct{})
	w.life++
	life := w.life
	w.mu.Unlock()
	w.ledger.begin(life)
	w.gateway.Signal(w.t, syscall.SIGKILL)
	w.gateway.Wait(w.t)
	w.count("gateway killed")
	w.start()
	w.open()
}

// current waits until the gateway is up. It returns false when ctx is over before that.
func (w *world) current(ctx context.Context) (url string, life int, ok bool) {
	for {
		w.mu.Lock()
		up := w.up
		w.mu.Unlock()
		select {
		case <-up:
		case <-ctx.Done():
			return "", 0, false
		}
		w.mu.Lock()
		url, life, ok = w.url, w.life, up == w.up
		w.mu.Unlock()
		if ok {
			return url, life, true
		}
	}
}

func (w *world) alive(life int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return life == w.life
}

// fault is something that the gateway must not do.
func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	w.faults++
	n := w.faults
	w.mu.Unlock()
	if n <= tellFaults {
		w.t.Errorf("%v: %s", w.clock(), fmt.Sprintf(format, args...))
	}
}

// unexpected is a fault, unless the connection was to end or the gateway has been killed.
func (w *world) unexpected(l *link, what string, err error) {
	if err != nil && !l.doomed.Load() && w.alive(l.life) {
		w.fault("%s: %v", what, err)
	}
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

func (w *world) clock() time.Duration { return time.Since(w.begun).Round(time.Millisecond) }

// report tells what has happened, and fails the test if too little has.
func (w *world) report(whole time.Duration) {
	w.t.Helper()
	ledger := w.ledger.counts()
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.counts, ledger)
	var lines strings.Builder
	for _, what := range slices.Sorted(maps.Keys(w.counts)) {
		fmt.Fprintf(&lines, "\n%12d %s", w.counts[what], what)
	}
	w.t.Logf("after %v of %v:%s", w.clock(), whole, lines.String())
	if w.faults > tellFaults {
		w.t.Errorf("%d faults in all", w.faults)
	}
	for _, what := range mustHappen {
		if w.counts[what] == 0 {
			w.t.Errorf("never happened: %s; the run proves less than it should", what)
		}
	}
}

// mustHappen are counts of things without which a run proves nothing.
var mustHappen = []string{
	"messages confirmed", "deliveries of dead letters", "deliveries that came again", "gateway killed",
	"publisher cut in a frame", "publisher named a missing exchange", "consumer cut in an acknowledgement", "consumer acknowledged twice", "consumer vanished",
	"churn: named queue", "churn: auto-delete queue",
}

// drain takes what is left out of the queues, until they are empty and every confirmed message has been acknowledged, or nothing more comes.
func (w *world) drain() {
	w.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var all sync.WaitGroup
	for _, q := range w.queues {
		all.Go(func() { w.drainOne(ctx, q) })
	}
	empty := w.eventually(2*patience, func() bool {
		return w.metric("portico_queue_ready_messages") == 0 && w.metric("portico_queue_unacked_messages") == 0
	})
	stop()
	w.within("the drain ends", patience, all.Wait)
	if !empty {
		w.t.Errorf("%v messages are ready and %v unacknowledged after %v of draining",
			w.metric("portico_queue_ready_messages"), w.metric("portico_queue_unacked_messages"), 2*patience)
	}
	for _, lost := range w.ledger.lost() {
		w.fault("%s", lost)
	}
}

// drainOne acknowledges whatever the queue has until ctx is over.
func (w *world) drainOne(ctx context.Context, q *queue) {
	l := w.dial(ctx)
	if l == nil {
		return
	}
	defer l.close()
	c := &consumer{world: w, link: l, queue: q, tame: true}
	if err := c.open(); err != nil {
		w.fault("drain %s: %v", q.name, err)
		return
	}
	defer w.ledger.end(c.holder)
	deliveries, err := c.ch.Consume(q.name, "", false, false, false, false, nil)
	for err == nil {
		select {
		case <-ctx.Done():
			return
		case d, ok := <-deliveries:
			if err = amqp.ErrClosed; ok && c.take(d) {
				err = c.settle()
			}
		}
	}
	w.fault("drain %s: %v", q.name, err)
}

// nothingLeft looks whether connections, queues and goroutines have gone with the clients. What belongs to a gateway with these queues, a fresh start tells.
func (w *world) nothingLeft() {
	w.t.Helper()
	for name, want := range map[string]float64{`portico_connections{door="amqp"}`: 0, "portico_queues": float64(len(w.queues))} {
		if !w.eventually(patience, func() bool { return w.metric(name) == want }) {
			w.t.Errorf("%s is %v when everybody has gone, want %v; queues: %s", name, w.metric(name), want, w.get("/v1/queues"))
		}
	}
	left := w.quietGoroutines()
	memory := w.sample().rss
	w.gateway.Signal(w.t, syscall.SIGTERM)
	if state := w.gateway.Wait(w.t); !state.Success() {
		w.t.Errorf("the gateway ended with %v", state)
	}
	w.start()
	fresh := w.quietGoroutines()
	w.t.Logf("left: %v goroutines, fresh: %v; %d MiB resident, fresh: %d", left, fresh, memory>>20, w.sample().rss>>20)
	if left > fresh+10 {
		w.t.Errorf("%v goroutines are left when everybody has gone, a fresh gateway has %v", left, fresh)
	}
	if n := w.metric("portico_queue_ready_messages"); n != 0 {
		w.t.Errorf("%v messages are back after a clean stop with empty queues", n)
	}
}

// quietGoroutines is the number of goroutines once it has hardly moved for a second, or after patience.
func (w *world) quietGoroutines() (n float64) {
	quiet := 0
	w.eventually(patience, func() bool {
		last := n
		if n = w.metric("go_goroutines"); n < last-2 || n > last+2 {
			quiet = 0
		}
		quiet++
		return quiet > 20
	})
	return n
}

// eventually asks until the answer is yes, at most for so long.
func (w *world) eventually(atMost time.Duration, ask func() bool) bool {
	over := time.Now().Add(atMost)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		if time.Now().After(over) {
			return false
		}
		<-tick.C
	}
	return true
}
