package queue_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
)

// priority returns a record with the priority that it begins with.
func priority(data string) queue.Record {
	return queue.Record{Data: []byte(data), Priority: data[0] - '0'}
}

// TestPriorityBacklog: a backlog with priorities much larger than memory is delivered whole and in order, with bounded memory, also after it was held and reopened.
func TestPriorityBacklog(t *testing.T) {
	const (
		n        = 20_000
		resident = 128 << 10
	)
	synthetic(t, queue.Config{Resident: resident, MaxPriority: 9}, func(r *rig) {
		var want []string
		for i := range n {
			want = append(want, fmt.Sprintf("%d %048d", i*7%10, i))
			r.q.Append(priority(want[i]), nil, 0)
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		slices.SortStableFunc(want, func(a, b string) int { return strings.Compare(b[:1], a[:1]) })
		bounded := func(ready, unacked int) {
			r.Helper()
			if s := r.stats(ready, unacked); s.Resident > 2*resident || s.Bytes != 50*n {
				r.Fatalf("%d of %d bytes resident", s.Resident, s.Bytes)
			}
		}
		bounded(n, 0)
		for _, again := range []bool{false, true} {
			c := r.all()
			synctest.Wait()
			for i, d := range c.got {
				if string(d.Record) != want[i] || d.Redelivered != again {
					r.Fatalf("%q at %d, redelivered %v, want %q", d.Record, i, d.Redelivered, want[i])
				}
			}
			bounded(0, n)
			pass(journalled)
			c.Close()
			bounded(n, 0)
			r.reopen()
			bounded(n, 0)
		}
	})
}

// TestPriorityRedelivery: with priorities the log knows of each record whether it was delivered, not only up to which.
func TestPriorityRedelivery(t *testing.T) {
	tests := map[string]struct {
		deliver func(r *rig)
		want    []string
	}{
		"one from behind": {func(r *rig) {
			r.chunk2("0 a", "5 b", "0 c")
			r.consume(queue.ConsumerConfig{Credit: 1}).wants("5 b")
		}, []string{"5 b*", "0 a", "0 c"}},
		"one that was returned": {func(r *rig) {
			r.chunk2("0 a", "5 b", "0 c")
			c := r.consume(queue.ConsumerConfig{Credit: 2})
			c.wants("5 b", "0 a")
			c.Close()
		}, []string{"5 b*", "0 a*", "0 c"}},
		"before it was kept": {func(r *rig) {
			r.pending("first")
			r.put(priority("0 a"))
			r.put(priority("5 b"))
			r.consume(queue.ConsumerConfig{Credit: 1}).wants("5 b")
			pass(journalled)
			r.log.Hold(false)
		}, []string{"5 b*", "first", "0 a"}},
		"and settled": {func(r *rig) {
			r.chunk2("0 a", "5 b", "0 c")
			r.chunk2("0 d", "5 e", "0 f")
			c := r.consume(queue.ConsumerConfig{Credit: 3})
			hs := c.wants("5 b", "5 e", "0 a")
			r.noError("settle", r.settle(queue.Ack, hs[1]).once())
		}, []string{"5 b*", "0 a*", "0 c", "0 d", "0 f"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synthetic(t, queue.Config{MaxPriority: 5}, func(r *rig) {
				test.deliver(r)
				for range 2 {
					pass(journalled)
					r.crash()
					c := r.all()
					c.wants(test.want...)
					r.crash() // nothing of these deliveries was journalled
				}
			})
		})
	}
}

// chunk2 appends records with priorities that share a chunk.
func (r *rig) chunk2(records ...string) {
	r.Helper()
	resume := r.q.Stall()
	synctest.Wait()
	var kept []*told
	for _, rec := range records {
		kept = append(kept, r.put(priority(rec)))
	}
	resume()
	for _, k := range kept {
		r.noError(k.what, k.once())
	}
}

// TestPriorityStaleHandle: a record that was delivered and returned before it was kept, and then dropped from memory, knows how often it was delivered.
func TestPriorityStaleHandle(t *testing.T) {
	synthetic(t, queue.Config{MaxPriority: 5, Resident: 1}, func(r *rig) {
		r.chunk2("0 first")
		r.log.Hold(true)
		synctest.Wait()
		r.put(priority("5 a"))
		c := r.consume(queue.ConsumerConfig{Credit: 1})
		former := c.wants("5 a")
		c.Close()
		r.log.Hold(false)
		r.stats(2, 0)
		if s := r.stats(2, 0); s.Resident > int64(len("0 first")) {
			r.Fatalf("%d bytes resident", s.Resident)
		}
		h := r.consume(queue.ConsumerConfig{Credit: 1}).wants("5 a*")
		if h[0].Attempt != 2 {
			r.Fatalf("attempt %d", h[0].Attempt)
		}
		r.wants("settle", r.settle(queue.Ack, former...).once(), queue.ErrStale)
		r.noError("settle", r.settle(queue.Ack, h...).once())
	})
}

// TestPriorityLost: what the log has lost does not disturb the order of the rest.
func TestPriorityLost(t *testing.T) {
	synthetic(t, queue.Config{MaxPriority: 5, Resident: 1}, func(r *rig) {
		r.chunk2("0 a", "3 b")
		r.chunk2("0 c", "5 d", "1 e")
		r.chunk2("0 f", "4 g")
		r.disk.Lose(1)
		r.all().wants("4 g", "3 b", "0 a", "0 f")
		if s := r.stats(0, 4); s.Bytes != 12 {
			r.Fatalf("%d bytes", s.Bytes)
		}
	})
}

// TestPriorityIsSlim: a queue with priorities that is idle and empty keeps nothing.
func TestPriorityIsSlim(t *testing.T) {
	everywhere(t, func() queue.Config { return queue.Config{MaxPriority: 255} }, func(r *rig) {
		for i := range 20_000 {
			r.q.Append(queue.Record{Data: []byte("x"), Priority: uint8(i)}, nil, 0)
		}
		r.stats(20_000, 0)
		c := r.all()
		r.stats(0, 20_000)
		c.Close()
		r.stats(20_000, 0)
		if n := r.q.Internals().Heaped; n < 20_000 {
			r.Fatalf("%d numbers in order", n)
		}
		if n, err := r.q.Purge(); n != 20_000 || err != nil {
			r.Fatalf("purge: %d, %v", n, err)
		}
		r.kept(priority("1 a"))
		r.consume(queue.ConsumerConfig{Credit: queue.Unlimited, AutoAck: true}).wants("1 a")
		pass(11 * time.Second)
		if x := r.q.Internals(); x.Heaped != 0 || x.Chunks > 1 || x.Spare > 8 {
			r.Fatalf("%+v", x)
		}
	})
}

// TestRotaIsSwept: consumers that come and go with ever new priorities leave nothing behind.
func TestRotaIsSwept(t *testing.T) {
	everywhere(t, func() queue.Config { return queue.Config{} }, func(r *rig) {
		r.consume(queue.ConsumerConfig{Credit: 1})
		for i := range 1000 {
			c := r.consume(queue.ConsumerConfig{Priority: i - 500, Credit: 1})
			synctest.Wait()
			c.Close()
		}
		if x := r.q.Internals(); x.Shifts > 1 || x.Owners != 1 {
			r.Fatalf("%+v", x)
		}
	})
}

// TestSingleActiveEnd: the one that is active has gone with its queue, and so have those that wait.
func TestSingleActiveEnd(t *testing.T) {
	everywhere(t, func() queue.Config { return queue.Config{SingleActive: true} }, func(r *rig) {
		a, b := r.all(), r.all()
		r.kept(queue.Record{Data: []byte("a")})
		h := a.wants("a")
		r.noError("close", r.q.Close())
		if len(a.gone) != 1 || len(b.gone) != 1 {
			r.Fatalf("gone: %v, %v", a.gone, b.gone)
		}
		a.Close()
		b.wants()
		r.wants("settle", r.settle(queue.Ack, h...).once(), queue.ErrClosed)
	})
}
