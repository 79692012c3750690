package webhook

import (
	"time"

	"portico/core/queue"
)

// start begins the attempts that may begin now.
func (e *endpoint) start(now time.Time) {
	d := e.definition.Load()
	for e.mayStart(d, now) {
		next := e.first(d, now)
		if next == nil {
			return
		}
		e.attempt(next, d, now)
	}
}

// mayStart tells whether the endpoint as a whole may be sent anything; if time alone will tell, run is woken then.
func (e *endpoint) mayStart(d *definition, now time.Time) bool {
	if d.Disabled || e.gone || len(e.again) > 0 || e.running >= d.limit() || len(e.held) == 0 {
		return false
	}
	ok, at := e.breaker.ready(now)
	if !ok {
		if !at.IsZero() {
			e.at(at)
		}
		return false
	}
	for _, t := range []time.Time{e.hold, e.slot} {
		if t.After(now) {
			e.at(t)
			return false
		}
	}
	return true
}

// first is the first message whose attempt may begin; in order only the head's may.
func (e *endpoint) first(d *definition, now time.Time) *delivery {
	for _, x := range e.held {
		switch {
		case x.stage != ready || e.sending[x.id]: // the latter: it is here twice, by a replay
		case x.next.After(now):
			e.at(x.next)
		default:
			return x
		}
		if d.Ordered {
			break
		}
	}
	return nil
}

// attempt sends x, in a goroutine of its own.
func (e *endpoint) attempt(x *delivery, d *definition, now time.Time) {
	x.stage = running
	e.running++
	e.sending[x.id] = true
	e.breaker.begin()
	if d.Rate > 0 {
		interval := time.Duration(float64(time.Second) / d.Rate)
		if e.slot = e.slot.Add(interval); e.slot.Before(now) {
			e.slot = now.Add(interval)
		}
	}
	e.requests.Go(func() {
		a, err := e.courier.send(e, d, x.id, x.message)
		e.post(func() {
			e.running--
			delete(e.sending, x.id)
			if err != nil {
				x.stage = ready
				e.breaker.cancelled()
				return
			}
			e.came(x, a)
		})
	})
}

// came decides what an attempt means, and has the log told before anything follows from it.
func (e *endpoint) came(x *delivery, a Attempt) {
	d, now := e.definition.Load(), time.Now()
	a.Number = len(x.attempts) + 1
	a.Response = clip(a.Response, excerptOf(e.courier.gateway.MaxMessage()))
	switch {
	case a.Result == Retry && a.Number >= d.MaxAttempts:
		a.Result = Failed
	case a.Result == Retry:
		a.Next = now.Add(jitter(d.step(a.Number)))
		if a.Hold.After(a.Next) {
			a.Next = a.Hold
		}
	}
	if a.Hold.After(e.hold) {
		e.hold = a.Hold
	}
	e.breaker.done(a.Result == Succeeded || a.Result == Gone || !a.Hold.IsZero(), &d.Spec, now)
	e.courier.metrics.attempted(a)
	x.attempts = append(x.attempts, a.brief())
	x.stage = logging
	if a.Result == Succeeded || a.Result == Failed { // those behind it need not wait for the log
		e.remove(x)
		e.settling++
	}
	e.write(&entry{ID: x.id, Time: now, Attempt: &a}, nil, func() { e.follow(x, a) })
}

// follow does what an attempt means for its message.
func (e *endpoint) follow(x *delivery, a Attempt) {
	switch a.Result {
	case Succeeded:
		e.settle(x, queue.Ack)
	case Failed:
		e.settle(x, queue.Reject)
	case Gone:
		x.stage = ready
		e.disable("the receiver answered 410 at " + a.Time.UTC().Format(time.RFC3339))
	default:
		x.stage, x.next = ready, a.Next
	}
}
