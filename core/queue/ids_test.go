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

// window is how long IDs are remembered, and a little more, after which they have left the table.
const window = 2*time.Minute + 3*time.Second

func id(n int) queue.ID {
	return queue.ID{byte(n), byte(n >> 8), byte(n >> 16), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}
}

// named is a record with an ID.
func named(n int, data string) queue.Record { return queue.Record{Data: []byte(data), ID: id(n)} }

// again makes sure that a record is told to be there already.
func (r *rig) again(record queue.Record) {
	r.Helper()
	r.wants("append again", r.put(record).once(), queue.ErrDuplicate)
}

func TestIDsAreKeptOnce(t *testing.T) {
	everywhere(t, func() queue.Config { return queue.Config{} }, func(r *rig) {
		r.kept(named(1, "a"))
		r.again(named(1, "b"))
		r.kept(named(2, "c"))
		r.kept(queue.Record{Data: []byte("d")})
		r.kept(queue.Record{Data: []byte("d")})
		c := r.all()
		hs := c.wants("a", "c", "d", "d")
		r.noError("settle", r.settle(queue.Ack, hs...).once())
		r.again(named(1, "after it was acknowledged"))
		pass(2*time.Minute - time.Second)
		r.again(named(2, "just before the window is over"))
		if !r.q.Remembers(id(1)) || r.q.Remembers(id(3)) {
			r.Error("remembers the wrong ones")
		}
		pass(window - 2*time.Minute + time.Second)
		if r.q.Remembers(id(1)) {
			r.Error("remembers for too long")
		}
		r.kept(named(1, "e"))
		c.wants("e")
		r.again(named(1, "f"))
		c.wants()
		r.stats(0, 1)
	})
}

// TestASecondAppendIsToldWithTheFirst: while the first is on its way nobody knows whether it will be kept.
func TestASecondAppendIsToldWithTheFirst(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.log.Hold(true)
		first, second := r.put(named(1, "a")), r.put(named(1, "a"))
		other := r.put(named(2, "b"))
		otherAgain := r.put(named(2, "b"))
		first.not()
		second.not()
		r.log.Hold(false)
		r.noError("first", first.once())
		r.wants("second", second.once(), queue.ErrDuplicate)
		r.noError("other", other.once())
		r.wants("other again", otherAgain.once(), queue.ErrDuplicate)

		r.disk.Refuse(true)
		r.log.Hold(true)
		first, second = r.put(named(3, "c")), r.put(named(3, "c"))
		r.log.Hold(false)
		r.wants("refused", first.once(), queuetest.ErrRefused)
		r.wants("refused again", second.once(), queuetest.ErrRefused)
		r.disk.Refuse(false)
		r.kept(named(3, "c"))
		r.all().wants("a", "b", "c")
	})
}

// TestTheEndIsToldToEverybody: who has appended twice and is not answered yet is, when the queue ends.
func TestTheEndIsToldToEverybody(t *testing.T) {
	for name, end := range map[string]struct {
		do     func(r *rig)
		first  error
		second error
	}{
		"delete": {func(r *rig) { _, _ = r.q.Delete(false, false) }, queue.ErrDeleted, queue.ErrDeleted},
		"close":  {func(r *rig) { _ = r.q.Close() }, nil, queue.ErrDuplicate},
		"fence":  {func(r *rig) { r.disk.Fence() }, queue.ErrFenced, queue.ErrFenced},
	} {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{}, func(r *rig) {
				r.log.Hold(true)
				sent := []*told{r.put(named(1, "sent")), r.put(named(1, "sent"))}
				synctest.Wait()
				queued := []*told{r.put(named(2, "queued")), r.put(named(2, "queued"))}
				synctest.Wait()
				go end.do(r)
				synctest.Wait()
				r.log.Hold(false)
				r.wants("queued", queued[0].once(), end.first)
				r.wants("queued again", queued[1].once(), end.second)
				for _, x := range sent { // its entry may be in the log when the queue is deleted
					if err := x.once(); name != "delete" && err != nil && !errors.Is(err, end.second) {
						r.Errorf("sent: %v", err)
					}
				}
			})
		})
	}
}

func TestIDsOutliveTheProcess(t *testing.T) {
	for name, again := range map[string]func(r *rig){"crash": (*rig).crash, "reopen": (*rig).reopen} {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{}, func(r *rig) {
				c := r.all()
				r.kept(named(1, "acknowledged"))
				r.noError("settle", r.settle(queue.Ack, c.wants("acknowledged")...).once())
				r.log.Hold(true)
				first := r.put(named(2, "first"))
				synctest.Wait()
				gone := r.put(named(3, "settled before it was written"))
				hs := c.wants("first", "settled before it was written")
				r.q.Settle(queue.Ack, hs[1:], nil)
				synctest.Wait()
				r.log.Hold(false)
				r.noError("first", first.once())
				r.noError("gone", gone.once())
				large := string(make([]byte, queue.PartBytes+10))
				r.kept(named(4, large))
				pass(time.Second)
				for range 3 {
					again(r)
					for n := 1; n <= 4; n++ {
						r.again(named(n, "again"))
					}
					pass(30 * time.Second)
				}
				r.all().wants("first*", large+"*")
				pass(window - 90*time.Second)
				for n := 1; n <= 4; n++ {
					r.kept(named(n, "new"))
				}
			})
		})
	}
}

