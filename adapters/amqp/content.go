package amqp

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/queue"
)

// stage is how far a channel has come with a message.
type stage uint8

const (
	betweenMessages stage = iota
	beforeHeader
	inBody
)

// String is what kind of frame is due.
func (s stage) String() string { return [...]string{"method", "header", "body"}[s] }

// bodyAtOnce is how much is reserved for a body before any of it has come; a larger one grows as it arrives.
const bodyAtOnce = 16 << 10

// propertyFlags is the size of a property list without a property.
const propertyFlags = 2

// partialLeast is how many bytes of bodies a connection may have sent in part, on all its channels together; else two of the largest messages.
const partialLeast = 32 << 20

// scratchKept is how large a channel's scratch may be between messages.
const scratchKept = 4 << 10

// maxExpiration is the longest expiration in milliseconds: ten years, as in RabbitMQ.
const maxExpiration = 315_360_000_000

// content is the message that is coming in on a channel.
type content struct {
	stage     stage
	mandatory bool
	route     []byte // exchange and routing key, each behind its length; kept from message to message
	extra     []string
	blind     []string // those of extra that are BCC's
	props     []byte   // scratch: the envelope's props
	ttl       queue.Bound
	priority  uint8
	record    []byte
	body      int // where the body begins in record
	left      uint64
}

// message is a whole published message.
type message struct {
	record    queue.Record // an envelope; shared with every queue it goes to
	route     []byte       // exchange and routing key, encoded; valid until the next message of the channel
	extra     []string
	mandatory bool
}

// basicPublish begins a message.
func (ch *channel) basicPublish(payload []byte) error {
	exchange, key, mandatory, immediate, err := wire.DecodePublish(payload)
	if err != nil {
		return err
	}
	if immediate {
		return wire.ConnErrorf(wire.NotImplemented, "immediate=true")
	}
	in := &ch.in
	in.stage, in.mandatory, in.extra, in.blind = beforeHeader, mandatory, nil, nil
	in.route = appendRoute(in.route[:0], exchange, key)
	return nil
}

// header takes the content header: everything but the body is decided here, and limits before memory.
func (ch *channel) header(payload []byte) error {
	class, size, raw, err := wire.DecodeHeader(payload)
	if err != nil {
		return err
	}
	if class != wire.ClassBasic {
		return wire.ConnErrorf(wire.UnexpectedFrame, "expected content header for class 60, got one for class %d instead", class)
	}
	if err := wire.PropertiesValid(raw); err != nil {
		return err
	}
	limit := uint64(ch.conn.bus.MaxMessage())
	if total := size + uint64(len(raw)-propertyFlags); size > limit || total > limit {
		ch.in.stage = betweenMessages
		return wire.ChanErrorf(wire.PreconditionFailed, "message size %d is larger than configured max size %d", size, limit)
	}
	raw, reply, err := ch.vet(raw)
	if err == nil && reply != "" {
		err = ch.mayAsk()
	}
	if err != nil {
		ch.in.stage = betweenMessages
		return err
	}
	ch.begin(raw, reply, size)
	if size == 0 {
		return ch.complete()
	}
	return nil
}

// begin starts the record.
func (ch *channel) begin(raw []byte, reply string, size uint64) {
	in := &ch.in
	in.props = append(appendBlind(append(in.props[:0], in.route...), in.blind), raw...)
	room := 1 + 3*binary.MaxVarintLen32 + len(reply) + len(in.props)
	in.record = core.AppendEnvelope(make([]byte, 0, room+int(min(size, bodyAtOnce))), core.FormAMQP, "", reply, in.props)
	in.body, in.left, in.stage = len(in.record), size, inBody
	if cap(in.props) > scratchKept {
		in.props = nil
	}
}

