package websocket

import (
	"bufio"
	"context"
	"crypto/rand"
	"io"
	"math"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"portico/adapters/websocket/outbound"
	"portico/core"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

const (
	maxSubscriptions = 1024            // subscriptions and services of a connection
	maxConsumers     = 256             // consumers of a connection
	maxRequests      = 256             // own requests of a connection that wait for answers
	maxUnacked       = 16384           // deliveries a connection holds
	windowBytes      = 32 << 20        // bytes under way into queues; when full the client is not read
	windowCost       = 1 << 10         // what anything under way weighs beside its payload
	passedOver       = 16 << 20        // bytes that a client may still send behind a breach
	smallFrame       = 64 << 10        // bytes of a frame that every connection may read
	frameMemory      = 512 << 20       // bytes of larger frames being read or handled at once, over all connections
	clientName       = 16              // characters of a connection's name
	largePatience    = 2 * time.Minute // for the rest of a large frame
)

// conn is one connection.
type conn struct {
	// immutable
	adapter *Adapter
	remote  string
	client  string          // its name in lists of who is present
	tenant  string          // that the upgrade asked for, "" for none; auth comes into it, too
	ctx     context.Context // ends with the connection
	cancel  context.CancelFunc
	out     outbound.Queue[item, ending]
	window  *semaphore.Weighted // bytes under way: publishes, appends, settlements, requests
	written chan struct{}       // closed when the writer has ended
	ws      *websocket.Conn     // set before reader and writer begin
	socket  *socket
	unread  *bufio.Reader // between socket and ws
	spoke   int           // of the wheel; set by it
	limiter *rate.Limiter // of frames from the client; nil: none
	deflate bool          // compression was agreed on
	wire    wire          // how frames are written

	// owned by the reader
	bus   *core.Bus // nil: not logged in
	tempo tempo
	// ends a connection that does not log in; nil: it has
	authTimer *time.Timer
	place     func() // gives back the user's and the tenant's place; nil: it has none

	// owned by the writer
	buf []byte

	batches  atomic.Bool  // the client takes batches
	due      atomic.Bool  // control has something for the writer
	deadline atomic.Int64 // for the client's next sign of life, in nanoseconds since 1970

	working sync.WaitGroup // requests that wait for their answers
	starved atomic.Bool    // a consumer was told that there is no room

	mu        sync.Mutex // guards the rest
	control   control
	shownEnds <-chan struct{} // closed when what the client showed is good no longer
	draining  bool
	names     map[string]closer // subscriptions, services and consumers by sid
	subs      int
	tasks     int
	turns     turns
	consumers map[*consumer]struct{} // those that deliver and those that are cancelled but hold something
	requests  int
	lastTag   uint64
	held      map[uint64]held
}

// closer is what a sid names: exactly one of the first four is set, none while it is being opened.
type closer struct {
	subscription *core.Subscription
	consumer     *consumer
	task         *task
	watch        *watch // of who is present
	end          func() // nil, or called once behind the end of the subscription
}

func newConn(a *Adapter, r *http.Request, bus *core.Bus) *conn {
	ctx, cancel := context.WithCancel(context.Background()) // not the request's: that would keep the request
	c := &conn{
		adapter: a, remote: r.RemoteAddr, client: rand.Text()[:clientName], tenant: tenantOf(r), ctx: ctx, cancel: cancel, bus: bus, wire: jsonWire{}, unread: bufio.NewReaderSize(nil, idleRead),
		window: semaphore.NewWeighted(windowBytes), written: make(chan struct{}),
		names: make(map[string]closer), consumers: make(map[*consumer]struct{}), held: make(map[uint64]held),
	}
	c.deadline.Store(math.MaxInt64)
	if a.rate > 0 {
		c.limiter = rate.NewLimiter(rate.Limit(a.rate), a.rate)
	}
	c.out.Open(a.outbound, func() { go c.write() })
	c.out.Hold() // until there is something to write to
	return c
}

// attach puts the door's socket between the library and the network.
func (c *conn) attach(network net.Conn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.socket = &socket{Conn: network, pool: &c.adapter.reads}
	if c.ctx.Err() != nil {
		_ = network.Close() // cut before there was anything to cut
	}
	return c.socket
}

// run begins the connection's life.
func (c *conn) run() {
	c.adapter.wheel.add(c)
	c.open()
	c.welcome()
	go c.write()
	go c.read()
}

// over ends it: everything it had open has ended, and everything it held is back.
func (c *conn) over(err error) {
	c.end(err)
	c.adapter.wheel.remove(c)
	c.vacate()
	c.adapter.dismiss(c, c.remote)
}

// broken ends it after a panic: net/http does not watch over our goroutines.
func (c *conn) broken(p any) {
	c.adapter.log.Error("panic", "door", door, "remote", c.remote, "panic", p, "stack", string(debug.Stack()))
	c.cut()
	c.release() // what it held must not stay away from others
	c.adapter.wheel.remove(c)
	c.vacate()
	c.adapter.dismiss(c, c.remote)
}

// open makes the library tell the connection what it would do by itself.
func (c *conn) open() {
	ws := c.ws
	c.socket.ended = c.finish
	ws.SetReadLimit(c.adapter.limits.Frame)
	ws.SetPingHandler(func(payload string) error { c.answerPing(payload); return nil })
	ws.SetPongHandler(func(string) error { c.alive(); return nil })
	ws.SetCloseHandler(func(code int, _ string) error { c.finish(code, ""); return nil })
}

// end says goodbye when the reader has ended with err, and gives back everything.
func (c *conn) end(err error) {
	c.farewell(err)
	c.release()
	<-c.written
	if breach(err) {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.socket.Conn, max(2*c.adapter.limits.Frame, passedOver))) // until closeGrace is over: a reset would swallow the close frame
	}
	c.socket.giveBack()
	if err := c.ws.Close(); err != nil {
		c.adapter.log.Debug("close", "door", door, "remote", c.remote, "err", err)
	}
}

