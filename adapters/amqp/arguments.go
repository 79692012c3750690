package amqp

import (
	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

// comparedArguments are those that a redeclaration must repeat; others are ignored [RMQ: only arguments known to the queue type count].
var comparedArguments = []string{
	"x-queue-type", "x-message-ttl", "x-expires", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-max-length",
	"x-max-length-bytes", "x-overflow", "x-max-priority", "x-single-active-consumer",
}

// ofOtherTypes are arguments that RabbitMQ knows, but not for a classic queue.
var ofOtherTypes = []string{
	"x-delivery-limit", "x-dead-letter-strategy", "x-quorum-initial-group-size", "x-max-age",
	"x-stream-max-segment-size-bytes", "x-stream-filter-size-bytes", "x-initial-cluster-size",
}

// checkQueueArguments refuses what a new queue would not keep its word on. Arguments nobody knows are ignored, as are those that only say how
// RabbitMQ stores a queue.
func checkQueueArguments(name, vhost string, t wire.Table) error {
	invalid := func(arg, why string) error {
		return wire.ChanErrorf(wire.PreconditionFailed, "invalid arg '%s' for queue '%s' in vhost '%s': %s", arg, name, vhost, why)
	}
	for _, arg := range comparedArguments {
		v, present := t[arg]
		switch {
		case !present || v == nil:
		case arg == "x-queue-type":
			if why := checkQueueType(v); why != "" {
				return invalid(arg, why)
			}
		case arg == "x-single-active-consumer" && broker.Equivalent(v, false):
		default:
			return invalid(arg, "not implemented yet")
		}
	}
	for _, arg := range ofOtherTypes {
		if _, present := t[arg]; present {
			return wire.ChanErrorf(wire.PreconditionFailed, "invalid arg '%s' for queue '%s' in vhost '%s' of queue type rabbit_classic_queue", arg, name, vhost)
		}
	}
	if _, err := wire.AppendTable(nil, t); err != nil {
		return wire.ChanErrorf(wire.PreconditionFailed, "arguments of queue '%s' in vhost '%s' cannot be kept", name, vhost)
	}
	return nil
}

// checkQueueType says what is wrong with a queue type, "" for classic, the only one there is.
func checkQueueType(v any) string {
	switch t, isText := v.(string); {
	case !isText:
		return "a string is expected"
	case t == "classic", t == "", t == "undefined":
		return ""
	case t == "quorum", t == "stream":
		return "queue type '" + t + "' is not implemented yet"
	default:
		return "unsupported queue type '" + t + "'"
	}
}
