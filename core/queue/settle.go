package queue

import (
	"slices"
	"time"
)

// Settle settles deliveries. Stale handles are passed over, and done is told ErrStale if there was any. done (may be nil) is called from
// the queue's goroutine (once the queue has ended, by the caller's) when the settlement is as durable as the queue; it must not block. hs is copied.
// A rejected record that is dead-lettered is settled when the dead letters have it: until then, whatever done said, it comes back after a restart.
func (q *Queue) Settle(o Outcome, hs []Handle, done func(error)) {
	var one Handle
	var many []Handle
	if len(hs) == 1 && hs[0].Seq != 0 {
		one = hs[0]
	} else {
		many = append(many, hs...)
	}
	if !q.post(op{kind: opSettle, outcome: o, handle: one, handles: many, done: done}) && done != nil {
		done(q.endedWith())
	}
}

func (q *Queue) settle(o *op) {
	if q.journal.final { // too late to be written
		q.refuse(o)
		return
	}
	if q.stream != nil {
		q.stream.settle(o)
		return
	}
	var err error
	last := o.handle.Seq
	if o.outcome == Requeue && q.limited() {
		q.handOut() // so that what came before with the same batch does not count as waiting
	}
	if last != 0 {
		err = q.settleOne(o.outcome, o.handle)
	}
	for _, h := range o.handles {
		err = firstError(q.settleOne(o.outcome, h), err)
		last = max(last, h.Seq)
	}
	if o.outcome == Requeue {
		q.trimHead()
	}
	if o.done != nil {
		q.whenJournalled(o.done, err, last)
	}
}

func (q *Queue) settleOne(o Outcome, h Handle) error {
	k, i := q.heldBy(h)
	if k == nil {
		return ErrStale
	}
	switch {
	case o == Ack:
		q.counts[EventAcked]++
		q.erase(k, i)
	case o == Reject && q.cfg.DeadLetter == nil:
		q.counts[EventDead]++
		q.erase(k, i)
	case o == Reject:
		q.bequeath(k, i, Rejected)
	default:
		q.requeue(k, i)
	}
	return nil
}

// heldBy finds the record of a handle, if that very delivery is still held.
func (q *Queue) heldBy(h Handle) (*chunk, int) {
	k := q.content.find(h.Seq)
	if k == nil || k.records == nil {
		return nil, 0
	}
	i := int(h.Seq - k.base)
	if r := &k.records[i]; r.owner < firstOwner || r.attempts != h.Attempt {
		return nil, 0
	}
	return k, i
}

// unhold takes a record from whoever holds it and gives the credit back.
func (q *Queue) unhold(k *chunk, i int) {
	c := q.ownerOf(&k.records[i])
	q.held--
	q.lease.drop(k.base + uint64(i))
	if c != nil {
		q.regain(c)
	}
}

// ownerOf returns the consumer that holds r; nil if it has gone, or takes without acknowledging.
func (q *Queue) ownerOf(r *record) *Consumer {
	if r.owner == firstOwner {
		return nil
	}
	if c := q.recent; c != nil && c.id == r.owner { // it is often the same one
		return c
	}
	q.recent = q.owners[r.owner]
	return q.recent
}

// regain gives c the credit back of one delivery that it no longer holds.
func (q *Queue) regain(c *Consumer) {
	c.held--
	if c.limited() {
		c.cfg.Limit.give(1)
	}
	if c.cfg.Window {
		c.credit++
		if !c.isActive {
			q.activate(c)
		}
	}
	if c.held == 0 && c.gone {
		q.forget(c)
	}
}

// requeue returns a held record to its original place, or lets it die when it has been delivered too often.
func (q *Queue) requeue(k *chunk, i int) {
	if q.cfg.MaxDeliveries > 0 && k.records[i].attempts >= q.cfg.MaxDeliveries {
		q.die(k, i)
		return
	}
	q.unhold(k, i)
	r := &k.records[i]
	r.owner = ownerNone
	q.nowReady(k, i)
	if q.sorted() {
		q.wait(k, i)
	} else {
		q.returned.push(k.base + uint64(i))
	}
	if q.cfg.MaxDeliveries > 0 {
		q.touch(k)
	}
}

