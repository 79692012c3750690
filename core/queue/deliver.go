package queue

import (
	"context"
	"time"
)

// A batch to one consumer is handed over when it has so many deliveries or bytes, so that Room can speak again.
const (
	batchDeliveries = 64
	batchBytes      = 256 << 10
)

// How much is read back from the log at once.
const loadBytes = 4 << 20

// deliver hands ready records to the consumers that may take one, in turn, lowest number first.
func (q *Queue) deliver() {
	for q.ready > 0 && q.end == nil {
		c := q.nextConsumer()
		if c == nil {
			break
		}
		k, i, ok := q.head()
		if !ok {
			q.giveBack(c)
			break
		}
		q.hand(c, k, i)
	}
	for _, c := range q.active {
		c.flush()
	}
}

// nextConsumer returns the consumer whose turn it is, with its credit and limit taken; nil if none may take anything.
func (q *Queue) nextConsumer() *Consumer {
	for len(q.active) > 0 {
		if q.turn >= len(q.active) {
			q.turn = 0
		}
		c := q.active[q.turn]
		if c.mayTake() {
			q.turn++
			return c
		}
		c.flush()
		q.deactivate(q.turn)
	}
	return nil
}

func (q *Queue) deactivate(i int) {
	q.active[i].isActive = false
	q.active = append(q.active[:i], q.active[i+1:]...)
}

func (q *Queue) activate(c *Consumer) {
	if c.gone || c.isActive || c.holder {
		return
	}
	c.isActive = true
	q.active = append(q.active, c)
}

// giveBack undoes nextConsumer for a consumer that got nothing.
func (q *Queue) giveBack(c *Consumer) {
	c.credit++
	if c.limited() {
		c.cfg.Limit.give(1)
	}
}

// head returns the first ready record: the lowest that came back, else the first fresh one. When it is not in memory it is read back, and head says no.
func (q *Queue) head() (k *chunk, i int, ok bool) {
	seq, k := q.peek()
	if k == nil {
		return nil, 0, false
	}
	i = int(seq - k.base)
	if k.records == nil || k.records[i].data == nil {
		q.load(k)
		return nil, 0, false
	}
	if seq == q.fresh {
		q.fresh = seq + 1
	} else {
		q.returned.pop()
	}
	return k, i, true
}

// peek finds the first ready record.
func (q *Queue) peek() (uint64, *chunk) {
	for len(q.returned) > 0 {
		seq := q.returned[0]
		if k := q.content.find(seq); k != nil && k.records[seq-k.base].owner == ownerNone {
			return seq, k
		}
		q.returned.pop() // purged meanwhile
	}
	for q.fresh < q.next {
		k := q.cursor
		if k == nil || q.fresh < k.base || q.fresh >= k.end() || k.done() {
			if k = q.nextFresh(); k == nil {
				return 0, nil
			}
		}
		if k.records == nil || k.records[q.fresh-k.base].owner == ownerNone {
			return q.fresh, k
		}
		q.fresh++
	}
	return 0, nil
}

// nextFresh moves the cursor to the chunk of the first fresh record, over what is gone.
func (q *Queue) nextFresh() *chunk {
	live := q.content.live()
	i := q.content.search(q.fresh)
	for i < len(live) && live[i].done() {
		i++
	}
	if i == len(live) {
		q.fresh = q.next
		return nil
	}
	q.cursor = live[i]
	q.fresh = max(q.fresh, q.cursor.base)
	return q.cursor
}

// hand gives record i of chunk k to c.
func (q *Queue) hand(c *Consumer, k *chunk, i int) {
	d := q.lend(c, k, i)
	c.out = append(c.out, d)
	c.outBytes += len(d.Record)
	if len(c.out) >= batchDeliveries || c.outBytes >= batchBytes {
		c.flush()
	}
}

