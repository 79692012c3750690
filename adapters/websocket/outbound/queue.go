// Package outbound is the bounded queue between what happens on the bus and one client that may be slow to read. It knows no protocol: what waits, and what ends a connection, are
// types of whoever uses it.
package outbound

import (
	"context"
	"sync"
)

const (
	maxItems  = 8192 // items that may wait, whatever their size
	roomShare = 4    // below a quarter of its bounds a queue has room
	takeBytes = 64 << 10
	takeItems = 256 // items and bytes that a writer takes at once: what it holds is not counted any more
	keptItems = 16  // places that a queue keeps when its writer rests
)

// DefaultBytes is the bound of a queue whose owner names none.
const DefaultBytes = 8 << 20

// Item is what waits.
type Item interface {
	// Size is what the item counts against the queue's bound, in bytes.
	Size() int
}

// Queue is one client's. T is what waits, E says why the connection ends. Nothing in it blocks but Room. Open must be called first.
//
// There is at most one writer at a time: start begins it, and it goes on with Take until Rest says that it may stop. A writer that ends the connection, or fails, just never calls Rest.
type Queue[T Item, E any] struct {
	// immutable after Open
	limit int
	start func()

	mu      sync.Mutex // guards the rest
	entries []entry[T]
	head    int // of entries: those before it have been taken
	bytes   int
	lossy   []*Lane[T] // those that have something to tell
	kicked  bool
	writing bool
	closing bool
	end     E
	room    chan struct{} // closed when there is room again; nil: nobody waits
}

// entry is an item, or a place for the first that a lane has by then.
type entry[T Item] struct {
	item T
	lane *Lane[T]
}

// Open makes the queue ready. limit bounds the bytes that wait; 0: DefaultBytes. start begins a writer, or wakes it; it must not block, nor call the queue.
func (q *Queue[T, E]) Open(limit int, start func()) {
	if limit <= 0 {
		limit = DefaultBytes
	}
	q.limit, q.start = limit, start
}

// Hold makes the queue believe that a writer runs: its owner is not ready for one, and begins the first itself.
func (q *Queue[T, E]) Hold() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.writing = true
}

// Push queues items that the client asked for. They are bounded by what it may ask for at once: see Room.
func (q *Queue[T, E]) Push(items ...T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closing {
		return
	}
	for _, i := range items {
		q.add(i)
	}
	q.wake()
}

// Live queues what nobody asked for. When the queue is full the client is too slow: what waits is dropped, and the connection ends with full.
func (q *Queue[T, E]) Live(i T, full E) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closing:
		return
	case q.isFull(i.Size()):
		q.overflow(full)
	default:
		q.add(i)
	}
	q.wake()
}

func (q *Queue[T, E]) add(i T) {
	q.append(entry[T]{item: i})
	q.bytes += i.Size()
}

// append makes use of the places at the front before it asks for more at the back.
func (q *Queue[T, E]) append(e entry[T]) {
	if q.head > 0 && len(q.entries) == cap(q.entries) && q.head >= len(q.entries)/2 {
		n := copy(q.entries, q.entries[q.head:])
		clear(q.entries[n:])
		q.entries, q.head = q.entries[:n], 0
	}
	q.entries = append(q.entries, e)
}

// waiting is how many entries there are.
func (q *Queue[T, E]) waiting() int { return len(q.entries) - q.head }

// isFull tells whether n bytes more are too many. An empty queue takes anything.
func (q *Queue[T, E]) isFull(n int) bool {
	return q.waiting() >= maxItems || q.waiting() > 0 && q.bytes+n > q.limit
}

func (q *Queue[T, E]) overflow(full E) {
	q.entries, q.head, q.bytes, q.lossy = nil, 0, 0, nil
	q.closing, q.end = true, full
	q.release()
}

// Kick starts the writer for something that is not in the queue.
func (q *Queue[T, E]) Kick() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kicked = true
	q.wake()
}

// wake sees that a writer runs; mu is held.
func (q *Queue[T, E]) wake() {
	if !q.writing {
		q.writing = true
		q.start()
	}
}

// Finish ends the connection when what waits has been written. The first reason counts.
func (q *Queue[T, E]) Finish(end E) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closing {
		return
	}
	q.closing, q.end = true, end
	q.release()
	q.wake()
}

// Ending is why the connection ends, and whether it does.
func (q *Queue[T, E]) Ending() (end E, closing bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.end, q.closing
}

// IsClosing tells whether nothing is queued any more.
func (q *Queue[T, E]) IsClosing() bool {
	_, closing := q.Ending()
	return closing
}

// HasRoom tells whether little enough waits for the client to ask for more.
func (q *Queue[T, E]) HasRoom() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.hasRoom()
}

func (q *Queue[T, E]) hasRoom() bool {
	return q.closing || q.waiting() < maxItems/roomShare && q.bytes < q.limit/roomShare
}

// Room waits until HasRoom.
func (q *Queue[T, E]) Room(ctx context.Context) error {
	for {
		q.mu.Lock()
		if q.hasRoom() {
			q.mu.Unlock()
			return nil
		}
		if q.room == nil {
			q.room = make(chan struct{})
		}
		room := q.room
		q.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// release lets those go on that wait for room; mu is held.
func (q *Queue[T, E]) release() {
	if q.room != nil && q.hasRoom() {
		close(q.room)
		q.room = nil
	}
}

// Take moves the first that wait, not too many at once, to dst. last: nothing follows, and the connection ends with end.
func (q *Queue[T, E]) Take(dst []T) (items []T, end E, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.kicked = false
	taken := 0
	for n := 0; q.head < len(q.entries) && n < takeItems && taken < takeBytes; n++ {
		i := q.entries[q.head]
		q.entries[q.head] = entry[T]{}
		q.head++
		if i.lane == nil {
			taken += i.item.Size()
			dst = append(dst, i.item)
			continue
		}
		var size int
		dst, size = i.lane.take(dst)
		taken += size
	}
	q.bytes -= taken
	if q.waiting() == 0 {
		q.entries, q.head = q.entries[:0], 0
	}
	dst = q.tell(dst)
	q.release()
	return dst, q.end, q.closing && q.waiting() == 0
}

// Rest tells a writer that has sent everything whether it may stop. If not, something has come meanwhile.
func (q *Queue[T, E]) Rest() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closing || q.kicked || q.waiting() > 0 || len(q.lossy) > 0 {
		return false
	}
	if cap(q.entries) > keptItems {
		q.entries = nil // an idle client needs none
	}
	q.writing = false
	return true
}
