package proxy

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"portico/core"
)

// flushWithin is how long the bus may take to hand over what is on its way.
const flushWithin = 5 * time.Second

// posts are the subjects that the servers of this gateway are called on. All servers of a subject share one subscription, and take turns: so a server can leave between two calls,
// and none is lost with its subscription.
type posts struct {
	proxy *Proxy

	// changing is held while servers come and go, which may wait for the bus
	changing sync.Mutex

	// calling is held by local callers from the moment they find that a post has servers until their call is on the bus: who then holds it alone knows that no call is to come for a post
	// that is empty
	calling sync.RWMutex

	// guarded by mu; who changes it holds changing too
	mu sync.RWMutex
	by map[string]*post
}

// post is one subject, or a pattern of them.
type post struct {
	// immutable
	proxy        *Proxy
	subscription *core.Subscription

	// guarded by mu
	mu      sync.Mutex
	servers []*server
	turn    int
}

// add puts a server to all its posts, or to none. Errors: those of Bus.Subscribe.
func (p *posts) add(s *server, patterns []string) error {
	p.changing.Lock()
	defer p.changing.Unlock()
	for _, pattern := range patterns {
		if p.at(pattern) != nil {
			continue
		}
		at := &post{proxy: p.proxy}
		subscription, err := p.proxy.bus.Subscribe(pattern, group, at.take)
		if err != nil {
			p.sweep()
			return err
		}
		at.subscription = subscription
		p.set(pattern, at)
	}
	for _, pattern := range patterns {
		p.at(pattern).add(s)
	}
	return nil
}

func (p *posts) at(pattern string) *post {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.by[pattern]
}

func (p *posts) set(pattern string, at *post) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.by[pattern] = at
}

// lingers tells of a method that no server has named whether its last server has just left: the subscription that is still there serves nobody, and a call sent to it now could be
// lost with it.
func (p *posts) lingers(service, method string) bool {
	return p.at(subjects+service+"."+method) != nil || p.at(subjects+service+".*") != nil
}

// remove takes a server from its posts, and gives up those that are left empty when what was on its way to them has been refused.
func (p *posts) remove(s *server, patterns []string) {
	p.changing.Lock()
	defer p.changing.Unlock()
	for _, pattern := range patterns {
		if at := p.at(pattern); at != nil {
			at.remove(s)
		}
	}
	p.calling.Lock()
	p.calling.Unlock() //nolint:staticcheck // those who held it have published
	p.flush()
	p.sweep()
}

// call puts a local caller's call on the bus, unless the servers of its subject have just left: then it could be lost with their subscription.
func (p *posts) call(m *core.Message) error {
	p.calling.RLock()
	defer p.calling.RUnlock()
	if p.left(m.Subject) {
		return errNobody
	}
	return p.proxy.send(m)
}

// left tells whether all posts that take a method's subject are empty; false if there are none.
func (p *posts) left(subject string) bool {
	own, whole := p.at(subject), p.at(subject[:strings.LastIndexByte(subject, '.')+1]+"*")
	return (own != nil || whole != nil) && (own == nil || own.empty()) && (whole == nil || whole.empty())
}

// sweep gives up the posts without servers. They are forgotten when the bus has forgotten them. The caller holds changing.
func (p *posts) sweep() {
	var gone []string
	p.mu.RLock()
	for pattern, at := range p.by {
		if at.empty() {
			at.subscription.Unsubscribe()
			gone = append(gone, pattern)
		}
	}
	p.mu.RUnlock()
	if len(gone) == 0 {
		return
	}
	p.flush()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pattern := range gone {
		delete(p.by, pattern)
	}
}

// flush returns when the bus has seen and delivered all that went before.
func (p *posts) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := p.proxy.bus.Flush(ctx); err != nil {
		p.proxy.log.Debug("the bus does not answer", "err", err)
	}
}

// close gives up all posts. Their servers have left.
func (p *posts) close() {
	p.changing.Lock()
	defer p.changing.Unlock()
	p.sweep()
}

func (p *post) add(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.servers = append(p.servers, s)
}

func (p *post) remove(s *server) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.servers = slices.DeleteFunc(p.servers, func(other *server) bool { return other == s })
}

func (p *post) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.servers) == 0
}

// take is called by the subscription, which waits: everything but the choice of a server is done in a goroutine of the call's own. Who cannot be served is told so by another
// goroutine, and if even that one has too much to do is left to its deadline.
func (p *post) take(m *core.Message) {
	path, ok := pathOf(m.Subject)
	if !ok {
		return
	}
	s, err := p.next()
	if err == nil {
		s.begin(path, m)
		return
	}
	select {
	case p.proxy.refusals <- refusal{m.Reply, err}:
	default:
	}
}

// next is the server whose turn it is, with the call counted in.
func (p *post) next() (*server, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := errNobody
	if p.proxy.draining.Err() != nil {
		err = errDraining
	}
	if len(p.servers) == 0 {
		return nil, err
	}
	p.turn = (p.turn + 1) % len(p.servers)
	s := p.servers[p.turn]
	if err := s.enter(); err != nil {
		return nil, err
	}
	return s, nil
}

var errNobody = core.Errorf(core.CodeNoResponders, "no server of the method is connected any more")
