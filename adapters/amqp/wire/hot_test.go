package wire_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"portico/adapters/amqp/wire"
)

// The ways around the structs give the octets of the structs.
func TestHotPathsAgreeWithMethods(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		name := func(what string) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 255).Draw(rt, what)) }
		channel, tag := rapid.Uint16().Draw(rt, "channel"), rapid.Uint64().Draw(rt, "tag")
		one, two := rapid.Bool().Draw(rt, "one"), rapid.Bool().Draw(rt, "two")
		count := rapid.Uint32().Draw(rt, "count")
		consumer, exchange, key := name("consumer"), name("exchange"), name("key")
		x, k := []byte(exchange), []byte(key)

		for _, tt := range []struct {
			got    []byte
			method wire.Method
		}{
			{
				wire.AppendDeliver(nil, channel, consumer, tag, one, x, k),
				&wire.BasicDeliver{ConsumerTag: consumer, DeliveryTag: tag, Redelivered: one, Exchange: exchange, RoutingKey: key},
			},
			{
				wire.AppendGetOk(nil, channel, tag, one, x, k, count),
				&wire.BasicGetOk{DeliveryTag: tag, Redelivered: one, Exchange: exchange, RoutingKey: key, MessageCount: count},
			},
			{
				wire.AppendPublish(nil, channel, x, k, one, two),
				&wire.BasicPublish{Exchange: exchange, RoutingKey: key, Mandatory: one, Immediate: two},
			},
			{wire.AppendBasicAck(nil, channel, tag, one), &wire.BasicAck{DeliveryTag: tag, Multiple: one}},
			{wire.AppendBasicNack(nil, channel, tag, one, two), &wire.BasicNack{DeliveryTag: tag, Multiple: one, Requeue: two}},
			{wire.AppendBasicReject(nil, channel, tag, one), &wire.BasicReject{DeliveryTag: tag, Requeue: one}},
		} {
			want := wire.AppendMethod(nil, channel, tt.method)
			if !bytes.Equal(tt.got, want) {
				rt.Fatalf("%s: % x\nwant % x", tt.method.Name(), tt.got, want)
			}
			checkHotDecode(rt, tt.method, want[7:len(want)-1])
		}
	})
}

func checkHotDecode(t fataler, m wire.Method, payload []byte) {
	switch m := m.(type) {
	case *wire.BasicPublish:
		x, k, mandatory, immediate, err := wire.DecodePublish(payload)
		if err != nil || string(x) != m.Exchange || string(k) != m.RoutingKey || mandatory != m.Mandatory || immediate != m.Immediate {
			t.Fatalf("decoded %q %q %v %v %v of %+v", x, k, mandatory, immediate, err, m)
		}
	case *wire.BasicAck:
		if tag, multiple, err := wire.DecodeAck(payload); err != nil || tag != m.DeliveryTag || multiple != m.Multiple {
			t.Fatalf("decoded %d %v %v of %+v", tag, multiple, err, m)
		}
	case *wire.BasicNack:
		if tag, multiple, requeue, err := wire.DecodeNack(payload); err != nil || tag != m.DeliveryTag || multiple != m.Multiple || requeue != m.Requeue {
			t.Fatalf("decoded %d %v %v %v of %+v", tag, multiple, requeue, err, m)
		}
	case *wire.BasicReject:
		if tag, requeue, err := wire.DecodeReject(payload); err != nil || tag != m.DeliveryTag || requeue != m.Requeue {
			t.Fatalf("decoded %d %v %v of %+v", tag, requeue, err, m)
		}
	}
}

func TestHotPathsRefuse(t *testing.T) {
	decoders := map[string]func([]byte) error{
		"publish": func(b []byte) error { _, _, _, _, err := wire.DecodePublish(b); return err },
		"ack":     func(b []byte) error { _, _, err := wire.DecodeAck(b); return err },
		"nack":    func(b []byte) error { _, _, _, err := wire.DecodeNack(b); return err },
		"reject":  func(b []byte) error { _, _, err := wire.DecodeReject(b); return err },
	}
	frames := map[string][]byte{
		"publish": wire.AppendPublish(nil, 1, []byte("x"), []byte("k"), true, false),
		"ack":     wire.AppendBasicAck(nil, 1, 7, true),
		"nack":    wire.AppendBasicNack(nil, 1, 7, true, true),
		"reject":  wire.AppendBasicReject(nil, 1, 7, true),
	}
	for name, decode := range decoders {
		payload := frames[name][7 : len(frames[name])-1]
		for n := range payload {
			wantCode(t, decode(payload[:n]), wire.SyntaxError)
		}
		wantCode(t, decode(append(bytes.Clone(payload), 0)), wire.SyntaxError)
		wantCode(t, decode([]byte{0, 90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0}), wire.SyntaxError)
		if err := decode(payload); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHotPathAllocations(t *testing.T) {
	props := wire.Properties{
		ContentType: "application/json", DeliveryMode: 2, MessageID: "0d9e", ReplyTo: "r",
		Headers: wire.Table{"trace": "abc", "list": []any{"a", int64(1)}, "inner": wire.Table{"x": true}},
	}
	raw := props.Append(nil)
	publish := wire.AppendPublish(nil, 1, []byte("orders"), []byte("eu.created"), true, false)
	publish = publish[7 : len(publish)-1]
	ack := wire.AppendBasicAck(nil, 1, 7, true)
	ack = ack[7 : len(ack)-1]
	header := wire.AppendHeader(nil, 1, wire.ClassBasic, 190, raw)
	header = header[7 : len(header)-1]
	body := make([]byte, 10_000)
	dst := make([]byte, 0, 64<<10)
	x, k := []byte("orders"), []byte("eu.created")

	for name, tt := range map[string]struct {
		limit float64
		f     func()
	}{
		"decode publish":      {0, func() { wire.DecodePublish(publish) }},
		"decode ack":          {0, func() { wire.DecodeAck(ack) }},
		"decode header":       {0, func() { wire.DecodeHeader(header) }},
		"validate properties": {0, func() { wire.PropertiesValid(raw) }},
		"peeks": {0, func() {
			wire.PeekDeliveryMode(raw)
			wire.PeekReplyTo(raw)
			wire.PeekTable(wire.PeekHeaders(raw), "trace")
		}},
		"append deliver":           {0, func() { wire.AppendDeliver(dst, 1, "ctag", 1, false, x, k) }},
		"append ack":               {0, func() { wire.AppendBasicAck(dst, 1, 1, false) }},
		"append nack":              {0, func() { wire.AppendBasicNack(dst, 1, 1, false, true) }},
		"append header":            {0, func() { wire.AppendHeader(dst, 1, wire.ClassBasic, 190, raw) }},
		"append body":              {0, func() { wire.AppendBody(dst, 1, body, wire.FrameMinSize) }},
		"append heartbeat":         {0, func() { wire.AppendHeartbeat(dst) }},
		"decode method of publish": {3, func() { wire.DecodeMethod(publish) }}, // struct, exchange, key
		"decode method of ack":     {1, func() { wire.DecodeMethod(ack) }},     // struct
	} {
		t.Run(name, func(t *testing.T) { allocates(t, tt.limit, tt.f) })
	}

	stream := bytes.NewReader(bytes.Repeat(wire.AppendBasicAck(nil, 1, 7, true), 10_000))
	r := wire.NewReader(stream, 131072)
	for range 9000 { // past the growth of its buffer
		if _, err := r.ReadFrame(); err != nil {
			t.Fatal(err)
		}
	}
	allocates(t, 0, func() { r.ReadFrame() })
}
