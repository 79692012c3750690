package httpapi

import (
	"bytes"
	"compress/gzip"

	"encoding/json"
	"errors"
	"io"
	"mime"
	"reflect"
	"strconv"
	"strings"

	"portico/core"

	"github.com/gin-gonic/gin"
	"github.com/klauspost/compress/zstd"
)

// messageType is the JSON form of one message.
const messageType = "application/vnd.portico.message+json"

// wants tells whether a media type is named in Accept, as itself and not refused. Who names none gets what is sent by default.
func wants(c *gin.Context, mediaType string) bool {
	for _, header := range c.Request.Header["Accept"] {
		for item := range strings.SplitSeq(header, ",") {
			name, params, err := mime.ParseMediaType(item)
			if err == nil && name == mediaType && weight(params["q"]) > 0 {
				return true
			}
		}
	}
	return false
}

// weight is a quality value [RFC 9110 12.4.2]; none is 1, nonsense 0.
func weight(text string) float64 {
	if text == "" {
		return 1
	}
	q, err := strconv.ParseFloat(text, 64)
	if err != nil || q < 0 || q > 1 {
		return 0
	}
	return q
}

// jsonEncoding is the header of a command that comes packed.
func jsonEncoding() param {
	return inHeader("Content-Encoding", "How the body is packed", "", nil).oneOf("identity", "gzip", "zstd")
}

// readPacked reads a body that is no message and unpacks it: limit holds before and after. The body's memory belongs to the garbage collector when release is called.
func (a *Adapter) readPacked(c *gin.Context, limit int64) (body []byte, release func(), err error) {
	body, release, err = a.readBody(c, limit)
	if err != nil {
		return nil, nil, err
	}
	var r io.Reader
	switch encoding := strings.ToLower(c.GetHeader("Content-Encoding")); encoding {
	case "", "identity":
		return body, release, nil
	case "gzip":
		r, err = gzip.NewReader(bytes.NewReader(body))
	case "zstd":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(limit)+1)); err == nil {
			defer d.Close()
			r = d
		}
	default:
		release()
		return nil, nil, badField("header.Content-Encoding", "identity, gzip or zstd", encoding)
	}
	if err != nil {
		err = badField("body", "what Content-Encoding says", "")
	} else {
		body, err = a.inflate(r, limit, &release)
	}
	if err != nil {
		release()
		return nil, nil, err
	}
	return body, release, nil
}

// inflate reads r to its end, in memory that is counted as that of any body.
func (a *Adapter) inflate(r io.Reader, limit int64, release *func()) ([]byte, error) {
	b := bodyReader{from: r, memory: a.bodies}
	before := *release
	*release = func() {
		b.release()
		before()
	}
	err := b.read(-1, limit)
	if err != nil && core.AsError(err).Code == core.CodeInvalid {
		err = badField("body", "what Content-Encoding says", "")
	}
	return b.body, err
}

// readJSON decodes a command. Unknown fields, and anything behind the value, are errors; an empty body leaves into as it is.
func (a *Adapter) readJSON(c *gin.Context, into any) error {
	body, release, err := a.readPacked(c, maxControl)
	if err != nil {
		return err
	}
	defer release()
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return notJSON("body", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badField("body", "one JSON value and nothing behind it", "")
	}
	return nil
}

// notJSON says what is wrong with a body; at is where the value began.
func notJSON(at string, err error) error {
	if _, ok := errors.AsType[*core.Error](err); ok {
		return inField(err, at, "another value", "")
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := at
		for name := range strings.SplitSeq(e.Field, ".") {
			if name != "" && name[0] >= 'a' { // the names of embedded structs are no names of ours
				field += "." + name
			}
		}
		return badField(field, jsonKind(e.Type), e.Value)
	}
	if e, ok := errors.AsType[*strconv.NumError](err); ok {
		return badField(at, "a whole number within its bounds", e.Num)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return unknown(at+"."+strings.Trim(name, `"`), "field", "a field that this body has")
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return badField(at, "JSON to its end", "")
	}
	return inField(core.Errorf(core.CodeInvalid, "the body is not the JSON expected here: %v", err), at, "JSON as the document has it", "")
}

// jsonKind is what JSON calls a type of Go.
func jsonKind(t reflect.Type) string {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[textual]()) {
		return "a string"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number within its bounds"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number within its bounds, not below zero"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "a string"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}

// textual is encoding.TextUnmarshaler: its JSON is a string, whatever its kind.
type textual interface{ UnmarshalText([]byte) error }
