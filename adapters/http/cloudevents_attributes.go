package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"portico/core"

	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/binding/spec"
	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/cloudevents/sdk-go/v2/types"
)

// A CloudEvent travels as its binary form: attributes are message headers ce-…, percent-encoded as the HTTP and NATS bindings have it; datacontenttype
// is Content-Type, and the data is the payload,
// byte for byte.

const (
	eventType      = cloudevents.ApplicationCloudEventsJSON      // one event, structured
	eventBatchType = cloudevents.ApplicationCloudEventsBatchJSON // several
	cePrefix       = "ce-"
	maxAttribute   = 4 << 10 // bytes of one attribute, as it is written in a header
)

// cloudEvent is an event's attributes and its data.
type cloudEvent struct {
	attributes cloudevents.Event
	data       []byte
}

// attributeName tells whether an attribute can be called so [spec 3]; specversion and the two forms of data are no extensions.
func attributeName(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") == "" && name != "data"
}

// binaryEvent reads the attributes of an event whose data is a body, from headers as HTTP has them or as a message has them. What cannot be an attribute
// is refused.
func binaryEvent(header map[string][]string) (e cloudEvent, err error) {
	in := http.Header{}
	for name, values := range header {
		lower := strings.ToLower(name)
		attribute, ours := strings.CutPrefix(lower, cePrefix)
		switch {
		case lower == "content-type" && len(values) == 1 && values[0] != "":
			in.Set(cehttp.ContentType, values[0])
		case !ours || attribute == "datacontenttype": // the binding has it in Content-Type
		case !attributeName(attribute):
			return e, badField("header."+name, "ce- and the name of an attribute: a to z and digits", "")
		case len(values) != 1:
			return e, badField("header."+name, "one value", strconv.Itoa(len(values))+" values")
		default:
			value, ok := decodeAttribute(values[0])
			if !ok {
				return e, badField("header."+name, "text in UTF-8, percent-encoded", values[0])
			}
			in[textproto.CanonicalMIMEHeaderKey(lower)] = []string{value}
		}
	}
	if v := in.Get("Ce-Specversion"); v != cloudevents.CloudEventsVersionV1 {
		return e, badField("header.ce-specversion", "1.0", v)
	}
	return checkedEvent(cehttp.NewMessage(in, nil), "header.ce-", in.Get("Ce-Dataschema"))
}

// checkedEvent is the SDK's reading of a message, held against the specification. schema is what the message calls its dataschema: one that is no URI
// the SDK drops without a word.
func checkedEvent(m *cehttp.Message, at, schema string) (e cloudEvent, err error) {
	read, err := binding.ToEvent(context.Background(), m)
	if err != nil {
		return e, inField(core.Errorf(core.CodeInvalid, "the event's attributes cannot be read: %v", err), strings.TrimSuffix(at, ".ce-"), "attributes as CloudEvents 1.0 has them", "")
	}
	if err := read.Validate(); err != nil {
		return e, invalidEvent(err, at)
	}
	if schema != "" && read.DataSchema() == "" {
		return e, badField(at+"dataschema", "an absolute URI", schema)
	}
	return cloudEvent{attributes: *read}, nil
}

