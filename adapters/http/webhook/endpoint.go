package webhook

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"portico/core"
	"portico/core/queue"
)

const (
	maxWaiting     = 1000      // messages that wait for their next attempt; when there are so many no more are taken from the queue
	maxHeldBytes   = 16 << 20  // of messages that an endpoint has taken up; one may be larger
	maxAllBytes    = 256 << 20 // of those of all endpoints; above, each may have one
	retryDelay     = time.Second
	declareTimeout = 10 * time.Second
	recallTimeout  = 5 * time.Minute

	concludeTimeout = 2 * time.Second
)

// endpoint delivers the messages of one queue.
type endpoint struct {
	// immutable
	courier   *Courier
	name      string
	owner     string
	journal   *journal
	transport *http.Transport
	wake      chan struct{} // capacity 1
	ended     chan struct{} // closed when run has returned
	stop      context.CancelFunc
	life      context.Context    // of requests under way
	cut       context.CancelFunc // ends it
	started   bool               // guarded by the courier's mu, like the three above until then

	definition atomic.Pointer[definition]
	requests   sync.WaitGroup

	mu       sync.Mutex // guards the rest of this block; run takes it for moments only
	incoming []queue.Delivery
	events   []func() // what run has to do
	granted  int      // deliveries that the queue may still make
	bytes    int64    // of messages taken up and incoming
	open     bool     // for deliveries
	refused  bool     // room has said no
	status   status

	// owned by run
	queue     *core.Queue // nil: it is not consumed
	consumer  *queue.Consumer
	memory    *memory
	held      []*delivery // in the queue's order
	running   int
	sending   map[string]bool // ids of requests under way
	settling  int             // have an outcome that the log does not know yet
	writing   int             // entries on their way to the log
	written   int64
	carried   int64
	carriedAt time.Time
	again     []func() // what the log has refused
	againAt   time.Time
	refusal   error
	attachAt  time.Time
	hold      time.Time // the receiver wants to be left alone
	slot      time.Time // from when on the rate allows an attempt
	breaker   breaker
	gone      bool      // 410, or the queue was deleted, and the definition does not know yet
	retire    string    // why it has to be disabled, when that could not be stored
	retireAt  time.Time // when to try again
	timer     *time.Timer
	due       time.Time // when to look again; zero: when something happens
}

// status is where an endpoint stands.
type status struct {
	state            State
	until            time.Time
	waiting, running int
}

func newEndpoint(c *Courier, d *definition) *endpoint {
	e := &endpoint{
		courier: c, name: d.Name, owner: d.Owner, transport: newTransport(c.guard),
		journal: &journal{gateway: c.gateway, seal: c.seal, owner: d.Owner, name: logOf(d.Name), limit: c.limit},
		wake:    make(chan struct{}, 1), ended: make(chan struct{}), timer: time.NewTimer(time.Hour), carriedAt: time.Now(), sending: map[string]bool{},
	}
	e.status.state = Stopped
	e.definition.Store(d)
	return e
}

// post has f called by run.
func (e *endpoint) post(f func()) {
	e.mu.Lock()
	e.events = append(e.events, f)
	e.mu.Unlock()
	signal(e.wake)
}

// deliver, room and left are called from the queue's goroutine.
func (e *endpoint) deliver(batch []queue.Delivery) {
	var size int64
	for _, d := range batch {
		size += int64(len(d.Record))
	}
	e.courier.bytes.Add(size)
	e.mu.Lock()
	e.incoming = append(e.incoming, batch...)
	e.granted -= len(batch)
	e.bytes += size
	e.mu.Unlock()
	signal(e.wake)
}

func (e *endpoint) room() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	ok := e.open && (e.bytes == 0 || e.bytes < maxHeldBytes && e.courier.bytes.Load() < maxAllBytes)
	e.refused = e.refused || !ok
	return ok
}

func (e *endpoint) left(reason error) {
	e.post(func() { e.lost(reason) })
}

// release gives back the memory of a message.
func (e *endpoint) release(size int64) {
	e.courier.bytes.Add(-size)
	e.mu.Lock()
	e.bytes -= size
	e.mu.Unlock()
}

