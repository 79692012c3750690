package queue

import (
	"slices"
	"time"
)

// Origin says what an Offset counts from.
type Origin uint8

// The origins.
const (
	FromNext   Origin = iota // only what comes from now on
	FromFirst                // the oldest record that is kept
	FromLast                 // the newest chunk's first record
	FromNumber               // the record with Offset.Number, or the next one that is kept. One that is yet to come is waited for.
	FromTime                 // the first record of the first chunk written at Offset.Time or later
)

// Offset says where in a stream a consumer begins. The zero value is what comes from now on.
type Offset struct {
	From   Origin
	Number uint64
	Time   time.Time
}

// stream is what a queue with Config.Stream has beside the rest: its records stay, and every consumer has a place of its own among them. Owned by run.
type stream struct {
	queue   *Queue
	grown   bool        // since retain has last been called
	end     uint64      // number behind the last record that is written: the first that nobody may have yet
	bytes   int64       // of the records that are written and kept
	tail    fifo        // chunks in memory since they were appended, oldest first
	read    fifo        // chunks in memory since they were read back, oldest first
	recent  int64       // bytes of those in tail
	arrived uint64      // how many chunks have come into memory
	loading *chunk      // is being read back
	wanting []*Consumer // those whose next record has to be read back, in the order in which they asked
}

// place is where a consumer is in a stream.
type place struct {
	next   uint64 // number of the record it gets next
	chunk  *chunk // where that was last found
	lent   spans  // numbers of the records that it holds
	parked bool   // not in the rota: it is at the end, or wanting
	wants  bool   // in stream.wanting
}

// taking says why nothing is taken from the queue, or leased: it is a stream.
func (q *Queue) taking() error {
	if q.stream != nil {
		return ErrStream
	}
	return nil
}

// admit checks what a consumer asks for and gives it its place.
func (s *stream) admit(c *Consumer) error {
	if c.cfg.AutoAck || c.cfg.Lease > 0 {
		return ErrStream
	}
	c.cfg.Priority = 0 // no consumer takes anything from another
	c.place.next = s.find(c.cfg.Offset)
	return nil
}

// find returns the number that an offset stands for.
func (s *stream) find(o Offset) uint64 {
	q := s.queue
	switch o.From {
	case FromFirst:
		return 1
	case FromNumber:
		return max(o.Number, 1)
	case FromLast:
		for _, k := range slices.Backward(q.content.live()) {
			if !k.done() && !k.pending {
				return k.base
			}
		}
	case FromTime:
		t, future := o.Time.UnixMilli(), o.Time.After(q.now())
		for _, k := range q.content.live() {
			if !k.done() && (k.when >= t || k.when == 0 && !future) { // 0: it has not left yet, and will be written now or later
				return k.base
			}
		}
	}
	return q.next
}

// offer hands records to the consumers that may take one, in turn, each from its own place.
func (s *stream) offer() {
	q := s.queue
	for q.end == nil {
		c := q.nextConsumer()
		if c == nil {
			break
		}
		k, i := s.next(c)
		switch {
		case k == nil:
			q.giveBack(c)
			s.park(c)
		case k.stamp == 0:
			q.giveBack(c)
			s.park(c)
			s.want(c)
		default:
			s.hand(c, k, i)
		}
	}
	if s.grown { // now that those who keep up have it
		s.retain()
	}
	s.evict()
}

// next finds the record that c gets next; nil: there is none yet. What is gone is passed over.
func (s *stream) next(c *Consumer) (*chunk, int) {
	p := &c.place
	for p.next < s.end {
		k := p.chunk
		if k == nil || p.next < k.base || p.next >= k.end() || k.done() {
			if k = s.from(p.next); k == nil {
				return nil, 0
			}
			p.chunk, p.next = k, max(p.next, k.base)
			continue
		}
		i := int(p.next - k.base)
		if k.records == nil || k.records[i].owner != ownerSettled {
			return k, i
		}
		p.next++
	}
	return nil, 0
}

// from returns the first chunk that has records from number n on.
func (s *stream) from(n uint64) *chunk {
	d := &s.queue.content
	for _, k := range d.live()[d.search(n):] {
		if !k.done() {
			return k
		}
	}
	return nil
}

// hand gives record i of chunk k to c, which moves on.
func (s *stream) hand(c *Consumer, k *chunk, i int) {
	n := k.base + uint64(i)
	c.place.next = n + 1
	c.place.lent.push(n)
	c.held++
	s.queue.counts[EventDelivered]++
	c.put(Delivery{Handle: Handle{Seq: n, Attempt: 1, reader: c.id}, Record: k.records[i].data})
}

// park takes c out of the rota until there is something for it.
func (s *stream) park(c *Consumer) {
	c.flush()
	s.queue.active.remove(c)
	c.place.parked = true
}

func (s *stream) unpark(c *Consumer) {
	c.place.parked = false
	s.queue.activate(c)
}

// wake lets those look again who had come to the end.
func (s *stream) wake() {
	for _, c := range s.queue.consumers {
		if p := &c.place; p.parked && !p.wants && p.next < s.end {
			s.unpark(c)
		}
	}
}

// settle gives credit back, whatever the outcome: the records stay, and the log need not know.
func (s *stream) settle(o *op) {
	var err error
	if o.handle.Seq != 0 {
		err = s.settleOne(o.outcome, o.handle)
	}
	for _, h := range o.handles {
		err = firstError(s.settleOne(o.outcome, h), err)
	}
	if o.done != nil {
		o.done(err)
	}
}

func (s *stream) settleOne(o Outcome, h Handle) error {
	q := s.queue
	c := q.owners[h.reader]
	if c == nil || !c.place.lent.take(h.Seq) {
		return ErrStale
	}
	if o == Ack {
		q.counts[EventAcked]++
	}
	q.regain(c)
	return nil
}

// release lets go of everything c holds.
func (s *stream) release(c *Consumer) {
	if c.limited() {
		c.cfg.Limit.give(c.held)
	}
	c.held, c.place.lent = 0, nil
	s.queue.forget(c)
}

// push adds n, which is above all that is in.
func (s *spans) push(n uint64) {
	if last := len(*s) - 1; last >= 0 && (*s)[last].to+1 == n {
		(*s)[last].to = n
		return
	}
	*s = append(*s, span{n, n})
}

// take removes n and tells whether it was in.
func (s *spans) take(n uint64) bool {
	i, found := slices.BinarySearchFunc(*s, n, func(x span, n uint64) int {
		switch {
		case x.to < n:
			return -1
		case x.from > n:
			return 1
		}
		return 0
	})
	if !found {
		return false
	}
	switch x := (*s)[i]; {
	case x.from == x.to:
		*s = slices.Delete(*s, i, i+1)
	case x.from == n:
		(*s)[i].from++
	case x.to == n:
		(*s)[i].to--
	default:
		(*s)[i].to = n - 1
		*s = slices.Insert(*s, i+1, span{n + 1, x.to})
	}
	return true
}
