package queue

import "errors"

// Close ends the queue and keeps its log: what gathers is written and settlements are journalled first. It waits.
func (q *Queue) Close() error {
	return q.shut(ErrClosed, func() error { return nil })
}

// Delete ends the queue and removes its log; it returns how many records were ready. ifUnused: ErrInUse when there are consumers;
// ifEmpty: ErrNotEmpty when records are ready. It waits.
func (q *Queue) Delete(ifUnused, ifEmpty bool) (ready int, err error) {
	err = q.shut(ErrDeleted, func() error {
		q.deliver() // what consumers can take is theirs
		if ifUnused && len(q.consumers) > 0 {
			return ErrInUse
		}
		if ifEmpty && q.ready > 0 {
			return ErrNotEmpty
		}
		ready = q.ready
		return nil
	})
	return ready, err
}

// shut ends the queue for reason unless check objects, and waits for its goroutine.
func (q *Queue) shut(reason error, check func() error) error {
	var refused, failed error
	ending := false
	err := q.ask(func() {
		if ending = q.end != nil; ending {
			refused = q.end
			return
		}
		if refused = check(); refused == nil {
			q.finish = func() { failed = q.closeLog(reason) }
			q.begin(reason)
		}
	})
	if refused != nil && !ending {
		return refused // and the queue goes on
	}
	<-q.over
	return firstError(err, refused, failed)
}

// deleted tells whether the queue ends because somebody has deleted it.
func (q *Queue) deleted() bool { return errors.Is(q.end, ErrDeleted) }

func (q *Queue) closeLog(reason error) error {
	if q.log == nil {
		return nil
	}
	return q.log.Close(errors.Is(reason, ErrDeleted))
}

// begin starts the end: consumers are told, nothing is delivered any more, what has gathered is written.
func (q *Queue) begin(reason error) {
	q.end = reason
	q.stopReads()
	for _, c := range q.consumers {
		c.leave(reason)
	}
	q.consumers, q.active, q.alone, q.sole = nil, nil, nil, nil
	for _, o := range q.parked {
		q.cfg.Budget.parked.Add(-int64(len(o.data)))
		q.kept.add(ticket{o.pub, o.tag}, reason)
	}
	q.parked = nil
	if errors.Is(reason, ErrDeleted) {
		q.discard()
		return
	}
	q.journal.now = true
}

// settledDown tells whether nothing is under way in the log any more. A queue that is closed writes a last journal when everything else
// has been answered; if that is refused it ends without.
func (q *Queue) settledDown() bool {
	switch {
	case q.writer.inFlight > 0 || q.reading:
		return false
	case !errors.Is(q.end, ErrClosed):
		return true
	case len(q.writer.pending) > 0 || q.grave.underWay > 0: // letters that have arrived are not to be sent again
		return false
	case !q.journal.final:
		q.journal.final, q.journal.now = true, true
		q.journalIfDue(q.now())
	}
	return q.writer.inFlight == 0 && !q.journal.now
}

// stop is the last thing the goroutine does.
func (q *Queue) stop() {
	q.timer.Stop()
	q.cfg.Budget.forget(q)
	q.cfg.Budget.add(-q.budgeted)
	q.forgetAllIDs()
	q.returnLimits()
	q.wakeGetters(nil)
	if q.finish != nil {
		q.finish()
	}
	q.mu.Lock()
	q.ended = q.end
	rest := q.inbox
	q.inbox = nil
	q.mu.Unlock()
	for i := range rest {
		q.refuse(&rest[i])
	}
	for _, w := range q.journal.waiting {
		w.done(q.end)
	}
	q.kept.flush()
}

// returnLimits gives back what the queue's consumers hold of windows that they share with consumers of other queues.
func (q *Queue) returnLimits() {
	for _, c := range q.owners {
		if c.limited() {
			c.cfg.Limit.give(c.held)
		}
		c.held = 0
	}
}

// refuse answers what came in too late.
func (q *Queue) refuse(o *op) {
	switch {
	case o.kind == opAppend:
		q.kept.add(ticket{o.pub, o.tag}, q.end)
	case o.kind == opOverflow:
		q.apply(o)
	case o.kind == opSettle && o.done != nil:
		o.done(q.end)
	}
}
