package queue_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
)

const ms = time.Millisecond

// ttl returns a record that may wait for so many milliseconds.
func ttl(data string, n int64) queue.Record {
	return queue.Record{Data: []byte(data), TTL: queue.AtMost(n)}
}

// TestExpiry: the head dies to the millisecond though nobody asks, what is behind it not before it, and what is held when it returns.
func TestExpiry(t *testing.T) {
	var m morgue
	everywhere(t, func() queue.Config {
		return queue.Config{Rules: queue.Rules{TTL: queue.AtMost(500), DeadLetter: m.bury}}
	}, func(r *rig) {
		r.kept(ttl("a", 100))
		pass(50 * ms)
		r.kept(ttl("b", 10))
		r.kept(ttl("c", 51))
		r.kept(ttl("d", 1000))
		pass(50*ms - 1)
		m.wants(r)
		pass(1)
		m.wants(r, "a expired 100ms", "b expired 100ms")
		pass(ms)
		m.wants(r, "c expired 101ms")
		c := r.consume(queue.ConsumerConfig{Credit: 1})
		hs := c.wants("d")
		pass(time.Second)
		m.wants(r)
		r.q.Settle(queue.Requeue, hs, nil)
		m.wants(r, "d expired 1.101s")
		r.stats(0, 0)
	})
}

// TestExpiryNextHead: when the head goes the time of the next one counts, earlier or later.
func TestExpiryNextHead(t *testing.T) {
	var m morgue
	everywhere(t, func() queue.Config { return queue.Config{Rules: queue.Rules{DeadLetter: m.bury}} }, func(r *rig) {
		r.kept(ttl("a", 100))
		r.kept(ttl("b", 50))
		r.kept(ttl("c", 1000))
		r.kept(queue.Record{Data: []byte("d")})
		r.kept(ttl("e", 10))
		pass(20 * ms)
		c := r.consume(queue.ConsumerConfig{Credit: 1})
		c.wants("a")
		pass(30 * ms)
		m.wants(r, "b expired 50ms")
		c.Close() // "a" is back in front of "c"
		pass(50 * ms)
		m.wants(r, "a expired 100ms")
		pass(900 * ms)
		m.wants(r, "c expired 1s")
		pass(time.Hour)
		m.wants(r)
		if _, err := r.q.Purge(); err != nil {
			r.Fatal(err)
		}
		m.wants(r)
	})
}

// TestExpiryWhileClosed: what is over when a queue is opened dies at once, and the rest when it is time.
func TestExpiryWhileClosed(t *testing.T) {
	var m morgue
	synthetic(t, queue.Config{Rules: queue.Rules{DeadLetter: m.bury}}, func(r *rig) {
		r.kept(ttl("a", 1000))
		r.kept(ttl("b", 2000))
		r.kept(ttl("c", 3000))
		r.noError("close", r.q.Close())
		pass(1500 * ms)
		m.wants(r)
		r.open()
		m.wants(r, "a expired 1.5s")
		pass(500*ms - 1)
		m.wants(r)
		pass(1)
		m.wants(r, "b expired 2s")
		pass(journalled)
		r.crash()
		pass(time.Second)
		m.wants(r, "c expired 3s")
		pass(journalled)
		r.reopen()
		r.stats(0, 0)
		m.wants(r)
	})
}

// journalled is long enough for whatever a queue writes by itself.
const journalled = 2 * queue.JournalDelay

// TestExpiryNotInMemory: what nobody wants to have is not read back to die.
func TestExpiryNotInMemory(t *testing.T) {
	for name, reopened := range map[string]bool{"shed": false, "recovered": true} {
		for _, buried := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", dead letters ", buried), func(t *testing.T) {
				var m morgue
				cfg := queue.Config{Resident: 1, Rules: queue.Rules{TTL: queue.AtMost(1000)}}
				if buried {
					cfg.DeadLetter = m.bury
				}
				synthetic(t, cfg, func(r *rig) {
					for i := range 5 {
						r.chunk(fmt.Sprint(i), "x")
					}
					if reopened {
						r.reopen()
					}
					reads := r.disk.Reads()
					pass(time.Second)
					if buried {
						m.wants(r, "0 expired 1s", "x expired 1s", "1 expired 1s", "x expired 1s", "2 expired 1s", "x expired 1s", "3 expired 1s", "x expired 1s",
							"4 expired 1s", "x expired 1s")
					} else if n := r.disk.Reads() - reads; n != 0 {
						r.Fatalf("%d reads", n)
					}
					if s := r.stats(0, 0); s.Bytes != 0 || s.Resident != 0 {
						r.Fatalf("%d bytes, %d resident", s.Bytes, s.Resident)
					}
					pass(time.Second)
					if n := r.disk.Len(); n > 1 {
						r.Fatalf("%d entries left", n)
					}
				})
			})
		}
	}
}

// TestExpiryBytes: the bytes of records that died without having been read are given up as they go.
func TestExpiryBytes(t *testing.T) {
	synthetic(t, queue.Config{Resident: 1}, func(r *rig) {
		r.chunk("first")
		resume := r.q.Stall()
		r.log.Hold(true)
		synctest.Wait()
		r.put(ttl("0123456789", 100))
		r.put(ttl("0123456789", 200))
		r.put(ttl("0123456789", 300))
		resume()
		r.log.Hold(false)
		synctest.Wait()
		r.chunk("last")
		r.reopen()
		if _, ok, err := r.q.Get(true, nil); !ok || err != nil {
			r.Fatal(ok, err)
		}
		for _, want := range []int64{34, 24, 14, 4} {
			if s, err := r.q.Stats(); err != nil || s.Bytes != want {
				r.Fatalf("%d bytes, %v; want %d", s.Bytes, err, want)
			}
			pass(100 * ms)
		}
	})
}