// lend moves record i of chunk k from ready to c (or to settled, when c takes without acknowledging).
func (q *Queue) lend(c *Consumer, k *chunk, i int) Delivery {
	r := &k.records[i]
	seq := k.base + uint64(i)
	again := r.attempts > 0
	r.attempts++
	d := Delivery{Handle: Handle{seq, r.attempts}, Record: r.data, Redelivered: again}
	q.counts[EventDelivered]++
	if again {
		q.counts[EventRedelivered]++
	}
	k.ready--
	q.ready--
	q.held++
	if c.cfg.AutoAck {
		r.owner = firstOwner
		q.erase(k, i)
		return d
	}
	r.owner = c.id
	c.held++
	q.delivered(k, i)
	if c.cfg.Lease > 0 {
		q.lease.add(d.Handle, q.now().Add(c.cfg.Lease))
		q.at(q.lease.first())
	}
	return d
}

// load reads chunk k and what follows it back from the log, in a goroutine of its own, one at a time.
func (q *Queue) load(k *chunk) {
	if q.loading || !k.written() {
		return
	}
	q.loading = true
	q.makeRoom(k)
	from := k.first
	go func() {
		entries, err := q.log.Read(context.Background(), from, loadBytes)
		q.post(op{kind: opKept, call: func() { q.loaded(k, entries, err) }})
	}()
}

// loaded puts what was read back into its chunks.
func (q *Queue) loaded(k *chunk, entries []Entry, err error) {
	q.loading = false
	if q.end != nil || k.done() {
		q.wakeGetters()
		return
	}
	if err == nil {
		err = q.fill(k, entries)
	}
	switch {
	case err == nil && k.memory > 0:
	case err == nil && len(entries) > 0 && entries[0].Seq > k.last:
		q.lose(k)
	default:
		q.loading = true // not again before the delay is over
		q.again(func() { q.loading = false; q.wakeGetters() })
		return
	}
	q.wakeGetters()
}

// lose gives up a chunk that the log no longer has.
func (q *Queue) lose(k *chunk) {
	q.counts[EventLost] += k.ready
	q.eraseReady(k)
}

// fill gives the entries' records to their chunks, from k on.
func (q *Queue) fill(k *chunk, entries []Entry) error {
	live := q.content.live()
	at := q.content.search(k.base)
	var large []byte
	for _, e := range entries {
		for at < len(live) && live[at].last < e.Seq {
			at++
		}
		if at == len(live) {
			return nil
		}
		kind, body, err := openEntry(e.Data)
		if err != nil {
			return err
		}
		if kind == kindJournal || e.Seq < live[at].first {
			continue
		}
		records, err := assemble(kind, body, &large)
		if err != nil {
			return err
		}
		q.restore(live[at], records)
	}
	return nil
}

// assemble returns the records of an entry; nil for a part that is not the last, which is gathered in large.
func assemble(kind byte, body []byte, large *[]byte) ([][]byte, error) {
	if kind == kindRecords {
		return decodeRecords(body)
	}
	p, err := decodePart(body)
	if err != nil {
		return nil, err
	}
	if p.index == 0 {
		*large = make([]byte, 0, p.total*partBytes)
	}
	*large = append(*large, p.data...)
	if p.index < p.total-1 {
		return nil, nil
	}
	return [][]byte{*large}, nil
}

func (q *Queue) restore(k *chunk, records [][]byte) {
	if k.done() || len(records) != k.count {
		return
	}
	for i := range q.stateOf(k) {
		r := &k.records[i]
		if r.owner != ownerSettled && r.data == nil && records[i] != nil {
			r.data = records[i]
			k.memory += int64(len(r.data))
			q.remember(int64(len(r.data)))
		}
	}
}

// makeRoom lets go of data that is only held (it is read back if it returns), before k is read.
func (q *Queue) makeRoom(k *chunk) {
	for _, c := range q.content.live() {
		if q.memory <= q.cfg.Resident {
			return
		}
		if c != k && c.written() && c.memory > 0 && c.end() <= q.fresh {
			q.unload(c)
		}
	}
}

func (q *Queue) unload(c *chunk) {
	q.remember(-c.memory)
	c.memory = 0
	for i := range c.records {
		c.records[i].data = nil
	}
}

// again runs f in the queue's goroutine after retryDelay.
func (q *Queue) again(f func()) {
	time.AfterFunc(retryDelay, func() { q.post(op{kind: opCall, call: f}) })
}

// stateOf returns the per-record state of a chunk, making it where the chunk was only counted.
func (q *Queue) stateOf(k *chunk) []record {
	if k.records == nil {
		k.records = append(q.recycled(), make([]record, k.count)...)
	}
	return k.records
}
