package identity

import (
	"container/list"
	"context"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

// Bounds of what is remembered of failed logins, and the times that follow from them.
const (
	maxWatched   = 16 << 10               // pairs of name and address; the one that was seen longest ago is forgotten
	forgetAfter  = 15 * time.Minute       // without a failure
	freeFailures = 3                      // the answers to further ones are delayed
	firstDelay   = 100 * time.Millisecond // doubles with each failure
	longestDelay = 2 * time.Second
	firstLock    = 10 * time.Second // doubles with each failure
	longestLock  = 10 * time.Minute
	maxDelayed   = 256 // answers at once; more are given without a delay
)

// guard remembers failed logins by name and address. Who has no address (a connection in the process) is never delayed or locked out.
type guard struct {
	// immutable
	delayed chan struct{}
	now     func() time.Time

	mu    sync.Mutex
	most  int                       // guarded by mu: failures, after which there is no login for a while; 0: never
	order *list.List                // guarded by mu: *watched, seen longest ago first
	seen  map[suspect]*list.Element // guarded by mu
}

// set changes how many failures there may be. With 0 nobody is locked out any more.
func (g *guard) set(most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = most
}

// suspect is a name at an address, as a sum: neither how long a name is nor how many there are matters.
type suspect [16]byte

type watched struct {
	who      suspect
	failures int
	last     time.Time
	until    time.Time // no login before
}

func newGuard(most int) *guard {
	return &guard{most: most, delayed: make(chan struct{}, maxDelayed), now: time.Now, order: list.New(), seen: map[suspect]*list.Element{}}
}

// suspectOf is a name at an address. Of an IPv6 address the network counts: whoever has one address there has them all.
func suspectOf(name string, at netip.Addr) suspect {
	if at.Is6() {
		if network, err := at.Prefix(64); err == nil {
			at = network.Addr()
		}
	}
	raw := at.As16()
	sum := sha256.Sum256(append(raw[:], name...))
	return suspect(sum[:])
}

// locked returns how long there is no login for somebody, 0 if there is.
func (g *guard) locked(who suspect) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	e := g.seen[who]
	if e == nil || g.most <= 0 {
		return 0
	}
	return max(0, e.Value.(*watched).until.Sub(g.now()))
}

// failed notes a failure and returns for how long to delay the answer.
func (g *guard) failed(who suspect) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	w, now := g.watch(who), g.now()
	if now.Sub(w.last) > forgetAfter {
		w.failures = 0
	}
	w.failures++
	w.last = now
	if over := w.failures - g.most; g.most > 0 && over >= 0 {
		w.until = now.Add(doubled(firstLock, over, longestLock))
	}
	if w.failures <= freeFailures {
		return 0
	}
	return doubled(firstDelay, w.failures-freeFailures-1, longestDelay)
}

func doubled(first time.Duration, times int, most time.Duration) time.Duration {
	for range times {
		if first *= 2; first >= most {
			return most
		}
	}
	return first
}

// watch finds or makes the entry; mu is held.
func (g *guard) watch(who suspect) *watched {
	if e := g.seen[who]; e != nil {
		g.order.MoveToBack(e)
		return e.Value.(*watched)
	}
	if g.order.Len() >= maxWatched {
		oldest := g.order.Front()
		delete(g.seen, oldest.Value.(*watched).who)
		g.order.Remove(oldest)
	}
	w := &watched{who: who}
	g.seen[who] = g.order.PushBack(w)
	return w
}

// passed forgets the failures of who has shown the right credentials.
func (g *guard) passed(who suspect) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e := g.seen[who]; e != nil {
		delete(g.seen, who)
		g.order.Remove(e)
	}
}

// wait delays an answer, unless too many are delayed already.
func (g *guard) wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case g.delayed <- struct{}{}:
		defer func() { <-g.delayed }()
	default:
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
