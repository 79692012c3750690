package queue

import (
	"context"
	"sync"
	"time"
)

// How long settlements may wait for company before they are journalled, and how long a failed dead-lettering waits for its next try.
const (
	journalDelay = 100 * time.Millisecond
	retryDelay   = time.Second
)

// idleDelay is how long a queue keeps the memory that it works with, when it has nothing to do.
const idleDelay = 5 * time.Second

const defaultResident = 32 << 20

type opKind uint8

const (
	opCall opKind = iota
	opAppend
	opSettle
	opGrant
	opWake
	opKept
	opOverflow
)

// op is one entry of a queue's inbox. The frequent kinds carry their arguments in place; everything else is a call.
type op struct {
	kind     opKind
	outcome  Outcome
	priority uint8
	tag      uint64
	handle   Handle // of an append: its record's ID
	data     []byte
	ttl      int64
	handles  []Handle
	pub      Publisher
	consumer *Consumer
	done     func(error)
	call     func()
}

// Queue is one queue: an actor. All methods may be called from any goroutine; none but those that say so waits for the queue's goroutine.
type Queue struct {
	// immutable
	cfg  Config
	log  Log // nil: a memory queue
	now  func() time.Time
	wake chan struct{}
	over chan struct{} // closed when the goroutine has ended

	// guarded by mu
	mu    sync.Mutex
	inbox []op
	ended error // set once nothing more is taken in

	// owned by run
	batch    []op
	end      error // why the queue ends; nil: it does not
	finish   func()
	content  chunks
	next     uint64 // number of the next record
	fresh    uint64 // number of the first record never delivered
	cursor   *chunk // where fresh was last found
	returned seqHeap
	levels   []seqHeap // with priorities: all that is ready, by priority; fresh and returned are not used then
	byExpiry dueHeap   // with ByExpiry: all that is ready
	entered  uint64    // number of the first record not yet offered: its time is not over before it has been
	ready    int
	weight   int64 // of what is ready, with Rules.MaxBytes
	mortal   bool  // there is, or has been, a record that expires
	held     int
	bytes    int64
	memory   int64
	budgeted int64  // memory as the budget knows it
	gather   *chunk // the open chunk at the end, nil when there is none
	spare    [][]record
	tickets  [][]ticket // likewise, of chunks that are kept

	consumers []*Consumer
	owners    map[uint32]*Consumer
	lastOwner uint32
	recent    *Consumer // one of owners, the last that was looked for
	active    rota      // those that may take a delivery
	alone     *Consumer // the exclusive consumer
	sole      *Consumer // the one that gets deliveries, with Config.SingleActive
	lastUse   time.Time // when a consumer, a Get or a Touch was last there

	writer     writer
	journal    journaler
	trimmer    trimmer
	ids        idTable
	stream     *stream         // nil: records leave by being settled
	loading    bool            // something is being read back, or must not be tried again yet
	reading    bool            // a goroutine is at it
	reads      context.Context // of that goroutine
	stopReads  context.CancelFunc
	getters    []chan error // Gets that wait for something to be read back
	parked     []op         // appends that wait for memory
	kept       completions
	lease      leases
	grave      grave
	timer      *time.Timer
	due        time.Time // when timer fires; zero: not armed
	batchClock int64     // clock's answer in this batch; 0: not asked yet
	counts     [EventLost + 1]int
	worked     bool      // something has been done since idleAt was set
	idleAt     time.Time // when to see whether the queue is idle; zero: it is
}

// Open recovers a queue from its log (nil: a memory queue, empty) and starts its goroutine. ErrCorrupt if the log cannot be read.
func Open(cfg Config, log Log) (*Queue, error) {
	if cfg.Resident == 0 {
		cfg.Resident = defaultResident
	}
	if cfg.Remember == 0 {
		cfg.Remember = defaultRemember
	}
	if cfg.Stream && log == nil {
		return nil, errMemoryStream
	}
	q := &Queue{
		cfg: cfg, log: log, now: cfg.Now, next: 1, fresh: 1,
		wake: make(chan struct{}, 1), over: make(chan struct{}),
		owners: map[uint32]*Consumer{}, lastOwner: firstOwner,
		timer: time.NewTimer(time.Hour),
	}
	if q.now == nil {
		q.now = time.Now
	}
	q.reads, q.stopReads = context.WithCancel(context.Background())
	q.timer.Stop()
	if cfg.MaxPriority > 0 {
		q.levels = make([]seqHeap, int(cfg.MaxPriority)+1)
	}
	if cfg.Stream {
		q.stream = &stream{queue: q, end: q.next}
	}
	q.lastUse = q.now()
	if log != nil {
		if err := q.recover(); err != nil {
			cfg.Budget.add(-q.budgeted)
			q.forgetAllIDs()
			q.stopReads()
			return nil, err
		}
	}
	q.entered = q.next
	q.rearm()
	if q.ready > 0 {
		q.post(op{kind: opCall, call: q.trimHead}) // and what is over by now dies
	}
	go q.run()
	return q, nil
}

