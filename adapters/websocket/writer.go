package websocket

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"portico/core"

	"github.com/gorilla/websocket"
)

const (
	maxItems     = 8192             // frames that may wait for a client …
	maxBytes     = 8 << 20          // … and their bytes; above, its subscriptions are too much for it
	roomItems    = maxItems / 4     // above these, queue consumers pause,
	roomBytes    = maxBytes / 4     // and no further frame of the client is looked at
	writeTimeout = 10 * time.Second // a client that takes nothing for so long is gone
	closeGrace   = time.Second      // for the client's side of the closing handshake
	itemCost     = 128              // bytes a waiting frame is counted at, beside its payload
)

type itemKind uint8

const (
	itemAnswer itemKind = iota
	itemMsg
	itemRes
	itemDelivery
)

// item is a frame that waits to be written. Messages are shared with the bus and encoded at the last moment.
type item struct {
	kind        itemKind
	redelivered bool
	attempt     uint32
	tag         uint64
	name        string // sid; the request's id for itemRes
	answer      answer
	message     *core.Message
	record      []byte // itemDelivery
}

func (i *item) size() int {
	n := itemCost + len(i.record)
	if i.message != nil {
		n += len(i.message.Data)
	}
	return n
}

// outbound is the connection's one bounded queue. Nothing in it blocks but room.
type outbound struct {
	// immutable
	wake    chan struct{} // capacity 1: there is something to write
	drained chan struct{} // capacity 1: there may be room again

	mu      sync.Mutex // guards the rest
	items   []item
	bytes   int
	pong    []byte // the latest ping's payload; nil: none to answer
	closing bool
	code    int
	reason  string
}

func newOutbound() *outbound {
	return &outbound{wake: make(chan struct{}, 1), drained: make(chan struct{}, 1)}
}

// push queues a frame that the client asked for; it is bounded by what the client may ask for at once.
func (o *outbound) push(items ...item) {
	o.mu.Lock()
	if !o.closing {
		o.add(items)
	}
	o.mu.Unlock()
	signal(o.wake)
}

func (o *outbound) add(items []item) {
	for i := range items {
		o.bytes += items[i].size()
	}
	o.items = append(o.items, items...)
}

// live queues a message of a subscription. When the queue is full the client is too slow: the connection ends.
func (o *outbound) live(i item) {
	o.mu.Lock()
	switch full := len(o.items) >= maxItems || len(o.items) > 0 && o.bytes+i.size() > maxBytes; {
	case o.closing:
	case full:
		o.items, o.bytes = nil, 0
		o.closing, o.code, o.reason = true, closeSlowConsumer, core.CodeSlowConsumer.String()
	default:
		o.items = append(o.items, i)
		o.bytes += i.size()
	}
	o.mu.Unlock()
	signal(o.wake)
}

// finish ends the connection when what is queued has been written. The first reason counts.
func (o *outbound) finish(code int, reason string) {
	o.mu.Lock()
	if !o.closing {
		o.closing, o.code, o.reason = true, code, reason
	}
	o.mu.Unlock()
	signal(o.wake)
}

// answerPing remembers a ping. Only the latest needs an answer [RFC 6455 5.5.3], so pings cannot fill anything.
func (o *outbound) answerPing(payload string) {
	o.mu.Lock()
	o.pong = []byte(payload)
	if o.pong == nil {
		o.pong = []byte{}
	}
	o.mu.Unlock()
	signal(o.wake)
}

func (o *outbound) isClosing() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closing
}

func (o *outbound) hasRoom() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.closing || len(o.items) < roomItems && o.bytes < roomBytes
}

