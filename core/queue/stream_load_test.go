package queue_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
)

// tiny runs test with a stream that keeps nothing in memory that it need not.
func tiny(t *testing.T, rules queue.Rules, test func(r *rig)) {
	t.Helper()
	synthetic(t, queue.Config{Name: "s", Stream: true, Rules: rules, Resident: 1}, test)
}

// chunks writes chunks of one record, each of so many bytes, and returns what holds would say.
func (r *rig) chunks(n, size int) string {
	r.Helper()
	var all []string
	for i := range n {
		record := fmt.Sprintf("%09d%s", i, strings.Repeat("x", size-9))
		r.kept(queue.Record{Data: []byte(record)})
		all = append(all, fmt.Sprintf("%d=%.10s", i+1, record))
	}
	return strings.Join(all, " ")
}

// TestStreamMemory: whoever reads what, in memory is no more than may be; the newest chunks stay for those who keep up.
func TestStreamMemory(t *testing.T) {
	const resident, size = 1 << 20, 10_000
	synthetic(t, queue.Config{Stream: true, Resident: resident}, func(r *rig) {
		within := func() {
			r.Helper()
			synctest.Wait()
			if s, err := r.q.Stats(); err != nil || s.Resident > resident+size {
				r.Fatalf("%d bytes in memory, %v", s.Resident, err)
			}
		}
		all := r.chunks(400, size)
		within()
		for range 3 {
			old := r.reader(first(), 1<<20)
			old.reads(all)
			within()
			old.Close()
		}
		half := r.disk.Reads()
		r.reader(number(352), 100).reads(strings.SplitN(all, " ", 352)[351])
		if n := r.disk.Reads() - half; n != 0 {
			r.Errorf("the tail was read back, %d times", n)
		}
		r.crash()
		within()
		before := r.disk.Reads()
		r.reader(number(302), 100).reads(strings.SplitN(all, " ", 302)[301])
		if n := r.disk.Reads() - before; n != 0 {
			r.Errorf("after a restart the tail was read back, %d times", n)
		}
	})
}

// TestStreamBudget: a node that is out of memory has streams drop what they hold, and those still deliver.
func TestStreamBudget(t *testing.T) {
	budget := queue.NewBudget(1000)
	synthetic(t, queue.Config{Stream: true, Budget: budget}, func(r *rig) {
		all := r.chunks(10, 400)
		r.stats(10, 0)
		if n := budget.Used(); n > 1000 {
			r.Errorf("%d bytes in use", n)
		}
		r.holds(all)
		r.stats(10, 0)
		if n := budget.Used(); n > 1000 {
			r.Errorf("%d bytes in use", n)
		}
		c := r.reader(first(), 1)
		c.reads("1=000000000x")
		other, err := queue.Open(queue.Config{Budget: budget}, nil)
		r.noError("open", err)
		other.Append(queue.Record{Data: make([]byte, 5000)}, nil, 0)
		synctest.Wait()
		r.stats(10, 0)
		_, err = r.q.Delete(false, false)
		r.noError("delete", err)
		if n := budget.Used(); n != 5000 {
			r.Errorf("%d bytes in use by nobody", n-5000)
		}
		r.noError("close", other.Close())
	})
}

// TestStreamReadersTakeTurns: those who read old records at different places all come to the end, and none waits for another to have read all.
func TestStreamReadersTakeTurns(t *testing.T) {
	tiny(t, queue.Rules{}, func(r *rig) {
		const n = 60
		all := strings.Split(r.chunks(n, 40_000), " ")
		var mu sync.Mutex
		var order []int
		var readers []*queue.Consumer
		for i := range 3 {
			var c *queue.Consumer
			c, err := r.q.Consume(queue.ConsumerConfig{Offset: number(uint64(1 + 10*i)), Window: true, Deliver: func(ds []queue.Delivery) {
				mu.Lock()
				defer mu.Unlock()
				for _, d := range ds {
					order = append(order, i)
					if want := fmt.Sprintf("%d=%.10s", d.Seq, d.Record); all[d.Seq-1] != want {
						r.Errorf("reader %d got %q, want %q", i, want, all[d.Seq-1])
					}
					go c.Grant(1)
				}
			}})
			r.noError("consume", err)
			readers = append(readers, c)
		}
		resume := r.q.Stall()
		for _, c := range readers {
			c.Grant(2)
		}
		resume()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(order) != n+n-10+n-20 {
			r.Fatalf("%d records were read, want %d", len(order), 3*n-30)
		}
		for i := range 3 {
			run := 0
			for _, who := range order[:n] {
				if run++; who == i {
					run = 0
				}
				if run > 20 {
					r.Fatalf("reader %d has waited for %d records of others: %v", i, run, order)
				}
			}
		}
	})
}

