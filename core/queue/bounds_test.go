package queue_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// TestBacklog: a backlog much larger than memory is delivered whole and in order, with exact counts and bounded memory.
func TestBacklog(t *testing.T) {
	const (
		n        = 200_000
		size     = 100
		resident = 1 << 20
	)
	synthetic(t, queue.Config{Resident: resident}, func(r *rig) {
		number := func(i int) []byte { return binary.BigEndian.AppendUint64(make([]byte, size-8, size), uint64(i)) }
		var failed atomic.Int64
		for i := range n {
			r.q.AppendFunc(queue.Record{Data: number(i)}, func(err error) {
				if err != nil {
					failed.Add(1)
				}
			})
			if i%10_000 == 0 {
				synctest.Wait()
			}
		}
		bound := func(when string, s queue.Stats) {
			if s.Resident > 2*resident {
				r.Fatalf("%s: %d bytes resident", when, s.Resident)
			}
		}
		s := r.stats(n, 0)
		bound("appended", s)
		if s.Bytes != n*size || failed.Load() > 0 {
			r.Fatalf("%d bytes, %d failed", s.Bytes, failed.Load())
		}
		for _, reopened := range []bool{false, true} {
			if reopened {
				r.reopen()
				bound("reopened", r.stats(n-n/4, 0))
			}
			c := r.consume(queue.ConsumerConfig{Credit: 5000, Window: true})
			from := 0
			if reopened {
				from = n / 4
			}
			for i := from; i < n && (reopened || i < n/4); i += 5000 {
				synctest.Wait()
				if len(c.got) != 5000 {
					r.Fatalf("%d delivered at %d", len(c.got), i)
				}
				var hs []queue.Handle
				for j, d := range c.got {
					if got := binary.BigEndian.Uint64(d.Record[size-8:]); got != uint64(i+j) {
						r.Fatalf("record %d at %d", got, i+j)
					}
					hs = append(hs, d.Handle)
				}
				c.got = nil
				bound("consumed", r.stats(n-i-5000, 5000))
				if !reopened && i+5000 == n/4 {
					c.Cancel() // so that no more come
				}
				r.q.Settle(queue.Ack, hs, nil)
			}
		}
		pass(time.Second)
		r.stats(0, 0)
		if n := r.disk.Len(); n > 1 {
			r.Fatalf("%d entries left", n)
		}
	})
}

// TestHeldBacklog: what a consumer holds does not stay in memory either, and is read back when it returns.
func TestHeldBacklog(t *testing.T) {
	const (
		n        = 50_000
		resident = 256 << 10
	)
	synthetic(t, queue.Config{Resident: resident}, func(r *rig) {
		c := r.all()
		for i := range n {
			r.q.Append(queue.Record{Data: fmt.Appendf(nil, "%0100d", i)}, nil, 0)
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		if s := r.stats(0, n); s.Resident > 2*resident || s.Bytes != n*100 {
			r.Fatalf("%d of %d bytes resident", s.Resident, s.Bytes)
		}
		c.Close()
		other := r.all()
		synctest.Wait()
		for i, d := range other.got {
			if want := fmt.Sprintf("%0100d", i); string(d.Record) != want || !d.Redelivered {
				r.Fatalf("%q at %d, redelivered %v", d.Record, i, d.Redelivered)
			}
		}
		if s := r.stats(0, n); len(other.got) != n || s.Resident > 2*resident {
			r.Fatalf("%d delivered, %d bytes resident", len(other.got), s.Resident)
		}
	})
}

// TestBudget: a memory queue over the node's budget takes in no more, until there is room.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := queue.NewBudget(100)
		open := func() *rig {
			q, err := queue.Open(queue.Config{Budget: budget}, nil)
			if err != nil {
				t.Fatal(err)
			}
			r := &rig{T: t, q: q}
			t.Cleanup(func() { _ = q.Close() })
			return r
		}
		ten := strings.Repeat("x", 10)
		other := open()
		for range 9 {
			other.noError("append", other.append(ten).once())
		}
		r := open()
		r.noError("append", r.append(ten).once())
		parked := []*told{r.append("1" + ten), r.append("2" + ten)}
		parked[0].not()
		parked[1].not()
		r.stats(1, 0)
		if budget.Used() != 100 {
			t.Fatalf("%d bytes used", budget.Used())
		}
		if _, ok, err := other.q.Get(true, nil); !ok || err != nil {
			t.Fatal(ok, err)
		}
		parked[0].not() // ten bytes are not eleven
		if _, ok, err := other.q.Get(true, nil); !ok || err != nil {
			t.Fatal(ok, err)
		}
		r.noError("append", parked[0].once())
		parked[1].not()
		// The others keep the budget, but an empty queue may have a record all the same.
		c := r.consume(queue.ConsumerConfig{Credit: 1})
		hs := c.wants(ten)
		parked[1].not()
		r.q.Settle(queue.Ack, hs, nil)
		parked[1].not()
		c.Grant(1)
		r.q.Settle(queue.Ack, c.wants("1"+ten), nil)
		r.noError("append", parked[1].once())
		late := r.append(ten + ten + ten)
		late.not()
		if _, err := other.q.Purge(); err != nil {
			t.Fatal(err)
		}
		r.noError("append", late.once())
		if _, err := r.q.Purge(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if budget.Used() != 0 {
			t.Fatalf("%d bytes used", budget.Used())
		}
	})
}

