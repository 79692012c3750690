package jslog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"portico/core/queue"
)

// neverLast is a sequence number no stream reaches.
const neverLast = "4611686018427387904"

// relearn finds out where the stream stands after a failure, and sends what has been appended since, or fails it.
func (l *streamLog) relearn() {
	ctx, cancel := context.WithTimeout(l.s.ctx, l.s.opts.AckTimeout)
	defer cancel()
	last, err := l.barrier(ctx)
	if err == nil {
		err = l.verify(ctx, last)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.phase != learning:
	case errors.Is(err, queue.ErrFenced):
		l.fence(err)
	case err != nil:
		l.fail(err, stale)
		l.s.report(err)
	default:
		l.acked, l.next, l.phase, l.moved = last, last, live, true
		l.send()
	}
}

// barrier sends an append that cannot fit and returns the last sequence number from its refusal. It goes the way all appends go, so none of ours is under way behind it.
func (l *streamLog) barrier(ctx context.Context) (uint64, error) {
	m, err := l.s.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: l.subject, Header: nats.Header{expectedLast: {neverLast}}})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	last, ok := refusedLast(m.Data)
	if !ok {
		return 0, fmt.Errorf("%w: barrier answered %.200q", ErrUnavailable, m.Data)
	}
	return last, nil
}

// verify makes sure that everything behind the last answered append is ours. Nothing else can have taken it away: only we know it.
func (l *streamLog) verify(ctx context.Context, last uint64) error {
	l.mu.Lock()
	at := l.acked
	l.mu.Unlock()
	if last < at {
		return fmt.Errorf("%w: it ends at %d, not at %d", queue.ErrFenced, last, at)
	}
	for at < last {
		n, err := l.s.fetch(ctx, l.stream, at+1, maxRead, func(e fetched) error {
			if e.Seq != at+1 || !strings.HasPrefix(e.id, l.writer) {
				return fmt.Errorf("%w: at %d", queue.ErrFenced, at+1)
			}
			at++
			return nil
		})
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("%w: nothing at %d", queue.ErrFenced, at+1)
		}
	}
	return nil
}
