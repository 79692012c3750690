package core

import (
	"context"
	"errors"
	"sync"

	"portico/core/policy"
	"portico/core/queue"
)

// outlook is what a subscription may see by the policy that is in force: all of its pattern, nothing any more, or what is decided on message by message.
type outlook struct {
	// immutable
	policy *policy.Policy
	none   bool
	some   bool
}

// sees tells whether a message on subject is for this subscription as its identity's policy is now. A change of that takes effect with the next message.
func (s *Subscription) sees(subject string) bool {
	p := s.bus.Policy()
	if p.Open() {
		return true
	}
	v := s.view.Load()
	if v == nil || v.policy != p {
		v = &outlook{policy: p, none: s.Err() != nil, some: p.SeesSome(s.action, s.pattern)}
		s.view.Store(v)
	}
	switch {
	case v.none:
		return false
	case v.some:
		return s.bus.Decide(s.action, policy.Resource{Name: subject}).Allowed
	}
	return true
}

// Err is nil as long as the identity may have the subscription, then an Error of CodePermissionDenied: nothing comes any more, and the door ends it in its own words. Bus.Changed tells when to ask.
func (s *Subscription) Err() error { return s.bus.maySubject(s.action, s.pattern) }

// OnRefused has end called once, from another goroutine, when the identity may have the subscription no longer. It is called at most once, before Unsubscribe.
func (s *Subscription) OnRefused(end func(error)) {
	stop := s.bus.Guard(s.Err, end)
	s.unguard.Store(&stop)
	if s.gone.Load() {
		stop()
	}
}

// guarded returns a context that ends with the identity's right; allowed asks for it.
func (b *Bus) guarded(ctx context.Context, allowed func() error) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := b.Guard(allowed, func(err error) { cancel(err) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// lost is the refusal that has ended a context of guarded, nil if something else has, or nothing.
func lost(ctx context.Context) error {
	if e, ok := errors.AsType[*Error](context.Cause(ctx)); ok && e.Code == CodePermissionDenied {
		return e
	}
	return nil
}

// Consume is the queue's Consume for as long as allowed says that the identity may; nil asks for the right to consume the queue. When it is lost what the consumer holds is back in the queue, and Gone
// is told the refusal.
func (b *Bus) Consume(q *Queue, cfg queue.ConsumerConfig, allowed func() error) (*queue.Consumer, error) {
	if allowed == nil {
		allowed = func() error { return b.mayQueue(policy.Consume, q.Name()) }
	}
	w := &watched{}
	cfg.Left = w.leave
	c, err := q.Consume(cfg)
	if err != nil {
		return nil, err
	}
	w.watch(b.Guard(allowed, c.Revoke))
	return c, nil
}

// watched ends a guard when a consumer ends, which may be before there is one.
type watched struct {
	mu   sync.Mutex
	over bool   // guarded by mu
	stop func() // guarded by mu
}

func (w *watched) watch(stop func()) {
	w.mu.Lock()
	w.stop = stop
	over := w.over
	w.mu.Unlock()
	if over {
		stop()
	}
}

func (w *watched) leave() {
	w.mu.Lock()
	w.over = true
	stop := w.stop
	w.mu.Unlock()
	if stop != nil {
		stop()
	}
}
