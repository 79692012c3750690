package websocket

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"portico/adapters/websocket/stomp"
	"portico/core"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/semaphore"
)

// door is this door's name in credentials, metrics and logs.
const door = "websocket"

// Protocol is the subprotocol's name.
const Protocol = "portico.v1.json"

const (
	defaultPing        = 25 * time.Second
	defaultAuthTimeout = 10 * time.Second
	defaultConnections = 8192
)

// Config is what the WebSocket door needs. The zero value is the default.
type Config struct {
	AllowedOrigins []string      // origins such as https://app.example.org that may connect beside the same host and loopback; "*": all
	PingInterval   time.Duration // between the server's pings; default 25 s. A connection without a sign of life for two is dead
	AuthTimeout    time.Duration // for a client that must log in by a frame; default 10 s
	MaxConnections int           // at once; above, an upgrade is refused with 503. Default 8192

	// AMQP takes a connection that carries AMQP 0-9-1 and closes it in the end; it must not block. nil: AMQP is refused with 503.
	AMQP func(net.Conn)
}

// Adapter is the WebSocket door. It is an http.Handler, mounted by whoever listens.
type Adapter struct {
	// immutable
	gateway     *core.Gateway
	log         *slog.Logger
	metrics     *core.DoorMetrics
	origins     []string
	ping        time.Duration
	authTimeout time.Duration
	limits      limitsDoc
	upgrader    websocket.Upgrader
	frames      *semaphore.Weighted // bytes of large frames
	most        int
	amqp        func(net.Conn) // nil: none
	stomp       *stomp.Server

	mu       sync.Mutex // guards the rest
	conns    map[member]struct{}
	draining bool
	active   sync.WaitGroup // one for each of conns; none is added while draining
}

// member is a connection, whatever it speaks.
type member interface {
	drain(limit context.Context) // ends it with a goodbye when what is under way is done, or limit is over
	cut()                        // ends it without a word
}

// New returns the door. Serve must run for connections to be told when the gateway stops.
func New(cfg Config, g *core.Gateway, log *slog.Logger) (*Adapter, error) {
	if cfg.PingInterval <= 0 {
		cfg.PingInterval = defaultPing
	}
	if cfg.AuthTimeout <= 0 {
		cfg.AuthTimeout = defaultAuthTimeout
	}
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = defaultConnections
	}
	a := &Adapter{
		gateway: g, log: log, metrics: g.Door(door), ping: cfg.PingInterval, authTimeout: cfg.AuthTimeout, most: cfg.MaxConnections,
		frames: semaphore.NewWeighted(frameMemory), conns: make(map[member]struct{}), amqp: cfg.AMQP, stomp: stomp.NewServer(g, log),
		limits: limitsDoc{
			Message: g.MaxMessage(), Frame: int64(g.MaxMessage())*2 + 64<<10,
			Subscriptions: maxSubscriptions, Consumers: maxConsumers, Requests: maxRequests, Unacked: maxUnacked,
		},
	}
	for _, origin := range cfg.AllowedOrigins {
		if origin != "*" {
			if u, err := url.Parse(origin); err != nil || u.Scheme == "" || u.Host == "" {
				return nil, core.Errorf(core.CodeInvalid, "websocket: allowed origin %q: want one such as https://app.example.org, or *", origin)
			}
		}
		a.origins = append(a.origins, strings.ToLower(strings.TrimSuffix(origin, "/")))
	}
	a.upgrader = websocket.Upgrader{
		Subprotocols: []string{Protocol}, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
		CheckOrigin: func(*http.Request) bool { return true }, // checked before, with a better answer
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			refuse(w, status, core.Errorf(core.CodeInvalid, "%s", strings.TrimPrefix(reason.Error(), "websocket: ")))
		},
	}
	return a, nil
}

