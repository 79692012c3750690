package httpapi

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime/debug"
	"sync"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// run answers with an event stream for as long as follow goes on, which has to end with its context and must not use the gin.Context: when the header goes out, the stream takes the connection from the HTTP
// server where that is possible, and the handler returns. An idle client costs a quarter of what a request costs that stays open: no buffers, no deep stack.
// Until the header is out an error of follow is the answer, with a status of its own; later it is the last event.
func (a *Adapter) run(c *gin.Context, s *eventStream, follow func(ctx context.Context) error) {
	if !a.inflight.enter() {
		s.close()
		return // the server has been closed: nobody reads the answer
	}
	ctx, cancel := context.WithCancel(a.stopping)
	bus := busOf(c)
	stop := bus.AfterEnd(cancel)
	s.follows(cancel)
	ended := make(chan error, 1)
	go func() {
		defer a.inflight.leave()
		defer cancel()
		err := followed(ctx, follow)
		stop()
		if ctx.Err() != nil && bus.Err() != nil {
			err = bus.Err()
		}
		if s.keep() { // the handler is still there
			ended <- err
			return
		}
		a.farewell(s, err)
	}()
	select {
	case <-s.taken:
		return
	case err := <-ended:
		a.endStream(s, err)
		return
	case <-c.Request.Context().Done(): // also once the connection was taken
		if s.keep() {
			cancel()
			<-ended //nolint:errcheck // nobody is there who could be told
			s.close()
		}
	}
}

// followed is follow, with a panic as its error: gin does not watch over a goroutine of ours.
func followed(ctx context.Context, follow func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &core.Error{Code: core.CodeInternal, Detail: "panic", Err: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	return follow(ctx)
}

// follows says what ends that which the stream follows, and lets it take the connection.
func (s *eventStream) follows(cancel context.CancelFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel, s.taken = cancel, make(chan struct{})
}

// keep leaves the connection with the HTTP server from now on; false: it was taken.
func (s *eventStream) keep() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = s.conn == nil
	return s.kept
}

// takeOver takes the connection and sends the header, and what waits, itself; the body ends with the connection then. s.mu is held and the header is set. False: nothing has happened.
func (s *eventStream) takeOver() bool {
	if s.taken == nil || s.kept || s.c.Request.ProtoMajor != 1 {
		return false
	}
	header := s.c.Writer.Header().Clone()
	conn, _, err := s.rc.Hijack()
	if err != nil {
		return false
	}
	s.conns.add(conn)
	header.Set("Connection", "close")
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 200 OK\r\n")
	_ = header.Write(&head) // into memory
	head.WriteString("\r\n")
	head.Write(s.buf.Bytes())
	s.buf = head
	s.c, s.rc, s.conn = nil, nil, conn
	s.metrics.Connections.Inc() // the server has counted it out
	s.reading.Go(func() { untilHangUp(conn, s.cancel) })
	close(s.taken)
	return true
}

// untilHangUp reads until the client hangs up. It has nothing to say any more.
func untilHangUp(conn net.Conn, gone context.CancelFunc) {
	defer gone()
	var scrap [16]byte
	for {
		if _, err := conn.Read(scrap[:]); err != nil {
			return
		}
	}
}

// farewell ends a stream that has its connection, with err as its last event. Without one either the client has gone, who will not see it, or the gateway stops.
func (a *Adapter) farewell(s *eventStream, err error) {
	if err == nil {
		err = core.Errorf(core.CodeUnavailable, "the gateway stops")
	}
	if e := core.AsError(err); e.Code == core.CodeInternal {
		a.log.Error("an event stream failed", "err", err)
	}
	s.end(err)
	s.conn.Close()
	s.conns.remove(s.conn)
	s.reading.Wait()
	s.metrics.Connections.Dec()
}

// takenConns are the connections that event streams have taken: the HTTP server does not know them, so they are cut here when the time for goodbyes is over.
type takenConns struct {
	mu   sync.Mutex // guards the rest
	all  map[net.Conn]struct{}
	over bool
}

func (t *takenConns) add(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		conn.Close()
		return
	}
	if t.all == nil {
		t.all = map[net.Conn]struct{}{}
	}
	t.all[conn] = struct{}{}
}

func (t *takenConns) remove(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, conn)
}

// cut closes all of them, and those that come.
func (t *takenConns) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	for conn := range t.all {
		conn.Close()
	}
}
