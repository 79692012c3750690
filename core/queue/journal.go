package queue

import "time"

// journalBytes is about how large a journal entry may become, but for what is gone; what does not fit goes into further ones.
const journalBytes = 256 << 10

// journaler gathers settlements for the log. Owned by run.
type journaler struct {
	now      bool           // at once, without waiting for more
	final    bool           // the queue is closed, and the last journal has been started
	due      time.Time      // zero: nothing to write
	inFlight int            // entries on their way; all belong to one flight
	dirty    []*chunk       // written chunks with settlements that are in no journal entry
	released []uint64       // entries with the last bitmap of a chunk that is settled whole: no longer needed when a newer entry says so
	waiting  []waiter       // in the order of their settlements
	refs     map[uint64]int // journal entry -> chunks whose latest bitmap it holds
	latest   uint64         // the newest journal entry; it holds the watermark and what is gone
	highest  uint64         // number of the highest record delivered
	told     uint64         // of those the log knows
}

// waiter wants to know when its settlement is durable.
type waiter struct {
	done func(error)
	err  error  // what it is told then
	upTo uint64 // chunks that begin below must be in the log first
}

// flight is a journal on its way: one entry, or several if one would become too large.
type flight struct {
	left     int // entries not answered
	err      error
	told     uint64
	waiters  []waiter
	released []uint64
}

// journalSoon writes settlements in a moment, when more have gathered.
func (q *Queue) journalSoon() {
	if q.journal.due.IsZero() && q.log != nil {
		q.journalBy(q.now().Add(journalDelay))
	}
}

// journalBy makes sure that settlements are written by t.
func (q *Queue) journalBy(t time.Time) {
	if q.journal.due.IsZero() {
		q.journal.due = t
		q.at(t)
	}
}

// touch notes that a chunk's settlements are to be written.
func (q *Queue) touch(k *chunk) {
	if q.log == nil || !k.written() || k.listed {
		return
	}
	k.listed = true
	q.journal.dirty = append(q.journal.dirty, k)
	q.journalSoon()
}

// delivered notes that a record was handed out: after a restart it counts as redelivered.
func (q *Queue) delivered(k *chunk, i int) {
	if q.log == nil {
		return
	}
	q.journal.highest = max(q.journal.highest, k.base+uint64(i))
	if q.counted() {
		q.touch(k)
	}
	q.journalSoon()
}

// counted tells whether the log has the number of deliveries of each record. In a queue that is sorted the watermark would say nothing.
func (q *Queue) counted() bool { return q.cfg.MaxDeliveries > 0 || q.sorted() }

// whenJournalled calls done with err when all that has been settled is durable, as far as it concerns records up to number last. Else it says why not.
func (q *Queue) whenJournalled(done func(error), err error, last uint64) {
	if q.log == nil {
		done(err)
		return
	}
	q.journal.waiting = append(q.journal.waiting, waiter{done, err, min(last, q.next-1) + 1})
	q.journal.now = true
}

// journalIfDue writes what has gathered, when its time has come and nothing is on its way.
func (q *Queue) journalIfDue(now time.Time) {
	j := &q.journal
	if q.log == nil {
		j.now = false
		return
	}
	if j.inFlight > 0 {
		return // its answer looks again
	}
	if !j.now && (j.due.IsZero() || j.due.After(now)) {
		if !j.due.IsZero() {
			q.at(j.due)
		}
		return
	}
	j.now, j.due = false, time.Time{}
	ready := j.takeWaiters(q.writer.pending)
	if len(ready) == 0 && !q.worthWriting() {
		q.trim()
		return
	}
	q.writeJournal(ready)
}

// worthWriting tells whether there is something that nobody waits for. Chunks settled whole are not a reason: they are trimmed, which says as much. Only a
// queue that ends does not rely on that, and chunks whose IDs are remembered are not trimmed.
func (q *Queue) worthWriting() bool {
	j := &q.journal
	return len(j.dirty) > 0 || len(j.released) > 0 || q.trimmer.owed || (q.held > 0 || j.final) && q.tellable() > j.told || j.final && q.trimmer.untold
}

// takeWaiters returns the waiters whose chunks are all in the log. The others are looked at again when a chunk has been answered.
func (j *journaler) takeWaiters(pending []*chunk) (ready []waiter) {
	if len(pending) == 0 {
		ready, j.waiting = j.waiting, nil
		return ready
	}
	var rest []waiter
	for _, w := range j.waiting {
		if w.upTo > pending[0].base {
			rest = append(rest, w)
		} else {
			ready = append(ready, w)
		}
	}
	j.waiting = rest
	return ready
}

// refused notes that a chunk whose first record has number base is not in the log, or nobody knows: nobody can be told that its records' settlements are durable.
func (j *journaler) refused(base uint64, err error) {
	for i := range j.waiting {
		if w := &j.waiting[i]; w.upTo > base {
			w.err = firstError(w.err, err)
		}
	}
}

// tellable is the number of the highest record delivered of those that the log holds.
func (q *Queue) tellable() uint64 {
	if q.sorted() {
		return 0
	}
	if p := q.writer.pending; len(p) > 0 && q.journal.highest >= p[0].base {
		return p[0].base - 1
	}
	return q.journal.highest
}

