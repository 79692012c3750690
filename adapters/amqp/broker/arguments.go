package broker

import (
	"math"
	"slices"
	"time"

	"portico/adapters/amqp/wire"
)

// QueueType is the value of x-queue-type.
type QueueType string

// The queue types of RabbitMQ 3.13.
const (
	Classic QueueType = "classic"
	Quorum  QueueType = "quorum"
	Stream  QueueType = "stream"
)

// module is what RabbitMQ calls the type in its reply texts.
func (t QueueType) module() string { return "rabbit_" + string(t) + "_queue" }

// Overflow is what a queue at its limit does with the next message.
type Overflow string

// The values of x-overflow. A queue that names none does as DropHead.
const (
	DropHead         Overflow = "drop-head"
	RejectPublish    Overflow = "reject-publish"
	RejectPublishDLX Overflow = "reject-publish-dlx"
)

// AtLeastOnce is the dead letter strategy of a quorum queue that keeps a message
// until its dead letter is confirmed; any other, and none, is at most once.
const AtLeastOnce = "at-least-once"

// QueueArguments is what a queue is told to do, by its declaration
// ([ParseQueueArguments]) or with its policies merged in ([Applied.Queue]). nil and
// empty stand for nothing said. Copies share what pointers point to; nobody may write
// it.
type QueueArguments struct {
	Type QueueType // never empty

	// MessageTTL is how long a message lives from when it came in; 0 is no time at all.
	MessageTTL *time.Duration
	// Expires is how long an unused queue lives, above 0.
	Expires *time.Duration
	// ConsumerTimeout is how long a delivery may stay unacknowledged.
	ConsumerTimeout *time.Duration

	// MaxLength and MaxLengthBytes limit what is ready, messages and octets of bodies.
	MaxLength, MaxLengthBytes *int64
	Overflow                  Overflow

	// DeadLetterExchange may be the default exchange, "".
	DeadLetterExchange *string
	// DeadLetterRoutingKey is nil without a DeadLetterExchange.
	DeadLetterRoutingKey *string
	DeadLetterStrategy   string

	// MaxPriority makes a classic queue a priority queue, 1 to 255.
	MaxPriority          *uint8
	SingleActiveConsumer bool

	// DeliveryLimit is how often a quorum queue takes a message back.
	DeliveryLimit *int64

	// Of streams.
	MaxAge                       *time.Duration
	MaxSegmentBytes, FilterBytes *int64
}

// ParseQueueArguments reads the arguments of a declaration of a new queue [0-9-1
// queue.declare, RMQ]. Arguments that RabbitMQ does not know are ignored, and those
// that only say how it stores or places a queue are checked and ignored. The flags
// are those of the declaration. name may be of any kind; see [CheckServerNamed] for
// the one that the server has to make up.
//
// The error is a *wire.ChanError 406 in RabbitMQ's words: a value of the wrong type
// or out of range, an argument of another queue type, a quorum queue or stream that
// is auto-delete, exclusive or not durable. Stricter than RabbitMQ 3.13, as 4 is, is
// only x-delivery-limit: it has to be an integer, and below 0 is no limit.
func ParseQueueArguments(name, vhost string, args wire.Table, durable, exclusive, autoDelete bool) (QueueArguments, error) {
	p := argumentParser{name: name, vhost: vhost, args: args}
	if v, given := args[deadLetterExchangeArg]; given && !isString(v) { // RabbitMQ looks at this one first
		return QueueArguments{}, wire.ChanErrorf(wire.PreconditionFailed, "invalid type '%s' for arg '%s' in queue '%s' in vhost '%s'",
			TypeName(v), deadLetterExchangeArg, name, vhost)
	}
	p.out.Type = Classic
	p.check(queueTypeArg, p.queueType)
	for _, a := range p.known() {
		if slices.Contains(a.types, p.out.Type) {
			p.check(a.name, a.read)
		}
	}
	p.checkForeign()
	if p.out.Type != Classic {
		p.checkFlags(durable, exclusive, autoDelete)
	}
	if p.err == nil {
		_, p.err = encodeArguments(args)
	}
	if p.err != nil {
		return QueueArguments{}, p.err
	}
	return p.out, nil
}

// CheckServerNamed is the 406 for a declaration without a name of a queue type that
// needs one, whatever the other arguments are.
func CheckServerNamed(args wire.Table) error {
	if t := QueueTypeOf(args); t != Classic {
		return wire.ChanErrorf(wire.PreconditionFailed, "Cannot declare a server-named queue for type %s", t.module())
	}
	return nil
}

// QueueTypeOf is the queue type that args name; [Classic] if they name none or none
// that there is.
func QueueTypeOf(args wire.Table) QueueType {
	switch t := QueueType(bytesOrString(args[queueTypeArg])); t {
	case Quorum, Stream:
		return t
	}
	return Classic
}

// ComparedArguments are the arguments that a declaration of an existing queue of type
// t has to repeat, for [CheckArgs]; in RabbitMQ's order, which decides about the text
// when several differ. The slice is the caller's.
func ComparedArguments(t QueueType) []string {
	switch t {
	case Quorum:
		return []string{
			deadLetterExchangeArg, deadLetterKeyArg, "x-dead-letter-strategy", "x-expires", "x-max-length", "x-max-length-bytes",
			"x-max-in-memory-length", "x-max-in-memory-bytes", "x-overflow", "x-single-active-consumer", queueTypeArg,
			"x-quorum-initial-group-size", "x-delivery-limit", "x-message-ttl", "x-queue-leader-locator",
		}
	case Stream:
		return []string{
			"x-max-length-bytes", queueTypeArg, "x-max-age", "x-stream-max-segment-size-bytes", "x-initial-cluster-size",
			"x-queue-leader-locator",
		}
	}
	return []string{
		"x-expires", "x-message-ttl", deadLetterExchangeArg, deadLetterKeyArg, "x-max-length", "x-max-length-bytes",
		"x-max-priority", "x-overflow", "x-queue-mode", "x-queue-version", "x-single-active-consumer", queueTypeArg,
		"x-queue-master-locator",
	}
}

// milliseconds is n ms, at most the longest duration there is (292 years).
func milliseconds(n int64) *time.Duration {
	d := time.Duration(math.MaxInt64)
	if n <= math.MaxInt64/int64(time.Millisecond) {
		d = time.Duration(n) * time.Millisecond
	}
	return &d
}
