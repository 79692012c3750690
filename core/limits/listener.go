package limits

import (
	"net"
	"sync"
	"time"
)

// Refuse says why a connection is not taken, in the protocol's words. It may write, once and little: the caller has set a deadline and closes.
type Refuse func(conn net.Conn, reason error)

// Listener counts the connections of a listener, and closes those that are too many. refuse may be nil: they are closed without a word, as they are where TLS
// comes first.
func (g *Gate) Listener(l net.Listener, refuse Refuse) net.Listener {
	if g == nil {
		return l
	}
	return &listener{Listener: l, gate: g, refuse: refuse}
}

type listener struct {
	net.Listener
	gate   *Gate
	refuse Refuse
}

// refuseTime is how long a refusal may take to be written: into the socket's empty buffer, that is.
const refuseTime = 100 * time.Millisecond

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		release, err := l.gate.Enter(conn.RemoteAddr().String())
		if err == nil {
			return &counted{Conn: conn, release: release}, nil
		}
		if l.gate.told != nil {
			l.gate.told(conn.RemoteAddr().String(), err)
		}
		if l.refuse != nil {
			_ = conn.SetDeadline(time.Now().Add(refuseTime)) // it is closed in any case
			l.refuse(conn, err)
		}
		conn.Close()
	}
}

// counted is a connection that gives its place back when it is closed.
type counted struct {
	net.Conn
	once    sync.Once
	release func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}

// CloseWrite ends what is sent, if the connection can do that.
func (c *counted) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// NetConn is the connection underneath.
func (c *counted) NetConn() net.Conn { return c.Conn }