// writeJournal appends the state of the dirty chunks, the watermark and what is gone.
func (q *Queue) writeJournal(ready []waiter) {
	j := &q.journal
	f := &flight{told: q.tellable(), waiters: ready, released: j.released}
	dirty := j.dirty
	j.dirty, j.released, q.trimmer.untold, q.trimmer.owed = nil, nil, false, false
	head := journal{watermark: q.watermark(), floor: q.floor()}
	head.gone = q.trimmer.above(head.floor, q.ids.oldest())
	doubts := q.doubts()
	for f.left == 0 || len(dirty) > 0 {
		entry := beginDoubts(q.buffer(), doubts, head)
		full := len(entry) + journalBytes
		var wrote []*chunk
		n := 0
		for ; n < len(dirty) && len(entry) < full; n++ {
			k := dirty[n]
			k.listed = false
			if !k.done() {
				entry = appendBitmap(entry, bitmap(k, q.counted()))
				wrote = append(wrote, k)
			}
		}
		dirty = dirty[n:]
		f.left++
		j.inFlight++
		q.appendEntry(endEntry(entry), func(seq uint64, err error) { q.journalAnswered(f, wrote, seq, err) })
	}
}

// journalAnswered takes note that an entry of a flight is in the log, or may not be; wrote are the chunks with a bitmap therein.
func (q *Queue) journalAnswered(f *flight, wrote []*chunk, seq uint64, err error) {
	j := &q.journal
	j.inFlight--
	f.left--
	f.err = firstError(f.err, err)
	switch {
	case q.deleted():
	case err != nil:
		q.journalBy(q.now().Add(retryDelay))
		for _, k := range wrote {
			if !k.done() {
				q.touch(k)
			}
		}
	default:
		q.journalled(wrote, seq)
	}
	if f.left == 0 {
		q.landed(f)
	}
}

// landed ends a flight.
func (q *Queue) landed(f *flight) {
	j := &q.journal
	switch {
	case q.deleted():
	case f.err != nil:
		j.released, q.trimmer.untold, q.trimmer.owed = append(j.released, f.released...), true, true
		q.journalBy(q.now().Add(retryDelay))
	default:
		j.told = f.told
		for _, seq := range f.released {
			q.unref(seq)
		}
		q.trim()
	}
	for _, w := range f.waiters {
		w.done(firstError(f.err, w.err))
	}
	if len(j.waiting) > 0 {
		j.now = true
	} else if !j.due.IsZero() {
		q.at(j.due)
	}
}

// journalled takes note that an entry is in the log.
func (q *Queue) journalled(wrote []*chunk, seq uint64) {
	j := &q.journal
	former := j.latest
	q.passDoubt(seq)
	j.latest, q.trimmer.written = seq, max(q.trimmer.written, seq)
	for _, k := range wrote {
		if !k.done() { // else its former one is in released
			q.unref(k.journal)
			k.journal = seq
			j.ref(seq)
		}
	}
	if former != 0 && j.refs[former] == 0 {
		q.trimmer.gone = append(q.trimmer.gone, former)
	}
}

func (j *journaler) ref(seq uint64) {
	if j.refs == nil {
		j.refs = map[uint64]int{}
	}
	j.refs[seq]++
}

// unref notes that a chunk's latest bitmap is no longer in the journal entry seq.
func (q *Queue) unref(seq uint64) {
	j := &q.journal
	if seq == 0 {
		return
	}
	if j.refs[seq]--; j.refs[seq] == 0 {
		delete(j.refs, seq)
		if seq != j.latest {
			q.trimmer.gone = append(q.trimmer.gone, seq)
		}
	}
}

// watermark is the position of the highest record delivered, or of the last one before it that is in the log.
func (q *Queue) watermark() position {
	if q.sorted() {
		return position{}
	}
	live := q.content.live()
	i := q.content.search(q.journal.highest)
	if i < len(live) && live[i].base <= q.journal.highest && live[i].written() {
		return position{live[i].first, q.journal.highest - live[i].base}
	}
	for i--; i >= 0; i-- {
		if i < len(live) && live[i].written() {
			return position{live[i].last, uint64(live[i].count)}
		}
	}
	return position{}
}

// bitmap is a chunk's state for the journal.
func bitmap(k *chunk, attempts bool) journalChunk {
	c := journalChunk{entry: k.first, count: uint64(k.count), bytes: uint64(k.bytes), settled: make([]byte, (k.count+7)/8)}
	for i := range k.records {
		r := &k.records[i]
		switch {
		case r.owner == ownerSettled:
			c.settled[i/8] |= 1 << (i % 8)
		case attempts && r.attempts > 0:
			c.attempts = append(c.attempts, attempt{uint64(i), uint64(r.attempts)})
		}
	}
	return c
}

// discard answers everybody, for a queue that is deleted.
func (j *journaler) discard(reason error) {
	for _, w := range j.waiting {
		w.done(reason)
	}
	*j = journaler{inFlight: j.inFlight}
}
