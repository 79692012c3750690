package amqp

import (
	"crypto/rand"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/policy"
	"portico/core/queue"
)

// consumer is one basic.consume, or the holder of what basic.get took from one queue.
type consumer struct {
	// immutable
	channel   *channel
	tag       string
	queue     *core.Queue
	noAck     bool
	exclusive bool
	priority  int
	prefetch  int          // 0: no limit
	offset    queue.Offset // where in a stream it begins
	arguments wire.Table   // for listings

	// set by the reader before the first delivery
	source *queue.Consumer

	// set by the reader behind consume-ok
	unguard atomic.Pointer[func()] // ends the watch of the client's permissions

	// guarded by channel.mu
	started   bool // consume-ok has been sent
	gone      bool // the queue has ended
	cancelled bool // by the client: what it holds is returned by the channel's end
}

// basicConsume starts a consumer. Deliveries come behind consume-ok.
func (ch *channel) basicConsume(m *wire.BasicConsume) error {
	if m.Queue == directReplyTo {
		return ch.consumeReplies(m)
	}
	q, err := ch.queueFor(m.Queue)
	if err != nil {
		return err
	}
	if err := ch.conn.mayRead(q, policy.Consume); err != nil {
		return err
	}
	offset, err := ch.checkConsumeArguments(q, m.Arguments)
	if err != nil {
		return err
	}
	priority, err := ch.checkConsume(q, m)
	if err != nil {
		return err
	}
	k := &consumer{
		channel: ch, tag: m.ConsumerTag, queue: q, noAck: m.NoAck, exclusive: m.Exclusive,
		priority: priority, prefetch: ch.prefetch, offset: offset, arguments: m.Arguments,
	}
	if err := ch.claimTag(k); err != nil {
		return err
	}
	if err := k.start(); err != nil {
		ch.releaseTag(k)
		if errors.Is(err, queue.ErrInUse) {
			return ch.inExclusiveUse(q)
		}
		return ch.queueError(q.Config().Name, err)
	}
	k.begin(m.NoWait)
	k.guard()
	return nil
}

// guard cancels the consumer when the client may no longer read the queue. What it holds stays with the channel.
func (k *consumer) guard() {
	c := k.channel.conn
	bus, own, r := c.bus, k.queue.Config().Owner == c.id, policy.Resource{Name: k.queue.Name()}
	stop := bus.Guard(func() error {
		d := bus.Decide(policy.Consume, r)
		if own {
			d = bus.Policy().ByRegex(policy.Consume, r)
		}
		return c.verdict(policy.Consume, r, d)
	}, func(err error) {
		c.log.Info("consumer cancelled", "channel", k.channel.id, "queue", k.queue.Name(), "error", err)
		k.source.Cancel()
		k.revoked()
		bus.DeleteIdle(k.queue)
	})
	k.unguard.Store(&stop)
}

// unwatch ends guard's watch.
func (k *consumer) unwatch() {
	if stop := k.unguard.Load(); stop != nil {
		(*stop)()
	}
}

// revoked tells the client that the consumer is cancelled; as if it had done so itself the channel's end returns what it holds.
func (k *consumer) revoked() {
	ch := k.channel
	ch.mu.Lock()
	defer ch.mu.Unlock()
	k.cancelled = true
	ch.cancelled(k)
}

// maxConsumers bounds the consumers of a channel.
const maxConsumers = 4096

// claimTag gives k its tag, a new one if it has none; a tag is used once on a channel [RMQ: 530].
func (ch *channel) claimTag(k *consumer) error {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if k.tag == "" {
		k.tag = "amq.ctag-" + rand.Text()
	}
	if _, taken := ch.consumers[k.tag]; taken || ch.reply != nil && ch.reply.tag == k.tag {
		return wire.ConnErrorf(wire.NotAllowed, "attempt to reuse consumer tag '%s'", k.tag)
	}
	if len(ch.consumers) >= maxConsumers {
		return wire.ConnErrorf(wire.NotAllowed, "reached maximum (%d) of consumers per channel", maxConsumers)
	}
	if ch.consumers == nil {
		ch.consumers = map[string]*consumer{}
	}
	ch.consumers[k.tag] = k
	return nil
}

func (ch *channel) releaseTag(k *consumer) {
	ch.mu.Lock()
	delete(ch.consumers, k.tag)
	ch.mu.Unlock()
}

