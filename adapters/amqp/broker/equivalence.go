package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/adapters/amqp/wire"
)

const queueTypeArg = "x-queue-type"

// Equivalent says whether two argument values mean the same [0-9-1 rule
// equivalent, RMQ]: integers by value whatever their encoding, floats likewise, a
// long string as octets of the same content, everything else by type and value,
// tables and arrays element by element. A number never equals a string. nil stands
// for an argument that was not given, and for void.
func Equivalent(a, b any) bool {
	return bytes.Equal(appendValue(nil, a), appendValue(nil, b))
}

// CheckArgs compares the arguments of a declaration with those of what exists, in
// the order of keys; other arguments do not count. The first that differs is the
// *wire.ChanError of [InequivalentArg]. No x-queue-type equals "classic".
func CheckArgs(kind, name, vhost string, received, current wire.Table, keys ...string) error {
	for _, key := range keys {
		r, c := received[key], current[key]
		if Equivalent(r, c) || key == queueTypeArg && Equivalent(orClassic(r), orClassic(c)) {
			continue
		}
		return InequivalentArg(kind, name, vhost, key, r, c)
	}
	return nil
}

func orClassic(v any) any {
	if v == nil {
		return "classic"
	}
	return v
}

// InequivalentArg is the 406 for a declaration that differs in arg from the
// exchange or queue (kind) of that name. received and current are a string, a bool
// or an argument's value; nil where the argument is absent, and then the other one
// is described with its type, in RabbitMQ's words.
func InequivalentArg(kind, name, vhost, arg string, received, current any) *wire.ChanError {
	typed := received == nil || current == nil
	return wire.ChanErrorf(wire.PreconditionFailed,
		"inequivalent arg '%s' for %s '%s' in vhost '%s': received %s but current is %s",
		arg, kind, name, vhost, describe(received, typed), describe(current, typed))
}

func describe(v any, typed bool) string {
	switch {
	case v == nil:
		return "none"
	case typed:
		return fmt.Sprintf("the value '%s' of type '%s'", text(v), TypeName(v))
	}
	return "'" + text(v) + "'"
}

// text prints v as RabbitMQ does in its reply texts: strings bare, the rest as
// Erlang terms.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return term(v)
}

// term prints v as an Erlang term.
func term(v any) string {
	switch v := v.(type) {
	case nil:
		return "undefined"
	case string:
		return `<<"` + v + `">>`
	case []byte:
		return `<<"` + string(v) + `">>`
	case time.Time:
		return strconv.FormatInt(v.Unix(), 10)
	case wire.Decimal:
		return fmt.Sprintf("{%d,%d}", v.Scale, v.Value)
	case float32:
		return floatTerm(float64(v))
	case float64:
		return floatTerm(v)
	case map[string]any:
		return term(wire.Table(v))
	case wire.Table:
		var items []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			items = append(items, fmt.Sprintf("{%s,%s,%s}", term(key), TypeName(v[key]), term(v[key])))
		}
		return "[" + strings.Join(items, ",") + "]"
	case []any:
		var items []string
		for _, item := range v {
			items = append(items, fmt.Sprintf("{%s,%s}", TypeName(item), term(item)))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	return fmt.Sprint(v)
}

func floatTerm(f float64) string {
	mantissa, exponent, scientific := strings.Cut(strconv.FormatFloat(f, 'g', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if !scientific {
		return mantissa
	}
	return mantissa + "e" + strings.TrimPrefix(exponent, "+")
}

// TypeName is RabbitMQ's name of the field type that v travels as.
func TypeName(v any) string {
	switch v.(type) {
	case nil:
		return "void"
	case string:
		return "longstr"
	case []byte:
		return "binary"
	case bool:
		return "bool"
	case time.Time:
		return "timestamp"
	case wire.Decimal:
		return "decimal"
	case wire.Table, map[string]any:
		return "table"
	case []any:
		return "array"
	}
	return numberName(v)
}

func numberName(v any) string {
	switch v.(type) {
	case int8:
		return "byte"
	case uint8:
		return "unsignedbyte"
	case int16:
		return "short"
	case uint16:
		return "unsignedshort"
	case int32:
		return "signedint"
	case uint32:
		return "unsignedint"
	case float32:
		return "float"
	case float64:
		return "double"
	}
	return "long"
}

// appendValue appends a form of v that is equal for equivalent values and
// different for others. Each form says where it ends, so they can be joined.
func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, 'V')
	case string:
		return appendString(append(dst, 's'), v)
	case []byte:
		return append(binary.AppendUvarint(append(dst, 's'), uint64(len(v))), v...)
	case bool:
		return append(dst, 't', boolByte(v))
	case time.Time:
		return binary.AppendVarint(append(dst, 'T'), v.Unix())
	case wire.Decimal:
		return binary.BigEndian.AppendUint32(append(dst, 'D', v.Scale), v.Value)
	case float32:
		return appendFloat(dst, float64(v))
	case float64:
		return appendFloat(dst, v)
	case wire.Table:
		return appendTableValue(dst, v)
	case map[string]any:
		return appendTableValue(dst, v)
	case []any:
		dst = binary.AppendUvarint(append(dst, 'A'), uint64(len(v)))
		for _, item := range v {
			dst = appendValue(dst, item)
		}
		return dst
	}
	return appendInteger(dst, v)
}

func appendTableValue(dst []byte, t map[string]any) []byte {
	dst = binary.AppendUvarint(append(dst, 'F'), uint64(len(t)))
	for _, key := range slices.Sorted(maps.Keys(t)) {
		dst = appendValue(appendString(dst, key), t[key])
	}
	return dst
}

func appendFloat(dst []byte, f float64) []byte {
	if f == 0 {
		f = 0 // minus zero too
	}
	return binary.BigEndian.AppendUint64(append(dst, 'd'), math.Float64bits(f))
}

func appendInteger(dst []byte, v any) []byte {
	n, ok := Integer(v)
	if !ok { // no field type; the wire lets none of these in
		return appendString(append(dst, '?'), fmt.Sprintf("%T %v", v, v))
	}
	return binary.AppendVarint(append(dst, 'i'), n)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
