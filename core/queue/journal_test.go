package queue_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// TestJournalDelay: settlements wait 100 ms for company, and those that somebody waits for do not.
func TestJournalDelay(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.chunk("a", "b", "c", "d")
		c := r.all()
		hs := c.wants("a", "b", "c", "d")
		pass(queue.JournalDelay) // the deliveries
		before := r.disk.Appends()
		r.q.Settle(queue.Ack, hs[:1], nil)
		pass(queue.JournalDelay / 2)
		r.q.Settle(queue.Ack, hs[1:2], nil)
		pass(queue.JournalDelay/2 - 1)
		if n := r.disk.Appends() - before; n != 0 {
			r.Fatalf("%d entries before the time", n)
		}
		pass(1)
		if n := r.disk.Appends() - before; n != 1 {
			r.Fatalf("%d entries, want 1", n)
		}
		r.noError("settle", r.settle(queue.Ack, hs[2]).once())
		if n := r.disk.Appends() - before; n != 2 {
			r.Fatalf("%d entries, want 2", n)
		}
		pass(time.Hour)
		if n := r.disk.Appends() - before; n != 2 {
			r.Fatalf("%d entries of an idle queue, want 2", n)
		}
	})
}

// TestJournalSlowLog: what is settled while a journal takes long is journalled after it.
func TestJournalSlowLog(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.chunk("a", "b", "c")
		hs := r.all().wants("a", "b", "c")
		r.log.Hold(true)
		r.q.Settle(queue.Ack, hs[:1], nil)
		pass(queue.JournalDelay)
		r.q.Settle(queue.Ack, hs[1:2], nil)
		pass(time.Second)
		r.log.Hold(false)
		pass(queue.JournalDelay)
		r.crash()
		r.stats(1, 0)
		r.all().wants("c*")
	})
}

// TestJournalRetry: a refused journal is written again; who waited for it is told, and its settlements are durable later.
func TestJournalRetry(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.chunk("a", "b", "c")
		hs := r.all().wants("a", "b", "c")
		r.disk.Refuse(true)
		r.wants("settle", r.settle(queue.Ack, hs[0]).once(), queuetest.ErrRefused)
		r.stats(0, 2)
		r.q.Settle(queue.Ack, hs[1:2], nil)
		pass(10 * time.Second)
		r.disk.Refuse(false)
		pass(queue.RetryDelay)
		r.crash()
		r.all().wants("c*")
	})
}

