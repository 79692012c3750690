package proxy

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"portico/core"
)

// The kinds of frames.
const (
	kindAccept  = "accept"  // of the server's side: here is where your frames go
	kindHeaders = "headers" // of the server's side: the response headers
	kindData    = "data"    // a message
	kindEnd     = "end"     // of the caller: no more messages; of the server: status and trailers
	kindCredit  = "credit"  // the other side may send more
	kindPing    = "ping"    // still there
	kindCancel  = "cancel"  // of either side: it is over, nobody reads any more
)

const (
	// sessionVersion is what headerSession says.
	sessionVersion = "1"
	// frameWeight is what a message counts for beside its bytes, so that the smallest are bounded too.
	frameWeight = 128
	// maxControl is how many frames beside messages may wait for their reader: accept, headers, end, and one to spare.
	maxControl = 4
)

var (
	errLost      = core.Errorf(core.CodeUnavailable, "the other side of the call is not there any more")
	errGap       = core.Errorf(core.CodeUnavailable, "a part of the call was lost on the way")
	errFrame     = core.Errorf(core.CodeInternal, "malformed frame")
	errOverrun   = core.Errorf(core.CodeResourceExhausted, "more was sent than there was credit for")
	errCancelled = core.Errorf(core.CodeUnavailable, "the other side of the call gave it up")
)

// frame is what a session hands to its reader.
type frame struct {
	kind   string
	header core.Header
	reply  string
	data   []byte
}

func (f *frame) weight() int64 { return frameWeight + int64(len(f.data)) }

// session is one end of a call that is not unary: numbered frames both ways, each way with credit in weight (bytes and frameWeight a message).
// A side sends while what it has sent is less than its credit, so one message may exceed it, whatever its size. What comes in waits here, in the bounds that
// this end's own credit sets; whoever exceeds them is cut off.
type session struct {
	// immutable
	proxy  *Proxy
	window int64
	number uint64
	inbox  string // where this end's frames come in
	ctx    context.Context
	end    context.CancelCauseFunc
	filled chan struct{} // has a token when there may be a frame to take
	opened chan struct{} // has a token when there may be credit

	heard atomic.Int64 // when something came last, Unix nanoseconds

	// guarded by mu
	mu       sync.Mutex
	in       []frame
	control  int // frames of in that are not messages
	expected uint64
	received int64 // weight
	allowed  int64 // weight that the other side may send, as it has been told
	taken    int64 // weight that the reader is done with
	sent     int64
	credit   int64

	// guarded by sending: frames go out in the order of their numbers
	sending sync.Mutex
	peer    string // where they go; "" until it is known
	last    uint64
}

// newSession opens an inbox for one end of a call. close must be called.
func (p *Proxy) newSession(ctx context.Context) *session {
	s := &session{proxy: p, window: p.cfg.Window, allowed: p.cfg.Window, filled: make(chan struct{}, 1), opened: make(chan struct{}, 1)}
	s.ctx, s.end = context.WithCancelCause(ctx)
	s.heard.Store(time.Now().UnixNano())
	s.inbox, s.number = p.inbox.add(s)
	return s
}

// close forgets the session. Frames that come later are dropped.
func (s *session) close() {
	s.proxy.inbox.remove(s.number)
	s.end(nil)
}

// take implements receiver: it never blocks.
func (s *session) take(m *core.Message) {
	s.heard.Store(time.Now().UnixNano())
	kind, digits, _ := strings.Cut(m.Header.Get(headerFrame), " ")
	number, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case err == nil:
	case nobody(m):
		s.end(core.Errorf(core.CodeNoResponders, "the server of the method has just gone"))
		return
	case m.Header.Get(headerStatus) != "": // refused before it was a session
		s.refused(m)
		return
	default:
		s.end(errFrame)
		return
	}
	if err := s.enter(kind, number, m); err != nil {
		s.end(err)
	}
}

// refused takes an answer that is no frame: whoever got the call does not open a session, and says why.
func (s *session) refused(m *core.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expected == 0 && len(s.in) == 0 {
		s.in = append(s.in, frame{kind: kindEnd, header: m.Header})
		wake(s.filled)
	}
}

