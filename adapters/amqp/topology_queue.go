package amqp

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/policy"
	"portico/core/queue"
)

// argumentsAttribute keeps the arguments a queue was declared with: a field table in base64.
const argumentsAttribute = "amqp.arguments"

// reserved is how the names begin that only the server gives.
const reserved = "amq."

// queueFor finds the queue of that name, "" being the last one declared on this channel: 404, or 405 when it belongs to another connection.
func (ch *channel) queueFor(name string) (*core.Queue, error) {
	if name = broker.CleanName(name); name == "" {
		if name = ch.lastQueue; name == "" {
			return nil, wire.ChanErrorf(wire.NotFound, "no previously declared queue")
		}
	}
	q := ch.conn.bus.Lookup(name)
	if q == nil {
		return nil, noQueue(name, ch.vhost().name)
	}
	if owner := q.Config().Owner; owner != "" && owner != ch.conn.id {
		return nil, ch.locked(name)
	}
	return q, nil
}

func (ch *channel) locked(name string) error {
	return wire.ChanErrorf(wire.ResourceLocked, "cannot obtain exclusive access to locked queue '%s' in vhost '%s'. "+
		"It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.",
		name, ch.vhost().name)
}

// queueDeclare creates a queue, or finds an equivalent one.
func (ch *channel) queueDeclare(m *wire.QueueDeclare) error {
	name := broker.CleanName(m.Queue)
	if strings.HasPrefix(name, directReplyTo) {
		return ch.declareReply(m, name)
	}
	q, s, err := ch.declaredStats(m, name)
	if err != nil {
		return err
	}
	ch.lastQueue = q.Config().Name
	ch.answer(m.NoWait, &wire.QueueDeclareOk{
		Queue: ch.lastQueue, MessageCount: count(s.Ready), ConsumerCount: count(s.Consumers),
	})
	return nil
}

// declaredStats returns the queue that m declares, with its counters. One that is just being deleted is waited out: an auto-delete queue goes
// a moment after its last consumer, and the client may be back by then.
func (ch *channel) declaredStats(m *wire.QueueDeclare, name string) (*core.Queue, queue.Stats, error) {
	for {
		q, err := ch.declared(m, name)
		if err != nil {
			return nil, queue.Stats{}, err
		}
		s, err := q.Stats()
		if err == nil {
			return q, s, nil
		}
		if !errors.Is(err, queue.ErrDeleted) || m.Passive {
			return nil, s, ch.queueError(q.Config().Name, err)
		}
		if err := ch.awaitGone(q); err != nil {
			return nil, s, err
		}
	}
}

// awaitGone waits until q, which has ended, is no longer found under its name.
func (ch *channel) awaitGone(q *core.Queue) error {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for end := time.Now().Add(writeTimeout); ch.conn.bus.Lookup(q.Config().Name) == q; {
		if err := await(ch.conn, t.C); err != nil {
			return err
		}
		if time.Now().After(end) {
			return wire.ConnErrorf(wire.InternalError, "queue '%s' in vhost '%s' is not available", q.Config().Name, ch.vhost().name)
		}
	}
	return nil
}

// count is n as a message count.
func count(n int) uint32 { return uint32(min(n, math.MaxUint32)) }

// declared returns the queue that m declares.
func (ch *channel) declared(m *wire.QueueDeclare, name string) (*core.Queue, error) {
	switch {
	case m.Passive && name == "":
		return nil, noQueue(name, ch.vhost().name) // not the last one declared [RMQ]
	case m.Passive:
		q, err := ch.queueFor(name)
		if err == nil {
			q.Touch()
			err = ch.conn.mayDeclareAgain(true, name, policy.Declare, policy.Bind, policy.Consume)
		}
		return q, err
	case name == "":
		if err := broker.CheckServerNamed(m.Arguments); err != nil {
			return nil, err
		}
		name = serverNamed + rand.Text()
	case strings.HasPrefix(name, reserved):
		return nil, wire.ChanErrorf(wire.AccessRefused, "queue name '%s' contains reserved prefix 'amq.*'", name)
	}
	durable := m.Durable && !m.Exclusive // [RMQ] an exclusive queue does not outlive its connection
	for {
		if q := ch.conn.bus.Lookup(name); q != nil {
			q.Touch()
			if err := ch.mayManage(policy.Declare, name, q); err != nil {
				return nil, err
			}
			return q, ch.equivalent(q, m, durable)
		}
		q, err := ch.createQueue(m, name, durable)
		if q != nil || err != nil {
			return q, err
		}
	}
}

