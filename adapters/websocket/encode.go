package websocket

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"portico/core"
)

// Server frames are appended to a buffer of the writer. The three that carry messages are written by hand, because they
// are the hot ones; answers are marshalled.

// answer is every server frame that carries no message.
type answer struct {
	Op       string     `json:"op"`
	ID       string     `json:"id,omitempty"`
	SID      string     `json:"sid,omitempty"`
	Code     string     `json:"code,omitempty"`
	Detail   string     `json:"detail,omitempty"`
	Queues   *int       `json:"queues,omitempty"`
	Live     *bool      `json:"live,omitempty"`
	Created  *bool      `json:"created,omitempty"`
	Ready    *int       `json:"ready,omitempty"`
	Protocol string     `json:"protocol,omitempty"`
	LoggedIn *bool      `json:"authenticated,omitempty"`
	User     *string    `json:"user,omitempty"`
	Ping     string     `json:"ping_interval,omitempty"`
	Limits   *limitsDoc `json:"limits,omitempty"`
}

// limitsDoc tells a client its bounds.
type limitsDoc struct {
	Message       int   `json:"message"`
	Frame         int64 `json:"frame"`
	Subscriptions int   `json:"subscriptions"`
	Consumers     int   `json:"consumers"`
	Requests      int   `json:"requests"`
	Unacked       int   `json:"unacked"`
}

func ok(id string) answer { return answer{Op: "ok", ID: id} }

func (a answer) encode() []byte {
	b, err := json.Marshal(a)
	if err != nil { // strings, numbers and booleans: cannot happen
		return []byte(`{"op":"err","code":"internal"}`)
	}
	return b
}

// appendMessage appends a frame that carries m: head is its beginning, up to and without the comma before the message's fields.
func appendMessage(dst []byte, m *core.Message) []byte {
	if m.Subject != "" {
		dst = appendString(append(dst, `,"subject":`...), m.Subject)
	}
	if m.Reply != "" {
		dst = appendString(append(dst, `,"reply":`...), m.Reply)
	}
	dst = appendHeader(dst, m.Header)
	switch {
	case len(m.Data) == 0:
		dst = append(dst, `,"data":""`...)
	case utf8.Valid(m.Data):
		dst = appendString(append(dst, `,"data":`...), m.Data)
	default:
		dst = base64.StdEncoding.AppendEncode(append(dst, `,"data_base64":"`...), m.Data)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// appendHeader appends a message's headers but for the gateway's own marks.
func appendHeader(dst []byte, h core.Header) []byte {
	if len(h) == 0 {
		return dst
	}
	start, first := len(dst), true
	dst = append(dst, `,"headers":{`...)
	for _, name := range slices.Sorted(maps.Keys(h)) {
		values := h[name]
		if len(values) == 0 || strings.EqualFold(name, core.HeaderOrigin) || strings.EqualFold(name, core.HeaderAMQP) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendString(dst, name), ':')
		dst = appendValues(dst, values)
	}
	if first {
		return dst[:start]
	}
	return append(dst, '}')
}

func appendValues(dst []byte, values []string) []byte {
	if len(values) == 1 {
		return appendString(dst, values[0])
	}
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, v)
	}
	return append(dst, ']')
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string [RFC 8259 7]. Bytes that are not UTF-8 become U+FFFD.
func appendString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == '"' || c == '\\' {
				dst = appendEscape(append(dst, s[start:i]...), c)
				start = i + 1
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && size == 1 {
			dst = append(append(dst, s[start:i]...), "\uFFFD"...)
			start = i + size
		}
		i += size
	}
	return append(append(dst, s[start:]...), '"')
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}

// appendMsg appends the frame of a message of subscription sid.
func appendMsg(dst []byte, sid string, m *core.Message) []byte {
	return appendMessage(appendString(append(dst, `{"op":"msg","sid":`...), sid), m)
}

// appendRes appends the frame of an answer to request id.
func appendRes(dst []byte, id string, m *core.Message) []byte {
	answer := core.Message{Header: m.Header, Data: m.Data}
	return appendMessage(appendString(append(dst, `{"op":"res","id":`...), id), &answer)
}

// appendDelivery appends the frame of a delivery.
func appendDelivery(dst []byte, sid string, tag uint64, attempt uint32, redelivered bool, m *core.Message) []byte {
	dst = appendString(append(dst, `{"op":"delivery","sid":`...), sid)
	dst = strconv.AppendUint(append(dst, `,"tag":`...), tag, 10)
	dst = strconv.AppendUint(append(dst, `,"attempt":`...), uint64(attempt), 10)
	dst = strconv.AppendBool(append(dst, `,"redelivered":`...), redelivered)
	return appendMessage(dst, m)
}