// TestDurableSettlement: what was told to be settled durably does not come back after a crash, whatever becomes of trimming.
func TestDurableSettlement(t *testing.T) {
	tests := map[string]struct {
		settle func(r *rig, c *sink)
		want   []string // what comes back
	}{
		"some of a chunk": {func(r *rig, c *sink) {
			hs := c.wants("a", "b", "c", "d")
			r.noError("settle", r.settle(queue.Ack, hs[1], hs[2]).once())
		}, []string{"a*", "d*"}},
		"a chunk": {func(r *rig, c *sink) {
			r.noError("settle", r.settle(queue.Ack, c.wants("a", "b", "c", "d")...).once())
		}, nil},
		"a chunk, and more journals": {func(r *rig, c *sink) {
			r.noError("settle", r.settle(queue.Ack, c.wants("a", "b", "c", "d")...).once())
			r.chunk("e", "f")
			r.noError("settle", r.settle(queue.Ack, c.wants("e", "f")[1]).once())
			r.noError("settle", r.settle(queue.Ack).once())
		}, []string{"e*"}},
		"a chunk between others": {func(r *rig, c *sink) {
			r.chunk("e", "f")
			r.chunk("g")
			hs := c.wants("a", "b", "c", "d", "e", "f", "g")
			r.noError("settle", r.settle(queue.Ack, hs[4], hs[5]).once())
			r.noError("settle", r.settle(queue.Ack, hs[0]).once())
			r.noError("settle", r.settle(queue.Ack, hs[1]).once())
		}, []string{"c*", "d*", "g*"}},
		"a chunk in two steps": {func(r *rig, c *sink) {
			hs := c.wants("a", "b", "c", "d")
			r.noError("settle", r.settle(queue.Ack, hs[0], hs[1]).once())
			r.q.Settle(queue.Ack, hs[2:], nil)
			pass(time.Second)
		}, nil},
		"a chunk and one that is not kept yet": {func(r *rig, c *sink) {
			hs := c.wants("a", "b", "c", "d")
			r.pending("e", "f")
			hs = append(hs, c.wants("e", "f")...)
			settled := r.settle(queue.Ack, hs[:5]...)
			settled.not()
			pass(time.Second)
			settled.not()
			r.log.Hold(false)
			r.noError("settle", settled.once())
		}, []string{"f*"}},
		"one that is not kept yet": {func(r *rig, c *sink) {
			r.q.Settle(queue.Ack, c.wants("a", "b", "c", "d"), nil)
			r.pending("e", "f", "g")
			hs := c.wants("e", "f", "g")
			settled := r.settle(queue.Ack, hs[1])
			r.log.Hold(false)
			r.noError("settle", settled.once())
		}, []string{"e*", "g*"}},
		"a requeue of one that is not kept yet": {func(r *rig, c *sink) {
			r.q.Settle(queue.Ack, c.wants("a", "b", "c", "d"), nil)
			r.pending("e")
			settled := r.settle(queue.Requeue, c.wants("e")...)
			pass(time.Second)
			settled.not()
			r.log.Hold(false)
			r.noError("settle", settled.once())
		}, []string{"e*"}},
		"a purge": {func(r *rig, c *sink) {
			c.Cancel()
			r.chunk("e", "f")
			if n, err := r.q.Purge(); n != 2 || err != nil {
				r.Fatalf("purge: %d, %v", n, err)
			}
		}, []string{"a*", "b*", "c*", "d*"}},
	}
	for name, test := range tests {
		for _, deaf := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, deaf %v", name, deaf), func(t *testing.T) {
				synthetic(t, queue.Config{}, func(r *rig) {
					r.disk.Deafen(deaf)
					r.chunk("a", "b", "c", "d")
					test.settle(r, r.all())
					for range 3 { // recovery does not depend on trimming either
						r.crash()
						c := r.all()
						c.wants(test.want...)
						c.Close()
						synctest.Wait()
					}
				})
			})
		}
	}
}

// TestSettleRefusedChunk: who settles a record that turns out not to be kept is told that nobody knows.
func TestSettleRefusedChunk(t *testing.T) {
	for name, test := range map[string]struct {
		outcome queue.Outcome
		refuse  func(*queuetest.Disk, bool)
	}{
		"ack, refused":     {queue.Ack, (*queuetest.Disk).Refuse},
		"ack, in doubt":    {queue.Ack, (*queuetest.Disk).Doubt},
		"requeue, refused": {queue.Requeue, (*queuetest.Disk).Refuse},
	} {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{}, func(r *rig) {
				c := r.all()
				kept := r.pending("a")[0]
				settled := r.settle(test.outcome, c.wants("a")...)
				settled.not()
				test.refuse(r.disk, true)
				r.log.Release(1)
				r.wants("append", kept.once(), queuetest.ErrRefused)
				test.refuse(r.disk, false)
				r.log.Hold(false)
				r.wants("settle", settled.once(), queuetest.ErrRefused)
				r.stats(0, 0)
			})
		})
	}
}

// TestSettleFarAway: a stale handle with a number that is not there yet does not wait for it.
func TestSettleFarAway(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.pending("a")
		settled := r.settle(queue.Ack, queue.Handle{Seq: 1 << 60, Attempt: 1})
		for i := range 5 { // there is always something under way
			r.append(fmt.Sprint("more ", i))
			synctest.Wait()
			r.log.Release(1)
			synctest.Wait()
		}
		r.wants("settle", settled.once(), queue.ErrStale)
	})
}

