package queue_test

import (
	"testing"
	"testing/synctest"

	"portico/core/queue"
)

// TestLimitsWithinBatch: what comes in one batch is treated as if it had come one after the other: who can take something has it before the next thing counts.
func TestLimitsWithinBatch(t *testing.T) {
	var m morgue
	tests := map[string]struct {
		then func(r *rig, holder *sink, held []queue.Handle)
		left []string
	}{
		"requeue": {func(r *rig, _ *sink, held []queue.Handle) { r.q.Settle(queue.Requeue, held, nil) }, []string{"a*"}},
		"close":   {func(_ *rig, holder *sink, _ []queue.Handle) { holder.Close() }, []string{"a*"}},
		"append":  {func(r *rig, _ *sink, _ []queue.Handle) { r.q.Append(queue.Record{Data: []byte("c")}, nil, 0) }, []string{"c"}},
		"purge":   {func(r *rig, _ *sink, _ []queue.Handle) { _, _ = r.q.Purge() }, nil},
		"get":     {func(r *rig, _ *sink, _ []queue.Handle) { _, _, _ = r.q.Get(true, nil) }, nil},
		"govern":  {func(r *rig, _ *sink, _ []queue.Handle) { _ = r.q.Govern(queue.Rules{DeadLetter: m.bury}) }, nil},
	}
	cfg := func() queue.Config {
		return queue.Config{Rules: queue.Rules{MaxLength: queue.AtMost(1), DeadLetter: m.bury}}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			everywhere(t, cfg, func(r *rig) {
				holder := r.consume(queue.ConsumerConfig{Credit: 1})
				r.kept(queue.Record{Data: []byte("a")})
				held := holder.wants("a")
				taker := r.consume(queue.ConsumerConfig{Credit: 1})
				resume := r.q.Stall()
				r.append("b")
				go test.then(r, holder, held)
				synctest.Wait()
				resume()
				taker.wants("b")
				m.wants(r)
				r.all().wants(test.left...)
			})
		})
	}
}

// TestNoTimeWithinBatch: what may not wait is not for a consumer that comes after it, though with the same batch.
func TestNoTimeWithinBatch(t *testing.T) {
	var m morgue
	everywhere(t, func() queue.Config { return queue.Config{Rules: queue.Rules{DeadLetter: m.bury}} }, func(r *rig) {
		resume := r.q.Stall()
		r.put(ttl("a", 0))
		go func() {
			synctest.Wait()
			resume()
		}()
		r.all().wants()
		m.wants(r, "a expired 0s")
	})
}
