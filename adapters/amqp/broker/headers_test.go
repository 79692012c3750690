package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

func TestHeadersExchange(t *testing.T) {
	now := time.Unix(1700000000, 0)
	cases := map[string]struct {
		binding wire.Table
		match   []wire.Table
		miss    []wire.Table
	}{
		"all is the default": {
			wire.Table{"a": "1", "b": "2"},
			[]wire.Table{{"a": "1", "b": "2"}, {"a": "1", "b": "2", "c": "3"}},
			[]wire.Table{{"a": "1"}, {"a": "1", "b": "3"}, {}, nil},
		},
		"any": {
			wire.Table{"x-match": "any", "a": "1", "b": "2"},
			[]wire.Table{{"a": "1"}, {"b": "2"}, {"a": "x", "b": "2"}, {"a": "1", "b": "2"}},
			[]wire.Table{{"a": "2", "b": "1"}, {"c": "1"}, nil},
		},
		"no arguments match everything":  {nil, []wire.Table{nil, {"a": "1"}}, nil},
		"all of nothing":                 {wire.Table{"x-match": "all"}, []wire.Table{nil, {"a": "1"}}, nil},
		"any of nothing":                 {wire.Table{"x-match": "any"}, nil, []wire.Table{nil, {"x-match": "any"}}},
		"all skips x-":                   {wire.Table{"x-match": "all", "x-a": "1", "b": "2"}, []wire.Table{{"b": "2"}}, []wire.Table{{"x-a": "1"}}},
		"any skips x-":                   {wire.Table{"x-match": "any", "x-a": "1", "b": "2"}, []wire.Table{{"b": "2"}}, []wire.Table{{"x-a": "1"}}},
		"all-with-x":                     {wire.Table{"x-match": "all-with-x", "x-a": "1"}, []wire.Table{{"x-a": "1"}}, []wire.Table{{"x-a": "2"}, nil}},
		"any-with-x":                     {wire.Table{"x-match": "any-with-x", "x-a": "1", "b": "2"}, []wire.Table{{"x-a": "1"}, {"b": "2"}}, []wire.Table{{"x-match": "any-with-x"}}},
		"void asks for presence":         {wire.Table{"a": nil}, []wire.Table{{"a": nil}, {"a": int32(0)}, {"a": wire.Table{}}}, []wire.Table{{"b": nil}, nil}},
		"void with any":                  {wire.Table{"x-match": "any", "a": nil, "b": "1"}, []wire.Table{{"a": "z"}, {"b": "1"}}, []wire.Table{{"b": "2"}}},
		"integers by value":              {wire.Table{"n": int8(5)}, []wire.Table{{"n": int64(5)}, {"n": uint16(5)}, {"n": uint8(5)}}, []wire.Table{{"n": "5"}, {"n": 5.0}, {"n": true}, {"n": int8(-5)}, {"n": nil}}},
		"floats by value":                {wire.Table{"n": float32(0.5)}, []wire.Table{{"n": 0.5}}, []wire.Table{{"n": 0.25}, {"n": "0.5"}}},
		"bools":                          {wire.Table{"n": true}, []wire.Table{{"n": true}}, []wire.Table{{"n": false}, {"n": "true"}, {"n": int8(1)}}},
		"times":                          {wire.Table{"n": now}, []wire.Table{{"n": now.UTC()}}, []wire.Table{{"n": now.Add(time.Second)}, {"n": now.Unix()}}},
		"long strings and octets":        {wire.Table{"n": "ab"}, []wire.Table{{"n": []byte("ab")}}, []wire.Table{{"n": "AB"}, {"n": "abc"}}},
		"decimals":                       {wire.Table{"n": wire.Decimal{Scale: 1, Value: 5}}, []wire.Table{{"n": wire.Decimal{Scale: 1, Value: 5}}}, []wire.Table{{"n": wire.Decimal{Scale: 2, Value: 5}}}},
		"tables and arrays":              {wire.Table{"n": []any{wire.Table{"k": int8(1)}}}, []wire.Table{{"n": []any{wire.Table{"k": int64(1)}}}}, []wire.Table{{"n": []any{}}, {"n": wire.Table{"k": int8(1)}}}},
		"the empty string is a value":    {wire.Table{"n": ""}, []wire.Table{{"n": ""}}, []wire.Table{{"n": nil}, nil}},
		"the empty name":                 {wire.Table{"": "v"}, []wire.Table{{"": "v"}}, []wire.Table{{"": "w"}}},
		"names that run into the values": {wire.Table{"ab": "c"}, []wire.Table{{"ab": "c"}}, []wire.Table{{"a": "bc"}, {"abc": ""}}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := broker.New("/")
			mustBind(t, v, broker.Binding{Source: "amq.match", Destination: "q", Key: "ignored", Arguments: c.binding})
			for _, h := range c.match {
				if got := routed(t, v, "amq.match", "k", h); !slices.Equal(got, []string{"q"}) {
					t.Errorf("%v does not match", h)
				}
			}
			for _, h := range c.miss {
				if got := routed(t, v, "amq.match", "k", h); len(got) > 0 {
					t.Errorf("%v matches", h)
				}
			}
		})
	}
}

