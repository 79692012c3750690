package wire

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// maxDepth is how deep tables and arrays may nest; the outermost table is 1.
const maxDepth = 64

// Table is a field table with RabbitMQ's tags, which differ from those of the
// specification [RMQ 0-9-1 errata, 3]:
//
//	S string      long string, any octets     t bool
//	b int8        B uint8                     T time.Time  seconds, UTC
//	s int16       u uint16                    D Decimal
//	I int32       i uint32                    F Table
//	l int64       L int64 (written as l)      A []any
//	f float32     d float64                   x []byte
//	V nil
//
// When a key occurs twice on the wire the first one counts.
type Table map[string]any

// Decimal is Value / 10^Scale, both unsigned as RabbitMQ reads them.
type Decimal struct {
	Scale uint8
	Value uint32
}

// DecodeTable decodes the table at the front of b, its length long first, and
// returns what follows it. The table keeps nothing of b and is never nil. The
// error is a [*ConnError] 502: cut short, unknown tag, or nested deeper than 64.
func DecodeTable(b []byte) (Table, []byte, error) {
	d := decoder{b: b}
	t := d.table(1)
	if err := d.failure(); err != nil {
		return nil, nil, err
	}
	return t, d.b, nil
}

// DecodeTableEntries decodes entries without the length long before them, all of
// b; the AMQPLAIN login response has this form. Errors are those of DecodeTable.
func DecodeTableEntries(b []byte) (Table, error) {
	d := decoder{b: b}
	t := d.entries(1)
	if err := d.failure(); err != nil {
		return nil, err
	}
	return t, nil
}

func (d *decoder) table(depth int) Table {
	body := d.longBytes("table")
	rest := d.b
	d.b = body
	t := d.entries(depth)
	if d.code == 0 {
		d.b = rest
	}
	return t
}

// entries reads the whole of b as table entries.
func (d *decoder) entries(depth int) Table {
	t := Table{}
	if depth > maxDepth {
		d.fail(SyntaxError, "table nested too deeply")
	}
	for len(d.b) > 0 {
		key := d.shortBytes()
		v := d.value(depth)
		if d.code != 0 {
			return nil
		}
		if _, dup := t[string(key)]; !dup {
			t[string(key)] = v
		}
	}
	return t
}

func (d *decoder) array(depth int) []any {
	body := d.longBytes("array")
	rest := d.b
	d.b = body
	if depth > maxDepth {
		d.fail(SyntaxError, "array nested too deeply")
	}
	vs := []any{}
	for len(d.b) > 0 {
		vs = append(vs, d.value(depth))
	}
	if d.code == 0 {
		d.b = rest
	}
	return vs
}

// value reads a tag and its value inside a table or array at depth.
func (d *decoder) value(depth int) any {
	switch tag := d.octet(); tag {
	case 'S':
		return d.longString()
	case 'x':
		return slices.Clone(d.longBytes("octet array"))
	case 't':
		return d.octet() != 0
	case 'T':
		return d.timestamp()
	case 'D':
		return Decimal{Scale: d.octet(), Value: d.uint32()}
	case 'F':
		return d.table(depth + 1)
	case 'A':
		return d.array(depth + 1)
	case 'V':
		return nil
	default:
		return d.number(tag)
	}
}

func (d *decoder) number(tag byte) any {
	switch tag {
	case 'b':
		return int8(d.octet())
	case 'B':
		return d.octet()
	case 's':
		return int16(d.uint16())
	case 'u':
		return d.uint16()
	case 'I':
		return int32(d.uint32())
	case 'i':
		return d.uint32()
	case 'l', 'L':
		return int64(d.uint64())
	case 'f':
		return math.Float32frombits(d.uint32())
	case 'd':
		return math.Float64frombits(d.uint64())
	}
	d.unknownTag(tag)
	return nil
}

func (d *decoder) unknownTag(tag byte) {
	if d.code == 0 {
		d.fail(SyntaxError, fmt.Sprintf("unknown table value tag 0x%02X", tag))
	}
}

