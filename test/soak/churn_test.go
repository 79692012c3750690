package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// churning is one visit of a client that makes things and removes them. Nobody counts its messages.
type churning struct {
	world *world
	link  *link
	ch    *amqp.Channel
	rnd   *rand.Rand
	name  string // of its durable queue
}

func churnQueue(i int) string { return fmt.Sprintf("soak.churn.%d", i) }

// churner makes queues and exchanges, uses and removes them, again and again. One in four of its connections vanishes. Its last visit leaves nothing behind.
func (w *world) churner(ctx context.Context, rnd *rand.Rand, name string) {
	for ctx.Err() == nil {
		w.churn(ctx, rnd, name, (*churning).some)
	}
	w.churn(context.Background(), rnd, name, (*churning).removeAll)
}

func (w *world) churn(ctx context.Context, rnd *rand.Rand, name string, do func(*churning) error) {
	l := w.dial(ctx)
	if l == nil {
		return
	}
	defer l.close()
	c := &churning{world: w, link: l, rnd: rnd, name: name}
	var err error
	if c.ch, err = l.conn.Channel(); err == nil {
		err = do(c)
	}
	w.unexpected(l, "churn", err)
	if rnd.IntN(4) == 0 {
		w.count("churn: vanished")
		l.vanish(rnd)
	}
}

// some does a few things of many.
func (c *churning) some() error {
	for range 1 + c.rnd.IntN(10) {
		what := []struct {
			name string
			do   func() error
		}{
			{"named queue", c.named}, {"exclusive queue", c.exclusive}, {"auto-delete queue", c.autoDelete},
			{"expiring queue", c.expiring}, {"bounded queue", c.bounded}, {"exchange", c.exchange},
		}[c.rnd.IntN(6)]
		if err := what.do(); err != nil {
			return fmt.Errorf("%s: %w", what.name, err)
		}
		c.world.count("churn: " + what.name)
		<-time.After(time.Duration(c.rnd.IntN(100)) * time.Millisecond)
	}
	return nil
}

// What a visit makes that is durable has a name of its own, because a kill may leave it there.
const (
	ofAutoDelete = ".auto-delete"
	ofBounded    = ".bounded"
)

func (c *churning) removeAll() error {
	for _, of := range []string{"", ofAutoDelete, ofBounded} {
		if _, err := c.ch.QueueDelete(c.name+of, false, false, false); err != nil {
			return err
		}
	}
	return c.ch.ExchangeDelete(c.name, false, false)
}

// renew declares a queue that a kill may have left there.
func (c *churning) renew(of string, durable, autoDelete bool, args amqp.Table) (amqp.Queue, error) {
	if _, err := c.ch.QueueDelete(c.name+of, false, false, false); err != nil {
		return amqp.Queue{}, err
	}
	return c.ch.QueueDeclare(c.name+of, durable, autoDelete, false, false, args)
}

// fill publishes messages to the default exchange.
func (c *churning) fill(queue string, n int) error {
	for range n {
		m := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: make([]byte, c.rnd.IntN(1000))}
		if err := c.ch.Publish("", queue, false, false, m); err != nil {
			return err
		}
	}
	return nil
}

// named makes a durable queue, which may be there from an earlier visit, fills it, takes a few out and perhaps deletes it.
func (c *churning) named() error {
	if _, err := c.ch.QueueDeclare(c.name, true, false, false, false, nil); err != nil {
		return err
	}
	if err := c.ch.QueueBind(c.name, "named.*", exchangeChurn, false, nil); err != nil {
		return err
	}
	if err := c.fill(c.name, c.rnd.IntN(200)); err != nil {
		return err
	}
	for range c.rnd.IntN(20) {
		if _, _, err := c.ch.Get(c.name, c.rnd.IntN(2) == 0); err != nil {
			return err
		}
	}
	switch c.rnd.IntN(3) {
	case 0:
		_, err := c.ch.QueuePurge(c.name, false)
		return err
	case 1:
		return nil
	}
	_, err := c.ch.QueueDelete(c.name, false, false, false)
	return err
}

// exclusive makes a queue that goes with the connection.
func (c *churning) exclusive() error {
	q, err := c.ch.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		return err
	}
	if err := c.ch.QueueBind(q.Name, "#", exchangeChurn, false, nil); err != nil {
		return err
	}
	if err := c.ch.Publish(exchangeChurn, "named.too", false, false, amqp.Publishing{Body: []byte("x")}); err != nil {
		return err
	}
	return c.fill(q.Name, c.rnd.IntN(50))
}

// autoDelete makes a queue that goes with its last consumer, and looks whether it has.
func (c *churning) autoDelete() error {
	q, err := c.renew(ofAutoDelete, c.rnd.IntN(2) == 0, true, nil)
	if err != nil {
		return err
	}
	if err := c.fill(q.Name, c.rnd.IntN(50)); err != nil {
		return err
	}
	if _, err := c.ch.Consume(q.Name, q.Name, true, false, false, false, nil); err != nil {
		return err
	}
	if err := c.ch.Cancel(q.Name, false); err != nil {
		return err
	}
	ch, err := c.link.conn.Channel()
	if err != nil {
		return err
	}
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if _, err := ch.QueueDeclarePassive(q.Name, false, true, false, false, nil); err == nil {
		return fmt.Errorf("%s is there after its last consumer has gone", q.Name)
	}
	c.world.refusal(c.link, closed, "looking for a queue that has gone", amqp.NotFound)
	return nil
}

// expiring leaves a queue alone that goes when nobody has used it for a while.
func (c *churning) expiring() error {
	q, err := c.ch.QueueDeclare("", true, false, false, false, amqp.Table{"x-expires": int32(500)})
	if err != nil {
		return err
	}
	return c.fill(q.Name, c.rnd.IntN(20))
}

// bounded overfills a queue that drops its head.
func (c *churning) bounded() error {
	q, err := c.renew(ofBounded, true, false, amqp.Table{"x-max-length": int32(10)})
	if err != nil {
		return err
	}
	if err := c.fill(q.Name, 50); err != nil {
		return err
	}
	n, err := c.ch.QueueDelete(q.Name, false, false, false)
	if err == nil && n > 10 {
		err = fmt.Errorf("%s had %d messages, want at most 10", q.Name, n)
	}
	return err
}

// exchange makes one and removes it. A kill may have left the last one there.
func (c *churning) exchange() error {
	if err := c.ch.ExchangeDelete(c.name, false, false); err != nil {
		return err
	}
	if err := c.ch.ExchangeDeclare(c.name, "topic", c.rnd.IntN(2) == 0, false, false, false, nil); err != nil {
		return err
	}
	if err := c.ch.ExchangeBind(c.name, "to.#", exchangeChurn, false, nil); err != nil {
		return err
	}
	return c.ch.ExchangeDelete(c.name, false, false)
}