// TestSettledIDsLeaveTheLog: entries stay for their IDs and no longer, and what is in them stays settled whatever is trimmed.
func TestSettledIDsLeaveTheLog(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprint("deaf ", deaf), func(t *testing.T) {
			synthetic(t, queue.Config{}, func(r *rig) {
				r.disk.Deafen(deaf)
				c := r.all()
				for n := range 200 {
					r.kept(named(n+1, fmt.Sprint(n)))
					hs := c.wants(fmt.Sprint(n))
					if n%50 == 0 {
						continue // it is held
					}
					r.q.Settle(queue.Ack, hs, nil)
					pass(time.Duration(n%3) * 40 * time.Millisecond)
				}
				pass(time.Second)
				if n := r.disk.Len(); n < 200 {
					r.Errorf("%d entries are left, those with IDs are 200", n)
				}
				r.crash()
				r.stats(4, 0)
				for n := range 200 {
					r.again(named(n+1, "again"))
				}
				held := r.all().wants("0*", "50*", "100*", "150*")
				pass(window)
				if n := r.disk.Len(); !deaf && n > 6 {
					r.Errorf("%d entries are left, four records are held", n)
				}
				r.noError("settle", r.settle(queue.Ack, held...).once())
				pass(window)
				if n := r.disk.Len(); !deaf && n > 0 {
					r.Errorf("%d entries are left, everything is settled", n)
				}
				r.crash()
				r.stats(0, 0)
				if x := r.q.Internals(); x.IDs != 0 || x.IDGroups != 0 {
					r.Errorf("ids are left: %+v", x)
				}
			})
		})
	}
}

// TestMoreIsGoneThanAJournalNames: what stays in the log for its IDs is named all the same.
func TestMoreIsGoneThanAJournalNames(t *testing.T) {
	if testing.Short() {
		t.Skip("80,000 chunks")
	}
	const n = queue.MaxGone + 5000
	disk := &queuetest.Disk{}
	q, err := queue.Open(queue.Config{}, disk.OpenInline())
	if err != nil {
		t.Fatal(err)
	}
	var hs []queue.Handle
	for i := range 2 * n {
		record := queue.Record{Data: []byte("stays")}
		if i%2 == 0 {
			record = named(i+1, "goes")
			hs = append(hs, queue.Handle{Seq: uint64(i) + 1, Attempt: 1})
		}
		q.AppendFunc(record, nil)
		if _, err := q.Stats(); err != nil { // so that each is a chunk of its own
			t.Fatal(err)
		}
	}
	if _, err := q.Consume(queue.ConsumerConfig{Credit: queue.Unlimited, Deliver: func([]queue.Delivery) {}}); err != nil {
		t.Fatal(err)
	}
	settled := make(chan error, 1)
	q.Settle(queue.Ack, hs, func(err error) { settled <- err })
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	again, err := queue.Open(queue.Config{}, queuetest.NewDisk(disk.Entries()...).OpenInline())
	if err != nil {
		t.Fatal(err)
	}
	if s, err := again.Stats(); err != nil || s.Ready != n {
		t.Errorf("%d are ready, %v; want %d", s.Ready, err, n)
	}
	for i := range n {
		if !again.Remembers(id(2*i + 1)) {
			t.Fatalf("id %d is forgotten", i)
		}
	}
	_, _ = q.Close(), again.Close()
}

// TestASettlementNobodyWaitsForIsWritten: a settled record whose entry stays for its ID does not come back.
func TestASettlementNobodyWaitsForIsWritten(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.kept(named(1, "a"))
		r.q.Settle(queue.Ack, r.all().wants("a"), nil)
		pass(time.Second)
		for range 3 {
			r.crash()
			r.stats(0, 0)
			r.again(named(1, "a"))
			pass(time.Second)
		}
	})
}