// body takes one body frame.
func (ch *channel) body(payload []byte) error {
	in := &ch.in
	if uint64(len(payload)) > in.left {
		return wire.ConnErrorf(wire.FrameError, "content body of %d octets more than announced", uint64(len(payload))-in.left)
	}
	if in.left > uint64(len(payload)) {
		if ch.conn.partial+len(payload) > max(partialLeast, 2*ch.conn.adapter.gateway.MaxMessage()) {
			return wire.ConnErrorf(wire.ResourceError, "too many messages come in on this connection at once")
		}
		ch.conn.partial += len(payload)
	} else {
		ch.conn.partial -= in.arrived() // the rest of it is here
	}
	in.left -= uint64(len(payload))
	if free := cap(in.record) - len(in.record); free < len(payload) {
		whole := len(in.record) + len(payload) + int(in.left)
		grown := make([]byte, len(in.record), min(whole, 2*cap(in.record)+len(payload)))
		copy(grown, in.record)
		in.record = grown
	}
	in.record = append(in.record, payload...)
	if in.left > 0 {
		return nil
	}
	return ch.complete()
}

// arrived is how much of a body that is not whole has come.
func (in *content) arrived() int {
	if in.stage != inBody {
		return 0
	}
	return len(in.record) - in.body
}

// complete hands the message on.
func (ch *channel) complete() error {
	in := &ch.in
	m := message{record: queue.Record{Data: in.record, TTL: in.ttl, Priority: in.priority}, route: in.route, extra: in.extra, mandatory: in.mandatory}
	ch.conn.tally.in++
	ch.conn.tally.bytes += len(in.record) - in.body
	in.stage, in.record, in.extra = betweenMessages, nil, nil
	if err := ch.conn.throttle(); err != nil {
		return err
	}
	if ch.conn.window.full() {
		if err := ch.conn.awaitKept(); err != nil {
			return err
		}
	}
	if ch.tx != nil {
		return ch.tx.add(ch, m)
	}
	return ch.publish(m)
}

// The props of core.FormAMQP are exchange and routing key, each behind its length, then the keys of BCC, which receivers do not learn of (the length of all of them as a
// varint, then each behind its own), then the property list.

// appendRoute appends exchange and routing key.
func appendRoute(dst, exchange, key []byte) []byte {
	dst = append(append(dst, byte(len(exchange))), exchange...)
	return append(append(dst, byte(len(key))), key...)
}

// appendBlind appends the keys of BCC; each has at most 255 octets.
func appendBlind(dst []byte, keys []string) []byte {
	n := 0
	for _, key := range keys {
		n += 1 + len(key)
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for _, key := range keys {
		dst = append(append(dst, byte(len(key))), key...)
	}
	return dst
}

// splitRoute undoes appendRoute.
func splitRoute(b []byte) (exchange, key, rest []byte, ok bool) {
	if exchange, b, ok = cutShort(b); !ok {
		return nil, nil, nil, false
	}
	if key, b, ok = cutShort(b); !ok {
		return nil, nil, nil, false
	}
	return exchange, key, b, true
}

func cutShort(b []byte) (part, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n:n], b[n:], true
}

// splitProps takes the props of core.FormAMQP apart; raw is the property list.
func splitProps(props []byte) (exchange, key, raw []byte, ok bool) {
	exchange, key, rest, ok := splitRoute(props)
	if !ok {
		return nil, nil, nil, false
	}
	n, w := binary.Uvarint(rest)
	if w <= 0 || n > uint64(len(rest)-w) {
		return nil, nil, nil, false
	}
	return exchange, key, rest[w+int(n):], true
}

// blindKeys are the keys of BCC.
func blindKeys(props []byte) (keys []string) {
	_, _, rest, _ := splitRoute(props)
	n, w := binary.Uvarint(rest)
	if w <= 0 || n > uint64(len(rest)-w) {
		return nil
	}
	for rest = rest[w : w+int(n)]; len(rest) > 0; {
		key, more, ok := cutShort(rest)
		if !ok {
			return keys
		}
		keys, rest = append(keys, string(key)), more
	}
	return keys
}

// vetted are the properties that vet looks at.
const vetted = wire.FlagHeaders | wire.FlagReplyTo | wire.FlagExpiration | wire.FlagUserID | wire.FlagPriority

