package queue

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// recoverTimeout bounds one read of a recovery.
const recoverTimeout = 30 * time.Second

// recovery reads a log from its first entry to its last, before the queue's goroutine runs: chunks minus settlements.
type recovery struct {
	q         *Queue
	parts     gathering
	ids       idHead // those that came last
	idsAt     uint64 // and their entry
	watermark position
	journals  []uint64
	floor     uint64 // as the newest journal has it
	gone      spans  // likewise
	doubts    spans  // likewise
}

// recover fills the queue from its log.
func (q *Queue) recover() error {
	r := recovery{q: q}
	for from := uint64(1); ; {
		ctx, cancel := context.WithTimeout(context.Background(), recoverTimeout)
		entries, err := q.log.Read(ctx, from, loadBytes)
		cancel()
		if err != nil {
			return fmt.Errorf("recover queue %q: %w", q.cfg.Name, err)
		}
		if len(entries) == 0 {
			break
		}
		for _, e := range entries {
			if err := r.entry(e); err != nil {
				return fmt.Errorf("recover queue %q, entry %d: %w", q.cfg.Name, e.Seq, err)
			}
			from = e.Seq + 1
		}
	}
	if q.stream != nil {
		q.stream.retain()
		return nil
	}
	r.finish()
	return nil
}

func (r *recovery) entry(e Entry) error {
	kind, body, err := openEntry(e.Data)
	if err != nil {
		return err
	}
	r.q.trimmer.written = e.Seq
	ids, kind, body, err := openIDs(kind, body)
	switch {
	case err != nil:
		return err
	case ids.ids != nil:
		r.ids, r.idsAt = ids, e.Seq
	}
	if r.q.stream != nil {
		return r.streamEntry(kind, body, e.Seq)
	}
	var doubts spans
	if kind == kindDoubts {
		if doubts, body, err = openDoubts(body); err != nil {
			return err
		}
		kind = kindJournal
	}
	if kind == kindJournal {
		r.doubts = doubts
		return r.journal(body, e.Seq)
	}
	records, first, err := r.parts.records(kind, body, e.Seq)
	if err != nil || len(records) == 0 {
		return err
	}
	return r.chunk(records, first, e.Seq)
}

// idsFrom returns the IDs that the entry had in which a chunk begins.
func (r *recovery) idsFrom(entry uint64) (ids idHead) {
	if r.idsAt == entry {
		ids = r.ids
	}
	return ids
}

// chunk adds what one entry (or the parts of one record) holds.
func (r *recovery) chunk(records []item, first, last uint64) error {
	q := r.q
	k := &chunk{base: q.next, count: len(records), first: first, last: last}
	resident := q.memory < q.cfg.Resident && !q.cfg.Budget.over()
	absent := 0
	for i, it := range records {
		k.bytes += int64(len(it.data))
		if it.data == nil {
			absent++
			continue
		}
		if q.cfg.MaxBytes.Set {
			it.weight = q.weigh(it.data)
		}
		k.annotate(i, it.attributes)
		q.mortal = q.mortal || it.expires != 0
	}
	if resident || absent > 0 {
		k.records = make([]record, k.count)
	}
	for i := range k.records {
		r.record(&k.records[i], records[i], resident)
	}
	k.settled, k.ready = absent, k.count-absent
	if resident {
		k.memory = k.bytes
		q.memory += k.bytes
		q.account()
	}
	q.bytes += k.bytes
	q.next += uint64(k.count)
	q.content.list = append(q.content.list, k)
	return q.recoverIDs(k, r.idsFrom(first))
}

func (r *recovery) record(rec *record, it item, resident bool) {
	if it.data == nil {
		rec.owner = ownerSettled
		return
	}
	if resident {
		rec.data, rec.size = it.data, uint32(len(it.data))
	}
}

// journal applies the settlements that an entry tells of.
func (r *recovery) journal(body []byte, seq uint64) error {
	j, err := decodeJournal(body)
	if err != nil {
		return err
	}
	if r.watermark.before(j.watermark) {
		r.watermark = j.watermark
	}
	for _, c := range j.chunks {
		if k := r.find(c.entry); k != nil && uint64(k.count) == c.count {
			r.apply(k, c)
			k.journal = seq
		}
	}
	r.floor, r.gone = j.floor, j.gone
	r.journals = append(r.journals, seq)
	r.q.journal.latest = seq
	return nil
}

func (r *recovery) find(entry uint64) *chunk {
	list := r.q.content.list
	lo, hi := 0, len(list)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); list[mid].first < entry {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(list) && list[lo].first == entry {
		return list[lo]
	}
	return nil
}

func (r *recovery) apply(k *chunk, c journalChunk) {
	q := r.q
	left := min(int64(c.bytes), k.bytes)
	q.bytes -= k.bytes - left
	k.bytes = left
	q.stateOf(k)
	for i := range k.records {
		rec := &k.records[i]
		if c.isSettled(i) && rec.owner != ownerSettled {
			k.memory -= int64(len(rec.data))
			q.memory -= int64(len(rec.data))
			*rec = record{owner: ownerSettled}
			k.settled++
			k.ready--
		}
	}
	for _, a := range c.attempts {
		if a.index < uint64(k.count) && k.records[a.index].owner == ownerNone {
			k.records[a.index].attempts = uint32(a.n)
		}
	}
}

// finish sorts out what is settled and marks what had been delivered.
func (r *recovery) finish() {
	q := r.q
	kept := q.content.list[:0]
	q.trimmer.tombs = slices.Clone(r.gone) // bury adds to them
	r.recoverDoubts()
	for _, k := range q.content.list {
		if k.done() || k.first < r.floor || r.gone.has(k.first) {
			r.bury(k)
			continue
		}
		q.ready += k.ready
		r.queue(k)
		if k.journal != 0 {
			q.journal.ref(k.journal)
		}
		if k.first <= r.watermark.entry {
			r.mark(k)
		}
		kept = append(kept, k)
	}
	clear(q.content.list[len(kept):])
	q.content.list = kept
	for _, seq := range r.journals {
		if seq != q.journal.latest && q.journal.refs[seq] == 0 {
			q.trimmer.gone = append(q.trimmer.gone, seq)
		}
	}
	q.account()
	q.trim()
}

// queue brings what is ready of k into the order of priorities, and counts its weight.
func (r *recovery) queue(k *chunk) {
	for i := 0; i < k.count && (r.q.sorted() || k.extra != nil); i++ {
		if !k.isReady(i) {
			continue
		}
		r.q.weight += int64(k.attributes(i).weight)
		if r.q.sorted() {
			r.q.wait(k, i)
		}
	}
}

// bury gives up a chunk that is settled whole and still in the log. If only its bitmap says so, that is kept until a journal entry names it as gone.
func (r *recovery) bury(k *chunk) {
	q := r.q
	q.bytes -= k.bytes
	q.memory -= k.memory
	q.trimmer.tombs.add(k.first, k.last)
	q.letGo(k)
	if k.journal != 0 {
		q.journal.ref(k.journal)
		q.journal.released = append(q.journal.released, k.journal)
		q.journalSoon()
	}
}

// mark notes that the records of k up to the watermark may have been seen.
func (r *recovery) mark(k *chunk) {
	for i, rec := range r.q.stateOf(k) {
		seen := position{k.first, uint64(i)}
		if r.watermark.before(seen) {
			return
		}
		if rec.owner == ownerNone {
			k.records[i].attempts = max(rec.attempts, 1)
			r.q.journal.highest = max(r.q.journal.highest, k.base+uint64(i))
		}
	}
}