// welcome is the first frame, and starts the clock for those who must log in.
func (c *conn) welcome() {
	loggedIn, user := c.bus != nil, ""
	if loggedIn {
		user = c.bus.User()
	} else {
		c.authTimer = time.AfterFunc(c.adapter.authTimeout, func() { c.finish(closeUnauthenticated, core.CodeUnauthenticated.String()) })
	}
	hello := answer{Op: "welcome", Protocol: c.wire.name(), Client: c.client, LoggedIn: &loggedIn, User: &user, Ping: c.adapter.ping.String(), Limits: &c.adapter.limits}
	if loggedIn {
		c.enter(c.bus)
		hello.Expires = expiry(c.bus)
	}
	c.send(hello)
}

func (c *conn) send(a answer) { c.out.Push(item{kind: itemAnswer, answer: &a}) }

// cut ends the connection without a word, because nobody hears it.
func (c *conn) cut() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.socket != nil {
		_ = c.socket.Close() // the reader notices
	}
}

// release ends everything the connection has open, waits for it, and returns what was held to its queues.
func (c *conn) release() {
	c.cancel()
	if c.authTimer != nil {
		c.authTimer.Stop()
	}
	subs, consumers := c.opened()
	for _, s := range subs {
		s.Unsubscribe()
	}
	for _, x := range consumers {
		x.consumer.Close()
	}
	c.working.Wait()
	c.endAll()
}

// opened lists what is open.
func (c *conn) opened() (subs []*core.Subscription, consumers []*consumer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.names {
		if n.subscription != nil {
			subs = append(subs, n.subscription)
		}
	}
	for x := range c.consumers {
		consumers = append(consumers, x)
	}
	return subs, consumers
}

// drain lets what is under way be done, for as long as limit allows, and ends the connection.
func (c *conn) drain(limit context.Context) {
	c.mu.Lock()
	c.draining = true
	c.mu.Unlock()
	subs, consumers := c.opened()
	for _, s := range subs {
		s.Unsubscribe()
	}
	for _, x := range consumers {
		x.consumer.Cancel()
	}
	c.cancelTasks()
	ctx, cancel := context.WithCancel(limit)
	defer cancel()
	stop := context.AfterFunc(c.ctx, cancel)
	defer stop()
	_ = c.window.Acquire(ctx, windowBytes) // out of time, or gone: then goodbye at once
	c.finish(websocket.CloseGoingAway, "draining")
}
