package webhook

import (
	"context"
	"errors"
	"sync"
	"time"

	"portico/core"
	"portico/core/queue"
)

const (
	logBytes  = 64 << 20           // of an endpoint's log
	logAge    = 7 * 24 * time.Hour // of its entries
	scanAhead = 256                // entries that a scan has in hand at most
)

// journal is an endpoint's log. Its methods may be called from any goroutine.
type journal struct {
	// immutable
	gateway *core.Gateway
	seal    *sealer
	owner   string
	name    string // of the stream queue
	limit   int64  // bytes

	mu sync.Mutex
	q  *core.Queue // guarded by mu
}

// open creates the stream queue, or finds it.
func (j *journal) open(ctx context.Context) (*core.Queue, error) {
	q, _, err := j.gateway.System().DeclareQueue(ctx, core.QueueConfig{
		Name: j.name, Type: core.StreamQueue, Durable: true,
		QueueRules: core.QueueRules{MaxBytes: queue.AtMost(j.limit), MaxAge: queue.AtMost(logAge.Milliseconds())},
	})
	if err != nil && (q == nil || q.Type() != core.StreamQueue) {
		return nil, err
	}
	j.mu.Lock() // one with other limits, from before these changed, will do
	defer j.mu.Unlock()
	j.q = q
	return q, nil
}

func (j *journal) queue() *core.Queue {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.q
}

// append writes an entry; done is called once when it is on disk or was refused, from any goroutine, perhaps before append returns. size is what it takes in the log.
func (j *journal) append(e *entry, payload []byte, done func(error)) (size int) {
	sealed, err := j.seal.seal(j.owner, e, payload)
	if err != nil {
		done(err)
		return 0
	}
	j.gateway.System().Append(j.queue(), &core.Message{Data: sealed}, func(_ core.Receipt, err error) { done(err) })
	return len(sealed)
}

// write is append for those who wait.
func (j *journal) write(ctx context.Context, e *entry, payload []byte) error {
	written := make(chan error, 1)
	j.append(e, payload, func(err error) { written <- err })
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return core.AsError(ctx.Err())
	}
}

// found is an entry that a scan came by.
type found struct {
	*entry
	number  uint64 // in the log, from 1
	size    int
	payload []byte
}

// errEnough ends a scan without an error.
var errEnough = errors.New("enough")

// scan calls f with the entries from number on (0: the oldest) to the one that was the last when the scan began, in order, until f returns an error; errEnough is none. Entries that cannot be opened are passed over.
func (j *journal) scan(ctx context.Context, number uint64, f func(found) error) error {
	end, err := j.end(ctx)
	if err != nil || end == 0 || number > end {
		return err
	}
	offset := queue.Offset{From: queue.FromFirst}
	if number > 0 {
		offset = queue.Offset{From: queue.FromNumber, Number: number}
	}
	r, err := j.reader(offset, scanAhead)
	if err != nil {
		return err
	}
	defer r.consumer.Close()
	for {
		batch, err := r.next(ctx)
		if err != nil {
			return err
		}
		for _, d := range batch {
			if d.Seq <= end {
				err = j.visit(d, f)
			}
			if err != nil || d.Seq >= end {
				return ended(err)
			}
		}
	}
}

func ended(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (j *journal) visit(d queue.Delivery, f func(found) error) error {
	m, err := j.gateway.Message(d.Record)
	if err != nil {
		return nil //nolint:nilerr // not ours: passed over
	}
	e, payload, err := j.seal.open(j.owner, m.Data)
	if err != nil {
		return nil //nolint:nilerr // likewise
	}
	return f(found{entry: e, number: d.Seq, size: len(d.Record), payload: payload})
}

// end is the number of the last entry, 0 if there is none. A stream tells how many entries it keeps: they are counted from the first.
func (j *journal) end(ctx context.Context) (uint64, error) {
	q := j.queue()
	stats, err := q.Stats()
	if err != nil || stats.Ready == 0 {
		return 0, err
	}
	r, err := j.reader(queue.Offset{From: queue.FromFirst}, 1)
	if err != nil {
		return 0, err
	}
	defer r.consumer.Close()
	batch, err := r.next(ctx)
	if err != nil {
		return 0, err
	}
	if stats, err = q.Stats(); err != nil || stats.Ready == 0 { // behind the first entry, so that it cannot be more than there are
		return 0, err
	}
	return batch[0].Seq + uint64(stats.Ready) - 1, nil
}

// reader reads a stream.
type reader struct {
	// immutable
	q        *core.Queue
	consumer *queue.Consumer
	wake     chan struct{} // capacity 1

	mu   sync.Mutex // guards the rest
	got  []queue.Delivery
	gone error
}

func (j *journal) reader(from queue.Offset, ahead int) (*reader, error) {
	r := &reader{q: j.queue(), wake: make(chan struct{}, 1)}
	c, err := r.q.Consume(queue.ConsumerConfig{Deliver: r.deliver, Gone: r.end, Offset: from, Credit: ahead, Window: true})
	r.consumer = c
	return r, err
}

func (r *reader) deliver(batch []queue.Delivery) {
	r.mu.Lock()
	r.got = append(r.got, batch...)
	r.mu.Unlock()
	signal(r.wake)
}

func (r *reader) end(reason error) {
	r.mu.Lock()
	r.gone = reason
	r.mu.Unlock()
	signal(r.wake)
}

// signal wakes whoever waits for c, which has a capacity of 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// next returns what has come, at least one entry, and lets as much follow.
func (r *reader) next(ctx context.Context) ([]queue.Delivery, error) {
	for {
		r.mu.Lock()
		got, gone := r.got, r.gone
		r.got = nil
		r.mu.Unlock()
		if len(got) > 0 {
			handles := make([]queue.Handle, len(got))
			for i, d := range got {
				handles[i] = d.Handle
			}
			r.q.Settle(queue.Ack, handles, nil)
			return got, nil
		}
		if gone != nil {
			return nil, gone
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return nil, core.AsError(ctx.Err())
		}
	}
}
