package core

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"portico/core/identity"
	"portico/core/jslog"
	"portico/core/queue"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Adapter serves a protocol until told to stop. Serve blocks until ctx ends or something fatal happens, and returns only when every goroutine it
// started has ended. On a cancelled ctx it stops accepting, says goodbye in its protocol's words, lets work in flight settle for at most
// Gateway.DrainTimeout, then cuts. nil after a drain.
type Adapter interface {
	Serve(ctx context.Context) error
}

// Gateway is the running core: embedded server, queues, tables, identities. Its methods may be called from any goroutine.
type Gateway struct {
	// immutable
	cfg      Config
	log      *slog.Logger
	dir      *dataDir
	server   *embedded
	internal *nats.Conn // to the account of queue logs and tables
	js       jetstream.JetStream
	store    *jslog.Store
	budget   *queue.Budget
	underway *underway
	users    *identity.Directory
	people   *people
	tenant   *tenant // the default one
	tenants  *tenants
	metrics  *metrics
	presence *presence
	guards   *guards
	alarms   *alarms

	translators translators
	tables      tables

	ctx   context.Context // ends when closing begins
	stop  context.CancelFunc
	loops sync.WaitGroup

	closing sync.Once
	closed  error // what closing returned

	// guarded by mu
	mu       sync.Mutex
	draining bool
}

// New starts the core: embedded nats-server with JetStream, in-process connections, recovery of the durable queues. One process
// at a time may use a data directory. A queue whose log cannot be read is an error: going on without it would lose what is published to it.
func New(cfg Config, log *slog.Logger) (*Gateway, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	g := &Gateway{cfg: cfg, log: log, alarms: newAlarms(), budget: queue.NewBudget(cfg.QueueMemory), underway: newUnderway(cfg), tenants: newTenants()}
	if g.users, err = identity.NewDirectory(cfg.directory()); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	g.guards = newGuards(g.ctx)
	if err := g.start(); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Gateway) start() (err error) {
	if g.dir, err = openDataDir(g.cfg.DataDir); err != nil {
		return err
	}
	if g.server, err = startServer(g.cfg, g.dir, g.users, g.log, g.storeFailed); err != nil {
		return err
	}
	if err := g.openStore(); err != nil {
		return err
	}
	if g.presence, err = openPresence(g.internal, rand.Text(), g.log); err != nil {
		return err
	}
	if g.cfg.Gate != nil {
		g.loops.Go(func() { g.server.crowd.watch(g.ctx) })
	}
	g.metrics = newMetrics(g)
	if err := g.openTenants(); err != nil {
		return err
	}
	if err := g.openPeople(g.ctx); err != nil {
		return err
	}
	g.watchDisk()
	g.loops.Go(func() { g.tenants.weighing(g.ctx) })
	g.loops.Go(func() { g.alarmLoop(g.ctx) })
	return nil
}

// openStore connects to the internal account and opens the store of queue logs there.
func (g *Gateway) openStore() (err error) {
	g.internal, err = nats.Connect("", nats.InProcessServer(g.server), nats.UserInfo(bootPrefix+accountInternal, g.server.password), nats.Name("portico internal"),
		nats.MaxReconnects(-1), nats.ReconnectWait(redialDelay), nats.RetryOnFailedConnect(false))
	if err != nil {
		return fmt.Errorf("connect to the internal account: %w", err)
	}
	if g.js, err = jetstream.New(g.internal); err != nil {
		return fmt.Errorf("connect to JetStream: %w", err)
	}
	g.store, err = jslog.NewStore(g.internal, jslog.Options{
		Dir: g.dir.jetstream(), Sync: g.cfg.Durability == durabilitySync, MaxEntry: logEntry, Failed: g.storeFailed, Logger: g.log,
		Dropped: func(stream string) { g.server.forgetStream(accountInternal, stream) },
	})
	if err != nil {
		return fmt.Errorf("open the log store: %w", err)
	}
	return nil
}

// Run serves the adapters until ctx ends or one of them fails, then drains: adapters first, then Close. The first error is returned.
func (g *Gateway) Run(ctx context.Context, adapters ...Adapter) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	failures := make(chan error, len(adapters))
	for _, a := range adapters {
		all.Go(func() {
			if err := a.Serve(ctx); err != nil {
				failures <- err
				cancel(err)
			}
		})
	}
	<-ctx.Done()
	g.drain()
	all.Wait()
	close(failures)
	return errors.Join(<-failures, g.Close())
}

// drain makes Ready say no, so that nobody sends new clients.
func (g *Gateway) drain() {
	g.mu.Lock()
	g.draining = true
	g.mu.Unlock()
	g.alarms.touch()
}

// Quiesce lets subscribers have what the doors have acknowledged, for a second at most. It is what a door does first when it begins to drain.
func (g *Gateway) Quiesce() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var all sync.WaitGroup
	for _, t := range g.tenants.all() {
		all.Go(func() {
			if err := t.flush(ctx); err != nil {
				g.log.Debug("what is on its way may be lost", "tenant", t.name, "err", err)
			}
		})
	}
	all.Wait()
}

// Close stops queues, connections and server, in that order. It may be called twice.
func (g *Gateway) Close() error {
	g.closing.Do(func() { g.closed = g.close() })
	return g.closed
}

func (g *Gateway) close() (err error) {
	g.drain()
	g.stop()
	g.loops.Wait()
	g.tenants.end()
	if g.store != nil {
		err = g.store.Close()
	}
	g.presence.close()
	if g.internal != nil {
		g.internal.Close()
	}
	if g.server != nil {
		g.server.stop()
	}
	if g.dir != nil {
		err = errors.Join(err, g.dir.release())
	}
	return err
}

// Ready returns nil when messages can be accepted: server healthy, no alarm, not draining; else an Error with CodeUnavailable or CodeResourceExhausted that says why.
func (g *Gateway) Ready() error {
	g.mu.Lock()
	draining := g.draining
	g.mu.Unlock()
	if draining {
		return Errorf(CodeUnavailable, "the gateway is stopping")
	}
	if !g.server.Running() {
		return Errorf(CodeUnavailable, "the embedded server is not running")
	}
	return g.alarms.refusal()
}

// accepts tells whether a message for so many queues may be taken in. Live messages are not held up by alarms.
func (g *Gateway) accepts(queues int) error {
	if queues == 0 {
		return nil
	}
	return g.alarms.refusal()
}

// NATSAddr is the address of the NATS door, "" when closed.
func (g *Gateway) NATSAddr() string { return g.server.natsAddr }

// MQTTAddr is the address of the MQTT door, "" when closed.
func (g *Gateway) MQTTAddr() string { return g.server.mqttAddr }

// MaxMessage is the limit on payload plus headers, in bytes.
func (g *Gateway) MaxMessage() int { return g.cfg.MaxMessage }

// DrainTimeout is how long an adapter may take to let work in flight settle.
func (g *Gateway) DrainTimeout() time.Duration { return g.cfg.DrainTimeout }

// Registry is what /metrics serves.
func (g *Gateway) Registry() *prometheus.Registry { return g.metrics.registry }
