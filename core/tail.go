package core

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A tail is what has just been stored in a stream, for all who follow it: one consumer on the server feeds one ring. A follower whose place is in the ring reads there; one that is
// behind it reads from the stream until it has caught up. Nobody waits for a follower, and a follower costs a place.
//
//	stream   1 ............................. low ............ high
//	         read in batches by who is here  ring             next to come: followers wait
type tail struct {
	// immutable
	streams *streams
	stream  string
	cancel  context.CancelFunc
	started chan struct{} // closed when low and high mean something, or the tail has ended

	waiting atomic.Bool // somebody waits on changed

	// guarded by mu
	mu      sync.RWMutex
	ring    ring
	low     uint64 // every message of the stream from here to high is in the ring
	high    uint64
	begun   bool
	created time.Time     // of the stream
	err     error         // the tail has ended
	changed chan struct{} // closed when anything has

	nextFirst *firstTurn // nil: nobody waits for one that has not begun; guarded by mu
	asking    sync.Mutex // held while a firstTurn is under way

	followers int // guarded by tails.mu
}

const (
	ringMessages = 16384   // that a tail keeps
	ringBytes    = 4 << 20 // of them; one may be larger
	ringOverhead = 128     // bytes that a message takes beside its own
	tailScan     = 512     // messages that a follower looks at in one go
)

// tails are the followed streams.
type tails struct {
	// immutable
	streams *streams

	// guarded by mu
	mu     sync.Mutex
	open   map[string]*tail
	closed bool
}

func newTails(s *streams) *tails { return &tails{streams: s, open: map[string]*tail{}} }

// join returns the tail of a stream, which it starts for the first follower, when its ring is there. leave ends it.
func (ts *tails) join(ctx context.Context, stream string) (*tail, error) {
	t, err := ts.enter(stream)
	if err != nil {
		return nil, err
	}
	select {
	case <-t.started:
		t.mu.RLock()
		err = t.err
		t.mu.RUnlock()
	case <-ctx.Done():
		err = busError(ctx.Err())
	}
	if err != nil {
		ts.leave(t)
		return nil, err
	}
	return t, nil
}

func (ts *tails) enter(stream string) (*tail, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		return nil, Errorf(CodeUnavailable, "the gateway is stopping")
	}
	t := ts.open[stream]
	if t == nil {
		ctx, cancel := context.WithCancel(ts.streams.ctx)
		t = &tail{streams: ts.streams, stream: stream, cancel: cancel, started: make(chan struct{}), changed: make(chan struct{})}
		ts.open[stream] = t
		ts.streams.over.Go(func() { t.run(ctx) })
	}
	t.followers++
	return t, nil
}

// leave takes a follower off; the tail ends with the last.
func (ts *tails) leave(t *tail) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t.followers--; t.followers > 0 {
		return
	}
	if ts.open[t.stream] == t {
		delete(ts.open, t.stream)
	}
	t.cancel()
}

// lost ends the tail of a stream that is gone. It must not call the directory, which calls it.
func (ts *tails) lost(k *knownStream) {
	ts.mu.Lock()
	t := ts.open[k.name]
	ts.mu.Unlock()
	if t != nil && t.isOf(k.created) {
		t.end(Errorf(CodeNotFound, "stream %q is gone", k.name))
	}
}

// close lets nobody follow any more.
func (ts *tails) close() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.closed = true
}

// isOf tells whether the tail has begun on the stream that was created then.
func (t *tail) isOf(created time.Time) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.begun && t.created.Equal(created)
}

// end tells the followers that there is nothing to follow any more. The first reason counts. Who comes then gets another tail.
func (t *tail) end(err error) {
	t.streams.tails.forget(t)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
		t.tell()
	}
	t.cancel()
	if !t.begun {
		t.begun = true
		close(t.started)
	}
}

func (ts *tails) forget(t *tail) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.open[t.stream] == t {
		delete(ts.open, t.stream)
	}
}

// tell wakes who waits. The caller holds mu.
func (t *tail) tell() {
	if t.waiting.Swap(false) || t.err != nil {
		close(t.changed)
		t.changed = make(chan struct{})
	}
}

