package wire_test

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"portico/adapters/amqp/wire"
)

// unhex turns "00 3c | 01" into octets.
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.NewReplacer(" ", "", "|", "", "\n", "", "\t", "").Replace(s))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every kind of argument and every packing of bits, in octets both ways.
func TestMethodOctets(t *testing.T) {
	tests := map[string]struct {
		octets string
		method wire.Method
	}{
		"connection.start": {
			"000a 000a 00 09 | 00000006 03 636170 74 01 | 00000005 504c41494e | 00000005 656e5f5553",
			&wire.ConnectionStart{VersionMinor: 9, ServerProperties: wire.Table{"cap": true}, Mechanisms: "PLAIN", Locales: "en_US"},
		},
		"short, long, short": {
			"000a 001f 07ff 00020000 003c",
			&wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60},
		},
		"reserved string and bit": {
			"000a 0028 01 2f 00 00",
			&wire.ConnectionOpen{VirtualHost: "/"},
		},
		"reserved long string": {
			"0014 000b 00000000",
			&wire.ChannelOpenOk{},
		},
		"close": {
			"000a 0032 0140 03 627965 0032 000a",
			&wire.ConnectionClose{ReplyCode: 320, ReplyText: "bye", ClassID: 50, MethodID: 10},
		},
		"update-secret": {
			"000a 0046 00000002 6a77 01 72",
			&wire.ConnectionUpdateSecret{NewSecret: "jw", Reason: "r"},
		},
		"blocked": {
			"000a 003c 0d 6c6f77206f6e206d656d6f7279",
			&wire.ConnectionBlocked{Reason: "low on memory"},
		},
		"unblocked": {"000a 003d", &wire.ConnectionUnblocked{}},
		"ticket and five bits": {
			"0032 000a 0000 01 71 1f 00000000",
			&wire.QueueDeclare{Queue: "q", Passive: true, Durable: true, Exclusive: true, AutoDelete: true, NoWait: true, Arguments: wire.Table{}},
		},
		"third bit alone": {
			"0032 000a 0000 00 04 00000000",
			&wire.QueueDeclare{Exclusive: true, Arguments: wire.Table{}},
		},
		"internal is the fourth bit": {
			"0028 000a 0000 01 78 05 746f706963 0a 00000000",
			&wire.ExchangeDeclare{Exchange: "x", Type: "topic", Durable: true, Internal: true, Arguments: wire.Table{}},
		},
		"exchange.bind": {
			"0028 001e 0000 01 64 01 73 01 6b 01 00000000",
			&wire.ExchangeBind{Destination: "d", Source: "s", RoutingKey: "k", NoWait: true, Arguments: wire.Table{}},
		},
		"exchange.unbind-ok": {"0028 0033", &wire.ExchangeUnbindOk{}},
		"counts": {
			"0032 000b 01 71 00000007 00000002",
			&wire.QueueDeclareOk{Queue: "q", MessageCount: 7, ConsumerCount: 2},
		},
		"qos": {
			"003c 000a 00000000 000a 01",
			&wire.BasicQos{PrefetchCount: 10, Global: true},
		},
		"consume": {
			"003c 0014 0000 01 71 01 63 06 00000000",
			&wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true, Exclusive: true, Arguments: wire.Table{}},
		},
		"publish with any octets as key": {
			"003c 0028 0000 01 78 03 ff00fe 01",
			&wire.BasicPublish{Exchange: "x", RoutingKey: "\xff\x00\xfe", Mandatory: true},
		},
		"deliver": {
			"003c 003c 01 63 0102030405060708 01 00 01 6b",
			&wire.BasicDeliver{ConsumerTag: "c", DeliveryTag: 0x0102030405060708, Redelivered: true, RoutingKey: "k"},
		},
		"get-ok": {
			"003c 0047 0000000000000001 00 00 01 71 00000003",
			&wire.BasicGetOk{DeliveryTag: 1, RoutingKey: "q", MessageCount: 3},
		},
		"return": {
			"003c 0032 0138 08 4e4f5f524f555445 00 01 6b",
			&wire.BasicReturn{ReplyCode: 312, ReplyText: "NO_ROUTE", RoutingKey: "k"},
		},
		"nack": {
			"003c 0078 0000000000000009 03",
			&wire.BasicNack{DeliveryTag: 9, Multiple: true, Requeue: true},
		},
		"confirm.select": {"0055 000a 01", &wire.ConfirmSelect{NoWait: true}},
		"access.request": {
			"001e 000a 05 2f64617461 1f",
			&wire.AccessRequest{Realm: "/data", Exclusive: true, Passive: true, Active: true, Write: true, Read: true},
		},
		"access.request-ok": {"001e 000b 0001", &wire.AccessRequestOk{Ticket: 1}},
		"tx.rollback-ok":    {"005a 001f", &wire.TxRollbackOk{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			payload := unhex(t, tt.octets)
			m, err := wire.DecodeMethod(payload)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(m, tt.method) {
				t.Errorf("decoded %+v, want %+v", m, tt.method)
			}
			want := wire.AppendFrame(nil, wire.Frame{Type: wire.FrameMethod, Channel: 258, Payload: payload})
			if got := wire.AppendMethod(nil, 258, tt.method); !bytes.Equal(got, want) {
				t.Errorf("encoded % x\nwant    % x", got, want)
			}
		})
	}
}

