package wire_test

import (
	"bytes"
	"io"
	"testing"

	"portico/adapters/amqp/wire"
)

// loop repeats octets for ever.
type loop struct {
	octets []byte
	at     int
}

func (l *loop) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		c := copy(b[n:], l.octets[l.at:])
		n, l.at = n+c, (l.at+c)%len(l.octets)
	}
	return n, nil
}

// rawProps are the properties of an ordinary persistent message.
func rawProps() []byte {
	p := wire.Properties{ContentType: "application/json", DeliveryMode: 2, MessageID: "4f1c2d", Headers: wire.Table{"trace-id": "00-4bf92f3577b34da6a3ce929d0e0e4736", "attempt": int32(1)}}
	return p.Append(nil)
}

// BenchmarkPublish is one publish of 190 octets as the server takes it in:
// three frames, decoded and validated.
func BenchmarkPublish(b *testing.B) {
	octets := wire.AppendPublish(nil, 1, []byte("orders"), []byte("eu.created"), true, false)
	octets = wire.AppendHeader(octets, 1, wire.ClassBasic, 190, rawProps())
	octets = wire.AppendBody(octets, 1, make([]byte, 190), 131072)
	r := wire.NewReader(&loop{octets: octets}, 131072)
	b.ReportAllocs()
	b.SetBytes(int64(len(octets)))
	for b.Loop() {
		for range 3 {
			f, err := r.ReadFrame()
			if err != nil {
				b.Fatal(err)
			}
			switch f.Type {
			case wire.FrameMethod:
				_, _, _, _, err = wire.DecodePublish(f.Payload)
			case wire.FrameHeader:
				var raw []byte
				if _, _, raw, err = wire.DecodeHeader(f.Payload); err == nil {
					err = wire.PropertiesValid(raw)
				}
				wire.PeekDeliveryMode(raw)
				wire.PeekTable(wire.PeekHeaders(raw), "CC")
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkDeliver is one delivery of 190 octets as the server writes it.
func BenchmarkDeliver(b *testing.B) {
	raw, body := rawProps(), make([]byte, 190)
	exchange, key := []byte("orders"), []byte("eu.created")
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = wire.AppendDeliver(dst[:0], 1, "amq.ctag-1", 12345, false, exchange, key)
		dst = wire.AppendHeader(dst, 1, wire.ClassBasic, uint64(len(body)), raw)
		dst = wire.AppendBody(dst, 1, body, 131072)
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkReadAndDecodeAck(b *testing.B) {
	r := wire.NewReader(&loop{octets: wire.AppendBasicAck(nil, 1, 7, true)}, 131072)
	b.ReportAllocs()
	for b.Loop() {
		f, err := r.ReadFrame()
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := wire.DecodeAck(f.Payload); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeMethod(b *testing.B) {
	for name, m := range map[string]wire.Method{
		"publish":       &wire.BasicPublish{Exchange: "orders", RoutingKey: "eu.created"},
		"queue.declare": &wire.QueueDeclare{Queue: "q", Durable: true, Arguments: wire.Table{"x-queue-type": "quorum", "x-max-length": int32(5)}},
	} {
		octets := payload(wire.AppendMethod(nil, 1, m))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := wire.DecodeMethod(octets); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkProperties(b *testing.B) {
	raw := rawProps()
	b.Run("validate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := wire.PropertiesValid(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := wire.DecodeProperties(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("append", func(b *testing.B) {
		p, err := wire.DecodeProperties(raw)
		if err != nil {
			b.Fatal(err)
		}
		dst := make([]byte, 0, 256)
		b.ReportAllocs()
		for b.Loop() {
			dst = p.Append(dst[:0])
		}
	})
}

// BenchmarkReadLargeFrames is how fast bodies of full frames come in.
func BenchmarkReadLargeFrames(b *testing.B) {
	octets := wire.AppendBody(nil, 1, make([]byte, 131064), 131072)
	r := wire.NewReader(io.Reader(&loop{octets: octets}), 131072)
	b.SetBytes(int64(len(octets)))
	b.ReportAllocs()
	for b.Loop() {
		f, err := r.ReadFrame()
		if err != nil || !bytes.Equal(f.Payload[:1], []byte{0}) {
			b.Fatal(err)
		}
	}
}
