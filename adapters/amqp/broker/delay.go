package broker

import (
	"maps"
	"math"
	"strconv"
	"time"

	"portico/adapters/amqp/wire"
)

const (
	delayHeader = "x-delay"

	// maxDelay is in milliseconds; RabbitMQ does not delay a message that asks for more.
	maxDelay = math.MaxUint32
)

// Delay is how long a message with these headers waits before x routes it: for
// type [DelayedMessage] the milliseconds in header x-delay, an integer, a string of
// digits or a float. 0, at once, without that header, if it is anything else, not
// above 0 or above 2^32-1, and for all other types [RMQ]. The message that has waited
// is to be routed with the headers of [Delayed].
func (x Exchange) Delay(headers wire.Table) time.Duration {
	if x.Type != DelayedMessage {
		return 0
	}
	ms, _ := delayOf(headers)
	if ms <= 0 || ms > maxDelay {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// Delayed returns headers as they are once the delay is over: x-delay is negated, so
// that no other exchange delays the message again and receivers can tell. headers is
// not written; without an x-delay it comes back itself.
func Delayed(headers wire.Table) wire.Table {
	ms, ok := delayOf(headers)
	if !ok {
		return headers
	}
	changed := maps.Clone(headers)
	changed[delayHeader] = -ms
	return changed
}

func delayOf(headers wire.Table) (ms int64, ok bool) {
	switch v := headers[delayHeader].(type) {
	case string, []byte:
		ms, err := strconv.ParseInt(bytesOrString(v), 10, 64)
		return ms, err == nil
	case float32:
		return wholeOf(float64(v))
	case float64:
		return wholeOf(v)
	default:
		return Integer(v)
	}
}

// wholeOf is f without its fraction.
func wholeOf(f float64) (int64, bool) {
	if math.IsNaN(f) || math.Abs(f) >= 1<<63 {
		return 0, false
	}
	return int64(f), true
}

// Integer is the value of an argument or header that is an integer of any encoding.
func Integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int8:
		return int64(v), true
	case uint8:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int64:
		return v, true
	case int:
		return int64(v), true
	}
	return 0, false
}
