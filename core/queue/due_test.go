package queue_test

import (
	"testing"
	"time"

	"portico/core/queue"
)

// TestByExpiry: records leave in the order of their times, to the millisecond, whenever they came, also after a crash.
func TestByExpiry(t *testing.T) {
	var left []string
	var at []time.Duration
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // synthetic time begins here
	cfg := queue.Config{ByExpiry: true, Resident: 1, Rules: queue.Rules{DeadLetter: func(d queue.Dead, done func(error)) {
		left, at = append(left, string(d.Record)), append(at, time.Since(start))
		done(nil)
	}}}
	synthetic(t, cfg, func(r *rig) {
		for _, x := range []struct {
			record string
			ms     int64
		}{{"late", 5000}, {"soon", 20}, {"middle", 700}, {"middle too", 700}} {
			kept := r.told("append")
			r.q.AppendFunc(queue.Record{Data: []byte(x.record), TTL: queue.AtMost(x.ms)}, kept.done)
			r.noError("append", kept.once())
		}
		r.stats(4, 0)
		pass(19 * time.Millisecond)
		r.stats(4, 0)
		pass(time.Millisecond)
		r.stats(3, 0)
		pass(queue.JournalDelay) // or it would come again
		r.crash()
		pass(679*time.Millisecond - queue.JournalDelay)
		r.stats(3, 0)
		pass(time.Millisecond)
		r.stats(1, 0)
		pass(time.Minute)
		r.stats(0, 0)
	})
	want := []time.Duration{20, 700, 700, 5000}
	for i, record := range []string{"soon", "middle", "middle too", "late"} {
		if len(left) <= i || left[i] != record || at[i] != want[i]*time.Millisecond {
			t.Fatalf("left %q at %v", left, at)
		}
	}
}