// start registers k with its queue, without credit yet.
func (k *consumer) start() (err error) {
	ch := k.channel
	cfg := queue.ConsumerConfig{
		Deliver: k.deliver, Room: ch.conn.out.room, Gone: k.ended,
		AutoAck: k.noAck, Exclusive: k.exclusive && k.queue.Type() != core.StreamQueue, Priority: k.priority, Offset: k.offset, // [RMQ] a stream has room for all
	}
	if !k.noAck {
		cfg.Window = k.prefetch > 0
		cfg.Limit = ch.sharedLimit()
	}
	k.source, err = k.queue.Consume(cfg)
	return err
}

// sharedLimit is the channel-wide limit, unlimited until basic.qos says otherwise.
func (ch *channel) sharedLimit() *queue.Limit {
	if ch.limit == nil {
		ch.limit = queue.NewLimit(0)
	}
	return ch.limit
}

// begin sends consume-ok and lets deliveries come, behind it. The queue has the credit before the client can know of consume-ok: whatever is published from then on
// finds the consumer.
func (k *consumer) begin(noWait bool) {
	ch, credit := k.channel, queue.Unlimited
	if !k.noAck && k.prefetch > 0 {
		credit = k.prefetch
	}
	ch.conn.register(k)
	ch.mu.Lock() // deliveries wait for it
	defer ch.mu.Unlock()
	k.source.Grant(credit)
	ch.answer(noWait, &wire.BasicConsumeOk{ConsumerTag: k.tag})
	k.started = true
	if k.gone {
		ch.cancelled(k)
	}
}

// checkConsume checks what only some queues allow, and reads the consumer's priority.
func (ch *channel) checkConsume(q *core.Queue, m *wire.BasicConsume) (priority int, err error) {
	cfg := q.Config()
	if cfg.Type == core.StreamQueue {
		return 0, ch.checkStream(q, m)
	}
	if cfg.Type == core.QuorumQueue && ch.global {
		return 0, wire.ConnErrorf(wire.NotImplemented, "queue '%s' in vhost '%s' does not support global qos", cfg.Name, ch.vhost().name)
	}
	if cfg.SingleActive && m.Exclusive {
		return 0, ch.inExclusiveUse(q)
	}
	v, given := m.Arguments["x-priority"]
	if !given {
		return 0, nil
	}
	n, ok := broker.Integer(v)
	if !ok {
		return 0, wire.ChanErrorf(wire.PreconditionFailed, "invalid arg 'x-priority' for queue '%s' in vhost '%s': \"expected integer, got %s\"",
			cfg.Name, ch.vhost().name, broker.TypeName(v))
	}
	return int(n), nil
}

func (ch *channel) inExclusiveUse(q *core.Queue) error {
	return wire.ChanErrorf(wire.AccessRefused, "queue '%s' in vhost '%s' in exclusive use", q.Config().Name, ch.vhost().name)
}

// basicCancel stops a consumer. Nothing is delivered to it after cancel-ok; what it holds stays with the channel.
func (ch *channel) basicCancel(m *wire.BasicCancel) error {
	ch.mu.Lock()
	k := ch.consumers[m.ConsumerTag]
	delete(ch.consumers, m.ConsumerTag)
	if k != nil {
		k.cancelled = true
	}
	ch.mu.Unlock()
	switch {
	case k != nil:
		k.unwatch()
		ch.conn.unregister(k)
		k.source.Cancel()
		ch.conn.bus.DeleteIdle(k.queue) // before cancel-ok: whoever declares it next gets a new one
	case ch.reply != nil && ch.reply.tag == m.ConsumerTag:
		ch.endReply()
	}
	ch.answer(m.NoWait, &wire.BasicCancelOk{ConsumerTag: m.ConsumerTag})
	return nil
}

// basicQos sets prefetch: for consumers to come, or (global) shared by all of this channel [RMQ: qos].
func (ch *channel) basicQos(m *wire.BasicQos) error {
	if m.PrefetchSize != 0 {
		return wire.ConnErrorf(wire.NotImplemented, "prefetch_size!=0 (%d)", m.PrefetchSize)
	}
	if m.Global {
		ch.global = m.PrefetchCount > 0
		ch.sharedLimit().Resize(int(m.PrefetchCount))
	} else {
		ch.prefetch = int(m.PrefetchCount)
	}
	ch.send(&wire.BasicQosOk{})
	return nil
}

