package queue

import (
	"context"
	"fmt"
	"time"
)

// recoverTimeout bounds one read of a recovery.
const recoverTimeout = 30 * time.Second

// recovery reads a log from its first entry to its last, before the queue's goroutine runs: chunks minus settlements.
type recovery struct {
	q         *Queue
	large     []byte // the parts of a record, so far
	firstPart uint64
	parts     uint64
	watermark position
	journals  []uint64
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
	r.finish()
	return nil
}

func (r *recovery) entry(e Entry) error {
	kind, body, err := openEntry(e.Data)
	if err != nil {
		return err
	}
	r.q.journal.written = e.Seq
	switch kind {
	case kindRecords:
		records, err := decodeRecords(body)
		if err != nil {
			return err
		}
		r.chunk(records, e.Seq, e.Seq)
	case kindPart:
		return r.part(body, e.Seq)
	case kindJournal:
		return r.journal(body, e.Seq)
	default:
		return fmt.Errorf("%w: kind %d", ErrCorrupt, kind)
	}
	return nil
}

// part gathers the parts of a large record; those of one that was never finished are dropped.
func (r *recovery) part(body []byte, seq uint64) error {
	p, err := decodePart(body)
	if err != nil {
		return err
	}
	if p.index == 0 {
		r.large, r.firstPart, r.parts = nil, seq, 0
	}
	if p.index != r.parts || seq != r.firstPart+p.index {
		r.large, r.parts = nil, 0
		return nil
	}
	r.large = append(r.large, p.data...)
	r.parts++
	if r.parts == p.total {
		r.chunk([][]byte{r.large}, r.firstPart, seq)
		r.large, r.parts = nil, 0
	}
	return nil
}

// chunk adds what one entry (or the parts of one record) holds.
func (r *recovery) chunk(records [][]byte, first, last uint64) {
	q := r.q
	k := &chunk{base: q.next, count: len(records), first: first, last: last}
	resident := q.memory < q.cfg.Resident && !q.cfg.Budget.over()
	absent := 0
	for _, data := range records {
		k.bytes += int64(len(data))
		if data == nil {
			absent++
		}
	}
	if resident || absent > 0 {
		k.records = make([]record, k.count)
	}
	for i := range k.records {
		if records[i] == nil {
			k.records[i].owner = ownerSettled
		} else if resident {
			k.records[i].data = records[i]
		}
	}
	k.settled, k.ready = absent, k.count-absent
	if resident {
		k.memory = k.bytes
		q.remember(k.bytes)
	}
	q.bytes += k.bytes
	q.next += uint64(k.count)
	q.content.list = append(q.content.list, k)
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
	q.stateOf(k)
	for i := range k.records {
		rec := &k.records[i]
		if c.isSettled(i) && rec.owner != ownerSettled {
			n := int64(len(rec.data))
			k.memory -= n
			q.remember(-n)
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
	for _, k := range q.content.list {
		if k.done() {
			q.bytes -= k.bytes
			for seq := k.first; seq <= k.last; seq++ {
				q.journal.gone = append(q.journal.gone, seq)
			}
			continue
		}
		q.ready += k.ready
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
			q.journal.gone = append(q.journal.gone, seq)
		}
	}
	q.trim()
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
