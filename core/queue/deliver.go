package queue

import "container/heap"

// A batch to one consumer is handed over when it has so many deliveries or bytes, so that Room can speak again.
const (
	batchDeliveries = 64
	batchBytes      = 256 << 10
)

// deliver hands ready records to the consumers that may take one, in turn, the first record first. What has come so far has then been offered once, and dies
// when its time is over.
func (q *Queue) deliver() {
	q.handOut()
	q.entered = q.next
	q.expire()
}

func (q *Queue) handOut() {
	q.offer()
	for i := range q.active {
		q.active[i].flush()
	}
}

func (q *Queue) offer() {
	if q.stream != nil {
		q.stream.offer()
		return
	}
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
}

// giveBack undoes nextConsumer for a consumer that got nothing.
func (q *Queue) giveBack(c *Consumer) {
	c.credit++
	if c.limited() {
		c.cfg.Limit.give(1)
	}
}

// head takes the first ready record. When it is not in memory it is read back, and head says no.
func (q *Queue) head() (k *chunk, i int, ok bool) {
	seq, k := q.peek()
	if k != nil && k.extra != nil { // only then its time may be over
		seq, k = q.front()
	}
	if k == nil {
		return nil, 0, false
	}
	i = int(seq - k.base)
	if k.records == nil || k.records[i].data == nil {
		q.load(k)
		return nil, 0, false
	}
	if seq == q.fresh && !q.sorted() {
		q.fresh = seq + 1
	} else {
		q.passed(seq, k)
	}
	return k, i, true
}

// passed takes the number that peek has found out of the order.
func (q *Queue) passed(seq uint64, k *chunk) {
	switch {
	case q.cfg.ByExpiry:
		heap.Pop(&q.byExpiry)
	case q.levels != nil:
		q.level(k.attributes(int(seq - k.base)).priority).pop()
	case seq == q.fresh:
		q.fresh = seq + 1
	default:
		q.returned.pop()
	}
}

// peek finds the first ready record: of the highest priority the lowest number; without priorities the lowest that came back, else the first fresh one.
func (q *Queue) peek() (uint64, *chunk) {
	if q.sorted() || len(q.returned) > 0 {
		if seq, k := q.peekOrder(); k != nil || q.sorted() {
			return seq, k
		}
	}
	for q.fresh < q.next {
		k := q.cursor
		if k == nil || q.fresh < k.base || q.fresh >= k.end() || k.done() {
			if k = q.nextFresh(); k == nil {
				return 0, nil
			}
		}
		if k.isReady(int(q.fresh - k.base)) {
			return q.fresh, k
		}
		q.fresh++
	}
	return 0, nil
}

// peekOrder finds the first record of those that are not delivered as they came.
func (q *Queue) peekOrder() (uint64, *chunk) {
	switch {
	case q.cfg.ByExpiry:
		return q.peekDue()
	case q.levels != nil:
		return q.peekLevels()
	}
	return q.peekHeap(&q.returned)
}

// peekHeap finds the lowest number in h that is ready.
func (q *Queue) peekHeap(h *seqHeap) (uint64, *chunk) {
	for len(*h) > 0 {
		seq := (*h)[0]
		if k := q.content.find(seq); k != nil && k.isReady(int(seq-k.base)) {
			return seq, k
		}
		h.pop() // its append was refused meanwhile, the log has lost it, or it was purged
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
	former := q.cursor
	q.cursor = live[i]
	q.fresh = max(q.fresh, q.cursor.base)
	if former != nil && q.log != nil {
		q.shed(former)
	}
	return q.cursor
}

// hand gives record i of chunk k to c.
func (q *Queue) hand(c *Consumer, k *chunk, i int) {
	d := q.lend(c, k, i)
	c.out = append(c.out, d)
	c.outBytes += len(d.Record)
	if c.full() {
		c.flush()
	}
}

// put adds to the batch that is gathered for c.
func (c *Consumer) put(d Delivery) {
	c.out = append(c.out, d)
	c.outBytes += len(d.Record)
	if c.full() {
		c.flush()
	}
}

// full tells whether the batch that is gathered for c is large enough.
func (c *Consumer) full() bool { return len(c.out) >= batchDeliveries || c.outBytes >= batchBytes }

// lend moves record i of chunk k from ready to c (or to settled, when c takes without acknowledging).
func (q *Queue) lend(c *Consumer, k *chunk, i int) Delivery {
	r := &k.records[i]
	seq := k.base + uint64(i)
	again := r.attempts > 0
	r.attempts++
	d := Delivery{Handle: Handle{Seq: seq, Attempt: r.attempts}, Record: r.data, Redelivered: again}
	q.counts[EventDelivered]++
	if again {
		q.counts[EventRedelivered]++
	}
	q.noLongerReady(k, i)
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
