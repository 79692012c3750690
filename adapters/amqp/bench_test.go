package amqp_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"portico/adapters/amqp/wire"
)

// The benchmarks play the client with octets that were encoded before, so that time and allocations are the server's: reader, routing, queue, encoding of deliveries and
// confirms, writer.

const benchBatch = 64

// noDeadline lifts the deadline of a test connection.
var noDeadline time.Time

// publications is a batch of publishes of 128 octets.
func publications(exchange, key string) []byte {
	one := publication(1, exchange, key, make([]byte, 128), 4096)
	return bytes.Repeat(one, benchBatch)
}

// drainFrames reads from p until n of the wanted methods have come (acks count as many as they confirm).
func drainFrames(b *testing.B, p *peer, n int, id wire.MethodID) {
	b.Helper()
	var confirmed uint64
	for seen := 0; seen < n; {
		f, err := p.in.ReadFrame()
		if err != nil {
			b.Fatal(err)
		}
		if f.Type != wire.FrameMethod {
			continue
		}
		got, _ := wire.PeekMethod(f.Payload)
		switch {
		case got != id:
		case id == wire.IDBasicAck:
			tag, multiple, err := wire.DecodeAck(f.Payload)
			must(b, err)
			if multiple {
				seen += int(tag - confirmed)
				confirmed = tag
			} else {
				seen++
				confirmed = max(confirmed, tag)
			}
		default:
			seen++
		}
	}
}

// Publishing to nobody: frames, content, route.
func BenchmarkPublishUnroutable(b *testing.B) {
	p := open(b).peer(b, login{})
	must(b, p.nc.SetDeadline(noDeadline))
	p.open(1)
	batch := publications("amq.direct", "nobody")
	b.ReportAllocs()
	b.SetBytes(128)
	for i := 0; i < b.N; i += benchBatch {
		if _, err := p.nc.Write(batch); err != nil {
			b.Fatal(err)
		}
	}
	p.send(1, &wire.BasicQos{})
	want[*wire.BasicQosOk](p, 1)
}

// Publishing with confirms to a transient and to a durable queue that nobody reads; purged now and then.
func BenchmarkPublishConfirm(b *testing.B) {
	for name, durable := range map[string]bool{"transient": false, "durable": true} {
		b.Run(name, func(b *testing.B) {
			p := open(b).peer(b, login{})
			must(b, p.nc.SetDeadline(noDeadline))
			p.open(1)
			p.send(1, &wire.QueueDeclare{Queue: "q", Durable: durable}, &wire.ConfirmSelect{})
			wantDeclared(p)
			want[*wire.ConfirmSelectOk](p, 1)
			batch := publications("", "q")
			b.ReportAllocs()
			b.SetBytes(128)
			go func() {
				for i := 0; i < b.N; i += benchBatch {
					if _, err := p.nc.Write(batch); err != nil {
						return
					}
				}
			}()
			drainFrames(b, p, b.N, wire.IDBasicAck)
		})
	}
}

// From one connection through a transient queue to another, without acknowledgements.
func BenchmarkPublishDeliver(b *testing.B) {
	d := open(b)
	from, to := d.peer(b, login{}), d.peer(b, login{})
	for _, p := range []*peer{from, to} {
		must(b, p.nc.SetDeadline(noDeadline))
		p.open(1)
	}
	to.send(1, &wire.QueueDeclare{Queue: "q"}, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true})
	wantDeclared(to)
	want[*wire.BasicConsumeOk](to, 1)
	batch := publications("", "q")
	b.ReportAllocs()
	b.SetBytes(128)
	go func() {
		for i := 0; i < b.N; i += benchBatch {
			if _, err := from.nc.Write(batch); err != nil {
				return
			}
		}
	}()
	drainFrames(b, to, b.N, wire.IDBasicDeliver)
}

// A backlog to one consumer that acknowledges each delivery.
func BenchmarkDeliverAck(b *testing.B) {
	d := open(b)
	p := d.peer(b, login{})
	must(b, p.nc.SetDeadline(noDeadline))
	p.open(1)
	p.send(1, &wire.QueueDeclare{Queue: "q"}, &wire.BasicQos{PrefetchCount: 500})
	wantDeclared(p)
	want[*wire.BasicQosOk](p, 1)
	batch := publications("", "q")
	for i := 0; i < b.N; i += benchBatch {
		p.write(batch)
	}
	p.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	b.ReportAllocs()
	b.SetBytes(128)
	b.ResetTimer()
	want[*wire.BasicConsumeOk](p, 1)
	var acks []byte
	tag := uint64(0)
	for tag < uint64(b.N) {
		f, err := p.in.ReadFrame()
		if err != nil {
			b.Fatal(err)
		}
		if f.Type == wire.FrameMethod {
			tag++
			acks = wire.AppendBasicAck(acks, 1, tag, false)
		}
		if !p.in.FrameBuffered() {
			if _, err := p.nc.Write(acks); err != nil && err != io.EOF {
				b.Fatal(err)
			}
			acks = acks[:0]
		}
	}
}
