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

// version is the WebSocket protocol's.
const version = "13"

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
	MaxPerAddress  int           // connections of one IP address at once; above, 429. 0: no limit of its own

	// What follows is for Portico's own subprotocol, and for one connection.
	MaxSubscriptions int  // subscriptions and services; default 1,024
	MaxMessage       int  // bytes of payload and headers that a client may send; 0, or more than the gateway's: the gateway's
	MaxOutbound      int  // bytes that wait for a client; default 8 MiB
	Rate             int  // frames a second that a client may send, and as many at once; what is above is not read until it is due. 0: no limit
	Compression      bool // permessage-deflate, for clients that offer it

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
	outbound    int
	rate        int
	compression bool
	amqp        func(net.Conn) // nil: none
	stomp       *stomp.Server
	wheel       wheel
	filters     filters
	tails       tails
	binary      cborWire

	shares    shares
	reads     sync.Pool // of *[]byte: see socket
	buffers   sync.Pool // of *bytes.Buffer: frames that are read
	scratch   sync.Pool // of *scratch
	deflaters sync.Pool // of *deflater

	mu       sync.Mutex // guards the rest
	conns    map[member]struct{}
	visitors visitors
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
	cfg.defaults(g)
	a := &Adapter{
		wheel: wheel{every: cfg.PingInterval}, outbound: cfg.MaxOutbound, rate: cfg.Rate, compression: cfg.Compression,
		visitors: visitors{most: cfg.MaxPerAddress, open: make(map[string]int)},
		gateway:  g, log: log, metrics: g.Door(door), ping: cfg.PingInterval, authTimeout: cfg.AuthTimeout, most: cfg.MaxConnections,
		frames: semaphore.NewWeighted(frameMemory), conns: make(map[member]struct{}), amqp: cfg.AMQP, stomp: stomp.NewServer(g, log),
		limits: limitsDoc{
			Message: cfg.MaxMessage, Frame: int64(cfg.MaxMessage)*2 + 64<<10,
			Subscriptions: cfg.MaxSubscriptions, Consumers: maxConsumers, Requests: maxRequests, Unacked: maxUnacked, Cursors: maxCursors, Batch: maxBatch,
		},
	}
	var err error
	if a.binary, err = newCBOR(); err != nil {
		return nil, err
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
		WriteBufferSize: idleRead, WriteBufferPool: new(sync.Pool),
		CheckOrigin: func(*http.Request) bool { return true }, // checked before, with a better answer
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			if strings.Contains(reason.Error(), "unsupported version") {
				status = http.StatusUpgradeRequired
				w.Header().Set("Sec-WebSocket-Version", version) // RFC 6455 4.4
				w.Header().Set("Upgrade", "websocket")
			}
			refuse(w, status, core.Errorf(core.CodeInvalid, "%s", strings.TrimPrefix(reason.Error(), "websocket: ")))
		},
	}
	return a, nil
}

func (cfg *Config) defaults(g *core.Gateway) {
	if cfg.PingInterval <= 0 {
		cfg.PingInterval = defaultPing
	}
	if cfg.AuthTimeout <= 0 {
		cfg.AuthTimeout = defaultAuthTimeout
	}
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = defaultConnections
	}
	if cfg.MaxSubscriptions <= 0 {
		cfg.MaxSubscriptions = maxSubscriptions
	}
	if cfg.MaxMessage <= 0 || cfg.MaxMessage > g.MaxMessage() {
		cfg.MaxMessage = g.MaxMessage()
	}
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
	spoke, e := a.choose(r)
	if e != nil {
		refuse(w, http.StatusBadRequest, e)
		return
	}
	bus, e := a.login(r)
	if e != nil {
		refuse(w, http.StatusUnauthorized, e)
		return
	}
	c := newConn(a, r, bus)
	c.speak(spoke, r)
	if bus != nil {
		if err := c.occupy(bus); err != nil {
			refuse(w, http.StatusTooManyRequests, core.AsError(err))
			return
		}
	}
	if !a.admit(w, c, r.RemoteAddr) {
		c.vacate()
		return
	}
	u := a.upgrader
	u.Subprotocols = []string{spoke.name()}
	c.deflate = a.compression && offersDeflate(r.Header)
	u.EnableCompression = c.deflate
	ws, err := u.Upgrade(&hijacker{w, c.attach, c.unread}, r, nil)
	if err != nil {
		c.vacate()
		a.dismiss(c, r.RemoteAddr)
		return // answered by the upgrader
	}
	c.ws = ws
	c.run()
}

// login checks the credentials of the upgrade. No bus and no error: the client showed none, needs some, and may send auth.
func (a *Adapter) login(r *http.Request) (*core.Bus, *core.Error) {
	shown, refused := credentialsOf(r)
	if refused != nil {
		return nil, refused
	}
	bus, err := a.gateway.Login(r.Context(), shown)
	if err == nil {
		return bus, nil
	}
	e := core.AsError(err)
	if shown.Anonymous && e.Code == core.CodeUnauthenticated {
		return nil, nil
	}
	return nil, e
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
