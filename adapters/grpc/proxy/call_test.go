package proxy_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"portico/adapters/grpc/proxy"
	"portico/adapters/grpc/relay"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
)

// ways are the ways in which a server can be reached.
var ways = map[string]func(t *testing.T) (*house, *server){
	"a backend with reflection": func(t *testing.T) (*house, *server) {
		b := newBackend(t, true)
		h := start(t, proxy.Config{Backends: []proxy.Backend{{Address: b.address}}})
		h.reachable(h.address)
		return h, b.server
	},
	"a backend without reflection": func(t *testing.T) (*house, *server) {
		b := newBackend(t, false)
		h := start(t, proxy.Config{Backends: []proxy.Backend{{Address: b.address, Services: []string{service}}}})
		h.reachable(h.address)
		return h, b.server
	},
	"a relay": func(t *testing.T) (*house, *server) {
		h := start(t, proxy.Config{})
		s, _ := relayed(h, h.address, relay.Options{})
		return h, s
	},
	"a relay at another door": func(t *testing.T) (*house, *server) {
		h := start(t, proxy.Config{})
		other, _ := h.door(proxy.Config{})
		s, _ := relayed(h, other, relay.Options{}) // of which the first door's proxy knows nothing
		return h, s
	},
}

func everyWay(t *testing.T, f func(t *testing.T, h *house, s *server)) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			h, s := way(t)
			f(t, h, s)
		})
	}
}

func payloadOf(size int) *testing_pb.Payload {
	return &testing_pb.Payload{Body: bytes.Repeat([]byte{'x'}, size)}
}

func TestUnary(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, _ *server) {
		for _, size := range []int32{0, 1, 271828, 5 << 20} {
			resp, err := h.client.UnaryCall(h.ctx(), &testing_pb.SimpleRequest{ResponseSize: size, Payload: payloadOf(int(size))})
			if err != nil || len(resp.GetPayload().GetBody()) != int(size) {
				t.Fatalf("%d bytes: got %d, %v", size, len(resp.GetPayload().GetBody()), err)
			}
		}
	})
}

func TestMetadataTravelsBothWays(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, _ *server) {
		binary := string([]byte{0xab, 0, 0xff, '\r', '\n'})
		ctx := metadata.AppendToOutgoingContext(h.ctx(), echoInitial, "one", echoInitial, " two, three ", echoTrailing, binary)
		check := func(what string, header, trailer metadata.MD) {
			t.Helper()
			if got := header.Get(echoInitial); len(got) != 2 || got[0] != "one" {
				t.Errorf("%s: header %q", what, got)
			}
			if got := trailer.Get(echoTrailing); !slices.Equal(got, []string{binary}) {
				t.Errorf("%s: trailer %q", what, got)
			}
		}
		var header, trailer metadata.MD
		if _, err := h.client.UnaryCall(ctx, &testing_pb.SimpleRequest{}, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		check("unary", header, trailer)
		stream, err := h.client.FullDuplexCall(ctx)
		if err != nil {
			t.Fatal(err)
		}
		header, err = stream.Header() // before any message
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != io.EOF {
			t.Fatalf("the end: %v", err)
		}
		check("stream", header, stream.Trailer())
	})
}

func TestStatusTravelsWhole(t *testing.T) {
	const message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈 100%\t\n"
	everyWay(t, func(t *testing.T, h *house, _ *server) {
		_, err := h.client.UnaryCall(h.ctx(), &testing_pb.SimpleRequest{ResponseStatus: &testing_pb.EchoStatus{Code: int32(codes.Aborted), Message: message}})
		want(t, err, codes.Aborted, "WANTED")
		if got := statusOf(err).Message(); got != message {
			t.Errorf("message %q", got)
		}
		stream, err := h.client.FullDuplexCall(h.ctx()) // ends early: the client has not half-closed
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&testing_pb.StreamingOutputCallRequest{ResponseStatus: &testing_pb.EchoStatus{Code: int32(codes.DataLoss), Message: message}}); err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		if s := statusOf(err); s.Code() != codes.DataLoss || s.Message() != message {
			t.Errorf("stream: %v", err)
		}
	})
}

