package broker_test

import (
	"testing"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

func TestWeightsThatAreNone(t *testing.T) {
	cases := map[string]string{
		"0": "The binding key must be greater than 0", "-1": "The binding key must be greater than 0",
		"-0": "The binding key must be greater than 0", "+00": "The binding key must be greater than 0",
		"":    `The binding key must be an integer: <<"">>`,
		"a":   `The binding key must be an integer: <<"a">>`,
		"1.5": `The binding key must be an integer: <<"1.5">>`,
		" 1":  `The binding key must be an integer: <<" 1">>`,
		"--1": `The binding key must be an integer: <<"--1">>`,
		"+":   `The binding key must be an integer: <<"+">>`,
		"1e3": `The binding key must be an integer: <<"1e3">>`,
	}
	v := broker.New("/")
	declare(t, v, "x", broker.ConsistentHash)
	declare(t, v, "late", broker.DelayedMessage, with(wire.Table{"x-delayed-type": broker.ConsistentHash}))
	for key, text := range cases {
		for _, x := range []string{"x", "late"} {
			created, err := v.Bind(broker.Binding{Source: x, Destination: "q", Key: key})
			expectError(t, err, 406, text)
			if created {
				t.Fatalf("bound by %q", key)
			}
		}
	}
}

func TestTypeArguments(t *testing.T) {
	type T = wire.Table
	cases := map[string]struct {
		kind      string
		arguments T
		text      string // "" for none
	}{
		"by header":          {broker.ConsistentHash, T{"hash-header": "h"}, ""},
		"by property":        {broker.ConsistentHash, T{"hash-property": "timestamp"}, ""},
		"by neither":         {broker.ConsistentHash, T{"other": 5}, ""},
		"by both":            {broker.ConsistentHash, T{"hash-header": "h", "hash-property": "nonsense"}, "hash-header and hash-property are mutually exclusive"},
		"by app_id":          {broker.ConsistentHash, T{"hash-property": "app_id"}, "Unsupported property: app_id"},
		"by no property":     {broker.ConsistentHash, T{"hash-property": ""}, "Unsupported property: "},
		"by a number":        {broker.ConsistentHash, T{"hash-header": int32(1)}, "invalid type 'signedint' for arg 'hash-header' in exchange 'x' in vhost '/v'"},
		"by void":            {broker.ConsistentHash, T{"hash-property": nil}, "invalid type 'void' for arg 'hash-property' in exchange 'x' in vhost '/v'"},
		"other types ignore": {broker.ModulusHash, T{"hash-header": "h", "hash-property": "p"}, ""},
		"random":             {broker.Random, nil, ""},
		"delayed":            {broker.DelayedMessage, T{"x-delayed-type": "topic"}, ""},
		"delayed, octets":    {broker.DelayedMessage, T{"x-delayed-type": []byte("direct")}, ""},
		"delayed, none":      {broker.DelayedMessage, nil, "Invalid argument, 'x-delayed-type' must be an existing exchange type"},
		"delayed, number":    {broker.DelayedMessage, T{"x-delayed-type": int64(1)}, "Invalid argument, 'x-delayed-type' must be an existing exchange type"},
		"delayed, itself":    {broker.DelayedMessage, T{"x-delayed-type": "x-delayed-message"}, "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'"},
		"delayed, unknown":   {broker.DelayedMessage, T{"x-delayed-type": "foo"}, "unknown exchange type 'foo'"},
		"delayed, empty":     {broker.DelayedMessage, T{"x-delayed-type": ""}, "invalid exchange type ''"},
		"delayed, hash":      {broker.DelayedMessage, T{"x-delayed-type": "x-consistent-hash", "hash-property": "type"}, "Unsupported property: type"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v := broker.New("/v")
			x := broker.Exchange{Name: "x", Type: c.kind, Durable: true, Arguments: c.arguments}
			created, err := v.DeclareExchange(x)
			refused := broker.New("/v").Restore([]broker.Exchange{x}, nil)
			if c.text == "" {
				if !created || err != nil || len(refused.Exchanges) > 0 {
					t.Fatalf("%v, %v; restore refused %v", created, err, refused)
				}
				return
			}
			expectError(t, err, 406, c.text)
			if _, ok := v.Exchange("x"); ok || created || len(refused.Exchanges) != 1 {
				t.Fatalf("there is one; restore refused %v", refused)
			}
		})
	}
}

// RabbitMQ's types compare the alternate exchange and nothing else of arguments, and
// look at their own only when the exchange is new.
func TestEquivalenceOfTypesWithArguments(t *testing.T) {
	v := broker.New("/v")
	declare(t, v, "h", broker.ConsistentHash, with(wire.Table{"hash-header": "a"}))
	declare(t, v, "d", broker.DelayedMessage, with(wire.Table{"x-delayed-type": "topic"}))
	for _, x := range []broker.Exchange{
		{Name: "h", Type: broker.ConsistentHash, Arguments: wire.Table{"hash-property": "timestamp"}},
		{Name: "h", Type: broker.ConsistentHash, Arguments: wire.Table{"hash-property": "nonsense"}},
		{Name: "d", Type: broker.DelayedMessage, Arguments: wire.Table{"x-delayed-type": "direct"}},
		{Name: "d", Type: broker.DelayedMessage},
	} {
		if created, err := v.DeclareExchange(x); created || err != nil {
			t.Fatalf("%+v: %v, %v", x, created, err)
		}
	}
	_, err := v.DeclareExchange(broker.Exchange{Name: "d", Type: broker.DelayedMessage, Arguments: wire.Table{"alternate-exchange": "a"}})
	expectError(t, err, 406, "inequivalent arg 'alternate-exchange' for exchange 'd' in vhost '/v': received the value 'a' of type 'longstr' but current is none")
	_, err = v.DeclareExchange(broker.Exchange{Name: "d", Type: broker.Topic})
	expectError(t, err, 406, "inequivalent arg 'type' for exchange 'd' in vhost '/v': received 'topic' but current is 'x-delayed-message'")
}
