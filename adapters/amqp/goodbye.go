package amqp

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core"
)

// lingerTime and lingerBytes bound what is read and thrown away before the socket is closed: closing it with unread bytes
// would reset the connection, and the peer might never see the last frames.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 20
)

// end finishes an open connection whose run returned err: work that is done returns to the queues, exclusive queues go,
// and only then the client hears of it [RMQ: exclusive queues are gone before close-ok].
func (c *conn) end(err error) {
	until := time.Now().Add(closeTimeout)
	if errors.Is(err, errDraining) {
		until, _ = c.farewell()
		c.awaitSettled(until)
	}
	c.settleAll()
	c.flushTally()
	closing, answer := c.lastWord(err)
	if closing == nil && !answer {
		c.fail(err)
	}
	c.endChannels()
	_ = c.net.SetWriteDeadline(until)
	if answer {
		c.send(0, &wire.ConnectionCloseOk{})
	}
	if closing != nil {
		c.send(0, closing)
		c.awaitCloseOk(until)
	}
	c.out.close()
	c.writer.Wait()
	if closing != nil || answer {
		linger(c.net)
	}
}

// lastWord is what the client is told: connection.close, close-ok to its own close, or nothing when the socket is gone.
func (c *conn) lastWord(err error) (closing *wire.ConnectionClose, answer bool) {
	switch {
	case errors.Is(err, errClientClosed):
		return nil, true
	case errors.Is(err, errDraining):
		_, reason := c.farewell()
		if ended := c.bus.Err(); reason == "" && ended != nil { // see follow
			return connectionClose(wire.ConnErrorf(wire.AccessRefused, "%s", core.AsError(ended).Detail)), false
		}
		return connectionClose(wire.ConnErrorf(wire.ConnectionForced, "%s", reason)), false
	}
	if e, ok := errors.AsType[*wire.ConnError](err); ok {
		return connectionClose(e), false
	}
	return nil, false
}

func connectionClose(e *wire.ConnError) *wire.ConnectionClose {
	return &wire.ConnectionClose{ReplyCode: e.Code, ReplyText: e.ReplyText(), ClassID: e.ClassID, MethodID: e.MethodID}
}

// farewell is when shutdown wants the connection to have ended, and what it has the client told.
func (c *conn) farewell() (until time.Time, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deadline, c.forced
}

// awaitSettled waits until what the client has published is kept and confirmed.
func (c *conn) awaitSettled(until time.Time) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	for c.window.expect(waitsEmpty) {
		select {
		case <-c.window.freed:
		case <-c.done:
			return
		case <-t.C:
			return
		}
	}
}

// endChannels ends all channels, then deletes the queues that belong to this connection.
func (c *conn) endChannels() {
	for _, ch := range c.channels {
		ch.end()
	}
	c.mu.Lock()
	clear(c.channels)
	c.mu.Unlock()
	c.recent = nil
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	for name := range c.exclusive {
		if q := c.bus.Lookup(name); q == nil || q.Config().Owner != c.id {
			continue
		}
		if _, err := c.vhost.bus.DeleteQueue(ctx, name); err != nil && core.AsError(err).Code != core.CodeNotFound {
			c.log.Warn("delete exclusive queue", "queue", name, "error", err)
		}
	}
}

// awaitCloseOk reads until the client answers connection.close, ignoring everything else but a close of its own.
func (c *conn) awaitCloseOk(until time.Time) {
	if c.broken {
		return
	}
	c.socket.finalBy(until)
	for {
		f, err := c.in.ReadFrame()
		if err != nil {
			return
		}
		if f.Type != wire.FrameMethod || f.Channel != 0 {
			continue
		}
		switch id, _ := wire.PeekMethod(f.Payload); id {
		case wire.IDConnectionCloseOk:
			return
		case wire.IDConnectionClose:
			c.send(0, &wire.ConnectionCloseOk{})
		}
	}
}

// linger lets the peer read the last bytes before the socket is closed.
func linger(nc net.Conn) {
	if half, ok := nc.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_ = nc.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, nc, lingerBytes)
}

// logEnd is the one line about an open connection's end.
func (c *conn) logEnd(err error) {
	switch e, ok := errors.AsType[*wire.ConnError](err); {
	case ok:
		c.log.Warn("connection closed", "error", e.Error())
	case errors.Is(err, errClientClosed), errors.Is(err, errDraining):
		c.log.Debug("connection closed", "reason", err)
	default:
		c.log.Info("connection lost", "error", err)
	}
}