// TestWatermark: after a crash what was delivered is redelivered, if the log could know.
func TestWatermark(t *testing.T) {
	tests := map[string]struct {
		deliver func(r *rig)
		want    []string
	}{
		"nothing": {func(r *rig) { r.chunk("a", "b") }, []string{"a", "b"}},
		"some": {func(r *rig) {
			r.chunk("a", "b", "c")
			r.consume(queue.ConsumerConfig{Credit: 2}).wants("a", "b")
			pass(queue.JournalDelay)
		}, []string{"a*", "b*", "c"}},
		"not yet journalled": {func(r *rig) {
			r.chunk("a", "b")
			r.consume(queue.ConsumerConfig{Credit: 1}).wants("a")
			pass(queue.JournalDelay - 1)
		}, []string{"a", "b"}},
		"before it was kept": {func(r *rig) {
			c := r.consume(queue.ConsumerConfig{Credit: 2})
			r.chunk("a")
			kept := r.pending("b", "c")
			c.wants("a", "b")
			pass(time.Second)
			r.log.Hold(false)
			r.noError("append", kept[0].once())
			pass(queue.JournalDelay)
		}, []string{"a*", "b*", "c"}},
		"and settled": {func(r *rig) {
			r.chunk("a", "b")
			r.chunk("c")
			r.chunk("d")
			c := r.consume(queue.ConsumerConfig{Credit: 3})
			hs := c.wants("a", "b", "c")
			r.noError("settle", r.settle(queue.Ack, hs[2]).once())
		}, []string{"a*", "b*", "d"}},
		"and returned": {func(r *rig) {
			r.chunk("a", "b")
			r.consume(queue.ConsumerConfig{Credit: 1}).Close()
			pass(queue.JournalDelay)
		}, []string{"a", "b"}},
		"a large one": {func(r *rig) {
			r.chunk("a")
			large := make([]byte, 3*queue.PartBytes)
			kept := r.told("append")
			r.q.AppendFunc(queue.Record{Data: large}, kept.done)
			r.noError("append", kept.once())
			r.chunk("b")
			c := r.consume(queue.ConsumerConfig{Credit: 2})
			synctest.Wait()
			r.q.Settle(queue.Ack, []queue.Handle{{Seq: 2, Attempt: 1}}, nil)
			c.Grant(0)
			pass(queue.JournalDelay)
		}, []string{"a*", "b"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{}, func(r *rig) {
				test.deliver(r)
				r.crash()
				r.all().wants(test.want...)
			})
		})
	}
}

// TestAttemptsSurvive: with MaxDeliveries the number of deliveries is journalled too, also of records delivered before they were kept.
func TestAttemptsSurvive(t *testing.T) {
	for name, wait := range map[string]bool{"kept first": false, "delivered first": true} {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{Rules: queue.Rules{MaxDeliveries: 5}}, func(r *rig) {
				c := r.all()
				if wait {
					r.pending("a")
				} else {
					r.chunk("a")
				}
				h := c.wants("a")[0]
				for range 2 {
					r.q.Settle(queue.Requeue, []queue.Handle{h}, nil)
					h = c.wants("a*")[0]
				}
				r.log.Hold(false)
				pass(queue.JournalDelay)
				r.crash()
				if h := r.all().wants("a*")[0]; h.Attempt != 4 {
					r.Fatalf("attempt %d, want 4", h.Attempt)
				}
			})
		})
	}
}

// TestJournalIsSplit: a journal too large for an entry becomes several.
func TestJournalIsSplit(t *testing.T) {
	const n = 300_000
	synthetic(t, queue.Config{Rules: queue.Rules{MaxDeliveries: 1 << 30}}, func(r *rig) {
		for range n {
			r.q.Append(queue.Record{Data: []byte("r")}, nil, 0)
		}
		c := r.all()
		synctest.Wait()
		if len(c.got) != n {
			r.Fatalf("%d delivered", len(c.got))
		}
		r.noError("settle", r.settle(queue.Ack, c.got[0].Handle, c.got[n-1].Handle).once())
		journals := 0
		for _, e := range r.disk.Entries() {
			if kind, _, err := queue.OpenEntry(e.Data); err == nil && kind == 3 {
				journals++
				if len(e.Data) > queue.JournalBytes+16<<10 {
					r.Fatalf("a journal entry of %d bytes", len(e.Data))
				}
			}
		}
		if journals < 2 {
			r.Fatalf("%d journal entries", journals)
		}
		r.crash()
		r.stats(n-2, 0)
		d, ok, err := r.q.Get(true, nil)
		if !ok || err != nil || d.Attempt != 2 {
			r.Fatalf("get: attempt %d, %v, %v", d.Attempt, ok, err)
		}
	})
}

