package queue

import (
	"container/heap"
	"math"
	"time"
)

// Govern changes the rules. They hold for what is in the queue, too, but for TTL: a record keeps the time that it was given when it came. Rules.Expires
// begins anew. A queue that is now above its limits lets its first records die, if Overflow is DropHead; with MaxBytes set for the first time, what
// is not in memory counts with all its bytes until it is read back. It waits. ErrClosed, ErrDeleted.
func (q *Queue) Govern(r Rules) error {
	var refused error
	err := q.ask(func() {
		if refused = q.end; refused == nil {
			q.govern(r)
		}
	})
	return firstError(err, refused)
}

func (q *Queue) govern(r Rules) {
	q.deliver() // what came before has been under the rules of before
	weighed := q.cfg.MaxBytes.Set
	q.cfg.Rules = r
	if r.MaxBytes.Set && !weighed && q.stream == nil {
		q.weighAll()
	}
	q.trimHead()
	if q.stream != nil {
		q.stream.retain()
	}
	q.grave.retryAt = time.Time{} // the new dead letters may take what the former ones did not
	q.digGraves()
	q.used()
}

// Touch says that somebody uses the queue: Rules.Expires begins anew. It does not wait.
func (q *Queue) Touch() { q.post(op{kind: opCall, call: q.used}) }

func (q *Queue) used() {
	if q.cfg.Expires > 0 {
		q.lastUse = q.now()
		q.rearm()
	}
}

// rearm makes sure that the goroutine wakes up when the queue may have been unused for too long.
func (q *Queue) rearm() {
	if q.cfg.Expires > 0 && len(q.consumers) == 0 && q.end == nil {
		q.at(q.lastUse.Add(q.cfg.Expires))
	}
}

// unusedFor tells the owner when nobody has used the queue for too long.
func (q *Queue) unusedFor(now time.Time) {
	if q.cfg.Expires <= 0 || len(q.consumers) > 0 || q.end != nil {
		return
	}
	if now.Before(q.lastUse.Add(q.cfg.Expires)) {
		q.rearm()
		return
	}
	if q.cfg.Unused != nil {
		go q.cfg.Unused()
	}
	q.used()
}

// clock is the time in milliseconds since 1970, the same throughout a batch.
func (q *Queue) clock() int64 {
	if q.batchClock == 0 {
		q.batchClock = q.now().UnixMilli()
	}
	return q.batchClock
}

// forever is the time to live of a record that has none of its own.
const forever = math.MaxInt64

// deadline is when a record that comes now, with a time to live of its own, expires; 0: never.
func (q *Queue) deadline(ttl int64) int64 {
	if q.cfg.TTL.Set {
		ttl = min(ttl, q.cfg.TTL.N)
	}
	if ttl == forever {
		return 0
	}
	now := q.clock()
	if ttl > forever-max(now, 0) {
		return 0
	}
	q.mortal = true
	return max(now+max(ttl, 0), 1)
}

// nowReady and noLongerReady count record i of k.
func (q *Queue) nowReady(k *chunk, i int) {
	k.ready++
	q.ready++
	if k.extra != nil {
		q.weight += int64(k.extra[i].weight)
	}
}

func (q *Queue) noLongerReady(k *chunk, i int) {
	k.ready--
	q.ready--
	if k.extra != nil {
		q.weight -= int64(k.extra[i].weight)
	}
}

// level is where the records of a priority wait.
func (q *Queue) level(priority uint8) *seqHeap { return &q.levels[min(int(priority), len(q.levels)-1)] }

// wait puts record i of k into the order of a queue that is sorted.
func (q *Queue) wait(k *chunk, i int) {
	if q.cfg.ByExpiry {
		heap.Push(&q.byExpiry, due{k.attributes(i).expires, k.base + uint64(i)})
		return
	}
	q.level(k.attributes(i).priority).push(k.base + uint64(i))
}

func (q *Queue) peekLevels() (uint64, *chunk) {
	for i := len(q.levels) - 1; i >= 0; i-- {
		if seq, k := q.peekHeap(&q.levels[i]); k != nil {
			return seq, k
		}
	}
	return 0, nil
}

// front finds the first ready record whose time is not over. Those before it die, but for what has not been offered yet.
func (q *Queue) front() (uint64, *chunk) {
	for {
		seq, k := q.peek()
		if k == nil || !q.isOver(seq, k) {
			return seq, k
		}
		q.perish(seq, k, Expired)
	}
}

