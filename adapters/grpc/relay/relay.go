// Package relay lets a gRPC server serve through a Portico gateway that it dials itself, so that it needs no port of its own that others can reach.
//
//	server := grpc.NewServer()
//	shop.RegisterOrdersServer(server, orders{})
//	conn, err := grpc.NewClient("127.0.0.1:50051", grpc.WithTransportCredentials(insecure.NewCredentials()))
//	err = relay.Serve(ctx, conn, server)
//
// The server's services, interceptors and options need no change. Callers call the methods on the gateway's gRPC port, with the same clients as ever; HTTP and NATS clients call unary methods by
// a request on grpc.<package.Service>.<Method>.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	relayv1 "portico/proto/portico/relay/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Options changes how a server is served. The zero value of every field is its default.
type Options struct {
	// Others also takes the calls of methods that no server has named: for a server with a handler for unknown services.
	Others bool
	// Metadata is asked for what goes with each connection to the gateway, such as "authorization: Basic …"; as in credentials.PerRPCCredentials, which conn may have instead.
	Metadata func(context.Context) (map[string]string, error)
	// DrainTimeout is how long calls may go on when ctx has ended; default 10 s.
	DrainTimeout time.Duration
	// Connected is called whenever calls can come; it must not block. May be nil.
	Connected func()
	// Log gets what goes wrong meanwhile; default slog.Default.
	Log *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.DrainTimeout <= 0 {
		o.DrainTimeout = 10 * time.Second
	}
	if o.Connected == nil {
		o.Connected = func() {}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

// Serve is ServeWith without options.
func Serve(ctx context.Context, conn grpc.ClientConnInterface, server *grpc.Server) error {
	return ServeWith(ctx, conn, server, Options{})
}

// ServeWith serves what is registered on server, but for health and reflection, to the callers of the gateway that conn leads to. All services must be registered before. When the connection is lost it is made
// again, after 100 ms to 5 s. When ctx ends no more calls come, those that have begun may go on for Options.DrainTimeout, and ServeWith returns nil. server stays as it is: it may
// serve elsewhere too, and its owner stops it. The error is one that another attempt would not change: the gateway refuses the identity (codes.Unauthenticated,
// codes.PermissionDenied), what the server serves (codes.InvalidArgument), or has no such service (codes.Unimplemented); or server has been stopped (grpc.ErrServerStopped).
func ServeWith(ctx context.Context, conn grpc.ClientConnInterface, server *grpc.Server, o Options) error {
	o = o.withDefaults()
	return run(ctx, conn, newInProcess(server, o), o)
}

// source is the server that is lent to the gateway.
type source interface {
	// hello says what it serves.
	hello(ctx context.Context) (*relayv1.Hello, error)
	// connect opens a connection to it: the caller's own.
	connect(ctx context.Context) (net.Conn, error)
	// gone is closed when it serves nobody any more, nil if that cannot be known.
	gone() <-chan struct{}
	// giveUp lets go of it.
	giveUp()
}

// run lends server until ctx ends, again and again if need be.
func run(ctx context.Context, conn grpc.ClientConnInterface, server source, o Options) error {
	r := &relay{client: relayv1.NewRelayServiceClient(conn), options: o, server: server}
	defer server.giveUp()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		began := time.Now()
		err := r.connect(ctx)
		switch {
		case errors.Is(err, grpc.ErrServerStopped):
			return err
		case ctx.Err() != nil:
			return nil
		case permanent(err):
			return err
		}
		if time.Since(began) > longestWait {
			wait = firstWait
		}
		r.options.Log.Warn("the relay is not connected, trying again", "err", err)
		r.pause(ctx, wait/2+rand.N(wait/2))
	}
}

const (
	firstWait   = 100 * time.Millisecond
	longestWait = 5 * time.Second
)

// permanent tells errors that another attempt would not change.
func permanent(err error) bool {
	if errors.Is(err, errNothing) {
		return true
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented:
		return true
	}
	return false
}

// relay is a server on its way to the gateway.
type relay struct {
	client  relayv1.RelayServiceClient
	options Options
	server  source
}

func (r *relay) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
