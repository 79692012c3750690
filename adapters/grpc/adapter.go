package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"portico/adapters/grpc/proxy"
	"portico/core"
	"portico/core/certs"
	porticov1 "portico/proto/portico/v1"

	"golang.org/x/sync/semaphore"
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
	TLS              certs.Door    // the zero value: none is spoken
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
	inside   *inside
	health   *health.Server

	transfers *semaphore.Weighted // objects on their way
	tickets   tickets
	loans     *loans
	cancels   *cancels
	sharing   sharing

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
	if err := a.register(); err != nil {
		return nil, err
	}
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
		listener: g.Gate().Listener(listener, nil),
		health:   health.NewServer(),

		transfers: semaphore.NewWeighted(maxTransfers),
		loans:     newLoans(),
		cancels:   newCancels(g),
	}
	a.draining, a.drain = context.WithCancel(context.Background())
	return a, nil
}

// register makes the server, with more options if wanted, and what it serves itself.
func (a *Adapter) register(more ...grpc.ServerOption) (err error) {
	a.server = grpc.NewServer(append(a.options(), more...)...)
	a.registerOn(a.server)
	healthv1.RegisterHealthServer(a.server, a.health)
	if a.inside, err = a.openInside(); err != nil {
		a.drain()
		return errors.Join(err, a.listener.Close())
	}
	return nil
}

// registerOn registers the door's own services.
func (a *Adapter) registerOn(to grpc.ServiceRegistrar) {
	porticov1.RegisterPorticoServiceServer(to, &service{Adapter: a})
	porticov1.RegisterStreamServiceServer(to, &streamService{Adapter: a})
	porticov1.RegisterKeyValueServiceServer(to, &kvService{Adapter: a})
	porticov1.RegisterObjectServiceServer(to, &objectService{Adapter: a})
	porticov1.RegisterAdminServiceServer(to, &adminService{Adapter: a})
}

// envelopeSlack is what a frame may have beside its message: names of fields, ids, settlements.
const envelopeSlack = 64 << 10

const maxHeaderList = 32 << 10 // bytes of a call's metadata

func (a *Adapter) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(newTransport(a.cfg.TLS)),
		grpc.ForceServerCodecV2(sharedCodec{proxy.NewCodec()}),
		grpc.StatsHandler(connections{a}),
		grpc.ChainUnaryInterceptor(a.unaryEdge),
		grpc.ChainStreamInterceptor(a.streamEdge),
		grpc.MaxRecvMsgSize(a.gateway.MaxMessage() + envelopeSlack),
		grpc.MaxConcurrentStreams(a.cfg.MaxStreams),
		grpc.MaxHeaderListSize(maxHeaderList),
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
	a.running.Go(func() { _ = a.inside.server.Serve(a.inside.listener) }) // it ends with stop
	defer a.inside.close()
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
	cut := time.AfterFunc(a.gateway.DrainTimeout(), func() {
		a.server.Stop()
		a.inside.server.Stop()
	})
	defer cut.Stop()
	a.server.GracefulStop()
	a.inside.server.GracefulStop()
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
		for _, service := range healthNames() {
			a.health.SetServingStatus(service, status)
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-a.draining.Done():
			return
		}
	}
}

// healthNames are the services that health knows of from the start: the whole door, and each service of its own.
func healthNames() []string {
	names := []string{""}
	for _, service := range []grpc.ServiceDesc{
		porticov1.PorticoService_ServiceDesc, porticov1.StreamService_ServiceDesc, porticov1.KeyValueService_ServiceDesc,
		porticov1.ObjectService_ServiceDesc, porticov1.AdminService_ServiceDesc,
	} {
		names = append(names, service.ServiceName)
	}
	return names
}
