package amqp

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"portico/adapters/amqp/broker"
	"portico/core"
)

// topologyTable keeps durable exchanges and bindings.
const topologyTable = "amqp-topology"

// Key prefixes in topologyTable.
const (
	exchangeKey = "x/"
	bindingKey  = "b/"
)

// writeTimeout bounds one change of the topology.
const writeTimeout = 30 * time.Second

// vhost is what all connections share: exchanges and bindings, their copy on disk, the bridge to the bus, direct reply-to.
type vhost struct {
	// immutable
	name     string
	bus      *core.Bus // the gateway's own, not a client's
	broker   *broker.VHost
	policies broker.Policies
	delay    atomic.Pointer[core.Delay] // nil: no exchange delays
	table    *core.Table
	log      *slog.Logger
	replies  *replies

	mu sync.Mutex // held over a change and its writes, so that disk and memory change in one order

	// guarded by mu
	kept   map[string]struct{} // keys in table
	closed bool
}

// openVhost restores the topology and becomes the bus's router.
func openVhost(ctx context.Context, bus *core.Bus, g *core.Gateway, log *slog.Logger) (*vhost, error) {
	v := &vhost{name: bus.Tenant(), bus: bus, broker: broker.New(bus.Tenant()), log: log, kept: map[string]struct{}{}}
	table, err := bus.Table(ctx, topologyTable)
	if err != nil {
		return nil, err
	}
	v.table = table
	if err := v.restore(ctx); err != nil {
		return nil, err
	}
	if v.replies, err = openReplies(ctx, v); err != nil {
		return nil, err
	}
	bus.OnQueueDeleted(v.queueDeleted)
	bus.SetRouter(v)
	bus.Regovern()
	if err := bus.ChangeIngress(v.allPatterns(), nil); err != nil {
		v.close()
		return nil, err
	}
	if err := v.restoreDelay(ctx); err != nil { // last: what is overdue goes its way at once
		v.close()
		return nil, err
	}
	return v, nil
}

// close ends the vhost's part in the bus. It may be called twice.
func (v *vhost) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return
	}
	v.closed = true
	v.replies.close()
	v.bus.SetRouter(nil)
	if d := v.delay.Load(); d != nil {
		if err := d.Close(); err != nil {
			v.log.Debug("close the delay", "door", "amqp", "error", err)
		}
	}
	if err := v.bus.ChangeIngress(nil, v.allPatterns()); err != nil {
		v.log.Debug("take back ingress patterns", "door", "amqp", "error", err)
	}
}

// restore reads the table. Bindings of queues that are gone (the gateway died between the two deletions) are dropped.
func (v *vhost) restore(ctx context.Context) error {
	entries, err := v.table.List(ctx)
	if err != nil {
		return err
	}
	var xs []broker.Exchange
	var bs []broker.Binding
	for _, e := range entries {
		v.kept[e.Key] = struct{}{}
		switch {
		case strings.HasPrefix(e.Key, exchangeKey):
			x, err := broker.DecodeExchange(e.Value)
			if err != nil {
				return fmt.Errorf("exchange record %q: %w", e.Key, err)
			}
			xs = append(xs, x)
		case strings.HasPrefix(e.Key, bindingKey):
			b, err := broker.DecodeBinding(e.Value)
			if err != nil {
				return fmt.Errorf("binding record %q: %w", e.Key, err)
			}
			bs = append(bs, b)
		default:
			if err := v.restorePolicy(e.Key, e.Value); err != nil {
				return err
			}
		}
	}
	v.broker.SetPolicies(&v.policies)
	if err := v.forget(ctx, v.broker.Restore(xs, bs)); err != nil {
		return err
	}
	for _, b := range bs {
		if !b.ToExchange && v.bus.Lookup(b.Destination) == nil {
			if err := v.forget(ctx, v.broker.DeleteQueue(b.Destination)); err != nil {
				return err
			}
		}
	}
	return nil
}

