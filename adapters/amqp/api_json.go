package amqp

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
)

// maxNested is how deep arguments may nest: less than a field table allows.
const maxNested = 32

// read decodes the body; an empty one leaves into as it is. Fields that nobody knows are passed over: clients send back what they were told.
func (c *call) read(into any) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	return decode(c.body, into)
}

func decode(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return notJSON(err)
	}
	if d.More() {
		return core.Errorf(core.CodeInvalid, "something follows the JSON object")
	}
	return nil
}

// notJSON is what a client is told about its body. Errors of the gateway's own say it already.
func notJSON(err error) error {
	if e, ok := errors.AsType[*core.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*broker.PolicyError](err); ok {
		return e
	}
	return core.Errorf(core.CodeInvalid, "the body is not the JSON expected here: %v", err)
}

// jsonBool is a bool that RabbitMQ's tools may write as text.
type jsonBool bool

// UnmarshalJSON implements json.Unmarshaler.
func (x *jsonBool) UnmarshalJSON(b []byte) error {
	switch string(bytes.Trim(b, `"`)) {
	case "true":
		*x = true
	case "false", "null":
		*x = false
	default:
		return core.Errorf(core.CodeInvalid, "%s: true or false is expected", b)
	}
	return nil
}

// jsonTable is an object as a field table: whole numbers are longs, others doubles.
type jsonTable wire.Table

// UnmarshalJSON implements json.Unmarshaler.
func (t *jsonTable) UnmarshalJSON(b []byte) error {
	if trimmed := bytes.TrimSpace(b); string(trimmed) == "[]" { // RabbitMQ's words for no arguments, at times
		*t = nil
		return nil
	}
	var m map[string]any
	if err := decode(b, &m); err != nil {
		return err
	}
	v, err := tableOf(m, 1)
	*t = jsonTable(v)
	return err
}

func tableOf(m map[string]any, depth int) (wire.Table, error) {
	if depth > maxNested {
		return nil, core.Errorf(core.CodeInvalid, "arguments nest deeper than %d", maxNested)
	}
	t := make(wire.Table, len(m))
	for name, v := range m {
		if len(name) > maxName {
			return nil, core.Errorf(core.CodeInvalid, "the name of an argument has at most %d bytes", maxName)
		}
		value, err := tableItem(v, depth)
		if err != nil {
			return nil, err
		}
		t[name] = value
	}
	return t, nil
}

func tableItem(v any, depth int) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return numberItem(v)
	case map[string]any:
		return tableOf(v, depth+1)
	case []any:
		if depth >= maxNested {
			return nil, core.Errorf(core.CodeInvalid, "arguments nest deeper than %d", maxNested)
		}
		list := make([]any, 0, len(v))
		for _, item := range v {
			value, err := tableItem(item, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	}
	return v, nil // string, bool, nil
}

func numberItem(v json.Number) (any, error) {
	if n, err := v.Int64(); err == nil {
		return n, nil
	}
	f, err := v.Float64()
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "the number %s is too large", v)
	}
	return f, nil
}

// shownTable is a field table as JSON: never null.
func shownTable(t wire.Table) map[string]any {
	m := make(map[string]any, len(t))
	for name, v := range t {
		m[name] = shownItem(v)
	}
	return m
}

func shownItem(v any) any {
	switch v := v.(type) {
	case wire.Table:
		return shownTable(v)
	case map[string]any:
		return shownTable(v)
	case []any:
		list := make([]any, 0, len(v))
		for _, item := range v {
			list = append(list, shownItem(item))
		}
		return list
	case []byte:
		return string(v)
	case time.Time:
		return v.Unix()
	case wire.Decimal:
		return float64(v.Value) / math.Pow10(int(v.Scale))
	case float32:
		return shownFloat(float64(v))
	case float64:
		return shownFloat(v)
	}
	return v
}

// shownFloat is f, or its name if JSON has no number for it.
func shownFloat(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return f
}

// defaultExchange is what the default exchange, which has no name, is called in paths.
const defaultExchange = "amq.default"

// exchangeIn is the name of the exchange that a path calls so.
func exchangeIn(path string) string {
	if path == defaultExchange {
		return ""
	}
	return broker.CleanName(path)
}
