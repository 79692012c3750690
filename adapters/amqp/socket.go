package amqp

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// errDraining is what reads return once the gateway is stopping.
var errDraining = errors.New("the gateway is draining")

// socket is the reading half of a connection: it keeps the deadline that tells a dead peer and can be interrupted.
type socket struct {
	// immutable
	net net.Conn

	stopped atomic.Bool
	ready   atomic.Bool // may be nudged

	// written under mu
	mu     sync.Mutex
	nudged atomic.Bool

	// owned by the reader
	onNudge func()        // what the reader does when it is nudged
	silence time.Duration // how long the peer may send nothing; 0: for ever
	armed   time.Time     // when the deadline was last set
	last    bool          // in the final exchange: not to be interrupted
}

// Read implements io.Reader. The deadline is moved at most four times per silence, so that it costs nothing under load.
func (s *socket) Read(p []byte) (int, error) {
	for {
		s.arm()
		if !s.last && s.stopped.Load() {
			return 0, errDraining
		}
		n, err := s.net.Read(p)
		switch {
		case err == nil || s.last || !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		case s.stopped.Load():
			return n, errDraining
		case !s.nudged.Load():
			return n, err
		}
	}
}

// arm does what a nudge asks for and moves the deadline when it is time to.
func (s *socket) arm() {
	if s.nudged.Load() {
		s.wakeUp()
	}
	if s.silence <= 0 {
		return
	}
	if now := time.Now(); now.Sub(s.armed) > s.silence/4 {
		s.armed = now
		_ = s.net.SetReadDeadline(now.Add(s.silence))
	}
}

// wakeUp takes a nudge, with the deadline that it has set.
func (s *socket) wakeUp() {
	s.mu.Lock()
	s.nudged.Store(false)
	s.armed = time.Time{}
	if !s.last && !s.stopped.Load() {
		_ = s.net.SetReadDeadline(time.Time{})
	}
	s.mu.Unlock()
	if !s.last && !s.stopped.Load() {
		s.onNudge()
	}
}

// nudge makes the reader call onNudge soon, between two reads, if it may be nudged. Any goroutine may call it.
func (s *socket) nudge() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready.Load() {
		s.nudged.Store(true)
		_ = s.net.SetReadDeadline(time.Unix(1, 0))
	}
}

// expectWithin sets how long the peer may be silent from now on; 0: for ever.
func (s *socket) expectWithin(silence time.Duration) {
	s.silence, s.armed = silence, time.Time{}
	if silence == 0 {
		_ = s.net.SetReadDeadline(time.Time{})
	}
}

// finalBy sets the deadline of the final exchange, which shutdown does not interrupt any more.
func (s *socket) finalBy(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready.Store(false)
	s.silence, s.last = 0, true
	_ = s.net.SetReadDeadline(t)
}

// interrupt makes a present or the next Read return errDraining. Any goroutine may call it.
func (s *socket) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped.Store(true)
	_ = s.net.SetReadDeadline(time.Unix(1, 0))
}
