package websocket

import (
	"time"

	"portico/core"
	"portico/core/policy"
	"portico/core/queue"
)

const defaultCredit = 64

// consumer is a queue consumer of the connection.
type consumer struct {
	// immutable
	conn     *conn
	sid      string
	queue    *core.Queue
	consumer *queue.Consumer // set by open
	lease    time.Duration
	autoAck  bool

	// guarded by conn.mu
	held      int // tags not settled yet
	cancelled bool
	ended     error // the queue's end
}

// consume opens a consumer. It gets its credit after the ok has been queued, so that no delivery overtakes that.
func (c *conn) consume(f *frame) error {
	credit := defaultCredit
	if f.Credit != nil {
		credit = *f.Credit
	}
	if credit < 1 || credit > maxUnacked {
		return core.Errorf(core.CodeInvalid, "credit: 1 to %d", maxUnacked)
	}
	q, err := c.queue(policy.Consume, f.Queue)
	if err != nil {
		return err
	}
	if err := c.claimConsumer(f.SID); err != nil {
		return err
	}
	x := &consumer{conn: c, sid: f.SID, queue: q, lease: time.Duration(f.Lease), autoAck: f.AutoAck}
	if x.autoAck {
		credit, x.lease = queue.Unlimited, 0
	}
	if err := x.open(f); err != nil {
		c.mu.Lock()
		delete(c.names, f.SID)
		c.mu.Unlock()
		return err
	}
	c.done(ok(f.ID))
	x.consumer.Grant(credit)
	return nil
}

func (c *conn) claimConsumer(sid string) error {
	c.mu.Lock()
	n := len(c.consumers)
	c.mu.Unlock()
	return c.claim(sid, &n, maxConsumers)
}

// open registers the consumer, without credit. mu is not held while the queue is asked: its goroutine may be waiting for mu.
func (x *consumer) open(f *frame) error {
	c := x.conn
	registered, err := c.bus.Consume(x.queue, queue.ConsumerConfig{
		Deliver: x.deliver, Room: c.room, Gone: x.gone,
		AutoAck: x.autoAck, Exclusive: f.Exclusive, Priority: int(f.Priority), Lease: x.lease, Window: !x.autoAck,
	}, nil)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if x.ended != nil {
		return x.ended
	}
	x.consumer = registered
	c.names[x.sid] = closer{consumer: x}
	c.consumers[x] = struct{}{}
	return nil
}

// deliver queues a batch; called from the queue's goroutine.
func (x *consumer) deliver(batch []queue.Delivery) {
	c := x.conn
	items, deliveries := make([]item, len(batch)), make([]delivery, len(batch))
	now := time.Now()
	c.mu.Lock()
	for i, d := range batch {
		c.lastTag++
		deliveries[i] = delivery{tag: c.lastTag, attempt: d.Attempt, redelivered: d.Redelivered, record: d.Record}
		items[i] = item{kind: itemDelivery, name: x.sid, delivery: &deliveries[i]}
		if x.autoAck {
			continue
		}
		h := held{consumer: x, handle: d.Handle}
		if x.lease > 0 {
			h.until = now.Add(x.lease)
		}
		c.held[c.lastTag] = h
		x.held++
	}
	c.mu.Unlock()
	c.out.Push(items...)
}

// gone tells the client that its queue has ended; called from the queue's goroutine.
func (x *consumer) gone(reason error) {
	c := x.conn
	c.mu.Lock()
	_, open := c.consumers[x]
	known := open && !x.cancelled
	if known {
		delete(c.names, x.sid)
	}
	delete(c.consumers, x)
	x.ended = reason
	for tag, h := range c.held {
		if h.consumer == x {
			delete(c.held, tag)
		}
	}
	c.mu.Unlock()
	if known {
		code, detail := shown(core.AsError(reason))
		c.send(answer{Op: "gone", SID: x.sid, Code: code, Detail: detail})
	}
}

// room tells queues whether the connection can take more deliveries; called from their goroutines.
func (c *conn) room() bool {
	if c.hasRoom() {
		return true
	}
	c.starved.Store(true)
	return c.hasRoom() // it may have come back before starved was seen
}

func (c *conn) hasRoom() bool {
	c.mu.Lock()
	n := len(c.held)
	c.mu.Unlock()
	return n < maxUnacked && c.out.HasRoom()
}

// unstarve wakes the consumers if one of them was told that there is no room, and there is again.
func (c *conn) unstarve() {
	if c.starved.Load() && c.hasRoom() && c.starved.CompareAndSwap(true, false) {
		c.wakeConsumers()
	}
}

func (c *conn) wakeConsumers() {
	_, consumers := c.opened()
	for _, x := range consumers {
		x.consumer.Wake()
	}
}

// credit widens a consumer's window.
func (c *conn) credit(f *frame) error {
	if f.N < 1 || f.N > maxUnacked {
		return core.Errorf(core.CodeInvalid, "n: 1 to %d", maxUnacked)
	}
	c.mu.Lock()
	x := c.names[f.SID].consumer
	c.mu.Unlock()
	if x == nil {
		return core.Errorf(core.CodeNotFound, "there is no consumer %q", f.SID)
	}
	x.consumer.Grant(f.N)
	c.done(ok(f.ID))
	return nil
}

// cancelConsumer ends deliveries. What is held may be settled yet; the last settlement, or the connection's end, ends the consumer.
func (c *conn) cancelConsumer(f *frame) error {
	c.mu.Lock()
	x := c.names[f.SID].consumer
	if x == nil {
		c.mu.Unlock()
		return core.Errorf(core.CodeNotFound, "there is no consumer %q", f.SID)
	}
	delete(c.names, f.SID)
	x.cancelled = true
	c.mu.Unlock()
	x.consumer.Cancel()
	c.mu.Lock()
	c.forget(x)
	c.mu.Unlock()
	c.bus.DeleteIdle(x.queue) // before the client is told
	c.done(ok(f.ID))
	return nil
}

// forget drops a cancelled consumer that holds nothing. mu is held.
func (c *conn) forget(x *consumer) {
	if x.cancelled && x.held == 0 {
		delete(c.consumers, x)
	}
}
