package amqp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core"
)

// How a connection may end without an error to report.
var (
	errClientClosed = errors.New("closed by the client")
	errGone         = errors.New("the socket failed")
)

// closeTimeout is how long a peer may take to answer connection.close and to read what is left for it.
const closeTimeout = 5 * time.Second

// exclusiveFirst is the number of exclusive queues at which a connection first looks which are gone.
const exclusiveFirst = 64

// conn is one connection.
type conn struct {
	// immutable
	adapter  *Adapter
	id       string // names the connection as an owner of queues; not to be guessed
	net      net.Conn
	log      *slog.Logger
	socket   *socket
	out      *outbox
	window   *window
	done     chan struct{} // closed by fail
	stopping chan struct{} // closed by shutdown
	failOnce sync.Once
	stopOnce sync.Once

	// set by the handshake, immutable afterwards
	user       string
	vhost      *vhost
	leave      func() // tells the tenant that the connection is over; nil: it does not count
	frameMax   uint32
	channelMax uint16
	heartbeat  time.Duration
	can        capabilities
	client     wire.Table   // client-properties
	mechanism  string       // of the login
	opened     atomic.Int64 // when it was over, milliseconds since 1970; 0: not yet. Whoever has seen it set may read the others

	// owned by the reader
	in            *wire.Reader
	bus           *core.Bus
	unfollow      func() bool         // ends what follow began
	channels      map[uint16]*channel // written under mu, for listings
	recent        *channel            // the channel of the last frame
	routes        routeCache
	txHeld        txHeld              // by all channels' transactions
	partial       int                 // bytes of bodies that have not come whole, of all channels
	dirty         []*channel          // channels with gathered settlements
	exclusive     map[string]struct{} // names of the queues this connection owns
	exclusiveMost int                 // when to look which of them are gone
	tally         tally
	broken        bool // frames can no longer be told apart

	writer sync.WaitGroup

	// guarded by mu
	mu        sync.Mutex
	consumers map[*consumer]struct{} // to be woken when there is room
	deadline  time.Time              // of the drain
	forced    string                 // why it has to end, for the client
}

// capabilities are those a client declared that change what it is sent.
type capabilities struct {
	cancelNotify bool // consumer_cancel_notify
	blocked      bool // connection.blocked
	authClose    bool // authentication_failure_close
}

// tally gathers counts of the reader for the metrics.
type tally struct{ in, bytes, acks int }

func newConn(a *Adapter, nc net.Conn) *conn {
	c := &conn{
		adapter: a, id: rand.Text(), net: nc,
		log:    a.log.With("door", "amqp", "remote", nc.RemoteAddr().String()),
		socket: &socket{net: nc},
		out:    newOutbox(a.buffers), window: newWindow(),
		done: make(chan struct{}), stopping: make(chan struct{}),
		frameMax: wire.FrameMinSize,
		channels: map[uint16]*channel{}, exclusive: map[string]struct{}{}, exclusiveMost: exclusiveFirst, consumers: map[*consumer]struct{}{},
	}
	c.socket.onNudge = c.nudged
	c.in = wire.NewReader(c.socket, wire.FrameMinSize)
	return c
}

// serve runs the connection from the first octet to the last. It returns when both goroutines have ended.
func (c *conn) serve() {
	defer c.net.Close()
	defer func() {
		if c.leave != nil {
			c.leave()
		}
	}()
	err := c.handshake()
	if err != nil {
		c.refuse(err)
		return
	}
	c.log = c.log.With("user", c.user)
	c.log.Debug("connection opened")
	c.follow(c.bus)
	defer func() { c.unfollow() }()
	c.writer.Go(c.writeLoop)
	err = c.run()
	c.end(err)
	c.writer.Wait()
	c.logEnd(err)
}

// run handles frames until something ends the connection; the error says what.
func (c *conn) run() error {
	c.socket.ready.Store(true)
	for {
		if !c.in.FrameBuffered() {
			c.settleAll()
			c.flushTally()
		}
		f, err := c.in.ReadFrame()
		if err != nil {
			_, c.broken = errors.AsType[*wire.ConnError](err)
			return err
		}
		if err := c.handle(f); err != nil {
			return err
		}
		if c.out.full() {
			if err := c.awaitWritten(); err != nil {
				return err
			}
		}
	}
}

// awaitKept holds a publisher back while too much of what the connection has published is not kept yet. The message in hand waits, so that acknowledgements which
// came before it have been taken: they may be what makes room.
func (c *conn) awaitKept() error {
	c.settleAll()
	for c.window.full() && c.window.expect(waitsHalf) {
		if err := await(c, c.window.freed); err != nil {
			return err
		}
	}
	return nil
}

// awaitWritten holds the reader back until the client has read most of what it was sent.
func (c *conn) awaitWritten() error {
	c.settleAll()
	for c.out.full() {
		c.out.waiting.Store(true)
		if !c.out.full() {
			return nil
		}
		if err := await(c, c.out.freed); err != nil {
			return err
		}
	}
	return nil
}

// await waits for event unless the connection ends before.
func await[T any](c *conn, event <-chan T) error {
	select {
	case <-event:
		return nil
	case <-c.done:
		return errGone
	case <-c.stopping:
		return errDraining
	}
}

