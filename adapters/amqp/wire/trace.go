package wire

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

const (
	// maxTrace and maxTraceString bound a trace line and a string in it, in octets.
	maxTrace       = 2048
	maxTraceString = 128
)

// Trace renders a frame as one line of at most about 2 KiB, for logs and for
// transcripts in tests:
//
//	1 method queue.declare queue="q" durable=1 arguments={}
//	1 header basic size=5 content-type=text/plain
//	1 body 5
//	0 heartbeat
//
// Bits that are not set and reserved fields are left out. Login responses and
// secrets show their length only; bodies are never shown. A payload that does
// not decode shows why.
func Trace(f Frame) string {
	dst := strconv.AppendUint(nil, uint64(f.Channel), 10)
	dst = append(append(dst, ' '), f.Type.String()...)
	switch f.Type {
	case FrameMethod:
		dst = traceMethod(dst, f.Payload)
	case FrameHeader:
		dst = traceHeader(dst, f.Payload)
	case FrameBody:
		dst = strconv.AppendInt(append(dst, ' '), int64(len(f.Payload)), 10)
	}
	return cutText(string(dst), maxTrace)
}

func traceMethod(dst, payload []byte) []byte {
	m, err := DecodeMethod(payload)
	if err != nil {
		return append(append(dst, " malformed: "...), err.Error()...)
	}
	dst = append(append(dst, ' '), m.Name()...)
	return m.appendTrace(dst)
}

func traceHeader(dst, payload []byte) []byte {
	class, size, raw, err := DecodeHeader(payload)
	if err != nil {
		return append(append(dst, " malformed: "...), err.Error()...)
	}
	if class == ClassBasic {
		dst = append(dst, " basic"...)
	} else {
		dst = traceUint(dst, "class", uint64(class))
	}
	dst = traceUint(dst, "size", size)
	p, err := DecodeProperties(raw)
	if err != nil {
		return append(append(dst, " malformed: "...), err.Error()...)
	}
	for flag := FlagContentType; flag >= FlagClusterID; flag >>= 1 {
		if p.Has(flag) {
			dst = p.appendTrace(flag, dst)
		}
	}
	return dst
}

func (p *Properties) appendTrace(flag uint16, dst []byte) []byte {
	name := propertyName(flag)
	switch flag {
	case FlagHeaders:
		return traceTable(dst, name, p.Headers)
	case FlagDeliveryMode:
		return traceUint(dst, name, uint64(p.DeliveryMode))
	case FlagPriority:
		return traceUint(dst, name, uint64(p.Priority))
	case FlagTimestamp:
		return traceTime(dst, name, p.Timestamp)
	}
	return traceWord(dst, name, *p.text(flag))
}

func propertyName(flag uint16) string {
	switch flag {
	case FlagContentType:
		return "content-type"
	case FlagContentEncoding:
		return "content-encoding"
	case FlagHeaders:
		return "headers"
	case FlagDeliveryMode:
		return "delivery-mode"
	case FlagPriority:
		return "priority"
	case FlagCorrelationID:
		return "correlation-id"
	case FlagReplyTo:
		return "reply-to"
	case FlagExpiration:
		return "expiration"
	case FlagMessageID:
		return "message-id"
	case FlagTimestamp:
		return "timestamp"
	case FlagType:
		return "type"
	case FlagUserID:
		return "user-id"
	case FlagAppID:
		return "app-id"
	}
	return "cluster-id"
}

func traceName(dst []byte, name string) []byte {
	dst = append(append(dst, ' '), name...)
	return append(dst, '=')
}

func traceUint(dst []byte, name string, v uint64) []byte {
	return strconv.AppendUint(traceName(dst, name), v, 10)
}

func traceBit(dst []byte, name string, v bool) []byte {
	if !v {
		return dst
	}
	return append(traceName(dst, name), '1')
}

func traceString(dst []byte, name, v string) []byte {
	return quote(traceName(dst, name), v)
}

func traceWord(dst []byte, name, v string) []byte {
	return appendWord(traceName(dst, name), v)
}

// appendWord quotes v only where it would not read as one word.
func appendWord(dst []byte, v string) []byte {
	if v == "" || len(v) > maxTraceString {
		return quote(dst, v)
	}
	for _, c := range []byte(v) {
		if c <= ' ' || c >= 0x7F || c == '"' || c == '\\' || c == '=' {
			return quote(dst, v)
		}
	}
	return append(dst, v...)
}

func traceSecret(dst []byte, name, v string) []byte {
	return fmt.Appendf(traceName(dst, name), "<%d octets>", len(v))
}

func traceTime(dst []byte, name string, t time.Time) []byte {
	return strconv.AppendInt(traceName(dst, name), t.Unix(), 10)
}

func traceTable(dst []byte, name string, t Table) []byte {
	return appendTableText(traceName(dst, name), t)
}

// quote appends v as a Go string, shortened.
func quote(dst []byte, v string) []byte {
	return strconv.AppendQuote(dst, cutText(v, maxTraceString))
}

// appendTableText renders a table until the line is full.
func appendTableText(dst []byte, t Table) []byte {
	dst = append(dst, '{')
	for i, key := range slices.Sorted(maps.Keys(t)) {
		if len(dst) > maxTrace {
			break
		}
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(appendWord(dst, key), '=')
		dst = appendValueText(dst, t[key])
	}
	return append(dst, '}')
}

// appendValueText renders a value with its tag before a colon, except for the
// types that show by themselves.
func appendValueText(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "void"...)
	case string:
		return quote(dst, v)
	case []byte:
		return fmt.Appendf(dst, "x:%x", v[:min(len(v), maxTraceString/2)])
	case bool:
		return strconv.AppendBool(dst, v)
	case time.Time:
		return strconv.AppendInt(append(dst, "T:"...), v.Unix(), 10)
	case Decimal:
		return fmt.Appendf(dst, "D:%de-%d", v.Value, v.Scale)
	case Table:
		return appendTableText(dst, v)
	case []any:
		return appendArrayText(dst, v)
	}
	tagged, err := AppendTable(nil, Table{"": v})
	if err != nil {
		return append(dst, '?')
	}
	return fmt.Appendf(dst, "%c:%v", tagged[5], v) // after the length long and the empty key
}

func appendArrayText(dst []byte, vs []any) []byte {
	dst = append(dst, '[')
	for i, v := range vs {
		if len(dst) > maxTrace {
			break
		}
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = appendValueText(dst, v)
	}
	return append(dst, ']')
}
