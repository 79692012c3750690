package identity

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Why a credential is good no longer.
var (
	ErrExpired = errors.New("the credential has expired")
	ErrRevoked = errors.New("the token was revoked")
	ErrGone    = errors.New("the user was deleted or disabled")
	ErrChanged = errors.New("the user's credentials were changed")
	ErrMoved   = errors.New("the user may not be in every tenant any more that was open to it")
	ErrTenant  = errors.New("the tenant is being deleted")
)

// Live is what a login gives: an identity as it is now, for as long as what was shown is good. Its methods may be called from any goroutine. It needs no closing.
//
// Those who came in by the same credential share one.
type Live struct {
	// immutable
	parent  *Live           // whose identity it is; nil: its own
	until   context.Context // its end is this one's, too; nil: none
	expires time.Time
	over    context.Context // ends when the credential does
	end     context.CancelCauseFunc

	watching sync.Once // starts the wait for expires and parent

	now atomic.Pointer[Identity] // nil: the parent's

	mu       sync.Mutex
	changed  chan struct{}             // guarded by mu; closed at the next change
	children map[context.Context]*Live // guarded by mu: what Until has given
}

// NewLive makes one that is good forever.
func NewLive(who *Identity) *Live { return newLive(nil, who, time.Time{}) }

// newLive makes one that ends with its parent, if there is one, and has its identity if who is nil.
func newLive(parent *Live, who *Identity, expires time.Time) *Live {
	l := &Live{parent: parent, expires: expires, changed: make(chan struct{})}
	l.over, l.end = context.WithCancelCause(context.Background())
	l.now.Store(who)
	return l
}

// Identity is who it is at this moment.
func (l *Live) Identity() *Identity {
	if who := l.now.Load(); who != nil || l.parent == nil {
		return who
	}
	return l.parent.Identity()
}

// Expires is when the credential ends by itself; zero: never.
func (l *Live) Expires() time.Time { return l.expires }

// Err is nil while the credential is good, then one of ErrExpired, ErrRevoked, ErrGone and ErrChanged.
func (l *Live) Err() error {
	if l.over.Err() != nil {
		return context.Cause(l.over)
	}
	if !l.expires.IsZero() && !time.Now().Before(l.expires) {
		return ErrExpired
	}
	if l.until != nil && l.until.Err() != nil {
		return ErrTenant
	}
	if l.parent != nil {
		return l.parent.Err()
	}
	return nil
}

// Until returns one for the same identity that is good only until ctx ends, with ErrTenant. For the same ctx it is always the same one: what waits for its end hangs on both, and would pile up there.
func (l *Live) Until(ctx context.Context) *Live {
	l.mu.Lock()
	defer l.mu.Unlock()
	if child := l.children[ctx]; child != nil {
		return child
	}
	child := newLive(l, nil, l.expires)
	child.until = ctx
	if ctx.Err() != nil || l.over.Err() != nil {
		return child // it has ended already
	}
	if l.children == nil {
		l.children = map[context.Context]*Live{}
	}
	maps.DeleteFunc(l.children, func(other context.Context, _ *Live) bool { return other.Err() != nil })
	l.children[ctx] = child
	return child
}

// Ended is closed when the credential is good no longer; Err then says why.
func (l *Live) Ended() <-chan struct{} {
	l.watching.Do(l.watch)
	return l.over.Done()
}

// watch is called for those only who wait: a request that is over in a moment costs no timer.
func (l *Live) watch() {
	if !l.expires.IsZero() {
		timer := time.AfterFunc(time.Until(l.expires), func() { l.end(ErrExpired) })
		context.AfterFunc(l.over, func() { timer.Stop() })
	}
	if l.until != nil {
		stop := context.AfterFunc(l.until, func() { l.end(ErrTenant) })
		context.AfterFunc(l.over, func() { stop() })
	}
	if l.parent == nil {
		return
	}
	above := l.parent
	above.Ended()
	stop := context.AfterFunc(above.over, func() { l.end(context.Cause(above.over)) })
	context.AfterFunc(l.over, func() { stop() })
}

// AfterEnd calls f, in a goroutine of its own, when the credential is good no longer, unless stop is called before. Until then it costs no goroutine.
func (l *Live) AfterEnd(f func()) (stop func() bool) {
	l.watching.Do(l.watch)
	return context.AfterFunc(l.over, f)
}

// Changed is closed when Identity next becomes another one. Ask for it before Identity, so that no change is missed.
func (l *Live) Changed() <-chan struct{} {
	if l.parent != nil {
		return l.parent.Changed()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// become gives it another identity.
func (l *Live) become(who *Identity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.Store(who)
	close(l.changed)
	l.changed = make(chan struct{})
}
