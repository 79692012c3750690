package websocket

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"portico/core"
)

// Server frames are appended to a buffer of the writer. The three that carry messages are written by hand, because they
// are the hot ones; answers are marshalled.

const (
	keyOverhead  = 4
	memberWeight = 256
)

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

	Client    string         `json:"client,omitempty"`
	Expires   string         `json:"expires,omitempty"`
	Duplicate bool           `json:"duplicate,omitempty"`
	Stream    string         `json:"stream,omitempty"`
	Seq       uint64         `json:"seq,omitempty"`
	Epoch     string         `json:"epoch,omitempty"`
	After     *uint64        `json:"after,omitempty"`
	Recovered *bool          `json:"recovered,omitempty"`
	Reset     bool           `json:"reset,omitempty"`
	Gap       *core.Range    `json:"gap,omitempty"`
	From      uint64         `json:"from,omitempty"` // of a gap
	To        uint64         `json:"to,omitempty"`
	Count     *int           `json:"count,omitempty"`
	Next      uint64         `json:"next,omitempty"`
	More      *bool          `json:"more,omitempty"`
	Bucket    string         `json:"bucket,omitempty"`
	Key       string         `json:"key,omitempty"`
	Revision  *uint64        `json:"revision,omitempty"`
	Time      string         `json:"time,omitempty"`
	Operation string         `json:"operation,omitempty"`
	Keys      *[]string      `json:"keys,omitempty"`
	Subject   string         `json:"subject,omitempty"`
	Member    *core.Member   `json:"member,omitempty"`
	Members   *[]core.Member `json:"members,omitempty"`

	payload []byte // of a key's value; nil: none
}

// limitsDoc tells a client its bounds.
type limitsDoc struct {
	Message       int   `json:"message"`
	Frame         int64 `json:"frame"`
	Subscriptions int   `json:"subscriptions"`
	Consumers     int   `json:"consumers"`
	Requests      int   `json:"requests"`
	Unacked       int   `json:"unacked"`
	Cursors       int   `json:"cursors"`
	Batch         int   `json:"batch"`
}

func ok(id string) answer { return answer{Op: "ok", ID: id} }

// weight is about the bytes of what an answer carries.
func (a *answer) weight() int {
	n := len(a.Detail) + len(a.payload)
	if a.Keys != nil {
		for _, key := range *a.Keys {
			n += len(key) + keyOverhead
		}
	}
	if a.Members != nil {
		n += len(*a.Members) * memberWeight
	}
	return n
}

// source says where a stored message comes from, and whom it is for. Many messages share one.
type source struct {
	tenant  string
	stream  string
	created time.Time // of the stream
	asked   bool      // by a request, whose id is the item's name; else it is a sid
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
	dst = appendData(dst, m.Data)
	return append(dst, '}')
}

// appendHeader appends a message's headers but for the gateway's own marks.
func appendHeader(dst []byte, h core.Header) []byte {
	names := shownHeaders(h)
	if len(names) == 0 {
		return dst
	}
	dst = append(dst, `,"headers":{`...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, name), ':')
		dst = appendValues(dst, h[name])
	}
	return append(dst, '}')
}

// shownHeaders are the names of the headers that clients see, in order.
func shownHeaders(h core.Header) []string {
	if len(h) == 0 {
		return nil
	}
	names := make([]string, 0, len(h))
	for name, values := range h {
		if len(values) > 0 && !strings.EqualFold(name, core.HeaderOrigin) && !strings.EqualFold(name, core.HeaderAMQP) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
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
