package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"portico/core"

	"golang.org/x/sync/semaphore"
)

const (
	maxEndpoints = 1000
	maxRequests  = 2048 // under way at once, of all endpoints; others wait for their turn
	maxScans     = 2    // of logs at once, for users
	maxTests     = 16   // test events at once
	table        = "webhooks"
	openTimeout  = 30 * time.Second
)

// Config is what a Courier needs.
type Config struct {
	AllowNetworks []netip.Prefix // that requests may go to although they are not of the public internet
}

// Courier has the endpoints and delivers to them. Its methods may be called from any goroutine.
type Courier struct {
	// immutable
	gateway *core.Gateway
	log     *slog.Logger
	table   *core.Table
	seal    *sealer
	guard   *guard
	metrics *metrics
	slots   *semaphore.Weighted
	scans   *semaphore.Weighted
	tests   *semaphore.Weighted
	limit   int64         // bytes of an endpoint's log
	changes chan struct{} // holds one token; who has it may change definitions

	bytes atomic.Int64 // of messages that endpoints have taken up

	// guarded by mu
	mu        sync.Mutex
	endpoints map[string]*endpoint
	ctx       context.Context // of Serve; nil before
	life      context.Context // of requests
	over      bool
	loops     sync.WaitGroup
}

// New reads the endpoints that there are. Nothing is delivered until Serve is called.
func New(cfg Config, g *core.Gateway, log *slog.Logger) (*Courier, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	c := &Courier{
		gateway: g, log: log, guard: newGuard(slices.Clone(cfg.AllowNetworks)), metrics: newMetrics(g.Registry()), endpoints: map[string]*endpoint{},
		slots: semaphore.NewWeighted(maxRequests), scans: semaphore.NewWeighted(maxScans), tests: semaphore.NewWeighted(maxTests), limit: logBytes, changes: make(chan struct{}, 1),
	}
	c.changes <- struct{}{}
	var err error
	if c.seal, err = openSealer(ctx, g.System()); err != nil {
		return nil, err
	}
	if c.table, err = g.System().Table(ctx, table); err != nil {
		return nil, err
	}
	all, err := c.table.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		d, err := decodeDefinition(e.Value)
		if err != nil {
			return nil, err
		}
		c.endpoints[d.Name] = newEndpoint(c, d)
	}
	return c, nil
}

