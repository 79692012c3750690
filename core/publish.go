package core

import (
	"context"
	"errors"
	"strings"

	"portico/core/policy"
	"portico/core/queue"
)

// Publish routes m by its subject: to every bound queue (core bindings and the router), and one live copy to the bus when anybody
// listens. It returns when every queue has it as durably as it promises, and the stream that captures its subject, if m has no Reply; on ctx's end it may or may not be kept. m must not
// be changed afterwards. With a Nats-Msg-Id each queue keeps it once in 2 minutes, as far as the same user publishes it, and each stream once in its own window; see Receipt.Duplicate.
// Command headers are stripped (see cleaned). Errors: CodeInvalid (illegal subject or header), CodePermissionDenied, CodeTooLarge,
// CodeResourceExhausted, CodeUnavailable, CodePreconditionFailed (a stream is not as the Nats-Expected-… headers have it), and ctx's. After an error some of those who are to keep it
// may have it.
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
	if ours, taken := b.tenant.requests.answer(m); ours {
		done(Receipt{Live: taken}, nil)
		return
	}
	queues, _ := b.tenant.route(m, nil)
	b.tenant.distribute(m, b.idOf(m), queues, done)
}

// Append puts m into q, whatever its subject, and calls done once when q keeps it; done may come from any goroutine, perhaps before Append returns, and must not block.
// With a Nats-Msg-Id q keeps it once, as with Publish. What Publish checks and strips is checked and stripped here too. m must not be changed afterwards. Errors: as Publish, and CodeNotFound when q was deleted.
func (b *Bus) Append(q *Queue, m *Message, done func(Receipt, error)) {
	m, err := b.admitTo(q, m)
	if err != nil {
		done(Receipt{}, err)
		return
	}
	record, waiting := SealRecord(m), b.tenant.gateway.underway
	record.ID = b.idOf(m)
	size := int64(len(record.Data))
	if err := waiting.enter(size); err != nil {
		done(Receipt{}, err)
		return
	}
	q.AppendFunc(record, func(err error) {
		waiting.leave(size)
		switch {
		case err == nil:
			done(Receipt{Queues: 1}, nil)
		case errors.Is(err, queue.ErrDuplicate):
			done(Receipt{Queues: 1, Duplicate: true}, nil)
		default:
			done(Receipt{}, appendFailed(err))
		}
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
	if err := b.mayQueue(policy.Append, q.config.Name); err != nil {
		return nil, err
	}
	if err := b.pace(); err != nil {
		return nil, err
	}
	if err := b.tenant.accepts(1); err != nil {
		return nil, err
	}
	return b.without(m), nil
}

// without returns m without the headers that this identity may not set.
func (b *Bus) without(m *Message) *Message {
	if b.system || len(m.Header) == 0 {
		return m
	}
	return &Message{Subject: m.Subject, Reply: m.Reply, Header: cleaned(m.Header, b.User()), Data: m.Data}
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
	if err := b.maySend(m); err != nil {
		return nil, err
	}
	if err := b.pace(); err != nil {
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
