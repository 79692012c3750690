package core

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"portico/core/queue"
)

// Publish routes m by its subject: to every bound queue (core bindings and the router), and one live copy to the bus when anybody
// listens. It returns when every queue has it as durably as it promises; on ctx's end it may or may not be kept. m must not be changed afterwards.
// Command headers are stripped (see cleaned). Errors: CodeInvalid (illegal subject or header), CodePermissionDenied, CodeTooLarge,
// CodeResourceExhausted, CodeUnavailable, and ctx's.
func (b *Bus) Publish(ctx context.Context, m *Message) (Receipt, error) {
	type outcome struct {
		receipt Receipt
		err     error
	}
	answered := make(chan outcome, 1)
	b.PublishAsync(m, func(r Receipt, err error) { answered <- outcome{r, err} })
	select {
	case o := <-answered:
		return o.receipt, o.err
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
}

// PublishAsync is Publish without waiting for the queues: done is called once, from any goroutine, perhaps before PublishAsync returns, and must not
// block. Messages of one caller keep their order. The caller bounds how many it has not heard of.
func (b *Bus) PublishAsync(m *Message, done func(Receipt, error)) {
	m, err := b.admit(m)
	if err != nil {
		done(Receipt{}, err)
		return
	}
	if b.tenant.requests.answer(m) {
		done(Receipt{Live: true}, nil)
		return
	}
	queues, _ := b.tenant.route(m, nil)
	b.tenant.distribute(m, queues, done)
}

// Append puts m into q, whatever its subject, and calls done once when q keeps it; done may come from any goroutine, perhaps before Append returns, and must not block.
// What Publish checks and strips is checked and stripped here too. m must not be changed afterwards. Errors: as Publish, and CodeNotFound when q was deleted.
func (b *Bus) Append(q *Queue, m *Message, done func(error)) {
	m, err := b.admitTo(q, m)
	if err != nil {
		done(err)
		return
	}
	record, waiting := SealRecord(m), b.tenant.gateway.underway
	size := int64(len(record.Data))
	if err := waiting.enter(size); err != nil {
		done(err)
		return
	}
	q.AppendFunc(record, func(err error) {
		waiting.leave(size)
		if err != nil {
			err = appendFailed(err)
		}
		done(err)
	})
}

// admitTo checks m, which is for q alone, and returns it as it may travel.
func (b *Bus) admitTo(q *Queue, m *Message) (*Message, error) {
	size, err := checkHeader(m.Header)
	if err != nil {
		return nil, err
	}
	if _, _, err := timing(m.Header); err != nil {
		return nil, err
	}
	if err := b.tenant.checkSize(size + len(m.Data)); err != nil {
		return nil, err
	}
	if err := b.Allow("publish", QueueSubject(q.config.Name)); err != nil {
		return nil, err
	}
	if err := b.tenant.gateway.accepts(1); err != nil {
		return nil, err
	}
	return b.without(m), nil
}

// without returns m without the headers that this identity may not set.
func (b *Bus) without(m *Message) *Message {
	if b.system || len(m.Header) == 0 {
		return m
	}
	return &Message{Subject: m.Subject, Reply: m.Reply, Header: cleaned(m.Header, b.user), Data: m.Data}
}

// admit checks m and returns it as it may travel.
func (b *Bus) admit(m *Message) (*Message, error) {
	size, err := checkHeader(m.Header)
	if err != nil {
		return nil, err
	}
	if _, _, err := timing(m.Header); err != nil {
		return nil, err
	}
	if err := b.tenant.checkSize(size + len(m.Data)); err != nil {
		return nil, err
	}
	if err := b.mayPublish(m.Subject); err != nil {
		return nil, err
	}
	if err := b.checkReply(m.Reply); err != nil {
		return nil, err
	}
	return b.without(m), nil
}

// checkReply refuses a reply subject that would make whoever answers publish on the bus's own subjects.
func (b *Bus) checkReply(reply string) error {
	if reply == "" {
		return nil
	}
	if !b.system && strings.HasPrefix(reply, "$") {
		return Errorf(CodePermissionDenied, "reply to %q: subjects that begin with $ belong to the bus", reply)
	}
	return checkSubject(reply)
}

// distribute gives m to the queues and to whoever listens.
func (t *tenant) distribute(m *Message, queues []*Queue, done func(Receipt, error)) {
	if err := t.gateway.accepts(len(queues)); err != nil {
		done(Receipt{}, err)
		return
	}
	var size int64
	if len(queues) > 0 {
		size = int64(len(m.Data))
	}
	waiting := t.gateway.underway
	if err := waiting.enter(size); err != nil {
		done(Receipt{}, err)
		return
	}
	receipt := Receipt{Queues: len(queues), Live: t.interest(m.Subject)}
	if receipt.Live {
		if err := t.publishLive(m, true); err != nil {
			waiting.leave(size)
			done(Receipt{}, err)
			return
		}
	}
	t.keep(m, queues, func(err error) {
		waiting.leave(size)
		if err != nil {
			done(Receipt{}, err)
			return
		}
		done(receipt, nil)
	})
}

// keep appends one record of m to all queues and calls done when all of them have it, with the first error if there was one. A queue that was deleted
// meanwhile counts as if the message had come a moment earlier.
func (t *tenant) keep(m *Message, queues []*Queue, done func(error)) {
	switch len(queues) {
	case 0:
		done(nil)
	case 1:
		queues[0].AppendFunc(SealRecord(m), func(err error) { done(appendError(err)) })
	default:
		record := SealRecord(m)
		all := &joint{done: done, meaning: appendError}
		all.left.Store(int64(len(queues)))
		for _, q := range queues {
			q.AppendFunc(record, all.one)
		}
	}
}

// joint calls done when all of several appends were answered.
type joint struct {
	done    func(error)
	meaning func(error) error // of a failed append to done
	left    atomic.Int64

	mu  sync.Mutex
	err error // guarded by mu
}

func (j *joint) one(err error) {
	if err = j.meaning(err); err != nil {
		j.mu.Lock()
		if j.err == nil {
			j.err = err
		}
		j.mu.Unlock()
	}
	if j.left.Add(-1) == 0 {
		j.done(j.err) // all writers are done with it
	}
}

// appendError is what a failed append means to a publisher, who named no queue: one that has gone meanwhile is none it was bound to.
func appendError(err error) error {
	if err == nil || errors.Is(err, queue.ErrDeleted) {
		return nil
	}
	return appendFailed(err)
}

// appendFailed gives a failed append its code. What the store says is for the log alone: to the publisher the queue is not available now.
func appendFailed(err error) error {
	if e := AsError(err); e.Code != CodeInternal {
		return e
	}
	return &Error{Code: CodeUnavailable, Detail: "the queue could not keep the message", Err: err}
}