// TestBudgetHeldByOthers: a queue whose memory others have makes progress, a record at a time.
func TestBudgetHeldByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := queue.NewBudget(10)
		durable, err := queue.Open(queue.Config{Budget: budget}, (&queuetest.Disk{}).Open())
		if err != nil {
			t.Fatal(err)
		}
		defer durable.Close()
		d := &rig{T: t, q: durable}
		d.noError("append", d.append("more than the budget").once())
		q, err := queue.Open(queue.Config{Budget: budget}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		r := &rig{T: t, q: q}
		var all []*told
		for i := range 5 {
			all = append(all, r.append(fmt.Sprint(i)))
		}
		r.stats(1, 0)
		r.consume(queue.ConsumerConfig{Credit: queue.Unlimited, AutoAck: true}).wants("0", "1", "2", "3", "4")
		for _, x := range all {
			r.noError("append", x.once())
		}
	})
}

// TestLeasesAreBounded: leases that have been extended or settled do not pile up.
func TestLeasesAreBounded(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.chunk("a", "b")
		c := r.consume(queue.ConsumerConfig{Credit: 2, Lease: time.Hour})
		hs := c.wants("a", "b")
		for i := range 10_000 {
			r.noError("extend", r.q.Extend(hs[0], time.Hour+time.Duration(i)))
		}
		if n := r.q.Internals().Leases; n > 200 {
			r.Fatalf("%d leases", n)
		}
		c.Grant(queue.Unlimited)
		for range 5000 {
			r.q.Append(queue.Record{Data: []byte("c")}, nil, 0)
			synctest.Wait()
			last := c.got[len(c.got)-1]
			r.q.Settle(queue.Ack, []queue.Handle{last.Handle}, nil)
		}
		if n := r.q.Internals().Leases; n > 200 {
			r.Fatalf("%d leases", n)
		}
		pass(time.Hour) // "b" alone
		r.stats(0, 2)
		c.wants(append(strings.Split(strings.Repeat("c", 5000), ""), "b*")...)
	})
}

// TestLease: a lease runs out to the nanosecond, an extension counts from when it is asked for, and a settled one is over.
func TestLease(t *testing.T) {
	for name, disk := range map[string]*queuetest.Disk{"memory": nil, "log": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log queue.Log
				if disk != nil {
					log = disk.Open()
				}
				q, err := queue.Open(queue.Config{}, log)
				if err != nil {
					t.Fatal(err)
				}
				defer q.Close()
				r := &rig{T: t, q: q}
				for i := range 4 {
					r.noError("append", r.append(fmt.Sprint(i)).once())
				}
				c := r.consume(queue.ConsumerConfig{Credit: 4, Lease: time.Minute, Window: true})
				hs := c.wants("0", "1", "2", "3")
				pass(30 * time.Second)
				r.noError("extend", q.Extend(hs[1], time.Minute))
				r.noError("settle", r.settle(queue.Requeue, hs[2]).once())
				hs[2] = c.wants("2*")[0]
				pass(30*time.Second - 1)
				c.wants()
				pass(1)
				again := c.wants("0*", "3*")
				r.wants("settle", r.settle(queue.Ack, hs[0]).once(), queue.ErrStale)
				pass(30*time.Second - 1)
				r.noError("settle", r.settle(queue.Ack, again[0], hs[2]).once())
				c.wants()
				pass(1) // the extended one, and not the one settled
				c.wants("1*")
				pass(30 * time.Second)
				c.wants("3*")
				r.stats(0, 2)
			})
		})
	}
}

// TestLimitWaiters: a consumer waits for a shared window once, however often it asks, and not when it has gone.
func TestLimitWaiters(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.chunk("a", "b")
		limit := queue.NewLimit(1)
		c := r.consume(queue.ConsumerConfig{Credit: queue.Unlimited, Limit: limit})
		hs := c.wants("a")
		for range 1000 {
			c.Wake()
			synctest.Wait()
		}
		if n := limit.Waiting(); n != 1 {
			r.Fatalf("%d wait", n)
		}
		for range 100 {
			gone := r.consume(queue.ConsumerConfig{Credit: queue.Unlimited, Limit: limit})
			synctest.Wait()
			gone.Close()
		}
		if n := limit.Waiting(); n != 1 {
			r.Fatalf("%d wait", n)
		}
		r.q.Settle(queue.Ack, hs, nil)
		c.wants("b")
		if n := limit.Held(); n != 1 {
			r.Fatalf("%d held", n)
		}
	})
}

