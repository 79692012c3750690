package wire

import "encoding/binary"

// FrameType is the first octet of a frame [0-9-1 4.2.3].
type FrameType uint8

// The four frame types.
const (
	FrameMethod    FrameType = 1
	FrameHeader    FrameType = 2
	FrameBody      FrameType = 3
	FrameHeartbeat FrameType = 8
)

const (
	// FrameEnd is the last octet of every frame.
	FrameEnd = 0xCE
	// FrameMinSize is the frame-max, in octets, that every peer must accept,
	// and the one in force until connection.tune-ok [0-9-1 2.3.5].
	FrameMinSize = 4096
	// FrameOverhead is the octets of a frame around its payload.
	FrameOverhead = frameHeaderSize + 1

	frameHeaderSize = 7
)

// ProtocolHeader is what a client sends first and what a server answers to a
// header it does not speak. It is never written to.
var ProtocolHeader = [8]byte{'A', 'M', 'Q', 'P', 0, 0, 9, 1}

// Frame is one frame as a [Reader] gives it. Payload belongs to the Reader and
// is valid until its next ReadFrame.
type Frame struct {
	Type    FrameType
	Channel uint16
	Payload []byte
}

// String names the type as the specification does.
func (t FrameType) String() string {
	switch t {
	case FrameMethod:
		return "method"
	case FrameHeader:
		return "header"
	case FrameBody:
		return "body"
	case FrameHeartbeat:
		return "heartbeat"
	}
	return "unknown"
}

// AppendFrame appends a whole frame around payload, which must be shorter than
// 4 GiB; the negotiated frame-max is the caller's to keep.
func AppendFrame(dst []byte, f Frame) []byte {
	dst = AppendFrameStart(dst, f.Type, f.Channel, uint32(len(f.Payload)))
	dst = append(dst, f.Payload...)
	return append(dst, FrameEnd)
}

// AppendFrameStart appends the seven octets before a payload of size octets. A
// caller that writes a large payload without copying it sends these, the
// payload, and one FrameEnd.
func AppendFrameStart(dst []byte, t FrameType, channel uint16, size uint32) []byte {
	return append(dst, byte(t), byte(channel>>8), byte(channel),
		byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
}

// AppendHeartbeat appends a heartbeat frame, always on channel 0.
func AppendHeartbeat(dst []byte) []byte {
	return append(dst, byte(FrameHeartbeat), 0, 0, 0, 0, 0, 0, FrameEnd)
}

// AppendBody appends body as body frames of at most frameMax octets each,
// framing included; an empty body is no frame at all [0-9-1 4.2.6.2]. frameMax
// is what this connection negotiated: zero means no limit, anything else below
// FrameMinSize counts as FrameMinSize.
func AppendBody(dst []byte, channel uint16, body []byte, frameMax uint32) []byte {
	chunk := len(body)
	if frameMax != 0 {
		chunk = min(chunk, int(maxPayload(frameMax))-FrameOverhead)
	}
	for len(body) > 0 {
		n := min(chunk, len(body))
		dst = AppendFrame(dst, Frame{Type: FrameBody, Channel: channel, Payload: body[:n]})
		body = body[n:]
	}
	return dst
}

// openFrame appends a frame's start with a size to be set by closeFrame.
func openFrame(dst []byte, t FrameType, channel uint16) []byte {
	return AppendFrameStart(dst, t, channel, 0)
}

// closeFrame ends the frame that openFrame began at dst[start].
func closeFrame(dst []byte, start int) []byte {
	size := len(dst) - start - frameHeaderSize
	binary.BigEndian.PutUint32(dst[start+3:], uint32(size))
	return append(dst, FrameEnd)
}
