package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// TestRefusedAppend: publishers of a refused chunk are told, its records are gone from this process whoever has them, and the queue goes on.
func TestRefusedAppend(t *testing.T) {
	noRoom := func(_ queue.Dead, done func(error)) { done(errors.New("no room")) }
	tests := map[string]struct {
		cfg     queue.Config
		use     func(r *rig, c *sink) // what is done with "b" and "c" before they are refused
		ready   int
		unacked int
	}{
		"held":     {queue.Config{}, func(_ *rig, c *sink) { c.wants("a", "b", "c") }, 0, 1},
		"acked":    {queue.Config{}, func(r *rig, c *sink) { r.q.Settle(queue.Ack, c.wants("a", "b", "c")[1:], nil) }, 0, 1},
		"returned": {queue.Config{}, func(r *rig, c *sink) { c.wants("a", "b", "c"); c.Close() }, 1, 0},
		"rejected": {queue.Config{Rules: queue.Rules{DeadLetter: noRoom}}, func(r *rig, c *sink) {
			r.q.Settle(queue.Reject, c.wants("a", "b", "c")[1:], nil)
		}, 0, 1},
		"purged": {queue.Config{}, func(r *rig, c *sink) {
			c.Close()
			go r.q.Purge()
		}, 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synthetic(t, test.cfg, func(r *rig) {
				r.chunk("a")
				c := r.all()
				kept := r.pending("b", "c")
				test.use(r, c)
				r.disk.Refuse(true)
				r.log.Hold(false)
				for _, k := range kept {
					r.wants("append", k.once(), queuetest.ErrRefused)
				}
				r.stats(test.ready, test.unacked)
				r.disk.Refuse(false)
				c.Close()
				pass(5 * time.Second)
				r.chunk("d")
				r.stats(test.ready+test.unacked+1, 0)
				other := r.all()
				if name == "purged" {
					other.wants("d")
				} else {
					other.wants("a*", "d")
				}
				r.stats(0, test.ready+test.unacked+1)
			})
		})
	}
}

// TestRefusedPipeline: of several chunks under way some are refused, and each publisher hears what became of its own.
func TestRefusedPipeline(t *testing.T) {
	for name, refuse := range map[string]func(*queuetest.Disk, bool){"refused": (*queuetest.Disk).Refuse, "in doubt": (*queuetest.Disk).Doubt} {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{}, func(r *rig) {
				full := string(bytes.Repeat([]byte("x"), queue.ChunkBytes)) // a chunk of its own, which does not wait for others
				kept := r.pending(full+"0", full+"1", full+"2", full+"3", full+"4")
				for i, k := range kept {
					refuse(r.disk, i%2 == 1)
					r.log.Release(1)
					if err := k.once(); (err != nil) != (i%2 == 1) {
						r.Fatalf("record %d: %v", i, err)
					}
				}
				refuse(r.disk, false)
				r.log.Hold(false)
				r.all().wants(full+"0", full+"2", full+"4")
				pass(time.Second)
				r.crash()
				if name == "refused" {
					r.all().wants(full+"0*", full+"2*", full+"4*")
				} else { // whether they are there nobody could know
					r.all().wants(full+"0*", full+"1*", full+"2*", full+"3*", full+"4*")
				}
			})
		})
	}
}

// TestFenced: an owner whose log has another writer steps down and tells everybody.
func TestFenced(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		limit := queue.NewLimit(5)
		r.chunk("a", "b", "c")
		c := r.consume(queue.ConsumerConfig{Credit: 2, Limit: limit})
		hs := c.wants("a", "b")
		r.disk.Fence()
		settled := r.settle(queue.Ack, hs[0])
		kept := r.append("d")
		r.wants("append", kept.once(), queue.ErrFenced)
		if err := settled.once(); !errors.Is(err, queue.ErrFenced) {
			r.Fatalf("settle: %v", err)
		}
		if len(c.gone) != 1 || !errors.Is(c.gone[0], queue.ErrFenced) {
			r.Fatalf("gone: %v", c.gone)
		}
		_, err := r.q.Stats()
		r.wants("stats", err, queue.ErrFenced)
		r.wants("append", r.append("e").once(), queue.ErrFenced)
		r.wants("close", r.q.Close(), queue.ErrFenced)
		if n := limit.Held(); n != 0 {
			r.Fatalf("%d of the limit are still taken", n)
		}
		r.open() // the next owner
		r.all().wants("a", "b", "c")
	})
}

