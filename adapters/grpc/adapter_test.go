package grpcapi_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	grpcapi "portico/adapters/grpc"
	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a gateway with a gRPC door and a client at it.
type house struct {
	*testing.T
	gateway *core.Gateway
	bus     *core.Bus // the gateway's own
	address string
	conn    *grpc.ClientConn
	client  porticov1.PorticoServiceClient
	drain   func() // begins to drain
	served  chan error
}

func start(t *testing.T) *house { return startWith(t, core.Config{}, grpcapi.Config{}) }

func startWith(t *testing.T, cfg core.Config, doorCfg grpcapi.Config) *house {
	t.Helper()
	cfg.DataDir = t.TempDir()
	log := slog.New(slog.DiscardHandler)
	g, err := core.New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	doorCfg.Listen = "127.0.0.1:0"
	a, err := grpcapi.New(doorCfg, g, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &house{T: t, gateway: g, bus: g.System(), address: a.Addr(), drain: cancel, served: make(chan error, 1)}
	go func() { h.served <- a.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-h.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	h.conn = h.dial()
	h.client = porticov1.NewPorticoServiceClient(h.conn)
	return h
}

func (h *house) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	h.Helper()
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	conn, err := grpc.NewClient(h.address, opts...)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ctx is good for whatever a test does.
func (h *house) ctx() context.Context {
	ctx, cancel := context.WithTimeout(h.Context(), time.Minute)
	h.Cleanup(cancel)
	return ctx
}

func (h *house) declare(q *porticov1.Queue) {
	h.Helper()
	if _, err := h.client.DeclareQueue(h.ctx(), &porticov1.DeclareQueueRequest{Queue: q}); err != nil {
		h.Fatal(err)
	}
}

func (h *house) append(queue string, payloads ...string) {
	h.Helper()
	for _, payload := range payloads {
		_, err := h.client.Append(h.ctx(), &porticov1.AppendRequest{Queue: queue, Message: message("", payload)})
		if err != nil {
			h.Fatal(err)
		}
	}
}

func (h *house) info(queue string) *porticov1.QueueInfo {
	h.Helper()
	resp, err := h.client.GetQueue(h.ctx(), &porticov1.GetQueueRequest{Queue: queue})
	if err != nil {
		h.Fatal(err)
	}
	return resp.GetInfo()
}

// eventually waits for a condition of the gateway.
func (h *house) eventually(what string, condition func() bool) {
	h.Helper()
	h.eventuallyIn(20*time.Second, what, condition)
}

func (h *house) eventuallyIn(limit time.Duration, what string, condition func() bool) {
	h.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			h.Fatalf("still not: %s", what)
		}
	}
}

func message(subject, payload string) *porticov1.Message {
	return &porticov1.Message{Subject: subject, Data: []byte(payload)}
}

// want checks the status of an error and the reason in it.
func want(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()
	s, _ := status.FromError(err)
	got := ""
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == "portico" {
			got = info.GetReason()
		}
	}
	if s.Code() != code || got != reason {
		t.Errorf("got %v with reason %q (%v), want %v with %q", s.Code(), got, err, code, reason)
	}
}

// wantField checks which field an error is about.
func wantField(t *testing.T, err error, field string) {
	t.Helper()
	s, _ := status.FromError(err)
	for _, detail := range s.Details() {
		if bad, ok := detail.(*errdetails.BadRequest); ok && len(bad.GetFieldViolations()) == 1 && bad.GetFieldViolations()[0].GetDescription() != "" {
			if got := bad.GetFieldViolations()[0].GetField(); got != field {
				t.Errorf("%v is about %q, want %q", err, got, field)
			}
			return
		}
	}
	t.Errorf("%v names no field, want %q", err, field)
}

func TestTakenPortIsAnErrorOfNew(t *testing.T) {
	h := start(t)
	_, err := grpcapi.New(grpcapi.Config{Listen: h.address}, h.gateway, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Error("two doors at one address")
	}
}

func TestIdleDoorStopsAtOnce(t *testing.T) {
	h := startWith(t, core.Config{}, grpcapi.Config{})
	h.drain()
	select {
	case err := <-h.served:
		if err != nil {
			t.Error(err)
		}
		h.served <- nil
	case <-time.After(5 * time.Second):
		t.Error("an idle door took longer than 5 s to stop")
	}
	if _, err := h.client.GetQueue(h.ctx(), &porticov1.GetQueueRequest{Queue: "x"}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after that: %v", err)
	}
}
