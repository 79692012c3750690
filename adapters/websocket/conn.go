package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"portico/core"

	"github.com/gorilla/websocket"
	"golang.org/x/sync/semaphore"
)

const (
	maxSubscriptions = 1024            // subscriptions and services of a connection
	maxConsumers     = 256             // consumers of a connection
	maxRequests      = 256             // own requests of a connection that wait for answers
	maxUnacked       = 16384           // deliveries a connection holds
	windowBytes      = 32 << 20        // bytes under way into queues; when full the client is not read
	windowCost       = 1 << 10         // what anything under way weighs beside its payload
	smallFrame       = 64 << 10        // bytes of a frame that every connection may read
	frameMemory      = 512 << 20       // bytes of larger frames being read or handled at once, over all connections
	largePatience    = 2 * time.Minute // for the rest of a large frame
	keptBuffer       = 4 << 10         // bytes of the read buffer that an idle connection keeps
)

// conn is one connection.
type conn struct {
	// immutable
	adapter *Adapter
	remote  string
	ctx     context.Context // ends with the connection
	cancel  context.CancelFunc
	out     *outbound
	window  *semaphore.Weighted // bytes under way: publishes, appends, settlements, requests
	written chan struct{}       // closed when the writer has ended
	ws      *websocket.Conn     // set before reader and writer begin
	socket  *socket

	// owned by the reader
	bus *core.Bus // nil: not logged in
	in  bytes.Buffer
	// ends a connection that does not log in; nil: it has
	authTimer *time.Timer

	// owned by the writer
	buf []byte

	working sync.WaitGroup // requests that wait for their answers
	starved atomic.Bool    // a consumer was told that there is no room

	mu        sync.Mutex // guards the rest
	leaving   bool       // the close frame is out: deadlines are no longer prolonged
	draining  bool
	names     map[string]closer // subscriptions, services and consumers by sid
	subs      int
	consumers map[*consumer]struct{} // those that deliver and those that are cancelled but hold something
	requests  int
	lastTag   uint64
	held      map[uint64]held
}

// closer is what a sid names: exactly one of the two is set.
type closer struct {
	subscription *core.Subscription
	consumer     *consumer
}

func newConn(a *Adapter, r *http.Request, bus *core.Bus) *conn {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	return &conn{
		adapter: a, remote: r.RemoteAddr, ctx: ctx, cancel: cancel, bus: bus,
		out: newOutbound(), window: semaphore.NewWeighted(windowBytes), written: make(chan struct{}),
		names: make(map[string]closer), consumers: make(map[*consumer]struct{}), held: make(map[uint64]held),
	}
}

// serve is the connection's life. It returns when everything of it has ended and everything it held is back.
func (c *conn) serve(ws *websocket.Conn, s *socket) {
	c.mu.Lock()
	c.ws, c.socket = ws, s
	c.mu.Unlock()
	ws.SetReadLimit(c.adapter.limits.Frame)
	ws.SetPingHandler(func(payload string) error { c.out.answerPing(payload); return nil })
	ws.SetPongHandler(func(string) error { c.alive(); return nil })
	ws.SetCloseHandler(func(code int, _ string) error { c.out.finish(code, ""); return nil })
	c.welcome()
	go c.write()
	err := c.read()
	c.farewell(err)
	c.release()
	<-c.written
	if breach(err) {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.socket, 2*c.adapter.limits.Frame)) // until closeGrace is over: a reset would swallow the close frame
	}
	if err := ws.Close(); err != nil {
		c.adapter.log.Debug("close", "door", door, "remote", c.remote, "err", err)
	}
}

// welcome is the first frame, and starts the clock for those who must log in.
func (c *conn) welcome() {
	loggedIn, user := c.bus != nil, ""
	if loggedIn {
		user = c.bus.User()
	} else {
		c.authTimer = time.AfterFunc(c.adapter.authTimeout, func() { c.out.finish(closeUnauthenticated, core.CodeUnauthenticated.String()) })
	}
	c.send(answer{Op: "welcome", Protocol: Protocol, LoggedIn: &loggedIn, User: &user, Ping: c.adapter.ping.String(), Limits: &c.adapter.limits})
}

func (c *conn) send(a answer) { c.out.push(item{kind: itemAnswer, answer: a}) }

