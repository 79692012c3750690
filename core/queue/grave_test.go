package queue_test

import (
	"testing"
	"testing/synctest"

	"portico/core/queue"
)

// TestCloseAwaitsLetters: a queue that is closed waits for its dead letters under way, and does not send those that have arrived again.
func TestCloseAwaitsLetters(t *testing.T) {
	var arrived func(error)
	letters := 0
	cfg := queue.Config{Rules: queue.Rules{DeadLetter: func(_ queue.Dead, done func(error)) {
		arrived, letters = done, letters+1
	}}}
	synthetic(t, cfg, func(r *rig) {
		r.chunk("a")
		hs := r.all().wants("a")
		r.q.Settle(queue.Reject, hs, nil)
		synctest.Wait()
		closed := r.told("close")
		go func() { closed.done(r.q.Close()) }()
		closed.not()
		arrived(nil)
		r.noError("close", closed.once())
		r.open()
		r.stats(0, 0)
	})
	if letters != 1 {
		t.Fatalf("%d letters, want 1", letters)
	}
}

// TestCloseTellsOfDeliveries: what was delivered a moment before a queue was closed, and came back, is redelivered when it is open again.
func TestCloseTellsOfDeliveries(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.chunk("a", "b", "c")
		c := r.consume(queue.ConsumerConfig{Credit: 2})
		c.wants("a", "b")
		c.Close()
		r.reopen()
		r.all().wants("a*", "b*", "c")
	})
}
