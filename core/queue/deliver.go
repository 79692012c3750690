package queue

import "slices"

// A batch to one consumer is handed over when it has so many deliveries or bytes, so that Room can speak again.
const (
	batchDeliveries = 64
	batchBytes      = 256 << 10
)

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
	q.active = slices.Delete(q.active, i, i+1)
	if i < q.turn {
		q.turn--
	}
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
		if k := q.content.find(seq); k != nil && !k.done() && k.records[seq-k.base].owner == ownerNone {
			return seq, k
		}
		q.returned.pop() // its append was refused meanwhile, or the log has lost it
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
