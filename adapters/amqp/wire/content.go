package wire

// contentHeader is the octets of a header payload before the property flags.
const contentHeader = 2 + 2 + 8

// DecodeHeader decodes a header frame's payload [0-9-1 4.2.6.1]. props is the
// raw properties, a slice into payload, not yet validated ([PropertiesValid]).
// The error is a [*ConnError]: 502 when it is cut short, 505 when the weight is
// not zero.
func DecodeHeader(payload []byte) (classID uint16, bodySize uint64, props []byte, err error) {
	if len(payload) < contentHeader+2 {
		return 0, 0, nil, ConnErrorf(SyntaxError, "content header of %d octets", len(payload))
	}
	d := decoder{b: payload}
	classID = d.uint16()
	if weight := d.uint16(); weight != 0 {
		return 0, 0, nil, ConnErrorf(UnexpectedFrame, "content header with weight %d, expected 0", weight)
	}
	return classID, d.uint64(), payload[contentHeader:], nil
}

// AppendHeader appends a whole header frame. rawProps are the property flags and
// list; empty means no properties. A header cannot be split over frames: one with
// long headers may exceed the negotiated frame-max, which the caller compares.
func AppendHeader(dst []byte, channel uint16, classID uint16, bodySize uint64, rawProps []byte) []byte {
	start := len(dst)
	dst = openFrame(dst, FrameHeader, channel)
	dst = appendShort(dst, classID)
	dst = appendShort(dst, 0) // weight
	dst = appendLongLong(dst, bodySize)
	if len(rawProps) == 0 {
		dst = appendShort(dst, 0)
	}
	dst = append(dst, rawProps...)
	return closeFrame(dst, start)
}

// skipProperty steps over the property of one flag and returns its value: a
// short string without its length, a table with it.
func (d *decoder) skipProperty(flag uint16) []byte {
	switch flag {
	case FlagHeaders:
		from := d.b
		d.longBytes("headers")
		n := len(from) - len(d.b)
		return from[:n:n]
	case FlagDeliveryMode, FlagPriority:
		return d.take(1, "property")
	case FlagTimestamp:
		return d.take(8, "timestamp")
	default:
		return d.shortBytes()
	}
}

// peek returns the value of one property of raw, nil when it is absent or the
// list is malformed before its end.
func peek(raw []byte, want uint16) []byte {
	d := decoder{b: raw}
	flags := d.propertyFlags()
	if flags&want == 0 {
		return nil
	}
	for flag := FlagContentType; flag > want; flag >>= 1 {
		if flags&flag != 0 {
			d.skipProperty(flag)
		}
	}
	v := d.skipProperty(want)
	if d.code != 0 {
		return nil
	}
	return v
}

func peekOctet(raw []byte, flag uint16) uint8 {
	if v := peek(raw, flag); len(v) == 1 {
		return v[0]
	}
	return 0
}

// PeekDeliveryMode is the delivery mode in raw properties, 0 when absent. This
// and the other peeks allocate nothing; slices they return point into raw, and
// are nil when the property is absent, empty and not nil when it is empty.
func PeekDeliveryMode(raw []byte) uint8 { return peekOctet(raw, FlagDeliveryMode) }

// PeekPriority is the priority, 0 when absent.
func PeekPriority(raw []byte) uint8 { return peekOctet(raw, FlagPriority) }

// PeekReplyTo is the reply-to.
func PeekReplyTo(raw []byte) []byte { return peek(raw, FlagReplyTo) }

// PeekExpiration is the expiration, not checked to be a number.
func PeekExpiration(raw []byte) []byte { return peek(raw, FlagExpiration) }

// PeekUserID is the user-id.
func PeekUserID(raw []byte) []byte { return peek(raw, FlagUserID) }

// PeekCorrelationID is the correlation-id.
func PeekCorrelationID(raw []byte) []byte { return peek(raw, FlagCorrelationID) }

// PeekMessageID is the message-id.
func PeekMessageID(raw []byte) []byte { return peek(raw, FlagMessageID) }

// PeekHeaders is the headers as a raw table, its length long first: for
// [DecodeTable] and [PeekTable].
func PeekHeaders(raw []byte) []byte { return peek(raw, FlagHeaders) }