// declareExchange creates x; a durable one is on disk when it returns.
func (v *vhost) declareExchange(x broker.Exchange) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if x.Type == broker.DelayedMessage {
		ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
		defer cancel()
		if err := v.openDelay(ctx); err != nil {
			return err
		}
	}
	created, err := v.broker.DeclareExchange(x)
	if err != nil || !created {
		return err
	}
	if x.Durable {
		if err := v.keep(exchangeKey+x.ID(), broker.EncodeExchange(x)); err != nil {
			_, _ = v.broker.DeleteExchange(x.Name, false)
			return err
		}
	}
	return v.bus.ChangeIngress(v.exchangePatterns(x), nil)
}

// deleteExchange deletes the exchange and all that went with it.
func (v *vhost) deleteExchange(name string, ifUnused bool) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	removed, err := v.broker.DeleteExchange(name, ifUnused)
	if err != nil {
		return err
	}
	return v.removed(removed)
}

// bind adds b. A binding between durable things is on disk when it returns, and what native clients publish reaches it.
func (v *vhost) bind(b broker.Binding) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !b.ToExchange && v.bus.Lookup(b.Destination) == nil {
		return noQueue(b.Destination, v.name)
	}
	created, err := v.broker.Bind(b)
	if err != nil || !created {
		return err
	}
	if v.durable(b) {
		if err := v.keep(bindingKey+b.ID(), broker.EncodeBinding(b)); err != nil {
			_, _ = v.broker.Unbind(b)
			return err
		}
	}
	return v.bus.ChangeIngress(bindingPatterns(b), nil)
}

func (v *vhost) unbind(b broker.Binding) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	removed, err := v.broker.Unbind(b)
	if err != nil {
		return err
	}
	return v.removed(removed)
}

// queueDeleted drops the bindings of a queue that has gone. A queue of that name that has come since keeps its own: it is called before a
// queue is made, too, and nothing is bound to a queue that is not there.
func (v *vhost) queueDeleted(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.bus.Lookup(name) != nil || len(v.broker.QueueBindings(name)) == 0 {
		return
	}
	if err := v.removed(v.broker.DeleteQueue(name)); err != nil {
		v.log.Warn("delete bindings of a deleted queue", "door", "amqp", "queue", name, "error", err)
	}
}

// removed takes out of the table and the ingress what the broker has removed. The caller holds mu.
func (v *vhost) removed(r broker.Removed) error {
	if len(r.Exchanges)+len(r.Bindings) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	if err := v.forget(ctx, r); err != nil {
		return err
	}
	if v.closed {
		return nil
	}
	var unneeded []string
	for _, x := range r.Exchanges {
		unneeded = append(unneeded, v.exchangePatterns(x)...)
	}
	for _, b := range r.Bindings {
		unneeded = append(unneeded, bindingPatterns(b)...)
	}
	return v.bus.ChangeIngress(nil, unneeded)
}

// durable tells whether b outlives a restart: both its ends do.
func (v *vhost) durable(b broker.Binding) bool {
	if x, ok := v.broker.Exchange(b.Source); !ok || !x.Durable {
		return false
	}
	if b.ToExchange {
		x, ok := v.broker.Exchange(b.Destination)
		return ok && x.Durable
	}
	q := v.bus.Lookup(b.Destination)
	return q != nil && q.Config().Durable
}

// keep writes one entry of the table; it is on disk when keep returns.
func (v *vhost) keep(key string, value []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	if _, err := v.table.Put(ctx, key, value); err != nil {
		return fmt.Errorf("write topology: %w", err)
	}
	v.kept[key] = struct{}{}
	return nil
}

// forget deletes from the table what was removed and is in it.
func (v *vhost) forget(ctx context.Context, r broker.Removed) error {
	keys := make([]string, 0, len(r.Exchanges)+len(r.Bindings))
	for _, b := range r.Bindings {
		keys = append(keys, bindingKey+b.ID())
	}
	for _, x := range r.Exchanges {
		keys = append(keys, exchangeKey+x.ID())
	}
	for _, key := range keys {
		if err := v.erase(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// unkeep deletes one entry of the table.
func (v *vhost) unkeep(key string) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeTimeout)
	defer cancel()
	return v.erase(ctx, key)
}

func (v *vhost) erase(ctx context.Context, key string) error {
	if _, ok := v.kept[key]; !ok {
		return nil
	}
	if err := v.table.Delete(ctx, key); err != nil {
		return fmt.Errorf("delete from topology: %w", err)
	}
	delete(v.kept, key)
	return nil
}
