package core

import (
	"bytes"
	"net/textproto"
	"strings"
)

// Headers that tell a consumer of a dead-letter queue why the message is there (text form).
const (
	HeaderDeathReason = "Portico-Death-Reason" // "rejected", "delivery_limit", "expired" or "maxlen"
	HeaderDeathQueue  = "Portico-Death-Queue"  // the queue it left
	HeaderDeathCount  = "Portico-Death-Count"  // how often it had been delivered there, decimal
)

// ours is the prefix of the gateway's own headers. From outside only those in fromOutside are taken.
const ours = "Portico-"

// maxHeaders bounds the bytes of a message's headers, names and values with their separators: what a JetStream message may have.
const maxHeaders = 64 << 10

// fromOutside tells whether a client may set one of our headers.
func fromOutside(name string) bool {
	switch name {
	case HeaderMessageID, HeaderCorrelationID, HeaderType, HeaderAppID, HeaderUserID, HeaderTimestamp,
		HeaderExpiration, HeaderPriority, HeaderDeliveryMode, HeaderReplyTo, HeaderTypes, HeaderDeadline, HeaderCancel:
		return true
	}
	return false
}

// command tells whether a header is an instruction to a NATS server, a JetStream stream or the gateway, and not a client's to give. In the bus's core headers such as
// Nats-Rollup or KV-Operation change what is stored; doors must not let them through by accident. What a publisher of a JetStream message
// legitimately says (identity, expected state, time to live) passes.
func command(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch {
	case strings.HasPrefix(name, "Nats-"):
		return name != "Nats-Msg-Id" && name != "Nats-Ttl" && !strings.HasPrefix(name, "Nats-Expected-")
	case strings.HasPrefix(name, "Nmqtt-"), name == "Kv-Operation":
		return true
	case strings.HasPrefix(name, ours):
		return !fromOutside(name)
	}
	return false
}

// cleaned returns h without what a client called user may not say: commands, and a user id that is not its own. h itself is not
// changed; it is returned if nothing has to go.
func cleaned(h Header, user string) Header {
	unwanted := func(name string, values []string) bool {
		if command(name) {
			return true
		}
		return textproto.CanonicalMIMEHeaderKey(name) == HeaderUserID && (user == "" || len(values) != 1 || values[0] != user)
	}
	var kept Header
	for name, values := range h {
		if !unwanted(name, values) {
			continue
		}
		if kept == nil {
			kept = make(Header, len(h))
			for n, v := range h {
				kept[n] = v
			}
		}
		delete(kept, name)
	}
	if kept != nil {
		return kept
	}
	return h
}

// withoutInternal takes off h, in place, what only servers and gateways tell each other.
func withoutInternal(h Header) Header {
	for name := range h {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		if canonical == HeaderOrigin || strings.HasPrefix(canonical, "Nmqtt-") {
			delete(h, name)
		}
	}
	return h
}

// checkHeader returns CodeInvalid for a name that is not a token or a value that is not one line, CodeTooLarge above maxHeaders; size is the bytes h takes.
func checkHeader(h Header) (size int, err error) {
	for name, values := range h {
		if !headerName(name) {
			return 0, Errorf(CodeInvalid, "header name %q: want visible ASCII characters and no colon", name)
		}
		for _, v := range values {
			if !headerValue(v) {
				return 0, Errorf(CodeInvalid, "the value of header %q is not a single line", name)
			}
			size += len(name) + len(v) + 4
		}
	}
	if size > maxHeaders {
		return 0, Errorf(CodeTooLarge, "headers of %d bytes: at most %d", size, maxHeaders)
	}
	return size, nil
}

func headerName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return name != ""
}

func headerValue(v string) bool { return !strings.ContainsAny(v, "\r\n\x00") }

// statusLine begins every header block on the bus; a status may follow it.
const statusLine = "NATS/1.0"

// noResponders is the header block that tells a requester that nobody takes its message.
const noResponders = statusLine + " 503\r\n\r\n"

// appendBusHeader appends h as a header block of the bus, nothing if h is empty.
func appendBusHeader(dst []byte, h Header) []byte {
	if len(h) == 0 {
		return dst
	}
	dst = append(dst, statusLine+"\r\n"...)
	for name, values := range h {
		for _, v := range values {
			dst = append(append(dst, name...), ": "...)
			dst = append(append(dst, v...), "\r\n"...)
		}
	}
	return append(dst, "\r\n"...)
}

// parseBusHeader reads a header block of the bus. Lines that are no header of ours are passed over, and the one blank that everybody writes behind the colon is not the
// value's; status is what follows the version, "" mostly.
func parseBusHeader(block []byte) (h Header, status string) {
	line, rest, _ := bytes.Cut(block, []byte("\r\n"))
	if tail, ok := bytes.CutPrefix(line, []byte(statusLine)); ok {
		status = string(bytes.TrimSpace(tail))
	}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		field, rawValue, ok := bytes.Cut(line, []byte(":"))
		name, value := string(field), string(bytes.TrimPrefix(rawValue, []byte(" ")))
		if !ok || !headerName(name) || !headerValue(value) {
			continue
		}
		if h == nil {
			h = make(Header, 4)
		}
		h.Add(name, value)
	}
	return h, status
}