// Serve implements core.Adapter: it delivers until ctx ends, then lets the requests under way end within the drain timeout. It may be called once.
func (c *Courier) Serve(ctx context.Context) error {
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	c.mu.Lock()
	if c.ctx != nil {
		c.mu.Unlock()
		return errors.New("webhooks: served already")
	}
	c.ctx, c.life = ctx, life
	for _, e := range c.endpoints {
		c.begin(e)
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	timer := time.AfterFunc(c.gateway.DrainTimeout(), cut)
	defer timer.Stop()
	c.loops.Wait()
	return nil
}

// begin starts an endpoint's goroutine, if it is time. The caller holds mu.
func (c *Courier) begin(e *endpoint) {
	if c.ctx == nil || c.over {
		return
	}
	ctx, stop := context.WithCancel(c.ctx)
	life, cut := context.WithCancel(c.life)
	e.stop, e.life, e.cut = stop, life, cut
	e.started = true
	c.loops.Go(func() {
		defer stop()
		defer cut()
		e.run(ctx)
	})
}

// change makes the caller the only one to change definitions until done is called.
func (c *Courier) change(ctx context.Context) (done func(), err error) {
	select {
	case <-c.changes:
	case <-ctx.Done():
		return nil, core.AsError(ctx.Err())
	}
	c.mu.Lock()
	over := c.over
	c.mu.Unlock()
	if over {
		c.changes <- struct{}{}
		return nil, core.Errorf(core.CodeUnavailable, "the gateway is stopping")
	}
	return func() { c.changes <- struct{}{} }, nil
}

// find returns the endpoint called name for somebody who may consume its queue.
func (c *Courier) find(bus *core.Bus, name string) (*endpoint, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := bus.Allow("subscribe", core.QueueSubject(queueOf(name))); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.endpoints[name]; e != nil {
		return e, nil
	}
	return nil, core.Errorf(core.CodeNotFound, "there is no webhook %q", name)
}

// Endpoint describes an endpoint. CodeNotFound, CodePermissionDenied.
func (c *Courier) Endpoint(bus *core.Bus, name string) (Endpoint, error) {
	e, err := c.find(bus, name)
	if err != nil {
		return Endpoint{}, err
	}
	return c.view(e), nil
}

func (c *Courier) view(e *endpoint) Endpoint {
	v := e.definition.Load().view(e.where(), time.Now())
	if q := c.gateway.System().Lookup(v.Queue); q != nil {
		if s, err := q.Stats(); err == nil {
			v.Ready = s.Ready
		}
	}
	return v
}

// Endpoints lists the endpoints behind after by name, at most limit, but for those that the user may not consume.
func (c *Courier) Endpoints(bus *core.Bus, after string, limit int) []Endpoint {
	c.mu.Lock()
	var all []*endpoint
	for _, e := range c.endpoints {
		if e.name > after && bus.Allow("subscribe", core.QueueSubject(queueOf(e.name))) == nil {
			all = append(all, e)
		}
	}
	c.mu.Unlock()
	slices.SortFunc(all, func(a, b *endpoint) int { return strings.Compare(a.name, b.name) })
	views := make([]Endpoint, 0, min(limit, len(all)))
	for _, e := range all[:min(limit, len(all))] {
		views = append(views, c.view(e))
	}
	return views
}

// declare makes the endpoint's queues and bindings as its definition has them. It does not wait for who changes that at the same time, whose new bindings it may have removed: then it begins anew.
func (e *endpoint) declare() error {
	ctx, cancel := context.WithTimeout(context.Background(), declareTimeout)
	defer cancel()
	for {
		d := e.definition.Load()
		if err := e.prepare(ctx, d, true); err != nil {
			return err
		}
		if e.definition.Load() == d {
			return nil
		}
		if ctx.Err() != nil {
			return core.AsError(ctx.Err())
		}
	}
}

// prepare makes queues and missing bindings; exact: and removes bindings that are not the definition's.
func (e *endpoint) prepare(ctx context.Context, d *definition, exact bool) error {
	system, name := e.courier.gateway.System(), queueOf(d.Name)
	cfg := core.QueueConfig{Name: name, Durable: true}
	cfg.DeadLetter.Queue = d.DeadLetterQueue
	if _, _, err := system.DeclareQueue(ctx, cfg); err != nil {
		return err
	}
	if _, err := e.journal.open(ctx); err != nil {
		return err
	}
	for _, pattern := range d.Subjects {
		if err := system.Bind(ctx, core.Binding{Pattern: pattern, Queue: name}); err != nil {
			return err
		}
	}
	if !exact {
		return nil
	}
	for _, b := range system.Bindings(name) {
		if !slices.Contains(d.Subjects, b.Pattern) {
			if err := system.Unbind(ctx, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// send makes one request when there is a slot for it. An error means that nobody knows what came of it: it was cut.
func (c *Courier) send(e *endpoint, d *definition, id string, m *core.Message) (Attempt, error) {
	if err := c.slots.Acquire(e.life, 1); err != nil {
		return Attempt{}, err
	}
	defer c.slots.Release(1)
	a := send(e.life, e.transport, d, id, m)
	if e.life.Err() != nil && a.Status == 0 {
		return a, e.life.Err()
	}
	return a, nil
}

// store keeps a definition and puts it in force.
func (c *Courier) store(ctx context.Context, e *endpoint, d *definition) error {
	text, err := d.encode()
	if err != nil {
		return err
	}
	if _, err := c.table.Put(ctx, d.Name, text); err != nil {
		return err
	}
	e.definition.Store(d)
	e.post(func() {})
	return nil
}

// disabled is the endpoint's own wish: it has been told 410, or has lost its queue. An error means that the definition is as it was.
func (c *Courier) disabled(ctx context.Context, e *endpoint, reason string) error {
	done, err := c.change(ctx)
	if err != nil {
		return err // it is going, or the gateway is
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, declareTimeout)
	defer cancel()
	d := *e.definition.Load()
	if d.Disabled {
		return nil
	}
	d.Disabled, d.Reason, d.Updated = true, reason, time.Now()
	if err := c.store(ctx, e, &d); err != nil {
		c.log.Error("a webhook could not be disabled", "webhook", e.name, "reason", reason, "err", err)
		return err
	}
	c.log.Warn("webhook disabled", "webhook", e.name, "reason", reason)
	return nil
}