// TestStreamFolds: what is remembered of old records does not grow with the number of their chunks, and hides none of them.
func TestStreamFolds(t *testing.T) {
	tiny(t, queue.Rules{}, func(r *rig) {
		early := r.chunks(3000, 20)
		pass(time.Second)
		second := time.Now()
		late := r.chunks(10, 20)
		for i := 10; i > 0; i-- {
			late = strings.Replace(late, fmt.Sprintf("%d=", i), fmt.Sprintf("%d=", 3000+i), 1)
		}
		for range 2 {
			if n := r.q.Internals().Chunks; n > 10 {
				r.Errorf("%d chunks are remembered", n)
			}
			r.holds(early + " " + late)
			r.reader(written(second), 100).reads(late)
			r.reader(number(2999), 2).reads("2999=000002998x 3000=000002999x")
			r.crash()
		}
		r.noError("govern", r.q.Govern(queue.Rules{MaxBytes: queue.AtMost(21 * 1024)}))
		r.holds(strings.SplitN(early, " ", 2049)[2048] + " " + late)
		if n := r.disk.Len(); n != 962 {
			r.Errorf("%d entries, want 962", n)
		}
	})
}

// TestStreamLoses: what the log no longer has, or has damaged, is passed over and counted; the rest is delivered, and can be read after a restart.
func TestStreamLoses(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(r *rig)
		want   string
		lost   int
	}{
		"one that is missing":         {func(r *rig) { r.disk.Lose(3) }, "1=a 2=b 3=c 5=e 6=f 7=g", 1},
		"one that is damaged":         {func(r *rig) { r.disk.Corrupt(3) }, "1=a 2=b 3=c 5=e 6=f 7=g", 1},
		"the first":                   {func(r *rig) { r.disk.Corrupt(0) }, "2=b 3=c 4=d 5=e 6=f 7=g", 1},
		"most":                        {func(r *rig) { r.disk.Corrupt(0); r.disk.Corrupt(5); r.disk.Lose(4); r.disk.Lose(1) }, "3=c 4=d 7=g", 4},
		"all but the last":            {func(r *rig) { r.damageFirst(6) }, "7=g", 6},
		"one that is somebody else's": {func(r *rig) { r.disk.Replace(3, r.disk.Entries()[2].Data) }, "1=a 2=b 3=c 5=e 6=f 7=g", 1},
	} {
		for spread, between := range map[string]time.Duration{"folded": 0, "apart": time.Second} {
			t.Run(name+", "+spread, func(t *testing.T) {
				lost := 0
				cfg := queue.Config{Stream: true, Resident: 1, Observe: func(e queue.Event, n int) {
					if e == queue.EventLost {
						lost += n
					}
				}}
				synthetic(t, cfg, func(r *rig) {
					for _, rec := range []string{"a", "b", "c", "d", "e", "f", "g"} {
						r.chunk(rec)
						pass(between)
					}
					c.damage(r)
					r.holds(c.want)
					r.stats(strings.Count(c.want, "="), 0)
					r.holds(c.want)
					if lost != c.lost {
						r.Errorf("%d lost, want %d", lost, c.lost)
					}
					r.chunk("h")
					r.holds(c.want + " 8=h")
					r.crash()
					r.holds(c.want + " 8=h")
				})
			})
		}
	}
}

func (r *rig) damageFirst(n int) {
	for i := range n {
		r.disk.Corrupt(i)
	}
}

// TestStreamUnreadable: a log that cannot be read is tried again, and whoever wants nothing from it does not notice.
func TestStreamUnreadable(t *testing.T) {
	synthetic(t, queue.Config{Stream: true, Resident: 100}, func(r *rig) {
		for _, rec := range []string{"a", "b", "c"} {
			r.chunk(strings.Repeat(rec, 60))
		}
		r.disk.RefuseReads(true)
		old, another, fresh := r.reader(first(), 10), r.reader(number(2), 1), r.reader(queue.Offset{}, 10)
		old.reads("")
		pass(10 * queue.RetryDelay)
		old.reads("")
		r.chunk("d")
		fresh.reads("4=d")
		another.Close()
		r.disk.RefuseReads(false)
		pass(queue.RetryDelay)
		old.reads("1=aaaaaaaaaa 2=bbbbbbbbbb 3=cccccccccc 4=d")
		another.reads("")
	})
}

// TestStreamDropsWhatIsRead: retention overtakes a reader while its records are being read back.
func TestStreamDropsWhatIsRead(t *testing.T) {
	tiny(t, queue.Rules{}, func(r *rig) {
		r.chunk("a")
		pass(time.Second)
		r.chunk("b")
		pass(time.Second)
		r.disk.HoldReads(true)
		c := r.reader(first(), 10)
		c.reads("")
		r.noError("govern", r.q.Govern(queue.Rules{MaxBytes: queue.AtMost(1)}))
		r.disk.HoldReads(false)
		c.reads("2=b")
		r.stats(1, 0)
	})
}

// TestStreamEndsWhileReading: a queue that is closed, or deleted, while something is read back ends at once.
func TestStreamEndsWhileReading(t *testing.T) {
	for name, end := range map[string]func(q *queue.Queue) error{
		"close":  (*queue.Queue).Close,
		"delete": func(q *queue.Queue) error { _, err := q.Delete(false, false); return err },
	} {
		t.Run(name, func(t *testing.T) {
			tiny(t, queue.Rules{}, func(r *rig) {
				r.chunk("abc")
				pass(time.Second)
				r.disk.HoldReads(true)
				c := r.reader(first(), 10)
				c.reads("")
				r.noError(name, end(r.q))
				c.reads("")
			})
		})
	}
}
