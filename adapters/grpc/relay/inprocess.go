package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"

	relayv1 "portico/proto/portico/relay/v1"

	"google.golang.org/grpc"
)

// inProcess is a server of this process: it accepts the gateway's connections as it would accept those of a port.
type inProcess struct {
	// immutable
	told    *relayv1.Hello
	conns   chan net.Conn
	closed  chan struct{} // the listener is
	stopped chan struct{} // the server serves the listener no more, err says why
	log     *slog.Logger

	once sync.Once
	err  error // valid when stopped is closed
}

// newInProcess lets server serve the connections of the gateway. giveUp must be called.
func newInProcess(server *grpc.Server, o Options) *inProcess {
	s := &inProcess{told: describe(server, o.Others), conns: make(chan net.Conn), closed: make(chan struct{}), stopped: make(chan struct{}), log: o.Log}
	go func() {
		defer close(s.stopped)
		s.err = server.Serve(s)
	}()
	return s
}

func (s *inProcess) hello(context.Context) (*relayv1.Hello, error) { return s.told, nil }

func (s *inProcess) gone() <-chan struct{} { return s.stopped }

// connect waits until the server takes a connection.
func (s *inProcess) connect(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case s.conns <- near:
		return far, nil
	case <-s.closed:
	case <-ctx.Done():
	}
	_ = near.Close()
	_ = far.Close()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	<-s.stopped
	return nil, grpc.ErrServerStopped
}

// giveUp ends the server's interest in the gateway's connections.
func (s *inProcess) giveUp() {
	_ = s.Close()
	<-s.stopped
	if s.err != nil && !errors.Is(s.err, net.ErrClosed) && !errors.Is(s.err, grpc.ErrServerStopped) {
		s.log.Warn("the server ended otherwise than asked", "err", s.err)
	}
}

// Accept implements net.Listener.
func (s *inProcess) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		return conn, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (s *inProcess) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

// Addr implements net.Listener.
func (s *inProcess) Addr() net.Addr { return address{} }

// address is that of a server that has none.
type address struct{}

// Network implements net.Addr.
func (address) Network() string { return "portico" }

// String implements net.Addr.
func (address) String() string { return "relay" }