// TestCorrupt: a log with a damaged entry is not opened, and its memory is given back.
func TestCorrupt(t *testing.T) {
	for i := range 3 {
		budget := queue.NewBudget(1 << 20)
		synthetic(t, queue.Config{Budget: budget}, func(r *rig) {
			r.chunk("a", "b")
			c := r.consume(queue.ConsumerConfig{Credit: 1})
			r.q.Settle(queue.Ack, c.wants("a"), nil)
			pass(time.Second)
			r.chunk("c")
			r.noError("close", r.q.Close())
			r.disk.Corrupt(i)
			_, err := queue.Open(r.cfg, r.disk.OpenInline())
			r.wants("open", err, queue.ErrCorrupt)
			if used := budget.Used(); used != 0 {
				r.Fatalf("%d bytes are still accounted for", used)
			}
			r.disk.Corrupt(i) // flipped back
			r.open()
			r.all().wants("b", "c")
		})
	}
}

// TestLost: what the store has lost while it was not in memory is counted, and the rest goes on.
func TestLost(t *testing.T) {
	size := 40 << 10 // two of these are no chunk
	record := func(i int) string { return string(bytes.Repeat([]byte{byte('a' + i)}, size)) }
	tests := map[string]struct {
		harm func(d *queuetest.Disk)
		want []int
	}{
		"the second":  {func(d *queuetest.Disk) { d.Lose(1) }, []int{0, 2, 3, 4}},
		"one between": {func(d *queuetest.Disk) { d.Lose(2) }, []int{0, 1, 3, 4}},
		"the last":    {func(d *queuetest.Disk) { d.Lose(4) }, []int{0, 1, 2, 3}},
		"all that is not in memory": {func(d *queuetest.Disk) {
			for range 5 {
				d.Lose(0)
			}
		}, []int{0}},
		"damaged, second":  {func(d *queuetest.Disk) { d.Corrupt(1) }, []int{0, 2, 3, 4}},
		"damaged, between": {func(d *queuetest.Disk) { d.Corrupt(3) }, []int{0, 1, 2, 4}},
		"damaged, last":    {func(d *queuetest.Disk) { d.Corrupt(4) }, []int{0, 1, 2, 3}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			lost := 0
			cfg := queue.Config{Resident: 1, Observe: func(e queue.Event, n int) {
				if e == queue.EventLost {
					lost += n
				}
			}}
			synthetic(t, cfg, func(r *rig) {
				for i := range 5 { // the first stays in memory, for it is its turn
					r.chunk(record(i))
				}
				test.harm(r.disk)
				c := r.all()
				pass(10 * time.Second)
				var got []int
				for _, d := range c.got {
					got = append(got, int(d.Record[0]-'a'))
				}
				if fmt.Sprint(got) != fmt.Sprint(test.want) {
					r.Fatalf("got %v, want %v", got, test.want)
				}
				if s := r.stats(0, len(test.want)); s.Bytes != int64(size*len(test.want)) {
					r.Fatalf("%d bytes", s.Bytes)
				}
				if lost != 5-len(test.want) {
					r.Fatalf("%d lost, want %d", lost, 5-len(test.want))
				}
				r.chunk("new")
				if string(c.got[len(c.got)-1].Record) != "new" {
					r.Fatal("the queue does not go on")
				}
			})
		})
	}
}

// TestLostPart: a large record of which a part is missing is lost as a whole.
func TestLostPart(t *testing.T) {
	for part := range 3 {
		t.Run(fmt.Sprint(part), func(t *testing.T) {
			synthetic(t, queue.Config{Resident: 1}, func(r *rig) {
				r.chunk("first")
				r.chunk("second")
				large := r.told("append")
				r.q.AppendFunc(queue.Record{Data: make([]byte, 3*queue.PartBytes)}, large.done)
				r.noError("append", large.once())
				r.chunk("last")
				r.disk.Lose(2 + part)
				r.all().wants("first", "second", "last")
				r.stats(0, 3)
				pass(queue.JournalDelay)
				r.crash()
				r.all().wants("first*", "second*", "last*")
			})
		})
	}
}

