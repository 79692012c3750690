package core

import (
	"context"
	"errors"
	"time"

	"portico/core/queue"
)

// Delay keeps messages on disk until their time has come, and lets them go in the order of those times. Nobody can consume from it.
type Delay struct{ q *queue.Queue }

// delayLog begins the names of delays' logs, behind the tenant's: no queue's name has a NUL.
const delayLog = "\x00delay\x00"

// OpenDelay opens the delay of that name, with what it kept over a restart. release gets each message when its time has come, must not block and calls done, from any
// goroutine, when somebody else has the message: until then the delay keeps it, and after an error it tries again. A message may so be released twice if the
// gateway dies in between. CodeUnavailable.
func (b *Bus) OpenDelay(ctx context.Context, name string, release func(record []byte, done func(error))) (*Delay, error) {
	t := b.tenant
	log, err := t.gateway.store.Open(ctx, t.name+delayLog+name, map[string]string{"portico.tenant": t.name})
	if err != nil {
		return nil, &Error{Code: CodeUnavailable, Detail: "the delay cannot be opened", Err: err}
	}
	q, err := queue.Open(queue.Config{
		Name: name, ByExpiry: true, Budget: t.gateway.budget,
		Rules: queue.Rules{DeadLetter: func(d queue.Dead, done func(error)) { release(d.Record, done) }},
	}, log)
	if err != nil {
		return nil, &Error{Code: CodeUnavailable, Detail: "the delay cannot be opened", Err: errors.Join(err, log.Close(false))}
	}
	return &Delay{q}, nil
}

// Append keeps record for wait, at least a millisecond; p (may be nil) is told under tag when it is on disk, as by queue.Queue.Append.
func (d *Delay) Append(record queue.Record, wait time.Duration, p queue.Publisher, tag uint64) {
	record.TTL = queue.AtMost(max(wait.Milliseconds(), 1))
	d.q.Append(record, p, tag)
}

// Waiting returns how many messages wait. CodeUnavailable when it has been closed.
func (d *Delay) Waiting() (int, error) {
	s, err := d.q.Stats()
	if err != nil {
		return 0, AsError(err)
	}
	return s.Ready, nil
}

// Close closes the delay and keeps what is in it.
func (d *Delay) Close() error { return d.q.Close() }