// handle acts on one frame. A channel's error ends that channel here; what is returned ends the connection.
func (c *conn) handle(f wire.Frame) error {
	if f.Type == wire.FrameHeartbeat {
		if f.Channel != 0 {
			return wire.ConnErrorf(wire.UnexpectedFrame, "heartbeat frame on channel %d", f.Channel)
		}
		return nil
	}
	if f.Channel == 0 {
		return c.connectionMethod(f)
	}
	ch := c.recent
	if ch == nil || ch.id != f.Channel {
		if ch = c.channels[f.Channel]; ch == nil {
			return c.openChannel(f)
		}
		c.recent = ch
	}
	return c.scope(ch, ch.handle(f))
}

// scope lets err end as much as its type says.
func (c *conn) scope(ch *channel, err error) error {
	if err == nil {
		return nil
	}
	err = protocolError(err)
	if e, ok := errors.AsType[*wire.ChanError](err); ok {
		if e.ClassID == 0 {
			e = e.At(ch.current)
		}
		c.failChannel(ch, e)
		return nil
	}
	if e, ok := errors.AsType[*wire.ConnError](err); ok && e.ClassID == 0 {
		return e.At(ch.current)
	}
	return err
}

// failChannel ends ch with e. It swallows what the client still sends until close-ok [RMQ: channel state closing].
func (c *conn) failChannel(ch *channel, e *wire.ChanError) {
	c.log.Info("channel closed", "channel", ch.id, "error", e.Error())
	ch.end()
	ch.closing = true
	c.send(ch.id, &wire.ChannelClose{ReplyCode: e.Code, ReplyText: e.ReplyText(), ClassID: e.ClassID, MethodID: e.MethodID})
}

// openChannel acts on a frame for a channel that is not open.
func (c *conn) openChannel(f wire.Frame) error {
	if f.Channel > c.channelMax {
		return wire.ConnErrorf(wire.NotAllowed, "channel number %d is above the negotiated channel_max (%d)", f.Channel, c.channelMax)
	}
	if f.Type != wire.FrameMethod {
		return wire.ConnErrorf(wire.ChannelError, "expected 'channel.open'")
	}
	m, err := wire.DecodeMethod(f.Payload)
	if err != nil {
		return err
	}
	switch m.(type) {
	case *wire.ChannelOpen:
	case *wire.ChannelCloseOk:
		return nil // answers a close that crossed the client's own
	default:
		return wire.ConnErrorf(wire.ChannelError, "expected 'channel.open'").At(m.ID())
	}
	ch := newChannel(c, f.Channel)
	c.mu.Lock()
	c.channels[f.Channel] = ch
	c.mu.Unlock()
	c.recent = ch
	c.send(f.Channel, &wire.ChannelOpenOk{})
	return nil
}

// dropChannel forgets a channel that has ended: its number may be used again.
func (c *conn) dropChannel(ch *channel) {
	c.mu.Lock()
	delete(c.channels, ch.id)
	c.mu.Unlock()
	c.recent = nil
}

// connectionMethod acts on a frame on channel 0.
func (c *conn) connectionMethod(f wire.Frame) error {
	if f.Type != wire.FrameMethod {
		return wire.ConnErrorf(wire.UnexpectedFrame, "content frame on channel 0")
	}
	m, err := wire.DecodeMethod(f.Payload)
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *wire.ConnectionClose:
		return errClientClosed
	case *wire.ConnectionUpdateSecret:
		return c.updateSecret(m)
	case *wire.ConnectionCloseOk:
		return nil
	}
	if m.ID().Class() == wire.ClassConnection {
		return wire.ConnErrorf(wire.ChannelError, "unexpected method in connection state running").At(m.ID())
	}
	return wire.ConnErrorf(wire.CommandInvalid, "%s on channel 0", m.Name()).At(m.ID())
}

// settleAll hands gathered settlements to the queues.
func (c *conn) settleAll() {
	for _, ch := range c.dirty {
		ch.settleGathered()
	}
	c.dirty = c.dirty[:0]
}

func (c *conn) flushTally() {
	if c.tally.in > 0 {
		c.adapter.metrics.In.Add(float64(c.tally.in))
		c.adapter.metrics.BytesIn.Add(float64(c.tally.bytes))
	}
	if c.tally.acks > 0 {
		c.adapter.metrics.Acks.Add(float64(c.tally.acks))
	}
	c.tally = tally{}
}

// fail gives the socket up: whoever reads, writes or waits returns. Any goroutine may call it.
func (c *conn) fail(err error) {
	c.failOnce.Do(func() {
		c.log.Debug("socket failed", "error", err)
		close(c.done)
		_ = c.net.Close()
	})
}

// shutdown makes the connection say goodbye, with reason, and end before deadline. Any goroutine may call it.
func (c *conn) shutdown(deadline time.Time, reason string) {
	c.stopOnce.Do(func() {
		c.mu.Lock()
		c.deadline, c.forced = deadline, reason
		c.mu.Unlock()
		close(c.stopping)
		c.socket.interrupt()
	})
}

// String identifies the connection in errors.
func (c *conn) String() string { return fmt.Sprintf("%s@%s", c.user, c.net.RemoteAddr()) }