// TestLostDead: a dead letter that the log has lost does not keep others.
func TestLostDead(t *testing.T) {
	var dead []string
	var refuse atomic.Bool
	refuse.Store(true)
	cfg := queue.Config{Resident: 1, Rules: queue.Rules{DeadLetter: func(d queue.Dead, done func(error)) {
		if refuse.Load() {
			done(errors.New("no room"))
			return
		}
		dead = append(dead, string(d.Record))
		done(nil)
	}}}
	synthetic(t, cfg, func(r *rig) {
		large := string(bytes.Repeat([]byte("x"), 40<<10))
		var hs []queue.Handle
		c := r.all()
		for i := range 4 {
			r.chunk(large + fmt.Sprint(i))
			hs = append(hs, c.wants(large+fmt.Sprint(i))...)
		}
		r.q.Settle(queue.Reject, hs, nil)
		synctest.Wait()
		if s := r.stats(0, 4); s.Resident > 45<<10 {
			r.Fatalf("%d bytes resident", s.Resident)
		}
		r.disk.Lose(2) // the second is being read already
		refuse.Store(false)
		pass(2 * queue.RetryDelay)
		if len(dead) != 3 {
			r.Fatalf("%d dead letters", len(dead))
		}
		r.stats(0, 0)
	})
}

// TestReadBackLarge: a record larger than what is read at once is read back whole.
func TestReadBackLarge(t *testing.T) {
	synthetic(t, queue.Config{Resident: 1}, func(r *rig) {
		large := bytes.Repeat([]byte("0123456789abcdef"), 9<<20/16)
		r.chunk("first")
		r.chunk("second")
		kept := r.told("append")
		r.q.AppendFunc(queue.Record{Data: large}, kept.done)
		r.noError("append", kept.once())
		r.chunk("last")
		if s := r.stats(4, 0); s.Resident > 100 {
			r.Fatalf("%d bytes resident", s.Resident)
		}
		c := r.all()
		pass(5 * time.Second)
		if len(c.got) != 4 || !bytes.Equal(c.got[2].Record, large) {
			r.Fatalf("%d delivered", len(c.got))
		}
	})
}

// TestReadRefused: while the log cannot be read a consumer waits and Get says so; nothing is lost.
func TestReadRefused(t *testing.T) {
	synthetic(t, queue.Config{Resident: 1}, func(r *rig) {
		for i := range 5 {
			r.chunk(fmt.Sprint(i))
		}
		r.disk.RefuseReads(true)
		c := r.all()
		c.wants("0")
		_, ok, err := r.q.Get(true, nil)
		if ok || !errors.Is(err, queuetest.ErrRefused) {
			r.Fatalf("get: %v, %v", ok, err)
		}
		reads := r.disk.Reads()
		pass(10 * time.Second)
		if n := r.disk.Reads() - reads; n < 9 || n > 11 {
			r.Fatalf("%d reads in 10 s", n)
		}
		r.disk.RefuseReads(false)
		pass(queue.RetryDelay)
		c.wants("1", "2", "3", "4")
	})
}

// TestEndWhileReading: a queue can be ended while it reads, and whoever waits for what is read is told.
func TestEndWhileReading(t *testing.T) {
	ends := map[string]struct {
		end  func(q *queue.Queue) error
		want error
	}{
		"close":  {(*queue.Queue).Close, queue.ErrClosed},
		"delete": {func(q *queue.Queue) error { _, err := q.Delete(false, false); return err }, queue.ErrDeleted},
	}
	for name, test := range ends {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{Resident: 1}, func(r *rig) {
				for i := range 5 {
					r.chunk(fmt.Sprint(i))
				}
				r.disk.HoldReads(true)
				r.all().wants("0")
				got := r.told("get")
				go func() {
					_, _, err := r.q.Get(true, nil)
					got.done(err)
				}()
				got.not()
				r.noError(name, test.end(r.q))
				r.wants("get", got.once(), test.want)
				r.disk.HoldReads(false)
			})
		})
	}
}

