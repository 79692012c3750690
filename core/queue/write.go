package queue

import (
	"encoding/binary"
	"errors"
	"slices"
)

// writer is the way of chunks to the log. Owned by run.
type writer struct {
	queued   []*chunk // not sent yet, in order; the last one may be the open chunk
	pending  []*chunk // publishers not told yet, in order: those sent and those queued
	inFlight int      // entries appended and not answered, journal entries included
	sending  int      // chunks among them
	buffers  [][]byte // for entries
}

// write sends chunks to the log: one at a time, so that the next gathers meanwhile; more when they are full.
func (q *Queue) write() {
	w := &q.writer
	for q.log != nil && len(w.queued) > 0 && w.inFlight < pipelined {
		c := w.queued[0]
		open := c == q.gather
		if open && w.sending > 0 && c.bytes < chunkBytes && q.end == nil {
			return
		}
		if open {
			q.gather = nil
		}
		w.queued[0] = nil
		w.queued = w.queued[1:]
		q.send(c)
	}
	if len(w.queued) == 0 {
		w.queued = nil
	}
}

// send encodes a chunk and appends it. What was settled before it left is not written at all.
func (q *Queue) send(c *chunk) {
	if c.done() && c.ids == nil && q.writer.sending == 0 { // else its answer would overtake earlier ones
		q.keep(c, nil)
		return
	}
	q.writer.sending++
	if c.count == 1 && len(c.records[0].data) > partBytes {
		q.sendParts(c)
		return
	}
	q.appendEntry(q.encodeChunk(c), func(seq uint64, err error) {
		q.written(c, seq, seq, err)
	})
}

func (q *Queue) encodeChunk(c *chunk) []byte {
	buf := binary.AppendUvarint(q.beginChunk(q.buffer(), kindRecords, c, c.ids), uint64(c.count))
	for i := range c.records {
		if c.records[i].owner == ownerSettled {
			buf = appendAbsent(buf)
			continue
		}
		buf = appendRecord(buf, c.records[i].data, c.attributes(i))
	}
	return endEntry(buf)
}

// sendParts appends a record that is too large for one entry.
func (q *Queue) sendParts(c *chunk) {
	data := c.records[0].data
	total := (len(data) + partBytes - 1) / partBytes
	var first uint64
	var failed error
	for i := range total {
		slice := data[i*partBytes : min((i+1)*partBytes, len(data))]
		ids := c.ids
		if i > 0 {
			ids = nil
		}
		entry := endEntry(appendPart(q.beginChunk(make([]byte, 0, len(slice)+64), kindPart, c, ids), part{uint64(i), uint64(total), c.attributes(0), slice}))
		q.appendEntry(entry, func(seq uint64, err error) {
			if i == 0 {
				first = seq
			}
			failed = firstError(failed, err)
			if i == total-1 {
				q.written(c, first, seq, failed)
			}
		})
	}
}

// appendEntry appends to the log and runs answered in the queue's goroutine.
func (q *Queue) appendEntry(entry []byte, answered func(seq uint64, err error)) {
	q.writer.inFlight++
	q.log.Append(entry, func(seq uint64, err error) {
		q.post(op{kind: opKept, call: func() {
			q.writer.inFlight--
			q.reuse(entry)
			if errors.Is(err, ErrFenced) {
				q.fence()
			}
			answered(seq, err)
		}})
	})
}

// written takes note that a chunk is in the log, or is not.
func (q *Queue) written(c *chunk, first, last uint64, err error) {
	q.writer.sending--
	if err == nil {
		c.first, c.last = first, last
		q.passDoubt(first)
		q.trimmer.written = max(q.trimmer.written, last)
	}
	q.keep(c, err)
}

// keep tells a chunk's publishers. c is the first of those pending.
func (q *Queue) keep(c *chunk, err error) {
	j := &q.journal
	if err != nil {
		j.refused(c.base, err)
	}
	j.now = j.now || len(j.waiting) > 0
	for _, t := range c.tickets {
		q.kept.add(t, err)
	}
	if c.ids != nil {
		q.idsKept(c, err)
	}
	q.recycleTickets(c.tickets)
	c.tickets, c.pending = nil, false
	q.writer.pending[0] = nil
	q.writer.pending = q.writer.pending[1:]
	switch {
	case q.deleted(): // its records are gone already
	case c.done():
		q.bury(c)
	case err != nil:
		q.drop(c)
	case q.stream != nil:
		q.stream.kept(c)
	default:
		if c.settled > 0 || q.counted() && c.base <= j.highest {
			q.touch(c)
		}
		if c.base <= j.highest {
			q.journalSoon() // the watermark could not say so before
		}
		q.shed(c)
	}
}

// drop forgets the records of a chunk that could not be kept: their publishers have been told so.
func (q *Queue) drop(c *chunk) {
	for i := 0; !c.done(); i++ {
		q.erase(c, i)
	}
}

// fence ends the queue: its log has another writer.
func (q *Queue) fence() {
	if q.end == nil {
		q.finish = func() { _ = q.log.Close(false) } // it is somebody else's now
		q.begin(ErrFenced)
	}
}

// shed lets go of a written chunk's data when too much is in memory and its turn is far away, or over: it will be read back.
func (q *Queue) shed(c *chunk) {
	if !c.written() || c.memory == 0 || c.base <= q.fresh && q.fresh < c.end() || !q.crowded() {
		return
	}
	q.unload(c)
	if c.base > q.fresh && c.ready == c.count && !slices.ContainsFunc(c.records, func(r record) bool { return r.attempts > 0 }) {
		q.recycle(c.records)
		c.records = nil
	}
}

// unload lets go of a written chunk's data.
func (q *Queue) unload(c *chunk) {
	q.memory -= c.memory
	c.memory = 0
	for i := range c.records {
		c.records[i].data = nil
	}
}

func (q *Queue) buffer() []byte {
	if n := len(q.writer.buffers); n > 0 {
		b := q.writer.buffers[n-1]
		q.writer.buffers = q.writer.buffers[:n-1]
		return b[:0]
	}
	return make([]byte, 0, 4<<10)
}

func (q *Queue) reuse(b []byte) {
	if len(q.writer.buffers) < 2 && cap(b) <= 2*chunkBytes {
		q.writer.buffers = append(q.writer.buffers, b)
	}
}
