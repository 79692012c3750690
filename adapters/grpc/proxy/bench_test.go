package proxy_test

import (
	"io"
	"slices"
	"testing"
	"time"

	"portico/adapters/grpc/proxy"
	"portico/adapters/grpc/relay"

	testing_pb "google.golang.org/grpc/interop/grpc_testing"
)

// benchmarked are the ways of a call: without the gateway, and through it.
func benchmarked(b *testing.B, f func(b *testing.B, client testing_pb.TestServiceClient)) {
	for _, way := range []struct {
		name  string
		begin func(b *testing.B) testing_pb.TestServiceClient
	}{
		{"direct", func(b *testing.B) testing_pb.TestServiceClient {
			h := start(b, proxy.Config{})
			return testing_pb.NewTestServiceClient(h.dial(newBackend(b, false).address))
		}},
		{"backend", func(b *testing.B) testing_pb.TestServiceClient {
			h := start(b, proxy.Config{Backends: []proxy.Backend{{Address: newBackend(b, true).address}}})
			h.reachable(h.address)
			return h.client
		}},
		{"relay", func(b *testing.B) testing_pb.TestServiceClient {
			h := start(b, proxy.Config{})
			relayed(h, h.address, relay.Options{})
			return h.client
		}},
	} {
		b.Run(way.name, func(b *testing.B) { f(b, way.begin(b)) })
	}
}

// BenchmarkUnary is one call after another; p50 is what is looked at: through the gateway it should be at most 200 µs more than without.
func BenchmarkUnary(b *testing.B) {
	benchmarked(b, func(b *testing.B, client testing_pb.TestServiceClient) {
		var took []time.Duration
		ctx := b.Context()
		for b.Loop() {
			began := time.Now()
			if _, err := client.UnaryCall(ctx, &testing_pb.SimpleRequest{ResponseSize: 128, Payload: payloadOf(128)}); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
	})
}

// BenchmarkStream sends messages of 128 bytes both ways without waiting for the answers.
func BenchmarkStream(b *testing.B) {
	benchmarked(b, func(b *testing.B, client testing_pb.TestServiceClient) {
		stream, err := client.FullDuplexCall(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		go func() {
			for range b.N {
				if stream.Send(&testing_pb.StreamingOutputCallRequest{Payload: payloadOf(128)}) != nil {
					return
				}
			}
			_ = stream.CloseSend()
		}()
		for range b.N {
			if _, err := stream.Recv(); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := stream.Recv(); err != io.EOF {
			b.Fatal(err)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
}
