package broker

import (
	"fmt"
	"slices"

	"portico/adapters/amqp/wire"
)

const (
	deadLetterExchangeArg = "x-dead-letter-exchange"
	deadLetterKeyArg      = "x-dead-letter-routing-key"

	maxExpiry          = 315_360_000_000 // ms, ten years
	maxPriority        = 255
	maxSegmentBytes    = 3_000_000_000
	minFilter          = 16
	maxFilter          = 255
	leaderLocatorArg   = "x-queue-leader-locator"
	consumerTimeoutArg = "x-consumer-timeout"
)

// argumentParser reads one declaration; err is the first thing wrong with it.
type argumentParser struct {
	name, vhost string
	args        wire.Table
	out         QueueArguments
	err         error
}

// knownArgument is an argument that some queue type knows. read stores the value and
// returns why it cannot be, as an Erlang term, "" if it can.
type knownArgument struct {
	name  string
	types []QueueType
	read  func(v any) (why string)
}

// known are the arguments in the order in which RabbitMQ checks them, which decides
// about the text when several are wrong.
func (p *argumentParser) known() []knownArgument {
	classic, quorum, stream := []QueueType{Classic}, []QueueType{Quorum}, []QueueType{Stream}
	queues, all := []QueueType{Classic, Quorum}, []QueueType{Classic, Quorum, Stream}
	return []knownArgument{
		{"x-expires", queues, p.expires},
		{"x-message-ttl", queues, p.messageTTL},
		{deadLetterExchangeArg, queues, func(v any) string { return textInto(&p.out.DeadLetterExchange, v) }},
		{deadLetterKeyArg, queues, p.deadLetterKey},
		{"x-dead-letter-strategy", quorum, p.deadLetterStrategy},
		{"x-max-length", queues, func(v any) string { return countInto(&p.out.MaxLength, v) }},
		{"x-max-length-bytes", all, func(v any) string { return countInto(&p.out.MaxLengthBytes, v) }},
		{"x-max-in-memory-length", quorum, isCount},
		{"x-max-in-memory-bytes", quorum, isCount},
		{"x-max-priority", classic, p.maxPriority},
		{"x-overflow", queues, p.overflow},
		{"x-queue-mode", classic, isQueueMode},
		{"x-queue-version", classic, isQueueVersion},
		{"x-single-active-consumer", queues, p.singleActiveConsumer},
		{"x-quorum-initial-group-size", quorum, isSize},
		{"x-max-age", stream, p.maxAge},
		{"x-stream-max-segment-size-bytes", stream, func(v any) string { return countInto(&p.out.MaxSegmentBytes, v) }},
		{"x-initial-cluster-size", stream, isSize},
		{leaderLocatorArg, all, isLeaderLocator}, // not of classic queues before RabbitMQ 4
		{"x-delivery-limit", quorum, p.deliveryLimit},
		{"x-queue-master-locator", classic, func(any) string { return "" }},
		// Unknown to every type of RabbitMQ 3.13, and so never refused.
		{consumerTimeoutArg, nil, nil},
		{"x-stream-filter-size-bytes", nil, nil},
	}
}

// check has the argument of that name read if there is one.
func (p *argumentParser) check(name string, read func(any) string) {
	v, given := p.args[name]
	if !given || p.err != nil {
		return
	}
	if why := read(v); why != "" {
		p.err = wire.ChanErrorf(wire.PreconditionFailed, "invalid arg '%s' for queue '%s' in vhost '%s': %s", name, p.name, p.vhost, why)
	}
}

// checkForeign refuses arguments of other queue types and reads those that RabbitMQ
// has no type for.
func (p *argumentParser) checkForeign() {
	for _, a := range p.known() {
		if _, given := p.args[a.name]; given && p.err == nil && a.types != nil && !slices.Contains(a.types, p.out.Type) {
			p.err = wire.ChanErrorf(wire.PreconditionFailed, "invalid arg '%s' for queue '%s' in vhost '%s' of queue type %s",
				a.name, p.name, p.vhost, p.out.Type.module())
		}
	}
	if n, ok := Integer(p.args[consumerTimeoutArg]); ok && n >= 0 {
		p.out.ConsumerTimeout = milliseconds(n)
	}
}

