package amqp

import (
	"bytes"
	"encoding/base64"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
)

// Translator reads records of core.FormAMQP for the other doors. It implements core.Translator and core.DeathTranslator.
type Translator struct{}

var (
	_ core.Translator      = Translator{}
	_ core.DeathTranslator = Translator{}
)

// Subject is where a message published over AMQP is on the bus: "" for the default exchange.
func (Translator) Subject(props []byte) string {
	exchange, key, _, _ := splitProps(props)
	return exchangeSubject(string(exchange), string(key))
}

// Header is what text headers can say of a property list.
func (Translator) Header(props []byte) core.Header {
	_, _, raw, ok := splitProps(props)
	if !ok {
		return core.Header{}
	}
	p, err := wire.DecodeProperties(raw)
	if err != nil {
		return core.Header{}
	}
	return propertiesHeader(&p)
}

// Death notes a death in a queue that dead-letters to a queue or a subject, as Bury does for exchanges.
func (Translator) Death(props []byte, queue, reason string, _ uint32, at time.Time) []byte {
	exchange, key, raw, ok := splitProps(props)
	p, err := wire.DecodeProperties(raw)
	if !ok || err != nil {
		return props
	}
	blind := blindKeys(props)
	p = broker.DeadLetter(p, broker.Death{
		Queue: queue, Reason: reason, Exchange: string(exchange), Keys: routedBy(string(key), &p, blind), Blind: blind, At: at,
	})
	return p.Append(appendBlind(appendRoute(nil, exchange, key), blind))
}

// routedBy are the keys that a message was routed by: the one it was published with, CC and BCC.
func routedBy(key string, p *wire.Properties, blind []string) []string {
	keys := []string{key}
	if cc, ok := p.Headers["CC"].([]any); ok {
		for _, key := range cc {
			if s, isText := key.(string); isText {
				keys = append(keys, s[:min(len(s), 255)])
			}
		}
	}
	return append(keys, blind...)
}

// textProperty is a property that is a short string on one side and a header on the other.
type textProperty struct {
	header string
	field  func(*wire.Properties) *string
	flag   uint16
}

// textProperties pair the properties that are text. reply_to is among them unless it is direct reply-to, which is the message's Reply.
var textProperties = []textProperty{
	{core.HeaderContentType, func(p *wire.Properties) *string { return &p.ContentType }, wire.FlagContentType},
	{core.HeaderContentEncoding, func(p *wire.Properties) *string { return &p.ContentEncoding }, wire.FlagContentEncoding},
	{core.HeaderCorrelationID, func(p *wire.Properties) *string { return &p.CorrelationID }, wire.FlagCorrelationID},
	{core.HeaderReplyTo, func(p *wire.Properties) *string { return &p.ReplyTo }, wire.FlagReplyTo},
	{core.HeaderExpiration, func(p *wire.Properties) *string { return &p.Expiration }, wire.FlagExpiration},
	{core.HeaderMessageID, func(p *wire.Properties) *string { return &p.MessageID }, wire.FlagMessageID},
	{core.HeaderType, func(p *wire.Properties) *string { return &p.Type }, wire.FlagType},
	{core.HeaderUserID, func(p *wire.Properties) *string { return &p.UserID }, wire.FlagUserID},
	{core.HeaderAppID, func(p *wire.Properties) *string { return &p.AppID }, wire.FlagAppID},
}

// propertiesHeader is the readable header of a property list. What text cannot say is left out: cluster_id, table values that are neither scalars nor
// lists of text, values of more than one line or with blanks around them, names that are no header names or the gateway's own.
func propertiesHeader(p *wire.Properties) core.Header {
	h := make(core.Header, len(p.Headers)+4)
	for _, t := range textProperties {
		if v := *t.field(p); p.Has(t.flag) && readable(v) && (t.flag != wire.FlagReplyTo || !strings.HasPrefix(v, directReplyTo)) {
			h[t.header] = []string{v}
		}
	}
	if p.Has(wire.FlagDeliveryMode) {
		h[core.HeaderDeliveryMode] = []string{strconv.Itoa(int(p.DeliveryMode))}
	}
	if p.Has(wire.FlagPriority) {
		h[core.HeaderPriority] = []string{strconv.Itoa(int(p.Priority))}
	}
	if p.Has(wire.FlagTimestamp) {
		h[core.HeaderTimestamp] = []string{strconv.FormatInt(p.Timestamp.Unix(), 10)}
	}
	for name, v := range p.Headers {
		if values := headerValues(v); len(values) > 0 && headerName(name) {
			h[name] = values
		}
	}
	return h
}

