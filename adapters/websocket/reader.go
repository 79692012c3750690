package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"time"
	"unicode/utf8"

	"portico/core"

	"github.com/gorilla/websocket"
)

// Errors of read that are more than a lost connection.
var (
	errBinary = errors.New("frame of the wrong kind")
	errUTF8   = errors.New("text that is not UTF-8")
	errMemory = errors.New("too many large frames at once")
)

// breach tells whether the client may still be sending though nobody reads it any more.
func breach(err error) bool {
	_, closed := errors.AsType[*websocket.CloseError](err)
	_, lost := errors.AsType[net.Error](err)
	return !closed && !lost && !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled)
}

// read is the reader: one frame after the other, as long as there is room for what they may lead to. What a frame leads to makes the stack deep, and a goroutine keeps its stack: when
// nothing more has come another goroutine goes on, with a new one, unless the client has much to say.
func (c *conn) read() {
	defer func() {
		if p := recover(); p != nil {
			c.broken(p)
		}
	}()
	for {
		if err := c.await(); err != nil {
			c.over(err)
			return
		}
		if err := c.readOne(); err != nil {
			c.over(err)
			return
		}
		if !c.tempo.fast(time.Now()) && c.unread.Buffered() == 0 {
			go c.read()
			return
		}
	}
}

// await waits until the client says something. This is where idle connections are.
func (c *conn) await() error {
	if err := c.out.Room(c.ctx); err != nil {
		return err
	}
	if err := c.pace(1); err != nil {
		return err
	}
	c.alive()
	_, err := c.unread.Peek(1)
	return err
}

// tempo tells whether frames come fast: fastFrames within fastTime.
type tempo struct {
	n    int
	from time.Time
	yes  bool
}

const (
	fastFrames = 16
	fastTime   = 100 * time.Millisecond
)

// fast counts a frame.
func (t *tempo) fast(now time.Time) bool {
	if t.n++; t.n == fastFrames {
		t.yes = now.Sub(t.from) < fastTime
		t.n, t.from = 0, now
	}
	return t.yes
}

// readOne reads one frame and answers it.
func (c *conn) readOne() error {
	kind, in, release, err := c.next()
	if err != nil {
		return err
	}
	defer release()
	if kind != c.wire.kind() {
		return errBinary
	}
	c.deadline.Store(math.MaxInt64) // the client is not read while this is handled: it can show no sign of life
	if !c.out.IsClosing() {
		c.handleMessage(in.Bytes())
	}
	return nil
}

// pace waits until the client may be read again, if it has said enough for now: n is how many frames more it has said.
func (c *conn) pace(n int) error {
	if c.limiter == nil {
		return nil
	}
	c.deadline.Store(math.MaxInt64)
	for ; n > 0; n-- {
		if err := c.limiter.Wait(c.ctx); err != nil {
			return err
		}
	}
	return nil
}

// next reads one whole message. release must be called when it has been used.
func (c *conn) next() (kind int, in *bytes.Buffer, release func(), err error) {
	c.alive()
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return 0, nil, nil, err
	}
	in = c.adapter.borrow()
	free, err := c.readFrame(in, r)
	if err != nil {
		c.adapter.giveBack(in)
		return 0, nil, nil, err
	}
	release = func() { free(); c.adapter.giveBack(in) }
	if kind == websocket.TextMessage && !utf8.Valid(in.Bytes()) {
		release()
		return 0, nil, nil, errUTF8
	}
	return kind, in, release, nil
}

// readFrame reads one frame to in; release must be called when it has been used. The first smallFrame bytes of a frame are free; more is taken, as it comes, from what all
// connections share. The limit is that of what comes out: a compressed frame may be small and lead to much.
func (c *conn) readFrame(in *bytes.Buffer, r io.Reader) (release func(), err error) {
	n, err := in.ReadFrom(io.LimitReader(r, smallFrame))
	if err != nil {
		return nil, err
	}
	if n < smallFrame {
		return func() {}, nil
	}
	c.prolong(largePatience)
	var taken int64
	release = func() { c.adapter.frames.Release(taken) }
	for {
		step := min(int64(in.Len()), c.adapter.limits.Frame+1-int64(in.Len())) // doubling, as the buffer does
		if step <= 0 {
			release()
			return nil, websocket.ErrReadLimit
		}
		if !c.adapter.frames.TryAcquire(step) {
			release()
			return nil, errMemory
		}
		taken += step
		n, err := in.ReadFrom(io.LimitReader(r, step))
		if err != nil {
			release()
			return nil, err
		}
		if n < step {
			return release, nil
		}
	}
}

// borrow returns an empty buffer: a connection needs one only while a frame is read and handled.
func (a *Adapter) borrow() *bytes.Buffer {
	in, ok := a.buffers.Get().(*bytes.Buffer)
	if !ok {
		return new(bytes.Buffer)
	}
	in.Reset()
	return in
}

func (a *Adapter) giveBack(in *bytes.Buffer) {
	if in.Cap() <= keptScratch {
		a.buffers.Put(in)
	}
}

// alive notes a sign of life: the client has two pings' time for the next, and half of one for whatever is late.
func (c *conn) alive() { c.prolong(2*c.adapter.ping + c.adapter.ping/2) }

func (c *conn) prolong(d time.Duration) { c.deadline.Store(time.Now().Add(d).UnixNano()) }

// reads notes that the client has taken what it was sent: a sign of life, too. Its answer to a ping comes late when much waits before the ping in the network's buffers. A deadline is never brought forward.
func (c *conn) reads() {
	next := time.Now().Add(2*c.adapter.ping + c.adapter.ping/2).UnixNano()
	if old := c.deadline.Load(); old < next {
		c.deadline.CompareAndSwap(old, next)
	}
}

// leave ends the reader after d at the latest.
func (c *conn) leave(d time.Duration) {
	_ = c.ws.SetReadDeadline(time.Now().Add(d)) // fails on a closed connection only: the reader has ended
}

// farewell gives the reason for the end to the writer, which is perhaps already at it, and to the log if it is worth a line.
func (c *conn) farewell(err error) {
	switch {
	case errors.Is(err, errFrame):
		c.finish(websocket.CloseProtocolError, err.Error())
	case errors.Is(err, errBinary) && c.wire.kind() == websocket.BinaryMessage:
		c.finish(websocket.CloseUnsupportedData, "binary frames only")
	case errors.Is(err, errBinary):
		c.finish(websocket.CloseUnsupportedData, "text frames only")
	case errors.Is(err, errUTF8):
		c.finish(websocket.CloseInvalidFramePayloadData, "not UTF-8")
	case errors.Is(err, errMemory):
		c.finish(websocket.CloseTryAgainLater, core.CodeResourceExhausted.String())
	case errors.Is(err, websocket.ErrReadLimit):
		c.finish(websocket.CloseMessageTooBig, "")
	case inflated(err):
		c.finish(websocket.CloseInvalidFramePayloadData, "not what deflate makes")
	default:
		c.finish(websocket.CloseNormalClosure, "")
	}
	end, _ := c.out.Ending()
	c.adapter.log.Debug("connection ended", "door", door, "remote", c.remote, "close", end.code, "reason", end.reason, "err", err)
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// inflated tells whether err comes from a compressed frame that is none.
func inflated(err error) bool {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	return corrupt || errors.Is(err, io.ErrUnexpectedEOF) // the library has a word of its own for a lost connection
}
