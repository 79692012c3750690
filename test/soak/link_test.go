package soak

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// link is a client's connection.
type link struct {
	conn   *amqp.Connection
	socket *socket
	life   int         // of the gateway
	doomed atomic.Bool // its end is wanted
}

// dial connects as soon as the gateway is up. It returns nil when ctx is over before that.
func (w *world) dial(ctx context.Context) *link {
	for {
		url, life, ok := w.current(ctx)
		if !ok {
			return nil
		}
		l := &link{life: life}
		var err error
		l.conn, err = amqp.DialConfig(url, amqp.Config{Dial: func(network, address string) (net.Conn, error) {
			c, err := net.DialTimeout(network, address, patience)
			if err != nil {
				return nil, err
			}
			l.socket = &socket{Conn: c}
			l.socket.left.Store(-1)
			return l.socket, c.SetDeadline(time.Now().Add(patience)) // of the handshake
		}})
		if err == nil {
			return l
		}
		w.unexpected(l, "connect", err)
	}
}

// close ends the connection, politely if it can.
func (l *link) close() {
	l.doomed.Store(true)
	_ = l.conn.CloseDeadline(time.Now().Add(patience))
	_ = l.socket.Close()
}

// vanish ends the connection without a word: some sockets with a FIN, some with a RST, which throws away what is on its way.
func (l *link) vanish(rnd *rand.Rand) {
	l.doomed.Store(true)
	if tcp, ok := l.socket.Conn.(*net.TCPConn); ok && rnd.IntN(2) == 0 {
		_ = tcp.SetLinger(0)
	}
	_ = l.socket.Close()
}

// cut lets the connection write so many bytes more.
func (l *link) cut(after int) {
	l.doomed.Store(true)
	l.socket.left.Store(int64(after))
}

// refusal waits for the gateway to close a channel with this code, and that the connection is as good as before.
func (w *world) refusal(l *link, closed <-chan *amqp.Error, what string, code int) {
	select {
	case err := <-closed:
		if err == nil || err.Code != code {
			w.unexpected(l, what, fmt.Errorf("the channel was closed with %v, want %d", err, code))
			return
		}
	case <-time.After(patience):
		w.unexpected(l, what, fmt.Errorf("the channel was not closed within %v", patience))
		return
	}
	ch, err := l.conn.Channel()
	if err == nil {
		err = ch.Close()
	}
	w.unexpected(l, "connection after "+what, err)
}

// socket is a connection that can break in the middle of what is written.
type socket struct {
	net.Conn
	left atomic.Int64 // bytes before it breaks; negative: it does not
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	left := s.left.Load()
	if left < 0 {
		return s.Conn.Write(p)
	}
	if int64(len(p)) < left {
		s.left.Add(-int64(len(p)))
		return s.Conn.Write(p)
	}
	n, err := s.Conn.Write(p[:left])
	_ = s.Conn.Close()
	if err == nil {
		err = io.ErrClosedPipe
	}
	return n, err
}