// TestEndWithRefusingLog: a queue ends although its log refuses everything.
func TestEndWithRefusingLog(t *testing.T) {
	ends := map[string]func(q *queue.Queue) error{
		"close":  (*queue.Queue).Close,
		"delete": func(q *queue.Queue) error { _, err := q.Delete(false, false); return err },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{}, func(r *rig) {
				r.chunk("a", "b", "c")
				c := r.all()
				hs := c.wants("a", "b", "c")
				kept := r.pending("d", "e")
				settled := []*told{r.settle(queue.Ack, hs[0]), r.settle(queue.Ack, c.wants("d", "e")[0])}
				r.disk.Refuse(true)
				ended := r.told(name)
				start := time.Now()
				go func() { ended.done(end(r.q)) }()
				ended.not() // what is under way has to be answered
				r.log.Hold(false)
				r.noError(name, ended.once())
				if d := time.Since(start); d > 0 {
					r.Fatalf("it took %v", d)
				}
				for _, x := range append(kept, settled...) {
					if x.once() == nil {
						r.Fatalf("%s: no error", x.what)
					}
				}
			})
		})
	}
}

// TestEndWhileParked: appends that wait for memory are told when their queue ends.
func TestEndWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := queue.NewBudget(10)
		q, err := queue.Open(queue.Config{Budget: budget}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{T: t, q: q}
		r.noError("append", r.append("0123456789").once())
		parked := r.append("x")
		parked.not()
		r.noError("close", q.Close())
		r.wants("append", parked.once(), queue.ErrClosed)
		if budget.Used() != 0 {
			t.Fatalf("%d bytes are still accounted for", budget.Used())
		}
	})
}

// TestUnfinishedParts: a large record whose writer died before its last part is not there, and disturbs nobody.
func TestUnfinishedParts(t *testing.T) {
	synthetic(t, queue.Config{}, func(r *rig) {
		r.chunk("a")
		r.log.Hold(true)
		for range 2 {
			large := r.told("append")
			r.q.AppendFunc(queue.Record{Data: make([]byte, 3*queue.PartBytes)}, large.done)
			synctest.Wait()
			r.log.Release(2)
			large.not()
			r.crash()
			r.log.Hold(true)
		}
		r.log.Hold(false)
		r.chunk("b")
		r.crash()
		r.all().wants("a", "b")
	})
}

// TestRedeliveryAfterLoss covers a record that is lost while a consumer holds it: it can be settled, or is lost when it returns.
func TestRedeliveryAfterLoss(t *testing.T) {
	for name, ack := range map[string]bool{"acked": true, "returned": false} {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{Resident: 1}, func(r *rig) {
				c := r.all()
				var hs []queue.Handle
				for i := range 3 {
					r.chunk(fmt.Sprint(i))
					hs = append(hs, c.wants(fmt.Sprint(i))...)
				}
				r.disk.Lose(0)
				if ack {
					r.noError("settle", r.settle(queue.Ack, hs...).once())
					r.stats(0, 0)
					return
				}
				c.Close()
				r.all().wants("1*", "2*")
				r.stats(0, 2)
			})
		})
	}
}

// TestLogContract: the test's own log does what queue.Log says, where the engine depends on it.
func TestLogContract(t *testing.T) {
	disk := &queuetest.Disk{}
	log := disk.Open()
	answers := make(chan uint64, 3)
	for i := range 3 {
		log.Append([]byte{byte(i)}, func(seq uint64, _ error) { answers <- seq })
	}
	for want := uint64(1); want <= 3; want++ {
		if seq := <-answers; seq != want {
			t.Fatalf("answer %d, want %d", seq, want)
		}
	}
	log.Trim(2, []uint64{3})
	if got, err := log.Read(context.Background(), 0, 1); err != nil || len(got) != 1 || got[0].Seq != 2 {
		t.Fatalf("read: %v, %v", got, err)
	}
	if err := log.Close(true); err != nil || disk.Len() != 0 {
		t.Fatalf("close: %v, %d entries", err, disk.Len())
	}
}
