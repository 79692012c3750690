package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	mostPrefetch = 200
	idle         = 50 * time.Millisecond // without a delivery, after which a consumer settles what it has
	ackFrame     = 21                    // bytes
)

// consumer is one visit to a queue, on a connection of its own.
type consumer struct {
	world    *world
	link     *link
	rnd      *rand.Rand
	queue    *queue
	tame     bool // it acknowledges everything, and nothing else
	ch       *amqp.Channel
	closed   <-chan *amqp.Error
	prefetch int
	holder   *holder
	held     []amqp.Delivery // what the ledger says that this consumer has, by tag
}

// consumer visits a queue again and again, each time for as long as work does.
func (w *world) consumer(ctx context.Context, rnd *rand.Rand, q *queue, work func(*consumer, context.Context, time.Duration) error) {
	for ctx.Err() == nil {
		l := w.dial(ctx)
		if l == nil {
			return
		}
		c := &consumer{world: w, link: l, rnd: rnd, queue: q}
		err := c.open()
		if err == nil {
			err = work(c, ctx, visit(rnd))
			w.ledger.end(c.holder)
		}
		w.unexpected(l, "consumer of "+q.name, err)
		l.close()
		if q.lonely > 0 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(rnd.Int64N(int64(q.lonely)))):
			}
		}
	}
}

func (c *consumer) open() (err error) {
	if c.ch, err = c.link.conn.Channel(); err != nil {
		return err
	}
	c.closed = c.ch.NotifyClose(make(chan *amqp.Error, 1))
	c.holder = c.world.ledger.holder(c.link.socket.LocalAddr().String(), c.queue, c.link.life)
	if c.prefetch = mostPrefetch; !c.tame {
		c.prefetch = 1 + c.rnd.IntN(mostPrefetch)
	}
	return c.ch.Qos(c.prefetch, 0, false)
}

// consume takes what comes and settles it in batches.
func (c *consumer) consume(ctx context.Context, d time.Duration) error {
	tag := c.holder.name
	deliveries, err := c.ch.Consume(c.queue.name, tag, false, false, false, false, nil)
	if err != nil {
		return err
	}
	over, quiet, atOnce := time.After(d), time.NewTimer(idle), 1
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return c.cancel(tag, deliveries)
		case <-over:
			if c.rnd.IntN(8) == 0 {
				return c.cancel(tag, deliveries)
			}
			return c.finish()
		case <-quiet.C:
			atOnce = 1
		case d, ok := <-deliveries:
			if !ok {
				return amqp.ErrClosed
			}
			c.take(d)
		}
		quiet.Reset(idle)
		if len(c.held) < atOnce {
			continue
		}
		if err := c.settle(); err != nil {
			return err
		}
		atOnce = 1 + c.rnd.IntN(c.prefetch)
	}
}

