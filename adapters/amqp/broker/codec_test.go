package broker_test

import (
	"bytes"
	"reflect"
	"regexp"
	"testing"
	"time"

	"pgregory.net/rapid"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

func drawTable(t *rapid.T) wire.Table {
	values := []any{"s", int8(1), uint8(2), true, int16(3), uint16(4), int32(5), uint32(6), int64(7), float32(1.5), 2.5,
		wire.Decimal{Scale: 1, Value: 2}, wire.Table{"n": "m"}, []any{"a", nil}, []byte("b"), nil, time.Unix(8, 0).UTC()}
	table := wire.Table{}
	for _, key := range rapid.SliceOfN(rapid.String(), 0, 4).Draw(t, "keys") {
		if len(key) < 256 {
			table[key] = rapid.SampledFrom(values).Draw(t, "value")
		}
	}
	return table
}

var storeKey = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

func TestRecordsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) string { return string(b) })
		x := broker.Exchange{
			Name: s.Draw(t, "name"), Type: s.Draw(t, "type"), Durable: rapid.Bool().Draw(t, "durable"),
			AutoDelete: rapid.Bool().Draw(t, "auto"), Internal: rapid.Bool().Draw(t, "internal"), Arguments: drawTable(t),
		}
		gotX, err := broker.DecodeExchange(broker.EncodeExchange(x))
		if err != nil || !reflect.DeepEqual(gotX, x) {
			t.Fatalf("%+v came back as %+v, %v", x, gotX, err)
		}
		b := broker.Binding{
			Source: s.Draw(t, "source"), Destination: s.Draw(t, "destination"), Key: s.Draw(t, "key"),
			ToExchange: rapid.Bool().Draw(t, "toExchange"), Arguments: drawTable(t),
		}
		gotB, err := broker.DecodeBinding(broker.EncodeBinding(b))
		if err != nil || !reflect.DeepEqual(gotB, b) {
			t.Fatalf("%+v came back as %+v, %v", b, gotB, err)
		}
		if gotB.ID() != b.ID() || !storeKey.MatchString(b.ID()) || !storeKey.MatchString(x.ID()) {
			t.Fatalf("IDs %q, %q, %q", gotB.ID(), b.ID(), x.ID())
		}
	})
}

// The format and the IDs are in stores; this test fails when they change.
func TestRecordFormatIsStable(t *testing.T) {
	b := broker.Binding{Source: "x", Destination: "q", ToExchange: true, Key: "a.b", Arguments: wire.Table{"n": int8(1)}}
	want := []byte("\x01\x01\x01x\x01q\x03a.b\x00\x00\x00\x04\x01nb\x01")
	if got := broker.EncodeBinding(b); !bytes.Equal(got, want) {
		t.Errorf("binding %q", got)
	}
	if got := b.ID(); got != "SqAZjp8tjom8Ap6BRRzctlK22qA6uZSNV-EcnmX_l6Q" {
		t.Errorf("ID %s", got)
	}
	x := broker.Exchange{Name: "x", Type: "topic", Durable: true, Internal: true}
	if got := broker.EncodeExchange(x); !bytes.Equal(got, []byte("\x01\x05\x01x\x05topic\x00\x00\x00\x00")) {
		t.Errorf("exchange %q", got)
	}
	if got := x.ID(); got != "LXEWQrcmsEQBYnyp-6wy9chTD7GQPMTbAiWHF5IaSIE" {
		t.Errorf("ID %s", got)
	}
}

func TestBadRecordsAreRefused(t *testing.T) {
	good := broker.EncodeBinding(broker.Binding{Source: "x", Destination: "q", Key: "k", Arguments: wire.Table{"a": "b"}})
	for n := range good {
		if b, err := broker.DecodeBinding(good[:n]); err == nil {
			t.Errorf("cut to %d octets: %+v", n, b)
		}
	}
	cases := map[string][]byte{
		"version":       append([]byte{9}, good[1:]...),
		"flags":         append([]byte{1, 0x80}, good[2:]...),
		"leftover":      append(bytes.Clone(good), 0),
		"endless":       []byte("\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
		"length beyond": []byte("\x01\x00\xff\xff\xff\xff\x0fx"),
	}
	for name, p := range cases {
		if b, err := broker.DecodeBinding(p); err == nil {
			t.Errorf("%s: %+v", name, b)
		}
		if x, err := broker.DecodeExchange(p); err == nil {
			t.Errorf("%s: %+v", name, x)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(broker.EncodeBinding(broker.Binding{Source: "x", Destination: "q", Key: "k", Arguments: wire.Table{"a": "b"}}))
	f.Add(broker.EncodeExchange(broker.Exchange{Name: "x", Type: "topic", Durable: true}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if b, err := broker.DecodeBinding(p); err == nil {
			again, err := broker.DecodeBinding(broker.EncodeBinding(b))
			if err != nil || again.ID() != b.ID() {
				t.Fatalf("%+v, then %+v, %v", b, again, err)
			}
		}
		if x, err := broker.DecodeExchange(p); err == nil {
			again, err := broker.DecodeExchange(broker.EncodeExchange(x))
			if err != nil || !bytes.Equal(broker.EncodeExchange(again), broker.EncodeExchange(x)) {
				t.Fatalf("%+v, then %+v, %v", x, again, err)
			}
		}
	})
}