func TestDecodeMethodRefuses(t *testing.T) {
	tests := map[string]struct {
		octets string
		code   uint16
		text   string
	}{
		"nothing":                 {"", wire.SyntaxError, "method frame of 0 octets"},
		"half an id":              {"003c 00", wire.SyntaxError, "method frame"},
		"unknown class":           {"0063 000a", wire.NotImplemented, "unknown method 10 of class 99"},
		"unknown method":          {"003c 0005", wire.NotImplemented, "unknown method 5 of class 60"},
		"no arguments":            {"003c 0028", wire.SyntaxError, "basic.publish: short integer is cut short"},
		"string beyond the end":   {"003c 0028 0000 ff 78", wire.SyntaxError, "basic.publish: short string is cut short"},
		"bits missing":            {"003c 0028 0000 00 00", wire.SyntaxError, "octet is cut short"},
		"octets left over":        {"003c 0028 0000 00 00 00 00", wire.SyntaxError, "left over"},
		"left over, no arguments": {"005a 000a 00", wire.SyntaxError, "tx.select: octets left over"},
		"long string 4 GiB":       {"000a 0015 ffffffff 00", wire.SyntaxError, "long string is cut short"},
		"table 4 GiB":             {"0032 000a 0000 00 00 ffffffff 00", wire.SyntaxError, "table is cut short"},
		"unknown tag":             {"0032 000a 0000 00 00 00000003 01 61 55", wire.SyntaxError, "unknown table value tag 0x55"},
		"queue name not UTF-8":    {"0032 000a 0000 01 ff 00 00000000", wire.FrameError, "malformed UTF-8"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := wire.DecodeMethod(unhex(t, tt.octets))
			wantCode(t, err, tt.code)
			if m != nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("method %v, error %q, want %q in it", m, err, tt.text)
			}
		})
	}
}

// The error names the method that failed, for connection.close.
func TestDecodeMethodErrorNamesMethod(t *testing.T) {
	_, err := wire.DecodeMethod([]byte{0, 60, 0, 40})
	if ce, ok := err.(*wire.ConnError); !ok || ce.ClassID != 60 || ce.MethodID != 40 {
		t.Errorf("error %#v, want class 60 method 40", err)
	}
}

// everyMethod finds all methods by asking the decoder: the shortest run of
// zeros that a method takes as its arguments is its zero value.
func everyMethod(t testing.TB) (all []wire.Method) {
	for class := range byte(100) {
		for method := range byte(150) {
			payload := []byte{0, class, 0, method}
			for range 64 {
				if m, err := wire.DecodeMethod(payload); err == nil {
					all = append(all, m)
					break
				}
				payload = append(payload, 0)
			}
		}
	}
	if len(all) != 66 {
		t.Fatalf("%d methods known, want the 64 of the specification with extensions and 2 of class 30", len(all))
	}
	return all
}

