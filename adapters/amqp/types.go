package amqp

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core"
)

var _ core.TypeTranslator = Translator{}

// Types tells which entries of the headers table are beside text.
func (Translator) Types(props []byte) []core.TypedValue {
	_, _, raw, ok := splitProps(props)
	if !ok {
		return nil
	}
	p, err := wire.DecodeProperties(raw)
	if err != nil {
		return nil
	}
	return tableTypes(p.Headers)
}

// tableTypes are the entries of a table that have a letter, in the order of their names.
func tableTypes(table wire.Table) []core.TypedValue {
	var types []core.TypedValue
	for name, v := range table {
		letter := letterOf(v)
		if letter == 0 || !headerName(name) {
			continue
		}
		text, ok := scalar(v)
		if b, isBytes := v.([]byte); isBytes {
			text, ok = base64.StdEncoding.EncodeToString(b), true
		}
		if ok {
			types = append(types, core.TypedValue{Letter: letter, Name: name, Text: text})
		}
	}
	slices.SortFunc(types, func(a, b core.TypedValue) int { return strings.Compare(a.Name, b.Name) })
	return types
}

// letterOf is the letter of a table value that is no text, 0 for text and for what has no readable form.
func letterOf(v any) byte {
	switch v.(type) {
	case bool:
		return 't'
	case int8:
		return 'b'
	case uint8:
		return 'B'
	case int16:
		return 's'
	case uint16:
		return 'u'
	case int32:
		return 'I'
	case uint32:
		return 'i'
	case int64:
		return 'l'
	case float32:
		return 'f'
	case float64:
		return 'd'
	case time.Time:
		return 'T'
	case []byte:
		return 'x'
	}
	return 0
}

// typedTableValue is what a readable value is in a table under its letter; false when it is not of that type.
func typedTableValue(letter byte, text string) (any, bool) {
	switch letter {
	case 't':
		return text == "true", text == "true" || text == "false"
	case 'T':
		t, err := time.Parse(time.RFC3339, text)
		return t.UTC(), err == nil && t.Nanosecond() == 0 && t.Unix() >= 0
	case 'x':
		b, err := base64.StdEncoding.DecodeString(text)
		return b, err == nil
	case 'f':
		f, err := strconv.ParseFloat(text, 32)
		return float32(f), err == nil
	case 'd':
		f, err := strconv.ParseFloat(text, 64)
		return f, err == nil
	case 'b', 's', 'I', 'l':
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, false
		}
		return signed(letter, n)
	case 'B', 'u', 'i':
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, false
		}
		return unsigned(letter, n)
	}
	return nil, false
}

func signed(letter byte, n int64) (any, bool) {
	switch letter {
	case 'b':
		return int8(n), n >= math.MinInt8 && n <= math.MaxInt8
	case 's':
		return int16(n), n >= math.MinInt16 && n <= math.MaxInt16
	case 'I':
		return int32(n), n >= math.MinInt32 && n <= math.MaxInt32
	}
	return n, true
}

func unsigned(letter byte, n uint64) (any, bool) {
	switch letter {
	case 'B':
		return uint8(n), n <= math.MaxUint8
	case 'u':
		return uint16(n), n <= math.MaxUint16
	}
	return uint32(n), true
}
