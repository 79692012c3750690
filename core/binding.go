package core

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"portico/core/policy"

	"golang.org/x/sync/errgroup"
)

// Binding feeds what is published on a subject pattern into a queue.
type Binding struct{ Pattern, Queue string }

// routes are a tenant's core bindings. Readers use the trie without a lock.
type routes struct {
	trie atomic.Pointer[trie[*Queue]]

	// guarded by mu
	mu      sync.Mutex
	byQueue map[*Queue]map[string]struct{} // patterns
}

func newRoutes() *routes {
	r := &routes{byQueue: map[*Queue]map[string]struct{}{}}
	r.trie.Store(&trie[*Queue]{})
	return r
}

func (r *routes) match(subject string, dst []*Queue) []*Queue {
	return r.trie.Load().match(subject, dst)
}

// add binds q; false if it was bound already.
func (r *routes) add(q *Queue, pattern string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	patterns := r.byQueue[q]
	if _, there := patterns[pattern]; there {
		return false
	}
	if patterns == nil {
		patterns = map[string]struct{}{}
		r.byQueue[q] = patterns
	}
	patterns[pattern] = struct{}{}
	next := r.trie.Load().with(pattern, q)
	r.trie.Store(&next)
	return true
}

// remove unbinds q; false if it was not bound.
func (r *routes) remove(q *Queue, pattern string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	patterns := r.byQueue[q]
	if _, there := patterns[pattern]; !there {
		return false
	}
	if delete(patterns, pattern); len(patterns) == 0 {
		delete(r.byQueue, q)
	}
	next := r.trie.Load().without(pattern, q)
	r.trie.Store(&next)
	return true
}

// patterns returns q's patterns, sorted.
func (r *routes) patterns(q *Queue) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]string, 0, len(r.byQueue[q]))
	for p := range r.byQueue[q] {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

const (
	bindingsTable    = "bindings" // key: queue, NUL, pattern; no value
	bindingSeparator = "\x00"

	tableWriters = 16 // changes of a table under way at once: they share syncs
)

func (x Binding) key() string { return x.Queue + bindingSeparator + x.Pattern }

func bindingOf(key string) (Binding, bool) {
	name, pattern, ok := strings.Cut(key, bindingSeparator)
	return Binding{Pattern: pattern, Queue: name}, ok && checkPattern(pattern) == nil
}

// Bind makes a binding; it is durable if the queue is, and idempotent. When it returns, what any client publishes reaches the queue, NATS and MQTT
// clients included. It needs permission to subscribe both to the pattern and to the queue. Wildcards in the first token do not reach subjects of the bus itself ($…) and inboxes.
// Errors: CodeInvalid, CodePermissionDenied, CodeNotFound without the queue, CodeUnavailable.
func (b *Bus) Bind(ctx context.Context, x Binding) error {
	if err := b.mayBind(x); err != nil {
		return err
	}
	t := b.tenant
	unlock, err := t.queues.lock(ctx, x.Queue)
	if err != nil {
		return err
	}
	defer unlock()
	q, err := b.find(x.Queue)
	if err != nil {
		return err
	}
	if !t.routes.add(q, x.Pattern) {
		return nil
	}
	if err := t.settleBinding(ctx, q, x); err != nil {
		t.routes.remove(q, x.Pattern)
		t.generation.Add(1)
		return err
	}
	return nil
}

func (b *Bus) mayBind(x Binding) error {
	if reserved(x.Pattern) {
		return Errorf(CodeInvalid, "pattern %q: subjects of the bus itself cannot be bound", x.Pattern)
	}
	if err := b.MayFeed(x.Pattern); err != nil {
		return err
	}
	return b.mayQueue(policy.Bind, x.Queue)
}

// settleBinding makes a new binding known to the server and, if the queue is durable, to the disk.
func (t *tenant) settleBinding(ctx context.Context, q *Queue, x Binding) error {
	t.generation.Add(1)
	if q.config.Durable {
		if _, err := t.bindings.Put(ctx, x.key(), nil); err != nil {
			return err
		}
	}
	if err := t.ingress.change(ctx, []string{x.Pattern}, nil); err != nil {
		if q.config.Durable {
			_ = t.bindings.Delete(ctx, x.key()) // a binding too many at the next start is not worth a second error
		}
		return err
	}
	return nil
}

// Unbind removes a binding; it need not exist. Errors: CodeInvalid, CodePermissionDenied, CodeUnavailable.
func (b *Bus) Unbind(ctx context.Context, x Binding) error {
	if err := b.mayBind(x); err != nil {
		return err
	}
	t := b.tenant
	unlock, err := t.queues.lock(ctx, x.Queue)
	if err != nil {
		return err
	}
	defer unlock()
	q := t.queues.lookup(x.Queue)
	if q == nil || !t.routes.remove(q, x.Pattern) {
		return nil
	}
	t.generation.Add(1)
	return t.forgetBindings(ctx, q, []string{x.Pattern})
}

// forgetBindings tells server and disk that bindings are gone.
func (t *tenant) forgetBindings(ctx context.Context, q *Queue, patterns []string) error {
	if err := t.ingress.change(ctx, nil, patterns); err != nil {
		return err
	}
	if !q.config.Durable {
		return nil
	}
	var all errgroup.Group
	all.SetLimit(tableWriters)
	for _, p := range patterns {
		all.Go(func() error { return t.bindings.Delete(ctx, Binding{Pattern: p, Queue: q.config.Name}.key()) })
	}
	return all.Wait()
}

// Bindings returns a queue's core bindings, sorted by pattern; none if there is no such queue.
func (b *Bus) Bindings(name string) []Binding {
	q := b.tenant.queues.lookup(name)
	if q == nil {
		return nil
	}
	var all []Binding
	for _, p := range b.tenant.routes.patterns(q) {
		all = append(all, Binding{Pattern: p, Queue: name})
	}
	return all
}
