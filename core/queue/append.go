package queue

// memoryChunk is how many records a chunk of a memory queue has.
const memoryChunk = 256

// pipelined bounds the chunks on their way to the log. Further ones are sent beside the first only when they are full.
const pipelined = 16

// Append adds record at the end. p (may be nil) is told under tag when it is kept. It never blocks: a publisher bounds what it has not heard of, and
// so bounds what a queue whose log stalls, or that waits for memory, has to keep. Once the queue has ended p is told before Append returns, by the caller's goroutine.
func (q *Queue) Append(r Record, p Publisher, tag uint64) {
	ttl := int64(forever)
	if r.TTL.Set {
		ttl = r.TTL.N
	}
	if !q.post(op{kind: opAppend, data: r.Data, ttl: ttl, priority: r.Priority, handle: r.ID.handle(), pub: p, tag: tag}) && p != nil {
		p.Appended([]uint64{tag}, q.endedWith())
	}
}

// AppendFunc is Append with a function in place of a Publisher; done may be nil and must not block.
func (q *Queue) AppendFunc(r Record, done func(error)) {
	if done == nil {
		q.Append(r, nil, 0)
		return
	}
	q.Append(r, &funcPublisher{done}, 0)
}

// funcPublisher is a Publisher of one record.
type funcPublisher struct{ done func(error) }

// Appended implements Publisher.
func (p *funcPublisher) Appended(_ []uint64, err error) { p.done(err) }

// take takes one appended record in, refuses it, or parks it when a memory queue has no memory for it; when too many wait already it is refused with ErrFull.
func (q *Queue) take(o *op) {
	if q.end != nil {
		q.kept.add(ticket{o.pub, o.tag}, q.end)
		return
	}
	if o.named() && q.repeats(o) {
		return
	}
	var weight uint32
	limited := q.limited()
	if limited {
		var ok bool
		if weight, ok = q.admits(o); !ok {
			return
		}
	}
	if q.log == nil && (len(q.parked) > 0 || q.bytes > 0 && q.waits(len(o.data))) {
		if !q.cfg.Budget.park(int64(len(o.data))) {
			q.kept.add(ticket{o.pub, o.tag}, ErrFull)
			return
		}
		q.parked = append(q.parked, *o)
		return
	}
	q.add(o, weight)
	if limited {
		q.settleIn()
	}
}

// unpark takes in what waited for memory, in order.
func (q *Queue) unpark() {
	for len(q.parked) > 0 {
		o := q.parked[0]
		if q.bytes > 0 && q.waits(len(o.data)) {
			return
		}
		q.cfg.Budget.parked.Add(-int64(len(o.data)))
		q.parked[0] = op{}
		q.parked = q.parked[1:]
		if o.named() && q.repeats(&o) { // others have come in since it was parked
			continue
		}
		if weight, ok := q.admits(&o); ok {
			q.add(&o, weight)
			q.settleIn()
		}
	}
	q.parked = nil
}

// waits tells whether there is no memory for n bytes more; the queue is woken when there is.
func (q *Queue) waits(n int) bool {
	return q.cfg.Budget != nil && q.cfg.Budget.wait(q, int64(n)+q.memory-q.budgeted)
}

// add takes the record of an append in, which counts weight.
func (q *Queue) add(o *op, weight uint32) {
	data := o.data
	if data == nil {
		data = []byte{} // nil means: not in memory
	}
	c := q.open(len(data))
	i := c.count
	c.records = append(c.records, record{data: data, size: uint32(len(data))})
	c.count++
	if c.extra != nil || weight != 0 || o.priority != 0 || o.ttl != forever || q.cfg.TTL.Set {
		q.describe(c, i, o, weight)
	}
	if o.named() {
		q.remember(c, i, o.handle.id())
	}
	q.next++
	q.nowReady(c, i)
	if q.sorted() {
		q.wait(c, i)
	}
	n := int64(len(data))
	c.bytes += n
	c.memory += n
	q.bytes += n
	q.memory += n
	q.counts[EventAppended]++
	if q.log == nil {
		q.kept.add(ticket{o.pub, o.tag}, nil)
		return
	}
	c.tickets = append(c.tickets, ticket{o.pub, o.tag})
}

// describe gives a record that comes in its attributes. Those of a stream have none.
func (q *Queue) describe(c *chunk, i int, o *op, weight uint32) {
	if q.stream == nil {
		c.annotate(i, attributes{q.deadline(o.ttl), weight, o.priority})
	}
}

// open returns the chunk that a record of n bytes goes into.
func (q *Queue) open(n int) *chunk {
	if c := q.gather; c != nil && !q.full(c, n) {
		return c
	}
	last := 0
	if q.gather != nil {
		last = q.gather.count // the next one will be as full, perhaps
	}
	q.gather = &chunk{base: q.next, records: q.recycled(last), pending: q.log != nil}
	if n := len(q.tickets); n > 0 && q.log != nil {
		q.gather.tickets, q.tickets = q.tickets[n-1], q.tickets[:n-1]
	}
	q.content.push(q.gather)
	if q.log != nil {
		q.writer.queued = append(q.writer.queued, q.gather)
		q.writer.pending = append(q.writer.pending, q.gather)
	}
	return q.gather
}

func (q *Queue) full(c *chunk, n int) bool {
	if q.log == nil {
		return c.count >= memoryChunk
	}
	return c.count >= chunkRecords || c.count > 0 && c.bytes+int64(n) > chunkBytes
}

// account tells the budget what has changed.
func (q *Queue) account() {
	q.cfg.Budget.add(q.memory - q.budgeted)
	q.budgeted = q.memory
}

// recycled returns an empty slice with room for about n records.
func (q *Queue) recycled(n int) []record {
	if n := len(q.spare); n > 0 {
		r := q.spare[n-1]
		q.spare = q.spare[:n-1]
		return r
	}
	return make([]record, 0, n)
}

func (q *Queue) recycle(records []record) {
	if len(q.spare) < 8 && cap(records) >= 8 {
		clear(records)
		q.spare = append(q.spare, records[:0])
	}
}

func (q *Queue) recycleTickets(t []ticket) {
	if len(q.tickets) < 8 && cap(t) >= 8 {
		clear(t)
		q.tickets = append(q.tickets, t[:0])
	}
}

// completions gathers what publishers are to be told, grouped by publisher.
type completions struct {
	pub  Publisher
	err  error
	tags []uint64
}

func (k *completions) add(t ticket, err error) {
	if t.pub == nil {
		return
	}
	if k.pub != t.pub || (err != nil || k.err != nil) && k.err != err { //nolint:errorlint // the very same error: it is only grouping
		k.flush()
		k.pub, k.err = t.pub, err
	}
	k.tags = append(k.tags, t.tag)
}

func (k *completions) flush() {
	if k.pub != nil && len(k.tags) > 0 {
		k.pub.Appended(k.tags, k.err)
	}
	k.pub, k.err, k.tags = nil, nil, k.tags[:0]
}
