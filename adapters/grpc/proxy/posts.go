package proxy

import (
	"slices"
	"sync"
	"time"

	"portico/core"
)

// linger is how long a subject is still listened to after its last server has left: what was on its way is refused instead of lost.
const linger = time.Second

// posts are the subjects that the servers of this gateway are called on. All servers of a subject share one subscription, and take turns: so a server can leave between two calls,
// and none is lost with its subscription.
type posts struct {
	proxy *Proxy

	// changing is held while servers come and go, which may wait for the bus
	changing sync.Mutex

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

// remove takes a server from its posts. Those that are left empty are given up a little later.
func (p *posts) remove(s *server, patterns []string) {
	p.changing.Lock()
	defer p.changing.Unlock()
	for _, pattern := range patterns {
		if at := p.at(pattern); at != nil {
			at.remove(s)
		}
	}
	time.AfterFunc(linger, func() {
		p.changing.Lock()
		defer p.changing.Unlock()
		p.sweep()
	})
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

// flush returns when the bus has seen all that went before: it has when a subscription is in force.
func (p *posts) flush() {
	subscription, err := p.proxy.bus.Subscribe(p.proxy.inbox.prefix+"flush", group, func(*core.Message) {})
	if err != nil {
		p.proxy.log.Debug("the bus does not answer", "err", err)
		return
	}
	subscription.Unsubscribe()
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