// post puts o into the inbox; false: the queue has ended.
func (q *Queue) post(o op) bool {
	q.mu.Lock()
	if q.ended != nil {
		q.mu.Unlock()
		return false
	}
	q.inbox = append(q.inbox, o)
	first := len(q.inbox) == 1
	q.mu.Unlock()
	if first {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// ask runs f in the queue's goroutine and waits for it.
func (q *Queue) ask(f func()) error {
	answered := make(chan struct{})
	if !q.post(op{kind: opCall, call: func() { f(); close(answered) }}) {
		return q.endedWith()
	}
	select {
	case <-answered:
		return nil
	case <-q.over:
	}
	select {
	case <-answered: // it was the last thing done
		return nil
	default:
		return q.endedWith()
	}
}

func (q *Queue) endedWith() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.ended
}

// run is the actor: take all that is in the inbox, apply it, hand out what is ready, write what has gathered, tell who waits.
func (q *Queue) run() {
	defer close(q.over)
	for {
		select {
		case <-q.wake:
			q.batchClock = 0
		case <-q.timer.C:
			q.due, q.batchClock = time.Time{}, 0
			q.tick()
		}
		q.takeBatch()
		q.work()
		for i := range q.batch {
			q.apply(&q.batch[i])
		}
		clear(q.batch)
		q.deliver()
		for len(q.parked) > 0 && q.bytes == 0 { // an empty queue may take a record whatever the budget says
			q.unpark()
			q.deliver()
		}
		q.write()
		if q.journal.now {
			q.journalIfDue(q.now())
		}
		q.account()
		q.kept.flush()
		q.report()
		if q.end != nil && q.settledDown() {
			q.stop()
			return
		}
	}
}

func (q *Queue) takeBatch() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.batch, q.inbox = q.inbox, q.batch[:0]
}

func (q *Queue) apply(o *op) {
	switch o.kind {
	case opAppend:
		q.take(o)
	case opSettle:
		q.settle(o)
	case opGrant:
		o.consumer.grant(int(o.tag))
		q.activate(o.consumer)
	case opWake:
		if o.consumer != nil {
			q.activate(o.consumer)
		}
		q.unpark()
	case opKept, opCall:
		o.call()
	case opOverflow:
		q.kept.add(ticket{o.pub, o.tag}, ErrOverflow)
	}
}

// at makes sure that the goroutine wakes up at t or before. When the clock has been put forward past what the timer waits for, that has become due.
func (q *Queue) at(t time.Time) {
	now := q.now()
	switch {
	case q.due.IsZero() || t.Before(q.due):
		q.due = t
	case q.due.After(now):
		return
	}
	q.timer.Reset(max(q.due.Sub(now), 0))
}

// tick does whatever has become due and arms the timer for the rest.
func (q *Queue) tick() {
	now := q.now()
	q.unusedFor(now)
	q.expireLeases(now)
	q.retryGrave(now)
	q.expireIDs(now)
	q.journalIfDue(now)
	if q.stream != nil {
		q.stream.retain()
	}
	q.slim(now)
}

// work notes that there is something to do.
func (q *Queue) work() {
	if len(q.batch) == 0 {
		return
	}
	q.worked = true
	if q.idleAt.IsZero() {
		q.idleAt = q.now().Add(idleDelay)
		q.at(q.idleAt)
	}
}

// slim lets go of what a queue that has nothing to do has kept of a busy moment.
func (q *Queue) slim(now time.Time) {
	switch {
	case q.idleAt.IsZero():
	case q.idleAt.After(now):
		q.at(q.idleAt)
	case q.worked:
		q.worked, q.idleAt = false, now.Add(idleDelay)
		q.at(q.idleAt)
	default:
		q.idleAt = time.Time{}
		q.batch, q.spare, q.tickets, q.writer.buffers, q.kept.tags = nil, nil, nil, nil, nil
		for i := range q.levels {
			q.levels[i].slim()
		}
		q.returned.slim()
		if len(q.byExpiry) == 0 {
			q.byExpiry = nil
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		if len(q.inbox) == 0 {
			q.inbox = nil
		}
	}
}

// Stats returns the counters, in order with the caller's own operations. It waits for the queue's goroutine. ErrClosed, ErrDeleted.
func (q *Queue) Stats() (s Stats, err error) {
	err = q.ask(func() {
		q.deliver() // so that they tell of a moment between batches
		s = Stats{Ready: q.ready, Unacked: q.held - q.grave.count, Dying: q.grave.count, Consumers: len(q.consumers), Bytes: q.bytes, Resident: q.memory}
	})
	return s, err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// report hands the counted events to the observer, once a batch.
func (q *Queue) report() {
	if q.cfg.Observe == nil {
		return
	}
	for e, n := range q.counts {
		if n > 0 {
			q.cfg.Observe(Event(e), n)
			q.counts[e] = 0
		}
	}
}
