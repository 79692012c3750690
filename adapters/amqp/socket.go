package amqp

import (
	"errors"
	"net"
	"os"
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

	// owned by the reader
	silence time.Duration // how long the peer may send nothing; 0: for ever
	armed   time.Time     // when the deadline was last set
	last    bool          // in the final exchange: not to be interrupted
}

// Read implements io.Reader. The deadline is moved at most four times per silence, so that it costs nothing under load.
func (s *socket) Read(p []byte) (int, error) {
	if s.silence > 0 {
		if now := time.Now(); now.Sub(s.armed) > s.silence/4 {
			s.armed = now
			_ = s.net.SetReadDeadline(now.Add(s.silence))
		}
	}
	if !s.last && s.stopped.Load() {
		return 0, errDraining
	}
	n, err := s.net.Read(p)
	if err != nil && !s.last && s.stopped.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
		err = errDraining
	}
	return n, err
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
	s.silence, s.last = 0, true
	_ = s.net.SetReadDeadline(t)
}

// interrupt makes a present or the next Read return errDraining. Any goroutine may call it.
func (s *socket) interrupt() {
	s.stopped.Store(true)
	_ = s.net.SetReadDeadline(time.Unix(1, 0))
}
