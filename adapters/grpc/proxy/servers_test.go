package proxy_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"portico/adapters/grpc/proxy"
	"portico/adapters/grpc/relay"
	"portico/core"
	"portico/core/policy"
	relayv1 "portico/proto/portico/relay/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
)

func TestNobodyServes(t *testing.T) {
	h := start(t, proxy.Config{})
	_, err := h.client.EmptyCall(h.ctx(), &testing_pb.Empty{})
	want(t, err, codes.Unavailable, "no-responders")
	stream, err := h.client.FullDuplexCall(h.ctx()) // says nothing: nobody may wait for a message
	if err == nil {
		_, err = stream.Recv()
	}
	want(t, err, codes.Unavailable, "no-responders")
}

func TestPathsThatAreNoMethods(t *testing.T) {
	h := start(t, proxy.Config{})
	for name, path := range map[string]string{
		"of the gateway's own service": "/portico.v1.PorticoService/Nothing",
		"of health":                    "/grpc.health.v1.Health/Nothing",
		"of reflection":                "/grpc.reflection.v1.ServerReflection/Nothing",
		"a dot in the method":          "/shop.Orders/Get.All",
		"a wildcard":                   "/shop.*/Get",
		"a blank":                      "/shop.Orders/Get All",
		"an empty word":                "/shop..Orders/Get",
		"no method":                    "/shop.Orders/",
	} {
		t.Run(name, func(t *testing.T) {
			err := h.conn.Invoke(h.ctx(), path, &testing_pb.Empty{}, &testing_pb.Empty{})
			want(t, err, codes.Unimplemented, "unimplemented")
		})
	}
}

func TestPermissions(t *testing.T) {
	all := []string{">"}
	cfg := core.Config{Users: []core.User{
		{Name: "caller", Password: "p", Publish: []string{"grpc." + service + ".EmptyCall"}, Subscribe: []string{"x"}},
		{Name: "server", Password: "p", Publish: []string{"x"}, Subscribe: []string{"grpc." + service + ".*"}},
		{Name: "both", Password: "p", Publish: all, Subscribe: all},
	}}
	h := startWith(t, cfg, proxy.Config{})
	as := func(user string) func(context.Context) (map[string]string, error) {
		return func(context.Context) (map[string]string, error) { return basic(user), nil }
	}
	server := grpc.NewServer()
	testing_pb.RegisterTestServiceServer(server, newServer())
	err := relay.ServeWith(h.ctx(), h.conn, server, relay.Options{Metadata: as("caller")})
	want(t, err, codes.PermissionDenied, "permission-denied")
	want(t, relay.ServeWith(h.ctx(), h.conn, server, relay.Options{}), codes.Unauthenticated, "unauthenticated")

	relayServer(h, h.address, server, relay.Options{Metadata: as("server")})
	with := func(user string) context.Context {
		return metadata.NewOutgoingContext(h.ctx(), metadata.New(basic(user)))
	}
	if _, err := h.client.EmptyCall(with("caller"), &testing_pb.Empty{}); err != nil {
		t.Errorf("allowed: %v", err)
	}
	_, err = h.client.UnaryCall(with("caller"), &testing_pb.SimpleRequest{})
	want(t, err, codes.PermissionDenied, "permission-denied")
	_, err = h.client.EmptyCall(h.ctx(), &testing_pb.Empty{})
	want(t, err, codes.Unauthenticated, "unauthenticated")
}

