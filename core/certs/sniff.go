package certs

import (
	"container/list"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// maxUndecided is how many connections may have said nothing yet. Above, the one that has been silent longest is closed.
const maxUndecided = 1024

// firstOctet of a TLS connection: a handshake record. No protocol of ours begins with it.
const firstOctet = 22

// sniffer is a listener that takes TLS and plain connections alike. A connection is accepted once it has said its first octet.
type sniffer struct {
	net.Listener
	config  *tls.Config
	decided chan accepted
	over    chan struct{}
	begin   sync.Once
	work    sync.WaitGroup

	mu     sync.Mutex // guards the rest
	silent *list.List // of net.Conn, those that have waited longest in front
	closed bool
}

type accepted struct {
	conn net.Conn
	err  error
}

func newSniffer(l net.Listener, config *tls.Config) *sniffer {
	return &sniffer{Listener: l, config: config, decided: make(chan accepted), over: make(chan struct{}), silent: list.New()}
}

// Accept implements net.Listener.
func (s *sniffer) Accept() (net.Conn, error) {
	s.begin.Do(func() { s.work.Go(s.accept) })
	select {
	case a := <-s.decided:
		return a.conn, a.err
	case <-s.over:
		return nil, net.ErrClosed
	}
}

// accept runs until the listener is closed. What else may go wrong is for the caller of Accept to wait out.
func (s *sniffer) accept() {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			if !s.hand(accepted{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if entry := s.enter(conn); entry != nil {
			s.work.Go(func() { s.decide(conn, entry) })
		}
	}
}

// enter notes a connection that has said nothing.
func (s *sniffer) enter(conn net.Conn) *list.Element {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return nil
	}
	if s.silent.Len() >= maxUndecided {
		s.silent.Remove(s.silent.Front()).(net.Conn).Close()
	}
	return s.silent.PushBack(conn)
}

// decide waits for the first octet and hands the connection on.
func (s *sniffer) decide(conn net.Conn, entry *list.Element) {
	_ = conn.SetReadDeadline(time.Now().Add(HandshakeTimeout)) // a connection that cannot have one fails at the read
	next, secure, err := Peek(conn)
	s.mu.Lock()
	s.silent.Remove(entry)
	s.mu.Unlock()
	if err != nil {
		conn.Close()
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	a := accepted{conn: next}
	if secure {
		a.conn = tls.Server(next, s.config)
	}
	if !s.hand(a) {
		conn.Close()
	}
}

// hand gives it to a caller of Accept; false: the listener was closed meanwhile.
func (s *sniffer) hand(a accepted) bool {
	select {
	case s.decided <- a:
		return true
	case <-s.over:
		return false
	}
}

// Close implements net.Listener. Connections that nobody has accepted are closed.
func (s *sniffer) Close() error {
	err := s.Listener.Close()
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.over)
	}
	for e := s.silent.Front(); e != nil; e = e.Next() {
		e.Value.(net.Conn).Close()
	}
	s.mu.Unlock()
	s.work.Wait()
	return err
}

// Peek reads the first octet of a connection and tells whether TLS begins with it. What it returns is the connection as it was before. The caller has set a
// deadline.
func Peek(conn net.Conn) (next net.Conn, secure bool, err error) {
	p := &peeked{Conn: conn}
	if _, err := io.ReadFull(conn, p.first[:]); err != nil {
		return nil, false, err
	}
	return p, p.first[0] == firstOctet, nil
}

// peeked is a connection whose first octet has been read.
type peeked struct {
	net.Conn
	first [1]byte
	given bool // owned by the reader
}

// Read implements io.Reader.
func (p *peeked) Read(b []byte) (int, error) {
	if p.given || len(b) == 0 {
		return p.Conn.Read(b)
	}
	p.given = true
	return copy(b, p.first[:]), nil
}

// CloseWrite ends what is sent, if the connection can do that.
func (p *peeked) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
