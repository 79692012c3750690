package proxy_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	grpcapi "portico/adapters/grpc"
	"portico/adapters/grpc/proxy"
	"portico/adapters/grpc/relay"
	"portico/core"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const service = "grpc.testing.TestService"

// house is a gateway with doors that have a proxy, and a client at the first of them.
type house struct {
	testing.TB
	gateway *core.Gateway
	bus     *core.Bus
	address string
	conn    *grpc.ClientConn
	client  testing_pb.TestServiceClient
	drain   func() // the first door begins to drain
}

func start(t testing.TB, carry proxy.Config) *house { return startWith(t, core.Config{}, carry) }

func startWith(t testing.TB, cfg core.Config, carry proxy.Config) *house {
	t.Helper()
	cfg.DataDir = t.TempDir()
	g, err := core.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	h := &house{TB: t, gateway: g, bus: g.System()}
	h.address, h.drain = h.door(carry)
	h.conn = h.dial(h.address)
	h.client = testing_pb.NewTestServiceClient(h.conn)
	return h
}

// door opens a gRPC door with a proxy of its own: what goes from one door's proxy to another's is on the bus all the way.
func (h *house) door(carry proxy.Config) (address string, drain func()) {
	h.Helper()
	a, p, err := grpcapi.NewWithProxy(grpcapi.Config{Listen: "127.0.0.1:0"}, carry, h.gateway, slog.New(slog.DiscardHandler))
	if err != nil {
		h.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 2)
	go func() { served <- a.Serve(ctx) }()
	go func() { served <- p.Serve(ctx) }()
	h.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-served; err != nil {
				h.Errorf("Serve: %v", err)
			}
		}
	})
	return a.Addr(), cancel
}

func (h *house) dial(address string, opts ...grpc.DialOption) *grpc.ClientConn {
	h.Helper()
	opts = append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	conn, err := grpc.NewClient(address, opts...)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (h *house) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	h.Cleanup(cancel)
	return ctx
}

func (h *house) eventually(what string, condition func() bool) {
	h.Helper()
	deadline := time.NewTimer(20 * time.Second)
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

// reachable waits until the service can be called at an address.
func (h *house) reachable(address string) {
	h.Helper()
	client := testing_pb.NewTestServiceClient(h.dial(address))
	h.eventually("the service is served at "+address, func() bool {
		_, err := client.EmptyCall(h.ctx(), &testing_pb.Empty{})
		return err == nil
	})
}

// backend is a gRPC server with a port, and what it has seen.
type backend struct {
	*server
	testing.TB
	grpc    *grpc.Server
	address string
}

func newBackend(t testing.TB, reflected bool, opts ...grpc.ServerOption) *backend {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{server: newServer(), TB: t, address: listener.Addr().String()}
	b.serve(listener, reflected, opts...)
	return b
}

func (b *backend) serve(listener net.Listener, reflected bool, opts ...grpc.ServerOption) {
	g := grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(64<<20))...)
	b.grpc = g
	testing_pb.RegisterTestServiceServer(g, b.server)
	if reflected {
		reflection.Register(g)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(listener)
	}()
	b.Cleanup(func() {
		g.Stop()
		<-done
	})
}

// again serves at the same address, with reflection.
func (b *backend) again() {
	b.Helper()
	listener, err := net.Listen("tcp", b.address)
	if err != nil {
		b.Skipf("its port was taken meanwhile: %v", err)
	}
	b.serve(listener, true)
}

// relayed lets a server without a port join by dialling address.
func relayed(h *house, address string, o relay.Options) (s *server, stop func()) {
	h.Helper()
	s = newServer()
	g := grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	testing_pb.RegisterTestServiceServer(g, s)
	return s, relayServer(h, address, g, o)
}

func relayServer(h *house, address string, g *grpc.Server, o relay.Options) (stop func()) {
	h.Helper()
	conn := h.dial(address)
	ctx, cancel := context.WithCancel(context.Background())
	connected, ended := make(chan struct{}, 1), make(chan error, 1)
	o.Connected = func() {
		select {
		case connected <- struct{}{}:
		default:
		}
	}
	o.Log = slog.New(slog.DiscardHandler)
	go func() { ended <- relay.ServeWith(ctx, conn, g, o) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			h.Errorf("relay: %v", err)
		}
	}
	h.Cleanup(g.Stop)
	h.Cleanup(stop)
	select {
	case <-connected:
	case err := <-ended:
		h.Fatalf("the relay ended: %v", err)
	case <-time.After(10 * time.Second):
		h.Fatal("the relay does not connect")
	}
	return stop
}