func TestStreams(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, _ *server) {
		t.Run("of the server", func(t *testing.T) {
			sizes := []int32{31415, 9, 2653, 58979, 0, 1 << 20}
			req := &testing_pb.StreamingOutputCallRequest{}
			for _, size := range sizes {
				req.ResponseParameters = append(req.ResponseParameters, &testing_pb.ResponseParameters{Size: size})
			}
			stream, err := h.client.StreamingOutputCall(h.ctx(), req)
			if err != nil {
				t.Fatal(err)
			}
			for i, size := range sizes {
				if resp, err := stream.Recv(); err != nil || len(resp.GetPayload().GetBody()) != int(size) {
					t.Fatalf("message %d: %d bytes, %v", i, len(resp.GetPayload().GetBody()), err)
				}
			}
			if _, err := stream.Recv(); err != io.EOF {
				t.Errorf("the end: %v", err)
			}
		})
		t.Run("of the client", func(t *testing.T) {
			stream, err := h.client.StreamingInputCall(h.ctx())
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				if err := stream.Send(&testing_pb.StreamingInputCallRequest{Payload: payloadOf(10_000)}); err != nil {
					t.Fatal(err)
				}
			}
			if resp, err := stream.CloseAndRecv(); err != nil || resp.GetAggregatedPayloadSize() != 1_000_000 {
				t.Errorf("%v, %v", resp, err)
			}
		})
		t.Run("of both, in turns", func(t *testing.T) { pingPong(t, h, 200) })
	})
}

func pingPong(t *testing.T, h *house, times int) {
	t.Helper()
	stream, err := h.client.FullDuplexCall(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	for i := range times {
		if err := stream.Send(&testing_pb.StreamingOutputCallRequest{Payload: payloadOf(i * 10)}); err != nil {
			t.Fatal(err)
		}
		if resp, err := stream.Recv(); err != nil || len(resp.GetPayload().GetBody()) != i*10 {
			t.Fatalf("turn %d: %d bytes, %v", i, len(resp.GetPayload().GetBody()), err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
}

func TestDeadlineAndCancellationReachTheServer(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, s *server) {
		for name, call := range map[string]func(ctx context.Context) error{
			"unary": func(ctx context.Context) error {
				_, err := h.client.UnaryCall(metadata.AppendToOutgoingContext(ctx, sleep, "1"), &testing_pb.SimpleRequest{})
				return err
			},
			"stream": func(ctx context.Context) error {
				stream, err := h.client.FullDuplexCall(ctx)
				if err == nil {
					_, err = stream.Recv()
				}
				return err
			},
		} {
			began := func() context.Context {
				t.Helper()
				select {
				case ctx := <-s.sleeping:
					return ctx
				case ctx := <-s.streams:
					return ctx
				case <-time.After(10 * time.Second):
					t.Fatalf("%s: the server is not called", name)
					return nil
				}
			}
			ctx, cancel := context.WithTimeout(h.ctx(), 10*time.Minute)
			failed := make(chan error, 1)
			go func() { failed <- call(ctx) }()
			server := began()
			if deadline, ok := server.Deadline(); !ok || time.Until(deadline) > 10*time.Minute {
				t.Errorf("%s: deadline %v", name, deadline)
			}
			cancel()
			want(t, <-failed, codes.Canceled, "")
			select {
			case <-server.Done():
			case <-time.After(10 * time.Second):
				t.Errorf("%s: the server does not hear of the cancellation", name)
			}
			ctx, cancel = context.WithTimeout(h.ctx(), 50*time.Millisecond)
			want(t, call(ctx), codes.DeadlineExceeded, "")
			cancel()
			select { // it may have been too late to call it at all
			case <-s.sleeping:
			case <-s.streams:
			case <-time.After(time.Millisecond):
			}
		}
	})
}