// erase settles a record, whatever it was.
func (q *Queue) erase(k *chunk, i int) {
	r := &k.records[i]
	switch r.owner {
	case ownerSettled:
		return
	case ownerNone:
		q.noLongerReady(k, i)
	case ownerGrave:
		q.held--
		q.grave.count--
	default:
		q.unhold(k, i)
	}
	n := int64(r.size)
	if r.data != nil {
		k.memory -= n
		q.memory -= n
	} else if n == 0 {
		n = int64(k.share()) // it has never been in memory
	}
	n = min(n, k.bytes)
	k.bytes -= n
	q.bytes -= n
	r.owner, r.data = ownerSettled, nil
	k.settled++
	if k.done() {
		q.doneWith(k)
	} else {
		q.touch(k)
	}
}

// doneWith lets go of a chunk whose records are all settled, unless its publishers still wait for an answer.
func (q *Queue) doneWith(k *chunk) {
	if k == q.gather && q.log == nil {
		q.gather = nil
	}
	if !k.pending {
		q.bury(k)
	}
}

// bury removes a settled chunk.
func (q *Queue) bury(k *chunk) {
	q.bytes -= k.bytes
	q.recycle(k.records)
	k.records, k.extra = nil, nil
	if k.written() {
		q.entomb(k)
	}
	q.content.bury()
}

// Purge removes what is ready and returns how much that was. It waits until that is as durable as the queue; after another error than
// ErrClosed and ErrDeleted the records are gone, but may come back after a restart.
func (q *Queue) Purge() (n int, err error) {
	durable := make(chan error, 1)
	err = q.ask(func() {
		if refused := firstError(q.end, q.taking()); refused != nil {
			durable <- refused
			return
		}
		q.deliver() // what consumers can take is theirs
		n = q.ready
		q.discardReady()
		q.whenJournalled(func(err error) { durable <- err }, nil, q.next-1)
	})
	if err != nil {
		return 0, err
	}
	return n, <-durable
}

func (q *Queue) discardReady() {
	for _, k := range slices.Clone(q.content.live()) {
		if k.ready > 0 {
			q.eraseReady(k)
		}
	}
	q.returned = nil
	q.byExpiry = nil
	for i := range q.levels {
		q.levels[i] = nil
	}
}

// eraseReady settles what is ready in k.
func (q *Queue) eraseReady(k *chunk) {
	q.stateOf(k)
	for i := 0; i < k.count && k.ready > 0; i++ {
		if k.records[i].owner == ownerNone {
			q.erase(k, i)
		}
	}
}

// discard drops everything, for a queue that is deleted.
func (q *Queue) discard() {
	for _, k := range q.writer.queued {
		for _, t := range k.tickets {
			q.kept.add(t, ErrDeleted)
		}
		k.tellAgain(&q.kept, ErrDeleted)
	}
	q.writer.queued, q.gather = nil, nil
	q.content, q.returned, q.ready, q.held, q.bytes, q.memory, q.weight = chunks{}, nil, 0, 0, 0, 0, 0
	q.grave.waiting, q.grave.count, q.levels, q.byExpiry = nil, 0, nil, nil
	q.journal.discard(q.end)
}

// Extend gives a leased delivery d from now on. It waits. ErrStale.
func (q *Queue) Extend(h Handle, d time.Duration) error {
	var stale error
	err := q.ask(func() {
		if stale = q.taking(); stale != nil {
			return
		}
		if k, _ := q.heldBy(h); k == nil {
			stale = ErrStale
			return
		}
		q.lease.add(h, q.now().Add(d))
		q.at(q.lease.first())
	})
	return firstError(err, stale)
}
