package httpapi

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"portico/core"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"github.com/gin-gonic/gin"
)

// What an event is called that was none when it was published.
const (
	plainEventType   = "portico.message"
	subjectURN       = "urn:portico:subject:"
	plainEventSource = "urn:portico:message" // of a message without a subject
	extensionSubject = "porticosubject"      // the subject on the bus
	extensionPacked  = "contentencoding"     // how the payload is packed
	maxExtension     = 20                    // characters of the name of a header that becomes an extension
)

// wantsEvents tells whether a client would rather have messages as events.
func wantsEvents(c *gin.Context) bool { return wants(c, eventType) || wants(c, eventBatchType) }

// structured is a message as an event in JSON format, in one line. id is that of one that was no event and has no id, "" for one that nobody can guess;
// extensions are added.
func structured(m *core.Message, id string, extensions map[string]string) ([]byte, error) {
	e := eventOfMessage(m, id)
	if m.Subject != "" {
		e.SetExtension(extensionSubject, m.Subject)
	}
	for name, value := range extensions {
		e.SetExtension(name, value)
	}
	if packed := m.Header.Get(core.HeaderContentEncoding); packed != "" {
		e.SetExtension(extensionPacked, packed)
	}
	if len(m.Data) > 0 && e.DataContentType() == "" && !json.Valid(m.Data) {
		e.SetDataContentType("application/octet-stream") // without a type the data would have to be JSON
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, err
	}
	out := bytes.TrimRight(b.Bytes(), "\n")
	return appendData(out, e.DataContentType(), m.Data)
}

