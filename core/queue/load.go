package queue

import (
	"slices"
	"time"
)

// loadBytes is how much is read back from the log at once, at most; and least what a small queue reads.
const (
	loadBytes = 4 << 20
	loadLeast = 64 << 10
)

// load reads chunk k and what follows it back from the log, in a goroutine of its own, one at a time.
func (q *Queue) load(k *chunk) {
	if q.loading || !k.written() {
		return
	}
	q.loading, q.reading = true, true
	q.makeRoom(k)
	first, last, size := k.first, k.last, int(min(max(q.cfg.Resident/2, loadLeast), loadBytes))
	go func() {
		entries, err := q.readBack(first, last, size)
		q.post(op{kind: opKept, call: func() {
			q.reading = false
			q.loaded(k, entries, err)
		}})
	}()
}

// readBack reads the entries from first to last and what comes with them, about size bytes at once.
func (q *Queue) readBack(first, last uint64, size int) (entries []Entry, err error) {
	for from := first; from <= last; {
		more, err := q.log.Read(q.reads, from, size)
		if err != nil {
			return nil, err
		}
		if len(more) == 0 {
			break
		}
		entries = append(entries, more...)
		from = more[len(more)-1].Seq + 1
	}
	return entries, nil
}

// loaded puts what was read back into its chunks. A log that cannot be read is tried again; what it has lost is lost.
func (q *Queue) loaded(k *chunk, entries []Entry, err error) {
	if err != nil && q.end == nil {
		q.wakeGetters(err)
		time.AfterFunc(retryDelay, func() { q.post(op{kind: opCall, call: q.look}) })
		return // loading: not again before the delay is over
	}
	if q.end == nil && !k.done() && !q.fill(k, entries) {
		q.lose(k)
	}
	q.look()
}

// look lets those look again who waited for something to be read back.
func (q *Queue) look() {
	q.loading = false
	q.wakeGetters(nil)
	q.digGraves()
}

// lose gives up a chunk that the log no longer has, or has damaged. What consumers hold of it is lost if it returns.
func (q *Queue) lose(k *chunk) {
	q.stateOf(k)
	if k.ids != nil {
		k.ids.first = 0 // nobody would find them
	}
	for i := 0; i < len(k.records); i++ {
		if r := &k.records[i]; r.data == nil && (r.owner == ownerNone || r.owner == ownerGrave) {
			q.counts[EventLost]++
			q.erase(k, i)
		}
	}
}

// fill gives the entries' records to their chunks, from k on, and tells whether k has got its own.
func (q *Queue) fill(k *chunk, entries []Entry) (filled bool) {
	live := q.content.live()
	at := q.content.search(k.base)
	var parts gathering
	for _, e := range entries {
		for at < len(live) && live[at].last < e.Seq {
			at++
		}
		if at == len(live) {
			break
		}
		c := live[at]
		if e.Seq < c.first || c != k && (c.ready == 0 || c.memory > 0) {
			continue
		}
		kind, body, err := openEntry(e.Data)
		if err != nil {
			continue
		}
		if _, kind, body, err = openIDs(kind, body); err != nil {
			continue
		}
		records, first, err := parts.records(kind, body, e.Seq)
		if err == nil && first == c.first && q.restore(c, records) && c == k {
			filled = true
		}
	}
	return filled
}

// restore gives a chunk its records' data; false: they are not the chunk's.
func (q *Queue) restore(k *chunk, records []item) bool {
	if k.done() || len(records) != k.count {
		return false
	}
	var size int64
	for i := range q.stateOf(k) {
		if k.records[i].owner != ownerSettled {
			if records[i].data == nil {
				return false
			}
			size += int64(len(records[i].data))
		}
	}
	for i := range k.records {
		if r := &k.records[i]; r.owner != ownerSettled {
			r.data, r.size = records[i].data, uint32(len(records[i].data))
			if q.cfg.MaxBytes.Set {
				q.reweigh(k, i, q.weigh(r.data)) // it may have been a guess
			}
		}
	}
	q.bytes += size - k.bytes
	q.memory += size - k.memory
	k.bytes, k.memory = size, size
	return true
}

// makeRoom lets go of data that is only held (it is read back if it returns), before k is read. In a queue that is sorted every chunk may have what comes next, but
// the oldest are the likeliest.
func (q *Queue) makeRoom(k *chunk) {
	for _, c := range q.content.live() {
		if c != k && (c.ready == 0 || c.end() <= q.fresh) {
			q.relieve(c)
		}
	}
	if !q.sorted() {
		return
	}
	for _, c := range slices.Backward(q.content.live()) {
		if c != k {
			q.relieve(c)
		}
	}
}

// relieve unloads c if too much is in memory.
func (q *Queue) relieve(c *chunk) {
	if c.written() && c.memory > 0 && q.crowded() {
		q.unload(c)
	}
}

// crowded tells whether too much is in memory.
func (q *Queue) crowded() bool { return q.memory > q.cfg.Resident || q.cfg.Budget.over() }

// stateOf returns the per-record state of a chunk, making it where the chunk was only counted.
func (q *Queue) stateOf(k *chunk) []record {
	if k.records == nil {
		k.records = append(q.recycled(k.count), make([]record, k.count)...)
	}
	return k.records
}
