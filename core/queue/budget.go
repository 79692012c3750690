package queue

import (
	"sync"
	"sync/atomic"
)

// Budget is memory for records that the queues of a node share. A durable queue over it keeps less in memory; a memory queue over it takes
// nothing in until there is room again (or it is empty: it may always have one record), and its publishers wait.
type Budget struct {
	// immutable
	max int64
	// atomic
	used    atomic.Int64
	waiters atomic.Int64 // len(waiting)
	parked  atomic.Int64 // bytes of appends that wait for memory
	ids     atomic.Int64 // that are remembered
	// guarded by mu
	mu      sync.Mutex
	waiting map[*Queue]int64 // how much each needs
}

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int64) *Budget {
	return &Budget{max: bytes, waiting: map[*Queue]int64{}}
}

// Used returns the bytes in use, as the queues have told. A queue tells once a batch.
func (b *Budget) Used() int64 { return b.used.Load() }

// over tells whether the budget is used up.
func (b *Budget) over() bool { return b != nil && b.used.Load() > b.max }

// parkedLeast is how many bytes of appends may wait for memory, at least; else as many as the budget has.
const parkedLeast = 64 << 20

// park takes n bytes of an append that has to wait for memory, unless too many wait already.
func (b *Budget) park(n int64) bool {
	if b.parked.Add(n) > max(b.max, parkedLeast) {
		b.parked.Add(-n)
		return false
	}
	return true
}

// fitsID tells whether one more ID may be remembered.
func (b *Budget) fitsID() bool { return b == nil || b.ids.Load() < maxBudgetIDs }

// addIDs counts n more IDs, or less.
func (b *Budget) addIDs(n int) {
	if b != nil && n != 0 {
		b.ids.Add(int64(n))
	}
}

// IDs returns how many IDs the queues remember.
func (b *Budget) IDs() int64 { return b.ids.Load() }

// fits tells whether there is room for n more bytes.
func (b *Budget) fits(n int64) bool { return b == nil || b.used.Load()+n <= b.max }

// add accounts for n bytes more (or less) and wakes the queues that wait for what there is now room for.
func (b *Budget) add(n int64) {
	if b == nil || n == 0 {
		return
	}
	b.used.Add(n)
	if n < 0 && b.waiters.Load() > 0 {
		b.wake()
	}
}

func (b *Budget) wake() {
	b.mu.Lock()
	var wake []*Queue
	for q, need := range b.waiting {
		if b.fits(need) {
			wake = append(wake, q)
			delete(b.waiting, q)
		}
	}
	b.waiters.Store(int64(len(b.waiting)))
	b.mu.Unlock()
	for _, q := range wake {
		q.post(op{kind: opWake})
	}
}

// wait reports whether n more bytes do not fit, and if so remembers q, to be woken when they do.
func (b *Budget) wait(q *Queue, n int64) bool {
	if b.fits(n) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting[q] = n
	b.waiters.Store(int64(len(b.waiting)))
	if !b.fits(n) {
		return true
	}
	delete(b.waiting, q) // there was room in the meantime, and who made it may not have seen q
	b.waiters.Store(int64(len(b.waiting)))
	return false
}

func (b *Budget) forget(q *Queue) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, q)
	b.waiters.Store(int64(len(b.waiting)))
}
