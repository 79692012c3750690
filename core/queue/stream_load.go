package queue

import (
	"slices"
	"time"
)

// fifo are chunks in the order in which they came into memory. Those that have left it otherwise than by eviction (stamp is 0) are passed over.
type fifo struct {
	list []*chunk
	head int
}

func (f *fifo) push(k *chunk) {
	f.first()
	if f.head > 64 && f.head*2 > len(f.list) {
		n := copy(f.list, f.list[f.head:])
		clear(f.list[n:])
		f.list, f.head = f.list[:n], 0
	}
	f.list = append(f.list, k)
}

// first returns the chunk that came first, nil if there is none.
func (f *fifo) first() *chunk {
	for ; f.head < len(f.list); f.head++ {
		if k := f.list[f.head]; k.stamp != 0 {
			return k
		}
		f.list[f.head] = nil
	}
	f.list, f.head = f.list[:0], 0
	return nil
}

// arrive notes that a written chunk is in memory: since it was appended (fresh), or since it was read back.
func (s *stream) arrive(k *chunk, fresh bool) {
	s.arrived++
	k.stamp, k.fresh = s.arrived, fresh
	if fresh {
		s.recent += k.memory
		s.tail.push(k)
		return
	}
	s.read.push(k)
}

// gone notes that a chunk leaves memory.
func (s *stream) gone(k *chunk) {
	if k.stamp != 0 && k.fresh {
		s.recent -= k.memory
	}
	k.stamp = 0
}

// evict lets go of data until what is in memory is within its bounds.
func (s *stream) evict() {
	for q := s.queue; q.end == nil && (q.memory > q.cfg.Resident || q.cfg.Budget.over()); {
		k := s.oldest()
		if k == nil {
			return
		}
		s.gone(k)
		q.unload(k)
		if k.settled == 0 {
			q.recycle(k.records)
			k.records = nil
		}
		s.fold(k)
		q.account()
	}
}

// oldest is the chunk that has been in memory for longest. While old chunks are read the newest stay, up to half of what may be in memory.
func (s *stream) oldest() *chunk {
	fresh, read := s.tail.first(), s.read.first()
	switch {
	case read == nil:
		return fresh
	case fresh == nil || s.recent <= s.queue.cfg.Resident/2 || read.stamp < fresh.stamp:
		return read
	}
	return fresh
}

// fold makes one chunk of k and the one before it, if neither is in memory and together they are no larger than a chunk may be and of the same second: what is
// remembered of a stream is bounded by its size and its age, not by the number of its entries.
func (s *stream) fold(k *chunk) {
	p := s.before(k)
	switch {
	case p == nil || p.records != nil || k.records != nil || p.end() != k.base || p == s.loading || k == s.loading:
		return
	case p.bytes+k.bytes > chunkBytes || p.count+k.count > chunkRecords || p.when/1000 != k.when/1000:
		return
	}
	k.base, k.first, k.when = p.base, p.first, max(p.when, k.when)
	k.count += p.count
	k.ready += p.ready
	k.bytes += p.bytes
	p.count, p.ready, p.bytes = 0, 0, 0 // settled whole, as it were; p and not k, so that the ends of all chunks still ascend
	s.queue.content.bury()
}

// before returns the chunk before k that is not gone, nil if there is none.
func (s *stream) before(k *chunk) *chunk {
	d := &s.queue.content
	for _, p := range slices.Backward(d.live()[:d.search(k.base)]) {
		if !p.done() {
			return p
		}
	}
	return nil
}

// want has the next record of c, which is parked, read back.
func (s *stream) want(c *Consumer) {
	c.place.wants = true
	s.wanting = append(s.wanting, c)
	if !s.queue.loading {
		s.look()
	}
}

// look lets those go on whose next record is in memory by now, or gone, and reads back what the first of the others needs.
func (s *stream) look() {
	rest := s.wanting[:0]
	var load *chunk
	for _, c := range s.wanting {
		if c.gone {
			continue
		}
		k, _ := s.next(c)
		if k == nil || k.stamp != 0 {
			c.place.wants = false
			s.unpark(c)
			continue
		}
		if load == nil {
			load = k
		}
		rest = append(rest, c)
	}
	clear(s.wanting[len(rest):])
	s.wanting = rest
	if load != nil && s.queue.end == nil {
		s.load(load)
	}
}

