package amqp

import (
	"encoding/binary"
	"strconv"
	"strings"

	"portico/adapters/amqp/wire"
	"portico/core"
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
	props     []byte // scratch: route, then the property list
	record    []byte
	body      int // where the body begins in record
	left      uint64
}

// message is a whole published message.
type message struct {
	record    []byte // an envelope; shared with every queue it goes to
	route     []byte // exchange and routing key, encoded; valid until the next message of the channel
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
	in.stage, in.mandatory, in.extra = beforeHeader, mandatory, nil
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
	limit := uint64(ch.conn.adapter.gateway.MaxMessage())
	if total := size + uint64(len(raw)-propertyFlags); size > limit || total > limit {
		ch.in.stage = betweenMessages
		return wire.ChanErrorf(wire.PreconditionFailed, "message size %d is larger than configured max size %d", size, limit)
	}
	raw, reply, err := ch.vet(raw)
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
	in.props = append(append(in.props[:0], in.route...), raw...)
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
	m := message{record: in.record, route: in.route, extra: in.extra, mandatory: in.mandatory}
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

// appendRoute appends exchange and routing key, each behind its length: how props of core.FormAMQP begin. The property list follows.
func appendRoute(dst, exchange, key []byte) []byte {
	dst = append(append(dst, byte(len(exchange))), exchange...)
	return append(append(dst, byte(len(key))), key...)
}

// splitProps undoes appendRoute; raw is the property list.
func splitProps(props []byte) (exchange, key, raw []byte, ok bool) {
	for _, part := range []*[]byte{&exchange, &key} {
		if len(props) == 0 || len(props) < 1+int(props[0]) {
			return nil, nil, nil, false
		}
		n := 1 + int(props[0])
		*part, props = props[1:n:n], props[n:]
	}
	return exchange, key, props, true
}

// vetted are the properties that vet looks at.
const vetted = wire.FlagHeaders | wire.FlagReplyTo | wire.FlagExpiration | wire.FlagUserID

// vet checks the properties that mean something to a server, takes BCC off, and replaces direct reply-to's name. raw comes back as it is unless
// something had to change. reply is the bus subject that answers go to, "" for none.
func (ch *channel) vet(raw []byte) (kept []byte, reply string, err error) {
	flags := binary.BigEndian.Uint16(raw)
	if flags&vetted == 0 {
		return raw, "", nil
	}
	if flags&wire.FlagExpiration != 0 {
		if err := checkExpiration(string(wire.PeekExpiration(raw))); err != nil {
			return nil, "", err
		}
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

func checkExpiration(s string) error {
	if n, err := strconv.ParseUint(s, 10, 64); err != nil || n > maxExpiration || strings.HasPrefix(s, "+") {
		return wire.ChanErrorf(wire.PreconditionFailed, "invalid expiration '%s': a number of milliseconds, at most %d, is expected", s, maxExpiration)
	}
	return nil
}

// copies reads the extra routing keys of the CC and BCC headers and takes BCC off [RMQ: sender-selected distribution].
func (ch *channel) copies(raw []byte) ([]byte, error) {
	table := wire.PeekHeaders(raw)
	blind := wire.PeekTable(table, "BCC")
	for name, value := range map[string][]byte{"CC": wire.PeekTable(table, "CC"), "BCC": blind} {
		if value == nil {
			continue
		}
		keys, err := routingKeys(name, value)
		if err != nil {
			return nil, err
		}
		ch.in.extra = append(ch.in.extra, keys...)
	}
	if blind == nil {
		return raw, nil
	}
	p, err := wire.DecodeProperties(raw)
	if err != nil {
		return nil, err
	}
	delete(p.Headers, "BCC")
	return p.Append(nil), nil
}

func routingKeys(name string, value []byte) ([]string, error) {
	decoded, err := wire.DecodeValue(value)
	if err != nil {
		return nil, err
	}
	list, ok := decoded.([]any)
	keys := make([]string, 0, len(list))
	for _, v := range list {
		key, isText := v.(string)
		ok = ok && isText
		keys = append(keys, key)
	}
	if !ok {
		return nil, wire.ChanErrorf(wire.PreconditionFailed, "invalid header '%s': an array of strings is expected", name)
	}
	return keys, nil
}
