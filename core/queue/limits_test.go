package queue_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// TestDropHeadNotInMemory: what is dropped is not read back, unless there are dead letters.
func TestDropHeadNotInMemory(t *testing.T) {
	for name, reopened := range map[string]bool{"shed": false, "recovered": true} {
		for _, buried := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", dead letters ", buried), func(t *testing.T) {
				var m morgue
				synthetic(t, queue.Config{Resident: 1}, func(r *rig) {
					for i := range 5 {
						r.chunk(fmt.Sprint(i), "x")
					}
					if reopened {
						r.reopen()
					}
					rules, reads := queue.Rules{MaxLength: queue.AtMost(3)}, r.disk.Reads()
					if buried {
						rules.DeadLetter = m.bury
					}
					r.noError("govern", r.q.Govern(rules))
					s := r.stats(3, 0)
					if buried {
						m.wants(r, "0 maxlen 0s", "x maxlen 0s", "1 maxlen 0s", "x maxlen 0s", "2 maxlen 0s", "x maxlen 0s", "3 maxlen 0s")
					} else if n := r.disk.Reads() - reads; n != 0 {
						r.Fatalf("%d reads", n)
					}
					if s.Bytes != 3 {
						r.Fatalf("%d bytes", s.Bytes)
					}
					pass(journalled)
					r.crash()
					c := r.all()
					c.wants("x", "4", "x")
				})
			})
		}
	}
}

// TestDropHeadFailingDeadLetters: what is dropped is not lost while the dead letters fail, nor in a crash meanwhile, and does not count as ready.
func TestDropHeadFailingDeadLetters(t *testing.T) {
	var m morgue
	m.refuse.Store(true)
	synthetic(t, queue.Config{Rules: queue.Rules{MaxLength: queue.AtMost(2), DeadLetter: m.bury}}, func(r *rig) {
		r.chunk("a", "b", "c", "d", "e")
		s := r.stats(2, 3)
		if s.Dying != 3 || s.Bytes != 5 {
			r.Fatalf("%+v", s)
		}
		pass(10 * time.Second)
		r.stats(2, 3)
		r.crash() // they come back, and are dropped again
		r.stats(2, 3)
		m.refuse.Store(false)
		pass(queue.RetryDelay)
		m.wants(r, "a maxlen 11s", "b maxlen 11s", "c maxlen 11s")
		r.stats(2, 0)
		pass(journalled)
		r.crash()
		r.all().wants("d", "e")
		m.wants(r)
	})
}

// TestDropHeadBeforeKept: what is dropped on its way to the log is told to be kept, and is not written where that can be saved.
func TestDropHeadBeforeKept(t *testing.T) {
	synthetic(t, queue.Config{Rules: queue.Rules{MaxLength: queue.AtMost(2)}}, func(r *rig) {
		kept := r.pending("a")
		for _, rec := range []string{"b", "c", "d", "e"} {
			kept = append(kept, r.append(rec))
		}
		r.stats(2, 0)
		for _, k := range kept {
			k.not()
		}
		r.log.Hold(false)
		for _, k := range kept {
			r.noError(k.what, k.once())
		}
		for _, e := range r.disk.Entries() {
			for _, gone := range []string{"b", "c"} {
				if strings.Contains(string(e.Data[:len(e.Data)-4]), gone) {
					r.Fatalf("%q is in the log", gone)
				}
			}
		}
		pass(journalled)
		r.crash()
		r.all().wants("d", "e")
	})
}

// TestDropHeadForRefused: records that are refused by the log after others were dropped for them leave a queue that is below its limit.
func TestDropHeadForRefused(t *testing.T) {
	synthetic(t, queue.Config{MaxPriority: 2, Rules: queue.Rules{MaxLength: queue.AtMost(3), MaxBytes: queue.AtMost(100)}}, func(r *rig) {
		r.chunk("a", "b", "c")
		kept := r.pending("d", "e")
		r.disk.Refuse(true)
		r.log.Hold(false)
		for _, k := range kept {
			r.wants(k.what, k.once(), queuetest.ErrRefused)
		}
		r.disk.Refuse(false)
		r.stats(1, 0)
		if x := r.q.Internals(); x.Weight != 1 {
			r.Fatalf("%+v", x)
		}
		r.chunk("f", "g")
		r.all().wants("c", "f", "g")
		if x := r.q.Internals(); x.Weight != 0 {
			r.Fatalf("%+v", x)
		}
	})
}

