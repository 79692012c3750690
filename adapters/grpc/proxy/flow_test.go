package proxy_test

import (
	"context"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/adapters/grpc/proxy"
	"portico/adapters/grpc/relay"

	"google.golang.org/grpc"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
)

// TestStalledReaderBoundsItsServer: a caller that does not read holds up its own call, after a bounded number of messages, and no other.
func TestStalledReaderBoundsItsServer(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, s *server) {
		const size, many = 64 << 10, 1000
		req := &testing_pb.StreamingOutputCallRequest{}
		for range many {
			req.ResponseParameters = append(req.ResponseParameters, &testing_pb.ResponseParameters{Size: size})
		}
		stream, err := h.client.StreamingOutputCall(h.ctx(), req)
		if err != nil {
			t.Fatal(err)
		}
		sent, quiet := 0, time.NewTimer(10*time.Second)
		defer quiet.Stop()
		for running := true; running; {
			select {
			case sent = <-s.sent:
				quiet.Reset(200 * time.Millisecond)
			case <-quiet.C:
				running = false
			}
		}
		if sent == 0 || sent > many/2 {
			t.Errorf("%d of %d messages went to a caller that does not read", sent, many)
		}
		pingPong(t, h, 50) // the same connection, the same server
		if _, err := h.client.UnaryCall(h.ctx(), &testing_pb.SimpleRequest{ResponseSize: 1 << 20}); err != nil {
			t.Error(err)
		}
		for i := range many {
			if resp, err := stream.Recv(); err != nil || len(resp.GetPayload().GetBody()) != size {
				t.Fatalf("message %d: %v", i, err)
			}
		}
	})
}

// TestCancelledStreamsLeaveNothing: neither goroutines nor subscriptions.
func TestCancelledStreamsLeaveNothing(t *testing.T) {
	streams := 1000
	if os.Getenv("E2E") == "long" {
		streams = 10_000
	}
	h := start(t, proxy.Config{})
	s, _ := relayed(h, h.address, relay.Options{})
	if _, err := h.client.EmptyCall(h.ctx(), &testing_pb.Empty{}); err != nil {
		t.Fatal(err)
	}
	conns := make([]testing_pb.TestServiceClient, streams/500)
	for i := range conns {
		conns[i] = testing_pb.NewTestServiceClient(h.dial(h.address))
		if _, err := conns[i].EmptyCall(h.ctx(), &testing_pb.Empty{}); err != nil {
			t.Fatal(err)
		}
	}
	before, subscriptions := runtime.NumGoroutine(), subscriptionsOf(h)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var opening sync.WaitGroup
	for _, client := range conns {
		opening.Go(func() {
			for range 500 {
				if _, err := client.FullDuplexCall(ctx, grpc.WaitForReady(true)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	opening.Wait()
	for range streams {
		select {
		case <-s.streams:
		case <-ctx.Done():
			t.Fatal("not all streams have reached the server")
		}
	}
	cancel()
	h.eventually("nothing is left", func() bool { return runtime.NumGoroutine() <= before+5 && subscriptionsOf(h) <= subscriptions })
	if _, err := h.client.EmptyCall(h.ctx(), &testing_pb.Empty{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// subscriptionsOf is how many subscriptions the embedded server has.
func subscriptionsOf(h *house) int {
	h.Helper()
	families, err := h.gateway.Registry().Gather()
	if err != nil {
		h.Fatal(err)
	}
	for _, f := range families {
		if strings.HasSuffix(f.GetName(), "server_subscriptions") {
			return int(f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	h.Fatal("the gateway does not count its subscriptions")
	return 0
}