// Errors of read that are more than a lost connection.
var (
	errBinary = errors.New("binary frame")
	errUTF8   = errors.New("text that is not UTF-8")
	errMemory = errors.New("too many large frames at once")
)

// breach tells whether the client was still sending when the reader gave up.
func breach(err error) bool {
	return errors.Is(err, errBinary) || errors.Is(err, errUTF8) || errors.Is(err, errMemory) || errors.Is(err, websocket.ErrReadLimit)
}

// read is the reader: one frame after the other, as long as there is room for what they may lead to.
func (c *conn) read() error {
	for {
		if err := c.out.room(c.ctx); err != nil {
			return err
		}
		c.alive()
		b, release, err := c.readFrame()
		if err != nil {
			return err
		}
		if !c.out.isClosing() {
			c.handle(b)
		}
		release()
		if c.in.Cap() > keptBuffer {
			c.in = bytes.Buffer{}
		}
	}
}

// readFrame reads one text frame; b is valid until the next call, and release must be called when it has been used. The first
// smallFrame bytes of a frame are free; more is taken, as it comes, from what all connections share.
func (c *conn) readFrame() (b []byte, release func(), err error) {
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return nil, nil, err
	}
	if kind != websocket.TextMessage {
		return nil, nil, errBinary
	}
	c.in.Reset()
	n, err := c.in.ReadFrom(io.LimitReader(r, smallFrame))
	if err != nil {
		return nil, nil, err
	}
	release = func() {}
	if n == smallFrame {
		if release, err = c.readLarge(r); err != nil {
			return nil, nil, err
		}
	}
	if !utf8.Valid(c.in.Bytes()) {
		release()
		return nil, nil, errUTF8
	}
	return c.in.Bytes(), release, nil
}

func (c *conn) readLarge(r io.Reader) (release func(), err error) {
	c.prolong(largePatience)
	var taken int64
	release = func() { c.adapter.frames.Release(taken) }
	for {
		step := int64(c.in.Len()) // doubling, as the buffer does
		if !c.adapter.frames.TryAcquire(step) {
			release()
			return nil, errMemory
		}
		taken += step
		n, err := c.in.ReadFrom(io.LimitReader(r, step))
		if err != nil {
			release()
			return nil, err
		}
		if n < step {
			return release, nil
		}
	}
}

// alive notes a sign of life: the client has two pings' time for the next.
func (c *conn) alive() { c.prolong(2*c.adapter.ping + c.adapter.ping/2) }

func (c *conn) prolong(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.leaving {
		_ = c.ws.SetReadDeadline(time.Now().Add(d)) // fails on a closed connection only: the next read tells
	}
}

// leave ends the reader after d at the latest.
func (c *conn) leave(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaving = true
	_ = c.ws.SetReadDeadline(time.Now().Add(d)) // fails on a closed connection only: the reader has ended
}

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

// farewell gives the reason for the end to the writer, which is perhaps already at it, and to the log if it is worth a line.
func (c *conn) farewell(err error) {
	switch {
	case errors.Is(err, errBinary):
		c.out.finish(websocket.CloseUnsupportedData, "text frames only")
	case errors.Is(err, errUTF8):
		c.out.finish(websocket.CloseInvalidFramePayloadData, "not UTF-8")
	case errors.Is(err, errMemory):
		c.out.finish(websocket.CloseTryAgainLater, core.CodeResourceExhausted.String())
	case errors.Is(err, websocket.ErrReadLimit):
		c.out.finish(websocket.CloseMessageTooBig, "") // the library has said it already
	case timedOut(err):
		c.out.finish(websocket.ClosePolicyViolation, "no sign of life")
	default:
		c.out.finish(websocket.CloseNormalClosure, "")
	}
	c.out.mu.Lock()
	code, reason := c.out.code, c.out.reason
	c.out.mu.Unlock()
	c.adapter.log.Debug("connection ended", "door", door, "remote", c.remote, "close", code, "reason", reason, "err", err)
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
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
	ctx, cancel := context.WithCancel(limit)
	defer cancel()
	stop := context.AfterFunc(c.ctx, cancel)
	defer stop()
	_ = c.window.Acquire(ctx, windowBytes) // out of time, or gone: then goodbye at once
	c.out.finish(websocket.CloseGoingAway, "draining")
}