// TestCloseJournals: a queue closed in good order knows what was settled, also what was not kept yet.
func TestCloseJournals(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.disk.Deafen(true)
		r.chunk("a", "b")
		c := r.all()
		hs := c.wants("a", "b")
		r.pending("c", "d")
		hs = append(hs, c.wants("c", "d")...)
		settled := r.settle(queue.Ack, hs[0], hs[2])
		r.q.Settle(queue.Ack, hs[1:2], nil)
		closed := r.told("close")
		go func() { closed.done(r.q.Close()) }()
		closed.not()
		r.log.Hold(false)
		r.noError("close", closed.once())
		r.noError("settle", settled.once())
		r.open()
		r.all().wants("d*")
	})
}

// TestTrimmedLog: when everything is settled nothing stays in the log.
func TestTrimmedLog(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		c := r.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
		for range 50 {
			r.chunk("a", "b", "c")
			r.q.Settle(queue.Ack, c.wants("a", "b", "c"), nil)
			pass(7 * time.Millisecond)
		}
		pass(time.Second)
		if n := r.disk.Len(); n != 0 {
			r.Fatalf("%d entries left", n)
		}
		r.reopen()
		if n := r.disk.Len(); n > 1 {
			r.Fatalf("%d entries left", n)
		}
	})
}

// TestHeldRecordKeepsLittle: one record that is held for long keeps its own entry and a journal, not all that has flowed past it.
func TestHeldRecordKeepsLittle(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.chunk("held", "b")
		c := r.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
		hs := c.wants("held", "b")
		r.noError("settle", r.settle(queue.Ack, hs[1]).once())
		for i := range 500 {
			r.chunk("x", "y")
			xy := c.wants("x", "y")
			r.q.Settle(queue.Ack, xy[:1], nil)
			if i%7 == 0 {
				pass(queue.JournalDelay)
			}
			r.q.Settle(queue.Ack, xy[1:], nil)
			if i%5 == 0 {
				pass(30 * time.Millisecond)
			}
		}
		pass(time.Second)
		if n := r.disk.Len(); n > 4 {
			r.Fatalf("%d entries for one record", n)
		}
		if x := r.q.Internals(); x.Refs > 2 || x.Gone > 0 || x.Tombs > 1 || x.Chunks > 64 {
			r.Fatalf("%+v for one record", x)
		}
		r.crash()
		r.all().wants("held*")
		if n := r.disk.Len(); n > 5 {
			r.Fatalf("%d entries for one record after a crash", n)
		}
	})
}

// TestDeleteWhileJournalling: a journal under way does not mind that its queue is deleted.
func TestDeleteWhileJournalling(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.chunk("a", "b", "c", "d")
		hs := r.all().wants("a", "b", "c", "d")
		r.noError("settle", r.settle(queue.Ack, hs[0]).once()) // the chunk has a bitmap
		r.log.Hold(true)
		first := r.settle(queue.Ack, hs[1])
		synctest.Wait()
		second := r.settle(queue.Ack, hs[2])
		deleted := r.told("delete")
		go func() {
			_, err := r.q.Delete(false, false)
			deleted.done(err)
		}()
		deleted.not()
		r.log.Hold(false)
		r.noError("delete", deleted.once())
		if err := first.once(); err != nil && !errors.Is(err, queue.ErrDeleted) {
			r.Fatalf("settle: %v", err)
		}
		r.wants("settle", second.once(), queue.ErrDeleted)
		if n := r.disk.Len(); n != 0 {
			r.Fatalf("%d entries left", n)
		}
	})
}

// TestRecoveryManyGone: recovery buries every chunk that the newest journal entry names as gone, also when an earlier one than those has gone too.
func TestRecoveryManyGone(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.disk.Deafen(true)
		for i := range 16 {
			r.chunk(fmt.Sprint(i))
		}
		hs := r.all().wants("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15")
		r.noError("settle", r.settle(queue.Ack, hs[0], hs[2], hs[4], hs[6], hs[8], hs[10], hs[12]).once())
		r.crash()
		r.all().wants("1*", "3*", "5*", "7*", "9*", "11*", "13*", "14*", "15*")
		r.stats(0, 9)
	})
}
