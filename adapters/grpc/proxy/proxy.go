package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"portico/core"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protodesc"
)

// Config is what the proxy needs. The zero value of every field but Status is its default.
type Config struct {
	Backends       []Backend                          // servers that the gateway dials
	MaxCalls       int                                // calls under way from callers, and as many to servers; default 65,536
	Window         int64                              // what a call that streams may have under way each way, beside one message: bytes, and 128 for each message; default 256 KiB
	RequestTimeout time.Duration                      // of a call without a deadline that comes from the bus, or goes to somebody who only answers there; default 30 s
	Authorization  bool                               // callers' authorization metadata goes on to the servers, over the bus; otherwise it is for the gateway alone
	Status         func(error) *status.Status         // the door's translation of errors
	Serving        func(service string, serving bool) // is told when a service gets its first server and when the last goes; must not block. May be nil
}

func (c Config) withDefaults() Config {
	if c.MaxCalls <= 0 {
		c.MaxCalls = 1 << 16
	}
	if c.Window <= 0 {
		c.Window = 256 << 10
	}
	if c.RequestTimeout <= 0 {
		c.RequestTimeout = 30 * time.Second
	}
	if c.Serving == nil {
		c.Serving = func(string, bool) {}
	}
	return c
}

// Proxy carries calls between the gRPC door, the bus and the servers that are connected. It implements core.Adapter.
type Proxy struct {
	// immutable
	cfg        Config
	bus        *core.Bus // the gateway's own: callers' permissions are checked once, when a call comes in
	log        *slog.Logger
	maxMessage int
	drainFor   time.Duration
	codec      Codec
	inbox      *inbox
	directory  *directory
	posts      *posts
	secured    []credentials.TransportCredentials // of backends, in their order
	entering   *calls                             // calls of callers, and relays
	exiting    *calls                             // calls of servers
	refusals   chan refusal

	subscriptions []*core.Subscription

	ctx      context.Context // ends when calls must
	cut      context.CancelCauseFunc
	draining context.Context // ends when servers must go
	drain    context.CancelFunc

	// guarded by mu
	mu      sync.Mutex
	running map[string]context.CancelFunc // unary calls of servers, by the reply subject of the request
}

// maxRefusals is how many refusals may wait to be told.
const maxRefusals = 1024

var errDraining = core.Errorf(core.CodeUnavailable, "the gateway is stopping")

// New checks cfg and makes a proxy on g's bus. Serve must be called, it lets go of what New took.
func New(cfg Config, g *core.Gateway, log *slog.Logger) (*Proxy, error) {
	secured, err := transports(cfg.Backends)
	if err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	p := &Proxy{
		cfg: cfg, bus: g.System(), log: log, maxMessage: g.MaxMessage(), drainFor: g.DrainTimeout(),
		codec: NewCodec(), inbox: newInbox(), directory: newDirectory(cfg.Serving),
		entering: newCalls(cfg.MaxCalls), exiting: newCalls(cfg.MaxCalls),
		secured: secured, refusals: make(chan refusal, maxRefusals), running: map[string]context.CancelFunc{},
	}
	p.posts = &posts{proxy: p, by: map[string]*post{}}
	p.ctx, p.cut = context.WithCancelCause(context.Background())
	p.draining, p.drain = context.WithCancel(context.Background())
	for pattern, deliver := range map[string]func(*core.Message){
		p.inbox.prefix + "*": p.inbox.deliver,
		cancels:              func(m *core.Message) { p.abort(string(m.Data)) },
	} {
		subscription, err := p.bus.Subscribe(pattern, "", deliver)
		if err != nil {
			p.unsubscribe()
			return nil, fmt.Errorf("open the gRPC proxy: %w", err)
		}
		p.subscriptions = append(p.subscriptions, subscription)
	}
	return p, nil
}

// transports checks backends and reads what their connections need.
func transports(backends []Backend) (all []credentials.TransportCredentials, err error) {
	for _, b := range backends {
		if err := b.Check(); err != nil {
			return nil, err
		}
		secured, err := b.transport()
		if err != nil {
			return nil, err
		}
		all = append(all, secured)
	}
	return all, nil
}

// Directory is what reflection may show: the services of the servers that have told their descriptors.
func (p *Proxy) Directory() interface {
	reflection.ServiceInfoProvider
	protodesc.Resolver
} {
	return p.directory
}

func (p *Proxy) unsubscribe() {
	p.posts.close()
	for _, s := range p.subscriptions {
		s.Unsubscribe()
	}
}

// Serve implements core.Adapter: it keeps the connections to the backends. When ctx ends servers get no more calls; those that have begun may go on for the gateway's drain timeout, then
// they end with UNAVAILABLE.
func (p *Proxy) Serve(ctx context.Context) error {
	defer p.unsubscribe()
	var own sync.WaitGroup
	defer own.Wait()
	own.Go(p.keep)
	for i, b := range p.cfg.Backends {
		own.Go(func() { p.serveBackend(b, p.secured[i]) })
	}
	<-ctx.Done()
	p.drain()
	p.entering.close()
	p.exiting.close()
	late := time.AfterFunc(p.drainFor, func() { p.cut(errDraining) })
	defer late.Stop()
	<-p.entering.idle // the door cuts its callers after the same time
	<-p.exiting.idle
	p.cut(errDraining)
	return nil
}

// keep does what needs a goroutine of the proxy's own: it watches the sessions and tells refusals.
func (p *Proxy) keep() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			for _, s := range p.inbox.sessions() {
				s.watch(now)
			}
		case r := <-p.refusals:
			p.refuse(r)
		case <-p.ctx.Done():
			return
		}
	}
}

// send publishes m, live: queues do not take calls. What is for this gateway itself does not go through the server.
func (p *Proxy) send(m *core.Message) error {
	if !p.inbox.local(m.Subject) {
		return p.bus.PublishLive(m)
	}
	if err := p.fits(m); err != nil {
		return err
	}
	p.inbox.deliver(m)
	return nil
}

// maxHeaders is what the bus takes of headers, in bytes.
const maxHeaders = 64 << 10

// fits refuses what the bus would refuse, so that a call does not depend on where its server is.
func (p *Proxy) fits(m *core.Message) error {
	size := 0
	for name, values := range m.Header {
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	if size > maxHeaders {
		return core.Errorf(core.CodeTooLarge, "metadata of %d bytes: at most %d", size, maxHeaders)
	}
	if size += len(m.Data); size > p.maxMessage {
		return core.Errorf(core.CodeTooLarge, "message of %d bytes: at most %d", size, p.maxMessage)
	}
	return nil
}

// begin remembers how a unary call is cancelled.
func (p *Proxy) begin(reply string, cancel context.CancelFunc) {
	if reply == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[reply] = cancel
}

func (p *Proxy) over(reply string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, reply)
}

// abort cancels a unary call of this gateway's servers.
func (p *Proxy) abort(reply string) bool {
	p.mu.Lock()
	cancel := p.running[reply]
	p.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	return cancel != nil
}

// cancel tells whoever serves a unary call that its caller has gone.
func (p *Proxy) cancel(reply string) {
	if p.abort(reply) {
		return
	}
	if err := p.bus.PublishLive(&core.Message{Subject: cancels, Data: []byte(reply)}); err != nil {
		p.log.Debug("a call that is over could not be cancelled", "err", err)
	}
}
