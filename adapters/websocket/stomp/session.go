package stomp

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"portico/adapters/websocket/outbound"
	"portico/core"

	"golang.org/x/sync/semaphore"
)

// Link is the connection that a session talks over. Read is called from one goroutine, WriteFrame, Flush and Finish from another, Cut from any.
type Link interface {
	io.Reader
	// WriteFrame writes a frame, or a line end that is a heart-beat, perhaps into a buffer.
	WriteFrame(b []byte) error
	// Flush sends what is buffered. It does not wait for a dead client for ever.
	Flush() error
	// Finish sends what is buffered and tells the client that nothing more comes; away: because the gateway stops. Read returns an error soon afterwards,
	// when the client has ended its side or has had a moment to do so.
	Finish(away bool) error
	// Cut ends the connection at once.
	Cut()
}

// Client is what is known of a client before it says anything.
type Client struct {
	Remote string                  // address
	Shown  func() core.Credentials // what its connection shows, for a CONNECT without login: of the HTTP request, or a certificate. Asked when CONNECT has come; nil: nothing
}

// Session is one client's connection.
type Session struct {
	// immutable
	server *Server
	link   Link
	client Client
	id     string
	log    *slog.Logger
	ctx    context.Context // ends with the session
	cancel context.CancelFunc
	out    outbound.Queue[item, *Frame] // ends with an ERROR, or nil
	wake   chan struct{}                // capacity 1: there is something to write
	window *semaphore.Weighted
	slow   *Frame        // the ERROR of a client that does not read its answers
	ended  chan struct{} // closed when the writer has ended

	// owned by the reader
	in           *Decoder
	bus          *core.Bus   // nil: CONNECT has not come
	unfollow     func() bool // set with bus
	leave        func()      // likewise: gives back the user's and the tenant's place
	timer        *time.Timer
	transactions map[string]*transaction
	inTransit    int // frames in transactions

	// set by CONNECT, before anything is sent that depends on them
	version atomic.Uint32
	beats   beats

	lastRead atomic.Int64 // nanoseconds since 1970
	reading  atomic.Bool  // the reader waits for the client, not for something else
	away     atomic.Bool  // the session ends because the gateway stops
	starved  atomic.Bool  // a consumer was told that there is no room

	mu      sync.Mutex // guards the rest
	subs    map[string]*subscription
	temps   map[string]*temp
	lastTag uint64
	held    map[uint64]held
}

// Session returns a session that talks over link. Serve must be called.
func (s *Server) Session(link Link, client Client) *Session {
	ctx, cancel := context.WithCancel(context.Background())
	x := &Session{
		server: s, link: link, client: client, id: rand.Text()[:16], log: s.log.With("door", door, "remote", client.Remote),
		ctx: ctx, cancel: cancel, wake: make(chan struct{}, 1), window: semaphore.NewWeighted(windowBytes), ended: make(chan struct{}),
		transactions: map[string]*transaction{}, subs: map[string]*subscription{}, temps: map[string]*temp{}, held: map[uint64]held{},
	}
	x.out.Open(0, x.stir)
	x.slow = x.errorFrame(core.Errorf(core.CodeSlowConsumer, "answers come faster than they are read"), "")
	x.in = NewDecoder(watched{x}, s.limits())
	return x
}

// watched notes when something comes.
type watched struct{ *Session }

// Read implements io.Reader.
func (w watched) Read(p []byte) (int, error) {
	n, err := w.link.Read(p)
	if n > 0 {
		w.lastRead.Store(time.Now().UnixNano())
	}
	return n, err
}

// Serve is the session's life. It returns when nothing of it is left, and what it held is back in its queues.
func (s *Session) Serve() {
	s.server.metrics.Connections.Inc()
	defer s.server.metrics.Connections.Dec()
	defer s.link.Cut()
	defer s.survive(s.release)
	s.timer = time.AfterFunc(s.server.connect, func() {
		s.out.Finish(s.errorFrame(core.Errorf(core.CodeTimeout, "no CONNECT within %s", s.server.connect), ""))
	})
	go s.write()
	err := s.read()
	s.farewell(err)
	s.release()
	<-s.ended
	_, _ = io.Copy(io.Discard, s.link) // until Finish ends it: a reset would swallow the last frames
}

// survive cuts the session after a panic, which is nobody else's affair, and calls then.
func (s *Session) survive(then func()) {
	if p := recover(); p != nil {
		s.log.Error("panic", "panic", p, "stack", string(debug.Stack()))
		s.Cut()
		then()
	}
}

// read is the reader: one frame after the other, as long as there is room for what it may lead to.
func (s *Session) read() error {
	for {
		if err := s.out.Room(s.ctx); err != nil {
			return err
		}
		s.lastRead.Store(time.Now().UnixNano())
		s.reading.Store(true)
		f, err := s.in.Next()
		s.reading.Store(false)
		if err != nil {
			return err
		}
		if s.out.IsClosing() {
			return nil
		}
		if err := s.handle(f); err != nil {
			s.fail(f.Get("receipt"), err)
			return nil
		}
		if f.Command == "DISCONNECT" {
			return nil
		}
	}
}