// TestLimitsAtOpen: a queue that is opened with lower limits than it had is within them at once.
func TestLimitsAtOpen(t *testing.T) {
	tests := map[string]struct {
		rules queue.Rules
		want  []string
	}{
		"length":          {queue.Rules{MaxLength: queue.AtMost(2)}, []string{"dddd", "ee"}},
		"bytes":           {queue.Rules{MaxBytes: queue.AtMost(9)}, []string{"ccc", "dddd", "ee"}},
		"no room at all":  {queue.Rules{MaxLength: queue.AtMost(0)}, nil},
		"one that is not": {queue.Rules{MaxLength: queue.AtMost(2), Overflow: queue.RejectPublish}, []string{"a", "bb", "ccc", "dddd", "ee"}},
	}
	for name, test := range tests {
		for _, resident := range []int64{0, 1} {
			t.Run(fmt.Sprint(name, ", resident ", resident), func(t *testing.T) {
				var m morgue
				synthetic(t, queue.Config{Resident: resident}, func(r *rig) {
					r.chunk("a", "bb")
					r.chunk("ccc", "dddd", "ee")
					r.cfg.Rules = test.rules
					r.cfg.DeadLetter = m.bury
					r.reopen()
					synctest.Wait()
					if got := len(m.got); got != 5-len(test.want) {
						r.Fatalf("%d died", got)
					}
					r.stats(len(test.want), 0)
					r.all().wants(test.want...)
				})
			})
		}
	}
}

// TestGuessedWeight: with a new limit of bytes, what is not in memory counts with all its bytes until it is read back.
func TestGuessedWeight(t *testing.T) {
	cfg := queue.Config{Resident: 1, Weigh: func(d []byte) int { return len(d) - 10 }}
	synthetic(t, cfg, func(r *rig) {
		weight := func(want int) {
			r.Helper()
			synctest.Wait()
			if x := r.q.Internals(); x.Weight != want {
				r.Fatalf("weight %d, want %d", x.Weight, want)
			}
		}
		r.chunk("header....")
		for range 3 {
			r.chunk("header....1", "header....123", "header....12345")
		}
		limit := queue.Rules{MaxBytes: queue.AtMost(1000)}
		r.noError("govern", r.q.Govern(limit))
		weight(3 * 39) // but for the first, which is in memory
		r.noError("govern", r.q.Govern(queue.Rules{}))
		r.noError("govern", r.q.Govern(limit))
		weight(3 * 39)
		r.cfg.Rules = limit
		r.reopen() // a recovery reads everything
		weight(3 * 9)
		r.cfg.Rules = queue.Rules{}
		r.reopen()
		weight(0)
		r.noError("govern", r.q.Govern(limit))
		weight(3 * 39)
		c := r.consume(queue.ConsumerConfig{Credit: 2})
		c.wants("header....", "header....1") // all is read back for that
		weight(3*9 - 1)
		c.Close()
		weight(3 * 9)
		r.all()
		weight(0)
	})
}

// TestParkedOverflow: what waited for memory finds a queue that is full meanwhile.
func TestParkedOverflow(t *testing.T) {
	tests := map[string]struct {
		overflow queue.Overflow
		want     []string
		errs     []error
	}{
		"drop head":      {queue.DropHead, []string{"5", "6"}, []error{nil, nil, nil, nil, nil}},
		"reject publish": {queue.RejectPublish, []string{"2", "3"}, []error{nil, nil, queue.ErrOverflow, queue.ErrOverflow, queue.ErrOverflow}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := queue.NewBudget(100)
				open := func(rules queue.Rules) *rig {
					q, err := queue.Open(queue.Config{Budget: budget, Rules: rules}, nil)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = q.Close() })
					return &rig{T: t, q: q}
				}
				other := open(queue.Rules{})
				other.kept(queue.Record{Data: make([]byte, 99)})
				r := open(queue.Rules{MaxLength: queue.AtMost(2), Overflow: test.overflow})
				r.kept(queue.Record{Data: []byte("1")})
				var parked []*told
				for i := range 5 {
					parked = append(parked, r.append(fmt.Sprint(i+2)))
				}
				r.stats(1, 0)
				if _, ok, err := r.q.Get(true, nil); !ok || err != nil {
					t.Fatal(ok, err)
				}
				if _, err := other.q.Purge(); err != nil {
					t.Fatal(err)
				}
				for i, x := range parked {
					r.wants(x.what, x.once(), test.errs[i])
				}
				r.stats(2, 0)
				r.all().wants(test.want...)
			})
		})
	}
}

