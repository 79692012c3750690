package client_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	grpcapi "portico/adapters/grpc"
	"portico/adapters/grpc/client"
	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a gateway with a gRPC door, and a client at it.
type house struct {
	testing.TB
	*client.Client
	address string
	api     porticov1.PorticoServiceClient
	streams porticov1.StreamServiceClient
}

func start(t testing.TB, more ...client.Option) *house {
	t.Helper()
	g, err := core.New(core.Config{DataDir: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a, err := grpcapi.New(grpcapi.Config{Listen: "127.0.0.1:0"}, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = g.Close()
	})
	h := &house{TB: t, address: a.Addr()}
	h.Client = h.connect(more...)
	h.api, h.streams = porticov1.NewPorticoServiceClient(h.Conn()), porticov1.NewStreamServiceClient(h.Conn())
	return h
}

func (h *house) connect(more ...client.Option) *client.Client {
	h.Helper()
	c, err := client.Connect(h.address, more...)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		if err := c.Close(); err != nil {
			h.Errorf("Close: %v", err)
		}
	})
	return c
}

func (h *house) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	h.Cleanup(cancel)
	return ctx
}

func (h *house) queue(q *porticov1.Queue, patterns ...string) {
	h.Helper()
	if _, err := h.api.DeclareQueue(h.ctx(), &porticov1.DeclareQueueRequest{Queue: q}); err != nil {
		h.Fatal(err)
	}
	for _, pattern := range patterns {
		if _, err := h.api.Bind(h.ctx(), &porticov1.BindRequest{Queue: q.GetName(), Pattern: pattern}); err != nil {
			h.Fatal(err)
		}
	}
}

func (h *house) stream(name string, subjects ...string) {
	h.Helper()
	if _, err := h.streams.CreateStream(h.ctx(), &porticov1.CreateStreamRequest{Stream: &porticov1.Stream{Name: name, Subjects: subjects}}); err != nil {
		h.Fatal(err)
	}
}

func (h *house) publish(subject string, texts ...string) {
	h.Helper()
	for _, text := range texts {
		if _, err := h.Publish(h.ctx(), &client.Message{Subject: subject, Data: []byte(text)}); err != nil {
			h.Fatal(err)
		}
	}
}

func must[T any](t testing.TB) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func want(t testing.TB, err error, code codes.Code, reason string) {
	t.Helper()
	if codeOf(err) != code || client.Reason(err) != reason {
		t.Errorf("got %v, want %v with reason %q", err, code, reason)
	}
}