// load reads k and what follows it back, in a goroutine of its own. The more consumers there are the less is read at once, so that what is read for one does
// not push out what the others have not had yet.
func (s *stream) load(k *chunk) {
	q := s.queue
	s.loading, q.loading, q.reading = k, true, true
	first, last := k.first, k.last
	size := int(min(max(q.cfg.Resident/int64(2*max(len(q.consumers), 1)), loadLeast), loadBytes))
	go func() {
		entries, err := q.readBack(first, last, size)
		q.post(op{kind: opKept, call: func() {
			q.reading = false
			s.loaded(k, entries, err)
		}})
	}()
}

// loaded puts what was read back into its chunks. A log that cannot be read is tried again; what it has lost is lost.
func (s *stream) loaded(k *chunk, entries []Entry, err error) {
	q := s.queue
	s.loading = nil
	if q.end != nil {
		return
	}
	if err != nil {
		time.AfterFunc(retryDelay, func() { q.post(op{kind: opCall, call: s.again}) })
		return // loading: not before the delay is over
	}
	bad := s.fill(k, entries)
	if !k.done() && k.stamp == 0 {
		s.lose(k, bad)
	}
	s.again()
}

func (s *stream) again() {
	s.queue.loading = false
	s.look()
}

// fill gives the entries' records to their chunks. It returns the entries of k that are not what they were. Only k is left half filled, for lose.
func (s *stream) fill(k *chunk, entries []Entry) (bad []uint64) {
	var parts gathering
	var filled []*chunk
	for _, e := range entries {
		number, records, err := parts.streamRecords(e)
		if err == nil && len(records) == 0 { // of a part that is not the last
			continue
		}
		c := s.queue.content.find(number)
		taken := err == nil && c != nil && s.put(c, number, records)
		if e.Seq >= k.first && e.Seq <= k.last && (c != k || !taken) {
			bad = append(bad, e.Seq)
		}
		if taken && !slices.Contains(filled[max(0, len(filled)-1):], c) {
			filled = append(filled, c)
		}
	}
	for _, c := range filled {
		switch {
		case c.complete():
			s.arriveRead(c)
		case c != k:
			s.empty(c)
		}
	}
	return bad
}

// put gives chunk c records from a number on; false: they are not the chunk's, or it has them.
func (s *stream) put(c *chunk, number uint64, records []item) bool {
	if c.done() || c.pending || c.stamp != 0 || number+uint64(len(records)) > c.end() {
		return false
	}
	state := s.queue.stateOf(c)[number-c.base:][:len(records)]
	if slices.ContainsFunc(state, func(r record) bool { return r.data != nil }) {
		return false
	}
	for i, it := range records {
		if r := &state[i]; r.owner != ownerSettled && it.data != nil {
			r.data, r.size = it.data, uint32(len(it.data))
		}
	}
	return true
}

// complete tells whether all records that are there are in memory.
func (c *chunk) complete() bool {
	return !slices.ContainsFunc(c.records, func(r record) bool { return r.data == nil && r.owner != ownerSettled })
}

// arriveRead counts a chunk that has been read back.
func (s *stream) arriveRead(c *chunk) {
	var size int64
	for i := range c.records {
		size += int64(len(c.records[i].data))
	}
	s.queue.bytes += size - c.bytes
	s.bytes += size - c.bytes
	s.queue.memory += size
	c.bytes, c.memory = size, size
	s.arrive(c, false)
}

// empty takes back what put has put into a chunk that was not completed.
func (s *stream) empty(c *chunk) {
	for i := range c.records {
		c.records[i].data = nil
	}
	if c.settled == 0 {
		s.queue.recycle(c.records)
		c.records = nil
	}
}

// lose gives up what the log no longer has of chunk k, or has damaged in the entries that are bad. The newest entry stays whatever is in it: the next record's number
// follows from it.
func (s *stream) lose(k *chunk, bad []uint64) {
	q := s.queue
	for i := range q.stateOf(k) {
		if r := &k.records[i]; r.data == nil && r.owner != ownerSettled {
			r.owner = ownerSettled
			k.settled++
			k.ready--
			q.ready--
			q.counts[EventLost]++
		}
	}
	if k.done() {
		bad = bad[:0]
		for seq := k.first; seq <= k.last; seq++ {
			bad = append(bad, seq)
		}
		s.drop(k)
	} else {
		s.arriveRead(k)
	}
	bad = slices.DeleteFunc(bad, func(seq uint64) bool { return seq >= q.trimmer.written })
	if len(bad) > 0 {
		q.log.Trim(q.needed(), bad)
	}
}
