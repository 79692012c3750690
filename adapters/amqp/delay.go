package amqp

import (
	"context"
	"time"

	"portico/adapters/amqp/broker"
	"portico/core/queue"
)

// delayName names the one delay of the vhost, which all its x-delayed-message exchanges share.
const delayName = "amqp"

// openDelay sees to it that messages can be delayed. The caller holds mu, or is alone.
func (v *vhost) openDelay(ctx context.Context) error {
	if v.delay.Load() != nil {
		return nil
	}
	d, err := v.bus.OpenDelay(ctx, delayName, v.release)
	if err == nil {
		v.delay.Store(d)
	}
	return err
}

// restoreDelay brings back what is delayed.
func (v *vhost) restoreDelay(ctx context.Context) error {
	for _, x := range v.broker.Exchanges() {
		if x.Type == broker.DelayedMessage {
			return v.openDelay(ctx)
		}
	}
	return nil
}

// release sends a message on whose delay is over [RMQ: delayed message exchange]. An exchange that is gone drops it.
func (v *vhost) release(record []byte, done func(error)) {
	l, blind, err := v.reopen("", record)
	if err != nil {
		v.log.Warn("delayed message dropped: not a message", "door", "amqp", "error", err)
		done(nil)
		return
	}
	l.blind = blind
	l.properties.Headers = broker.Delayed(l.properties.Headers)
	ttl, _ := expiration(l.properties.Expiration)
	v.send(l, queue.Record{Priority: l.properties.Priority, TTL: ttl}, done)
}

// delays tells whether an exchange may hold messages.
func (v *vhost) delays(exchange string) bool {
	x, ok := v.broker.Exchange(exchange)
	return ok && x.Type == broker.DelayedMessage
}

// delayOf is how long a message to exchange waits before it is routed.
func (v *vhost) delayOf(exchange string, record []byte) time.Duration {
	x, _ := v.broker.Exchange(exchange)
	return x.Delay(recordProperties(record).Headers)
}

// hold keeps m until its delay is over, if it has one; publisher is asked who is to be told. A mandatory message comes back at once: nobody can know yet where it
// will go [RMQ].
func (ch *channel) hold(r *route, m message, publisher func() (queue.Publisher, uint64)) (held bool) {
	exchange, _, _, _ := splitRoute([]byte(r.key))
	wait, d := ch.vhost().delayOf(string(exchange), m.record.Data), ch.vhost().delay.Load()
	if wait <= 0 || d == nil {
		return false
	}
	if m.mandatory {
		ch.giveBack(m.record.Data)
	}
	p, tag := publisher()
	d.Append(m.record, wait, p, tag)
	return true
}