// fill draws a value for every field of m.
func fill(rt *rapid.T, m wire.Method) {
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		switch f.Interface().(type) {
		case bool:
			f.SetBool(rapid.Bool().Draw(rt, name))
		case string:
			f.SetString(rapid.StringN(0, 80, 255).Draw(rt, name))
		case wire.Table:
			f.Set(reflect.ValueOf(drawTable(rt, 3)))
		case uint8, uint16, uint32, uint64:
			f.SetUint(rapid.Uint64Max(1<<f.Type().Bits()-1).Draw(rt, name))
		default:
			rt.Fatalf("field %s of %s has type %s", name, m.Name(), f.Type())
		}
	}
}

func TestMethodRoundTrip(t *testing.T) {
	for _, zero := range everyMethod(t) {
		t.Run(zero.Name(), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				m := reflect.New(reflect.TypeOf(zero).Elem()).Interface().(wire.Method)
				fill(rt, m)
				frame := wire.AppendMethod([]byte("before"), 9, m)[len("before"):]
				f, err := wire.NewReader(bytes.NewReader(frame), 1<<20).ReadFrame()
				if err != nil {
					rt.Fatal(err)
				}
				got, err := wire.DecodeMethod(f.Payload)
				if err != nil {
					rt.Fatal(err)
				}
				if !reflect.DeepEqual(got, m) {
					rt.Fatalf("got %+v, want %+v", got, m)
				}
				if line := wire.Trace(f); !strings.HasPrefix(line, "9 method "+m.Name()) || len(line) > 2100 || !utf8.ValidString(line) {
					rt.Fatalf("trace %q", line)
				}
			})
		})
	}
}

// A method that lacks its last octet, or has one more, is refused.
func TestMethodLengthIsExact(t *testing.T) {
	for _, m := range everyMethod(t) {
		payload := m.Append([]byte{0, byte(m.ID().Class()), 0, byte(m.ID().Method())})
		if _, err := wire.DecodeMethod(append(payload, 0)); err == nil {
			t.Errorf("%s takes an octet too many", m.Name())
		}
		if len(payload) == 4 {
			continue
		}
		if _, err := wire.DecodeMethod(payload[:len(payload)-1]); err == nil {
			t.Errorf("%s takes an octet too few", m.Name())
		}
	}
}

func TestMethodIDs(t *testing.T) {
	content, synchronous := []string{}, 0
	for _, m := range everyMethod(t) {
		if m.ID().String() != m.Name() {
			t.Errorf("id of %s says %s", m.Name(), m.ID())
		}
		if m.ID().HasContent() {
			content = append(content, m.Name())
		}
		if m.ID().Synchronous() {
			synchronous++
		}
	}
	want := []string{"basic.publish", "basic.return", "basic.deliver", "basic.get-ok"}
	if !reflect.DeepEqual(content, want) {
		t.Errorf("content follows %v, want %v", content, want)
	}
	if !wire.IDQueueDeclare.Synchronous() || wire.IDBasicAck.Synchronous() || synchronous < 40 {
		t.Errorf("%d synchronous methods", synchronous)
	}
	if got := wire.MethodID(99<<16 | 1).String(); got != "method 99.1" {
		t.Errorf("an unknown id says %q", got)
	}
	if id, ok := wire.PeekMethod([]byte{0, 60, 0, 40, 1}); !ok || id != wire.IDBasicPublish {
		t.Errorf("peeked %v %v", id, ok)
	}
	if _, ok := wire.PeekMethod([]byte{0, 60, 0}); ok {
		t.Error("peeked into three octets")
	}
}

func TestLongShortStringIsCut(t *testing.T) {
	frame := wire.AppendMethod(nil, 0, &wire.ConnectionClose{ReplyText: strings.Repeat("x", 300)})
	m, err := wire.DecodeMethod(frame[7 : len(frame)-1])
	if err != nil || len(m.(*wire.ConnectionClose).ReplyText) != 255 {
		t.Errorf("%+v, %v", m, err)
	}
}
