package amqp

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core"

	"pgregory.net/rapid"
)

// anyValue draws a table value of any type.
func anyValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		most := 15
		if depth == 0 {
			most = 12
		}
		switch rapid.IntRange(0, most).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]string{"", "red", " padded ", "two\nlines", "ünï", "\xff"}).Draw(t, "s")
		case 1:
			return rapid.Bool().Draw(t, "t")
		case 2:
			return rapid.Int8().Draw(t, "b")
		case 3:
			return rapid.Uint8().Draw(t, "B")
		case 4:
			return rapid.Int16().Draw(t, "s")
		case 5:
			return rapid.Uint16().Draw(t, "u")
		case 6:
			return rapid.Int32().Draw(t, "I")
		case 7:
			return rapid.Uint32().Draw(t, "i")
		case 8:
			return rapid.Int64().Draw(t, "l")
		case 9:
			return rapid.Float64().Draw(t, "d")
		case 10:
			return time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "T"), 0).UTC()
		case 11:
			return rapid.SliceOf(rapid.Byte()).Draw(t, "x")
		case 12:
			return nil
		case 13:
			return wire.Decimal{Scale: rapid.Uint8().Draw(t, "scale"), Value: rapid.Uint32().Draw(t, "value")}
		case 14:
			return rapid.SliceOfN(anyValue(depth-1), 0, 4).Draw(t, "A")
		default:
			return wire.Table(rapid.MapOfN(anyName, anyValue(depth-1), 0, 4).Draw(t, "F"))
		}
	})
}

var anyName = rapid.SampledFrom([]string{"a", "A", "color", "x-thing", "", "with blank", "Nats-Rollup", "content-type", "Portico-Amqp", "ü", "traceparent", "portico-reply-to"})

var anyText = rapid.SampledFrom([]string{"", "plain", " padded", "two\r\nlines", "\x00", "\xfe", "30000", "amq.rabbitmq.reply-to.x", "ü"})

// anyProperties draws a property list, with properties present and absent, empty and not.
var anyProperties = rapid.Custom(func(t *rapid.T) wire.Properties {
	p := wire.Properties{Flags: uint16(rapid.IntRange(0, 1<<14-1).Draw(t, "flags")) << 2}
	for _, tp := range textProperties {
		if p.Flags&tp.flag != 0 {
			*tp.field(&p) = anyText.Draw(t, tp.header)
		}
	}
	if p.Flags&wire.FlagHeaders != 0 {
		p.Headers = rapid.MapOfN(anyName, anyValue(2), 0, 6).Draw(t, "headers")
	}
	if p.Flags&wire.FlagDeliveryMode != 0 {
		p.DeliveryMode = rapid.Uint8().Draw(t, "mode")
	}
	if p.Flags&wire.FlagPriority != 0 {
		p.Priority = rapid.Uint8().Draw(t, "priority")
	}
	if p.Flags&wire.FlagTimestamp != 0 {
		p.Timestamp = time.Unix(rapid.Int64Range(-5, 1<<40).Draw(t, "timestamp"), 0)
	}
	if p.Flags&wire.FlagClusterID != 0 {
		p.ClusterID = anyText.Draw(t, "cluster")
	}
	return p
})

// DESIGN §3: AMQP -> bus -> AMQP leaves every octet of the property list; what is on the bus is legal there.
func TestPropertiesSurviveTheBus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyProperties.Draw(t, "properties")
		raw := p.Append(nil)
		record := core.AppendEnvelope(nil, core.FormAMQP, "", "", append(appendBlind(appendRoute(nil, []byte("x"), []byte("k")), nil), raw...))
		m, err := liveMessage("x.k", record)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range m.Header {
			if name != core.HeaderAMQP && (name == "" || !slices.ContainsFunc(values, readable)) {
				t.Fatalf("header %q: %q", name, values)
			}
		}
		back := intactProperties(m.Header)
		if back == nil {
			h := headerProperties(m.Header)
			back = h.Append(nil)
		}
		if !bytes.Equal(back, raw) {
			t.Fatalf("%x came back as %x through %v", raw, back, m.Header)
		}
	})
}

// A header that somebody changed on the way counts, not the property list that came along.
func TestChangedHeadersWin(t *testing.T) {
	p := wire.Properties{ContentType: "text/plain", Headers: wire.Table{"n": int32(1), "raw": []byte{1}}}
	record := core.AppendEnvelope(nil, core.FormAMQP, "", "", append(appendBlind(appendRoute(nil, nil, nil), nil), p.Append(nil)...))
	for name, change := range map[string]func(core.Header){
		"changed": func(h core.Header) { h.Set("n", "2") },
		"added":   func(h core.Header) { h.Set("more", "x") },
		"removed": func(h core.Header) { h.Del("n") },
	} {
		t.Run(name, func(t *testing.T) {
			m, err := liveMessage("s", record)
			if err != nil {
				t.Fatal(err)
			}
			if intactProperties(m.Header) == nil {
				t.Fatal("not intact before")
			}
			change(m.Header)
			if intactProperties(m.Header) != nil {
				t.Fatal("still intact")
			}
		})
	}
}

// bus -> AMQP -> bus: what text headers say survives.
func TestHeadersSurviveAMQP(t *testing.T) {
	names := rapid.SampledFrom([]string{"a", "Color", "traceparent", core.HeaderContentType, core.HeaderMessageID, core.HeaderPriority, core.HeaderTimestamp, core.HeaderCorrelationID})
	values := rapid.SliceOfN(rapid.SampledFrom([]string{"1", "x", "", "ü", "a b"}), 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		h := core.Header{}
		for name, v := range rapid.MapOfN(names, values, 0, 5).Draw(t, "header") {
			if name != "a" && name != "Color" && name != "traceparent" {
				v = []string{"7"}
			}
			h[name] = v
		}
		p := headerProperties(h)
		decoded, err := wire.DecodeProperties(p.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		back := propertiesHeader(&decoded)
		if len(back) != len(h) {
			t.Fatalf("%v came back as %v", h, back)
		}
		for name, v := range h {
			if !slices.Equal(back[name], v) {
				t.Fatalf("%s: %q came back as %q", name, v, back[name])
			}
		}
	})
}

// The subjects of exchanges and keys lead back to them.
func TestSubjectsLeadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := string(rapid.SliceOfN(rapid.SampledFrom([]byte("ab.$*>% _\xff#INBOX")), 0, 12).Draw(t, "key"))
		if got := bareKey(bareSubject(key)); got != key {
			t.Fatalf("key %q has subject %q, which is key %q", key, bareSubject(key), got)
		}
		if topic, _ := core.DecodeKey(exchangeSubject(amqTopic, key)); topic != key {
			t.Fatalf("key %q of amq.topic came back as %q", key, topic)
		}
	})
}