// TestPurgeAndDeleteWithIDs: what was purged has been there; with the queue its IDs go.
func TestPurgeAndDeleteWithIDs(t *testing.T) {
	budget := queue.NewBudget(1 << 30)
	synthetic(t, queue.Config{Budget: budget}, func(r *rig) {
		for n := range 10 {
			r.kept(named(n+1, "x"))
		}
		if n, err := r.q.Purge(); n != 10 || err != nil {
			r.Fatalf("purge: %d, %v", n, err)
		}
		r.again(named(1, "y"))
		r.crash()
		r.stats(0, 0)
		r.again(named(2, "y"))
		if n := budget.IDs(); n != 10 {
			r.Errorf("%d ids are counted, want 10", n)
		}
		_, err := r.q.Delete(false, false)
		r.noError("delete", err)
		if n := budget.IDs(); n != 0 {
			r.Errorf("%d ids are counted after the queue is gone", n)
		}
		if n := r.disk.Len(); n != 0 {
			r.Errorf("%d entries are left", n)
		}
	})
}

// TestIDsAndLimits: a record that is refused leaves no ID, one that is dropped does; what dies has none on its way.
func TestIDsAndLimits(t *testing.T) {
	for name, overflow := range map[string]queue.Overflow{"reject": queue.RejectPublish, "reject, dead letters": queue.RejectPublishDLX} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func() queue.Config {
				return queue.Config{Rules: queue.Rules{MaxLength: queue.AtMost(1), Overflow: overflow, DeadLetter: (&morgue{}).bury}}
			}, func(r *rig) {
				r.kept(named(1, "a"))
				r.wants("above the limit", r.put(named(2, "b")).once(), queue.ErrOverflow)
				r.again(named(1, "a")) // limit or not
				if n, err := r.q.Purge(); n != 1 || err != nil {
					r.Fatal(n, err)
				}
				r.kept(named(2, "b"))
			})
		})
	}
	everywhere(t, func() queue.Config { return queue.Config{Rules: queue.Rules{MaxLength: queue.AtMost(1)}} }, func(r *rig) {
		r.kept(named(1, "a"))
		r.kept(named(2, "b"))
		r.again(named(1, "a"))
		r.all().wants("b")
	})
}

// TestParkedIDs: a memory queue without memory makes publishers wait; of two with the same ID the first is kept.
func TestParkedIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, err := queue.Open(queue.Config{Budget: queue.NewBudget(10)}, nil)
		r := &rig{T: t, q: q}
		r.noError("open", err)
		defer q.Close()
		r.kept(named(1, "0123456789"))
		first, second := r.put(named(2, "b")), r.put(named(2, "b"))
		first.not()
		second.not()
		r.again(named(1, "does not wait"))
		hs := r.consume(queue.ConsumerConfig{Credit: 1}).wants("0123456789")
		r.noError("settle", r.settle(queue.Ack, hs...).once())
		r.noError("first", first.once())
		r.wants("second", second.once(), queue.ErrDuplicate)
		r.stats(1, 0)
	})
}

// TestIDsAreBounded: when a queue remembers as many as it may, further ones are refused until the first leave.
func TestIDsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, err := queue.Open(queue.Config{}, nil)
		r := &rig{T: t, q: q}
		r.noError("open", err)
		defer q.Close()
		var last error
		for n := range queue.MaxIDs + 1 {
			if n == queue.MaxIDs/2 {
				pass(10 * time.Second)
			}
			q.AppendFunc(named(n+1, ""), func(err error) { last = err })
		}
		synctest.Wait()
		r.wants("one too many", last, queue.ErrFull)
		r.again(named(1, "known"))
		r.kept(queue.Record{}) // without an ID there is room
		pass(window - 5*time.Second)
		r.kept(named(queue.MaxIDs+1, ""))
		if x := r.q.Internals(); x.IDs != queue.MaxIDs/2+1 {
			r.Errorf("%d ids", x.IDs)
		}
		pass(window)
		if x := r.q.Internals(); x.IDs != 0 || x.IDGroups != 0 {
			r.Errorf("ids are left: %+v", x)
		}
	})
}

// TestABudgetBoundsIDs: together the queues of a node remember so many.
func TestABudgetBoundsIDs(t *testing.T) {
	budget := queue.NewBudget(1 << 30)
	budget.FillIDs(2)
	synthetic(t, queue.Config{Budget: budget}, func(r *rig) {
		r.kept(named(1, "a"))
		r.kept(named(2, "b"))
		r.wants("one too many", r.put(named(3, "c")).once(), queue.ErrFull)
		r.crash() // what is in the log is remembered all the same
		r.again(named(1, "a"))
		r.again(named(2, "b"))
		pass(window)
		r.kept(named(3, "c"))
	})
}

