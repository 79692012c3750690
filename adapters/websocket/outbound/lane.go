package outbound

import "slices"

// Policy says what happens to a subscription whose client does not keep up.
type Policy uint8

// The policies.
const (
	Close      Policy = iota // the connection ends
	DropOldest               // what has waited longest is left out …
	DropNewest               // … or what comes; either way the client is told how many are missing
)

// MaxBuffer bounds what may wait of one lane, in items.
const MaxBuffer = maxItems

// Lane is one subscription's part of a queue, with a bound and a policy of its own. What it holds is counted in the queue's bound, too: when that is reached the lane's policy is
// applied, so that a lane that leaves out never ends the connection.
type Lane[T Item] struct {
	// immutable
	policy Policy
	buffer int
	tell   func(n int) T

	// guarded by the queue's mu
	waiting []T
	places  int // entries of the queue that stand for this lane; never fewer than waiting
	dropped int // not told yet
	noted   bool
}

// NewLane returns a lane that holds at most buffer items (1 to MaxBuffer). tell makes the item that says how many are missing.
func NewLane[T Item](policy Policy, buffer int, tell func(n int) T) *Lane[T] {
	return &Lane[T]{policy: policy, buffer: min(max(buffer, 1), MaxBuffer), tell: tell}
}

// Offer queues an item of a lane, after the lane's policy has made room, or leaves it out. full ends the connection of a lane whose policy is Close.
func (q *Queue[T, E]) Offer(l *Lane[T], i T, full E) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closing {
		return
	}
	defer q.wake()
	for len(l.waiting) >= l.buffer || q.isFull(i.Size()) {
		if l.policy == Close {
			q.overflow(full)
			return
		}
		q.note(l)
		if l.policy == DropNewest || len(l.waiting) == 0 {
			return
		}
		q.bytes -= l.pop().Size()
	}
	if l.policy == DropNewest && l.dropped > 0 {
		q.enter(l, l.told())
	}
	q.enter(l, i)
}

// enter puts an item behind the lane's others. What was dropped before it may have left a place in the queue.
func (q *Queue[T, E]) enter(l *Lane[T], i T) {
	l.waiting = append(l.waiting, i)
	q.bytes += i.Size()
	if l.places < len(l.waiting) {
		l.places++
		q.append(entry[T]{lane: l})
	}
}

// note counts a loss.
func (q *Queue[T, E]) note(l *Lane[T]) {
	l.dropped++
	if !l.noted {
		l.noted = true
		q.lossy = append(q.lossy, l)
	}
}

// told is the item for what was lost, which is told by it.
func (l *Lane[T]) told() T {
	n := l.dropped
	l.dropped = 0
	return l.tell(n)
}

func (l *Lane[T]) pop() T {
	i := l.waiting[0]
	var none T
	l.waiting[0] = none
	l.waiting = l.waiting[1:]
	if len(l.waiting) == 0 {
		l.waiting = nil
	}
	return i
}

// take moves the lane's first item to dst, where it is due with the news of a loss before it. size is what leaves the queue.
func (l *Lane[T]) take(dst []T) (items []T, size int) {
	l.places--
	if len(l.waiting) == 0 {
		return dst, 0
	}
	if l.policy == DropOldest && l.dropped > 0 {
		dst = append(dst, l.told())
	}
	i := l.pop()
	return append(dst, i), i.Size()
}

// tell adds the news of losses behind which nothing of their lanes waits.
func (q *Queue[T, E]) tell(dst []T) []T {
	if len(q.lossy) == 0 {
		return dst
	}
	q.lossy = slices.DeleteFunc(q.lossy, func(l *Lane[T]) bool {
		if l.dropped > 0 && len(l.waiting) == 0 {
			dst = append(dst, l.told())
		}
		l.noted = l.dropped > 0
		return !l.noted
	})
	if len(q.lossy) == 0 {
		q.lossy = nil
	}
	return dst
}
