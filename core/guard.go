package core

import (
	"context"
	"maps"
	"slices"
	"sync"

	"portico/core/identity"
)

// guards look again at what is open for an identity when its permissions change. There is one goroutine for each login that has something open.
type guards struct {
	ctx context.Context // ends when the gateway closes; immutable

	mu sync.Mutex
	by map[*identity.Live]*guarded // guarded by mu
}

// guarded is what is open for one login.
type guarded struct {
	all  map[*guard]struct{} // guarded by guards.mu
	over chan struct{}       // closed when nothing is open any more
}

// guard is one thing that is open. It is told once at most that it has to end.
type guard struct {
	allowed func() error
	end     func(error)
}

func newGuards(ctx context.Context) *guards {
	return &guards{ctx: ctx, by: map[*identity.Live]*guarded{}}
}

// Guard looks again at something open whenever the identity's permissions change: when allowed, which asks what opening it asked, returns an error, end is called with it, once, from another
// goroutine; it may call stop, and must not wait for long. stop ends the watch; end may still be under way then. A change between opening and Guard is noticed: allowed is asked once more before
// Guard returns.
func (b *Bus) Guard(allowed func() error, end func(error)) (stop func()) {
	if b.live == nil {
		return func() {}
	}
	g, one := b.tenant.gateway.guards, &guard{allowed, end}
	g.add(b.live, one)
	if err := allowed(); err != nil && g.remove(b.live, one) {
		go end(err)
	}
	return func() { g.remove(b.live, one) }
}

func (g *guards) add(live *identity.Live, one *guard) {
	g.mu.Lock()
	defer g.mu.Unlock()
	set := g.by[live]
	if set == nil {
		set = &guarded{all: map[*guard]struct{}{}, over: make(chan struct{})}
		g.by[live] = set
		go g.watch(live, set, live.Changed()) // ends with the last of the set, and with the gateway
	}
	set.all[one] = struct{}{}
}

// remove tells whether it was there.
func (g *guards) remove(live *identity.Live, one *guard) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	set := g.by[live]
	if set == nil {
		return false
	}
	if _, there := set.all[one]; !there {
		return false
	}
	if delete(set.all, one); len(set.all) == 0 {
		delete(g.by, live)
		close(set.over)
	}
	return true
}

// watch asks all guards of a login after each change.
func (g *guards) watch(live *identity.Live, set *guarded, changed <-chan struct{}) {
	for {
		select {
		case <-changed:
			changed = live.Changed()
			g.check(live, set)
		case <-set.over:
			return
		case <-g.ctx.Done():
			return
		}
	}
}

func (g *guards) check(live *identity.Live, set *guarded) {
	g.mu.Lock()
	all := slices.Collect(maps.Keys(set.all))
	g.mu.Unlock()
	for _, one := range all {
		if err := one.allowed(); err != nil && g.remove(live, one) {
			one.end(err)
		}
	}
}
