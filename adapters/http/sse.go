package httpapi

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

const (
	eventBatch  = 64 << 10               // bytes that gather before they are written
	headerDelay = 100 * time.Millisecond // an event stream's header goes out by itself after this: until then an error is a problem with a status of its own
	retryAfter  = "2000"                 // milliseconds after which an EventSource comes back
)

// eventStream tells one client what happens, for as long as it stays: as server-sent events, or as NDJSON, one JSON value a line. Its methods may be called from any goroutine; a client that takes
// nothing for patience gets nothing more, and all of them return that error from then on. An idle stream has no goroutine of its own.
type eventStream struct {
	// immutable
	patience time.Duration // for one write
	lines    bool          // NDJSON
	events   bool          // messages are CloudEvents
	plain    string        // the name of the events that are lines as they are; others are {"name":value}
	stream   string        // what is followed, "" if it is no stream

	metrics *core.DoorMetrics
	conns   *takenConns    // of the door
	taken   chan struct{}  // closed when it has taken the connection; nil: it does not
	cancel  func()         // ends what it follows
	reading sync.WaitGroup // of the goroutine that waits until the client hangs up, once the connection is taken

	mu    sync.Mutex               // guards the rest
	c     *gin.Context             // nil when it has taken …
	rc    *http.ResponseController // …
	conn  net.Conn                 // … the connection
	kept  bool                     // it is not to take the connection any more
	timer *time.Timer
	buf   bytes.Buffer
	begun bool      // the header is out
	last  time.Time // when something was written
	over  bool      // nothing is written any more
	err   error
}

// newEventStream prepares the answer; plain is the name that most events have. The caller must hand it to run, or close it before it returns from its handler.
func (a *Adapter) newEventStream(c *gin.Context, plain string) *eventStream {
	s := &eventStream{c: c, rc: http.NewResponseController(c.Writer), patience: a.writeTimeout, lines: wantsLines(c), events: wantsEvents(c), plain: plain, stream: c.Param("stream"), metrics: a.metrics, conns: &a.taken}
	s.mu.Lock() // the timer may be faster than this assignment
	s.timer = time.AfterFunc(headerDelay, s.tick)
	s.mu.Unlock()
	return s
}

// wantsLines tells whether the client would rather have NDJSON.
func wantsLines(c *gin.Context) bool { return wants(c, "application/x-ndjson") }

// event tells what happened; id is what the client shows as Last-Event-ID when it comes back, "" leaves it as it was. It is sent by the next flush, or when much has gathered.
func (s *eventStream) event(id, name string, value any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return s.gone()
	}
	if err := s.encode(id, name, value); err != nil || s.buf.Len() < eventBatch {
		return err
	}
	return s.write()
}

// encode appends an event to what waits; s.mu is held.
func (s *eventStream) encode(id, name string, value any) error {
	if s.lines && name != s.plain {
		value = map[string]any{name: value}
	}
	if !s.lines {
		s.field("id", id)
		s.field("event", name)
		s.buf.WriteString("data: ")
	}
	enc := json.NewEncoder(&s.buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(value) // ends with a line feed, and has no other
	if !s.lines {
		s.buf.WriteByte('\n')
	}
	return err
}

// place tells where the client is, without an event: who comes back with it misses nothing.
func (s *eventStream) place(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return s.gone()
	}
	if !s.lines {
		s.field("id", id)
		s.buf.WriteByte('\n')
	}
	return nil
}

func (s *eventStream) field(name, value string) {
	if value != "" {
		s.buf.WriteString(name + ": " + value + "\n")
	}
}

// flush sends what has gathered, and the header before.
func (s *eventStream) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return s.gone()
	}
	return s.write()
}

// tick sends the header if nothing has made it go out yet, and a comment (an empty line) when there was nothing else to send for keepAlive.
func (s *eventStream) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := s.begun && time.Since(s.last) >= keepAlive
	switch {
	case s.over:
		return
	case idle && s.lines:
		s.buf.WriteByte('\n')
	case idle:
		s.buf.WriteString(": keep-alive\n\n")
	}
	if !s.begun || idle {
		if s.write() != nil {
			if s.cancel != nil {
				s.cancel() // nobody is there to tell
			}
			return
		}
		s.buf = bytes.Buffer{} // an idle client needs none
	}
	s.timer.Reset(keepAlive - time.Since(s.last))
}

// begin puts the header in front; s.mu is held.
func (s *eventStream) begin() {
	h := s.c.Writer.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	s.begun = true
	h.Set("Content-Type", "application/x-ndjson")
	if !s.lines {
		h.Set("Content-Type", "text/event-stream")
		rest := bytes.Clone(s.buf.Bytes())
		s.buf.Reset()
		s.buf.WriteString("retry: " + retryAfter + "\n\n")
		s.buf.Write(rest)
	}
	if !s.takeOver() {
		s.c.Status(http.StatusOK)
	}
}

// write sends what there is; s.mu is held.
func (s *eventStream) write() error {
	if !s.begun {
		s.begin()
	} else if s.buf.Len() == 0 {
		return nil
	}
	err := s.send(s.buf.Bytes())
	s.buf.Reset()
	return err
}

// send writes b at once; the header is out. s.mu is held.
func (s *eventStream) send(b []byte) error {
	err := s.push(b)
	s.last = time.Now()
	if err != nil {
		s.over, s.err = true, err
	}
	return err
}

// push gets b on its way, in pieces that each have patience: a client that is slow is not one that takes nothing. s.mu is held.
func (s *eventStream) push(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), eventBatch)
		if err := s.pushPiece(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	if s.conn != nil {
		return nil
	}
	return s.rc.Flush()
}

func (s *eventStream) pushPiece(b []byte) error {
	deadline := time.Now().Add(s.patience)
	if s.conn != nil {
		if err := s.conn.SetWriteDeadline(deadline); err != nil {
			return err
		}
		_, err := s.conn.Write(b)
		return err
	}
	if err := s.rc.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := s.c.Writer.Write(b)
	return err
}

// gone is what a stream that is over answers; s.mu is held.
func (s *eventStream) gone() error {
	if s.err != nil {
		return s.err
	}
	return core.Errorf(core.CodeUnavailable, "the answer is over")
}

// close ends the stream: nothing is written when it has returned.
func (s *eventStream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.timer.Stop()
}

// end closes the stream with err as its last event. It tells whether that was the answer, or nobody is there who could get one: if not, no header is out.
func (s *eventStream) end(err error) (answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
	if !s.begun && !s.over {
		s.over = true
		return false
	}
	if !s.over && s.encode("", "error", problemOf(err)) == nil {
		_ = s.write() // the client may be gone: nothing is left to do for it
	}
	s.over = true
	return true
}

// endStream ends s when what it told of ended: because of err, or if that is nil because the client has gone or the gateway stops. As long as no header is out an error is the answer, later it is
// the last event.
func (a *Adapter) endStream(s *eventStream, err error) {
	if s.c.Request.Context().Err() != nil {
		s.close()
		return
	}
	if err == nil {
		err = core.Errorf(core.CodeUnavailable, "the gateway stops")
	}
	if !s.end(err) {
		a.fail(s.c, err)
	}
}
