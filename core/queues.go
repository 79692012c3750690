package core

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"portico/core/policy"
	"portico/core/queue"
)

// registry knows the queues of a tenant.
type registry struct {
	// guarded by mu
	mu      sync.RWMutex
	byName  map[string]*Queue
	busy    map[string]chan struct{} // names that are being declared, deleted or bound; closed when free
	deleted []func(name string)
	over    bool
}

func newRegistry() *registry {
	return &registry{byName: map[string]*Queue{}, busy: map[string]chan struct{}{}}
}

func (r *registry) lookup(name string) *Queue {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byName[name]
}

// lock makes the caller the only one to declare, delete and bind under a name until unlock is called.
func (r *registry) lock(ctx context.Context, name string) (unlock func(), err error) {
	for {
		r.mu.Lock()
		wait, taken := r.busy[name]
		switch {
		case r.over:
			r.mu.Unlock()
			return nil, Errorf(CodeUnavailable, "the gateway is stopping")
		case !taken:
			mine := make(chan struct{})
			r.busy[name] = mine
			r.mu.Unlock()
			return func() { r.unlock(name, mine) }, nil
		}
		r.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, AsError(ctx.Err())
		}
	}
}

func (r *registry) unlock(name string, mine chan struct{}) {
	r.mu.Lock()
	delete(r.busy, name)
	r.mu.Unlock()
	close(mine)
}

func (r *registry) put(q *Queue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byName[q.config.Name] = q
}

// remove forgets q and returns who wants to be told.
func (r *registry) remove(q *Queue) []func(string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byName, q.config.Name)
	return slices.Clone(r.deleted)
}

// all returns the queues sorted by name.
func (r *registry) all() []*Queue {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.SortedFunc(maps.Values(r.byName), func(a, b *Queue) int { return strings.Compare(a.config.Name, b.config.Name) })
}

// DeclareQueue creates the queue, or returns the one that exists: CodePreconditionFailed when one of its properties differs (Attributes and Owner are the
// door's to compare). Durable queues are on disk when it returns. created tells which. It needs permission to subscribe to the queue,
// and to publish where its dead letters go. Other errors: CodeInvalid, CodePermissionDenied, CodeUnavailable.
func (b *Bus) DeclareQueue(ctx context.Context, cfg QueueConfig) (q *Queue, created bool, err error) {
	if err := cfg.check(); err != nil {
		return nil, false, err
	}
	if err := b.mayDeclare(&cfg); err != nil {
		return nil, false, err
	}
	t := b.tenant
	unlock, err := t.queues.lock(ctx, cfg.Name)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	if q := t.queues.lookup(cfg.Name); q != nil {
		q.Touch()
		return q, false, q.config.sameAs(&cfg)
	}
	if err := t.mayHaveAnother(); err != nil {
		return nil, false, err
	}
	q, err = t.create(ctx, cfg)
	return q, err == nil, err
}

func (b *Bus) mayDeclare(cfg *QueueConfig) error {
	err := b.mayQueue(policy.Declare, cfg.Name)
	if err == nil && cfg.DeadLetter.Queue != "" {
		err = b.mayQueue(policy.Append, cfg.DeadLetter.Queue)
	}
	if err == nil && cfg.DeadLetter.Subject != "" {
		err = b.mayPublish(cfg.DeadLetter.Subject)
	}
	if err == nil && cfg.DeadLetter.Exchange.Set {
		err = b.mayDeadLetter(cfg)
	}
	return err
}

// mayDeadLetter checks what is needed to have dead letters published to an exchange: to write to it, or to append to the queue that the default exchange leads to.
func (b *Bus) mayDeadLetter(cfg *QueueConfig) error {
	key := cfg.Name
	if cfg.DeadLetter.RoutingKey.Set {
		key = cfg.DeadLetter.RoutingKey.V
	}
	exchange := cfg.DeadLetter.Exchange.V
	if exchange == "" {
		return b.mayQueue(policy.Append, key)
	}
	return b.refused(policy.WriteExchange, policy.Resource{Name: exchange, Key: key, Subject: EncodeToken(exchange) + "." + EncodeKey(key)})
}

// create makes a queue, its log and its definition. The caller has locked the name.
func (t *tenant) create(ctx context.Context, cfg QueueConfig) (*Queue, error) {
	cfg.Attributes = maps.Clone(cfg.Attributes)
	q, err := t.open(ctx, cfg)
	if err != nil {
		return nil, &Error{Code: CodeUnavailable, Detail: "the queue cannot be created", Err: err}
	}
	if cfg.Durable {
		if err := t.define(ctx, &cfg); err != nil {
			_, dropErr := q.Delete(false, false)
			return nil, errors.Join(err, dropErr)
		}
	}
	t.queues.put(q)
	t.generation.Add(1)
	return q, nil
}

// open starts the engine of a queue, with its log if it is durable. An error of the engine closes the log again.
func (t *tenant) open(ctx context.Context, cfg QueueConfig) (*Queue, error) {
	q := &Queue{config: cfg, tenant: t}
	engine := queue.Config{
		Name: cfg.Name, Rules: t.engineRules(q), MaxPriority: cfg.MaxPriority, SingleActive: cfg.SingleActive, Stream: cfg.Type == StreamQueue, Weigh: weigh,
		Budget: t.gateway.budget, Observe: t.gateway.metrics.observe, Unused: func() { t.deleteUnused(q) },
	}
	if cfg.AutoDelete {
		engine.Idle = func() { t.deleteUnused(q) }
	}
	var log queue.Log
	if cfg.Durable {
		var err error
		if log, err = t.gateway.store.Open(ctx, t.logName(cfg.Name), map[string]string{"portico.tenant": t.name}); err != nil {
			return nil, err
		}
	}
	var err error
	if q.Queue, err = queue.Open(engine, log); err != nil {
		if log != nil {
			err = errors.Join(err, log.Close(false))
		}
		return nil, err
	}
	return q, nil
}

