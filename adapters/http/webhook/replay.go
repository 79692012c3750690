package webhook

import (
	"context"
	"errors"
	"strconv"
	"time"

	"portico/core"
)

const replayWide = 64 // messages that a replay has on their way into the queue at once

// Retry sends a delivery again: one that waits as soon as its turn comes, one that has ended as a new message with the old id behind all others. CodeNotFound; CodePreconditionFailed if its payload is not kept.
func (c *Courier) Retry(ctx context.Context, bus *core.Bus, name, id string) (Delivery, error) {
	e, err := c.find(bus, name)
	if err != nil {
		return Delivery{}, err
	}
	d, err := c.delivery(ctx, e, id)
	if err != nil {
		return Delivery{}, err
	}
	if d.Status == Pending {
		e.post(func() { e.hurry(id) })
		return d, nil
	}
	if !d.Replayable {
		return d, core.Errorf(core.CodePreconditionFailed, "the payload was not kept: the log keeps those of at most %d bytes, if the message's headers leave room", keptOf(c.gateway.MaxMessage()))
	}
	_, err = c.resend(ctx, e, 0, map[string]bool{id: true})
	if err == nil {
		d.Status = Pending
	}
	return d, err
}

// hurry lets a message that waits be attempted now. It is called by run.
func (e *endpoint) hurry(id string) {
	for _, d := range e.held {
		if d.id == id && d.stage == ready {
			d.next = time.Time{}
		}
	}
}

// Replayed is what a replay has done.
type Replayed struct {
	Replayed int    `json:"replayed" doc:"Messages that are in the queue again"`
	Skipped  int    `json:"skipped" doc:"Messages that the log has no payload of"`
	Next     string `json:"next,omitempty" doc:"Where to go on: there were more than one replay takes"`
}

// Replay puts the deliveries since a time into the queue again, with their ids and in their order: those that failed at last, or with all those that succeeded too. What is pending is left
// alone. At most 10,000 at once: Replayed.Next is then the cursor for the rest.
func (c *Courier) Replay(ctx context.Context, bus *core.Bus, name string, since time.Time, all bool, cursor string) (done Replayed, err error) {
	e, err := c.find(bus, name)
	if err != nil {
		return done, err
	}
	from, err := place(cursor)
	if err != nil {
		return done, err
	}
	r := &rows{since: since}
	if err := c.look(ctx, e, from, r); err != nil {
		return done, err
	}
	ids := map[string]bool{}
	for _, d := range r.order {
		switch {
		case d.Status == Pending || d.Status == DeliverySucceeded && !all:
		case !d.Replayable:
			done.Skipped++
		default:
			ids[d.ID] = true
		}
	}
	if r.full {
		done.Next = strconv.FormatUint(r.order[len(r.order)-1].number+1, 10)
	}
	done.Replayed, err = c.resend(ctx, e, from, ids)
	return done, err
}

// resend puts messages into the queue again, each once. It returns when the queue has them.
func (c *Courier) resend(ctx context.Context, e *endpoint, from uint64, ids map[string]bool) (n int, err error) {
	if err := c.scans.Acquire(ctx, 1); err != nil {
		return 0, core.AsError(err)
	}
	defer c.scans.Release(1)
	q := c.gateway.System().Lookup(queueOf(e.name))
	if q == nil {
		return 0, core.Errorf(core.CodeNotFound, "the queue of webhook %q was deleted; enable makes another", e.name)
	}
	underway := make(chan struct{}, replayWide)
	failed := make(chan error, 1)
	err = e.journal.scan(ctx, from, func(f found) error {
		if !f.message() || !f.Kept || !ids[f.ID] {
			return nil
		}
		select {
		case underway <- struct{}{}:
		case <-ctx.Done():
			return core.AsError(ctx.Err())
		}
		delete(ids, f.ID)
		m := &core.Message{Subject: f.Subject, Header: f.Header, Data: f.payload}
		if m.Header == nil {
			m.Header = core.Header{}
		}
		m.Header.Del("Nats-Msg-Id") // it is the same message, and wanted all the same
		m.Header.Set(headerID, c.seal.prove(e.owner, f.ID))
		n++
		c.gateway.System().Append(q, m, func(_ core.Receipt, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
			<-underway
		})
		if len(ids) == 0 {
			return errEnough
		}
		return nil
	})
	for range replayWide { // until all have been answered
		underway <- struct{}{}
	}
	select {
	case refused := <-failed:
		err = errors.Join(err, refused)
	default:
	}
	return n, err
}
