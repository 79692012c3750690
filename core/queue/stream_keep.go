package queue

import (
	"errors"
	"fmt"
	"time"
)

var errMemoryStream = errors.New("a stream needs a log")

// kept takes note that chunk k is in the log: its records may be had.
func (s *stream) kept(k *chunk) {
	s.end = k.end()
	s.bytes += k.bytes
	s.arrive(k, true)
	s.grown = true
	s.wake()
}

// retain drops chunks from the front until the stream is within its limits, but never the last one that is written: the next record's number follows from it.
func (s *stream) retain() {
	q, dropped := s.queue, false
	s.grown = false
	for k := s.droppable(); k != nil && s.exceeds(k); k = s.droppable() {
		s.drop(k)
		dropped = true
	}
	if dropped {
		q.log.Trim(q.needed(), nil)
	}
}

// exceeds tells whether the first chunk has to go, and wakes up when it will have to.
func (s *stream) exceeds(k *chunk) bool {
	q := s.queue
	switch {
	case q.cfg.MaxBytes.Set && s.bytes > q.cfg.MaxBytes.N:
		return true
	case !q.cfg.MaxAge.Set:
		return false
	}
	until := time.UnixMilli(k.when + min(q.cfg.MaxAge.N, streamBound))
	if q.now().Before(until) {
		q.at(until)
		return false
	}
	return true
}

// droppable is the first chunk, if it is not the last one that is written.
func (s *stream) droppable() *chunk {
	var first *chunk
	for _, k := range s.queue.content.live() {
		switch {
		case k.done():
		case k.pending:
			return nil
		case first != nil:
			return first
		default:
			first = k
		}
	}
	return nil
}

// drop forgets a written chunk.
func (s *stream) drop(k *chunk) {
	q := s.queue
	s.gone(k)
	q.memory -= k.memory
	q.ready -= k.ready
	q.bytes -= k.bytes
	s.bytes -= k.bytes
	q.recycle(k.records)
	k.records, k.memory, k.bytes, k.ready, k.settled = nil, 0, 0, 0, k.count
	q.content.bury()
}

// streamEntry takes an entry of a stream's log in.
func (r *recovery) streamEntry(kind byte, body []byte, seq uint64) error {
	head, kind, body, err := openStream(kind, body)
	if err != nil {
		return err
	}
	records, first, err := r.parts.records(kind, body, seq)
	if err != nil || len(records) == 0 {
		return err
	}
	if head.number < r.q.next {
		return fmt.Errorf("%w: record %d comes behind record %d", ErrCorrupt, head.number, r.q.next-1)
	}
	k := &chunk{base: head.number, count: len(records), when: head.when, first: first, last: seq}
	if err := r.q.recoverIDs(k, r.idsFrom(first)); err != nil {
		return err
	}
	r.q.stream.recover(k, records)
	return nil
}

// recover adds a chunk that the log has.
func (s *stream) recover(k *chunk, records []item) {
	q := s.queue
	k.records = make([]record, k.count)
	for i, it := range records {
		if it.data == nil {
			k.records[i].owner = ownerSettled
			k.settled++
			continue
		}
		k.records[i] = record{data: it.data, size: uint32(len(it.data))}
		k.bytes += int64(len(it.data))
	}
	q.next, s.end = k.end(), k.end()
	if k.done() {
		return
	}
	k.ready, k.memory = k.count-k.settled, k.bytes
	q.ready += k.ready
	q.bytes += k.bytes
	q.memory += k.memory
	s.bytes += k.bytes
	q.content.push(k)
	s.arrive(k, true)
	q.account()
	s.evict()
}
