package websocket

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"portico/core"
)

// The values of frames that are more than a word or a number. Each reads JSON and (values_cbor.go) CBOR, and its errors say what it may be.

// term is a duration above zero, written as in "30s"; zero is absent.
type term time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (t *term) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return core.Errorf(core.CodeInvalid, `a duration is a string such as "30s"`)
	}
	return t.parse(text)
}

func (t *term) parse(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Millisecond || d > maxTerm {
		return core.Errorf(core.CodeInvalid, "%q is not a duration from 1ms to %s", text, maxTerm)
	}
	*t = term(d)
	return nil
}

// header decodes an object whose values are strings or lists of strings.
type header core.Header

// UnmarshalJSON implements json.Unmarshaler.
func (h *header) UnmarshalJSON(b []byte) error {
	var raw map[string]oneOrMany
	if err := json.Unmarshal(b, &raw); err != nil {
		return core.Errorf(core.CodeInvalid, "headers are an object of strings, or lists of strings")
	}
	h.take(raw)
	return nil
}

func (h *header) take(raw map[string]oneOrMany) {
	out := make(header, len(raw))
	for name, values := range raw {
		if len(values) > 0 {
			out[name] = values
		}
	}
	*h = out
}

type oneOrMany []string

// UnmarshalJSON implements json.Unmarshaler.
func (v *oneOrMany) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(v))
	}
	var one *string
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	if one == nil {
		return errors.New("null is no header value")
	}
	*v = oneOrMany{*one}
	return nil
}

// body is a payload: a string in JSON, a byte string in CBOR.
type body struct {
	set   bool
	bytes []byte
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *body) UnmarshalJSON(b []byte) error {
	var text *string
	if err := json.Unmarshal(b, &text); err != nil {
		return core.Errorf(core.CodeInvalid, "data is a string; other bytes are data_base64")
	}
	if text != nil {
		*d = body{set: true, bytes: []byte(*text)}
	}
	return nil
}

// death is dead_letter: true or false in a nack, an object in declare.
type death struct {
	wanted bool
	where  core.DeadLetter
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *death) UnmarshalJSON(b []byte) error {
	if err := json.Unmarshal(b, &d.wanted); err == nil {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	return dec.Decode(&d.where)
}

// start is where a cursor or a history begins: a word, {"seq":n} or {"time":"…"}.
type start struct {
	word string    // "", "new", "all" or "last"
	seq  uint64    // from 1; 0: not named
	time time.Time // zero: not named
}

var errStart = core.Errorf(core.CodeInvalid, `from is "new", "all", "last", {"seq":n} with n from 1, or {"time":"…"} as RFC 3339 has it`)

// startPlace is the object that from may be.
type startPlace struct {
	Seq  *uint64    `json:"seq"`
	Time *time.Time `json:"time"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *start) UnmarshalJSON(b []byte) error {
	var word string
	if json.Unmarshal(b, &word) == nil {
		return s.say(word)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var place startPlace
	if dec.Decode(&place) != nil {
		return errStart
	}
	return s.put(&place)
}

func (s *start) say(word string) error {
	if word != "" && word != startNew && word != startAll && word != startLast {
		return errStart
	}
	*s = start{word: word}
	return nil
}

func (s *start) put(p *startPlace) error {
	switch {
	case p.Seq != nil && p.Time == nil && *p.Seq > 0:
		*s = start{seq: *p.Seq}
	case p.Time != nil && p.Seq == nil && !p.Time.IsZero():
		*s = start{time: *p.Time}
	default:
		return errStart
	}
	return nil
}

// named tells whether there is one.
func (s *start) named() bool { return *s != start{} }

// mark is after: a number, or a key.
type mark struct {
	number *uint64
	key    string
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *mark) UnmarshalJSON(b []byte) error {
	var number *uint64
	if json.Unmarshal(b, &number) == nil {
		*m = mark{number: number}
		return nil
	}
	var key string
	if json.Unmarshal(b, &key) == nil {
		*m = mark{key: key}
		return nil
	}
	return core.Errorf(core.CodeInvalid, "after is a whole number, for kv_keys a key")
}

// info is what a member of a subject says of itself: a JSON object.
type info json.RawMessage

const maxInfo = 1 << 10 // bytes, as JSON

// UnmarshalJSON implements json.Unmarshaler.
func (i *info) UnmarshalJSON(b []byte) error {
	var compact bytes.Buffer
	if len(b) > 8*maxInfo || json.Compact(&compact, b) != nil || compact.Len() > maxInfo || compact.Bytes()[0] != '{' {
		return core.Errorf(core.CodeInvalid, "info is an object of at most %d bytes", maxInfo)
	}
	*i = info(compact.Bytes())
	return nil
}