// server is a TestService: it answers as the cases of the interop suite want it, and knows who has been called.
type server struct {
	testing_pb.UnimplementedTestServiceServer
	streams  chan context.Context // of FullDuplexCalls that have begun
	sleeping chan context.Context // of unary calls that wait for their end
	release  chan struct{}        // closed: they go on
	sent     chan int             // how many messages each StreamingOutputCall has got rid of, one by one
}

func newServer() *server {
	return &server{streams: make(chan context.Context, 20_000), sleeping: make(chan context.Context, 100), release: make(chan struct{}), sent: make(chan int, 1<<20)}
}

func (s *server) EmptyCall(context.Context, *testing_pb.Empty) (*testing_pb.Empty, error) {
	return &testing_pb.Empty{}, nil
}

const (
	echoInitial  = "x-grpc-test-echo-initial"
	echoTrailing = "x-grpc-test-echo-trailing-bin"
	sleep        = "x-sleep"
)

func (s *server) UnaryCall(ctx context.Context, in *testing_pb.SimpleRequest) (*testing_pb.SimpleResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if len(md.Get(echoInitial)) > 0 {
		_ = grpc.SetHeader(ctx, metadata.MD{echoInitial: md.Get(echoInitial)})
	}
	if len(md.Get(echoTrailing)) > 0 {
		_ = grpc.SetTrailer(ctx, metadata.MD{echoTrailing: md.Get(echoTrailing)})
	}
	if len(md.Get(sleep)) > 0 {
		s.sleeping <- ctx
		select {
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		case <-s.release:
		}
	}
	if wanted := in.GetResponseStatus(); wanted.GetCode() != 0 {
		st, err := status.New(codes.Code(wanted.GetCode()), wanted.GetMessage()).WithDetails(&errdetails.ErrorInfo{Reason: "WANTED", Domain: "test"})
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}
	return &testing_pb.SimpleResponse{Payload: &testing_pb.Payload{Body: make([]byte, in.GetResponseSize())}}, nil
}

func (s *server) StreamingOutputCall(in *testing_pb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testing_pb.StreamingOutputCallResponse]) error {
	for i, p := range in.GetResponseParameters() {
		if err := stream.Send(&testing_pb.StreamingOutputCallResponse{Payload: &testing_pb.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			return err
		}
		s.sent <- i + 1
	}
	return nil
}

func (s *server) StreamingInputCall(stream grpc.ClientStreamingServer[testing_pb.StreamingInputCallRequest, testing_pb.StreamingInputCallResponse]) error {
	sum := 0
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&testing_pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)})
		}
		if err != nil {
			return err
		}
		sum += len(in.GetPayload().GetBody())
	}
}

// FullDuplexCall sends its headers at once, answers every message with its payload, and ends early with the status that a message asks for.
func (s *server) FullDuplexCall(stream grpc.BidiStreamingServer[testing_pb.StreamingOutputCallRequest, testing_pb.StreamingOutputCallResponse]) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	if err := stream.SendHeader(metadata.MD{echoInitial: md.Get(echoInitial)}); err != nil {
		return err
	}
	stream.SetTrailer(metadata.MD{echoTrailing: md.Get(echoTrailing)})
	s.streams <- stream.Context()
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if st := in.GetResponseStatus(); st.GetCode() != 0 {
			return status.Error(codes.Code(st.GetCode()), st.GetMessage())
		}
		if err := stream.Send(&testing_pb.StreamingOutputCallResponse{Payload: in.GetPayload()}); err != nil {
			return err
		}
	}
}

// want checks the status of an error and the reason in it.
func want(t testing.TB, err error, code codes.Code, reason string) {
	t.Helper()
	s, _ := status.FromError(err)
	got := ""
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			got = info.GetReason()
		}
	}
	if s.Code() != code || got != reason {
		t.Errorf("got %v with reason %q (%v), want %v with %q", s.Code(), got, err, code, reason)
	}
}
