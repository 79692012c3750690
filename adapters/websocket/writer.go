package websocket

import (
	"encoding/binary"
	"runtime/debug"
	"time"

	"github.com/gorilla/websocket"
)

const (
	writeTimeout = 10 * time.Second // a client that takes nothing for so long is gone
	closeGrace   = time.Second      // for the client's side of the closing handshake
)

// control is what goes out before anything that waits. Only the latest ping needs an answer [RFC 6455 5.5.3], so pings cannot fill anything.
type control struct {
	pong []byte // nil: none
	turn bool   // the wheel has come round
}

// answerPing remembers a ping.
func (c *conn) answerPing(payload string) {
	c.mu.Lock()
	c.control.pong = append([]byte{}, payload...)
	c.mu.Unlock()
	c.due.Store(true)
	c.out.Kick()
}

// turn is called once in a ping interval. It does not block.
func (c *conn) turn(now time.Time) {
	if now.UnixNano() > c.deadline.Load() {
		c.finish(websocket.ClosePolicyViolation, "no sign of life")
		return
	}
	c.mu.Lock()
	c.control.turn = true
	c.mu.Unlock()
	c.due.Store(true)
	c.out.Kick()
}

func (c *conn) takeControl() control {
	c.due.Store(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.control
	c.control = control{}
	return taken
}

// scratch is what a writer needs while it writes.
type scratch struct {
	items []item
	frame []byte // one frame's content
	out   []byte // frames that gather
	group group  // those that become one message

	messages, bytes int // shared messages that have not been counted yet
}

const (
	writeStalled = 10 * time.Millisecond // a write that took longer had to wait for the client to read

	writeBatch  = 32 << 10 // bytes that gather before they are written
	keptScratch = 64 << 10 // the largest buffers that are kept for the next writer
)

// write is the writer: it takes what is queued, writes all of it, and ends when nothing more is there.
func (c *conn) write() {
	defer func() {
		if p := recover(); p != nil { // what it wrote with is not given back
			c.adapter.log.Error("panic", "door", door, "remote", c.remote, "panic", p, "stack", string(debug.Stack()))
			c.cut()
			close(c.written)
		}
	}()
	pool := &c.adapter.scratch
	s, ok := pool.Get().(*scratch)
	if !ok {
		s = new(scratch)
	}
	done := c.writeOut(s)
	s.group.n, s.group.content = 0, s.group.content[:0] // if writing failed something is left, which is not for the next client
	if cap(s.frame) > keptScratch {
		s.frame = nil
	}
	if cap(s.out) > keptScratch {
		s.out = nil
	}
	pool.Put(s)
	if done {
		close(c.written)
	}
}

// writeOut tells whether nothing will ever be written again.
func (c *conn) writeOut(s *scratch) (done bool) {
	s.out = s.out[:0]
	s.group.drop() // what a writer that failed has left was for another client
	for {
		items, end, last := c.out.Take(s.items[:0])
		c.unstarve()
		if c.due.Load() {
			c.writeControl(s, c.takeControl())
		}
		n := len(items)
		var err error
		if n > 0 {
			err = c.writeAll(s, items)
		}
		clear(items)
		s.items = items[:0]
		switch {
		case err == nil && last:
			c.goodbye(s, end)
			return true
		case err == nil && n > 0:
			continue // what has come meanwhile shares the write
		case err == nil:
			err = c.flush(s)
		}
		if err != nil {
			c.cut()
			return true
		}
		// From here on another writer may begin at any time.
		if c.out.Rest() {
			return false
		}
	}
}

// writeAll encodes a batch.
func (c *conn) writeAll(s *scratch, items []item) error {
	c.buf = s.frame[:0]
	defer func() { s.frame, c.buf = c.buf, nil }()
	for i := range items {
		if x := items[i].shared; x != nil && c.wire.kind() == websocket.TextMessage {
			c.splice(s, items[i].name, x)
		} else if items[i].kind == itemStored && !items[i].source.asked && c.wire.kind() == websocket.TextMessage {
			c.spliceStored(s, &items[i])
		} else {
			if !c.encode(&items[i]) {
				continue
			}
			c.emit(s, c.buf, nil)
			if cap(c.buf) > keptScratch {
				c.buf = nil // one large message does not make the connection large for ever
			}
		}
		if len(s.out) >= writeBatch {
			if err := c.flush(s); err != nil {
				return err
			}
		}
	}
	c.ungroup(s)
	if s.messages > 0 { // counters are shared by all writers: not for each message
		m := c.adapter.metrics
		m.Out.Add(float64(s.messages))
		m.BytesOut.Add(float64(s.bytes))
		s.messages, s.bytes = 0, 0
	}
	return nil
}

// splice writes the frame of a message that others get, too.
func (c *conn) splice(s *scratch, sid string, x *shared) {
	tail := x.tail()
	c.buf = appendString(append(c.buf[:0], `{"op":"msg","sid":`...), sid)
	c.emit(s, c.buf, tail)
	c.adapter.shares.forget(x)
	s.messages++
	s.bytes += len(x.message.Data)
}

// frame appends a message that is made of parts.
func (c *conn) frame(s *scratch, parts ...[]byte) {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	if c.deflate && n >= smallestDeflated {
		s.out = c.adapter.appendDeflated(s.out, c.wire.kind(), parts)
		return
	}
	s.out = appendFrameHead(s.out, c.wire.kind(), n)
	for _, p := range parts {
		s.out = append(s.out, p...)
	}
}

// appendFrameHead appends the beginning of a frame that is a whole message of n bytes [RFC 6455 5.2]. A server's frames have no mask.
func appendFrameHead(dst []byte, opcode, n int) []byte {
	const final = 0x80
	dst = append(dst, final|byte(opcode))
	switch {
	case n < 126:
		return append(dst, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

// writeControl answers a ping, sends one, and looks after what time alone changes.
func (c *conn) writeControl(s *scratch, what control) {
	if what.pong != nil {
		s.out = append(appendFrameHead(s.out, websocket.PongMessage, len(what.pong)), what.pong...)
	}
	if what.turn {
		s.out = appendFrameHead(s.out, websocket.PingMessage, 0)
		c.sweep(time.Now())
		c.wakeConsumers()
	}
}

func (c *conn) flush(s *scratch) error {
	if len(s.out) == 0 {
		return nil
	}
	begun := time.Now()
	err := c.socket.send(s.out)
	if err == nil && time.Since(begun) > writeStalled {
		c.reads()
	}
	s.out = s.out[:0]
	if cap(s.out) > keptScratch {
		s.out = nil
	}
	return err
}

// goodbye writes the close frame and gives the client a moment to answer it.
func (c *conn) goodbye(s *scratch, end ending) {
	content := websocket.FormatCloseMessage(end.code, end.reason)
	s.out = append(appendFrameHead(s.out, websocket.CloseMessage, len(content)), content...)
	if err := c.flush(s); err != nil {
		c.cut()
		return
	}
	c.cancel() // the reader may be waiting for something that will not be
	c.leave(closeGrace)
}