// begin says where the stream stands: at the start, or when the source has to start again. What went from the stream unseen is not in the ring, so nothing older may seem to be.
func (t *tail) begin(created time.Time, first, last uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.begun:
		t.begun, t.created, t.low, t.high = true, created, last+1, last
		close(t.started)
	case !t.created.Equal(created) || last < t.high:
		return Errorf(CodeNotFound, "stream %q is gone", t.stream)
	case first > t.high+1:
		t.skip(first)
	}
	return nil
}

// skip empties the ring: it begins with the message next. The caller holds mu.
func (t *tail) skip(next uint64) {
	t.ring.clear()
	t.low, t.high = next, next-1
	t.tell()
}

// add puts a message into the ring. gone: messages between it and the one before have been removed unseen.
func (t *tail) add(m StoredMessage, gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m.Sequence <= t.high {
		return
	}
	if gone {
		t.skip(m.Sequence)
	}
	t.ring.push(m)
	for t.ring.full() {
		t.low = t.ring.pop() + 1
	}
	t.high = m.Sequence
	t.tell()
}

// reach is the sequence number up to which the ring goes.
func (t *tail) reach() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.high
}

// view is what a follower finds at its place.
type view struct {
	messages []StoredMessage
	next     uint64        // its place behind them
	behind   bool          // the ring begins behind its place
	wait     chan struct{} // nothing is there: closed when there may be
}

// at looks from place on for messages that wanted wants, at most max and about maxBytes of them.
func (t *tail) at(place uint64, wanted func(string) bool, limit, maxBytes int) (v view, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	switch {
	case t.err != nil:
		return v, t.err
	case place < t.low:
		return view{behind: true, next: place}, nil
	case place > t.high:
		t.waiting.Store(true)
		return view{next: place, wait: t.changed}, nil
	}
	i, bytes := t.ring.find(place), 0
	for end := min(i+tailScan, t.ring.count); i < end; i++ {
		m := t.ring.at(i)
		if !wanted(m.Subject) {
			continue
		}
		if bytes += m.size; len(v.messages) == limit || len(v.messages) > 0 && bytes > maxBytes {
			v.next = m.Sequence
			return v, nil
		}
		if v.messages == nil {
			v.messages = make([]StoredMessage, 0, min(end-i, limit))
		}
		v.messages = append(v.messages, m.StoredMessage)
	}
	v.next = t.high + 1
	if i < t.ring.count {
		v.next = t.ring.at(i).Sequence
	}
	return v, nil
}

// ring is a queue of messages in an array that grows up to ringMessages.
type ring struct {
	slots []slot
	head  int
	count int
	bytes int
}

type slot struct {
	StoredMessage
	size int // see sizeOf
}

func (r *ring) at(i int) *slot { return &r.slots[(r.head+i)%len(r.slots)] }

func (r *ring) push(m StoredMessage) {
	if r.count == len(r.slots) {
		grown := make([]slot, max(64, 2*len(r.slots)))
		for i := range r.count {
			grown[i] = *r.at(i)
		}
		r.slots, r.head = grown, 0
	}
	size := sizeOf(&m)
	r.slots[(r.head+r.count)%len(r.slots)] = slot{m, size}
	r.count++
	r.bytes += size + ringOverhead
}

// pop removes the oldest message and returns its sequence number.
func (r *ring) pop() uint64 {
	m := r.at(0)
	sequence := m.Sequence
	r.bytes -= m.size + ringOverhead
	*m = slot{}
	r.head, r.count = (r.head+1)%len(r.slots), r.count-1
	return sequence
}

func (r *ring) full() bool { return r.count > ringMessages || r.count > 1 && r.bytes > ringBytes }

func (r *ring) clear() { *r = ring{} }

// find returns the index of the first message from sequence on.
func (r *ring) find(sequence uint64) int {
	low, high := 0, r.count
	for low < high {
		if mid := (low + high) / 2; r.at(mid).Sequence < sequence {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// matches returns whether a subject is one of those asked for: any of the patterns, or all without any.
func matches(patterns []string) func(string) bool {
	if len(patterns) == 0 {
		return func(string) bool { return true }
	}
	return func(subject string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool { return covers(p, subject) })
	}
}