func TestMatchArgumentIsChecked(t *testing.T) {
	cases := map[string]struct {
		arg  any
		text string
	}{
		"unknown": {"some", `Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x`},
		"empty":   {"", `Invalid x-match field value <<"">>; expected all, any, all-with-x, or any-with-x`},
		"integer": {int32(1), "Invalid x-match field type signedint (value 1); expected longstr"},
		"void":    {nil, "Invalid x-match field type void (value undefined); expected longstr"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := broker.New("/")
			b := broker.Binding{Source: "amq.match", Destination: "q", Arguments: wire.Table{"x-match": c.arg}}
			_, err := v.Bind(b)
			expectError(t, err, wire.PreconditionFailed, c.text)
			b.Source = "amq.topic" // only exchanges of type headers care
			mustBind(t, v, b)
		})
	}
}

// headersMatch is the definition, read literally, for integer values.
func headersMatch(arguments, headers wire.Table) bool {
	mode, _ := arguments["x-match"].(string)
	wanted, met := 0, 0
	for name, want := range arguments {
		if name == "x-match" || strings.HasPrefix(name, "x-") && !strings.HasSuffix(mode, "-with-x") {
			continue
		}
		wanted++
		if got, ok := headers[name]; ok && (want == nil || got == want) {
			met++
		}
	}
	if strings.HasPrefix(mode, "any") {
		return met > 0
	}
	return met == wanted
}

func TestHeadersAgreeWithDefinition(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c", "x-d", "x-e"})
	header := rapid.Map(rapid.MapOfN(name, rapid.IntRange(0, 2), 0, 4), func(m map[string]int) wire.Table {
		table := wire.Table{}
		for k, n := range m {
			table[k] = int64(n)
		}
		return table
	})
	rapid.Check(t, func(t *rapid.T) {
		v := broker.New("/")
		bound := map[string]wire.Table{}
		for i := range rapid.IntRange(1, 30).Draw(t, "bindings") {
			arguments := header.Draw(t, "arguments")
			for k := range arguments {
				if rapid.IntRange(0, 4).Draw(t, "void") == 0 {
					arguments[k] = nil
				}
			}
			if mode := rapid.SampledFrom([]string{"", "all", "any", "all-with-x", "any-with-x"}).Draw(t, "mode"); mode != "" {
				arguments["x-match"] = mode
			}
			q := fmt.Sprint(i)
			bound[q] = arguments
			mustBind(t, v, broker.Binding{Source: "amq.headers", Destination: q, Arguments: arguments})
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				v.DeleteQueue(q)
				delete(bound, q)
			}
		}
		for range 50 {
			h := header.Draw(t, "headers")
			var want []string
			for q, arguments := range bound {
				if headersMatch(arguments, h) {
					want = append(want, q)
				}
			}
			slices.Sort(want)
			if got := routed(t, v, "amq.headers", "", h); !slices.Equal(got, want) {
				t.Fatalf("%v reaches %v, want %v", h, got, want)
			}
		}
	})
}
