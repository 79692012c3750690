package queue

import "math"

// due is a record in a queue that is ordered by expiry.
type due struct {
	expires int64 // milliseconds since 1970; 0: never
	seq     uint64
}

type dueHeap []due

// Len, Less, Swap, Push and Pop implement heap.Interface: what expires first is first, what never does last.
func (h dueHeap) Len() int      { return len(h) }
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(due)) }
func (h dueHeap) Less(i, j int) bool {
	a, b := h[i].when(), h[j].when()
	return a < b || a == b && h[i].seq < h[j].seq
}
func (h *dueHeap) Pop() any {
	s := *h
	x := s[len(s)-1]
	*h = s[:len(s)-1]
	return x
}

func (d due) when() int64 {
	if d.expires == 0 {
		return math.MaxInt64
	}
	return d.expires
}

// sorted tells whether records stand in another order than that in which they came.
func (q *Queue) sorted() bool { return q.levels != nil || q.cfg.ByExpiry }

func (q *Queue) peekDue() (uint64, *chunk) {
	for len(q.byExpiry) > 0 {
		seq := q.byExpiry[0].seq
		if k := q.content.find(seq); k != nil && k.isReady(int(seq-k.base)) {
			return seq, k
		}
		q.passed(seq, nil)
	}
	return 0, nil
}
