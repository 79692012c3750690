package webhook

import (
	"context"
	"errors"
	"time"

	"portico/core/queue"
)

// attach begins to consume the queue, with what the log knows of its messages.
func (e *endpoint) attach(ctx context.Context) {
	now := time.Now()
	if now.Before(e.attachAt) {
		e.at(e.attachAt)
		return
	}
	if err := e.consume(ctx); err != nil {
		e.attachAt = now.Add(retryDelay)
		e.at(e.attachAt)
		if ctx.Err() == nil {
			e.courier.log.Warn("the queue of a webhook cannot be consumed", "webhook", e.name, "err", err)
		}
	}
}

func (e *endpoint) consume(ctx context.Context) (err error) {
	if err = e.declare(); err != nil {
		return err
	}
	q, err := e.courier.gateway.System().Queue(queueOf(e.name))
	if err != nil {
		return err
	}
	stats, err := q.Stats()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, recallTimeout)
	defer cancel()
	if e.memory, err = e.journal.recall(ctx, stats.Ready); err != nil {
		return err
	}
	e.mu.Lock()
	e.granted = 0
	e.mu.Unlock()
	e.queue = q
	e.consumer, err = q.Consume(queue.ConsumerConfig{Deliver: e.deliver, Room: e.room, Gone: e.left, Exclusive: true})
	return err
}

// lost lets go of a queue that has ended. One that somebody has deleted disables the endpoint: it would have to be made anew.
func (e *endpoint) lost(reason error) {
	for _, d := range e.held {
		e.free(d)
	}
	e.mu.Lock()
	incoming := e.incoming
	e.incoming = nil
	e.mu.Unlock()
	for _, d := range incoming {
		e.release(int64(len(d.Record)))
	}
	e.consumer, e.held = nil, nil
	if errors.Is(reason, queue.ErrDeleted) {
		e.disable("its queue was deleted")
	}
}

// disable stops attempts at once and has the definition changed. They stay stopped until it is, or a user enables the endpoint.
func (e *endpoint) disable(reason string) {
	e.gone, e.retire = true, ""
	e.requests.Go(func() {
		err := e.courier.disabled(e.life, e, reason)
		e.post(func() {
			if err == nil {
				e.gone = false
				return
			}
			e.retire, e.retireAt = reason, time.Now().Add(retryDelay)
		})
	})
}

// retireAgain tries again to have the definition changed.
func (e *endpoint) retireAgain(now time.Time) {
	switch {
	case e.retire == "":
	case now.Before(e.retireAt):
		e.at(e.retireAt)
	default:
		e.disable(e.retire)
	}
}

// enabled is told when a user has enabled the endpoint: it takes nothing along from before.
func (e *endpoint) enabled() {
	e.hold, e.breaker = time.Time{}, breaker{probing: e.breaker.probing}
	if e.retire != "" {
		e.gone, e.retire = false, ""
	}
}
