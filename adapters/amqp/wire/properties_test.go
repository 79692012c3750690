package wire_test

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"portico/adapters/amqp/wire"
)

func TestPropertiesOctets(t *testing.T) {
	tests := map[string]struct {
		octets string
		want   wire.Properties
	}{
		"none":                {"0000", wire.Properties{}},
		"content-type":        {"8000 01 61", wire.Properties{Flags: wire.FlagContentType, ContentType: "a"}},
		"empty, not absent":   {"8000 00", wire.Properties{Flags: wire.FlagContentType}},
		"content-encoding":    {"4000 01 61", wire.Properties{Flags: wire.FlagContentEncoding, ContentEncoding: "a"}},
		"headers":             {"2000 00000004 01 6b 74 01", wire.Properties{Flags: wire.FlagHeaders, Headers: wire.Table{"k": true}}},
		"empty headers":       {"2000 00000000", wire.Properties{Flags: wire.FlagHeaders, Headers: wire.Table{}}},
		"delivery-mode":       {"1000 02", wire.Properties{Flags: wire.FlagDeliveryMode, DeliveryMode: 2}},
		"priority zero":       {"0800 00", wire.Properties{Flags: wire.FlagPriority}},
		"correlation-id":      {"0400 01 61", wire.Properties{Flags: wire.FlagCorrelationID, CorrelationID: "a"}},
		"reply-to":            {"0200 01 61", wire.Properties{Flags: wire.FlagReplyTo, ReplyTo: "a"}},
		"expiration":          {"0100 02 3530", wire.Properties{Flags: wire.FlagExpiration, Expiration: "50"}},
		"message-id":          {"0080 01 61", wire.Properties{Flags: wire.FlagMessageID, MessageID: "a"}},
		"timestamp":           {"0040 0000000000000001", wire.Properties{Flags: wire.FlagTimestamp, Timestamp: time.Unix(1, 0).UTC()}},
		"timestamp of year 1": {"0040 fffffff1886e0900", wire.Properties{Flags: wire.FlagTimestamp}},
		"type":                {"0020 01 61", wire.Properties{Flags: wire.FlagType, Type: "a"}},
		"user-id":             {"0010 01 61", wire.Properties{Flags: wire.FlagUserID, UserID: "a"}},
		"app-id":              {"0008 01 61", wire.Properties{Flags: wire.FlagAppID, AppID: "a"}},
		"cluster-id":          {"0004 01 61", wire.Properties{Flags: wire.FlagClusterID, ClusterID: "a"}},
		"several in order": {
			"9104 01 61 02 01 31 01 7a",
			wire.Properties{
				Flags:       wire.FlagContentType | wire.FlagDeliveryMode | wire.FlagExpiration | wire.FlagClusterID,
				ContentType: "a", DeliveryMode: 2, Expiration: "1", ClusterID: "z",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			raw := unhex(t, tt.octets)
			got, err := wire.DecodeProperties(raw)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("decoded %+v, %v; want %+v", got, err, tt.want)
			}
			if b := tt.want.Append([]byte("x")); !bytes.Equal(b[1:], raw) {
				t.Errorf("encoded % x, want % x", b[1:], raw)
			}
			if err := wire.PropertiesValid(raw); err != nil {
				t.Errorf("not valid: %v", err)
			}
			unflagged := tt.want
			unflagged.Flags = 0
			if b := unflagged.Append(nil); name == "several in order" && !bytes.Equal(b, raw) {
				t.Errorf("encoded from fields alone % x", b)
			}
		})
	}
}

func TestPropertiesRefuse(t *testing.T) {
	tests := map[string]string{
		"nothing":            "",
		"half the flags":     "80",
		"a word of flags on": "0001 0000",
		"a fifteenth":        "0002",
		"absent string":      "8000",
		"string beyond":      "8000 02 61",
		"absent octet":       "1000",
		"half a timestamp":   "0040 00000000",
		"headers beyond":     "2000 00000005 01 6b 74 01",
		"headers malformed":  "2000 00000004 01 6b 55 01",
		"octets left over":   "8000 01 61 62",
		"left over, none":    "0000 00",
	}
	for name, octets := range tests {
		t.Run(name, func(t *testing.T) {
			raw := unhex(t, octets)
			p, err := wire.DecodeProperties(raw)
			wantCode(t, err, wire.SyntaxError)
			if !reflect.DeepEqual(p, wire.Properties{}) {
				t.Errorf("properties %+v beside the error", p)
			}
			wantCode(t, wire.PropertiesValid(raw), wire.SyntaxError)
		})
	}
}

func TestPropertiesHas(t *testing.T) {
	p := wire.Properties{Flags: wire.FlagReplyTo, Type: "t", Timestamp: time.Unix(5, 0)}
	for _, flag := range []uint16{wire.FlagReplyTo, wire.FlagType, wire.FlagTimestamp} {
		if !p.Has(flag) {
			t.Errorf("flag %04x is missing", flag)
		}
	}
	if p.Has(wire.FlagContentType) || p.Has(wire.FlagPriority) || p.Has(wire.FlagHeaders) {
		t.Error("a property that is neither set nor flagged is there")
	}
}

