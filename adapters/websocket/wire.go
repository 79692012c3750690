package websocket

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// wire is how frames are written: the same fields, as JSON text or as CBOR. It has no state.
type wire interface {
	// name is the subprotocol.
	name() string
	// kind is the type of the WebSocket messages.
	kind() int
	// answer appends a frame without a message.
	answer(dst []byte, a *answer) []byte
	// message appends the frame of an item that carries a message.
	message(dst []byte, i *item) []byte
	// decode decodes a client's frame, which shares nothing with b then. Even with an error the frame has its id, if that could be read. Errors are CodeInvalid.
	decode(b []byte) (frame, error)
	// split cuts a batch into its frames; ok is false for what is no batch.
	split(b []byte) (frames [][]byte, ok bool, err error)
	// listing is what begins, separates and ends a batch of n frames.
	listing(n int) (begin []byte, separator, end string)
}

// jsonWire is portico.v1.json.
type jsonWire struct{}

func (jsonWire) name() string { return Protocol }

func (jsonWire) kind() int { return websocket.TextMessage }

func (jsonWire) decode(b []byte) (frame, error) { return decodeFrame(b) }

func (jsonWire) answer(dst []byte, a *answer) []byte {
	b, err := json.Marshal(a)
	if err != nil { // strings, numbers, booleans, and JSON that was read before: cannot happen
		return append(dst, `{"op":"err","code":"internal"}`...)
	}
	dst = append(dst, b...)
	if a.payload == nil {
		return dst
	}
	return append(appendData(dst[:len(dst)-1], a.payload), '}')
}

func (jsonWire) message(dst []byte, i *item) []byte {
	switch i.kind {
	case itemMsg:
		return appendMsg(dst, i.name, i.message)
	case itemRes:
		return appendRes(dst, i.name, i.message)
	case itemStored:
		return appendStored(dst, i)
	}
	return appendDelivery(dst, i.name, i.tag, i.attempt, i.redelivered, i.message)
}

// naming is the field that says whom a stored message is for.
func (s *source) naming() string {
	if s.asked {
		return "id"
	}
	return "sid"
}

// appendData appends the field of a payload, with a comma before it.
func appendData(dst, data []byte) []byte {
	switch {
	case len(data) == 0:
		return append(dst, `,"data":""`...)
	case utf8.Valid(data):
		return appendString(append(dst, `,"data":`...), data)
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, `,"data_base64":"`...), data)
	return append(dst, '"')
}

// encode fills c.buf with the item's frame; false: it cannot be shown.
func (c *conn) encode(i *item) bool {
	c.buf = c.buf[:0]
	if i.kind == itemAnswer {
		c.buf = c.wire.answer(c.buf, i.answer)
		return true
	}
	m := c.adapter.metrics
	if i.kind == itemDelivery {
		message, err := c.adapter.gateway.Message(i.record)
		if err != nil {
			c.poisoned(i.tag, err)
			return false
		}
		i.message = message
		if i.redelivered {
			m.Redeliveries.Inc()
		}
	}
	c.buf = c.wire.message(c.buf, i)
	m.Out.Inc()
	m.BytesOut.Add(float64(len(i.message.Data)))
	return true
}