// checkFlags refuses what only a classic queue can be, and the sizes of a stream that
// RabbitMQ checks last.
func (p *argumentParser) checkFlags(durable, exclusive, autoDelete bool) {
	p.refuse(autoDelete, "invalid property 'auto-delete' for queue '%s' in vhost '%s'", p.name, p.vhost)
	p.refuse(exclusive, "invalid property 'exclusive-owner' for queue '%s' in vhost '%s'", p.name, p.vhost)
	p.refuse(!durable, "invalid property 'non-durable' for queue '%s' in vhost '%s'", p.name, p.vhost)
	if p.out.Type != Stream {
		return
	}
	n := p.out.MaxSegmentBytes
	p.refuse(n != nil && *n > maxSegmentBytes, "Exceeded max value for x-stream-max-segment-size-bytes")
	if v, given := p.args["x-stream-filter-size-bytes"]; given {
		size, ok := Integer(v)
		p.refuse(!ok || size < minFilter || size > maxFilter, "Invalid value for  x-stream-filter-size-bytes")
		p.out.FilterBytes = &size
	}
}

func (p *argumentParser) refuse(wrong bool, format string, args ...any) {
	if wrong && p.err == nil {
		p.err = wire.ChanErrorf(wire.PreconditionFailed, format, args...)
	}
}

func (p *argumentParser) queueType(v any) string {
	name, ok := v.(string)
	switch t := QueueType(name); {
	case !ok:
		return unacceptable(v)
	case t == Classic, t == Quorum, t == Stream:
		p.out.Type = t
	default:
		return quoted("unsupported queue type '%s'", name)
	}
	return ""
}

func (p *argumentParser) expires(v any) string {
	n, why := expiryOf(v)
	if why == "" && n == 0 {
		why = "{value_zero,0}"
	}
	p.out.Expires = milliseconds(n)
	return why
}

func (p *argumentParser) messageTTL(v any) string {
	n, why := expiryOf(v)
	p.out.MessageTTL = milliseconds(n)
	return why
}

func (p *argumentParser) deadLetterKey(v any) string {
	if why := textInto(&p.out.DeadLetterRoutingKey, v); why != "" {
		return why
	}
	if p.out.DeadLetterExchange == nil {
		return "routing_key_but_no_dlx_defined"
	}
	return ""
}

func (p *argumentParser) deadLetterStrategy(v any) string {
	why := oneOf(v, "invalid_dlx_strategy", "at-most-once", AtLeastOnce)
	p.out.DeadLetterStrategy, _ = v.(string)
	return why
}

func (p *argumentParser) maxPriority(v any) string {
	n, why := countOf(v)
	if why == "" && n > maxPriority {
		why = fmt.Sprintf("{max_value_exceeded,%d}", n)
	}
	top := uint8(min(max(n, 1), maxPriority))
	p.out.MaxPriority = &top
	return why
}

func (p *argumentParser) overflow(v any) string {
	why := oneOf(v, "invalid_overflow", string(DropHead), string(RejectPublish), string(RejectPublishDLX))
	name, _ := v.(string)
	p.out.Overflow = overflowFor(p.out.Type, Overflow(name))
	return why
}

// overflowFor is what o comes to in a queue of type t: a quorum queue takes the value
// it has no meaning for, and ignores it.
func overflowFor(t QueueType, o Overflow) Overflow {
	if t == Quorum && o == RejectPublishDLX {
		return DropHead
	}
	return o
}

func (p *argumentParser) singleActiveConsumer(v any) string {
	on, ok := v.(bool)
	if !ok {
		return unacceptable(v)
	}
	p.out.SingleActiveConsumer = on
	return ""
}

func (p *argumentParser) deliveryLimit(v any) string {
	n, why := wholeNumber(v)
	if why == "" && n >= 0 {
		p.out.DeliveryLimit = &n
	}
	return why
}

func (p *argumentParser) maxAge(v any) string {
	s, ok := v.(string)
	if !ok {
		return unacceptable(v)
	}
	age, ok := parseMaxAge(s)
	if !ok {
		return "invalid_max_age"
	}
	p.out.MaxAge = &age
	return ""
}