// deliver sends a batch to the client. It is the queue's callback.
func (k *consumer) deliver(ds []queue.Delivery) {
	ch := k.channel
	redelivered, bytes := 0, 0
	ch.mu.Lock()
	if ch.ended {
		ch.mu.Unlock()
		return // the channel's end returns what was not acknowledged
	}
	out := ch.conn.out
	b := out.begin()
	now := time.Now().UnixMilli()
	for i := range ds {
		d := &ds[i]
		ch.tag++
		if !k.noAck {
			ch.unacked.push(delivered{tag: ch.tag, handle: d.Handle, to: k, at: now})
		}
		if d.Redelivered {
			redelivered++
		}
		p := ch.conn.open(k.queue, d)
		bytes += len(p.body)
		b = ch.appendDelivery(b, k.tag, d.Redelivered, p)
	}
	out.end(b)
	ch.mu.Unlock()
	metrics := ch.conn.adapter.metrics
	metrics.Out.Add(float64(len(ds)))
	metrics.BytesOut.Add(float64(bytes))
	if redelivered > 0 {
		metrics.Redeliveries.Add(float64(redelivered))
	}
}

// appendDelivery appends basic.deliver with the tag just counted. The caller holds mu.
func (ch *channel) appendDelivery(b []byte, consumerTag string, redelivered bool, p parcel) []byte {
	b = wire.AppendDeliver(b, ch.id, consumerTag, ch.tag, redelivered, p.exchange, p.key)
	return ch.appendContent(b, p)
}

func (ch *channel) appendContent(b []byte, p parcel) []byte {
	b = wire.AppendHeader(b, ch.id, wire.ClassBasic, uint64(len(p.body)), p.properties)
	return wire.AppendBody(b, ch.id, p.body, ch.conn.frameMax)
}

// ended is told when the queue has gone.
func (k *consumer) ended(error) {
	ch := k.channel
	ch.mu.Lock()
	defer ch.mu.Unlock()
	k.gone = true
	if k.started {
		ch.cancelled(k)
	}
}

// cancelled forgets a consumer whose queue has gone and tells the client if it wants to know [RMQ: consumer cancel
// notification]. The caller holds mu.
func (ch *channel) cancelled(k *consumer) {
	if ch.ended || ch.consumers[k.tag] != k {
		return
	}
	delete(ch.consumers, k.tag)
	ch.conn.unregister(k)
	if ch.conn.can.cancelNotify {
		ch.send(&wire.BasicCancel{ConsumerTag: k.tag, NoWait: true})
	}
}

// register lets the writer wake k when there is room.
func (c *conn) register(k *consumer) {
	c.mu.Lock()
	c.consumers[k] = struct{}{}
	c.mu.Unlock()
}

func (c *conn) unregister(k *consumer) {
	c.mu.Lock()
	delete(c.consumers, k)
	c.mu.Unlock()
}

// basicGet takes one message, if there is one.
func (ch *channel) basicGet(m *wire.BasicGet) error {
	q, err := ch.queueFor(m.Queue)
	if err != nil {
		return err
	}
	if err := ch.conn.mayRead(q, policy.Consume); err != nil {
		return err
	}
	if err := ch.mayTake(q, "basic.get"); err != nil {
		return err
	}
	k, err := ch.holder(q, m.NoAck)
	if err != nil {
		return ch.queueError(q.Config().Name, err)
	}
	d, ok, err := q.Get(m.NoAck, k.source)
	switch {
	case err != nil:
		return ch.queueError(q.Config().Name, err)
	case !ok:
		ch.send(&wire.BasicGetEmpty{})
		return nil
	}
	p := ch.conn.open(q, &d)
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.tag++
	if !m.NoAck {
		ch.unacked.push(delivered{tag: ch.tag, handle: d.Handle, to: k, at: time.Now().UnixMilli()})
	}
	out := ch.conn.out
	b := out.begin()
	b = wire.AppendGetOk(b, ch.id, ch.tag, d.Redelivered, p.exchange, p.key, uint32(min(d.Ready, math.MaxUint32)))
	out.end(ch.appendContent(b, p))
	ch.conn.adapter.metrics.Out.Inc()
	ch.conn.adapter.metrics.BytesOut.Add(float64(len(p.body)))
	if d.Redelivered {
		ch.conn.adapter.metrics.Redeliveries.Inc()
	}
	return nil
}

// holder is who holds what basic.get takes from q; nobody needs to for no_ack.
func (ch *channel) holder(q *core.Queue, noAck bool) (*consumer, error) {
	name := q.Config().Name
	if k := ch.holders[name]; k != nil && k.queue == q {
		return k, nil
	}
	k := &consumer{channel: ch, queue: q}
	if noAck {
		return k, nil
	}
	source, err := q.Holder()
	if err != nil {
		return nil, err
	}
	k.source = source
	if ch.holders == nil {
		ch.holders = map[string]*consumer{}
	}
	ch.holders[name] = k
	return k, nil
}
