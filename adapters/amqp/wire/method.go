package wire

import (
	"encoding/binary"
	"fmt"
)

// MethodID is class-id<<16 | method-id.
type MethodID uint32

// Class is the class-id.
func (id MethodID) Class() uint16 { return uint16(id >> 16) }

// Method is the method-id within the class.
func (id MethodID) Method() uint16 { return uint16(id) }

// Method is the arguments of one AMQP method; the implementations are the
// pointer types of methods_gen.go and nothing else.
type Method interface {
	// ID is the method's class and method id.
	ID() MethodID
	// Name is the specification's name, such as "queue.declare-ok".
	Name() string
	// Append appends the arguments alone, without ids and framing. Short
	// strings above 255 octets are cut there, and a table value of an
	// unsupported Go type travels as void: check foreign input before
	// ([AppendTable] reports it).
	Append(dst []byte) []byte

	appendTrace(dst []byte) []byte
}

// PeekMethod is the method id at the front of a method frame's payload; false
// when the payload is too short to have one. The method need not be known.
func PeekMethod(payload []byte) (MethodID, bool) {
	if len(payload) < 4 {
		return 0, false
	}
	return MethodID(binary.BigEndian.Uint32(payload)), true
}

// DecodeMethod decodes a method frame's payload into a pointer type such as
// *QueueDeclare, which keeps nothing of payload. The error is a [*ConnError]:
// 502 for arguments that are malformed, too short or too long, 540 for an
// unknown method, 501 for a short string that is not UTF-8 in a method without
// content, as in RabbitMQ (routing keys of a publish are any octets).
func DecodeMethod(payload []byte) (Method, error) {
	id, ok := PeekMethod(payload)
	if !ok {
		return nil, ConnErrorf(SyntaxError, "method frame of %d octets", len(payload))
	}
	d := decoder{b: payload[4:]}
	m := decodeArguments(id, &d)
	if m == nil {
		return nil, ConnErrorf(NotImplemented, "unknown method %d of class %d", id.Method(), id.Class()).At(id)
	}
	if err := d.finish(); err != nil {
		return nil, malformed(id, err)
	}
	return m, nil
}

// AppendMethod appends m as a whole method frame. A method cannot be split, so
// one with a long table may exceed the negotiated frame-max: the caller compares.
func AppendMethod(dst []byte, channel uint16, m Method) []byte {
	start := len(dst)
	dst = openFrame(dst, FrameMethod, channel)
	dst = appendLong(dst, uint32(m.ID()))
	dst = m.Append(dst)
	return closeFrame(dst, start)
}

// malformed names the method whose arguments a decoder refused.
func malformed(id MethodID, err *ConnError) *ConnError {
	return ConnErrorf(err.Code, "%s: %s", id, err.Text).At(id)
}

func unknownMethod(id MethodID) string {
	return fmt.Sprintf("method %d.%d", id.Class(), id.Method())
}
