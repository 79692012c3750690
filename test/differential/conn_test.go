package differential

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"portico/adapters/amqp/wire"
)

const (
	patience = 5 * time.Second        // for what has to come
	quiet    = 120 * time.Millisecond // for what should not
	frameMax = 131072
)

// A login is what a client says in the handshake. The zero value is guest, with the limits that the server offers, no heartbeat, and every capability.
type login struct {
	header    []byte // instead of the protocol header
	mechanism string
	response  string
	incapable bool // claims no capabilities
	vhost     string
	greeted   func(*wire.ConnectionStart)
	tune      func(*wire.ConnectionTuneOk) // changes the answer to the server's offer
}

// A conn is one connection of a script: it is read only while the script waits for something. One goroutine uses it.
type conn struct {
	s        *session
	name     string
	sock     net.Conn
	in       *wire.Reader
	ended    string // how it ended, "" while it is open
	channels map[uint16]*channel
	control  []wire.Method // methods of channel 0 that nobody has looked at
}

// dial opens the socket and goes through the handshake; where that ends early, ended says how.
func (c *conn) dial(l login) {
	c.ended, c.control = "", nil
	sock, err := net.Dial("tcp", c.s.addr)
	if err != nil {
		c.ended = "no connection: " + err.Error()
		return
	}
	c.sock, c.in = sock, wire.NewReader(sock, frameMax)
	for _, ch := range c.channels {
		ch.forget()
	}
	c.shake(l)
}

func (c *conn) shake(l login) {
	header := wire.ProtocolHeader[:]
	if l.header != nil {
		header = l.header
	}
	c.write(header)
	start, ok := c.controlMethod(wire.IDConnectionStart).(*wire.ConnectionStart)
	if !ok {
		return
	}
	if l.greeted != nil {
		l.greeted(start)
	}
	c.send(0, l.startOk())
	offer, ok := c.controlMethod(wire.IDConnectionTune).(*wire.ConnectionTune)
	if !ok {
		return
	}
	answer := &wire.ConnectionTuneOk{ChannelMax: offer.ChannelMax, FrameMax: offer.FrameMax}
	if l.tune != nil {
		l.tune(answer)
	}
	c.send(0, answer)
	vhost := "/"
	if l.vhost != "" {
		vhost = l.vhost
	}
	c.send(0, &wire.ConnectionOpen{VirtualHost: vhost})
	c.controlMethod(wire.IDConnectionOpenOk)
}

func (l login) startOk() *wire.ConnectionStartOk {
	ok := &wire.ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00guest", Locale: "en_US"}
	if l.mechanism != "" {
		ok.Mechanism = l.mechanism
	}
	if l.response != "" {
		ok.Response = l.response
	}
	if !l.incapable {
		ok.ClientProperties = wire.Table{"capabilities": wire.Table{
			"authentication_failure_close": true, "consumer_cancel_notify": true, "basic.nack": true, "publisher_confirms": true,
		}}
	}
	return ok
}

// controlMethod waits for a method of channel 0; nil when the connection ends first, which it does when nothing comes.
func (c *conn) controlMethod(id wire.MethodID) wire.Method {
	limit := time.Now().Add(patience)
	for {
		i := slices.IndexFunc(c.control, func(m wire.Method) bool { return m.ID() == id })
		if i >= 0 {
			m := c.control[i]
			c.control = slices.Delete(c.control, i, i+1)
			return m
		}
		if c.ended != "" {
			return nil
		}
		if !c.read(limit) && c.ended == "" {
			c.end("no answer")
			return nil
		}
	}
}

func (c *conn) write(b []byte) {
	if c.ended != "" {
		return
	}
	_ = c.sock.SetWriteDeadline(time.Now().Add(patience))
	_, _ = c.sock.Write(b) // the other side may have said why it is gone: what can be read tells
}

func (c *conn) send(channel uint16, m wire.Method) { c.write(wire.AppendMethod(nil, channel, m)) }

// read takes one frame in, waiting no longer than until; false when there was none.
func (c *conn) read(until time.Time) bool {
	if c.ended != "" {
		return false
	}
	_ = c.sock.SetReadDeadline(until)
	f, err := c.in.ReadFrame()
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false
	case err != nil:
		c.end(endText(err))
		return false
	}
	c.take(f)
	return true
}

// endText is how a connection ended that said nothing: a reset is an end like any other.
func endText(err error) string {
	var ne net.Error
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne) {
		return "connection ended"
	}
	return "connection unreadable: " + err.Error()
}

func (c *conn) end(how string) {
	c.ended = how
	_ = c.sock.Close()
}

func (c *conn) take(f wire.Frame) {
	if f.Type == wire.FrameHeartbeat {
		return
	}
	if f.Channel != 0 {
		if ch := c.channels[f.Channel]; ch != nil {
			ch.take(f)
		}
		return
	}
	m, err := wire.DecodeMethod(f.Payload)
	if err != nil {
		c.end("unreadable: " + err.Error())
		return
	}
	switch m := m.(type) {
	case *wire.ConnectionClose:
		c.send(0, &wire.ConnectionCloseOk{})
		c.drain()
		c.end(fmt.Sprintf("connection %s", closeText(m.ReplyCode, m.ReplyText, m.ClassID, m.MethodID)))
	default:
		c.control = append(c.control, m)
	}
}

// drain reads until the socket ends, as it has to after close-ok.
func (c *conn) drain() {
	_ = c.sock.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, err := c.in.ReadFrame(); err != nil {
			return
		}
	}
}

// pump reads what comes within d.
func (c *conn) pump(d time.Duration) {
	for until := time.Now().Add(d); c.read(until); {
	}
}

func closeText(code uint16, text string, class, method uint16) string {
	return fmt.Sprintf("%d %s (%s)", code, text, wire.MethodID(uint32(class)<<16|uint32(method)))
}
