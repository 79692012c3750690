package queue

import (
	"fmt"
	"slices"
)

// Consumer receives deliveries of one queue.
type Consumer struct {
	// immutable
	queue  *Queue
	cfg    ConsumerConfig
	id     uint32
	holder bool // owns what Get takes; gets nothing by itself

	// owned by the queue's goroutine
	credit   int
	held     int
	isActive bool
	place    place // in a stream
	gone     bool
	out      []Delivery
	outBytes int

	waits bool // in cfg.Limit.waiting; guarded by cfg.Limit.mu
}

// Consume registers a consumer. Deliveries may begin before it returns, if it has credit. It waits. ErrInUse, ErrClosed, ErrDeleted.
func (q *Queue) Consume(cfg ConsumerConfig) (*Consumer, error) {
	c := &Consumer{queue: q, cfg: cfg, credit: cfg.Credit}
	var refused error
	err := q.ask(func() { refused = q.register(c) })
	if err = firstError(err, refused); err != nil {
		return nil, err
	}
	return c, nil
}

func (q *Queue) register(c *Consumer) error {
	if q.end != nil {
		return q.end
	}
	if q.alone != nil || c.cfg.Exclusive && (len(q.consumers) > 0 || q.cfg.SingleActive) {
		return ErrInUse
	}
	q.deliver() // what came before it and had to be taken at once is not for it
	if q.stream != nil {
		if err := q.stream.admit(c); err != nil {
			return err
		}
	}
	if c.cfg.Exclusive {
		q.alone = c
	}
	q.own(c)
	q.consumers = append(q.consumers, c)
	q.used()
	q.succeed()
	q.activate(c)
	return nil
}

// own gives c an id that no record and no other consumer bears.
func (q *Queue) own(c *Consumer) {
	for c.id <= firstOwner || q.owners[c.id] != nil {
		q.lastOwner++
		c.id = q.lastOwner
	}
	q.owners[c.id] = c
}

// Holder returns a consumer that gets no deliveries by itself and does not count as one: an owner for what Get takes, which Close
// returns. It waits.
func (q *Queue) Holder() (*Consumer, error) {
	c := &Consumer{queue: q, holder: true}
	var refused error
	err := q.ask(func() {
		refused = firstError(q.end, q.taking())
		if refused == nil {
			q.own(c)
		}
	})
	if err = firstError(err, refused); err != nil {
		return nil, err
	}
	return c, nil
}

// Grant adds n deliveries to the consumer's credit, up to Unlimited. A negative n takes some away.
func (c *Consumer) Grant(n int) {
	c.queue.post(op{kind: opGrant, consumer: c, tag: uint64(n)})
}

// Wake makes the queue ask Room and Limit again.
func (c *Consumer) Wake() {
	c.queue.post(op{kind: opWake, consumer: c})
}

// Cancel ends deliveries: none is made after it returned. What the consumer holds stays held until it is settled or Close is called. It waits.
func (c *Consumer) Cancel() {
	_ = c.queue.ask(func() { c.queue.cancel(c) })
}

// Close is Cancel, and everything the consumer still holds is back at its original place, redelivered, when Close returns. It waits;
// it may be called after Cancel and more than once.
func (c *Consumer) Close() {
	_ = c.queue.ask(func() {
		q := c.queue
		if q.limited() {
			q.handOut() // as for Requeue
		}
		q.cancel(c)
		q.release(c)
		q.trimHead()
	})
}

// Revoke is Close, and Gone is told the reason, unless the consumer was gone already. It waits.
func (c *Consumer) Revoke(reason error) {
	_ = c.queue.ask(func() {
		q := c.queue
		if c.gone {
			return
		}
		if q.limited() {
			q.handOut() // as for Requeue
		}
		q.cancel(c)
		q.release(c)
		q.trimHead()
		if c.cfg.Gone != nil {
			c.cfg.Gone(reason)
		}
	})
}

func (q *Queue) cancel(c *Consumer) {
	if c.gone {
		return
	}
	c.gone = true
	if c.cfg.Left != nil {
		c.cfg.Left()
	}
	if c.isActive {
		q.active.remove(c)
	}
	if i := slices.Index(q.consumers, c); i >= 0 {
		q.consumers = slices.Delete(q.consumers, i, i+1)
		q.active.sweep()
		q.left(c)
	}
	if c.limited() {
		c.cfg.Limit.forget(c)
	}
	q.forget(c)
}