func (s *session) enter(kind string, number uint64, m *core.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected++
	if number != s.expected {
		return errGap
	}
	f := frame{kind: kind, header: m.Header, reply: m.Reply, data: m.Data}
	switch kind {
	case kindPing:
		return nil
	case kindCancel:
		return errCancelled
	case kindCredit:
		return s.widen(m.Header)
	case kindAccept:
		if err := s.widen(m.Header); err != nil {
			return err
		}
		s.control++
	case kindData:
		if s.received >= s.allowed {
			return errOverrun
		}
		s.received += f.weight()
	case kindHeaders, kindEnd:
		s.control++
	default:
		return errFrame
	}
	if s.control > maxControl {
		return errOverrun
	}
	s.in = append(s.in, f)
	wake(s.filled)
	return nil
}

// widen reads the credit that a frame brings: how much may be sent since the beginning. The caller holds mu.
func (s *session) widen(h core.Header) error {
	total, err := strconv.ParseInt(h.Get(headerCredit), 10, 64)
	if err != nil || total < 0 {
		return errFrame
	}
	s.credit = max(s.credit, total)
	wake(s.opened)
	return nil
}

// next waits for a frame. Only one goroutine may call it. The error is why the session is over.
func (s *session) next() (frame, error) {
	for {
		if s.ctx.Err() != nil {
			return frame{}, context.Cause(s.ctx)
		}
		if f, ok := s.pop(); ok {
			return f, nil
		}
		select {
		case <-s.filled:
		case <-s.ctx.Done():
		}
	}
}

func (s *session) pop() (f frame, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.in) == 0 {
		return frame{}, false
	}
	f = s.in[0]
	s.in[0] = frame{}
	s.in = s.in[1:]
	if len(s.in) == 0 {
		s.in = nil
	}
	if f.kind != kindData {
		s.control--
	}
	return f, true
}

// done gives the credit of a message back, when it has gone on to where it goes. Credit is told in steps of half a window.
func (s *session) done(f *frame) error {
	s.mu.Lock()
	s.taken += f.weight()
	due := s.taken+s.window-s.allowed >= s.window/2
	if due {
		s.allowed = s.taken + s.window
	}
	total := s.allowed
	s.mu.Unlock()
	if !due {
		return nil
	}
	return s.send(kindCredit, core.Header{headerCredit: {strconv.FormatInt(total, 10)}}, nil)
}

// message sends a message when there is credit for it. Only one goroutine may call it.
func (s *session) message(data []byte) error {
	weight := frameWeight + int64(len(data))
	for !s.spend(weight) {
		select {
		case <-s.opened:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
	}
	return s.send(kindData, core.Header{}, data)
}

func (s *session) spend(weight int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent >= s.credit {
		return false
	}
	s.sent += weight
	return true
}

// send sends a frame; h becomes the frame's own. A frame that cannot be sent (it is too large) has no number: the session is as it was.
func (s *session) send(kind string, h core.Header, data []byte) error {
	return s.sendFrom("", kind, h, data)
}

func (s *session) sendFrom(reply, kind string, h core.Header, data []byte) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.peer == "" {
		return nil // nobody there yet who could be told
	}
	h[headerFrame] = []string{kind + " " + strconv.FormatUint(s.last+1, 10)}
	if err := s.proxy.send(&core.Message{Subject: s.peer, Reply: reply, Header: h, Data: data}); err != nil {
		return err
	}
	s.last++
	return nil
}

// towards says where frames go.
func (s *session) towards(peer string) {
	s.sending.Lock()
	s.peer = peer
	s.sending.Unlock()
}

// Silence on the bus. Whoever has not been heard of for lostAfter is not there any more.
const (
	pingEvery = 10 * time.Second
	lostAfter = 35 * time.Second
)

// watch tells the other end that this one is there, and finds out whether the other still is. An end in the same process needs no proof.
func (s *session) watch(now time.Time) {
	s.sending.Lock()
	peer := s.peer
	s.sending.Unlock()
	switch {
	case peer == "" || s.proxy.inbox.local(peer):
	case now.UnixNano()-s.heard.Load() > int64(lostAfter):
		s.end(errLost)
	default:
		if err := s.send(kindPing, core.Header{}, nil); err != nil {
			s.end(err)
		}
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
