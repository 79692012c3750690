package amqp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/queue"
)

// offsetHeader is what deliveries of a stream carry: the message's place in it, from 0. A consumer says with the argument of the same name where it begins.
const offsetHeader = "x-stream-offset"

// checkStream checks a consumer of a stream [RMQ: rabbit_stream_queue, in its order].
func (ch *channel) checkStream(q *core.Queue, m *wire.BasicConsume) error {
	name := q.Name()
	switch _, filtered := m.Arguments["x-stream-filter"]; {
	case ch.prefetch == 0:
		return wire.ChanErrorf(wire.PreconditionFailed, "consumer prefetch count is not set for 'queue '%s' in vhost '%s''", name, ch.vhost().name)
	case m.NoAck:
		return ch.notOfStreams(q, "automatic acknowledgement")
	case ch.global:
		return wire.ConnErrorf(wire.NotImplemented, "queue '%s' in vhost '%s' does not support global qos", name, ch.vhost().name)
	case filtered:
		return ch.notOfStreams(q, "x-stream-filter")
	}
	return nil
}

// notOfStreams is the 540 for what streams do not do.
func (ch *channel) notOfStreams(q *core.Queue, what string) error {
	return wire.ConnErrorf(wire.NotImplemented, "%s not supported by stream queues queue '%s' in vhost '%s'", what, q.Name(), ch.vhost().name)
}

// mayTake refuses what takes messages out of a stream.
func (ch *channel) mayTake(q *core.Queue, method string) error {
	if q.Type() != core.StreamQueue {
		return nil
	}
	return ch.notOfStreams(q, method)
}

// checkConsumeArguments refuses arguments of basic.consume that belong to other queue types [RMQ], and reads where in a stream the consumer begins.
func (ch *channel) checkConsumeArguments(q *core.Queue, args wire.Table) (queue.Offset, error) {
	foreign := []string{offsetHeader}
	switch q.Type() {
	case core.QuorumQueue:
		foreign = []string{"x-cancel-on-ha-failover", offsetHeader}
	case core.StreamQueue:
		foreign = []string{"x-cancel-on-ha-failover", "x-priority"}
	}
	v, given := args[offsetHeader]
	if given && q.Type() == core.StreamQueue {
		if o, ok := streamOffset(v, time.Now()); !ok {
			return o, wire.ChanErrorf(wire.PreconditionFailed, "invalid arg '%s' for queue '%s' in vhost '%s': {invalid_stream_offset_arg,%s}",
				offsetHeader, q.Name(), ch.vhost().name, term(v))
		}
	}
	for _, arg := range foreign {
		if _, given := args[arg]; given {
			return queue.Offset{}, wire.ChanErrorf(wire.PreconditionFailed, "invalid arg '%s' for queue '%s' in vhost '%s' of queue type rabbit_%s_queue",
				arg, q.Name(), ch.vhost().name, broker.QueueTypeOf(queueArguments(q)))
		}
	}
	o, _ := streamOffset(v, time.Now())
	return o, nil
}

// term is v as Erlang prints it.
func term(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("{longstr,<<%q>>}", s)
	}
	return fmt.Sprintf("{%s,%v}", broker.TypeName(v), v)
}

// streamOffset reads an x-stream-offset: a word, an offset, a time, or an age such as "1h". Without any it is what comes next.
func streamOffset(v any, now time.Time) (o queue.Offset, ok bool) {
	if b, octets := v.([]byte); octets {
		v = string(b)
	}
	switch x := v.(type) {
	case nil:
		return o, true
	case time.Time:
		return queue.Offset{From: queue.FromTime, Time: x}, true
	case string:
		words := map[string]queue.Origin{"first": queue.FromFirst, "last": queue.FromLast, "next": queue.FromNext}
		if from, known := words[x]; known {
			return queue.Offset{From: from}, true
		}
		age, ok := broker.MaxAge(x)
		return queue.Offset{From: queue.FromTime, Time: now.Add(-age)}, ok
	}
	n, ok := broker.Integer(v)
	return queue.Offset{From: queue.FromNumber, Number: uint64(max(n, 0)) + 1}, ok
}

// withOffset adds a message's offset to its property list. The list is copied and not decoded, unless the message has been in a stream before.
func withOffset(raw []byte, offset uint64) []byte {
	entry := binary.BigEndian.AppendUint64(append([]byte{byte(len(offsetHeader))}, offsetHeader+"l"...), offset)
	at, size, ok := headersAt(raw)
	if !ok || bytes.Contains(raw[at:at+size], []byte(offsetHeader)) {
		return withOffsetDecoded(raw, offset)
	}
	p := make([]byte, 0, len(raw)+len(entry)+4)
	p = binary.BigEndian.AppendUint16(p, binary.BigEndian.Uint16(raw)|wire.FlagHeaders)
	p = append(p, raw[2:at]...)
	table := raw[at : at+size]
	if size > 0 {
		table = table[4:]
	}
	p = binary.BigEndian.AppendUint32(p, uint32(len(table)+len(entry)))
	p = append(append(p, table...), entry...)
	return append(p, raw[at+size:]...)
}

// headersAt finds the headers table of a property list, with its length in front, or where it would be (size 0).
func headersAt(raw []byte) (at, size int, ok bool) {
	if len(raw) < 2 {
		return 0, 0, false
	}
	flags := binary.BigEndian.Uint16(raw)
	at = 2
	for _, flag := range []uint16{wire.FlagContentType, wire.FlagContentEncoding} {
		if flags&flag != 0 && at < len(raw) {
			at += 1 + int(raw[at])
		}
	}
	if flags&wire.FlagHeaders == 0 {
		return at, 0, at <= len(raw)
	}
	if at+4 > len(raw) {
		return 0, 0, false
	}
	size = 4 + int(binary.BigEndian.Uint32(raw[at:]))
	return at, size, size <= len(raw)-at
}

func withOffsetDecoded(raw []byte, offset uint64) []byte {
	p, err := wire.DecodeProperties(raw)
	if err != nil {
		return raw
	}
	if p.Headers == nil {
		p.Headers = wire.Table{}
	}
	p.Headers[offsetHeader] = int64(offset)
	return p.Append(nil)
}

// maxAgeText is an age as x-max-age has it: in the largest unit that fits, of whole seconds.
func maxAgeText(d time.Duration) string {
	seconds := int64((d + time.Second - 1) / time.Second)
	switch {
	case seconds%86400 == 0:
		return fmt.Sprint(seconds/86400) + "D"
	case seconds%3600 == 0:
		return fmt.Sprint(seconds/3600) + "h"
	case seconds%60 == 0:
		return fmt.Sprint(seconds/60) + "m"
	}
	return fmt.Sprint(seconds) + "s"
}