func (q *Queue) isOver(seq uint64, k *chunk) bool {
	x := k.attributes(int(seq - k.base)).expires
	return x != 0 && seq < q.entered && x <= q.clock()
}

// expire lets die what is over at the head, and wakes up when the next one is.
func (q *Queue) expire() {
	if !q.mortal || q.ready == 0 || q.end != nil {
		return
	}
	seq, k := q.front()
	if k == nil {
		return
	}
	if x := k.attributes(int(seq - k.base)).expires; x != 0 {
		q.at(time.UnixMilli(x))
	}
}

// weigh is what a record counts for Rules.MaxBytes.
func (q *Queue) weigh(data []byte) uint32 {
	n := len(data)
	if q.cfg.Weigh != nil {
		n = q.cfg.Weigh(data)
	}
	return uint32(min(max(n, 0), math.MaxUint32))
}

// reweigh changes what record i of k, which is not settled, counts.
func (q *Queue) reweigh(k *chunk, i int, weight uint32) {
	a := k.attributes(i)
	if k.isReady(i) {
		q.weight += int64(weight) - int64(a.weight)
	}
	a.weight = weight
	k.annotate(i, a)
}

// weighAll counts what is in the queue already. Of records that are not in memory the weight is a guess, until they are read back.
func (q *Queue) weighAll() {
	for _, k := range q.content.live() {
		for i := 0; i < k.count && !k.done(); i++ {
			switch {
			case k.records == nil:
				q.reweigh(k, i, k.share())
			case k.records[i].owner == ownerSettled:
			case k.records[i].data != nil:
				q.reweigh(k, i, q.weigh(k.records[i].data))
			case k.records[i].size > 0:
				q.reweigh(k, i, k.records[i].size)
			default:
				q.reweigh(k, i, k.share())
			}
		}
	}
}

// limited tells whether there is a limit at all. A stream has limits of its own.
func (q *Queue) limited() bool { return q.stream == nil && (q.cfg.MaxLength.Set || q.cfg.MaxBytes.Set) }

// above tells whether a queue with so many ready records and such a weight would be above its limits.
func (q *Queue) above(ready int, weight int64) bool {
	return q.limited() && (q.cfg.MaxLength.Set && int64(ready) > q.cfg.MaxLength.N || q.cfg.MaxBytes.Set && weight > q.cfg.MaxBytes.N)
}

// admits tells whether an append may come into a limited queue, and what it weighs; if it may not its publisher is told. What came earlier with the same batch
// is delivered before it counts, as it would be without batches.
func (q *Queue) admits(o *op) (weight uint32, ok bool) {
	if q.cfg.MaxBytes.Set {
		weight = q.weigh(o.data)
	}
	if !q.above(q.ready+1, q.weight+int64(weight)) {
		return weight, true
	}
	q.deliver()
	if q.cfg.Overflow == DropHead || !q.above(q.ready+1, q.weight+int64(weight)) {
		return weight, true
	}
	q.turnAway(o)
	return 0, false
}

// turnAway tells the publisher of a record that overflows, once the dead letters have it (or will not) if they are to.
func (q *Queue) turnAway(o *op) {
	told := op{kind: opOverflow, pub: o.pub, tag: o.tag}
	if q.cfg.Overflow != RejectPublishDLX || q.cfg.DeadLetter == nil {
		q.apply(&told)
		return
	}
	q.counts[EventDead]++
	q.cfg.DeadLetter(Dead{Record: o.data, Reason: MaxLength, Priority: o.priority}, func(error) {
		if !q.post(told) && told.pub != nil {
			told.pub.Appended([]uint64{told.tag}, ErrOverflow)
		}
	})
}

// settleIn gets a queue within its limits into which a record has come: consumers may have it first.
func (q *Queue) settleIn() {
	if q.above(q.ready, q.weight) {
		q.handOut()
		q.trimHead()
	}
}

// trimHead lets the first records die until the queue is within its limits.
func (q *Queue) trimHead() {
	for q.cfg.Overflow == DropHead && q.ready > 0 && q.end == nil && q.above(q.ready, q.weight) {
		seq, k := q.peek()
		if k == nil {
			return
		}
		q.perish(seq, k, MaxLength)
	}
}
