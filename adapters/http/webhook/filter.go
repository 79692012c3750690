package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"portico/core"
)

const (
	maxConditions   = 16
	maxPath         = 256
	maxFilteredBody = 1 << 20 // bytes of a payload that is read as JSON; a larger one does not match
)

// Filter says which messages an endpoint gets; all conditions must hold. The zero value lets everything through.
type Filter struct {
	Headers map[string]string `json:"headers,omitempty" doc:"Message header and value: one of its values has to be it"`
	JSON    map[string]any    `json:"json,omitempty"` // path in the payload: value. Words between dots are fields, or indexes of lists; the value is text, a number, true, false or null.
}

func (f *Filter) check() error {
	if len(f.Headers) > maxConditions || len(f.JSON) > maxConditions {
		return invalid("filter", nil, "at most %d conditions of each kind", maxConditions)
	}
	for name, value := range f.Headers {
		if name == "" || len(name) > maxPath || len(value) > maxHeaderValue {
			return invalid("filter.headers", name, "names of 1 to %d bytes, values of at most %d", maxPath, maxHeaderValue)
		}
	}
	for path, value := range f.JSON {
		switch value.(type) {
		case string, float64, bool, nil, json.Number:
		default:
			return invalid("filter.json", path, "text, a number, true, false or null as the value")
		}
		if path == "" || len(path) > maxPath || slices.Contains(strings.Split(path, "."), "") {
			return invalid("filter.json", path, "words between dots, at most %d bytes", maxPath)
		}
	}
	return nil
}

// matches tells whether m is for the endpoint.
func (f *Filter) matches(m *core.Message) bool {
	for name, value := range f.Headers {
		if !slices.Contains(m.Header.Values(name), value) {
			return false
		}
	}
	if len(f.JSON) == 0 {
		return true
	}
	body, ok := decodeJSON(m.Data)
	if !ok {
		return false
	}
	for path, want := range f.JSON {
		if found, ok := lookUp(body, path); !ok || !sameValue(found, want) {
			return false
		}
	}
	return true
}

func decodeJSON(data []byte) (v any, ok bool) {
	if len(data) > maxFilteredBody {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return nil, false
	}
	_, err := dec.Token()
	return v, errors.Is(err, io.EOF)
}

// lookUp follows path from v.
func lookUp(v any, path string) (any, bool) {
	for word := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			next, ok := x[word]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(word)
			if err != nil || i < 0 || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// sameValue compares scalars. Numbers are the same if they are as 64-bit floats, or as they are written.
func sameValue(found, want any) bool {
	a, isNumber := found.(json.Number)
	if !isNumber {
		return scalar(found) && found == want
	}
	switch b := want.(type) {
	case json.Number:
		x, errX := a.Float64()
		y, errY := b.Float64()
		return a == b || errX == nil && errY == nil && x == y
	case float64:
		x, err := a.Float64()
		return err == nil && x == b
	}
	return false
}

func scalar(v any) bool {
	switch v.(type) {
	case string, bool, nil:
		return true
	}
	return false
}
