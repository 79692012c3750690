package queue

import (
	"container/heap"
	"time"
)

// leases remembers until when deliveries are lent. Owned by run.
type leases struct {
	heap  leaseHeap
	until map[uint64]time.Time // by record number: the lease that counts
}

type lent struct {
	until  time.Time
	handle Handle
}

type leaseHeap []lent

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h leaseHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *leaseHeap) Push(x any)        { *h = append(*h, x.(lent)) }
func (h *leaseHeap) Pop() any {
	s := *h
	x := s[len(s)-1]
	*h = s[:len(s)-1]
	return x
}

// add lends, or lends anew: the former lease of the same record no longer counts.
func (l *leases) add(h Handle, until time.Time) {
	if l.until == nil {
		l.until = map[uint64]time.Time{}
	}
	l.until[h.Seq] = until
	heap.Push(&l.heap, lent{until, h})
	if len(l.heap) > 64 && len(l.heap) > 2*len(l.until) {
		l.compact()
	}
}

// compact drops what was settled or extended meanwhile, so that the heap has at most twice as many leases as there are.
func (l *leases) compact() {
	kept := l.heap[:0]
	for _, x := range l.heap {
		if until, ok := l.until[x.handle.Seq]; ok && until.Equal(x.until) {
			kept = append(kept, x)
		}
	}
	clear(l.heap[len(kept):])
	l.heap = kept
	heap.Init(&l.heap)
}

func (l *leases) drop(seq uint64) {
	if l.until != nil {
		delete(l.until, seq)
	}
}

func (l *leases) first() time.Time { return l.heap[0].until }

// expireLeases returns what was lent for too long.
func (q *Queue) expireLeases(now time.Time) {
	q.takeBack(now)
	q.trimHead()
}

func (q *Queue) takeBack(now time.Time) {
	for len(q.lease.heap) > 0 {
		top := q.lease.heap[0]
		current, ok := q.lease.until[top.handle.Seq]
		switch {
		case !ok || !current.Equal(top.until): // settled or extended meanwhile
			heap.Pop(&q.lease.heap)
		case top.until.After(now):
			q.at(top.until)
			return
		default:
			heap.Pop(&q.lease.heap)
			_ = q.settleOne(Requeue, top.handle) // a stale one has gone already
		}
	}
}
