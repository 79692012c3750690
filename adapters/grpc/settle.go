package grpcapi

import (
	"context"
	"time"

	"portico/core/queue"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/protobuf/types/known/durationpb"
)

const maxLease = 24 * time.Hour

// leaseOf checks a lease. Without one it is 0, if that is allowed.
func leaseOf(field string, d *durationpb.Duration, optional bool) (time.Duration, error) {
	if d == nil && optional {
		return 0, nil
	}
	if lease := d.AsDuration(); d.CheckValid() == nil && lease >= time.Millisecond && lease <= maxLease {
		return lease, nil
	}
	return 0, badField(field, "want 1 ms to %v", maxLease)
}

// settle settles deliveries and answers when that is durable. Leased deliveries are settled one by one, since each may have
// lapsed by itself and the client wants to know which.
func (c *consuming) settle(ids []uint64, outcome queue.Outcome) error {
	known, handles, err := c.take(ids)
	if err != nil || len(known) == 0 {
		return err
	}
	size := len(known)
	if c.leased {
		size = 1
	}
	for i := 0; i < len(known); i += size {
		c.answers.Add(1)
		c.box.expect(1)
		c.settleBatch(known[i:i+size], handles[i:i+size], outcome)
	}
	c.held.Add(-int64(len(known)))
	c.wake()
	c.leaveIfDone()
	return nil
}

func (c *consuming) settleBatch(ids []uint64, handles []queue.Handle, outcome queue.Outcome) {
	c.queue.Settle(outcome, handles, func(err error) {
		answer := settled(ids)
		if err != nil {
			answer = failed(ids, inField(err, "ids"))
		} else if outcome == queue.Ack {
			c.metrics.Acks.Add(float64(len(ids)))
		}
		c.box.addExpected(outgoing{answer: answer}, answerSize(ids))
	})
}

// answer queues an answer that names ids.
func (c *consuming) answer(answer *porticov1.ConsumeResponse, ids []uint64) {
	c.answers.Add(1)
	c.box.add(outgoing{answer: answer}, answerSize(ids))
}

// take removes ids from what is open and refuses those that are not there.
func (c *consuming) take(ids []uint64) (known []uint64, handles []queue.Handle, err error) {
	known, err = c.known(ids)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	handles = make([]queue.Handle, len(known))
	for i, id := range known {
		handles[i] = c.open[id].handle
		delete(c.open, id)
	}
	return known, handles, nil
}

// known returns those of ids that are open, each once, and answers the others with a failure.
func (c *consuming) known(ids []uint64) ([]uint64, error) {
	if len(ids) > maxIDs {
		return nil, badField("ids", "%d of them: at most %d are allowed", len(ids), maxIDs)
	}
	known := make([]uint64, 0, len(ids))
	seen := make(map[uint64]bool, len(ids))
	var unknown []uint64
	c.mu.Lock()
	for _, id := range ids {
		if seen[id] {
			continue
		}
		seen[id] = true
		if _, ok := c.open[id]; ok {
			known = append(known, id)
		} else {
			unknown = append(unknown, id)
		}
	}
	c.mu.Unlock()
	if len(unknown) > 0 {
		c.answer(failed(unknown, inField(queue.ErrStale, "ids")), unknown)
	}
	return known, nil
}

// extend lengthens leases and answers.
func (c *consuming) extend(req *porticov1.ConsumeExtend) error {
	lease, err := leaseOf("extend.lease", req.GetLease(), false)
	if err != nil {
		return err
	}
	if !c.leased {
		return badField("extend", "this stream has no leases")
	}
	known, err := c.known(req.GetIds())
	if err != nil {
		return err
	}
	var extended []uint64
	for _, id := range known {
		if err := c.extendOne(id, lease); err != nil {
			c.answer(failed([]uint64{id}, inField(err, "ids")), nil)
			continue
		}
		extended = append(extended, id)
	}
	if len(extended) > 0 {
		c.answer(&porticov1.ConsumeResponse{Frame: &porticov1.ConsumeResponse_Extended{
			Extended: &porticov1.ConsumeExtended{Ids: extended},
		}}, extended)
	}
	return nil
}

func (c *consuming) extendOne(id uint64, lease time.Duration) error {
	c.mu.Lock()
	d, ok := c.open[id]
	c.mu.Unlock()
	if !ok {
		return queue.ErrStale
	}
	if err := c.queue.Extend(d.handle, lease); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.open[id]; ok {
		c.open[id] = delivered{handle: d.handle, until: time.Now().Add(lease)}
	}
	return nil
}

// forgetLapsed drops deliveries whose leases have run out and that the client has not settled, so that they do not count
// against what it may hold. It returns when ctx ends.
func (c *consuming) forgetLapsed(ctx context.Context) {
	tick := time.NewTicker(max(c.lease, time.Second))
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			c.dropLapsed(now)
		case <-ctx.Done():
			return
		}
	}
}

// grace is for the clocks: the queue and this stream do not begin a lease in the same instant.
const grace = time.Second

func (c *consuming) dropLapsed(now time.Time) {
	dropped := 0
	c.mu.Lock()
	for id, d := range c.open {
		if now.After(d.until.Add(grace)) {
			delete(c.open, id)
			dropped++
		}
	}
	c.mu.Unlock()
	c.held.Add(-int64(dropped))
	c.wake()
	c.leaveIfDone()
}

func settled(ids []uint64) *porticov1.ConsumeResponse {
	return &porticov1.ConsumeResponse{Frame: &porticov1.ConsumeResponse_Settled{Settled: &porticov1.ConsumeSettled{Ids: ids}}}
}

func failed(ids []uint64, err error) *porticov1.ConsumeResponse {
	return &porticov1.ConsumeResponse{Frame: &porticov1.ConsumeResponse_Failure{
		Failure: &porticov1.ConsumeFailure{Ids: ids, Failure: toFailure(err)},
	}}
}

func answerSize(ids []uint64) int { return failureSize + 8*len(ids) }