// appendData adds the data to an event that has none: as JSON, as text, or in base64, whichever keeps its bytes. JSON loses the white space between its
// values: the event is one line.
func appendData(event []byte, contentType string, data []byte) ([]byte, error) {
	if len(data) == 0 {
		return event, nil
	}
	b := bytes.NewBuffer(event[:len(event)-1]) // the brace goes behind the data
	switch {
	case isJSON(contentType) && json.Valid(data) && utf8.Valid(data):
		b.WriteString(`,"data":`)
		if err := json.Compact(b, data); err != nil {
			return nil, err
		}
	case !isJSON(contentType) && utf8.Valid(data):
		text, err := json.Marshal(string(data))
		if err != nil {
			return nil, err
		}
		b.WriteString(`,"data":`)
		b.Write(text)
	default:
		b.WriteString(`,"data_base64":"`)
		b.Grow(base64.StdEncoding.EncodedLen(len(data)) + 2)
		b.Write(base64.StdEncoding.AppendEncode(b.AvailableBuffer(), data))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// eventOfMessage returns the event that a message is, or one made of what it has.
func eventOfMessage(m *core.Message, id string) cloudevents.Event {
	if m.Header.Get(cePrefix+"specversion") != "" {
		if e, err := binaryEvent(m.Header); err == nil {
			return e.attributes
		}
	}
	return plainEvent(m, id)
}

// plainEvent makes an event of a message that is none. docs/http.md has the table.
func plainEvent(m *core.Message, id string) cloudevents.Event {
	e := cloudevents.New()
	e.SetID(firstOf(m.Header.Get(core.HeaderMessageID), m.Header.Get(headerMsgID), id, rand.Text()))
	e.SetType(firstOf(m.Header.Get(core.HeaderType), plainEventType))
	e.SetSource(plainEventSource)
	if m.Subject != "" {
		e.SetSource(subjectURN + url.PathEscape(m.Subject))
	}
	if seconds, err := strconv.ParseInt(m.Header.Get(core.HeaderTimestamp), 10, 64); err == nil && seconds < 1<<37 {
		e.SetTime(time.Unix(seconds, 0).UTC())
	}
	if contentType := m.Header.Get(core.HeaderContentType); contentType != "" {
		e.SetDataContentType(contentType)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Header)) {
		lower, values := strings.ToLower(name), m.Header[name]
		_, standard := standardAttributes()[lower]
		if attributeName(lower) && len(lower) <= maxExtension && !standard && len(values) == 1 && utf8.ValidString(values[0]) {
			e.SetExtension(lower, values[0])
		}
	}
	if e.Validate() != nil { // a content type that is none, an id of blanks
		return legalEvent(e)
	}
	return e
}

// legalEvent replaces what is not legal by what says nothing.
func legalEvent(e cloudevents.Event) cloudevents.Event {
	plain := cloudevents.New()
	plain.SetID(firstOf(strings.TrimSpace(e.ID()), rand.Text()))
	plain.SetType(firstOf(strings.TrimSpace(e.Type()), plainEventType))
	plain.SetSource(e.Source())
	plain.SetTime(e.Time())
	plain.SetDataContentType("application/octet-stream")
	for name, value := range e.Extensions() {
		plain.SetExtension(name, value)
	}
	return plain
}

// firstOf returns the first that is not blank.
func firstOf(all ...string) string {
	for _, text := range all {
		if strings.TrimSpace(text) != "" {
			return text
		}
	}
	return ""
}

// asEvent answers with one message as a structured event.
func (a *Adapter) asEvent(c *gin.Context, m *core.Message) {
	body, err := structured(m, "", nil)
	if err != nil {
		a.fail(c, err)
		return
	}
	a.metrics.Out.Inc()
	a.metrics.BytesOut.Add(float64(len(m.Data)))
	c.Data(http.StatusOK, eventType, append(body, '\n'))
}

// writeEvents writes a fetch's answer as a batch of events, one by one. What settles each stands in its extensions.
func (a *Adapter) writeEvents(c *gin.Context, messages []fetched) error {
	c.Header("Content-Type", eventBatchType)
	c.Status(http.StatusOK)
	separator := "["
	for _, m := range messages {
		event, err := structured(m.message, "", map[string]string{
			"porticotoken": m.Token, "porticoattempt": strconv.FormatUint(uint64(m.Attempt), 10), "porticoredelivered": strconv.FormatBool(m.Redelivered),
		})
		if err != nil {
			return err
		}
		if _, err := c.Writer.Write(append([]byte(separator), event...)); err != nil {
			return err
		}
		separator = ",\n"
		a.metrics.Out.Inc()
		a.metrics.BytesOut.Add(float64(len(m.message.Data)))
	}
	if len(messages) == 0 {
		_, err := c.Writer.WriteString("[]\n")
		return err
	}
	_, err := c.Writer.WriteString("]\n")
	return err
}

// storedEvent is a message of a stream as an event: its place is the extension sequence [CloudEvents extension "sequence"], and names it where it has no id.
func storedEvent(stream string, m *core.StoredMessage) (json.RawMessage, error) {
	place := strconv.FormatUint(m.Sequence, 10)
	return structured(&m.Message, stream+":"+place, map[string]string{"sequence": place})
}

// stored is a message of a stream as this client wants it.
func (s *eventStream) stored(m *core.StoredMessage) any {
	if !s.events {
		return storedOf(m)
	}
	event, err := storedEvent(s.stream, m)
	if err != nil {
		return storedOf(m) // text and bytes: there is nothing that could not be encoded
	}
	return event
}

// encoded is a frame as this client wants it.
func (s *eventStream) encoded(x *frame) []byte {
	switch {
	case !s.events:
		return x.encoded(s.lines)
	case s.lines:
		x.eventLine.once.Do(func() { x.eventLine.text = encodeEvent("", x.message, "\n") })
		return x.eventLine.text
	}
	x.event.once.Do(func() { x.event.text = encodeEvent("event: message\ndata: ", x.message, "\n\n") })
	return x.event.text
}

// encodeEvent is m as an event between before and after.
func encodeEvent(before string, m *core.Message, after string) []byte {
	event, err := structured(m, "", nil)
	if err != nil {
		return nil // text and bytes: there is nothing that could not be encoded
	}
	return slices.Concat([]byte(before), event, []byte(after))
}