// farewell ends the session, with an ERROR if the client can be told why.
func (s *Session) farewell(err error) {
	if e, ok := errors.AsType[*core.Error](err); ok {
		s.fail("", e)
	}
	s.out.Finish(nil)
	s.log.Debug("session ended", "err", err)
}

// fail ends the session with an ERROR. Any goroutine may call it; the first error counts.
func (s *Session) fail(receipt string, err error) {
	e := core.AsError(err)
	if e.Code == core.CodeInternal {
		s.log.Error("internal error", "err", err)
	}
	s.out.Finish(s.errorFrame(e, receipt))
}

// errorFrame is the ERROR for e; receipt is that of the frame that led to it, "" for none.
func (s *Session) errorFrame(e *core.Error, receipt string) *Frame {
	f := &Frame{Command: "ERROR", Fields: []Field{{"message", e.Code.String()}, {"version", "1.0,1.1,1.2"}, {"content-type", "text/plain"}}}
	if receipt != "" {
		f.Fields = append(f.Fields, Field{"receipt-id", receipt})
	}
	if e.Code != core.CodeInternal {
		f.Body = []byte(e.Detail + "\n")
	}
	return f
}

// release ends everything the session has open, waits for it, and returns what was held to its queues.
func (s *Session) release() {
	s.cancel()
	s.timer.Stop()
	if s.unfollow != nil {
		s.unfollow()
	}
	if s.leave != nil {
		s.leave()
	}
	s.in.Done()
	for name := range s.transactions {
		s.drop(name)
	}
	subs, temps := s.opened()
	for _, x := range subs {
		x.consumer.Close()
	}
	for _, x := range temps {
		x.subscription.Unsubscribe()
	}
}

// opened lists what is open.
func (s *Session) opened() (subs []*subscription, temps []*temp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.subs {
		if x.consumer != nil {
			subs = append(subs, x)
		}
	}
	for _, x := range s.temps {
		temps = append(temps, x)
	}
	return subs, temps
}

// Drain lets what is under way be done, for as long as limit allows, and ends the session with an ERROR that says why.
func (s *Session) Drain(limit context.Context) {
	subs, _ := s.opened()
	for _, x := range subs {
		x.consumer.Cancel()
	}
	ctx, cancel := context.WithCancel(limit)
	defer cancel()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()
	_ = s.window.Acquire(ctx, windowBytes) // out of time, or gone: then goodbye at once
	s.away.Store(true)
	s.out.Finish(s.errorFrame(core.Errorf(core.CodeUnavailable, "the gateway is stopping"), ""))
}

// Cut ends the session without a word.
func (s *Session) Cut() {
	s.cancel()
	s.link.Cut()
}

// handle acts on one frame. An error ends the session.
func (s *Session) handle(f *Frame) error {
	opening := f.Command == "CONNECT" || f.Command == "STOMP"
	switch {
	case opening && s.bus == nil:
		return s.connect(f)
	case opening:
		return core.Errorf(core.CodeInvalid, "%s a second time", f.Command)
	case s.bus == nil:
		return core.Errorf(core.CodeInvalid, "%s before CONNECT", f.Command)
	}
	if name, there := f.Lookup("transaction"); there && (f.Command == "SEND" || f.Command == "ACK" || f.Command == "NACK") {
		return s.gather(name, f)
	}
	switch f.Command {
	case "SEND":
		return s.send(f, s.receipt(f))
	case "ACK", "NACK":
		return s.settle(f, s.receipt(f))
	case "SUBSCRIBE":
		return s.subscribe(f)
	case "UNSUBSCRIBE":
		return s.unsubscribe(f)
	case "BEGIN":
		return s.begin(f)
	case "COMMIT":
		return s.commit(f)
	case "ABORT":
		return s.abort(f)
	case "DISCONNECT":
		return s.disconnect(f)
	}
	return core.Errorf(core.CodeInvalid, "%s is a server's", f.Command)
}

// receipt is what to do when f is done: a RECEIPT if it asks for one, or an ERROR.
func (s *Session) receipt(f *Frame) func(error) {
	id := f.Get("receipt")
	return func(err error) {
		switch {
		case err != nil:
			s.fail(id, err)
		case id != "":
			s.out.Push(item{frame: &Frame{Command: "RECEIPT", Fields: []Field{{"receipt-id", id}}}})
		}
	}
}

// hold takes room in the window for something under way that keeps n bytes. When the window is full the reader waits here, and the client is not read.
func (s *Session) hold(n int) (release func(), err error) {
	weight := min(int64(n)+windowCost, windowBytes)
	if err := s.window.Acquire(s.ctx, weight); err != nil {
		return nil, err
	}
	return func() { s.window.Release(weight) }, nil
}
