package stomp

import (
	"time"

	"portico/core"
)

// keptBuffer is the largest buffer that a writer keeps.
const keptBuffer = 64 << 10

// idle is how long a writer without heart-beats sleeps.
const idle = time.Hour

// writer is what the writing goroutine owns.
type writer struct {
	*Session
	buf   []byte
	items []item    // room for what is taken at once
	last  time.Time // when something was written
}

// stir wakes the writer.
func (s *Session) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write is the writer: it takes what is queued, writes all of it, flushes when nothing more is there, and waits.
func (s *Session) write() {
	defer close(s.ended)
	defer s.survive(func() {})
	w := &writer{Session: s, last: time.Now()}
	tick := time.NewTimer(idle)
	defer tick.Stop()
	for {
		items, last, closing := s.out.Take(w.items[:0])
		s.unstarve()
		n, err := len(items), w.writeAll(items)
		clear(items)
		w.items = items[:0]
		if err != nil {
			s.Cut()
			return
		}
		if closing {
			w.goodbye(last)
			return
		}
		if n > 0 {
			continue // what has come meanwhile shares the flush
		}
		if err := s.link.Flush(); err != nil {
			s.Cut()
			return
		}
		if !s.out.Rest() {
			continue
		}
		tick.Reset(w.pause())
		select {
		case <-s.wake:
		case <-tick.C:
			w.beat()
		case <-s.ctx.Done():
			s.out.Finish(nil)
		}
	}
}

func (w *writer) writeAll(items []item) error {
	for i := range items {
		f := w.frame(&items[i])
		if f == nil {
			continue
		}
		if err := w.put(f); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) put(f *Frame) error {
	w.buf = AppendFrame(w.buf[:0], w.speaks(), f)
	err := w.link.WriteFrame(w.buf)
	w.last = time.Now()
	if cap(w.buf) > keptBuffer {
		w.buf = nil // one large message does not make the session large for ever
	}
	return err
}

// speaks is the agreed version.
func (s *Session) speaks() Version { return Version(s.version.Load()) }

// frame is an item's frame, nil if it cannot be shown.
func (w *writer) frame(i *item) *Frame {
	m := i.message
	switch {
	case i.frame != nil:
		return i.frame
	case i.record != nil:
		var err error
		if m, err = w.server.gateway.Message(i.record); err != nil {
			w.poisoned(i.tag, err)
			return nil
		}
	}
	if i.sub != nil && w.unwanted(i, m) {
		return nil
	}
	d := w.server.metrics
	d.Out.Inc()
	d.BytesOut.Add(float64(len(m.Data)))
	if i.temp != nil {
		return w.answerFrame(i.temp, m)
	}
	if i.redelivered {
		d.Redeliveries.Inc()
	}
	return w.messageFrame(i, m)
}

// goodbye writes the last frame and ends the writing side.
func (w *writer) goodbye(last *Frame) {
	if last != nil && w.put(last) != nil {
		w.Cut()
		return
	}
	if err := w.link.Finish(w.away.Load()); err != nil {
		w.Cut()
		return
	}
	w.cancel() // the reader may be waiting for something that will not be
}

// pause is how long the writer may sleep.
func (w *writer) pause() time.Duration {
	d := idle
	if out := time.Duration(w.beats.out.Load()); out > 0 {
		d = min(d, time.Until(w.last.Add(out*3/4)))
	}
	if in := time.Duration(w.beats.in.Load()); in > 0 {
		d = min(d, time.Until(w.silentAt(in)))
	}
	return max(d, time.Millisecond)
}

// silentAt is when a client that is to send something every in has been silent for too long: twice that. While nobody reads, nobody can tell.
func (w *writer) silentAt(in time.Duration) time.Time {
	if !w.reading.Load() {
		return time.Now().Add(2 * in)
	}
	return time.Unix(0, w.lastRead.Load()).Add(2 * in)
}

// beat sends a heart-beat if it is time to, and looks for those of the client.
func (w *writer) beat() {
	now := time.Now()
	if out := time.Duration(w.beats.out.Load()); out > 0 && now.Sub(w.last) >= out*3/4-time.Millisecond {
		if w.link.WriteFrame([]byte("\n")) != nil {
			w.Cut()
			return
		}
		w.last = now
	}
	if in := time.Duration(w.beats.in.Load()); in > 0 && !now.Before(w.silentAt(in)) {
		w.out.Finish(w.errorFrame(core.Errorf(core.CodeTimeout, "no heart-beat for %s", 2*in), ""))
	}
}