// AppendTable appends t with its length long, keys sorted, so that equal tables
// are equal octets. Besides the types of [Table] it takes int (as l) and
// map[string]any (as F). The error is a plain one and dst comes back unchanged:
// a value of another type, a key above 255 octets, nesting deeper than 64.
func AppendTable(dst []byte, t Table) ([]byte, error) {
	start := len(dst)
	e := tableEncoder{b: dst}
	e.table(t, 1)
	if e.err != nil {
		return dst[:start], e.err
	}
	return e.b, nil
}

// appendTable is AppendTable for callers that cannot fail: what cannot be
// encoded is void, keys are cut.
func appendTable(dst []byte, t Table) []byte {
	e := tableEncoder{b: dst}
	e.table(t, 1)
	return e.b
}

// tableEncoder appends to b; err is the first thing it could not encode.
type tableEncoder struct {
	b   []byte
	err error
}

func (e *tableEncoder) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf("encode table: "+format, args...)
	}
}

func (e *tableEncoder) table(t Table, depth int) {
	start := e.open()
	for _, key := range slices.Sorted(maps.Keys(t)) {
		if len(key) > maxShort {
			e.fail("key of %d octets", len(key))
		}
		e.b = appendShortString(e.b, key)
		e.value(t[key], depth)
	}
	e.close(start)
}

func (e *tableEncoder) array(vs []any, depth int) {
	start := e.open()
	for _, v := range vs {
		e.value(v, depth)
	}
	e.close(start)
}

// open leaves room for a length long and returns where it is.
func (e *tableEncoder) open() int {
	e.b = appendLong(e.b, 0)
	return len(e.b)
}

func (e *tableEncoder) close(start int) {
	appendLong(e.b[:start-4], uint32(len(e.b)-start))
}

func (e *tableEncoder) value(v any, depth int) {
	switch v := v.(type) {
	case nil:
		e.b = append(e.b, 'V')
	case string:
		e.b = appendLongString(append(e.b, 'S'), v)
	case []byte:
		e.b = appendLongString(append(e.b, 'x'), v)
	case bool:
		e.b = append(e.b, 't', bit(v))
	case time.Time:
		e.b = appendTimestamp(append(e.b, 'T'), v)
	case Decimal:
		e.b = appendLong(append(e.b, 'D', v.Scale), v.Value)
	case Table, map[string]any, []any:
		e.nested(v, depth+1)
	default:
		e.number(v)
	}
}

func (e *tableEncoder) nested(v any, depth int) {
	if depth > maxDepth {
		e.fail("nested deeper than %d", maxDepth)
		e.b = append(e.b, 'V')
		return
	}
	switch v := v.(type) {
	case Table:
		e.b = append(e.b, 'F')
		e.table(v, depth)
	case map[string]any:
		e.b = append(e.b, 'F')
		e.table(v, depth)
	case []any:
		e.b = append(e.b, 'A')
		e.array(v, depth)
	}
}

func (e *tableEncoder) number(v any) {
	switch v := v.(type) {
	case int8:
		e.b = append(e.b, 'b', byte(v))
	case uint8:
		e.b = append(e.b, 'B', v)
	case int16:
		e.b = appendShort(append(e.b, 's'), uint16(v))
	case uint16:
		e.b = appendShort(append(e.b, 'u'), v)
	case int32:
		e.b = appendLong(append(e.b, 'I'), uint32(v))
	case uint32:
		e.b = appendLong(append(e.b, 'i'), v)
	case int64:
		e.b = appendLongLong(append(e.b, 'l'), uint64(v))
	case int:
		e.b = appendLongLong(append(e.b, 'l'), uint64(v))
	case float32:
		e.b = appendLong(append(e.b, 'f'), math.Float32bits(v))
	case float64:
		e.b = appendLongLong(append(e.b, 'd'), math.Float64bits(v))
	default:
		e.fail("value of type %T", v)
		e.b = append(e.b, 'V')
	}
}
