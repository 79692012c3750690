// Package limits bounds what one client, one address and one user may take of the gateway: connections, how fast they come, and how fast messages come. All it
// keeps is bounded itself.
package limits

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Config is how much there may be. Zero is no limit.
type Config struct {
	Connections        int     // at once, over all doors
	ConnectionsAddress int     // at once, from one address
	ConnectionsUser    int     // at once, of one user
	ConnectRate        float64 // new connections a second, from one address; twice as many may come at once
	MessageRate        float64 // messages a second that one user publishes; twice as many may come at once
}

// The reasons why Enter and Hold refuse.
var (
	ErrFull        = errors.New("too many connections")
	ErrAddress     = errors.New("too many connections from this address")
	ErrAddressRate = errors.New("connections come too fast from this address")
	ErrUser        = errors.New("too many connections of this user")
	ErrMessageRate = errors.New("messages come too fast") // for who is told by other means than Message
)

// maxRates is of how many addresses or users the pace is known; when there are more, those that have not been heard of for longest are forgotten.
const maxRates = 16384

// Gate counts. Its methods may be called from any goroutine. A nil Gate lets everybody in.
type Gate struct {
	cfg      atomic.Pointer[Config]
	connects *paces
	messages *paces
	told     func(remote string, reason error) // immutable; nil: nobody

	mu        sync.Mutex // guards the rest
	total     int
	addresses map[netip.Prefix]int // with at least one connection
	users     map[string]int       // likewise
}

// New returns a gate where nobody is. told, which may be nil, hears of the connections that a Listener has refused; it must not block.
func New(cfg Config, told func(remote string, reason error)) *Gate {
	g := &Gate{told: told, connects: newPaces(), messages: newPaces(), addresses: map[netip.Prefix]int{}, users: map[string]int{}}
	g.Set(cfg)
	return g
}

// Set changes the limits. Connections that are open stay, also above them.
func (g *Gate) Set(cfg Config) {
	before := g.cfg.Swap(&cfg)
	if before == nil || before.ConnectRate != cfg.ConnectRate {
		g.connects.set(cfg.ConnectRate)
	}
	if before == nil || before.MessageRate != cfg.MessageRate {
		g.messages.set(cfg.MessageRate)
	}
}

// Enter counts a connection from an address (host:port). release must be called once when it has ended. An error is one of the reasons above; then nothing
// was counted. Addresses of one IPv6 /64 are one: whoever has one has all.
func (g *Gate) Enter(remote string) (release func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	cfg, at := g.cfg.Load(), addressOf(remote)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case cfg.Connections > 0 && g.total >= cfg.Connections:
		return nil, ErrFull
	case cfg.ConnectionsAddress > 0 && g.addresses[at] >= cfg.ConnectionsAddress:
		return nil, ErrAddress
	case !g.connects.allow(at.String(), time.Now()):
		return nil, ErrAddressRate
	}
	g.total++
	g.addresses[at]++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.total--
		if g.addresses[at]--; g.addresses[at] == 0 {
			delete(g.addresses, at)
		}
	}), nil
}

// Hold counts a connection of a user, "" for nobody in particular, who is not counted. release must be called once when it has ended.
func (g *Gate) Hold(user string) (release func(), err error) {
	if g == nil || user == "" {
		return func() {}, nil
	}
	cfg := g.cfg.Load()
	g.mu.Lock()
	defer g.mu.Unlock()
	if cfg.ConnectionsUser > 0 && g.users[user] >= cfg.ConnectionsUser {
		return nil, ErrUser
	}
	g.users[user]++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.users[user]--; g.users[user] == 0 {
			delete(g.users, user)
		}
	}), nil
}

// Message tells whether a user may publish now, and if not, how long until it may.
func (g *Gate) Message(user string) (wait time.Duration, ok bool) {
	if g == nil || g.cfg.Load().MessageRate <= 0 {
		return 0, true
	}
	if g.messages.allow(user, time.Now()) {
		return 0, true
	}
	return time.Duration(float64(time.Second) / g.cfg.Load().MessageRate), false
}

// addressOf is what counts as one address; what is none counts as one, too.
func addressOf(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	address, bits := at.Addr().Unmap().WithZone(""), 64
	if address.Is4() {
		bits = 32
	}
	p, _ := address.Prefix(bits) // the bits are right for the address
	return p
}

// paces are token buckets by name, of those that were heard of last.
type paces struct {
	mu    sync.Mutex // guards the rest
	limit rate.Limit
	burst int
	young map[string]*rate.Limiter // when it is full it becomes old, and what was old is forgotten
	old   map[string]*rate.Limiter
}

func newPaces() *paces { return &paces{young: map[string]*rate.Limiter{}} }

func (p *paces) set(perSecond float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit, p.burst = rate.Limit(perSecond), max(1, int(2*perSecond))
	p.young, p.old = map[string]*rate.Limiter{}, nil
}

func (p *paces) allow(name string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit <= 0 {
		return true
	}
	l := p.young[name]
	if l == nil {
		if l = p.old[name]; l == nil {
			l = rate.NewLimiter(p.limit, p.burst)
		}
		if len(p.young) >= maxRates/2 {
			p.old, p.young = p.young, make(map[string]*rate.Limiter)
		}
		p.young[name] = l
	}
	return l.AllowN(now, 1)
}