// TestOwnersAreForgotten: consumers and holders leave nothing behind, whatever became of what they held.
func TestOwnersAreForgotten(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		for range 100 {
			r.chunk("a", "b", "c")
			c := r.consume(queue.ConsumerConfig{Credit: 3})
			hs := c.wants("a", "b", "c")
			c.Cancel()
			r.q.Settle(queue.Ack, hs[:2], nil)
			r.noError("extend", r.q.Extend(hs[2], time.Millisecond))
			pass(time.Millisecond) // the lease of a consumer that has gone
			h, err := r.q.Holder()
			r.noError("holder", err)
			if _, ok, err := r.q.Get(false, h); !ok || err != nil {
				r.Fatal(ok, err)
			}
			h.Close()
			if _, ok, err := r.q.Get(true, nil); !ok || err != nil {
				r.Fatal(ok, err)
			}
		}
		if x := r.q.Internals(); x.Owners != 0 || x.Leases > 130 || x.Chunks > 1 {
			r.Fatalf("%+v", x)
		}
	})
}

// TestDeadLetterDelay: a failed dead letter is tried again after a second, and at most 256 are under way.
func TestDeadLetterDelay(t *testing.T) {
	var underWay, most, tries atomic.Int64
	cfg := queue.Config{Rules: queue.Rules{DeadLetter: func(_ queue.Dead, done func(error)) {
		tries.Add(1)
		most.Store(max(most.Load(), underWay.Add(1)))
		go func() {
			time.Sleep(10 * time.Millisecond)
			underWay.Add(-1)
			if time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) < 5*time.Second {
				done(queuetest.ErrRefused)
				return
			}
			done(nil)
		}()
	}}}
	synthetic(t, cfg, func(r *rig) {
		for range 1000 {
			r.q.Append(queue.Record{Data: []byte("x")}, nil, 0)
		}
		c := r.all()
		synctest.Wait()
		var hs []queue.Handle
		for _, d := range c.got {
			hs = append(hs, d.Handle)
		}
		r.q.Settle(queue.Reject, hs, nil)
		r.stats(0, 1000)
		pass(4 * time.Second)
		r.stats(0, 1000)
		if n := tries.Load(); n > 5*1000 {
			r.Fatalf("%d tries in 4 s", n)
		}
		pass(30 * time.Second)
		r.stats(0, 0)
		if n := most.Load(); n != 256 {
			r.Fatalf("%d under way at once", n)
		}
		if n := r.disk.Len(); n > 1 {
			r.Fatalf("%d entries left", n)
		}
	})
}

// TestSpans: what is gone is kept as few runs of entries.
func TestSpans(t *testing.T) {
	const n = 300
	for round := range 200 {
		var s queue.Spans
		in := map[uint64]bool{}
		seed := uint64(round)*2862933555777941757 + 3037000493
		for range 60 {
			seed = seed*6364136223846793005 + 1442695040888963407
			from := seed >> 33 % n
			to := from + seed>>50%12
			s.Add(from, to)
			for x := from; x <= to; x++ {
				in[x] = true
			}
		}
		floor := seed >> 40 % n
		s.DropBelow(floor)
		runs := 0
		for x := uint64(0); x < n+20; x++ {
			want := in[x] && x >= floor
			if s.Has(x) != want {
				t.Fatalf("round %d: %d is in: %v", round, x, !want)
			}
			if want && !(x > floor && in[x-1]) {
				runs++
			}
		}
		if len(s) != runs {
			t.Fatalf("round %d: %d runs, want %d", round, len(s), runs)
		}
	}
}

// TestIdleIsSlim: what a busy queue works with is let go when it is idle.
func TestIdleIsSlim(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.consume(queue.ConsumerConfig{Credit: queue.Unlimited, AutoAck: true})
		resume := r.q.Stall()
		for range 20_000 {
			r.q.Append(queue.Record{Data: []byte("x")}, nil, 0)
		}
		resume()
		r.stats(0, 0)
		if n := r.q.Internals().Spare; n < 1000 {
			r.Fatalf("a busy queue has only %d", n)
		}
		pass(11 * time.Second)
		if n := r.q.Internals().Spare; n > 8 {
			r.Fatalf("an idle queue has %d", n)
		}
	})
}

// TestParkedIsBounded: publishers may give up on what waits for memory, so that has a bound of its own; what is above it is refused.
func TestParkedIsBounded(t *testing.T) {
	q, err := queue.Open(queue.Config{Budget: queue.NewBudget(1 << 20)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const records = 100
	refused := make(chan struct{}, records)
	for range records {
		q.AppendFunc(queue.Record{Data: make([]byte, 1<<20)}, func(err error) {
			if errors.Is(err, queue.ErrFull) {
				refused <- struct{}{}
			}
		})
	}
	if _, err := q.Stats(); err != nil { // what was refused with the batch of this answer is told after it
		t.Fatal(err)
	}
	s, err := q.Stats()
	if err != nil || s.Ready != 1 {
		t.Fatalf("%+v, %v; want one record in the queue", s, err)
	}
	if n := len(refused); n != records-1-64 {
		t.Errorf("%d of %d records were refused; 64 MiB may wait", n, records)
	}
	if _, err := q.Delete(false, false); err != nil {
		t.Fatal(err)
	}
}
