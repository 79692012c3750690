package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"portico/adapters/http/webhook"
	"portico/core"
	"portico/core/certs"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"
)

// door is this door's name in credentials, metrics and logs.
const door = "http"

const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	answerTimeout   = maxWait + time.Minute // of anything that is not a stream
	maxHeaderBytes  = 64 << 10
	defaultMaxConns = 8192
	defaultWrite    = 10 * time.Second
)

// Config is what the HTTP door needs.
type Config struct {
	Listen         string                                        // address, such as 127.0.0.1:8080; port 0 for any
	TLS            certs.Door                                    // the zero value: none is spoken
	AdminListen    string                                        // an address of its own for what is administrative, which is not at Listen then; "": none
	WebSocket      http.Handler                                  // mounted at /ws, and for upgrades elsewhere (see forWebSocket); nil: none
	RPC            http.Handler                                  // gRPC services by Connect and gRPC-Web, mounted at /portico.v1.*/; nil: none
	Web            fs.FS                                         // assets served at "/"; nil: none
	AllowedOrigins []string                                      // of other origins whose pages may use the door, such as https://app.example.com; no wildcards
	Doors          func() map[string]string                      // address by name of the doors beside this one; nil: not told. It is called by any number of goroutines once Serve runs.
	Extensions     map[string]Extension                          // parts of the REST surface by their name below /v1, such as "amqp"; not a name that this door uses itself
	Webhooks       *webhook.Courier                              // outbound webhooks, which somebody else serves; nil: none
	Reload         func() (changed, restart []string, err error) // reads the configuration again and puts it in force; nil: there is none to read
	Hooks          []Hook                                        // sources of webhooks that are always there; others come and go by REST
	MaxBody        int64                                         // bytes of a message's body; 0: core's MaxMessage
	MaxConnections int                                           // connections at once, those that became WebSockets included; above, new ones wait in the kernel. 0: 8192
	BodyTimeout    time.Duration                                 // a body must come within this, plus the time that it takes at 64 KiB/s. 0: 30 s
	WriteTimeout   time.Duration                                 // a client that takes nothing of its event stream for so long is gone. 0: 10 s
}

// Adapter is the HTTP door.
type Adapter struct {
	// immutable
	gateway   *core.Gateway
	log       *slog.Logger
	metrics   *core.DoorMetrics
	websocket http.Handler
	reload    func() (changed, restart []string, err error) // nil: there is nothing to reload
	doors     func() map[string]string
	document  func() (*document, error) // made when it is asked for first
	maxBody   int64

	maxConnections int
	sealer         *sealer
	hooks          *hookState
	webhooks       *webhook.Courier    // nil: none
	bodies         *semaphore.Weighted // bytes of bodies at once
	patience       time.Duration       // for a body
	packers        []*packer
	rest           *restState
	origins        *http.CrossOriginProtection
	listener       net.Listener
	server         *http.Server
	adminListener  net.Listener // nil: none, and so is the next
	adminServer    *http.Server
	frames         frames    // what subscribers share
	buffers        sync.Pool // of *[]byte, for their writes
	serving        *serving
	taken          takenConns
	inflight       *inflight
	writeTimeout   time.Duration
	stopping       context.Context // ends when the gateway stops: streams and waiting fetches end …
	stop           context.CancelFunc
	draining       <-chan struct{} // … because this is closed
}