// headerName tells whether a table key may be a header: a token, and not one that means something to the gateway or its bus.
func headerName(name string) bool {
	if name == "" {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	for _, prefix := range []string{"Portico-", "Nats-", "Nmqtt-"} {
		if strings.HasPrefix(canonical, prefix) {
			return false
		}
	}
	return canonical != core.HeaderContentType && canonical != core.HeaderContentEncoding && canonical != "Kv-Operation"
}

// readable tells whether a value survives as a header line.
func readable(v string) bool {
	return !strings.ContainsAny(v, "\r\n\x00") && strings.TrimSpace(v) == v && utf8.ValidString(v)
}

// headerValues is a table value as header values, nil if there is no honest way to write it.
func headerValues(v any) []string {
	if list, ok := v.([]any); ok {
		values := make([]string, 0, len(list))
		for _, item := range list {
			s, isText := item.(string)
			if !isText || !readable(s) {
				return nil
			}
			values = append(values, s)
		}
		return values
	}
	if s, ok := scalar(v); ok && readable(s) {
		return []string{s}
	}
	return nil
}

func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case int8:
		return strconv.FormatInt(int64(v), 10), true
	case int16:
		return strconv.FormatInt(int64(v), 10), true
	case int32:
		return strconv.FormatInt(int64(v), 10), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint8:
		return strconv.FormatUint(uint64(v), 10), true
	case uint16:
		return strconv.FormatUint(uint64(v), 10), true
	case uint32:
		return strconv.FormatUint(uint64(v), 10), true
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case time.Time:
		return v.UTC().Format(time.RFC3339), true
	}
	return "", false
}

// headerProperties is the property list of a header: its own properties for the headers that have them, the headers table for the rest, one value as a long string,
// several as an array of them. What does not fit its property stays in the table under its header's name.
func headerProperties(h core.Header) wire.Properties {
	var p wire.Properties
	types := core.TypesIn(h)
	for name, values := range h {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		switch {
		case len(values) == 0, canonical == core.HeaderAMQP, canonical == core.HeaderOrigin, canonical == core.HeaderTypes:
		case len(values) == 1 && setProperty(&p, canonical, values[0]):
		case len(name) > 255:
		default:
			if p.Headers == nil {
				p.Headers = wire.Table{}
			}
			p.Headers[name] = tableValue(values, types[name])
		}
	}
	return p
}

// tableValue is what the values of a header are in a table: of the type that letter (0: none) says, if they fit it.
func tableValue(values []string, letter byte) any {
	if len(values) == 1 {
		if v, ok := typedTableValue(letter, values[0]); ok {
			return v
		}
		return values[0]
	}
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	return list
}

// setProperty sets the property that header name is for; false: there is none, or value does not fit it.
func setProperty(p *wire.Properties, name, value string) bool {
	number := func(bits int) (uint64, bool) {
		n, err := strconv.ParseUint(value, 10, bits)
		return n, err == nil
	}
	switch name {
	case core.HeaderDeliveryMode:
		n, ok := number(8)
		p.DeliveryMode = uint8(n)
		return ok && n > 0
	case core.HeaderPriority:
		n, ok := number(8)
		if ok {
			p.Priority, p.Flags = uint8(n), p.Flags|wire.FlagPriority
		}
		return ok
	case core.HeaderTimestamp:
		n, err := strconv.ParseInt(value, 10, 64)
		if err == nil {
			p.Timestamp, p.Flags = time.Unix(n, 0).UTC(), p.Flags|wire.FlagTimestamp
		}
		return err == nil
	}
	i := slices.IndexFunc(textProperties, func(t textProperty) bool { return t.header == name })
	if i < 0 || len(value) > 255 {
		return false
	}
	*textProperties[i].field(p) = value
	p.Flags |= textProperties[i].flag
	return true
}

// maxRawHeader bounds the property list that travels beside its readable form; a larger one is not sent along.
const maxRawHeader = 32 << 10

// liveMessage is a record of this door as it goes over the bus: readable headers, and beside them the property list itself when they do not say all of it.
func liveMessage(subject string, record []byte) (*core.Message, error) {
	e, err := core.OpenEnvelope(record)
	if err != nil {
		return nil, err
	}
	_, _, raw, _ := splitProps(e.Props)
	p, err := wire.DecodeProperties(raw)
	if err != nil {
		return nil, err
	}
	h := propertiesHeader(&p)
	again := headerProperties(h)
	if len(raw) <= maxRawHeader && !bytes.Equal(again.Append(nil), raw) {
		h[core.HeaderAMQP] = []string{base64.StdEncoding.EncodeToString(raw)}
		for _, v := range tableTypes(p.Headers) {
			if len(h[v.Name]) == 1 { // it is there in its readable form
				h[core.HeaderTypes] = append(h[core.HeaderTypes], v.Mark())
			}
		}
	}
	return &core.Message{Subject: subject, Reply: string(e.Reply), Header: h, Data: e.Data}, nil
}

// intactProperties is the property list that came beside a readable header, nil when there is none, or when the header has been changed since and no longer is
// its readable form.
func intactProperties(h core.Header) []byte {
	encoded := h[core.HeaderAMQP]
	if len(encoded) != 1 {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(encoded[0])
	if err != nil || len(raw) < 2 {
		return nil
	}
	p, err := wire.DecodeProperties(raw)
	if err != nil {
		return nil
	}
	want := propertiesHeader(&p)
	for name, values := range h {
		if name == core.HeaderAMQP || name == core.HeaderOrigin || name == core.HeaderTypes {
			continue
		}
		if !slices.Equal(values, want[name]) {
			return nil
		}
		delete(want, name)
	}
	if len(want) > 0 {
		return nil
	}
	return raw
}
