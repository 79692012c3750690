package amqp

import (
	"sync"
	"sync/atomic"
)

// Marks on the bytes that wait to be written to one connection.
const (
	outHigh = 1 << 20   // above it consumers are passed over
	outLow  = 256 << 10 // below it they are woken
	outMax  = 16 << 20  // above it the reader stops reading, and a reply sent here from another connection is dropped
)

// buffer is a byte slice that a pool can keep without allocating.
type buffer struct{ b []byte }

// bufferPool lends write buffers, so that an idle connection holds none.
type bufferPool struct{ pool sync.Pool }

const (
	bufferSmall = 4 << 10
	bufferLarge = 2 << 20 // larger ones are left to the garbage collector
)

func newBufferPool() *bufferPool {
	return &bufferPool{pool: sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, bufferSmall)} }}}
}

func (p *bufferPool) get() *buffer { return p.pool.Get().(*buffer) }

func (p *bufferPool) put(b *buffer) {
	if cap(b.b) <= bufferLarge {
		b.b = b.b[:0]
		p.pool.Put(b)
	}
}

// outbox is what a connection has to write: encoded frames, appended by anybody, taken by the writer.
type outbox struct {
	// immutable
	buffers *bufferPool
	wakeup  chan struct{} // capacity 1: there is something for a writer that sleeps
	freed   chan struct{} // capacity 1: pending fell below outLow while the reader waited

	// atomic
	pending atomic.Int64 // bytes appended and not yet written
	parked  atomic.Bool  // a consumer was told that there is no room
	waiting atomic.Bool  // the reader waits on freed

	// guarded by mu; taken after a channel's locks, never before
	mu     sync.Mutex
	buf    *buffer
	asleep bool
	closed bool
}

func newOutbox(p *bufferPool) *outbox {
	return &outbox{buffers: p, wakeup: make(chan struct{}, 1), freed: make(chan struct{}, 1)}
}

// begin locks the outbox and returns what to append to; end must follow with the result.
func (o *outbox) begin() []byte {
	o.mu.Lock()
	if o.buf == nil {
		o.buf = o.buffers.get()
	}
	return o.buf.b
}

// end takes what begin's caller has appended and wakes the writer.
func (o *outbox) end(b []byte) {
	if o.closed {
		o.buf.b = o.buf.b[:0]
		o.mu.Unlock()
		return
	}
	o.pending.Add(int64(len(b) - len(o.buf.b)))
	o.buf.b = b
	wake := o.asleep && len(b) > 0
	if wake {
		o.asleep = false
	}
	o.mu.Unlock()
	if wake {
		o.nudge()
	}
}

func (o *outbox) nudge() {
	select {
	case o.wakeup <- struct{}{}:
	default:
	}
}

// room tells whether consumers may send more; if not, written reports when they may again.
func (o *outbox) room() bool {
	if o.pending.Load() < outHigh {
		return true
	}
	o.parked.Store(true)
	return o.pending.Load() < outHigh
}

// full tells whether the reader has to wait.
func (o *outbox) full() bool { return o.pending.Load() > outMax }

// take returns what is to be written, nil when there is nothing: then the writer is taken to sleep. closed: nothing will follow.
func (o *outbox) take() (b *buffer, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b = o.buf
	if b != nil && len(b.b) == 0 {
		b = nil
	}
	if b != nil {
		o.buf = nil
	} else {
		o.asleep = true
	}
	return b, o.closed
}

// written gives b back after its n bytes went out. It returns whether consumers that were passed over should be woken.
func (o *outbox) written(b *buffer) (wake bool) {
	left := o.pending.Add(-int64(len(b.b)))
	o.buffers.put(b)
	if left >= outLow {
		return false
	}
	if o.waiting.Load() && o.waiting.Swap(false) {
		select {
		case o.freed <- struct{}{}:
		default:
		}
	}
	return o.parked.Load() && o.parked.Swap(false)
}

// close ends the outbox: what is in it is still written, what comes later is dropped.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.nudge()
}
