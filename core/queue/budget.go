package queue

import "sync"

// Budget is memory for records that the queues of a node share. A durable queue over it keeps less in memory; a memory queue over it takes
// nothing in until there is room again, and its publishers wait.
type Budget struct {
	// immutable
	max int64
	// guarded by mu
	mu      sync.Mutex
	used    int64
	waiting map[*Queue]struct{}
}

// NewBudget returns a budget of so many bytes.
func NewBudget(bytes int64) *Budget {
	return &Budget{max: bytes, waiting: map[*Queue]struct{}{}}
}

// Used returns the bytes in use.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// over tells whether the budget is used up.
func (b *Budget) over() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used > b.max
}

// add accounts for n bytes more (or less) and, when room appears, wakes the queues that wait for it.
func (b *Budget) add(n int64) {
	if b == nil || n == 0 {
		return
	}
	b.mu.Lock()
	b.used += n
	var wake []*Queue
	if n < 0 && b.used <= b.max-b.max/16 && len(b.waiting) > 0 {
		for q := range b.waiting {
			wake = append(wake, q)
		}
		clear(b.waiting)
	}
	b.mu.Unlock()
	for _, q := range wake {
		q.post(op{kind: opWake})
	}
}

// wait reports whether n more bytes do not fit, and if so remembers q, to be woken when there is room.
func (b *Budget) wait(q *Queue, n int64) bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n <= b.max {
		return false
	}
	b.waiting[q] = struct{}{}
	return true
}

func (b *Budget) forget(q *Queue) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, q)
}