// left sees to what follows from a consumer's leaving.
func (q *Queue) left(c *Consumer) {
	if q.alone == c {
		q.alone = nil
	}
	if q.sole == c {
		q.sole = nil
		q.succeed()
	}
	if len(q.consumers) > 0 {
		return
	}
	q.used()
	if q.cfg.Idle != nil {
		go q.cfg.Idle()
	}
}

// release returns everything c holds.
func (q *Queue) release(c *Consumer) {
	if q.stream != nil {
		q.stream.release(c)
		return
	}
	if c.held > 0 {
		for _, k := range slices.Clone(q.content.live()) { // what dies on its return changes the list
			if k.held() > 0 && k.records != nil {
				q.releaseFrom(k, c)
			}
		}
	}
	q.forget(c)
}

func (q *Queue) releaseFrom(k *chunk, c *Consumer) {
	for i := 0; i < len(k.records); i++ {
		if k.records[i].owner == c.id {
			q.requeue(k, i)
		}
	}
}

// forget drops an owner that holds nothing and never will.
func (q *Queue) forget(c *Consumer) {
	if c.gone && c.held == 0 {
		delete(q.owners, c.id)
		if q.recent == c {
			q.recent = nil
		}
	}
}

// leave tells the consumer that its queue has ended.
func (c *Consumer) leave(reason error) {
	c.gone, c.isActive = true, false
	if c.cfg.Left != nil {
		c.cfg.Left()
	}
	if c.limited() {
		c.cfg.Limit.forget(c)
	}
	if c.cfg.Gone != nil {
		c.cfg.Gone(reason)
	}
}

// grant adds to the credit, which stops at Unlimited.
func (c *Consumer) grant(n int) {
	if n > 0 && c.credit > Unlimited-n {
		c.credit = Unlimited
		return
	}
	c.credit += n
}

func (c *Consumer) limited() bool { return c.cfg.Limit != nil && !c.cfg.AutoAck }

// mayTake takes one delivery from the consumer's credit and limit, if there is any and its connection has room.
func (c *Consumer) mayTake() bool {
	if c.credit <= 0 || c.cfg.Room != nil && !c.cfg.Room() {
		return false
	}
	if c.limited() && !c.cfg.Limit.take(c) {
		return false
	}
	c.credit--
	return true
}

// flush hands the gathered batch over.
func (c *Consumer) flush() {
	if len(c.out) == 0 {
		return
	}
	c.cfg.Deliver(c.out)
	clear(c.out)
	c.out, c.outBytes = c.out[:0], 0
}

// Get takes one ready record without a consumer: settled at once (autoAck), or held for holder until it is settled or holder is closed.
// A backlog that is not in memory is read back first. ok false: nothing is ready. It waits. ErrClosed (also when holder has been closed), ErrDeleted,
// or what the log says when it cannot be read; then the record is still there.
func (q *Queue) Get(autoAck bool, holder *Consumer) (d Delivery, ok bool, err error) {
	for {
		loaded := make(chan error, 1)
		var wait bool
		var failed error
		err = q.ask(func() { d, ok, wait, failed = q.get(autoAck, holder, loaded) })
		if err = firstError(err, failed); err != nil || !wait {
			return d, ok, err
		}
		select {
		case err = <-loaded:
		case <-q.over:
		}
		if err != nil {
			return Delivery{}, false, fmt.Errorf("read queue %q back: %w", q.cfg.Name, err)
		}
	}
}

// get takes the first ready record; wait: it is being read back, and loaded will be told.
func (q *Queue) get(autoAck bool, holder *Consumer, loaded chan error) (d Delivery, ok, wait bool, err error) {
	autoAck = autoAck || holder == nil
	switch {
	case q.end != nil:
		return Delivery{}, false, false, q.end
	case q.stream != nil:
		return Delivery{}, false, false, ErrStream
	case !autoAck && holder.gone:
		return Delivery{}, false, false, ErrClosed
	}
	q.used()
	q.deliver() // what consumers can take is theirs, and what is over is not delivered
	if q.ready == 0 {
		return Delivery{}, false, false, nil
	}
	k, i, ok := q.head()
	if !ok {
		q.getters = append(q.getters, loaded)
		return Delivery{}, false, true, nil
	}
	if autoAck {
		holder = &Consumer{queue: q, id: firstOwner, cfg: ConsumerConfig{AutoAck: true}}
	}
	d = q.lend(holder, k, i)
	q.expire() // what is left behind it is what is still alive
	d.Ready = q.ready
	return d, true, false, nil
}

// wakeGetters lets those look again who waited for something to be read back, or tells them why it was not.
func (q *Queue) wakeGetters(err error) {
	for _, loaded := range q.getters {
		loaded <- err
	}
	q.getters = nil
}