// TestCallsAreRequests: lists of requests and of those who serve count at this door too.
func TestCallsAreRequests(t *testing.T) {
	all := []string{">"}
	none := &policy.Spec{Request: policy.Lists{Deny: []string{"grpc.>"}}, Serve: policy.Lists{Deny: []string{"grpc.>"}}}
	h := startWith(t, core.Config{Users: []core.User{
		{Name: "server", Password: "p", Publish: all, Subscribe: all},
		{Name: "plain", Password: "p", Publish: all, Subscribe: all, Permissions: none},
	}}, proxy.Config{})
	as := func(user string) relay.Options {
		return relay.Options{Metadata: func(context.Context) (map[string]string, error) { return basic(user), nil }}
	}
	server := grpc.NewServer()
	testing_pb.RegisterTestServiceServer(server, newServer())
	want(t, relay.ServeWith(h.ctx(), h.conn, server, as("plain")), codes.PermissionDenied, "permission-denied")
	relayServer(h, h.address, server, as("server"))
	_, err := h.client.EmptyCall(metadata.NewOutgoingContext(h.ctx(), metadata.New(basic("plain"))), &testing_pb.Empty{})
	want(t, err, codes.PermissionDenied, "permission-denied")
}

// TestServerThatMayNotAnyMore: a relay is over when its identity is, or may not serve what it serves any more.
func TestServerThatMayNotAnyMore(t *testing.T) {
	all, boss := []string{">"}, core.User{Name: "boss", Password: "p"}
	for name, c := range map[string]struct {
		users []core.User
		code  codes.Code
	}{
		"permission":   {[]core.User{boss, {Name: "server", Password: "p", Publish: all, Subscribe: []string{"x"}}}, codes.PermissionDenied},
		"no such user": {[]core.User{boss}, codes.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			h := startWith(t, core.Config{Users: []core.User{boss, {Name: "server", Password: "p", Publish: all, Subscribe: all}}}, proxy.Config{})
			server := grpc.NewServer()
			testing_pb.RegisterTestServiceServer(server, newServer())
			connected, ended := make(chan struct{}, 100), make(chan error, 1)
			options := relay.Options{
				Metadata:  func(context.Context) (map[string]string, error) { return basic("server"), nil },
				Connected: func() { connected <- struct{}{} },
			}
			go func() { ended <- relay.ServeWith(h.ctx(), h.conn, server, options) }()
			select {
			case <-connected:
			case err := <-ended:
				t.Fatal(err)
			}
			if err := h.gateway.Reload(core.Config{Users: c.users}); err != nil {
				t.Fatal(err)
			}
			if got := status.Code(<-ended); got != c.code {
				t.Errorf("ended with %v, want %v", got, c.code)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	h := startWith(t, core.Config{MaxMessage: 1 << 20}, proxy.Config{})
	relayed(h, h.address, relay.Options{})
	for name, c := range map[string]struct {
		request, response int
		reason            string
	}{
		"a request":               {1<<20 + 1, 0, "too-large"},
		"a request for any door":  {2 << 20, 0, ""}, // gRPC itself refuses it
		"a response":              {0, 2 << 20, ""}, // the gateway's client refuses it
		"a response with headers": {0, 1<<20 - 10, "too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.client.UnaryCall(h.ctx(), &testing_pb.SimpleRequest{Payload: payloadOf(c.request), ResponseSize: int32(c.response)})
			want(t, err, codes.ResourceExhausted, c.reason)
			stream, err := h.client.FullDuplexCall(h.ctx())
			if err != nil || c.request == 0 {
				return
			}
			_ = stream.Send(&testing_pb.StreamingOutputCallRequest{Payload: payloadOf(c.request)})
			_, err = stream.Recv()
			want(t, err, codes.ResourceExhausted, c.reason)
		})
	}
	if _, err := h.client.EmptyCall(h.ctx(), &testing_pb.Empty{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestTooManyCalls(t *testing.T) {
	h := start(t, proxy.Config{MaxCalls: 5}) // the relay's own connection counts with the callers: it and its two halves
	s, _ := relayed(h, h.address, relay.Options{})
	ctx := metadata.AppendToOutgoingContext(h.ctx(), sleep, "1")
	failed := make(chan error, 10)
	for range 10 {
		go func() {
			_, err := h.client.UnaryCall(ctx, &testing_pb.SimpleRequest{})
			failed <- err
		}()
	}
	for range 8 {
		want(t, <-failed, codes.ResourceExhausted, "resource-exhausted")
	}
	close(s.release)
	for range 2 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
}

func TestServersShareTheLoad(t *testing.T) {
	h := start(t, proxy.Config{})
	first, stop := relayed(h, h.address, relay.Options{})
	second, _ := relayed(h, h.address, relay.Options{})
	ctx := metadata.AppendToOutgoingContext(h.ctx(), sleep, "1")
	close(first.release)
	close(second.release)
	for range 100 {
		if _, err := h.client.UnaryCall(ctx, &testing_pb.SimpleRequest{}); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*server{first, second} {
			for len(s.sleeping) > 50 {
				<-s.sleeping
			}
		}
	}
	if len(first.sleeping) == 0 || len(second.sleeping) == 0 {
		t.Errorf("100 calls: the servers got %d and %d", len(first.sleeping), len(second.sleeping))
	}
	stop()
	for range 50 {
		if _, err := h.client.EmptyCall(h.ctx(), &testing_pb.Empty{}); err != nil {
			t.Fatalf("with one server left: %v", err)
		}
	}
}

func TestRelayLeavesInPeace(t *testing.T) {
	h := start(t, proxy.Config{})
	s, stop := relayed(h, h.address, relay.Options{})
	stream, err := h.client.FullDuplexCall(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	<-s.streams
	left := make(chan struct{})
	go func() {
		defer close(left)
		stop()
	}()
	h.eventually("new calls are refused", func() bool {
		_, err := h.client.EmptyCall(h.ctx(), &testing_pb.Empty{})
		return statusOf(err).Code() == codes.Unavailable
	})
	if err := stream.Send(&testing_pb.StreamingOutputCallRequest{Payload: payloadOf(5)}); err != nil {
		t.Fatal(err)
	}
	if resp, err := stream.Recv(); err != nil || len(resp.GetPayload().GetBody()) != 5 {
		t.Errorf("the call that had begun: %v, %v", resp, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("the relay does not leave when its last call is over")
	}
}

func TestLostServerFailsItsCalls(t *testing.T) {
	for name, begin := range map[string]func(h *house) (s *server, kill func()){
		"a backend": func(h *house) (*server, func()) {
			b := newBackend(h, true)
			address, _ := h.door(proxy.Config{Backends: []proxy.Backend{{Address: b.address}}})
			h.reachable(address)
			return b.server, b.grpc.Stop
		},
		"a relay": func(h *house) (*server, func()) {
			s, g := newServer(), grpc.NewServer()
			testing_pb.RegisterTestServiceServer(g, s)
			conn := h.dial(h.address)
			connected, ended := make(chan struct{}, 1), make(chan error, 1)
			go func() {
				ended <- relay.ServeWith(context.Background(), conn, g, relay.Options{Connected: func() { connected <- struct{}{} }})
			}()
			h.Cleanup(func() { <-ended })
			<-connected
			return s, g.Stop
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, proxy.Config{})
			s, kill := begin(h)
			stream, err := h.client.FullDuplexCall(h.ctx())
			if err != nil {
				t.Fatal(err)
			}
			<-s.streams
			failed := make(chan error, 1)
			go func() {
				_, err := h.client.UnaryCall(metadata.AppendToOutgoingContext(h.ctx(), sleep, "1"), &testing_pb.SimpleRequest{})
				failed <- err
			}()
			<-s.sleeping
			kill()
			if err := <-failed; statusOf(err).Code() != codes.Unavailable {
				t.Errorf("unary: %v", err)
			}
			if _, err := stream.Recv(); statusOf(err).Code() != codes.Unavailable {
				t.Errorf("stream: %v", err)
			}
			h.eventually("nobody is asked any more", func() bool {
				_, err := h.client.EmptyCall(h.ctx(), &testing_pb.Empty{})
				return reasonOf(err) == "no-responders"
			})
		})
	}
}

func TestBackendComesBack(t *testing.T) {
	b := newBackend(t, true)
	h := start(t, proxy.Config{Backends: []proxy.Backend{{Address: b.address}}})
	h.reachable(h.address)
	b.grpc.Stop()
	h.eventually("it has gone", func() bool {
		_, err := h.client.EmptyCall(h.ctx(), &testing_pb.Empty{})
		return reasonOf(err) == "no-responders"
	})
	b.again()
	h.reachable(h.address)
}

// TestRelayConnectsAgain: the server itself closes its connections after a while, here very soon.
func TestRelayConnectsAgain(t *testing.T) {
	h := start(t, proxy.Config{})
	g := grpc.NewServer(grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 20 * time.Millisecond, MaxConnectionAgeGrace: 20 * time.Millisecond}))
	testing_pb.RegisterTestServiceServer(g, newServer())
	ctx, cancel := context.WithCancel(context.Background())
	connected, ended := make(chan struct{}, 100), make(chan error, 1)
	o := relay.Options{Log: slog.New(slog.DiscardHandler), Connected: func() { connected <- struct{}{} }}
	go func() { ended <- relay.ServeWith(ctx, h.conn, g, o) }()
	for range 3 {
		select {
		case <-connected:
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		case <-time.After(20 * time.Second):
			t.Fatal("it does not connect again")
		}
	}
	h.reachable(h.address)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	g.Stop()
	if err := relay.ServeWith(h.ctx(), h.conn, g, o); !errors.Is(err, grpc.ErrServerStopped) {
		t.Errorf("a server that has been stopped: %v", err)
	}
}

func TestDrain(t *testing.T) {
	h := startWith(t, core.Config{DrainTimeout: 500 * time.Millisecond}, proxy.Config{})
	s, g := newServer(), grpc.NewServer()
	testing_pb.RegisterTestServiceServer(g, s)
	relayServer(h, h.address, g, relay.Options{})
	stream, err := h.client.FullDuplexCall(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	ctx := <-s.streams
	h.drain()
	if _, err := stream.Recv(); statusOf(err).Code() != codes.Unavailable {
		t.Errorf("a call that does not end: %v", err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Error("the server does not hear of it")
	}
}

func TestHealthAndReflectionShowServers(t *testing.T) {
	h := start(t, proxy.Config{})
	_, stop := relayed(h, h.address, relay.Options{})
	health := healthv1.NewHealthClient(h.conn)
	check := func() healthv1.HealthCheckResponse_ServingStatus {
		resp, err := health.Check(h.ctx(), &healthv1.HealthCheckRequest{Service: service})
		if err != nil {
			return healthv1.HealthCheckResponse_SERVICE_UNKNOWN
		}
		return resp.GetStatus()
	}
	if got := check(); got != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v", got)
	}
	if got := listed(h, "v1"); !slices.Contains(got, service) || !slices.Contains(got, "portico.v1.PorticoService") {
		t.Errorf("reflection lists %v", got)
	}
	if got := listed(h, "v1alpha"); !slices.Contains(got, service) {
		t.Errorf("v1alpha lists %v", got)
	}
	// What the gateway tells is enough for another gateway to serve it: it is a backend like any other.
	far, _ := h.door(proxy.Config{Backends: []proxy.Backend{{Address: h.address, Services: []string{service}}}})
	h.reachable(far)
	stop()
	h.eventually("health says that nobody serves", func() bool { return check() == healthv1.HealthCheckResponse_NOT_SERVING })
}

// listed are the services that one version of reflection lists. The messages of both are the same on the wire.
func listed(h *house, version string) (names []string) {
	h.Helper()
	stream, err := h.conn.NewStream(h.ctx(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/grpc.reflection."+version+".ServerReflection/ServerReflectionInfo")
	if err != nil {
		h.Fatal(err)
	}
	if err := stream.SendMsg(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		h.Fatal(err)
	}
	resp := &reflectionv1.ServerReflectionResponse{}
	if err := stream.RecvMsg(resp); err != nil {
		h.Fatal(err)
	}
	for _, s := range resp.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	return names
}

func TestOthers(t *testing.T) {
	h := start(t, proxy.Config{})
	relayed(h, h.address, relay.Options{Others: true})
	_, err := testing_pb.NewUnimplementedServiceClient(h.conn).UnimplementedCall(h.ctx(), &testing_pb.Empty{})
	want(t, err, codes.Unimplemented, "") // the server says so, not the gateway
}

func TestHelloIsChecked(t *testing.T) {
	h := start(t, proxy.Config{})
	client := relayv1.NewRelayServiceClient(h.conn)
	for name, c := range map[string]struct {
		hello  *relayv1.Hello
		code   codes.Code
		reason string
	}{
		"none":                 {nil, codes.InvalidArgument, "invalid-argument"},
		"no services":          {&relayv1.Hello{}, codes.InvalidArgument, "invalid-argument"},
		"a wildcard":           {&relayv1.Hello{Services: []*relayv1.Service{{Name: "a.*"}}}, codes.InvalidArgument, "invalid-argument"},
		"a method with a dot":  {&relayv1.Hello{Services: []*relayv1.Service{{Name: "a", Methods: []*relayv1.Method{{Name: "b.c"}}}}}, codes.InvalidArgument, "invalid-argument"},
		"the gateway's own":    {&relayv1.Hello{Services: []*relayv1.Service{{Name: "portico.v1.PorticoService"}}}, codes.PermissionDenied, "permission-denied"},
		"files that are none":  {&relayv1.Hello{Services: []*relayv1.Service{{Name: "a"}}, Files: [][]byte{{1, 2, 3}}}, codes.InvalidArgument, "invalid-argument"},
		"more than a thousand": {&relayv1.Hello{Services: make([]*relayv1.Service, 1001)}, codes.InvalidArgument, "invalid-argument"},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := client.Connect(h.ctx())
			if err != nil {
				t.Fatal(err)
			}
			frame := &relayv1.ConnectRequest{Frame: &relayv1.ConnectRequest_Leave{}}
			if c.hello != nil {
				frame = &relayv1.ConnectRequest{Frame: &relayv1.ConnectRequest_Hello{Hello: c.hello}}
			}
			_ = stream.Send(frame)
			_, err = stream.Recv()
			want(t, err, c.code, c.reason)
		})
	}
}

// TestChunksAreChecked: what cannot be the connection's bytes ends the relay, and tells whether it may come again.
func TestChunksAreChecked(t *testing.T) {
	h := start(t, proxy.Config{})
	client := relayv1.NewRelayServiceClient(h.conn)
	for name, c := range map[string]struct {
		data   []byte
		code   codes.Code
		reason string
	}{
		"too large": {make([]byte, 64<<10+1), codes.InvalidArgument, "invalid-argument"},
		"no HTTP/2": {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), codes.Unavailable, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := client.Connect(h.ctx())
			if err != nil {
				t.Fatal(err)
			}
			hello := &relayv1.Hello{Services: []*relayv1.Service{{Name: "a.B", Methods: []*relayv1.Method{{Name: "C"}}}}}
			if err := stream.Send(&relayv1.ConnectRequest{Frame: &relayv1.ConnectRequest_Hello{Hello: hello}}); err != nil {
				t.Fatal(err)
			}
			if ready, err := stream.Recv(); err != nil || ready.GetReady() == nil {
				t.Fatalf("%v, %v", ready, err)
			}
			if err := stream.Send(&relayv1.ConnectRequest{Frame: &relayv1.ConnectRequest_Data{Data: c.data}}); err != nil {
				t.Fatal(err)
			}
			for err == nil { // the gateway's own bytes
				_, err = stream.Recv()
			}
			want(t, err, c.code, c.reason)
		})
	}
}

func TestBackendsAreChecked(t *testing.T) {
	for name, b := range map[string]proxy.Backend{
		"no port":           {Address: "127.0.0.1"},
		"nothing":           {},
		"a wildcard":        {Address: "127.0.0.1:1", Services: []string{"a.*"}},
		"the gateway's own": {Address: "127.0.0.1:1", Services: []string{"grpc.health.v1.Health"}},
	} {
		if b.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