// vet checks the properties that mean something to a server, takes BCC off, and replaces direct reply-to's name. raw comes back as it is unless
// something had to change. reply is the bus subject that answers go to, "" for none.
func (ch *channel) vet(raw []byte) (kept []byte, reply string, err error) {
	flags := binary.BigEndian.Uint16(raw)
	ch.in.ttl, ch.in.priority = queue.Bound{}, 0
	if flags&vetted == 0 {
		return raw, "", nil
	}
	if flags&wire.FlagExpiration != 0 {
		if ch.in.ttl, err = expiration(string(wire.PeekExpiration(raw))); err != nil {
			return nil, "", err
		}
	}
	if flags&wire.FlagPriority != 0 {
		ch.in.priority = wire.PeekPriority(raw)
	}
	if flags&wire.FlagUserID != 0 {
		if id := string(wire.PeekUserID(raw)); id != ch.conn.user {
			return nil, "", wire.ChanErrorf(wire.PreconditionFailed,
				"user_id property set to '%s' but authenticated user was '%s'", id, ch.conn.user)
		}
	}
	if flags&wire.FlagHeaders != 0 {
		if raw, err = ch.copies(raw); err != nil {
			return nil, "", err
		}
	}
	if flags&wire.FlagReplyTo != 0 {
		return ch.replyTo(raw)
	}
	return raw, "", nil
}

// expiration reads a message's own time to live, in milliseconds. As in RabbitMQ a sign is allowed, and the text says what is wrong as it does.
func expiration(s string) (queue.Bound, error) {
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 {
		digits = "" // one sign at most
	}
	rest := strings.TrimLeft(digits, "0123456789")
	number := strings.TrimPrefix(s[:len(s)-len(rest)], "+")
	n, err := strconv.ParseInt(number, 10, 64)
	why := ""
	switch {
	case len(rest) == len(digits):
		why = "no_integer"
	case rest != "":
		why = fmt.Sprintf(`{leftover_string,"%s"}`, rest)
	case n < 0:
		why = fmt.Sprintf("{value_negative,%s}", number)
	case err != nil || n > maxExpiration:
		why = fmt.Sprintf("{value_too_large,%s}", number)
	default:
		return queue.AtMost(n), nil
	}
	return queue.Bound{}, wire.ChanErrorf(wire.PreconditionFailed, "invalid expiration '%s': %s", s, why)
}

// copies reads the extra routing keys of the CC and BCC headers and takes BCC off [RMQ: sender-selected distribution].
func (ch *channel) copies(raw []byte) ([]byte, error) {
	table := wire.PeekHeaders(raw)
	open, err := routingKeys("CC", wire.PeekTable(table, "CC"))
	if err != nil {
		return nil, err
	}
	value := wire.PeekTable(table, "BCC")
	if ch.in.blind, err = routingKeys("BCC", value); err != nil {
		return nil, err
	}
	ch.in.extra = append(open, ch.in.blind...)
	if value == nil {
		return raw, nil
	}
	p, err := wire.DecodeProperties(raw)
	if err != nil {
		return nil, err
	}
	delete(p.Headers, "BCC")
	return p.Append(nil), nil
}

// routingKeys are the keys of header name; value is nil without it.
func routingKeys(name string, value []byte) ([]string, error) {
	if value == nil {
		return nil, nil
	}
	decoded, err := wire.DecodeValue(value)
	if err != nil {
		return nil, err
	}
	list, ok := decoded.([]any)
	if !ok {
		return nil, wire.ChanErrorf(wire.PreconditionFailed, "invalid message: {unacceptable_type_in_header,\"%s\",%s}", name, broker.TypeName(decoded))
	}
	keys := make([]string, 0, len(list))
	for _, v := range list {
		if key, isText := v.(string); isText { // what else is in it is no key, and no error [RMQ]
			keys = append(keys, key[:min(len(key), 255)])
		}
	}
	return keys, nil
}