func drawProperties(rt *rapid.T) wire.Properties {
	p := wire.Properties{Flags: rapid.Uint16().Draw(rt, "flags") &^ 3}
	v := reflect.ValueOf(&p).Elem()
	for i := 1; i < v.NumField(); i++ {
		if p.Flags&(1<<(16-i)) == 0 {
			continue
		}
		switch f := v.Field(i); f.Interface().(type) {
		case string:
			f.SetString(string(rapid.SliceOfN(rapid.Byte(), 0, 255).Draw(rt, "string")))
		case uint8:
			f.SetUint(rapid.Uint64Max(math.MaxUint8).Draw(rt, "octet"))
		case wire.Table:
			f.Set(reflect.ValueOf(drawTable(rt, 3)))
		case time.Time:
			f.Set(reflect.ValueOf(time.Unix(rapid.Int64().Draw(rt, "time"), 0).UTC()))
		}
	}
	return p
}

// What is decoded, peeked and validated agrees, for any properties.
func TestPropertiesRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := drawProperties(rt)
		raw := want.Append(nil)
		got, err := wire.DecodeProperties(raw)
		if err != nil || !reflect.DeepEqual(got, want) {
			rt.Fatalf("got %+v, %v; want %+v", got, err, want)
		}
		if again := got.Append(nil); !bytes.Equal(again, raw) {
			rt.Fatalf("% x once, % x again", raw, again)
		}
		if err := wire.PropertiesValid(raw); err != nil {
			rt.Fatal(err)
		}
		checkPeeks(rt, raw, &want)
	})
}

// fataler is a test or a rapid check.
type fataler interface{ Fatalf(string, ...any) }

// checkPeeks compares every peek into raw with what a full decode found.
func checkPeeks(t fataler, raw []byte, p *wire.Properties) {
	if got := wire.PeekDeliveryMode(raw); got != p.DeliveryMode {
		t.Fatalf("peeked delivery mode %d of %+v", got, p)
	}
	if got := wire.PeekPriority(raw); got != p.Priority {
		t.Fatalf("peeked priority %d of %+v", got, p)
	}
	for flag, peek := range map[uint16]struct {
		got  []byte
		want string
	}{
		wire.FlagReplyTo:       {wire.PeekReplyTo(raw), p.ReplyTo},
		wire.FlagExpiration:    {wire.PeekExpiration(raw), p.Expiration},
		wire.FlagUserID:        {wire.PeekUserID(raw), p.UserID},
		wire.FlagCorrelationID: {wire.PeekCorrelationID(raw), p.CorrelationID},
		wire.FlagMessageID:     {wire.PeekMessageID(raw), p.MessageID},
	} {
		if string(peek.got) != peek.want || (peek.got != nil) != p.Has(flag) {
			t.Fatalf("peeked %q for flag %04x of %+v", peek.got, flag, p)
		}
	}
	headers := wire.PeekHeaders(raw)
	if (headers != nil) != p.Has(wire.FlagHeaders) {
		t.Fatalf("peeked headers % x of %+v", headers, p)
	}
	if headers == nil {
		return
	}
	if got, rest, err := wire.DecodeTable(headers); err != nil || len(rest) != 0 || len(got) != len(p.Headers) {
		t.Fatalf("peeked headers decode to %v, rest %d, %v", got, len(rest), err)
	}
}

func TestPeekIntoMalformedProperties(t *testing.T) {
	for name, octets := range map[string]string{
		"nothing": "", "flags alone": "ffec", "cut in front": "8200 05 61", "cut within": "0200 05 61",
	} {
		raw := unhex(t, octets)
		if wire.PeekReplyTo(raw) != nil || wire.PeekHeaders(raw) != nil || wire.PeekUserID(raw) != nil || wire.PeekPriority(raw) != 0 || wire.PeekDeliveryMode(raw) != 0 {
			t.Errorf("%s: something was found in % x", name, raw)
		}
	}
}

func TestContentHeader(t *testing.T) {
	payload := unhex(t, "003c 0000 0000000000000005 8000 0a 746578742f706c61696e")
	class, size, raw, err := wire.DecodeHeader(payload)
	if err != nil || class != wire.ClassBasic || size != 5 || !bytes.Equal(raw, payload[12:]) {
		t.Errorf("class %d, size %d, raw % x, %v", class, size, raw, err)
	}
	want := wire.AppendFrame(nil, wire.Frame{Type: wire.FrameHeader, Channel: 3, Payload: payload})
	if got := wire.AppendHeader(nil, 3, wire.ClassBasic, 5, raw); !bytes.Equal(got, want) {
		t.Errorf("encoded % x, want % x", got, want)
	}
	bare := wire.AppendHeader(nil, 3, wire.ClassBasic, math.MaxUint64, nil)
	if _, size, raw, err := wire.DecodeHeader(bare[7 : len(bare)-1]); err != nil || size != math.MaxUint64 || !bytes.Equal(raw, []byte{0, 0}) {
		t.Errorf("without properties: size %d, raw % x, %v", size, raw, err)
	}
	payload[3] = 1
	_, _, _, err = wire.DecodeHeader(payload)
	wantCode(t, err, wire.UnexpectedFrame)
	_, _, _, err = wire.DecodeHeader(payload[:13])
	wantCode(t, err, wire.SyntaxError)
}
