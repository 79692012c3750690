package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"portico/core"
)

// userPrefix is what a message's own headers wear on HTTP, so that they cannot be taken for headers of HTTP.
const userPrefix = "Msg-"

// properties are the gateway's canonical headers that a client may set, by their lower-case names, each with its check.
var properties = map[string]struct {
	name  string
	legal func(string) bool
}{
	"content-type":           {core.HeaderContentType, anyText},
	"content-encoding":       {core.HeaderContentEncoding, anyText},
	"portico-message-id":     {core.HeaderMessageID, anyText},
	"portico-correlation-id": {core.HeaderCorrelationID, anyText},
	"portico-type":           {core.HeaderType, anyText},
	"portico-app-id":         {core.HeaderAppID, anyText},
	"portico-user-id":        {core.HeaderUserID, anyText},
	"portico-reply-to":       {core.HeaderReplyTo, anyText},
	"portico-timestamp":      {core.HeaderTimestamp, number(64)},
	"portico-expiration":     {core.HeaderExpiration, number(64)},
	"portico-priority":       {core.HeaderPriority, number(8)},
	"portico-delivery-mode":  {core.HeaderDeliveryMode, func(v string) bool { return v == "1" || v == "2" }},
}

func anyText(v string) bool { return utf8.ValidString(v) }

func number(bits int) func(string) bool {
	return func(v string) bool {
		_, err := strconv.ParseUint(v, 10, bits)
		return err == nil
	}
}

// travels tells whether a header (lower case) has the same name on HTTP and in the message: tracing and CloudEvents.
func travels(lower string) bool {
	return lower == "traceparent" || lower == "tracestate" || lower == "baggage" || strings.HasPrefix(lower, "ce-")
}

// reserved tells whether a header (lower case) is a command to the bus or belongs to the gateway: never a user's.
func reserved(lower string) bool {
	return strings.HasPrefix(lower, "portico-") || strings.HasPrefix(lower, "nats-") || lower == "kv-operation"
}

// messageHeader takes a message's headers out of those of a request. What belongs to HTTP alone is passed over; a name or
// value that a message cannot have is CodeInvalid.
func messageHeader(in http.Header) (core.Header, error) {
	out := make(core.Header)
	for name, values := range in {
		target, err := messageName(name)
		if err != nil {
			return nil, err
		}
		if target == "" {
			continue
		}
		if err := legalValues(name, values); err != nil {
			return nil, err
		}
		out[target] = values
	}
	return out, nil
}

// messageName is the message's name for a request header, "" if it is none of the message's.
func messageName(name string) (string, error) {
	lower := strings.ToLower(name)
	if p, ok := properties[lower]; ok {
		return p.name, nil
	}
	switch {
	case travels(lower):
		return lower, nil
	case name == tenantHeader:
		return "", nil
	case reserved(lower):
		return "", badField("header."+name, "no header of the gateway's own and no command to the bus", "")
	case !strings.HasPrefix(name, userPrefix):
		return "", nil
	}
	user, err := url.PathUnescape(strings.ToLower(name[len(userPrefix):]))
	if err != nil || !legalName(user) {
		return "", badField("header."+name, "behind Msg- the name of a message header, percent-encoded", "")
	}
	if _, ok := properties[user]; ok || reserved(user) || travels(user) {
		return "", badField("header."+name, "a name that is not the gateway's own: "+user+" is", "")
	}
	return user, nil
}

// legalName: printable ASCII without space and colon, as on the bus.
func legalName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return name != ""
}

func legalValues(name string, values []string) error {
	p, known := properties[strings.ToLower(name)]
	if known && len(values) != 1 {
		return badField("header."+name, "one value", strconv.Itoa(len(values))+" values")
	}
	for _, v := range values {
		if !anyText(v) || known && !p.legal(v) {
			return badField("header."+name, "a legal value in UTF-8", strconv.QuoteToASCII(v))
		}
	}
	return nil
}

// setHeader puts a message's headers on a response. Values that HTTP cannot carry are left out; the JSON form has them.
func setHeader(out http.Header, h core.Header) {
	for name, values := range h {
		target := responseName(name)
		if target == "" {
			continue
		}
		for _, v := range values {
			if carriable(v) {
				out.Add(target, v)
			}
		}
	}
}

// responseName is HTTP's name for a message header, "" if it stays inside.
func responseName(name string) string {
	lower := strings.ToLower(name)
	if p, ok := properties[lower]; ok {
		return p.name
	}
	switch {
	case lower == strings.ToLower(core.HeaderOrigin), lower == strings.ToLower(core.HeaderAMQP):
		return ""
	case travels(lower) && escapeName(name) == name, strings.HasPrefix(lower, "portico-") && escapeName(name) == name:
		return name
	}
	return userPrefix + escapeName(name)
}

// escapeName percent-encodes what a header name of HTTP may not have, and the percent sign.
func escapeName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if isToken(name[i]) && name[i] != '%' {
			b.WriteByte(name[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", name[i])
		}
	}
	return b.String()
}

// isToken: tchar [RFC 9110 5.6.2].
func isToken(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// carriable: field-value [RFC 9110 5.5]: no control characters but the tab, no white space around it (it would be lost).
func carriable(v string) bool {
	for i := range len(v) {
		if v[i] < 0x20 && v[i] != '\t' || v[i] == 0x7f {
			return false
		}
	}
	return v == strings.Trim(v, " \t")
}

// shown is a message's header as the JSON form shows it: everything but the gateway's own marks; one value as a string,
// several as a list.
func shown(h core.Header) map[string]any {
	out := make(map[string]any, len(h))
	for name, values := range h {
		switch lower := strings.ToLower(name); {
		case lower == strings.ToLower(core.HeaderOrigin), lower == strings.ToLower(core.HeaderAMQP):
		case len(values) == 1:
			out[name] = values[0]
		default:
			out[name] = values
		}
	}
	return out
}
