package amqp

import (
	"context"
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
)

// sweepMost is how long a delivery may be overdue before anybody looks.
const sweepMost = time.Minute

// watchTimeouts has every connection look for deliveries that have waited too long for their acknowledgement, until ctx ends.
func (a *Adapter) watchTimeouts(ctx context.Context) {
	t := time.NewTicker(a.sweepEvery())
	defer t.Stop()
	for {
		select {
		case <-t.C:
			a.each(func(c *conn) { c.socket.nudge() })
		case <-ctx.Done():
			return
		}
	}
}

// sweepEvery is a quarter of the timeout, so that a channel closes at most that much late.
func (a *Adapter) sweepEvery() time.Duration {
	if a.cfg.ConsumerTimeout <= 0 {
		return sweepMost
	}
	return min(max(a.cfg.ConsumerTimeout/4, 10*time.Millisecond), sweepMost)
}

// each calls f for every connection.
func (a *Adapter) each(f func(*conn)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := range a.conns {
		f(c)
	}
}

// nudged is what the reader does between two reads when somebody has nudged it.
func (c *conn) nudged() {
	now := time.Now().UnixMilli()
	for _, ch := range c.channels {
		if limit, late := ch.overdue(now); late && !ch.closing {
			c.failChannel(ch, wire.ChanErrorf(wire.PreconditionFailed, "delivery acknowledgement on channel %d timed out. Timeout value used: %d ms. "+
				"This timeout value can be configured, see consumers doc guide to learn more", ch.id, limit))
		}
	}
}

// overdue tells whether a delivery of ch has waited for its acknowledgement for longer than its queue allows, and what that is in milliseconds.
func (ch *channel) overdue(now int64) (limit int64, late bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	limits := map[*core.Queue]int64{}
	for i := ch.unacked.head; i < len(ch.unacked.list); i++ {
		d := &ch.unacked.list[i]
		if d.to == nil {
			continue
		}
		limit, known := limits[d.to.queue]
		if !known {
			limit = ch.conn.vhost.consumerTimeout(d.to.queue, ch.conn.adapter.cfg.ConsumerTimeout)
			limits[d.to.queue] = limit
		}
		if limit > 0 && now-d.at > limit {
			return limit, true
		}
	}
	return 0, false
}

// consumerTimeout is how long a delivery of q may wait for its acknowledgement, in milliseconds; 0: for ever. Policies and arguments of the queue go before the
// configuration.
func (v *vhost) consumerTimeout(q *core.Queue, configured time.Duration) int64 {
	cfg := q.Config()
	declared := arguments(&cfg)
	if n, ok := broker.Integer(queueArguments(q)["x-consumer-timeout"]); ok && n > 0 {
		d := time.Duration(n) * time.Millisecond
		declared.ConsumerTimeout = &d
	}
	if d := v.policies.For(cfg.Name, declared.Type).Queue(declared).ConsumerTimeout; d != nil {
		return d.Milliseconds()
	}
	return max(configured.Milliseconds(), 0)
}
