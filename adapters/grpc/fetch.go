package grpcapi

import (
	"context"
	"slices"
	"sync"
	"time"

	"portico/core"
	"portico/core/policy"
	"portico/core/queue"
	porticov1 "portico/proto/portico/v1"
)

const (
	defaultFetchLease = 30 * time.Second
	minFetchLease     = 10 * time.Millisecond
	maxFetchLease     = 12 * time.Hour
	linger            = 5 * time.Millisecond // when the first messages are there, so long for those right behind them
	readBack          = time.Second          // a fetch that does not wait gives a backlog so long to be read from disk
)

// pull gathers the deliveries of one fetch.
type pull struct {
	wake  chan struct{} // immutable; has a token when something has changed
	limit int           // immutable

	mu    sync.Mutex // guards the rest
	got   []queue.Delivery
	bytes int
	gone  error
}

func (p *pull) deliver(batch []queue.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, batch...)
	for i := range batch {
		p.bytes += len(batch[i].Record)
	}
	signal(p.wake)
}

func (p *pull) room() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes < batchBytes
}

func (p *pull) end(reason error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = reason
	signal(p.wake)
}

// full tells that no more will come.
func (p *pull) full() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got) >= p.limit || p.bytes >= batchBytes || p.gone != nil
}

// gather returns when the batch is full, when some came and no more follow, after wait without any, or when ctx ends.
func (p *pull) gather(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-p.wake:
			if p.full() {
				return
			}
			timer.Reset(linger)
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// patience is wait, or long enough to read a backlog from disk when the client does not want to wait at all.
func patience(q *core.Queue, wait time.Duration) time.Duration {
	if wait > 0 {
		return wait
	}
	if stats, err := q.Stats(); err == nil && stats.Ready > 0 {
		return readBack
	}
	return linger
}

// Fetch implements PorticoService.
func (s *service) Fetch(ctx context.Context, req *porticov1.FetchRequest) (*porticov1.FetchResponse, error) {
	var k checks
	limit, wait := fetchSize(&k, req)
	lease := k.duration("lease", req.GetLease(), minFetchLease, maxFetchLease)
	if k.err != nil {
		return nil, k.err
	}
	if lease == 0 {
		lease = defaultFetchLease
	}
	bus := busOf(ctx)
	q, err := consumable(bus, req.GetQueue())
	if err != nil {
		return nil, err
	}
	p := &pull{wake: make(chan struct{}, 1), limit: limit}
	consumer, err := bus.Consume(q, queue.ConsumerConfig{
		Deliver: p.deliver, Room: p.room, Gone: p.end, Lease: lease, Credit: limit, Priority: int(req.GetPriority()),
	}, nil)
	if err != nil {
		return nil, inField(err, "queue")
	}
	waiting, cancel := s.untilDrain(ctx)
	p.gather(waiting, patience(q, wait))
	cancel()
	consumer.Cancel() // after this nothing is delivered
	if ctx.Err() != nil {
		consumer.Close() // what came goes back
		bus.DeleteIdle(q)
		return nil, ctx.Err()
	}
	if err = bus.Err(); err == nil {
		err = bus.May(policy.Consume, q.Name()) // it may have been taken away while the call waited
	}
	var resp *porticov1.FetchResponse
	if err == nil {
		resp, err = s.handOver(q, p)
	}
	if err != nil {
		consumer.Close()
	}
	bus.DeleteIdle(q)
	return resp, err
}

// handOver is the answer to a fetch.
func (s *service) handOver(q *core.Queue, p *pull) (*porticov1.FetchResponse, error) {
	p.mu.Lock()
	got, gone := slices.Clone(p.got), p.gone
	p.mu.Unlock()
	if len(got) == 0 && gone != nil {
		return nil, inField(gone, "queue")
	}
	number := s.loans.of(q)
	resp := &porticov1.FetchResponse{}
	for _, d := range got {
		m, err := s.gateway.Message(d.Record)
		if err != nil {
			s.log.Error("a record cannot be read and is rejected", "door", door, "queue", q.Name(), "seq", d.Seq, "err", err)
			q.Settle(queue.Reject, []queue.Handle{d.Handle}, nil)
			continue
		}
		s.sent(m.Data)
		if d.Redelivered {
			s.metrics.Redeliveries.Inc()
		}
		resp.Messages = append(resp.Messages, &porticov1.FetchedMessage{
			Token: s.loans.seal(number, d.Handle), Message: s.stored(d.Record, m), Attempt: d.Attempt, Redelivered: d.Redelivered,
		})
	}
	return resp, nil
}

// settling are the outcomes of Settle that end a delivery.
func settling(o porticov1.SettleOutcome) (outcome queue.Outcome, ok bool) {
	switch o {
	case porticov1.SettleOutcome_SETTLE_OUTCOME_ACK:
		return queue.Ack, true
	case porticov1.SettleOutcome_SETTLE_OUTCOME_REQUEUE:
		return queue.Requeue, true
	case porticov1.SettleOutcome_SETTLE_OUTCOME_DEAD_LETTER:
		return queue.Reject, true
	}
	return 0, false
}

// Settle implements PorticoService.
func (s *service) Settle(ctx context.Context, req *porticov1.SettleRequest) (*porticov1.SettleResponse, error) {
	outcome, ends := settling(req.GetOutcome())
	extends := req.GetOutcome() == porticov1.SettleOutcome_SETTLE_OUTCOME_EXTEND
	var k checks
	lease := k.duration("lease", req.GetLease(), minFetchLease, maxFetchLease)
	switch n := len(req.GetTokens()); {
	case !ends && !extends:
		k.fail("outcome", "it must be said, and there is no %d", req.GetOutcome())
	case req.GetLease() != nil && !extends:
		k.fail("lease", "it goes with SETTLE_OUTCOME_EXTEND, and only with that")
	case n == 0 || n > maxFetch:
		k.fail("tokens", "%d of them: want 1 to %d", n, maxFetch)
	}
	if k.err != nil {
		return nil, k.err
	}
	if lease == 0 {
		lease = defaultFetchLease
	}
	q, err := consumable(busOf(ctx), req.GetQueue())
	if err != nil {
		return nil, err
	}
	settled := make([]chan error, len(req.GetTokens()))
	for i, token := range req.GetTokens() {
		done := make(chan error, 1)
		settled[i] = done
		h, err := s.loans.open(q, token)
		switch {
		case err != nil:
			done <- err
		case extends:
			done <- q.Extend(h, lease)
		default:
			q.Settle(outcome, []queue.Handle{h}, func(err error) { done <- err })
		}
	}
	errs := make([]error, len(settled))
	for i, done := range settled {
		select {
		case errs[i] = <-done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	results, failed := s.settleResults(req.GetTokens(), errs, ends && outcome == queue.Ack)
	return &porticov1.SettleResponse{Results: results, Failed: failed}, nil
}