// TestRefusedIsTold: the publisher of a record that overflows is told once, whenever the dead letters answer.
func TestRefusedIsTold(t *testing.T) {
	var answers []func(error)
	cfg := func() queue.Config {
		answers = nil
		return queue.Config{Rules: queue.Rules{MaxLength: queue.AtMost(0), Overflow: queue.RejectPublishDLX, DeadLetter: func(d queue.Dead, done func(error)) {
			if d.Seq != 0 || d.Count != 0 || d.Reason != queue.MaxLength || d.Priority != 3 {
				panic(fmt.Sprint(d))
			}
			answers = append(answers, done)
		}}}
	}
	for name, end := range map[string]func(r *rig) error{
		"no end": func(*rig) error { return nil },
		"close":  func(r *rig) error { return r.q.Close() },
		"delete": func(r *rig) error { _, err := r.q.Delete(false, false); return err },
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, cfg, func(r *rig) {
				refused := []*told{r.put(queue.Record{Data: []byte("a"), Priority: 3}), r.put(queue.Record{Data: []byte("b"), Priority: 3})}
				refused[0].not()
				r.stats(0, 0)
				r.noError(name, end(r))
				refused[0].not()
				for i, x := range refused {
					answers[i]([]error{nil, queuetest.ErrRefused}[i])
					r.wants(x.what, x.once(), queue.ErrOverflow)
				}
			})
		})
	}
}

// TestRefusedInTheEnd: an answer of the dead letters that comes in with the end of the queue is not lost.
func TestRefusedInTheEnd(t *testing.T) {
	var answer func(error)
	cfg := queue.Config{Rules: queue.Rules{MaxLength: queue.AtMost(0), Overflow: queue.RejectPublishDLX, DeadLetter: func(_ queue.Dead, done func(error)) {
		answer = done
	}}}
	synctest.Test(t, func(t *testing.T) {
		q, err := queue.Open(cfg, closing{(&queuetest.Disk{}).Open(), func() { answer(nil) }})
		r := &rig{T: t, q: q}
		r.noError("open", err)
		refused := r.append("a")
		refused.not()
		r.noError("close", q.Close()) // which takes nothing in any more when it closes its log
		r.wants("append", refused.once(), queue.ErrOverflow)
	})
}

// closing is a log that does something while it is closed.
type closing struct {
	queue.Log
	do func()
}

// Close implements queue.Log.
func (c closing) Close(drop bool) error {
	c.do()
	return c.Log.Close(drop)
}

// TestEndWhileDying: a queue ends while its dead letters are under way. What they did not take is there again, and late answers harm nobody; a queue that is
// closed waits for them.
func TestEndWhileDying(t *testing.T) {
	var answers []func(error)
	cfg := queue.Config{Rules: queue.Rules{TTL: queue.AtMost(100), MaxLength: queue.AtMost(3), DeadLetter: func(_ queue.Dead, done func(error)) {
		answers = append(answers, done)
	}}}
	ends := map[string]struct {
		end  func(r *rig, former []func(error))
		left int // that die again
	}{
		"close": {func(r *rig, former []func(error)) {
			closed := r.told("close")
			go func() { closed.done(r.q.Close()) }()
			for i, done := range former {
				closed.not()
				done([]error{nil, queuetest.ErrRefused}[i%2])
			}
			r.noError("close", closed.once())
			r.open()
		}, 2},
		"crash": {func(r *rig, former []func(error)) {
			go func() {
				synctest.Wait()
				for _, done := range former { // but the log cannot know
					done(nil)
				}
			}()
			r.crash()
		}, 4},
		"delete": {func(r *rig, _ []func(error)) { _, err := r.q.Delete(false, false); r.noError("delete", err); r.open() }, 0},
	}
	for name, test := range ends {
		t.Run(name, func(t *testing.T) {
			answers = nil
			synthetic(t, cfg, func(r *rig) {
				r.chunk("a", "b", "c", "d", "e")
				hs := r.consume(queue.ConsumerConfig{Credit: 1}).wants("c")
				r.q.Settle(queue.Reject, hs, nil)
				pass(100 * ms)
				r.stats(0, 5)
				if len(answers) != 5 {
					r.Fatalf("%d are dying", len(answers))
				}
				answers[0](nil) // "a"
				synctest.Wait()
				pass(journalled)
				former := answers[1:]
				answers = nil
				test.end(r, former)
				r.stats(0, test.left)
				if len(answers) != test.left {
					r.Fatalf("%d are dying again", len(answers))
				}
				for _, done := range former {
					done(nil)
				}
				r.stats(0, test.left)
				for i := 0; i < len(answers); i++ { // the first ones fail, and are tried again
					if i < 2 {
						answers[i](queuetest.ErrRefused)
					} else {
						answers[i](nil)
					}
					pass(queue.RetryDelay)
				}
				if len(answers) != test.left+min(test.left, 2) {
					r.Fatalf("%d tries", len(answers))
				}
				r.stats(0, 0)
			})
		})
	}
}