// invalidEvent names the attributes that are not as they have to be.
func invalidEvent(err error, at string) error {
	known, ok := errors.AsType[cloudevents.ValidationError](err)
	if !ok {
		return core.Errorf(core.CodeInvalid, "the event is not valid: %v", err)
	}
	r := &refusal{err: core.Errorf(core.CodeInvalid, "the event has no legal %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		r.fields = append(r.fields, violation{Field: at + name, Expected: known[name].Error()})
	}
	return r
}

// structuredEvent reads an event in its JSON format [JSON 3]. at is where it stands, such as "body" or "body[3]". The SDK gets the attributes alone: the
// data is taken as it is
// written, and what the SDK would take for something else, or fall over, is refused before.
func structuredEvent(document []byte, at string) (e cloudEvent, err error) {
	var members map[string]json.RawMessage
	if !utf8.Valid(document) {
		return e, badField(at, "UTF-8", "")
	}
	if err := json.Unmarshal(document, &members); err != nil || members == nil {
		return e, badField(at, "an event: a JSON object", "")
	}
	data, base64d := members["data"], members["data_base64"]
	delete(members, "data")
	delete(members, "data_base64")
	for name, value := range members {
		if string(value) == "null" {
			delete(members, name)
			continue
		}
		if err := checkMember(at, name, value); err != nil {
			return e, err
		}
	}
	if v := string(members["specversion"]); v != `"1.0"` {
		return e, badField(at+".specversion", `"1.0"`, v)
	}
	attributes, err := json.Marshal(members)
	if err != nil {
		return e, err
	}
	m := cehttp.NewMessage(http.Header{cehttp.ContentType: {eventType}}, io.NopCloser(bytes.NewReader(attributes)))
	var schema string
	if json.Unmarshal(members["dataschema"], &schema) != nil {
		schema = ""
	}
	if e, err = checkedEvent(m, at+".", schema); err != nil {
		return e, err
	}
	e.data, err = eventData(e.attributes.DataContentType(), data, base64d, at)
	return e, err
}

// checkMember checks one attribute of the JSON format: text, a truth value or a whole number of 32 bits.
func checkMember(at, name string, value json.RawMessage) error {
	field := at + "." + strings.ToValidUTF8(name, "\uFFFD")
	if !attributeName(name) {
		return badField(field, "attributes whose names are a to z and digits", "")
	}
	switch value[0] {
	case '"':
		var text string
		if json.Unmarshal(value, &text) != nil || len(encodeAttribute(text)) > maxAttribute {
			return badField(field, fmt.Sprintf("text of at most %d bytes, percent-encoded", maxAttribute), "")
		}
		return nil
	case 't', 'f':
		if _, standard := standardAttributes()[name]; standard {
			return badField(field, "text", string(value))
		}
		return nil
	case '{', '[':
		return badField(field, "text, a whole number or a truth value", "")
	}
	_, err := strconv.ParseInt(string(value), 10, 32)
	if _, standard := standardAttributes()[name]; err != nil || standard {
		return badField(field, "text, or for an extension a whole number of 32 bits", string(value))
	}
	return nil
}

// standardAttributes are those of the specification: all of them text.
func standardAttributes() map[string]struct{} {
	return map[string]struct{}{"id": {}, "source": {}, "type": {}, "specversion": {}, "datacontenttype": {}, "dataschema": {}, "subject": {}, "time": {}}
}

// eventData is the payload that an event in JSON format has [JSON 3.1].
func eventData(contentType string, data, base64d json.RawMessage, at string) ([]byte, error) {
	switch {
	case data != nil && base64d != nil:
		return nil, badField(at+".data", "data or data_base64, not both", "")
	case base64d != nil:
		var text string
		if json.Unmarshal(base64d, &text) != nil || base64d[0] != '"' {
			return nil, badField(at+".data_base64", "text in base64", "")
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, badField(at+".data_base64", "text in base64", "")
		}
		return b, nil
	case data == nil || isJSON(contentType):
		return data, nil
	}
	var text string
	if data[0] != '"' || json.Unmarshal(data, &text) != nil {
		return nil, badField(at+".data", "text, because datacontenttype is not JSON", "")
	}
	return []byte(text), nil
}

// isJSON tells whether data of this type is JSON; none means JSON in this format.
func isJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	name, _, err := mime.ParseMediaType(contentType)
	_, subtype, _ := strings.Cut(name, "/")
	return err == nil && (subtype == "json" || strings.HasSuffix(subtype, "+json"))
}

// header is the event as message headers.
func (e *cloudEvent) header() (core.Header, error) {
	w := headerWriter{}
	if _, err := binding.Write(context.Background(), (*binding.EventMessage)(&e.attributes), nil, w); err != nil {
		return nil, inField(core.Errorf(core.CodeInvalid, "the event's attributes cannot be written as headers: %v", err), "body", "attributes as CloudEvents 1.0 has them", "")
	}
	for name, values := range w {
		if len(values[0]) > maxAttribute {
			return nil, badField(name, fmt.Sprintf("at most %d bytes, percent-encoded", maxAttribute), "")
		}
	}
	return core.Header(w), nil
}

// headerWriter is a message's header to the SDK.
type headerWriter map[string][]string

// Start implements binding.BinaryWriter.
func (w headerWriter) Start(context.Context) error { return nil }

// SetAttribute implements binding.BinaryWriter.
func (w headerWriter) SetAttribute(a spec.Attribute, value any) error {
	if a.Kind() != spec.DataContentType {
		return w.SetExtension(a.Name(), value)
	}
	text, err := types.Format(value)
	w[core.HeaderContentType] = []string{text}
	return err
}

// SetExtension implements binding.BinaryWriter.
func (w headerWriter) SetExtension(name string, value any) error {
	text, err := types.Format(value)
	w[cePrefix+name] = []string{encodeAttribute(text)}
	return err
}

// SetData implements binding.BinaryWriter. The payload does not go through the SDK.
func (w headerWriter) SetData(io.Reader) error { return nil }

// End implements binding.BinaryWriter.
func (w headerWriter) End(context.Context) error { return nil }

// encodeAttribute writes a value as a header has it [HTTP 3.1.3.2]: blank, double quote, per cent and whatever is not printable ASCII as percent-encoded UTF-8.
func encodeAttribute(value string) string {
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// escapes are what is percent-encoded; a lone per cent is itself.
var escapes = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// decodeAttribute reads a header's value [HTTP 3.1.3.2]: quotes around it are HTTP's own and go first.
func decodeAttribute(text string) (string, bool) {
	if len(text) > maxAttribute {
		return "", false
	}
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = unquoted(text[1 : len(text)-1])
	}
	text = escapes.ReplaceAllStringFunc(text, func(x string) string {
		n, _ := strconv.ParseUint(x[1:], 16, 8) // it is hexadecimal: the expression says so
		return string([]byte{byte(n)})
	})
	return text, utf8.ValidString(text)
}

// unquoted takes the backslashes out of a quoted-string [RFC 9110 5.6.4].
func unquoted(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
