package grpcapi

import (
	"context"
	"sync"
)

// outbox is the one bounded queue of a stream: between what feeds it, which never waits, and the goroutine that writes to
// the client. It also knows when a stream that ends in peace has nothing left to say.
type outbox[T any] struct {
	// immutable
	maxItems int
	maxBytes int
	filled   chan struct{} // has a token when there may be something to take
	emptied  chan struct{} // has a token when something has been written

	// guarded by mu
	mu        sync.Mutex
	items     []T
	sizes     []int
	bytes     int   // of items and of what is being written
	expected  int   // items that are still to come and must not be missed
	finishing bool  // ends when nothing is left and nothing expected
	err       error // what it ends with
}

func newOutbox[T any](cfg Config) *outbox[T] {
	return &outbox[T]{
		maxItems: cfg.OutboundMessages,
		maxBytes: cfg.OutboundBytes,
		filled:   make(chan struct{}, 1),
		emptied:  make(chan struct{}, 1),
	}
}

// offer adds item unless that would exceed the bounds; an empty outbox takes any item.
func (o *outbox[T]) offer(item T, size int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.items) >= o.maxItems || (o.bytes > 0 && o.bytes+size > o.maxBytes) {
		return false
	}
	o.push(item, size)
	return true
}

// add adds item in any case. What calls it is bounded by other means (credit, a window, hasRoom).
func (o *outbox[T]) add(item T, size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.push(item, size)
}

// addExpected is add for an item that was expected.
func (o *outbox[T]) addExpected(item T, size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expected--
	o.push(item, size)
}

func (o *outbox[T]) push(item T, size int) {
	o.items = append(o.items, item)
	o.sizes = append(o.sizes, size)
	o.bytes += size
	signal(o.filled)
}

// expect announces n items: the outbox does not end before they came by addExpected, or were called off by a negative n.
func (o *outbox[T]) expect(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.expected += n
	signal(o.filled)
}

// finish ends the outbox with err when everything in it, and everything expected, has been written. The first call counts.
func (o *outbox[T]) finish(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.finishing {
		o.finishing, o.err = true, err
	}
	signal(o.filled)
}

// hasRoom tells whether the outbox is below its bounds.
func (o *outbox[T]) hasRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes < o.maxBytes && len(o.items) < o.maxItems
}

// await waits until room says yes, asking again whenever something has been written. Only one goroutine may wait.
func (o *outbox[T]) await(ctx context.Context, room func() bool) error {
	for !room() {
		select {
		case <-o.emptied:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// writeChunk is about how many bytes are taken at a time.
const writeChunk = 64 << 10

// write hands what is in the outbox to send, in order, a chunk at a time, until the outbox is finished, send fails or ctx ends.
func (o *outbox[T]) write(ctx context.Context, send func(chunk []T) error) error {
	for {
		chunk, size, done, err := o.take()
		switch {
		case len(chunk) > 0:
			if err := send(chunk); err != nil {
				return err
			}
			o.written(size)
		case done:
			return err
		default:
			select {
			case <-o.filled:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// take removes the first items, about writeChunk bytes of them. done tells that none will ever come.
func (o *outbox[T]) take() (chunk []T, size int, done bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for n < len(o.items) && (n == 0 || size+o.sizes[n] <= writeChunk) {
		size += o.sizes[n]
		n++
	}
	chunk = o.items[:n:n]
	o.items, o.sizes = o.items[n:], o.sizes[n:]
	if len(o.items) == 0 {
		o.items, o.sizes = nil, nil
	}
	return chunk, size, o.finishing && o.expected <= 0, o.err
}

func (o *outbox[T]) written(size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bytes -= size
	signal(o.emptied)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