// TestGovernAfterEnd: a queue that has ended, or is about to, has no rules.
func TestGovernAfterEnd(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.chunk("a", "b")
		r.pending("c")
		closed := r.told("close")
		go func() { closed.done(r.q.Close()) }()
		closed.not()
		r.wants("govern", r.q.Govern(queue.Rules{MaxLength: queue.AtMost(0)}), queue.ErrClosed)
		r.log.Hold(false)
		r.noError("close", closed.once())
		r.wants("govern", r.q.Govern(queue.Rules{}), queue.ErrClosed)
		r.open()
		r.all().wants("a", "b", "c")
	})
}

// TestGovernEverywhere: rules hold for what is held, in the grave and not in memory, and counts stay right when they come and go.
func TestGovernEverywhere(t *testing.T) {
	var m morgue
	synthetic(t, queue.Config{Resident: 200, MaxPriority: 3}, func(r *rig) {
		for i := range 40 {
			r.chunk(fmt.Sprintf("%02d a", i), fmt.Sprintf("%02d b", i))
		}
		c := r.consume(queue.ConsumerConfig{Credit: 20})
		synctest.Wait()
		var hs []queue.Handle
		for _, d := range c.got {
			hs = append(hs, d.Handle)
		}
		m.refuse.Store(true)
		limits := queue.Rules{MaxLength: queue.AtMost(50), MaxBytes: queue.AtMost(200), DeadLetter: m.bury}
		for range 3 {
			r.noError("govern", r.q.Govern(limits))
			r.noError("govern", r.q.Govern(queue.Rules{DeadLetter: m.bury}))
		}
		s := r.stats(50, 30)
		if s.Dying != 10 || s.Bytes != 320 {
			r.Fatalf("%+v", s)
		}
		r.q.Settle(queue.Reject, hs[:5], nil)
		c.Close()
		r.stats(65, 15)
		m.refuse.Store(false)
		r.noError("govern", r.q.Govern(limits))
		s = r.stats(50, 0)
		if x := r.q.Internals(); x.Weight != 200 || s.Bytes != 200 {
			r.Fatalf("%+v, %+v", x, s)
		}
		if len(m.got) != 30 {
			r.Fatalf("%d died", len(m.got))
		}
		r.noError("govern", r.q.Govern(queue.Rules{}))
		c = r.all()
		r.stats(0, 50)
		c.Close()
		if n, err := r.q.Purge(); n != 50 || err != nil {
			r.Fatalf("purge: %d, %v", n, err)
		}
		if x := r.q.Internals(); x.Weight != 0 || x.Graves != 0 {
			r.Fatalf("%+v", x)
		}
	})
}

// TestLeaseIntoFullQueue: what returns because its lease has run out is subject to the limit as well.
func TestLeaseIntoFullQueue(t *testing.T) {
	var m morgue
	everywhere(t, func() queue.Config {
		return queue.Config{Rules: queue.Rules{MaxLength: queue.AtMost(1), DeadLetter: m.bury}}
	}, func(r *rig) {
		c := r.consume(queue.ConsumerConfig{Credit: 2, Lease: time.Minute})
		r.kept(queue.Record{Data: []byte("a")})
		r.kept(queue.Record{Data: []byte("b")})
		c.wants("a", "b")
		r.kept(queue.Record{Data: []byte("c")})
		pass(time.Minute)
		m.wants(r, "a maxlen 1m0s", "b maxlen 1m0s")
		r.stats(1, 0)
	})
}