// createQueue creates the queue; both results are nil when another client was faster.
func (ch *channel) createQueue(m *wire.QueueDeclare, name string, durable bool) (*core.Queue, error) {
	if err := ch.mayManage(policy.Declare, name, nil); err != nil {
		return nil, err
	}
	args, err := broker.ParseQueueArguments(name, ch.vhost().name, m.Arguments, m.Durable, m.Exclusive, m.AutoDelete)
	if err != nil {
		return nil, err
	}
	if err := ch.mayDeadLetter(name, args); err != nil {
		return nil, err
	}
	cfg := queueConfig(name, args)
	cfg.Durable, cfg.AutoDelete, cfg.Attributes = durable, m.AutoDelete, attributes(m.Arguments)
	if m.Exclusive {
		cfg.Owner = ch.conn.id
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	ch.vhost().queueDeleted(name) // what a queue of that name, gone this moment, has left
	q, created, err := ch.vhost().bus.DeclareQueue(ctx, cfg)
	if err != nil {
		if code := core.AsError(err).Code; code == core.CodePreconditionFailed || code == core.CodeLocked {
			return nil, nil
		}
		return nil, fmt.Errorf("declare queue: %w", err)
	}
	if !created {
		return nil, nil
	}
	if m.Exclusive {
		ch.conn.own(name)
	}
	return q, nil
}

// own remembers an exclusive queue. Now and then it forgets those that have gone before the connection, as auto-delete queues do.
func (c *conn) own(name string) {
	if c.exclusive[name] = struct{}{}; len(c.exclusive) < c.exclusiveMost {
		return
	}
	for name := range c.exclusive {
		if c.bus.Lookup(name) == nil {
			delete(c.exclusive, name)
		}
	}
	c.exclusiveMost = 2*len(c.exclusive) + exclusiveFirst
}

// attributes keeps a queue's arguments for comparison; nil for none.
func attributes(arguments wire.Table) map[string]string {
	if len(arguments) == 0 {
		return nil
	}
	b, err := wire.AppendTable(nil, arguments)
	if err != nil {
		return nil
	}
	return map[string]string{argumentsAttribute: base64.StdEncoding.EncodeToString(b)}
}

// queueArguments are the arguments q was declared with, or at another door would have been.
func queueArguments(q *core.Queue) wire.Table {
	cfg := q.Config()
	if _, here := cfg.Attributes[argumentsAttribute]; !here {
		return argumentTable(arguments(&cfg))
	}
	b, err := base64.StdEncoding.DecodeString(cfg.Attributes[argumentsAttribute])
	if err != nil || len(b) == 0 {
		return nil
	}
	t, _, err := wire.DecodeTable(b)
	if err != nil {
		return nil
	}
	return t
}

// equivalent compares a declaration with the queue that exists: whose it is first (405), then its properties (406) [RMQ].
func (ch *channel) equivalent(q *core.Queue, m *wire.QueueDeclare, durable bool) error {
	cfg, vhost := q.Config(), ch.vhost().name
	owner := ""
	if m.Exclusive {
		owner = ch.conn.id
	}
	switch {
	case cfg.Owner != owner:
		return ch.locked(cfg.Name)
	case cfg.Durable != durable:
		return broker.InequivalentArg("queue", cfg.Name, vhost, "durable", durable, cfg.Durable)
	case cfg.AutoDelete != m.AutoDelete:
		return broker.InequivalentArg("queue", cfg.Name, vhost, "auto_delete", m.AutoDelete, cfg.AutoDelete)
	}
	return broker.CheckArgs("queue", cfg.Name, vhost, m.Arguments, queueArguments(q), broker.ComparedArguments(broker.QueueTypeOf(queueArguments(q)))...)
}

// queueBind binds a queue to an exchange.
func (ch *channel) queueBind(m *wire.QueueBind) error {
	q, b, err := ch.queueBinding(m.Queue, m.Exchange, m.RoutingKey, m.Arguments)
	if err != nil {
		if e, ok := errors.AsType[*wire.ChanError](err); ok && e.Code == wire.NotFound && m.Queue != "" {
			return cmp.Or(ch.vhost().broker.CheckExchange(m.Exchange), err) // of two that are not there RabbitMQ names the exchange
		}
		return err
	}
	if err := ch.mayManage(policy.Bind, b.Destination, q); err != nil {
		return err
	}
	if err := ch.mayBindFrom(b.Source, b.Key); err != nil {
		return err
	}
	if err := ch.vhost().bind(b); err != nil {
		return err
	}
	ch.answer(m.NoWait, &wire.QueueBindOk{})
	return nil
}

// queueBinding reads the arguments of bind and unbind. No queue name means the last declared one, and then no key means that name.
func (ch *channel) queueBinding(name, exchange, key string, arguments wire.Table) (*core.Queue, broker.Binding, error) {
	q, err := ch.queueFor(name)
	if err != nil {
		return nil, broker.Binding{}, err
	}
	if name == "" && key == "" {
		key = q.Config().Name
	}
	return q, broker.Binding{
		Source: broker.CleanName(exchange), Destination: q.Config().Name, Key: key, Arguments: arguments,
	}, nil
}

// queueUnbind takes a binding away; that it, the queue or the exchange is not there is no error [RMQ].
func (ch *channel) queueUnbind(m *wire.QueueUnbind) error {
	q, b, err := ch.queueBinding(m.Queue, m.Exchange, m.RoutingKey, m.Arguments)
	if e, ok := errors.AsType[*wire.ChanError](err); ok && e.Code == wire.NotFound && m.Queue != "" {
		ch.send(&wire.QueueUnbindOk{})
		return nil
	}
	if err != nil {
		return err
	}
	if err := ch.mayManage(policy.Bind, b.Destination, q); err != nil {
		return err
	}
	if err := ch.mayBindFromByRegex(b.Source, b.Key); err != nil {
		return err
	}
	if err := ch.vhost().unbind(b); err != nil {
		return err
	}
	ch.send(&wire.QueueUnbindOk{})
	return nil
}

// queuePurge removes what is ready.
func (ch *channel) queuePurge(m *wire.QueuePurge) error {
	q, err := ch.queueFor(m.Queue)
	if err != nil {
		return err
	}
	if err := ch.conn.mayRead(q, policy.Purge); err != nil {
		return err
	}
	if err := ch.mayTake(q, "queue.purge"); err != nil {
		return err
	}
	n, err := q.Purge()
	if err != nil {
		return ch.queueError(q.Config().Name, err)
	}
	ch.answer(m.NoWait, &wire.QueuePurgeOk{MessageCount: count(n)})
	return nil
}

// queueDelete deletes a queue; that it is not there is no error [RMQ].
func (ch *channel) queueDelete(m *wire.QueueDelete) error {
	q, err := ch.queueFor(m.Queue)
	if e, ok := errors.AsType[*wire.ChanError](err); ok && e.Code == wire.NotFound && m.Queue != "" {
		ch.answer(m.NoWait, &wire.QueueDeleteOk{})
		return nil
	}
	if err != nil {
		return err
	}
	name := q.Config().Name
	if err := ch.mayManage(policy.Delete, name, q); err != nil {
		return err
	}
	if err := ch.mayDeleteIf(q, m); err != nil {
		return err
	}
	stream := q.Type() == core.StreamQueue // [RMQ] goes whatever the flags say, and is not counted
	n, err := ch.deleteQueue(q, m.IfUnused && !stream, m.IfEmpty && !stream)
	if err != nil {
		return err
	}
	if stream {
		n = 0
	}
	delete(ch.conn.exclusive, name)
	ch.answer(m.NoWait, &wire.QueueDeleteOk{MessageCount: count(n)})
	return nil
}

// mayDeleteIf refuses conditions that quorum queues do not know [RMQ].
func (ch *channel) mayDeleteIf(q *core.Queue, m *wire.QueueDelete) error {
	flag := ""
	switch {
	case q.Type() != core.QuorumQueue:
		return nil
	case m.IfUnused:
		flag = "if-unused"
	case m.IfEmpty:
		flag = "if-empty"
	default:
		return nil
	}
	return wire.ConnErrorf(wire.NotImplemented, "cannot delete queue '%s' in vhost '%s'. queue.delete operations with %s flag set are not supported by quorum queues",
		q.Name(), ch.vhost().name, flag)
}

func (ch *channel) deleteQueue(q *core.Queue, ifUnused, ifEmpty bool) (ready int, err error) {
	name, vhost := q.Config().Name, ch.vhost().name
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	ready, err = ch.vhost().bus.DeleteQueueIf(ctx, name, ifUnused, ifEmpty)
	if err == nil {
		return ready, nil
	}
	switch code := core.AsError(err).Code; {
	case code == core.CodeNotFound:
		return 0, nil
	case code != core.CodePreconditionFailed:
		return 0, fmt.Errorf("delete queue: %w", err)
	}
	if s, err := q.Stats(); err == nil && ifUnused && s.Consumers > 0 {
		return 0, wire.ChanErrorf(wire.PreconditionFailed, "queue '%s' in vhost '%s' in use", name, vhost)
	}
	return 0, wire.ChanErrorf(wire.PreconditionFailed, "queue '%s' in vhost '%s' not empty", name, vhost)
}
