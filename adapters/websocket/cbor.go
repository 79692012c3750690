package websocket

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/core"

	"github.com/fxamacker/cbor/v2"
	"github.com/gorilla/websocket"
)

// ProtocolCBOR is the name of the binary subprotocol: the frames of Protocol as CBOR maps [RFC 8949], payloads as byte strings.
const ProtocolCBOR = "portico.v1.cbor"

const (
	maxNested   = 8    // levels of a frame
	maxElements = 4096 // of an array
	maxPairs    = 1024 // of a map
)

// cborWire is portico.v1.cbor. A client's frame is read as what it would be in JSON, all but its payload, so that there is one place that knows what frames may have.
type cborWire struct{ mode cbor.DecMode }

// newCBOR returns the wire. What it reads is bounded before memory is taken, has no tags, no indefinite lengths and no key twice.
func newCBOR() (cborWire, error) {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: maxNested, MaxArrayElements: maxElements, MaxMapPairs: maxPairs, IndefLength: cbor.IndefLengthForbidden,
		TagsMd: cbor.TagsForbidden, UTF8: cbor.UTF8RejectInvalid, DefaultMapType: reflect.TypeFor[map[string]any](), NaN: cbor.NaNDecodeForbidden, Inf: cbor.InfDecodeForbidden,
	}.DecMode()
	return cborWire{mode}, err
}

func (cborWire) name() string { return ProtocolCBOR }

func (cborWire) kind() int { return websocket.BinaryMessage }

func (w cborWire) decode(b []byte) (frame, error) {
	var fields map[string]cbor.RawMessage
	if err := w.mode.Unmarshal(b, &fields); err != nil {
		return frame{}, core.Errorf(core.CodeInvalid, "%s", cborError(err))
	}
	data, has := fields["data"]
	if _, text := fields["data_base64"]; text {
		return frame{}, core.Errorf(core.CodeInvalid, "data is a byte string here, and there is no data_base64")
	}
	delete(fields, "data")
	text, err := w.transcode(fields)
	if err != nil {
		return salvage(text), err
	}
	f, err := decodeFrame(text)
	if err != nil || !has {
		return f, err
	}
	if err := w.mode.Unmarshal(data, &f.data); err != nil {
		return f.known(), core.Errorf(core.CodeInvalid, "data is a byte string")
	}
	return f, nil
}

// transcode writes the fields of a frame as JSON. With an error it has the op and the id, if they can be read.
func (w cborWire) transcode(fields map[string]cbor.RawMessage) (text []byte, err error) {
	text = append(text, '{')
	names := slices.SortedFunc(maps.Keys(fields), func(a, b string) int { // op and id first
		if la, lb := len(a), len(b); la != lb {
			return la - lb
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		before := len(text)
		var v any
		err := w.mode.Unmarshal(fields[name], &v)
		if err == nil {
			if i > 0 {
				text = append(text, ',')
			}
			text, err = appendPlain(append(appendString(text, name), ':'), v)
		}
		if err != nil {
			return append(text[:before], '}'), core.Errorf(core.CodeInvalid, "field %q: %s", name, cborError(err))
		}
	}
	return append(text, '}'), nil
}

var (
	errBytes = errors.New("only data is a byte string")
	errPlain = errors.New("not a value that frames have")
)

// appendPlain appends what CBOR and JSON have in common as JSON.
func appendPlain(dst []byte, v any) (_ []byte, err error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case string:
		return appendString(dst, v), nil
	case uint64:
		return strconv.AppendUint(dst, v, 10), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case float64:
		return strconv.AppendFloat(dst, v, 'g', -1, 64), nil
	case []byte:
		return dst, errBytes
	case []any:
		return appendPlainList(dst, v)
	case map[string]any:
		return appendPlainMap(dst, v)
	}
	return dst, errPlain
}

func appendPlainList(dst []byte, list []any) (_ []byte, err error) {
	dst = append(dst, '[')
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendPlain(dst, list[i]); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendPlainMap(dst []byte, m map[string]any) (_ []byte, err error) {
	dst = append(dst, '{')
	for i, name := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendPlain(append(appendString(dst, name), ':'), m[name]); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// cborError is the library's word in one line that a client may see.
func cborError(err error) string {
	if errors.Is(err, errBytes) || errors.Is(err, errPlain) {
		return err.Error()
	}
	return "not CBOR as frames have it: " + strings.TrimPrefix(err.Error(), "cbor: ")
}

func (w cborWire) split(b []byte) (frames [][]byte, batch bool, err error) {
	if len(b) == 0 || b[0]>>5 != cborArray {
		return nil, false, nil
	}
	var list []cbor.RawMessage
	if err := w.mode.Unmarshal(b, &list); err != nil {
		return nil, true, core.Errorf(core.CodeInvalid, "%s", cborError(err))
	}
	if len(list) == 0 || len(list) > maxBatch {
		return nil, true, errBatch()
	}
	for i := range list {
		frames = append(frames, list[i])
	}
	return frames, true, nil
}

func (cborWire) listing(n int) (begin []byte, separator, end string) {
	return appendCBORHead(nil, cborArray, uint64(n)), "", ""
}

// The major types of CBOR that frames are made of.
const (
	cborUint  = 0
	cborBytes = 2
	cborText  = 3
	cborArray = 4
	cborMap   = 5
)

// appendCBORHead appends the beginning of an item [RFC 8949 3].
func appendCBORHead(dst []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n < 1<<8:
		return append(dst, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}

// appendCBORText appends a text string. Bytes that are not UTF-8 become U+FFFD.
func appendCBORText(dst []byte, s string) []byte {
	s = strings.ToValidUTF8(s, "\uFFFD")
	return append(appendCBORHead(dst, cborText, uint64(len(s))), s...)
}

func (cborWire) answer(dst []byte, a *answer) []byte {
	text, err := json.Marshal(a)
	var fields map[string]any
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		err = dec.Decode(&fields)
	}
	if err != nil { // see jsonWire.answer
		fields = map[string]any{"op": "err", "code": core.CodeInternal.String()}
	}
	n := len(fields)
	if a.payload != nil {
		n++
	}
	dst = appendCBORFields(appendCBORHead(dst, cborMap, uint64(n)), fields)
	if a.payload != nil {
		dst = append(appendCBORHead(appendCBORText(dst, "data"), cborBytes, uint64(len(a.payload))), a.payload...)
	}
	return dst
}

func appendCBORFields(dst []byte, fields map[string]any) []byte {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		dst = appendCBORValue(appendCBORText(dst, name), fields[name])
	}
	return dst
}

// appendCBORValue appends what came from JSON.
func appendCBORValue(dst []byte, v any) []byte {
	const simpleFalse, simpleTrue, simpleNull, double = 0xf4, 0xf5, 0xf6, 0xfb
	switch v := v.(type) {
	case string:
		return appendCBORText(dst, v)
	case bool:
		if v {
			return append(dst, simpleTrue)
		}
		return append(dst, simpleFalse)
	case json.Number:
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return appendCBORHead(dst, cborUint, n)
		}
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return appendCBORHead(dst, cborUint+1, uint64(-1-n))
		}
		x, _ := v.Float64() // out of range: infinite
		return binary.BigEndian.AppendUint64(append(dst, double), math.Float64bits(x))
	case []any:
		dst = appendCBORHead(dst, cborArray, uint64(len(v)))
		for i := range v {
			dst = appendCBORValue(dst, v[i])
		}
		return dst
	case map[string]any:
		return appendCBORFields(appendCBORHead(dst, cborMap, uint64(len(v))), v)
	}
	return append(dst, simpleNull)
}