// logName is what a queue's log is called in the store, which is shared by all tenants.
func (t *tenant) logName(name string) string { return t.name + "\x00" + name }

// find returns a queue that any door may use: CodeNotFound; CodeLocked if it has an owner.
func (b *Bus) find(name string) (*Queue, error) {
	q := b.tenant.queues.lookup(name)
	switch {
	case q == nil:
		return nil, Errorf(CodeNotFound, "there is no queue %q", name)
	case q.config.Owner != "":
		return nil, Errorf(CodeLocked, "queue %q belongs to one connection alone", name)
	}
	return q, nil
}

// Queue returns a queue for any door: CodeNotFound; CodeLocked if it has an Owner; CodePermissionDenied for an identity that may do nothing at all with
// it. What is needed depends on what is done with it: the door asks May before it appends, consumes or purges.
func (b *Bus) Queue(name string) (*Queue, error) {
	var err error
	for _, a := range []policy.Action{policy.Consume, policy.Append, policy.Declare, policy.Bind, policy.Purge, policy.Delete} {
		if err = b.mayQueue(a, name); err == nil || AsError(err).Code != CodePermissionDenied {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return b.find(name)
}

// Lookup returns a queue whoever owns it, nil if there is none. It waits for nothing and checks no permission.
func (b *Bus) Lookup(name string) *Queue { return b.tenant.queues.lookup(name) }

// Queues lists the tenant's queues by name.
func (b *Bus) Queues() []*Queue { return b.tenant.queues.all() }

// OnQueueDeleted registers a function that is told of every queue that went (deleted by any door, auto-deleted). Called after it is gone, from any
// goroutine, and must not wait for a queue of the same name.
func (b *Bus) OnQueueDeleted(f func(name string)) {
	r := b.tenant.queues
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deleted = append(r.deleted, f)
}

// DeleteQueue deletes the queue and its core bindings; consumers' Gone is called with queue.ErrDeleted. It returns how many messages were
// ready. CodeNotFound, CodePermissionDenied.
func (b *Bus) DeleteQueue(ctx context.Context, name string) (ready int, err error) {
	return b.DeleteQueueIf(ctx, name, false, false)
}

// DeleteQueueIf is DeleteQueue on conditions, checked by the queue itself: CodePreconditionFailed if unused is asked for and it has
// consumers, or empty and it has ready messages.
func (b *Bus) DeleteQueueIf(ctx context.Context, name string, unused, empty bool) (ready int, err error) {
	if err := b.mayQueue(policy.Delete, name); err != nil {
		return 0, err
	}
	t := b.tenant
	unlock, err := t.queues.lock(ctx, name)
	if err != nil {
		return 0, err
	}
	defer unlock()
	q := t.queues.lookup(name)
	if q == nil {
		return 0, Errorf(CodeNotFound, "there is no queue %q", name)
	}
	return t.remove(ctx, q, unused, empty)
}

// remove ends q and everything that names it. The caller has locked the name.
func (t *tenant) remove(ctx context.Context, q *Queue, unused, empty bool) (ready int, err error) {
	ready, err = q.Delete(unused, empty)
	switch {
	case errors.Is(err, queue.ErrInUse):
		return 0, Errorf(CodePreconditionFailed, "queue %q is in use", q.config.Name)
	case errors.Is(err, queue.ErrNotEmpty):
		return 0, Errorf(CodePreconditionFailed, "queue %q is not empty", q.config.Name)
	}
	failed := err // of the log: the queue itself has ended
	patterns := t.routes.patterns(q)
	for _, p := range patterns {
		t.routes.remove(q, p)
	}
	tell := t.queues.remove(q)
	t.generation.Add(1)
	if q.config.Durable {
		failed = errors.Join(failed, t.undefine(ctx, q.config.Name))
	}
	failed = errors.Join(failed, t.forgetBindings(ctx, q, patterns))
	for _, f := range tell {
		f(q.config.Name)
	}
	if failed != nil {
		return ready, &Error{Code: CodeUnavailable, Detail: "the queue is deleted, but the disk may not know", Err: failed}
	}
	return ready, nil
}

// DeleteIdle deletes q, if it is an auto-delete queue and has no consumer any more, and waits until it is gone. That happens by itself
// after the last consumer; a door that is about to tell its client that the consumer has gone calls it first.
func (b *Bus) DeleteIdle(q *Queue) {
	if q.config.AutoDelete {
		b.tenant.deleteUnused(q)
	}
}

// deleteUnused deletes a queue whose last consumer has gone, or that has expired, unless another consumer came.
func (t *tenant) deleteUnused(q *Queue) {
	ctx, cancel := context.WithTimeout(t.gateway.ctx, subscribeTimeout)
	defer cancel()
	unlock, err := t.queues.lock(ctx, q.config.Name)
	if err != nil {
		return
	}
	defer unlock()
	if t.queues.lookup(q.config.Name) != q {
		return
	}
	if _, err := t.remove(ctx, q, true, false); err != nil && AsError(err).Code != CodePreconditionFailed {
		t.gateway.log.Warn("unused queue not deleted", "queue", q.config.Name, "err", err)
	}
}