// Serve implements core.Adapter: it waits for ctx, then lets every connection finish what is under way and says goodbye (1001).
func (a *Adapter) Serve(ctx context.Context) error {
	<-ctx.Done()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.gateway.DrainTimeout())
	defer cancel()
	a.mu.Lock()
	a.draining = true
	conns := make([]member, 0, len(a.conns))
	for c := range a.conns {
		conns = append(conns, c)
	}
	a.mu.Unlock()
	a.gateway.Quiesce()
	var drains sync.WaitGroup
	for _, c := range conns {
		drains.Go(func() { c.drain(limit) })
	}
	drains.Wait()
	a.cutAfter(limit, conns)
	return nil
}

// cutAfter waits for the connections to end; those that take too long to hear the goodbye are cut.
func (a *Adapter) cutAfter(limit context.Context, conns []member) {
	ended := make(chan struct{})
	go func() { a.active.Wait(); close(ended) }()
	select {
	case <-ended:
		return
	case <-limit.Done():
	}
	select {
	case <-ended:
		return
	case <-time.After(closeGrace):
	}
	for _, c := range conns {
		c.cut()
	}
	<-ended
}

// ServeHTTP upgrades the request and serves the connection until it ends.
func (a *Adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !a.originAllowed(r) {
		refuse(w, http.StatusForbidden, core.Errorf(core.CodePermissionDenied, "origin %s may not connect: see websocket.allowed_origins", r.Header.Get("Origin")))
		return
	}
	if protocol, answer, own := other(r); !own {
		a.serveOther(w, r, protocol, answer)
		return
	}
	if offered := websocket.Subprotocols(r); len(offered) > 0 && !slices.Contains(offered, Protocol) {
		refuse(w, http.StatusBadRequest, core.Errorf(core.CodeInvalid, "none of the subprotocols is spoken here: offer %s, %s", Protocol, strings.Join(spoken[:], ", ")))
		return
	}
	bus, e := a.login(r)
	if e != nil {
		refuse(w, http.StatusUnauthorized, e)
		return
	}
	c := newConn(a, r, bus)
	if !a.admit(c) {
		refuse(w, http.StatusServiceUnavailable, core.Errorf(core.CodeUnavailable, "no connection is taken now"))
		return
	}
	defer a.dismiss(c)
	hijack := &hijacker{ResponseWriter: w}
	ws, err := a.upgrader.Upgrade(hijack, r, nil)
	if err != nil {
		return // answered by the upgrader
	}
	c.serve(ws, hijack.socket)
}

// login checks the credentials of the upgrade. No bus and no error: the client showed none, needs some, and may send auth.
func (a *Adapter) login(r *http.Request) (*core.Bus, *core.Error) {
	user, password, basic := r.BasicAuth()
	bus, err := a.gateway.Login(r.Context(), core.Credentials{
		Door: door, Remote: r.RemoteAddr, User: user, Password: password, Anonymous: !basic,
	})
	if err == nil {
		return bus, nil
	}
	e := core.AsError(err)
	if !basic && e.Code == core.CodeUnauthenticated {
		return nil, nil
	}
	return nil, e
}

// admit takes the connection into the list of those that are told when the gateway stops.
func (a *Adapter) admit(c member) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.draining || len(a.conns) >= a.most {
		return false
	}
	a.conns[c] = struct{}{}
	a.active.Add(1)
	a.metrics.Connections.Inc()
	return true
}

func (a *Adapter) dismiss(c member) {
	a.mu.Lock()
	delete(a.conns, c)
	a.mu.Unlock()
	a.metrics.Connections.Dec()
	a.active.Done()
}

// originAllowed: no Origin (not a browser), the host connected to, a loopback host, or one of the list.
func (a *Adapter) originAllowed(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return slices.Contains(a.origins, "*")
	}
	return strings.EqualFold(u.Host, r.Host) || loopback(u.Hostname()) ||
		slices.Contains(a.origins, "*") || slices.Contains(a.origins, strings.ToLower(u.Scheme+"://"+u.Host))
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
