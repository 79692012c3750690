package httpapi

import (
	"net"
	"sync"
)

// limitListener accepts no more than so many connections at once. When it is full, Accept waits: clients wait in the kernel's queue.
type limitListener struct {
	net.Listener
	slots chan struct{}
	over  chan struct{}
	once  sync.Once
}

func newLimitListener(l net.Listener, n int) *limitListener {
	return &limitListener{Listener: l, slots: make(chan struct{}, n), over: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.over:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitConn{Conn: conn, release: func() { <-l.slots }}, nil
}

// Close implements net.Listener.
func (l *limitListener) Close() error {
	l.once.Do(func() { close(l.over) })
	return l.Listener.Close()
}

type limitConn struct {
	net.Conn
	once    sync.Once
	release func()
}

// Close implements net.Conn.
func (c *limitConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.release)
	return err
}

// inflight counts requests, so that Serve can wait for the last of them.
type inflight struct {
	mu     sync.Mutex // guards the rest
	n      int
	closed bool
	idle   chan struct{} // closed when closed and n is 0
}

func newInflight() *inflight { return &inflight{idle: make(chan struct{})} }

// enter counts a request; false: none may begin any more.
func (f *inflight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.n++
	return true
}

func (f *inflight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.closed && f.n == 0 {
		close(f.idle)
	}
}

// wait lets no request begin and returns when the last has ended.
func (f *inflight) wait() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		if f.n == 0 {
			close(f.idle)
		}
	}
	f.mu.Unlock()
	<-f.idle
}
