package webhook

import "time"

// breaker leaves an endpoint alone that fails again and again: after so many failures in a row it opens for a pause, then lets one attempt through, which closes it or opens it
// for twice as long, up to 32 times the pause and a day. Owned by the endpoint's goroutine.
type breaker struct {
	failures int       // in a row
	trips    int       // openings since the last success
	until    time.Time // open before it
	probing  bool      // one attempt is under way to see
}

const maxTrips = 5

func (b *breaker) open() bool { return b.trips > 0 }

// ready tells whether an attempt may begin at now, and if not, when to ask again (zero: when the probe has ended).
func (b *breaker) ready(now time.Time) (ok bool, at time.Time) {
	switch {
	case !b.open():
		return true, time.Time{}
	case b.probing:
		return false, time.Time{}
	}
	return !now.Before(b.until), b.until
}

// begin notes that an attempt begins.
func (b *breaker) begin() { b.probing = b.open() }

// done notes how an attempt ended.
func (b *breaker) done(ok bool, spec *Spec, now time.Time) {
	b.probing = false
	if ok || spec.PauseAfter == 0 {
		*b = breaker{}
		return
	}
	if b.failures++; b.failures < spec.PauseAfter && !b.open() {
		return
	}
	if b.open() && now.Before(b.until) {
		return // one that was under way when it opened
	}
	b.until = now.Add(min(time.Duration(spec.Pause)*time.Millisecond<<b.trips, maxStep))
	b.trips = min(b.trips+1, maxTrips)
}

// cancelled notes that an attempt ended without an outcome.
func (b *breaker) cancelled() { b.probing = false }
