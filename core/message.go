package core

import (
	"encoding/binary"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"portico/core/queue"
)

// Header holds a message's text headers. Names keep the case they came with; look-ups ignore case.
// Values are single lines: no CR, LF or NUL.
type Header map[string][]string

// Get returns the first value of name, in whatever case it is stored, or "".
func (h Header) Get(name string) string {
	if v := h.Values(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Values returns all values of name, in whatever case it is stored. The slice belongs to h.
func (h Header) Values(name string) []string {
	if v, ok := h[name]; ok {
		return v
	}
	want := textproto.CanonicalMIMEHeaderKey(name)
	for k, v := range h {
		if textproto.CanonicalMIMEHeaderKey(k) == want {
			return v
		}
	}
	return nil
}

// Set replaces name's values by one value.
func (h Header) Set(name, value string) {
	h.Del(name)
	h[name] = []string{value}
}

// Add appends a value to name.
func (h Header) Add(name, value string) { h[name] = append(h[name], value) }

// Del removes name in whatever case it is stored.
func (h Header) Del(name string) {
	want := textproto.CanonicalMIMEHeaderKey(name)
	for k := range h {
		if textproto.CanonicalMIMEHeaderKey(k) == want {
			delete(h, k)
		}
	}
}

// Header names that every door maps to its own fields (the table is in docs/architecture.md).
const (
	HeaderContentType        = "Content-Type"
	HeaderContentEncoding    = "Content-Encoding"
	HeaderMessageID          = "Portico-Message-Id"
	HeaderCorrelationID      = "Portico-Correlation-Id"
	HeaderType               = "Portico-Type"
	HeaderAppID              = "Portico-App-Id"
	HeaderUserID             = "Portico-User-Id"
	HeaderTimestamp          = "Portico-Timestamp"           // seconds since 1970, decimal
	HeaderExpiration         = "Portico-Expiration"          // milliseconds, decimal
	HeaderPriority           = "Portico-Priority"            // 0..255, decimal
	HeaderDeliveryMode       = "Portico-Delivery-Mode"       // 1 or 2
	HeaderReplyTo            = "Portico-Reply-To"            // an AMQP reply_to that names a queue, not a subject
	HeaderOrigin             = "Portico-Origin"              // reserved for gateways; taken off whatever comes in
	HeaderOriginalExpiration = "Portico-Original-Expiration" // of a message that died
	HeaderAMQP               = "Portico-Amqp"                // base64 of the AMQP property list, beside its readable form
	HeaderTypes              = "Portico-Types"               // what other headers are beside text: a value letter:name for each, with AMQP's letters
	HeaderDeadline           = "Portico-Deadline"            // of a request: until when an answer is waited for, milliseconds since 1970, decimal
	HeaderCancel             = "Portico-Cancel"              // of a request: the inbox where an empty message says that nobody waits any more
)

// Message is what travels: immutable once published. The payload is never rewritten.
type Message struct {
	Subject string // where it was published; "" when it was appended to a queue directly
	Reply   string // subject that an answer goes to; "" when none is wanted
	Header  Header
	Data    []byte
}

// Form names the encoding of an Envelope's properties. A message is stored in the form it came in and converted only
// when a door of another form reads it.
type Form uint8

// The forms.
const (
	FormText Form = 0 // properties are a Header, as AppendHeader writes it
	FormAMQP Form = 1 // properties are exchange, routing key and the content header's property list, as adapters/amqp writes them
)

// Envelope is an encoded message, split into its parts: what queues keep. All slices point into the bytes it was opened from.
//
//	form     1 octet
//	subject  uvarint length, bytes
//	reply    uvarint length, bytes
//	props    uvarint length, bytes
//	data     the rest
type Envelope struct {
	Form    Form
	Subject []byte
	Reply   []byte
	Props   []byte
	Data    []byte
}

// AppendEnvelope appends everything of an envelope but its data to dst; the caller appends the data behind it.
func AppendEnvelope(dst []byte, form Form, subject, reply string, props []byte) []byte {
	dst = append(dst, byte(form))
	dst = binary.AppendUvarint(dst, uint64(len(subject)))
	dst = append(dst, subject...)
	dst = binary.AppendUvarint(dst, uint64(len(reply)))
	dst = append(dst, reply...)
	dst = binary.AppendUvarint(dst, uint64(len(props)))
	return append(dst, props...)
}

// OpenEnvelope splits record. The parts point into it.
func OpenEnvelope(record []byte) (Envelope, error) {
	if len(record) == 0 {
		return Envelope{}, Errorf(CodeInternal, "empty record")
	}
	e := Envelope{Form: Form(record[0])}
	rest := record[1:]
	for _, part := range []*[]byte{&e.Subject, &e.Reply, &e.Props} {
		n, w := binary.Uvarint(rest)
		if w <= 0 || n > uint64(len(rest)-w) {
			return Envelope{}, Errorf(CodeInternal, "truncated record")
		}
		*part = rest[w : w+int(n) : w+int(n)]
		rest = rest[w+int(n):]
	}
	e.Data = rest
	return e, nil
}

// Seal encodes m in the text form: one allocation that the caller owns.
func Seal(m *Message) []byte {
	props := AppendHeader(nil, m.Header)
	dst := make([]byte, 0, 1+4*binary.MaxVarintLen32+len(m.Subject)+len(m.Reply)+len(props)+len(m.Data))
	return append(AppendEnvelope(dst, FormText, m.Subject, m.Reply, props), m.Data...)
}

// SealRecord is m as a queue takes it: Seal, with the time it may wait and its priority. Values that mean nothing are passed over; Publish and Append refuse them.
func SealRecord(m *Message) queue.Record {
	ttl, priority, _ := timing(m.Header)
	return queue.Record{Data: Seal(m), TTL: ttl, Priority: priority}
}

// timing reads expiration and priority. CodeInvalid.
func timing(h Header) (ttl queue.Bound, priority uint8, err error) {
	for name, values := range h {
		switch {
		case len(values) != 1:
		case strings.EqualFold(name, HeaderExpiration):
			n, bad := strconv.ParseUint(values[0], 10, 63)
			if bad != nil || n > maxMillis {
				err = Errorf(CodeInvalid, "%s %q: want milliseconds, at most %d", HeaderExpiration, values[0], int64(maxMillis))
				continue
			}
			ttl = queue.AtMost(int64(n))
		case strings.EqualFold(name, HeaderPriority):
			n, bad := strconv.ParseUint(values[0], 10, 8)
			if bad != nil {
				err = Errorf(CodeInvalid, "%s %q: want a number up to 255", HeaderPriority, values[0])
				continue
			}
			priority = uint8(n)
		}
	}
	return ttl, priority, err
}

// AppendHeader appends h in the text form: count, then for each name (sorted) its length and bytes, the number of its
// values and each value's length and bytes, all numbers uvarint.
func AppendHeader(dst []byte, h Header) []byte {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, name := range names {
		dst = appendString(dst, name)
		dst = binary.AppendUvarint(dst, uint64(len(h[name])))
		for _, value := range h[name] {
			dst = appendString(dst, value)
		}
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// DecodeHeader reads what AppendHeader wrote.
func DecodeHeader(props []byte) (Header, error) {
	r := headerReader{rest: props}
	n := r.count()
	h := make(Header, min(n, 64))
	for range n {
		name := r.text()
		values := make([]string, 0, 1)
		for range r.count() {
			values = append(values, r.text())
		}
		if r.bad {
			return nil, Errorf(CodeInternal, "malformed header record")
		}
		h[name] = values
	}
	return h, nil
}

type headerReader struct {
	rest []byte
	bad  bool
}

// count reads a number of things that need at least one octet each, so a lie cannot make us allocate.
func (r *headerReader) count() int {
	n, w := binary.Uvarint(r.rest)
	if w <= 0 || n > uint64(len(r.rest)-w) {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[w:]
	return int(n)
}

func (r *headerReader) text() string {
	n := r.count()
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}