// New opens the listener. Serve must be called to serve it, and closes it.
func New(cfg Config, g *core.Gateway, log *slog.Logger) (*Adapter, error) {
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("http: listen on %q: %w", cfg.Listen, err)
	}
	hooks, err := newHookState(cfg.Hooks, g)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	a := &Adapter{
		gateway: g, log: log, metrics: g.Door(door), websocket: cfg.WebSocket, maxBody: cfg.MaxBody,
		sealer: newSealer(), bodies: semaphore.NewWeighted(bodyMemory), origins: http.NewCrossOriginProtection(),
		reload: cfg.Reload, inflight: newInflight(), serving: newServing(), packers: newPackers(), rest: newRestState(), hooks: hooks, webhooks: cfg.Webhooks,
	}
	a.stopping, a.stop = context.WithCancel(context.Background())
	a.draining = a.stopping.Done()
	if a.maxBody <= 0 {
		a.maxBody = int64(g.MaxMessage())
	}
	if a.writeTimeout = cfg.WriteTimeout; a.writeTimeout <= 0 {
		a.writeTimeout = defaultWrite
	}
	if a.patience = cfg.BodyTimeout; a.patience <= 0 {
		a.patience = bodyPatience
	}
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = defaultMaxConns
	}
	a.maxConnections, a.doors = cfg.MaxConnections, cfg.Doors
	a.document = sync.OnceValues(func() (*document, error) { return newDocument(a.operations(), cfg.Extensions) })
	handler, err := a.handler(cfg)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	a.listener = cfg.TLS.Listener(newLimitListener(g.Gate().Listener(listener, tooMany(cfg.TLS)), cfg.MaxConnections), "h2", "http/1.1")
	if err := errors.Join(a.openAdmin(cfg, handler, log), g.WatchTenants(a.sealer)); err != nil {
		return nil, errors.Join(err, a.close())
	}
	if a.adminServer != nil {
		handler = withoutAdmin(handler)
	}
	a.server = a.newServer(handler, log)
	return a, nil
}

// protocols are HTTP/1.1 and, for gRPC calls that stream both ways, HTTP/2; without TLS by those clients that know that it is spoken.
func protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// Addr is the address that the door listens on.
func (a *Adapter) Addr() string { return a.listener.Addr().String() }

// Serve implements core.Adapter.
func (a *Adapter) Serve(ctx context.Context) error {
	served, addresses := a.begin()
	select {
	case err := <-served:
		a.stop()
		err = errors.Join(err, a.close())
		a.taken.cut()
		a.inflight.wait()
		return fmt.Errorf("http: serve: %w", err)
	case <-ctx.Done():
	}
	a.gateway.Quiesce()
	a.stop()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.gateway.DrainTimeout())
	defer cancel()
	context.AfterFunc(limit, a.taken.cut)
	err := a.shutdown(limit)
	for range addresses {
		<-served //nolint:errcheck // http.ErrServerClosed, always, after Shutdown or Close
	}
	a.inflight.wait()
	if err != nil {
		return fmt.Errorf("http: drain: %w", err)
	}
	return nil
}

// handler puts what concerns every request around the routes. A WebSocket is not counted in flight: it outlives its
// request, and its own adapter waits for it.
func (a *Adapter) handler(cfg Config) (http.Handler, error) {
	routes, err := a.crossOrigin(cfg.AllowedOrigins, a.withRPC(cfg.RPC, a.routes(cfg)))
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.gateway.Open() && !ownName(r.Host) {
			misdirected(w, r.Host)
			return
		}
		if a.websocket != nil && forWebSocket(r) {
			a.websocket.ServeHTTP(w, r)
			return
		}
		if !a.inflight.enter() {
			return // the server has been closed: nobody reads the answer
		}
		defer a.inflight.leave()
		routes.ServeHTTP(w, r)
	}), nil
}

// routes puts the operations behind their middleware, and beside them what needs no login.
func (a *Adapter) routes(cfg Config) http.Handler {
	e := a.engine()
	a.mountExtensions(e.Group("/v1", a.compress, a.sameOrigin, a.login), cfg.Extensions)
	a.mount(e.Group("/", a.compress, a.sameOrigin, a.pathValues), e.Group("/", a.compress, a.sameOrigin, a.login, a.pathValues), a.operations())
	e.NoRoute(a.assets(cfg.Web))
	e.NoMethod(a.notAllowed)
	return e
}

// notAllowed answers 405.
func (a *Adapter) notAllowed(c *gin.Context) {
	a.problem(c, problem{
		Type: "urn:portico:problem:invalid-argument", Title: "Method not allowed", Status: http.StatusMethodNotAllowed,
		Detail: c.Request.Method + " is not understood here", Code: core.CodeInvalid.String(),
	})
}

// engine is gin as this door wants it: names in paths keep their %2F, nothing is redirected, a panic is answered as a problem.
func (a *Adapter) engine() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.UseEscapedPath, e.UnescapePathValues = true, false
	e.RedirectTrailingSlash, e.RedirectFixedPath = false, false
	e.HandleMethodNotAllowed = true
	e.Use(a.recover, guard())
	return e
}

// count keeps the number of connections.
func (a *Adapter) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		a.metrics.Connections.Inc()
	case http.StateClosed, http.StateHijacked:
		a.metrics.Connections.Dec()
	}
}
