package amqp

import (
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/queue"
)

// queueConfig is what a declaration with these arguments describes.
func queueConfig(name string, a broker.QueueArguments) core.QueueConfig {
	cfg := core.QueueConfig{Name: name, SingleActive: a.SingleActiveConsumer, QueueRules: queueRules(a)}
	if a.Type != broker.Classic {
		cfg.Type = core.QueueType(a.Type)
	}
	if a.MaxPriority != nil {
		cfg.MaxPriority = *a.MaxPriority
	}
	return cfg
}

// queueRules are the rules that arguments, or arguments and policies, ask for.
func queueRules(a broker.QueueArguments) core.QueueRules {
	r := core.QueueRules{
		TTL: millis(a.MessageTTL), Expires: millis(a.Expires), MaxLength: bound(a.MaxLength), MaxBytes: bound(a.MaxLengthBytes),
		MaxAge:     millis(a.MaxAge),
		DeadLetter: core.DeadLetter{Exchange: optional(a.DeadLetterExchange), RoutingKey: optional(a.DeadLetterRoutingKey)},
	}
	switch a.Overflow {
	case broker.RejectPublish:
		r.Overflow = queue.RejectPublish
	case broker.RejectPublishDLX:
		r.Overflow = queue.RejectPublishDLX
	}
	if n := a.DeliveryLimit; n != nil && *n >= 0 && *n < maxDeliveryLimit {
		r.MaxDeliveries = uint32(*n) + 1 // RabbitMQ counts returns, the engine deliveries
	}
	return r
}

// maxDeliveryLimit is above what anybody delivers a message: as good as no limit.
const maxDeliveryLimit = 1 << 31

// arguments are what a queue of any door would have been declared with here.
func arguments(c *core.QueueConfig) broker.QueueArguments {
	a := broker.QueueArguments{
		Type: broker.Classic, MessageTTL: duration(c.TTL), Expires: duration(c.Expires), MaxLength: number(c.MaxLength), MaxLengthBytes: number(c.MaxBytes),
		MaxAge:             duration(c.MaxAge),
		DeadLetterExchange: pointer(c.DeadLetter.Exchange), DeadLetterRoutingKey: pointer(c.DeadLetter.RoutingKey), SingleActiveConsumer: c.SingleActive,
	}
	if c.Type != core.ClassicQueue {
		a.Type = broker.QueueType(c.Type)
	}
	if c.Overflow != queue.DropHead {
		a.Overflow = broker.Overflow(c.Overflow.String())
	}
	if c.MaxPriority > 0 {
		a.MaxPriority = &c.MaxPriority
	}
	if c.MaxDeliveries > 0 {
		limit := int64(c.MaxDeliveries) - 1
		a.DeliveryLimit = &limit
	}
	return a
}

// argumentTable are a's arguments as a client would have written them.
func argumentTable(a broker.QueueArguments) wire.Table {
	t := wire.Table{}
	if a.Type != broker.Classic {
		t["x-queue-type"] = string(a.Type)
	}
	for arg, d := range map[string]*time.Duration{"x-message-ttl": a.MessageTTL, "x-expires": a.Expires} {
		if d != nil {
			t[arg] = d.Milliseconds()
		}
	}
	for arg, n := range map[string]*int64{"x-max-length": a.MaxLength, "x-max-length-bytes": a.MaxLengthBytes, "x-delivery-limit": a.DeliveryLimit} {
		if n != nil {
			t[arg] = *n
		}
	}
	for arg, s := range map[string]*string{"x-dead-letter-exchange": a.DeadLetterExchange, "x-dead-letter-routing-key": a.DeadLetterRoutingKey} {
		if s != nil {
			t[arg] = *s
		}
	}
	if a.MaxAge != nil {
		t["x-max-age"] = maxAgeText(*a.MaxAge)
	}
	if a.Overflow != "" {
		t["x-overflow"] = string(a.Overflow)
	}
	if a.MaxPriority != nil {
		t["x-max-priority"] = int64(*a.MaxPriority)
	}
	if a.SingleActiveConsumer {
		t["x-single-active-consumer"] = true
	}
	return t
}

func millis(d *time.Duration) queue.Bound {
	if d == nil {
		return queue.Bound{}
	}
	return queue.AtMost(d.Milliseconds())
}

func duration(b queue.Bound) *time.Duration {
	if !b.Set {
		return nil
	}
	d := time.Duration(b.N) * time.Millisecond
	return &d
}

func bound(n *int64) queue.Bound {
	if n == nil {
		return queue.Bound{}
	}
	return queue.AtMost(*n)
}

func number(b queue.Bound) *int64 {
	if !b.Set {
		return nil
	}
	return &b.N
}

func optional(s *string) core.Text {
	if s == nil {
		return core.Text{}
	}
	return core.Some(*s)
}

func pointer(t core.Text) *string {
	if !t.Set {
		return nil
	}
	return &t.V
}