// TestIDsOfStreams: a stream remembers what retention has dropped, over a restart too, without showing it again.
func TestIDsOfStreams(t *testing.T) {
	synthetic(t, queue.Config{Stream: true, Rules: queue.Rules{MaxBytes: queue.AtMost(10)}}, func(r *rig) {
		r.kept(named(1, "0123456789"))
		r.kept(named(2, "9876543210"))
		large := string(make([]byte, queue.PartBytes+10))
		r.kept(named(3, large))
		r.kept(queue.Record{Data: []byte("last")})
		for _, again := range []func(*rig){func(*rig) {}, (*rig).crash, (*rig).reopen} {
			again(r)
			for n := 1; n <= 3; n++ {
				r.again(named(n, "again"))
			}
			r.consume(queue.ConsumerConfig{Credit: 10, Offset: queue.Offset{From: queue.FromFirst}}).wants("last")
		}
		pass(window)
		if n := r.disk.Len(); n != 1 {
			r.Errorf("%d entries are left, want the last one", n)
		}
		r.kept(named(1, "new"))
	})
}

// TestRepeatedRecordsSurviveAFold: neighbours in a stream that are remembered as one keep their IDs.
func TestRepeatedRecordsSurviveAFold(t *testing.T) {
	synthetic(t, queue.Config{Stream: true, Resident: 1}, func(r *rig) {
		for n := range 20 {
			r.kept(named(n+1, fmt.Sprintf("%2d", n)))
		}
		for n := range 20 {
			r.again(named(n+1, "again"))
		}
		c := r.consume(queue.ConsumerConfig{Credit: 100, Offset: queue.Offset{From: queue.FromFirst}})
		synctest.Wait()
		if n := len(c.got); n != 20 {
			r.Errorf("%d records are read back, want 20", n)
		}
	})
}

// TestARefusedRecordThatWasWritten: the publisher was told that it is not kept and has sent it again; after a restart it is there once.
func TestARefusedRecordThatWasWritten(t *testing.T) {
	for name, first := range map[string]func(r *rig){
		"a record":     func(r *rig) {},
		"after others": func(r *rig) { r.kept(named(9, "other")) },
	} {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{}, func(r *rig) {
				first(r)
				r.disk.Doubt(true)
				r.wants("doubtful", r.put(named(1, "a")).once(), queuetest.ErrRefused)
				r.disk.Doubt(false)
				r.kept(named(1, "a"))
				c := r.all()
				synctest.Wait()
				for _, d := range c.got {
					r.noError("settle", r.settle(queue.Ack, d.Handle).once())
				}
				r.crash()
				r.stats(0, 0)
				r.again(named(1, "a"))
			})
		})
	}
}

// TestTornIDs: whatever a log has lost, it is opened or refused, and what it has is remembered.
func TestTornIDs(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		large := string(make([]byte, 2*queue.PartBytes+10))
		r.kept(named(1, "a"))
		r.kept(named(2, large))
		r.kept(named(3, "c"))
		entries := r.disk.Entries()
		for cut := range entries {
			disk := queuetest.NewDisk(entries[:cut]...)
			q, err := queue.Open(queue.Config{}, disk.OpenInline())
			r.noError("open", err)
			for n, last := range map[int]int{1: 1, 2: 4, 3: 5} { // the entries that its records need
				if got := q.Remembers(id(n)); got != (cut >= last) {
					r.Errorf("of %d entries: remembers %d: %v", cut, n, got)
				}
			}
			r.noError("close", q.Close())
		}
		for lost := range entries {
			r.disk.Replace(lost, entries[lost].Data[:len(entries[lost].Data)-1])
			_, err := queue.Open(queue.Config{}, queuetest.NewDisk(r.disk.Entries()...).OpenInline())
			r.wants("a short entry", err, queue.ErrCorrupt)
			r.disk.Replace(lost, entries[lost].Data)
		}
	})
}

// TestALostChunkWithIDs: what the log has lost does not stay in it.
func TestALostChunkWithIDs(t *testing.T) {
	synthetic(t, queue.Config{Resident: 1}, func(r *rig) {
		for n := range 5 {
			r.kept(named(n+1, fmt.Sprint(n)))
		}
		r.disk.Corrupt(2)
		c := r.all()
		hs := c.wants("0", "1", "3", "4")
		r.again(named(3, "2"))
		r.noError("settle", r.settle(queue.Ack, hs...).once())
		pass(time.Second)
		r.crash() // the damaged entry has been trimmed
		r.stats(0, 0)
		r.again(named(2, "1"))
	})
}

// TestIDsCostNothingWhereThereAreNone: the format of such a queue is as it was, and it has no timer for them.
func TestIDsCostNothingWhereThereAreNone(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.kept(queue.Record{Data: []byte("a")})
		for _, e := range r.disk.Entries() {
			if kind, _, err := queue.OpenEntry(e.Data); err != nil || kind > 3 {
				r.Errorf("entry of kind %d, %v", kind, err)
			}
		}
		if x := r.q.Internals(); x.IDs != 0 || x.IDGroups != 0 {
			r.Errorf("%+v", x)
		}
	})
}