// run is the endpoint's goroutine, until ctx ends and what is under way has settled, or has been cut.
func (e *endpoint) run(ctx context.Context) {
	defer close(e.ended)
	done := ctx.Done()
	for {
		e.due = time.Time{}
		e.work(ctx)
		over := ctx.Err() != nil
		if over && (e.running == 0 && (e.writing == 0 && e.settling == 0 || e.life.Err() != nil)) {
			break
		}
		if over {
			done = nil
		}
		if !e.due.IsZero() {
			e.timer.Reset(max(time.Until(e.due), time.Millisecond))
		}
		select {
		case <-e.wake:
		case <-e.timer.C:
		case <-done:
		case <-e.cutOff(over):
		}
	}
	e.leave()
}

// cutOff is when to give up on the log: not before the end has come.
func (e *endpoint) cutOff(over bool) <-chan struct{} {
	if over && e.running == 0 {
		return e.life.Done()
	}
	return nil
}

// leave gives back what is held.
func (e *endpoint) leave() {
	e.timer.Stop()
	if e.consumer != nil {
		e.conclude()
		e.consumer.Close()
	}
	e.requests.Wait()
	e.transport.CloseIdleConnections()
	e.mu.Lock()
	e.courier.bytes.Add(-e.bytes)
	e.courier.metrics.waiting.Sub(float64(e.status.waiting))
	e.bytes, e.status = 0, status{state: Stopped}
	e.mu.Unlock()
}

// conclude notes in the log that the queue knows all outcomes, once it does: then recovery need not guess.
func (e *endpoint) conclude() {
	if e.life.Err() != nil || e.writing+e.settling > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(e.life, concludeTimeout)
	defer cancel()
	settled := make(chan error, 1)
	e.queue.Settle(queue.Ack, nil, func(err error) { settled <- err })
	select {
	case err := <-settled:
		if err == nil {
			_ = e.journal.write(ctx, &entry{Time: time.Now(), Closed: true}, nil) // without it recovery is careful
		}
	case <-ctx.Done():
	}
}

// at makes sure that run looks again at t.
func (e *endpoint) at(t time.Time) {
	if e.due.IsZero() || t.Before(e.due) {
		e.due = t
	}
}

// work does whatever there is to do.
func (e *endpoint) work(ctx context.Context) {
	e.mu.Lock()
	events := e.events
	e.events = nil
	e.mu.Unlock()
	for _, f := range events {
		f()
	}
	over := ctx.Err() != nil
	if !over {
		e.retireAgain(time.Now())
	}
	if e.consumer == nil && !over && !e.gone && !e.definition.Load().Disabled { // a queue that was deleted stays deleted
		e.attach(ctx)
	}
	if e.consumer == nil {
		e.tellStatus(time.Now())
		return
	}
	e.mu.Lock()
	incoming := e.incoming
	e.incoming = nil
	e.mu.Unlock()
	for _, d := range incoming {
		e.take(d)
	}
	now := time.Now()
	e.rewrite(now)
	if !over {
		e.start(now)
		e.carry(now)
	}
	e.ask(now, over)
	e.tellStatus(now)
}

// ask lets the queue deliver as much as there is use and room for.
func (e *endpoint) ask(now time.Time, over bool) {
	d := e.definition.Load()
	waiting, backlog := e.count(now), 0
	e.mu.Lock()
	held := len(e.held) + e.settling + len(e.incoming)
	backlog = held - waiting
	want := min(d.backlog()-backlog, maxWaiting+d.limit()-held) - e.granted
	e.open = !over && !d.Disabled && !e.gone && len(e.again) == 0
	if want*4 < d.backlog() && backlog > 0 || !e.open {
		want = 0
	}
	want = max(want, 0)
	e.granted += want
	refused := e.open && e.refused
	e.refused = e.refused && !e.open
	e.mu.Unlock()
	if refused {
		e.at(now.Add(retryDelay)) // others may have the memory
	}
	switch {
	case want > 0:
		e.consumer.Grant(want)
	case refused:
		e.consumer.Wake()
	}
}

// count is how many wait for their next attempt.
func (e *endpoint) count(now time.Time) (waiting int) {
	for _, d := range e.held {
		if d.stage == ready && d.next.After(now) {
			waiting++
		}
	}
	return waiting
}

// tellStatus publishes where the endpoint stands.
func (e *endpoint) tellStatus(now time.Time) {
	s := status{state: Active, waiting: e.count(now), running: e.running}
	switch {
	case e.hold.After(now):
		s.state, s.until = Held, e.hold
	case e.breaker.open():
		s.state, s.until = Paused, e.breaker.until
	}
	e.mu.Lock()
	e.courier.metrics.waiting.Add(float64(s.waiting - e.status.waiting))
	e.status = s
	e.mu.Unlock()
}

func (e *endpoint) where() status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status
}