// get asks for messages one by one.
func (c *consumer) get(ctx context.Context, d time.Duration) error {
	over := time.Now().Add(d)
	for ctx.Err() == nil && time.Now().Before(over) {
		d, ok, err := c.ch.Get(c.queue.name, false)
		switch {
		case err != nil:
			return err
		case ok:
			c.take(d)
		default:
			<-time.After(idle)
		}
		if len(c.held) > 0 && (!ok || len(c.held) >= c.prefetch || c.rnd.IntN(10) == 0) {
			if err := c.settle(); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return c.close()
	}
	return c.finish()
}

// take registers a delivery. It returns false when it is nobody's any more.
func (c *consumer) take(d amqp.Delivery) bool {
	id, whole := numberOf(d.Body)
	if !whole {
		c.world.fault("%s: message %d of %d bytes is not as it was sent", c.queue.name, id, len(d.Body))
		return false
	}
	if _, dead := d.Headers["x-death"]; dead != c.queue.letters {
		c.world.fault("%s: message %d has x-death: %v", c.queue.name, id, dead)
	}
	if !c.world.ledger.take(c.holder, id, d.Redelivered) {
		return false
	}
	c.held = append(c.held, d)
	return true
}

func ids(deliveries ...amqp.Delivery) []uint32 {
	all := make([]uint32, len(deliveries))
	for i, d := range deliveries {
		all[i], _ = numberOf(d.Body)
	}
	return all
}

// settle settles all that is held, in one of several ways.
func (c *consumer) settle() error {
	if len(c.held) == 0 {
		return nil
	}
	held := c.held
	c.held = nil
	last := held[len(held)-1]
	how := 0
	if !c.tame {
		how = c.rnd.IntN(100)
	}
	switch {
	case how < 60:
		c.world.ledger.ack(c.holder, ids(held...)...)
		return last.Ack(true)
	case how < 63:
		c.world.count("consumer gave all back")
		c.world.ledger.release(c.holder, ids(held...)...)
		return last.Nack(true, true)
	}
	for _, i := range c.rnd.Perm(len(held)) {
		if err := c.settleOne(held[i]); err != nil {
			return err
		}
	}
	return nil
}

func (c *consumer) settleOne(d amqp.Delivery) error {
	switch how := c.rnd.IntN(100); {
	case how < 10:
		c.world.ledger.release(c.holder, ids(d)...)
		return d.Nack(false, true)
	case how < 30 && c.queue.buries:
		c.world.ledger.release(c.holder, ids(d)...)
		return d.Reject(false)
	}
	c.world.ledger.ack(c.holder, ids(d)...)
	return d.Ack(false)
}

// cancel ends the consumer, takes what had been delivered before, settles it and closes.
func (c *consumer) cancel(tag string, deliveries <-chan amqp.Delivery) error {
	c.world.count("consumer cancelled")
	if err := c.ch.Cancel(tag, false); err != nil {
		return err
	}
	for d := range deliveries {
		c.take(d)
	}
	if err := c.settle(); err != nil {
		return err
	}
	return c.close()
}

// close closes the channel. What is held goes back, and all acknowledgements have been read when it returns.
func (c *consumer) close() error {
	c.world.ledger.end(c.holder)
	if err := c.ch.Close(); err != nil {
		return err
	}
	c.world.ledger.read(c.holder)
	return nil
}

// finish ends the visit in one of several ways. In all of them what is held goes back: from the first step on, somebody else may have it.
func (c *consumer) finish() error {
	how := c.world.turns.consumer.Add(1) % 8
	if how < 2 {
		c.world.count("consumer closed")
		return c.close()
	}
	if how == 2 && len(c.held) > 0 {
		return c.ackTwice()
	}
	c.world.ledger.end(c.holder)
	switch how {
	case 3:
		c.world.count("consumer acknowledged what it never had")
		if err := c.ch.Ack(1<<40, false); err != nil {
			return err
		}
		c.world.refusal(c.link, c.closed, "an unknown delivery tag", amqp.PreconditionFailed)
	case 4:
		c.world.count("consumer named a missing exchange")
		if err := c.ch.Publish(exchangeMissing, "", false, false, amqp.Publishing{}); err != nil {
			return err
		}
		c.world.refusal(c.link, c.closed, "publishing to a missing exchange", amqp.NotFound)
	case 5:
		c.world.count("consumer recovered")
		if err := c.ch.Recover(true); err != nil {
			return err
		}
		return c.ch.Close()
	case 6:
		return c.cutInAck()
	default:
		c.world.count("consumer vanished")
		c.link.vanish(c.rnd)
	}
	return nil
}

// ackTwice acknowledges a delivery twice, for which the channel is closed. The first time counts.
func (c *consumer) ackTwice() error {
	c.world.count("consumer acknowledged twice")
	d := c.held[c.rnd.IntN(len(c.held))]
	c.world.ledger.ack(c.holder, ids(d)...)
	c.world.ledger.end(c.holder)
	for range 2 {
		if err := d.Ack(false); err != nil {
			return err
		}
	}
	c.world.refusal(c.link, c.closed, "acknowledging twice", amqp.PreconditionFailed)
	return nil
}

// cutInAck breaks the connection in the middle of an acknowledgement, which so has never been given: the ledger does not hear of it.
func (c *consumer) cutInAck() error {
	c.world.count("consumer cut in an acknowledgement")
	c.link.cut(1 + c.rnd.IntN(ackFrame-1))
	tag := uint64(1)
	if n := len(c.held); n > 0 {
		tag = c.held[n-1].DeliveryTag
	}
	if err := c.ch.Ack(tag, true); err == nil {
		return fmt.Errorf("the connection was not cut")
	}
	return nil
}
