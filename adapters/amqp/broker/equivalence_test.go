package broker_test

import (
	"math"
	"testing"
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

func TestEquivalent(t *testing.T) {
	at := time.Unix(1, 0)
	cases := map[string]struct {
		a, b any
		want bool
	}{
		"integers of any encoding":  {int8(60), int64(60), true},
		"unsigned and signed":       {uint32(60), int16(60), true},
		"octet and bit":             {uint8(1), true, false},
		"other integers":            {int64(60), int64(61), false},
		"wrapped integers":          {uint8(255), int8(-1), false},
		"largest unsigned":          {uint32(1<<32 - 1), int64(1<<32 - 1), true},
		"integer and string":        {int64(60000), "60000", false},
		"integer and float":         {int64(1), 1.0, false},
		"float and double":          {float32(1.5), 1.5, true},
		"minus zero":                {0.0, math.Copysign(0, -1), true},
		"strings":                   {"a", "a", true},
		"other strings":             {"a", "b", false},
		"string and octets":         {"a", []byte("a"), true},
		"bools":                     {true, true, true},
		"other bools":               {true, false, false},
		"absent and absent":         {nil, nil, true},
		"absent and zero":           {nil, int8(0), false},
		"absent and false":          {nil, false, false},
		"absent and empty":          {nil, "", false},
		"times":                     {at, at.UTC(), true},
		"time and integer":          {at, int64(1), false},
		"decimals":                  {wire.Decimal{Scale: 2, Value: 10}, wire.Decimal{Scale: 2, Value: 10}, true},
		"decimals of other scale":   {wire.Decimal{Scale: 2, Value: 10}, wire.Decimal{Scale: 1, Value: 1}, false},
		"tables":                    {wire.Table{"a": int8(1), "b": nil}, wire.Table{"b": nil, "a": int32(1)}, true},
		"tables of other keys":      {wire.Table{"a": nil}, wire.Table{"b": nil}, false},
		"table and plain map":       {wire.Table{"a": "b"}, map[string]any{"a": "b"}, true},
		"arrays":                    {[]any{int8(1), "x"}, []any{int64(1), "x"}, true},
		"arrays in another order":   {[]any{int8(1), int8(2)}, []any{int8(2), int8(1)}, false},
		"nested arrays regrouped":   {[]any{[]any{"a"}, "b"}, []any{[]any{"a", "b"}}, false},
		"strings that run together": {[]any{"ab", "c"}, []any{"a", "bc"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if broker.Equivalent(c.a, c.b) != c.want || broker.Equivalent(c.b, c.a) != c.want {
				t.Fatalf("%v and %v: want %v", c.a, c.b, c.want)
			}
		})
	}
}

func TestInequivalentArgTexts(t *testing.T) {
	cases := map[string]struct {
		received, current any
		want              string
	}{
		"fields":         {true, false, "received 'true' but current is 'false'"},
		"integers":       {int32(1), int64(2), "received '1' but current is '2'"},
		"string":         {"60000", int32(60000), "received '60000' but current is '60000'"},
		"only received":  {int32(1), nil, "received the value '1' of type 'signedint' but current is none"},
		"only current":   {nil, "dlx", "received none but current is the value 'dlx' of type 'longstr'"},
		"byte":           {int8(-1), nil, "received the value '-1' of type 'byte' but current is none"},
		"unsigned byte":  {uint8(1), nil, "received the value '1' of type 'unsignedbyte' but current is none"},
		"short":          {int16(1), nil, "received the value '1' of type 'short' but current is none"},
		"unsigned short": {uint16(1), nil, "received the value '1' of type 'unsignedshort' but current is none"},
		"unsigned int":   {uint32(1), nil, "received the value '1' of type 'unsignedint' but current is none"},
		"long":           {int64(1), nil, "received the value '1' of type 'long' but current is none"},
		"float":          {float32(1), nil, "received the value '1.0' of type 'float' but current is none"},
		"double":         {1e30, nil, "received the value '1.0e30' of type 'double' but current is none"},
		"small double":   {1.5e-9, nil, "received the value '1.5e-09' of type 'double' but current is none"},
		"bool":           {false, nil, "received the value 'false' of type 'bool' but current is none"},
		"timestamp":      {time.Unix(5, 0), nil, "received the value '5' of type 'timestamp' but current is none"},
		"binary":         {[]byte("x"), nil, "received the value 'x' of type 'binary' but current is none"},
		"decimal":        {wire.Decimal{Scale: 2, Value: 5}, nil, "received the value '{2,5}' of type 'decimal' but current is none"},
		"table":          {wire.Table{"b": nil, "a": "x"}, nil, `received the value '[{<<"a">>,longstr,<<"x">>},{<<"b">>,void,undefined}]' of type 'table' but current is none`},
		"array":          {[]any{int8(1), []byte("y")}, nil, `received the value '[{byte,1},{binary,<<"y">>}]' of type 'array' but current is none`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := broker.InequivalentArg("queue", "q", "/", "x-arg", c.received, c.current)
			expectError(t, err, wire.PreconditionFailed, "inequivalent arg 'x-arg' for queue 'q' in vhost '/': "+c.want)
		})
	}
}

func TestCheckArgs(t *testing.T) {
	current := wire.Table{"x-message-ttl": int32(60000), "x-queue-type": "quorum"}
	check := func(received, current wire.Table) error {
		return broker.CheckArgs("queue", "q", "/", received, current, "x-message-ttl", "x-queue-type")
	}
	if err := check(wire.Table{"x-message-ttl": int64(60000), "x-queue-type": "quorum", "unknown": true}, current); err != nil {
		t.Fatal(err)
	}
	expectError(t, check(wire.Table{"x-message-ttl": int64(1)}, current), 406,
		"inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '1' but current is '60000'")
	expectError(t, check(wire.Table{"x-message-ttl": int64(60000)}, current), 406,
		"inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received none but current is the value 'quorum' of type 'longstr'")
	for _, pair := range [][2]wire.Table{{nil, {"x-queue-type": "classic"}}, {{"x-queue-type": "classic"}, nil}} {
		if err := check(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
}
