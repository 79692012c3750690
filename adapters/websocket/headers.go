package websocket

import (
	"net/textproto"
	"strings"

	"portico/core"
)

// A publish has its headers checked and cleaned by core. A direct append does not pass there: what follows keeps the same
// rules for it, so that no command to the bus and no mark of the gateway can be planted in a queue.

// appendable returns h as a client called user may append it. CodeInvalid for a name or value that a message cannot have.
func appendable(h header, user string) (core.Header, error) {
	out := make(core.Header, len(h))
	for name, values := range h {
		if !legalName(name) {
			return nil, core.Errorf(core.CodeInvalid, "header name %q has a character that is not allowed", name)
		}
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				return nil, core.Errorf(core.CodeInvalid, "the value of header %q is not a single line", name)
			}
		}
		if !command(name) && (textproto.CanonicalMIMEHeaderKey(name) != core.HeaderUserID || len(values) == 1 && values[0] == user && user != "") {
			out[name] = values
		}
	}
	return out, nil
}

// legalName: printable ASCII without space and colon.
func legalName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return name != ""
}

// command tells whether a header is an instruction to the bus, or the gateway's own.
func command(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	switch name {
	case core.HeaderMessageID, core.HeaderCorrelationID, core.HeaderType, core.HeaderAppID, core.HeaderUserID, core.HeaderTimestamp,
		core.HeaderExpiration, core.HeaderPriority, core.HeaderDeliveryMode, core.HeaderReplyTo:
		return false
	}
	return strings.HasPrefix(name, "Portico-") || strings.HasPrefix(name, "Nats-") || strings.HasPrefix(name, "Nmqtt-") || name == "Kv-Operation"
}
