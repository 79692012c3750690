package webhook

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"portico/core"
	"portico/core/queue"
)

// delivery is a message of the queue that the endpoint has taken up. Owned by the endpoint's goroutine; while a request is under way that reads id and message, which do not change then.
type delivery struct {
	from     *core.Queue // where the handle counts
	handle   queue.Handle
	size     int64 // 0: its memory has been given back
	message  *core.Message
	hash     hash
	id       string
	attempts []Attempt
	next     time.Time // no attempt before it
	stage    stage
	told     time.Time // when the log was told of the message,
	logged   int64     // and how much had been written to it then
}

type stage uint8

const (
	entering stage = iota // the log is being told of it
	ready                 // for an attempt, from next on
	running               // its request is under way
	logging               // the log is being told of the outcome
)

// take takes a delivery of the queue in. The log knows its id before it is attempted, so that it keeps it whatever happens.
func (e *endpoint) take(in queue.Delivery) {
	size := int64(len(in.Record))
	m, err := e.courier.gateway.Message(in.Record)
	if err != nil {
		e.courier.log.Error("a record cannot be read and is rejected", "webhook", e.name, "seq", in.Seq, "err", err)
		e.queue.Settle(queue.Reject, []queue.Handle{in.Handle}, nil)
		e.release(size)
		return
	}
	d := &delivery{from: e.queue, handle: in.Handle, size: size, message: m, hash: hashOf(in.Record)}
	k, again := e.memory.take(d.hash)
	switch {
	case k != nil:
		e.resume(d, k)
		return
	case !e.definition.Load().Filter.matches(m) && m.Header.Get(headerID) == "":
		e.courier.metrics.filtered.Inc()
		e.queue.Settle(queue.Ack, []queue.Handle{in.Handle}, nil)
		e.release(size)
		return
	}
	if d.id = e.courier.seal.proved(e.owner, m.Header.Get(headerID)); d.id == "" {
		if d.id = again; again == "" {
			d.id = newID("msg_", time.Now())
		}
	}
	e.insert(d)
	e.tell(d, false)
}

// resume goes on with a message that the log knows.
func (e *endpoint) resume(d *delivery, k *known) {
	d.id, d.attempts, d.stage, d.told, d.logged = k.id, k.attempts, ready, k.told, -k.behind
	if n := len(k.attempts); n > 0 {
		d.next = k.attempts[n-1].Next
	}
	if held := k.held(); held.After(e.hold) {
		e.hold = held
	}
	e.insert(d)
}

// insert puts d to its place, which is almost always the last.
func (e *endpoint) insert(d *delivery) {
	i := len(e.held)
	for i > 0 && e.held[i-1].handle.Seq > d.handle.Seq {
		i--
	}
	e.held = slices.Insert(e.held, i, d)
}

// remove takes d out of those that will be attempted.
func (e *endpoint) remove(d *delivery) {
	if i := slices.Index(e.held, d); i >= 0 {
		e.held = slices.Delete(e.held, i, i+1)
	}
}

// tell writes to the log that there is this message; carried: once more.
func (e *endpoint) tell(d *delivery, carried bool) {
	now := time.Now()
	entry, payload := entryOf(d.id, d.hash, d.message, now, keptOf(e.courier.gateway.MaxMessage()))
	if carried {
		entry.Carried, entry.Attempts = true, d.attempts
	}
	d.told, d.logged = now, e.written
	e.write(entry, payload, func() {
		if d.stage == entering {
			d.stage = ready
		}
	})
}

// carry tells the log anew of what has waited for so long that the log's limits will soon take what it knows of it. What is held has at most a quarter of the log's size, so
// that this does not feed itself.
func (e *endpoint) carry(now time.Time) {
	if len(e.held) > 0 {
		e.at(e.carriedAt.Add(carryPause))
	}
	if e.written-e.carried < e.journal.limit/carryParts && now.Sub(e.carriedAt) < carryPause {
		return
	}
	e.carried, e.carriedAt = e.written, now
	for _, d := range e.held {
		if d.stage == ready && (e.written-d.logged > e.journal.limit/2 || now.Sub(d.told) > logAge/2) {
			e.tell(d, true)
		}
	}
}

const (
	carryParts = 64        // looks at what has to be carried while the log is written once over,
	carryPause = time.Hour // and at the latest after so long
)

// write appends an entry, and calls then in the endpoint's goroutine when it is on disk. If it is refused it is tried again, and no attempt begins before it is there. One that is
// too large is written without what it can do without; what is too large even then is not logged, as deliveries would stop for good.
func (e *endpoint) write(entry *entry, payload []byte, then func()) {
	e.writing++
	e.written += int64(e.journal.append(entry, payload, func(err error) {
		e.post(func() {
			e.writing--
			switch bare, some := entry.bare(); {
			case err == nil:
				then()
			case core.AsError(err).Code != core.CodeTooLarge:
				e.refusal = err
				e.again = append(e.again, func() { e.write(entry, payload, then) })
			case some:
				e.write(bare, nil, then)
			default:
				e.courier.log.Error("an entry of a webhook's log is too large and left out", "webhook", e.name, "id", entry.ID, "err", err)
				then()
			}
		})
	}))
}

// rewrite tries again what the log has refused.
func (e *endpoint) rewrite(now time.Time) {
	if len(e.again) == 0 {
		return
	}
	if now.Before(e.againAt) {
		e.at(e.againAt)
		return
	}
	e.againAt = now.Add(retryDelay)
	e.at(e.againAt)
	if core.AsError(e.refusal).Code == core.CodeNotFound { // somebody deleted it
		if err := e.reopen(); err != nil {
			e.refusal = err
			return
		}
	}
	e.courier.log.Warn("the log of a webhook does not take entries", "webhook", e.name, "entries", len(e.again), "err", e.refusal)
	again := e.again
	e.again = nil
	for _, f := range again {
		f()
	}
}

// reopen makes the log anew, and nothing else: if somebody has deleted the queue too it stays deleted.
func (e *endpoint) reopen() error {
	ctx, cancel := context.WithTimeout(context.Background(), declareTimeout)
	defer cancel()
	_, err := e.journal.open(ctx)
	return err
}

// settle ends d in the queue, when its outcome is in the log. The queue writes acknowledgements down together, within a tenth of a second: that is what may be sent again after a
// crash. Having each written at once would cost a third more writes for every message.
func (e *endpoint) settle(d *delivery, how queue.Outcome) {
	d.from.Settle(how, []queue.Handle{d.handle}, nil)
	e.settling--
	e.free(d)
}

// free gives back the memory of d, once.
func (e *endpoint) free(d *delivery) {
	e.release(d.size)
	d.size = 0
}

// jitter is step, ten percent more or less.
func jitter(step time.Duration) time.Duration {
	return time.Duration(float64(step) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // no secret
}
