package queue

import "time"

// journaler gathers settlements for the log. Owned by run.
type journaler struct {
	now      bool      // at once, without waiting for more
	due      time.Time // zero: nothing to write
	inFlight bool
	dirty    []*chunk       // written chunks with settlements that are in no journal entry
	buried   []journalChunk // chunks settled whole since the last entry
	gone     []uint64       // log entries that are no longer needed
	floor    uint64         // what was last trimmed below
	waiting  []waiter
	refs     map[uint64]int // journal entry -> chunks whose latest bitmap it holds
	latest   uint64         // the newest journal entry; it holds the watermark
	written  uint64         // the newest entry of the log
	highest  uint64         // number of the highest record delivered
	told     uint64         // highest, as the log knows it
}

// waiter wants to know when its settlement is durable.
type waiter struct {
	done func(error)
	err  error  // what it is told then
	upTo uint64 // chunks that begin below must be in the log first
}

// journalBy makes sure that settlements are written by t.
func (q *Queue) journalBy(t time.Time) {
	if q.log == nil || !q.journal.due.IsZero() {
		return
	}
	q.journal.due = t
	q.at(t)
}

// touch notes that a chunk's settlements are to be written.
func (q *Queue) touch(k *chunk) {
	if q.log == nil || !k.written() || k.listed {
		return
	}
	k.listed = true
	q.journal.dirty = append(q.journal.dirty, k)
	q.journalBy(q.now().Add(journalDelay))
}

// delivered notes that a record was handed out: after a restart it counts as redelivered.
func (q *Queue) delivered(k *chunk, i int) {
	if q.log == nil {
		return
	}
	q.journal.highest = max(q.journal.highest, k.base+uint64(i))
	if q.cfg.MaxDeliveries > 0 {
		q.touch(k)
	}
	q.journalBy(q.now().Add(journalDelay))
}

// whenJournalled calls o.done when what o settled is durable.
func (q *Queue) whenJournalled(o *op, err error) {
	if q.log == nil {
		o.done(err)
		return
	}
	upTo := o.handle.Seq
	for _, h := range o.handles {
		upTo = max(upTo, h.Seq)
	}
	q.journal.waiting = append(q.journal.waiting, waiter{o.done, err, upTo + 1})
	q.journal.now = true
}

// remove gives up a settled chunk's entries.
func (j *journaler) remove(k *chunk) {
	j.buried = append(j.buried, journalChunk{entry: k.first, count: uint64(k.count), settled: ones(k.count)})
	for seq := k.first; seq <= k.last; seq++ {
		j.gone = append(j.gone, seq)
	}
	j.unref(k.journal)
	k.journal = 0
}

func ones(n int) []byte {
	b := make([]byte, (n+7)/8)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

// unref notes that a chunk's latest bitmap is no longer in the journal entry seq.
func (j *journaler) unref(seq uint64) {
	if seq == 0 {
		return
	}
	if j.refs[seq]--; j.refs[seq] <= 0 {
		delete(j.refs, seq)
		if seq != j.latest {
			j.gone = append(j.gone, seq)
		}
	}
}

// journalIfDue writes what has gathered, when its time has come and nothing is on its way.
func (q *Queue) journalIfDue(now time.Time) {
	j := &q.journal
	if q.log == nil {
		j.now = false
		return
	}
	if j.inFlight || !j.now && (j.due.IsZero() || j.due.After(now)) {
		if !j.due.IsZero() && !j.inFlight {
			q.at(j.due)
		}
		return
	}
	j.now, j.due = false, time.Time{}
	ready := j.takeWaiters(q.writer.pending)
	j.now = false
	if !q.worthWriting(ready) {
		j.buried = j.buried[:0]
		q.trim()
		return
	}
	q.writeJournal(ready)
}

// takeWaiters returns the waiters whose chunks are all in the log.
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

func (q *Queue) worthWriting(ready []waiter) bool {
	j := &q.journal
	return len(j.dirty) > 0 || len(ready) > 0 || q.held > 0 && j.highest > j.told
}

func (q *Queue) writeJournal(ready []waiter) {
	j := &q.journal
	entry := journal{watermark: q.watermark()}
	if len(ready) > 0 {
		entry.chunks = append(entry.chunks, j.buried...)
	}
	j.buried = j.buried[:0]
	var wrote []*chunk
	for _, k := range j.dirty {
		k.listed = false
		if !k.done() {
			entry.chunks = append(entry.chunks, bitmap(k, q.cfg.MaxDeliveries > 0))
			wrote = append(wrote, k)
		}
	}
	j.dirty = j.dirty[:0]
	j.inFlight = true
	highest := j.highest
	q.appendEntry(encodeJournal(q.buffer(), entry), func(seq uint64, err error) {
		j.inFlight = false
		if err != nil {
			q.journalFailed(wrote, err)
		} else {
			j.told = highest
			q.journalled(wrote, seq)
		}
		for _, w := range ready {
			w.done(firstError(err, w.err))
		}
		if len(j.waiting) > 0 {
			j.now = true
		}
	})
}

func (q *Queue) journalFailed(wrote []*chunk, _ error) {
	q.journal.now = false
	for _, k := range wrote {
		if !k.done() {
			q.touch(k)
		}
	}
	q.journalBy(q.now().Add(retryDelay))
}

func (q *Queue) journalled(wrote []*chunk, seq uint64) {
	j := &q.journal
	former := j.latest
	j.latest, j.written = seq, max(j.written, seq)
	for _, k := range wrote {
		if k.done() {
			continue
		}
		j.unref(k.journal)
		k.journal = seq
		j.ref(seq)
	}
	if former != 0 && j.refs[former] == 0 {
		j.gone = append(j.gone, former)
	}
	q.trim()
}

func (j *journaler) ref(seq uint64) {
	if j.refs == nil {
		j.refs = map[uint64]int{}
	}
	j.refs[seq]++
}

// trim removes from the log what nothing needs any more.
func (q *Queue) trim() {
	j := &q.journal
	floor := j.written + 1
	if live := q.content.live(); len(live) > 0 && live[0].written() {
		floor = live[0].first
	}
	var also []uint64
	for _, seq := range j.gone {
		if seq >= floor {
			also = append(also, seq)
		}
	}
	j.gone = j.gone[:0]
	if floor > j.floor || len(also) > 0 {
		j.floor = floor
		q.log.Trim(floor, also)
	}
}

// watermark is the position of the highest record delivered, or of the last one before it that is in the log.
func (q *Queue) watermark() position {
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
	c := journalChunk{entry: k.first, count: uint64(k.count), settled: make([]byte, (k.count+7)/8)}
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
