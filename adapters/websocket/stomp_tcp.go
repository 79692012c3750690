package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"portico/adapters/websocket/stomp"
	"portico/core"
	"portico/core/certs"
	"portico/core/limits"
)

// STOMPConfig is what the STOMP door needs that listens by itself.
type STOMPConfig struct {
	Listen         string // address, such as 127.0.0.1:61613; port 0 for any
	TLS            certs.Door
	MaxConnections int // at once; above, new ones wait in the kernel. Default 8192
}

// STOMP is the STOMP door on TCP. It implements core.Adapter.
type STOMP struct {
	// immutable
	gateway  *core.Gateway
	log      *slog.Logger
	listener net.Listener
	server   *stomp.Server
	slots    chan struct{}

	mu       sync.Mutex // guards the rest
	sessions map[*stomp.Session]struct{}
	draining bool
	active   sync.WaitGroup // one for each of sessions; none is added while draining
}

// NewSTOMP opens the listener. Serve must be called to serve it, and closes it.
func NewSTOMP(cfg STOMPConfig, g *core.Gateway, log *slog.Logger) (*STOMP, error) {
	if cfg.MaxConnections <= 0 {
		cfg.MaxConnections = defaultConnections
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("stomp: %w", err)
	}
	return &STOMP{
		gateway: g, log: log, listener: cfg.TLS.Listener(g.Gate().Listener(l, refuseSTOMP(cfg.TLS))), server: stomp.NewServer(g, log),
		slots: make(chan struct{}, cfg.MaxConnections), sessions: map[*stomp.Session]struct{}{},
	}, nil
}

// refuseSTOMP is the ERROR for a connection that is one too many; nil where TLS comes first: then it is closed without a word.
func refuseSTOMP(d certs.Door) limits.Refuse {
	if d.Mode == certs.Required {
		return nil
	}
	return func(c net.Conn, reason error) {
		_, _ = io.WriteString(c, "ERROR\nmessage:resource-exhausted\ncontent-type:text/plain\n\n"+reason.Error()+"\n\x00") // it may have gone
	}
}

// Addr is where the door listens.
func (d *STOMP) Addr() string { return d.listener.Addr().String() }

// Serve implements core.Adapter.
func (d *STOMP) Serve(ctx context.Context) error {
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(run, func() { _ = d.listener.Close() })() // closes what is closed, at worst
	err := d.accept(ctx)
	_ = d.listener.Close() // likewise
	d.drain(context.WithoutCancel(ctx))
	return err
}

// accept serves connections until the listener closes. Running out of file descriptors is waited out.
func (d *STOMP) accept(ctx context.Context) error {
	const pause = 100 * time.Millisecond
	for {
		select {
		case d.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, err := d.listener.Accept()
		switch {
		case err == nil:
			d.start(c)
			continue
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the listener was closed because the door stops
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("stomp: accept: %w", err)
		}
		<-d.slots
		d.log.Warn("accept failed", "door", "stomp", "err", err, "retry", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

func (d *STOMP) start(c net.Conn) {
	l := &tcpLink{Conn: c, buf: bufio.NewWriterSize(patient{c}, 16<<10)}
	s := d.server.Session(l, stomp.Client{Remote: c.RemoteAddr().String(), Shown: func() core.Credentials {
		return core.Credentials{Certificate: certs.ClientCertificate(certs.ConnState(c)), Anonymous: true}
	}})
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.draining {
		s.Cut()
		return
	}
	d.sessions[s] = struct{}{}
	d.active.Go(func() {
		if err := certs.Handshake(c); err != nil {
			s.Cut() // Serve notices
		}
		s.Serve()
		d.mu.Lock()
		delete(d.sessions, s)
		d.mu.Unlock()
		<-d.slots
	})
}

// drain ends all sessions: those that take too long to hear the goodbye are cut.
func (d *STOMP) drain(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, d.gateway.DrainTimeout())
	defer cancel()
	d.gateway.Quiesce()
	d.mu.Lock()
	d.draining = true
	var drains sync.WaitGroup
	for s := range d.sessions {
		drains.Go(func() { s.Drain(limit) })
	}
	d.mu.Unlock()
	drains.Wait()
	late := time.AfterFunc(2*closeGrace, d.cutAll) // what is left of the limit is not waited for: everything under way is done
	d.active.Wait()
	late.Stop()
}

func (d *STOMP) cutAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.sessions {
		s.Cut()
	}
}

// tcpLink is the socket of a session. It implements stomp.Link.
type tcpLink struct {
	net.Conn
	buf *bufio.Writer
}

// WriteFrame implements stomp.Link.
func (l *tcpLink) WriteFrame(b []byte) error {
	_, err := l.buf.Write(b)
	return err
}

// Flush implements stomp.Link.
func (l *tcpLink) Flush() error { return l.buf.Flush() }

// Finish implements stomp.Link.
func (l *tcpLink) Finish(bool) error {
	err := l.buf.Flush()
	if half, ok := l.Conn.(interface{ CloseWrite() error }); ok && err == nil {
		err = half.CloseWrite()
	}
	return errors.Join(err, l.SetReadDeadline(time.Now().Add(closeGrace)))
}

// Cut implements stomp.Link.
func (l *tcpLink) Cut() { _ = l.Close() } // nobody is there to be told
