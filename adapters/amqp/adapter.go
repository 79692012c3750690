package amqp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/certs"
)

// Config is what the AMQP door needs. The zero value of every field but Listen is its default.
type Config struct {
	Listen           string        // address; port 0 takes a free one
	TLS              certs.Door    // the zero value: none is spoken
	FrameMax         uint32        // largest frame offered, octets; default 131072, at least 4096
	ChannelMax       uint16        // highest channel number offered; default 2047
	Heartbeat        time.Duration // offered, in whole seconds; default 60 s, negative: none
	HandshakeTimeout time.Duration // from the first octet to connection.open; default 10 s
	ConsumerTimeout  time.Duration // a delivery not acknowledged for so long closes its channel; default 30 min, negative: never
	Product          string        // server-properties: product; clients choose their behaviour by it; default "RabbitMQ"
	Version          string        // server-properties: version; default "3.13.7"
}

// The defaults of Config.
const (
	defaultFrameMax         = 131072
	defaultChannelMax       = 2047
	defaultHeartbeat        = time.Minute
	defaultHandshakeTimeout = 10 * time.Second
	defaultConsumerTimeout  = 30 * time.Minute
	defaultProduct          = "RabbitMQ"
	defaultVersion          = "3.13.7"
)

// openTimeout is how long restoring the topology may take.
const openTimeout = time.Minute

func (c Config) withDefaults() (Config, error) {
	if c.FrameMax == 0 {
		c.FrameMax = defaultFrameMax
	}
	if c.FrameMax < wire.FrameMinSize {
		return c, fmt.Errorf("amqp: frame_max %d is below %d", c.FrameMax, wire.FrameMinSize)
	}
	if c.ChannelMax == 0 {
		c.ChannelMax = defaultChannelMax
	}
	switch {
	case c.Heartbeat == 0:
		c.Heartbeat = defaultHeartbeat
	case c.Heartbeat < 0:
		c.Heartbeat = 0
	}
	if c.Heartbeat/time.Second > 65535 {
		return c, fmt.Errorf("amqp: heartbeat %s is above 65535 s", c.Heartbeat)
	}
	if c.HandshakeTimeout == 0 {
		c.HandshakeTimeout = defaultHandshakeTimeout
	}
	if c.ConsumerTimeout == 0 {
		c.ConsumerTimeout = defaultConsumerTimeout
	}
	if c.Product == "" {
		c.Product = defaultProduct
	}
	if c.Version == "" {
		c.Version = defaultVersion
	}
	return c, nil
}

// Adapter is the AMQP door. It implements core.Adapter.
type Adapter struct {
	// immutable
	cfg      Config
	gateway  *core.Gateway
	log      *slog.Logger
	listener net.Listener
	vhosts   *vhosts
	metrics  *core.DoorMetrics
	buffers  *bufferPool

	alarm atomic.Pointer[alarm] // nil: no alarm

	// guarded by mu
	mu       sync.Mutex
	conns    map[*conn]struct{}
	draining bool

	work sync.WaitGroup // one per connection
}

// New checks cfg, restores exchanges and bindings, becomes the bus's router and opens the listener.
func New(cfg Config, g *core.Gateway, log *slog.Logger) (*Adapter, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("amqp: %w", err)
	}
	a := &Adapter{
		cfg: cfg, gateway: g, log: log, listener: cfg.TLS.Listener(g.Gate().Listener(l, nil)),
		metrics: g.Door("amqp"), buffers: newBufferPool(), conns: map[*conn]struct{}{},
	}
	a.vhosts = newVhosts(a)
	if err := g.WatchTenants(a.vhosts); err != nil {
		a.vhosts.close()
		return nil, errors.Join(err, l.Close())
	}
	return a, nil
}

// Addr is where the door listens.
func (a *Adapter) Addr() string { return a.listener.Addr().String() }

// Close closes the listener of an adapter whose Serve is never called.
func (a *Adapter) Close() error {
	a.vhosts.close()
	return a.listener.Close()
}

// Serve takes connections until ctx ends, then stops accepting, lets publishes in flight settle, tells every client
// 320 CONNECTION_FORCED and waits for close-ok, at most the gateway's drain timeout. It returns when every goroutine it
// started has ended; nil after a drain.
func (a *Adapter) Serve(ctx context.Context) error {
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	stopAccepting := context.AfterFunc(run, func() { _ = a.listener.Close() })
	defer stopAccepting()
	var watch sync.WaitGroup
	watch.Go(func() { a.watchAlarms(run) })
	watch.Go(func() { a.watchTimeouts(run) })

	err := a.accept(ctx)
	a.drain()
	a.work.Wait()
	cancel()
	watch.Wait()
	_ = a.listener.Close()
	a.vhosts.close()
	return err
}

// accept serves connections until the listener closes. Running out of file descriptors is waited out.
func (a *Adapter) accept(ctx context.Context) error {
	const shortest, longest = 5 * time.Millisecond, time.Second
	pause := shortest
	for {
		nc, err := a.listener.Accept()
		switch {
		case err == nil:
			pause = shortest
			a.start(nc)
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the listener was closed because the adapter stops
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("amqp: accept: %w", err)
		default:
			a.log.Warn("accept failed", "door", "amqp", "error", err, "retry", pause)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			pause = min(2*pause, longest)
		}
	}
}

func (a *Adapter) start(nc net.Conn) {
	c := newConn(a, nc)
	a.mu.Lock()
	if a.draining {
		a.mu.Unlock()
		_ = nc.Close()
		return
	}
	a.conns[c] = struct{}{}
	a.work.Add(1)
	a.mu.Unlock()
	a.metrics.Connections.Inc()
	go func() {
		defer a.work.Done()
		c.serve()
		a.metrics.Connections.Dec()
		a.mu.Lock()
		delete(a.conns, c)
		a.mu.Unlock()
	}()
}

// drain tells every connection to say goodbye before the deadline.
func (a *Adapter) drain() {
	deadline := time.Now().Add(a.gateway.DrainTimeout())
	a.mu.Lock()
	a.draining = true
	for c := range a.conns {
		c.shutdown(deadline, "broker forced connection closure with reason 'shutdown'")
	}
	a.mu.Unlock()
}
