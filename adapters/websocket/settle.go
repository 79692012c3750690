package websocket

import (
	"sync/atomic"
	"time"

	"portico/core"
	"portico/core/queue"
)

// held is a delivery that waits for its settlement.
type held struct {
	consumer *consumer
	handle   queue.Handle
	until    time.Time // when its lease runs out; zero: it has none
}

// batch is the part of a settlement that concerns one queue.
type batch struct {
	queue   *core.Queue
	handles []queue.Handle
}

// settle: ack and nack. The tags are free at once; the answer comes when every queue has the settlement on disk.
func (c *conn) settle(f *frame) error {
	outcome := queue.Ack
	if f.Op == "nack" {
		outcome = queue.Requeue
		if f.Death.wanted && f.Requeue != nil && *f.Requeue {
			return core.Errorf(core.CodeInvalid, "requeue and dead_letter exclude each other")
		}
		if f.Death.wanted || f.Requeue != nil && !*f.Requeue {
			outcome = queue.Reject
		}
	}
	if len(f.Tags) == 0 {
		return core.Errorf(core.CodeInvalid, "no tag is named")
	}
	release, err := c.hold(8 * len(f.Tags))
	if err != nil {
		return err
	}
	batches, stale := c.takeTags(f.Tags)
	s := &settlement{conn: c, id: f.ID, release: release}
	s.left.Store(int32(len(batches)) + 1)
	for _, b := range batches {
		n := len(b.handles)
		b.queue.Settle(outcome, b.handles, func(err error) {
			if err == nil && outcome == queue.Ack {
				c.adapter.metrics.Acks.Add(float64(n))
			}
			s.part(err)
		})
	}
	if stale > 0 {
		s.part(queue.ErrStale)
	} else {
		s.part(nil)
	}
	c.unstarve()
	return nil
}

// settlement gathers the answers of the queues that one frame concerns.
type settlement struct {
	conn    *conn
	id      string
	release func()
	left    atomic.Int32
	err     atomic.Pointer[error]
}

// part takes one answer; the last one answers the client.
func (s *settlement) part(err error) {
	if err != nil {
		s.err.CompareAndSwap(nil, &err)
	}
	if s.left.Add(-1) > 0 {
		return
	}
	s.release()
	if failed := s.err.Load(); failed != nil {
		s.conn.fail(s.id, *failed)
		return
	}
	s.conn.done(ok(s.id))
}

// takeTags takes the tags out of what is held, by queue; stale counts those that are not held.
func (c *conn) takeTags(tags []uint64) (batches []batch, stale int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tag := range tags {
		h, known := c.held[tag]
		if !known {
			stale++
			continue
		}
		c.drop(tag, h)
		batches = addHandle(batches, h)
	}
	return batches, stale
}

// addHandle keeps the order of the tags within a queue.
func addHandle(batches []batch, h held) []batch {
	for i := range batches {
		if batches[i].queue == h.consumer.queue {
			batches[i].handles = append(batches[i].handles, h.handle)
			return batches
		}
	}
	return append(batches, batch{h.consumer.queue, []queue.Handle{h.handle}})
}

// drop forgets a tag. mu is held.
func (c *conn) drop(tag uint64, h held) {
	delete(c.held, tag)
	h.consumer.held--
	c.forget(h.consumer)
}

// extend gives leases anew.
func (c *conn) extend(f *frame) error {
	if len(f.Tags) == 0 || f.Lease == 0 {
		return core.Errorf(core.CodeInvalid, "extend needs a tag and a lease")
	}
	lease := time.Duration(f.Lease)
	var failed error
	for _, tag := range f.Tags {
		if err := c.extendOne(tag, lease); err != nil {
			failed = err
		}
	}
	if failed != nil {
		return failed
	}
	c.done(ok(f.ID))
	return nil
}

func (c *conn) extendOne(tag uint64, lease time.Duration) error {
	c.mu.Lock()
	h, known := c.held[tag]
	c.mu.Unlock()
	if !known {
		return queue.ErrStale
	}
	until := time.Now().Add(lease)
	if err := h.consumer.queue.Extend(h.handle, lease); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.held[tag]; known {
		h.until = until
		c.held[tag] = h
	}
	return nil
}

// sweep forgets tags whose leases ran out so long ago that the queue has certainly taken them back.
func (c *conn) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tag, h := range c.held {
		if !h.until.IsZero() && now.After(h.until.Add(time.Second)) {
			c.drop(tag, h)
		}
	}
}

// poisoned rejects a delivery that cannot be shown, so that it does not come back for ever.
func (c *conn) poisoned(tag uint64, err error) {
	c.mu.Lock()
	h, known := c.held[tag]
	if known {
		c.drop(tag, h)
	}
	c.mu.Unlock()
	c.adapter.log.Error("a record cannot be read and is rejected", "door", door, "remote", c.remote, "tag", tag, "err", err)
	if known {
		h.consumer.queue.Settle(queue.Reject, []queue.Handle{h.handle}, nil)
	}
}
