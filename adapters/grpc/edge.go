package grpcapi

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"
	"sync"

	"portico/core"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
)

// session is a connection: it remembers who logged in last, so that a call costs a password check only when the
// credentials change.
type session struct {
	// immutable
	remote string

	// guarded by mu
	mu    sync.Mutex
	shown [2]string // authorization and tenant of the call before
	bus   *core.Bus
}

type sessionKey struct{}

type busKey struct{}

// connections is the stats.Handler that gives each connection its session and counts connections.
type connections struct{ *Adapter }

// TagConn implements stats.Handler.
func (c connections) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, sessionKey{}, &session{remote: host(info.RemoteAddr)})
}

// HandleConn implements stats.Handler.
func (c connections) HandleConn(_ context.Context, event stats.ConnStats) {
	switch event.(type) {
	case *stats.ConnBegin:
		c.metrics.Connections.Inc()
	case *stats.ConnEnd:
		c.metrics.Connections.Dec()
	}
}

// TagRPC implements stats.Handler.
func (c connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (c connections) HandleRPC(context.Context, stats.RPCStats) {}

func host(addr net.Addr) string {
	if addr == nil {
		return ""
	}
	return addr.String()
}

// unaryEdge is where every unary call enters and leaves: login, panics, errors.
func (a *Adapter) unaryEdge(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (resp any, err error) {
	err = a.edge(ctx, info.FullMethod, func(ctx context.Context) error {
		resp, err = handle(ctx, req)
		return err
	})
	return resp, err
}

// streamEdge is the same for streams.
func (a *Adapter) streamEdge(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return a.edge(stream.Context(), info.FullMethod, func(ctx context.Context) error {
		bus, ok := ctx.Value(busKey{}).(*core.Bus)
		if !ok { // open to everybody
			return handle(srv, &streamWithContext{ServerStream: stream, ctx: ctx})
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stop := bus.AfterEnd(func() { cancel(bus.Err()) })
		defer stop()
		err := handle(srv, &streamWithContext{ServerStream: stream, ctx: ctx})
		if e := bus.Err(); e != nil && ctx.Err() != nil {
			return e
		}
		return err
	})
}

type streamWithContext struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the stream's context with the identity in it.
func (s *streamWithContext) Context() context.Context { return s.ctx }

// edge logs in, calls, and makes a status of whatever went wrong. Errors of ours are logged here, and only here.
func (a *Adapter) edge(ctx context.Context, method string, call func(context.Context) error) error {
	err := guard(func() error {
		ctx, err := a.login(ctx, method)
		if err != nil {
			return err
		}
		return call(ctx)
	})
	if err == nil {
		return nil
	}
	status := toStatus(err)
	level := slog.LevelDebug
	if isInternal(err) {
		level = slog.LevelError
	}
	a.log.Log(ctx, level, "gRPC call failed", "method", method, "code", status.Code(), "error", err)
	return status.Err()
}

// guard calls f and turns a panic into an error that tells clients nothing.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &core.Error{Code: core.CodeInternal, Detail: "internal error", Err: &panicError{value: p, stack: debug.Stack()}}
		}
	}()
	return f()
}

// open tells whether a method may be called without logging in: probes know no password, and the interface is public.
func open(method string) bool {
	return strings.HasPrefix(method, "/grpc.health.v1.Health/") || strings.HasPrefix(method, "/grpc.reflection.")
}

// login puts the caller's bus into the context.
func (a *Adapter) login(ctx context.Context, method string) (context.Context, error) {
	if open(method) {
		return ctx, nil
	}
	s, ok := ctx.Value(sessionKey{}).(*session)
	if !ok {
		return nil, core.Errorf(core.CodeInternal, "call without a connection")
	}
	authorization := ""
	switch values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) {
	case 0:
	case 1:
		authorization = values[0]
	default:
		return nil, core.Errorf(core.CodeUnauthenticated, "more than one authorization")
	}
	tenant := ""
	if values := metadata.ValueFromIncomingContext(ctx, tenantMetadata); len(values) > 0 {
		tenant = values[0]
	}
	bus, err := s.login(ctx, a.gateway, authorization, tenant, certificate(ctx))
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, busKey{}, bus), nil
}

// tenantMetadata says which tenant a call is for; without it that is the identity's own.
const tenantMetadata = "portico-tenant"

// login returns the bus of an authorization: the one of the call before if that showed the same.
func (s *session) login(ctx context.Context, g *core.Gateway, authorization, tenant string, shown *x509.Certificate) (*core.Bus, error) {
	s.mu.Lock()
	known, bus := s.shown, s.bus
	s.mu.Unlock()
	asked := [2]string{authorization, tenant}
	if bus != nil && known == asked && bus.Err() == nil {
		return bus, nil
	}
	credentials, err := parseAuthorization(authorization)
	if err != nil {
		return nil, err
	}
	credentials.Door, credentials.Remote, credentials.Certificate, credentials.Tenant = door, s.remote, shown, tenant
	if bus, err = g.Login(ctx, credentials); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.shown, s.bus = asked, bus
	s.mu.Unlock()
	return bus, nil
}

func parseAuthorization(value string) (core.Credentials, error) {
	if value == "" {
		return core.Credentials{Anonymous: true}, nil
	}
	scheme, encoded, _ := strings.Cut(value, " ")
	encoded = strings.TrimSpace(encoded)
	switch {
	case strings.EqualFold(scheme, "Bearer") && encoded != "":
		return core.Credentials{Token: encoded}, nil
	case !strings.EqualFold(scheme, "Basic"):
		return core.Credentials{}, core.Errorf(core.CodeUnauthenticated, "the authorization must be of the Basic or the Bearer scheme")
	}
	plain, err := base64.StdEncoding.DecodeString(encoded)
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok {
		return core.Credentials{}, core.Errorf(core.CodeUnauthenticated, "malformed Basic authorization")
	}
	return core.Credentials{User: user, Password: password}, nil
}

// busOf returns the bus that edge has put there.
func busOf(ctx context.Context) *core.Bus { return ctx.Value(busKey{}).(*core.Bus) }