// room waits until little enough is queued. For the reader alone.
func (o *outbound) room(ctx context.Context) error {
	for !o.hasRoom() {
		select {
		case <-o.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take empties the queue.
func (o *outbound) take() (items []item, pong []byte, closing bool) {
	o.mu.Lock()
	items, o.items, o.bytes = o.items, nil, 0
	pong, o.pong = o.pong, nil
	closing = o.closing
	o.mu.Unlock()
	signal(o.drained)
	return items, pong, closing
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// write is the writer: it takes what is queued, writes all of it, flushes when nothing more is there, and waits.
func (c *conn) write() {
	defer close(c.written)
	tick := time.NewTicker(c.adapter.ping)
	defer tick.Stop()
	for {
		items, pong, closing := c.out.take()
		c.unstarve()
		if err := c.writeAll(items, pong); err != nil {
			c.cut()
			return
		}
		if len(items) > 0 && !closing {
			continue // what has come meanwhile shares the flush
		}
		if closing {
			c.goodbye()
			return
		}
		if err := c.socket.flush(); err != nil {
			c.cut()
			return
		}
		select {
		case <-c.out.wake:
		case <-tick.C:
			c.tick()
		case <-c.ctx.Done():
			c.out.finish(websocket.CloseNormalClosure, "")
		}
	}
}

// writeAll encodes and writes a batch into the socket's buffer.
func (c *conn) writeAll(items []item, pong []byte) error {
	if pong != nil {
		if err := c.ws.WriteControl(websocket.PongMessage, pong, time.Time{}); err != nil {
			return err
		}
	}
	for i := range items {
		c.encode(&items[i])
		if len(c.buf) == 0 {
			continue
		}
		if err := c.ws.WriteMessage(websocket.TextMessage, c.buf); err != nil {
			return err
		}
		if cap(c.buf) > 64<<10 {
			c.buf = nil // one large message does not make the connection large for ever
		}
	}
	return nil
}

// encode fills c.buf with the item's frame; with nothing if it cannot be shown.
func (c *conn) encode(i *item) {
	m := c.adapter.metrics
	switch i.kind {
	case itemAnswer:
		c.buf = append(c.buf[:0], i.answer.encode()...)
		return
	case itemMsg:
		c.buf = appendMsg(c.buf[:0], i.name, i.message)
	case itemRes:
		c.buf = appendRes(c.buf[:0], i.name, i.message)
	case itemDelivery:
		message, err := c.adapter.gateway.Message(i.record)
		if err != nil {
			c.buf = c.buf[:0]
			c.poisoned(i.tag, err)
			return
		}
		i.message = message
		c.buf = appendDelivery(c.buf[:0], i.name, i.tag, i.attempt, i.redelivered, message)
		if i.redelivered {
			m.Redeliveries.Inc()
		}
	}
	m.Out.Inc()
	m.BytesOut.Add(float64(len(i.message.Data)))
}

// tick sends a ping, and looks after what time alone changes.
func (c *conn) tick() {
	if err := c.ws.WriteControl(websocket.PingMessage, nil, time.Time{}); err != nil {
		c.cut()
	}
	c.sweep(time.Now())
	c.wakeConsumers()
}

// goodbye writes the close frame and gives the client a moment to answer it.
func (c *conn) goodbye() {
	c.out.mu.Lock()
	code, reason := c.out.code, c.out.reason
	c.out.mu.Unlock()
	// An error means that a close frame has been written before, by the WebSocket library for a breach of framing.
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Time{})
	if err := c.socket.flush(); err != nil {
		c.cut()
		return
	}
	c.cancel() // the reader may be waiting for something that will not be
	c.leave(closeGrace)
}

// socket is a net.Conn whose writes are gathered until flush. Each write to the network has its own deadline.
type socket struct {
	net.Conn

	mu  sync.Mutex // guards buf: the library answers a breach of framing from the reader's goroutine
	buf *bufio.Writer
}

func newSocket(conn net.Conn) *socket {
	return &socket{Conn: conn, buf: bufio.NewWriterSize(patient{conn}, 16<<10)}
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

// SetWriteDeadline implements net.Conn: patient sets them.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

func (s *socket) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Flush()
}

// patient gives every write writeTimeout.
type patient struct{ net.Conn }

// Write implements io.Writer.
func (p patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}

// hijacker hands the upgrade a socket instead of the bare connection.
type hijacker struct {
	http.ResponseWriter
	socket *socket
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.socket = newSocket(conn)
	return h.socket, rw, nil
}
