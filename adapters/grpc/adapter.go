package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
)

const door = "grpc"

// Config is what the gRPC door needs. The zero value of every field but Listen is its default.
type Config struct {
	Listen           string        // host:port; port 0 takes a free one
	MaxStreams       uint32        // calls at a time on one connection; default 1,000
	OutboundMessages int           // messages that wait for one slow stream; default 8,192
	OutboundBytes    int           // and their bytes; default 8 MiB. One message may always wait, however large
	HeldMessages     int           // deliveries one Consume stream may hold, and requests one Serve stream may answer; default 65,536
	RequestTimeout   time.Duration // wait of a Request that came without a deadline; default 30 s
}

func (c Config) withDefaults() Config {
	orDefault(&c.MaxStreams, 1000)
	orDefault(&c.OutboundMessages, 8192)
	orDefault(&c.OutboundBytes, 8<<20)
	orDefault(&c.HeldMessages, 65536)
	orDefault(&c.RequestTimeout, 30*time.Second)
	return c
}

func orDefault[T int | uint32 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Adapter is the gRPC door. It implements core.Adapter.
type Adapter struct {
	// immutable
	cfg      Config
	gateway  *core.Gateway
	metrics  *core.DoorMetrics
	log      *slog.Logger
	listener net.Listener
	server   *grpc.Server
	health   *health.Server

	// draining ends when the door must close: streams finish what they have begun
	draining context.Context
	drain    context.CancelFunc

	// running counts the goroutines of streams and of the health watch
	running sync.WaitGroup
}

// New checks cfg and opens the listener. Serve must be called, it closes the listener.
func New(cfg Config, g *core.Gateway, log *slog.Logger) (*Adapter, error) {
	a, err := listen(cfg, g, log)
	if err != nil {
		return nil, err
	}
	a.register()
	reflection.Register(a.server)
	return a, nil
}

// listen makes the adapter without its server.
func listen(cfg Config, g *core.Gateway, log *slog.Logger) (*Adapter, error) {
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("open the gRPC door: %w", err)
	}
	a := &Adapter{
		cfg:      cfg.withDefaults(),
		gateway:  g,
		metrics:  g.Door(door),
		log:      log,
		listener: listener,
		health:   health.NewServer(),
	}
	a.draining, a.drain = context.WithCancel(context.Background())
	return a, nil
}

// register makes the server, with more options if wanted, and what it serves itself.
func (a *Adapter) register(more ...grpc.ServerOption) {
	a.server = grpc.NewServer(append(a.options(), more...)...)
	porticov1.RegisterPorticoServiceServer(a.server, &service{Adapter: a})
	healthv1.RegisterHealthServer(a.server, a.health)
}

// envelopeSlack is what a frame may have beside its message: names of fields, ids, settlements.
const envelopeSlack = 64 << 10

func (a *Adapter) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.StatsHandler(connections{a}),
		grpc.ChainUnaryInterceptor(a.unaryEdge),
		grpc.ChainStreamInterceptor(a.streamEdge),
		grpc.MaxRecvMsgSize(a.gateway.MaxMessage() + envelopeSlack),
		grpc.MaxConcurrentStreams(a.cfg.MaxStreams),
		grpc.MaxHeaderListSize(32 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 15 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	}
}

// Addr is the address that the door listens on.
func (a *Adapter) Addr() string { return a.listener.Addr().String() }

// Serve implements core.Adapter: after ctx has ended, health says NOT_SERVING, clients get GOAWAY, streams and calls finish
// what they have begun for at most the gateway's drain timeout, and the rest is cut.
func (a *Adapter) Serve(ctx context.Context) error {
	a.running.Go(a.watchReadiness)
	served := make(chan error, 1)
	go func() { served <- a.server.Serve(a.listener) }()
	var err error
	select {
	case err = <-served:
		a.stop()
	case <-ctx.Done():
		a.stop()
		err = <-served
	}
	a.running.Wait()
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) { // that: ctx had ended before the server began
		return fmt.Errorf("serve gRPC: %w", err)
	}
	return nil
}

// stop says goodbye and waits, at most the drain timeout, then cuts.
func (a *Adapter) stop() {
	a.health.Shutdown()
	a.gateway.Quiesce()
	a.drain()
	cut := time.AfterFunc(a.gateway.DrainTimeout(), a.server.Stop)
	defer cut.Stop()
	a.server.GracefulStop()
}

// watchReadiness keeps the health service true to the gateway until the door drains.
func (a *Adapter) watchReadiness() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		changed := a.gateway.AlarmsChanged()
		status := healthv1.HealthCheckResponse_SERVING
		if a.gateway.Ready() != nil {
			status = healthv1.HealthCheckResponse_NOT_SERVING
		}
		a.health.SetServingStatus("", status)
		a.health.SetServingStatus(porticov1.PorticoService_ServiceDesc.ServiceName, status)
		select {
		case <-changed:
		case <-tick.C:
		case <-a.draining.Done():
			return
		}
	}
}