// cborFields gathers the fields of a map, whose number comes before them.
type cborFields struct {
	n   uint64
	buf []byte
}

func (c *cborFields) text(name, value string) {
	if value != "" {
		c.n++
		c.buf = appendCBORText(appendCBORText(c.buf, name), value)
	}
}

func (c *cborFields) number(name string, value uint64) {
	c.n++
	c.buf = appendCBORHead(appendCBORText(c.buf, name), cborUint, value)
}

func (w cborWire) message(dst []byte, i *item) []byte {
	m := i.message
	c := cborFields{buf: make([]byte, 0, len(m.Data)+256)}
	switch i.kind {
	case itemRes:
		c.text("op", "res")
		c.text("id", i.name)
		m = &core.Message{Header: m.Header, Data: m.Data}
	case itemDelivery:
		c.text("op", "delivery")
		c.text("sid", i.name)
		c.number("tag", i.tag)
		c.number("attempt", uint64(i.attempt))
		c.n++
		c.buf = appendCBORValue(appendCBORText(c.buf, "redelivered"), i.redelivered)
	case itemStored:
		c.text("op", "msg")
		c.text(i.source.naming(), i.name)
		c.text("stream", i.source.stream)
		c.number("seq", i.stored.Sequence)
		c.text("time", i.stored.Time.UTC().Format(time.RFC3339Nano))
		m = &core.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}
	default:
		c.text("op", "msg")
		c.text("sid", i.name)
	}
	c.carry(m)
	return append(appendCBORHead(dst, cborMap, c.n), c.buf...)
}

// carry adds the fields of a message.
func (c *cborFields) carry(m *core.Message) {
	c.text("subject", m.Subject)
	c.text("reply", m.Reply)
	if names := shownHeaders(m.Header); len(names) > 0 {
		c.n++
		c.buf = appendCBORHead(appendCBORText(c.buf, "headers"), cborMap, uint64(len(names)))
		for _, name := range names {
			c.buf = appendCBORText(c.buf, name)
			values := m.Header[name]
			if len(values) > 1 {
				c.buf = appendCBORHead(c.buf, cborArray, uint64(len(values)))
			}
			for _, v := range values {
				c.buf = appendCBORText(c.buf, v)
			}
		}
	}
	c.n++
	c.buf = append(appendCBORHead(appendCBORText(c.buf, "data"), cborBytes, uint64(len(m.Data))), m.Data...)
}