// TestExpiryBeforeKept: a record that dies on its way to the log is told to be kept.
func TestExpiryBeforeKept(t *testing.T) {
	for name, cfg := range map[string]queue.Config{"forgotten": {}, "buried": {Rules: queue.Rules{DeadLetter: new(morgue).bury}}} {
		t.Run(name, func(t *testing.T) {
			synthetic(t, cfg, func(r *rig) {
				r.chunk("a")
				kept := r.pending("b") // is on its way when the next ones come
				timed, late := r.put(ttl("c", 0)), r.append("d")
				r.stats(4, 0) // "a" is alive, and so "c" is not the head
				r.all().wants("a", "b", "d")
				r.stats(0, 3)
				r.log.Hold(false)
				for _, x := range append(kept, timed, late) {
					r.noError(x.what, x.once())
				}
				r.noError("append", r.put(ttl("e", 1<<40)).once())
				r.stats(0, 4)
			})
			synthetic(t, cfg, func(r *rig) {
				r.pending("a")
				h := r.all().wants("a")
				timed := r.put(ttl("b", 10))
				r.q.Settle(queue.Ack, h, nil)
				timed.not()
				pass(time.Second)
				r.stats(0, 1) // the consumer has it
				r.log.Hold(false)
				r.noError("append", timed.once())
			})
			synthetic(t, cfg, func(r *rig) {
				r.log.Hold(true)
				synctest.Wait()
				first := r.append("a")
				if _, ok, err := r.q.Get(true, nil); !ok || err != nil {
					r.Fatal(ok, err)
				}
				timed := r.put(ttl("b", 10))
				pass(time.Second)
				r.stats(0, 0)
				timed.not()
				r.log.Hold(false)
				r.noError("append", first.once())
				r.noError("append", timed.once())
				pass(time.Second)
				r.crash()
				r.stats(0, 0)
			})
		})
	}
}

// skewed is a clock that a test puts forward and back.
type skewed struct{ by atomic.Int64 }

func (s *skewed) now() time.Time { return time.Now().Add(time.Duration(s.by.Load())).Round(0) }

// TestExpiryClockForward: when the clock is put forward, what has become due since is not waited for as long as it would have been.
func TestExpiryClockForward(t *testing.T) {
	var s skewed
	var m morgue
	cfg := func() queue.Config {
		return queue.Config{Now: s.now, MaxPriority: 1, Rules: queue.Rules{DeadLetter: m.bury}}
	}
	everywhere(t, cfg, func(r *rig) {
		r.kept(ttl("a", int64(10*time.Hour/ms)))
		pass(10 * time.Minute) // nothing else is due
		s.by.Add(int64(time.Hour))
		pass(10 * time.Minute)
		r.kept(queue.Record{Data: []byte("b"), TTL: queue.AtMost(100), Priority: 1})
		pass(100 * ms)
		m.wants(r, "b expired 20m0.1s")
		s.by.Add(int64(20 * time.Hour))
		r.kept(queue.Record{Data: []byte("c"), TTL: queue.AtMost(100), Priority: 1})
		pass(0)
		m.wants(r)
		pass(100 * ms)
		m.wants(r, "c expired 20m0.2s", "a expired 20m0.2s")
		s.by.Add(-int64(30 * time.Hour))
		r.kept(ttl("d", 100))
		pass(100 * ms)
		m.wants(r, "d expired 20m0.3s")
	})
}

// TestUnused: nobody uses a queue when it has no consumer and nobody gets, touches or governs it; that is told to the nanosecond, again and again.
func TestUnused(t *testing.T) {
	var unused atomic.Int64
	cfg := func() queue.Config {
		unused.Store(0)
		return queue.Config{Rules: queue.Rules{Expires: time.Minute}, Unused: func() { unused.Add(1) }}
	}
	everywhere(t, cfg, func(r *rig) {
		told := func(want int64) {
			r.Helper()
			synctest.Wait()
			if n := unused.Load(); n != want {
				r.Fatalf("told %d times, want %d", n, want)
			}
		}
		next := func() {
			r.Helper()
			before := unused.Load()
			pass(time.Minute - 1)
			told(before)
			pass(1)
			told(before + 1)
		}
		next()
		next()
		for name, use := range map[string]func(){
			"get":    func() { _, _, _ = r.q.Get(true, nil) },
			"touch":  r.q.Touch,
			"govern": func() { r.noError("govern", r.q.Govern(queue.Rules{Expires: time.Minute})) },
			"close":  func() { r.consume(queue.ConsumerConfig{}).Close() },
			"cancel": func() { r.consume(queue.ConsumerConfig{}).Cancel() },
		} {
			r.Log(name)
			pass(30 * time.Second)
			use()
			next()
		}
		pass(30 * time.Second)
		r.kept(queue.Record{Data: []byte("an append does not use it")})
		r.stats(1, 0)
		pass(30*time.Second - 1)
		before := unused.Load()
		pass(1)
		told(before + 1)
		c := r.consume(queue.ConsumerConfig{})
		pass(time.Hour)
		told(before + 1)
		c.Close()
		next()
		r.noError("govern", r.q.Govern(queue.Rules{}))
		pass(time.Hour)
		told(before + 2)
		r.noError("govern", r.q.Govern(queue.Rules{Expires: time.Minute})) // it has been unused for an hour, but not with this rule
		next()
		if r.disk != nil {
			pass(30 * time.Second)
			r.reopen()
			next()
		}
	})
}
