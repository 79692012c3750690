package queue_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"portico/core/queue"
)

// stream runs test with a stream in synthetic time.
func stream(t *testing.T, rules queue.Rules, test func(r *rig)) {
	t.Helper()
	synthetic(t, queue.Config{Name: "s", Stream: true, Rules: rules}, test)
}

func first() queue.Offset               { return queue.Offset{From: queue.FromFirst} }
func number(n uint64) queue.Offset      { return queue.Offset{From: queue.FromNumber, Number: n} }
func written(at time.Time) queue.Offset { return queue.Offset{From: queue.FromTime, Time: at} }

// reader is a consumer from an offset on that holds at most so many.
func (r *rig) reader(from queue.Offset, credit int) *sink {
	r.Helper()
	return r.consume(queue.ConsumerConfig{Offset: from, Credit: credit, Window: true})
}

// reads checks what has come since the last time, as number=record separated by blanks.
func (s *sink) reads(want string) []queue.Handle {
	s.r.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	var hs []queue.Handle
	for _, d := range s.got {
		got = append(got, fmt.Sprintf("%d=%.10s", d.Seq, d.Record))
		hs = append(hs, d.Handle)
		if d.Attempt != 1 || d.Redelivered {
			s.r.Errorf("record %d has attempt %d, redelivered %t", d.Seq, d.Attempt, d.Redelivered)
		}
	}
	s.got = nil
	if strings.Join(got, " ") != want {
		s.r.Fatalf("read %.300q, want %.300q", strings.Join(got, " "), want)
	}
	return hs
}

// holds checks all that the stream has.
func (r *rig) holds(want string) {
	r.Helper()
	c := r.reader(first(), 1<<20)
	c.reads(want)
	c.Close()
}

// dozen writes three chunks of two, a second from one another, and returns when the second was written.
func (r *rig) dozen() (second time.Time) {
	r.Helper()
	r.chunk("a", "b")
	pass(time.Second)
	second = time.Now()
	r.chunk("c", "d")
	pass(time.Second)
	r.chunk("e", "f")
	pass(time.Second)
	return second
}

// TestStreamOffsets: where consumers begin, in a stream of records 1 to 6 to which 7 and 8 come later.
func TestStreamOffsets(t *testing.T) {
	const all = "1=a 2=b 3=c 4=d 5=e 6=f"
	stream(t, queue.Rules{}, func(r *rig) {
		second := r.dozen()
		cases := map[string]struct {
			from      queue.Offset
			now, then string
		}{
			"nothing said":             {queue.Offset{}, "", "7=g 8=h"},
			"next":                     {queue.Offset{From: queue.FromNext}, "", "7=g 8=h"},
			"first":                    {first(), all, "7=g 8=h"},
			"last":                     {queue.Offset{From: queue.FromLast}, "5=e 6=f", "7=g 8=h"},
			"number in a chunk":        {number(4), "4=d 5=e 6=f", "7=g 8=h"},
			"number of the first":      {number(1), all, "7=g 8=h"},
			"number before the first":  {number(0), all, "7=g 8=h"},
			"number of the next":       {number(7), "", "7=g 8=h"},
			"number beyond":            {number(8), "", "8=h"},
			"number far beyond":        {number(1 << 60), "", ""},
			"time before all":          {written(time.Unix(1, 0)), all, "7=g 8=h"},
			"time of a chunk":          {written(second), "3=c 4=d 5=e 6=f", "7=g 8=h"},
			"time between chunks":      {written(second.Add(time.Millisecond)), "5=e 6=f", "7=g 8=h"},
			"time of now":              {written(time.Now()), "", "7=g 8=h"},
			"time behind all, to come": {written(time.Now().Add(time.Hour)), "", "7=g 8=h"},
		}
		readers := map[string]*sink{}
		for name, c := range cases {
			readers[name] = r.reader(c.from, 100)
			synctest.Wait()
		}
		for name, c := range cases {
			r.T.Log(name)
			readers[name].reads(c.now)
		}
		r.chunk("g", "h")
		for name, c := range cases {
			r.T.Log(name)
			readers[name].reads(c.then)
		}
		s := r.stats(8, 0)
		if s.Consumers != len(cases) || s.Bytes != 8 {
			r.Errorf("stats %+v", s)
		}
	})
}

// TestStreamOffsetsOfNothing: an empty stream is waited for, whatever the offset.
func TestStreamOffsetsOfNothing(t *testing.T) {
	for name, from := range map[string]queue.Offset{
		"first": first(), "last": {From: queue.FromLast}, "next": {}, "number": number(1), "time": written(epoch),
	} {
		t.Run(name, func(t *testing.T) {
			stream(t, queue.Rules{}, func(r *rig) {
				c := r.reader(from, 10)
				c.reads("")
				r.chunk("a")
				c.reads("1=a")
			})
		})
	}
}

// TestStreamDeliversWhatIsWritten: and nothing before it is.
func TestStreamDeliversWhatIsWritten(t *testing.T) {
	stream(t, queue.Rules{}, func(r *rig) {
		early := r.reader(first(), 10)
		kept := r.pending("a", "b")
		more := r.append("c")
		late := r.reader(queue.Offset{}, 10)
		tail := r.reader(written(time.Now()), 10)
		early.reads("")
		kept[0].not()
		r.log.Release(1)
		early.reads("1=a 2=b")
		r.noError("append", kept[1].once())
		more.not()
		r.log.Hold(false)
		early.reads("3=c")
		late.reads("") // they were there when it came
		tail.reads("1=a 2=b 3=c")
		r.chunk("d")
		late.reads("4=d")
	})
}

// TestStreamRefusedAppend: a refused append leaves a hole, which moves no number, neither now nor after a restart; what was written after all is back then.
func TestStreamRefusedAppend(t *testing.T) {
	for name, c := range map[string]struct {
		set    func(r *rig, on bool)
		after  string
		behind string
	}{
		"refused": {func(r *rig, on bool) { r.disk.Refuse(on) }, "1=a 4=d", "5=e"},
		"doubted": {func(r *rig, on bool) { r.disk.Doubt(on) }, "1=a 2=b 3=c 4=d", "5=e"},
	} {
		t.Run(name, func(t *testing.T) {
			stream(t, queue.Rules{}, func(r *rig) {
				reader := r.reader(first(), 10)
				waits := r.reader(number(2), 10)
				r.chunk("a")
				c.set(r, true)
				kept := r.pending("b", "c")
				r.log.Hold(false)
				r.wants("append", kept[1].once(), errRefused)
				c.set(r, false)
				r.chunk("d")
				reader.reads("1=a 4=d")
				waits.reads("4=d")
				r.stats(2, 0)
				r.holds("1=a 4=d")
				r.crash()
				r.holds(c.after)
				r.chunk("e")
				r.reader(queue.Offset{From: queue.FromLast}, 10).reads(c.behind)
			})
		})
	}
}

// TestStreamRefusedAtTheEnd: numbers that nobody has had may be given once more.
func TestStreamRefusedAtTheEnd(t *testing.T) {
	stream(t, queue.Rules{}, func(r *rig) {
		r.chunk("a")
		r.disk.Refuse(true)
		r.wants("append", r.append("b").once(), errRefused)
		r.disk.Refuse(false)
		r.reopen()
		r.chunk("c")
		r.holds("1=a 2=c")
	})
}

// TestStreamSettlement: every outcome gives credit back to the one who had the record, once, and disturbs nobody else.
func TestStreamSettlement(t *testing.T) {
	for name, o := range map[string]queue.Outcome{"ack": queue.Ack, "requeue": queue.Requeue, "reject": queue.Reject} {
		t.Run(name, func(t *testing.T) {
			stream(t, queue.Rules{MaxDeliveries: 1}, func(r *rig) {
				r.dozen()
				limit := queue.NewLimit(3)
				a := r.consume(queue.ConsumerConfig{Offset: first(), Credit: 4, Window: true, Limit: limit})
				b := r.reader(first(), 2)
				hs := a.reads("1=a 2=b 3=c")
				other := b.reads("1=a 2=b")
				r.noError("settle", r.settle(o, hs[1], hs[0]).once())
				a.reads("4=d 5=e")
				b.reads("")
				r.wants("settle twice", r.settle(o, hs[0]).once(), queue.ErrStale)
				r.wants("one stale of two", r.settle(o, hs[0], other[1]).once(), queue.ErrStale)
				a.reads("")
				b.reads("3=c")
				r.wants("settle what nobody has", r.settle(o, queue.Handle{Seq: 1, Attempt: 1}).once(), queue.ErrStale)
				a.Close()
				if n := limit.Held(); n != 0 {
					r.Errorf("%d of the limit are held by a consumer that is closed", n)
				}
				r.wants("settle after close", r.settle(o, hs[2]).once(), queue.ErrStale)
				b.Cancel()
				r.noError("settle after cancel", r.settle(o, other[0]).once())
				b.Close()
				if x := r.q.Internals(); x.Owners != 0 {
					r.Errorf("%d owners are left", x.Owners)
				}
				r.stats(6, 0)
				r.holds("1=a 2=b 3=c 4=d 5=e 6=f")
			})
		})
	}
}

// TestStreamGrant: without a window credit is what is granted; settlements still find what is held.
func TestStreamGrant(t *testing.T) {
	stream(t, queue.Rules{}, func(r *rig) {
		c := r.consume(queue.ConsumerConfig{Offset: first()})
		r.dozen()
		c.reads("")
		c.Grant(3)
		hs := c.reads("1=a 2=b 3=c")
		r.noError("settle the middle", r.settle(queue.Ack, hs[1]).once())
		r.noError("settle the ends", r.settle(queue.Ack, hs[2], hs[0]).once())
		c.reads("")
		c.Grant(queue.Unlimited)
		c.reads("4=d 5=e 6=f")
	})
}

// TestStreamRefuses: nothing is taken from a stream.
func TestStreamRefuses(t *testing.T) {
	stream(t, queue.Rules{}, func(r *rig) {
		r.chunk("a")
		for name, do := range map[string]func() error{
			"auto ack": func() error { _, err := r.q.Consume(queue.ConsumerConfig{AutoAck: true}); return err },
			"lease":    func() error { _, err := r.q.Consume(queue.ConsumerConfig{Lease: time.Second}); return err },
			"get":      func() error { _, _, err := r.q.Get(true, nil); return err },
			"holder":   func() error { _, err := r.q.Holder(); return err },
			"purge":    func() error { _, err := r.q.Purge(); return err },
			"extend":   func() error { return r.q.Extend(queue.Handle{Seq: 1, Attempt: 1}, time.Second) },
		} {
			r.wants(name, do(), queue.ErrStream)
		}
		_, err := r.q.Delete(false, true)
		r.wants("delete if empty", err, queue.ErrNotEmpty)
		if s := r.stats(1, 0); s.Consumers != 0 {
			r.Errorf("%d consumers", s.Consumers)
		}
	})
	if _, err := queue.Open(queue.Config{Stream: true}, nil); err == nil {
		t.Error("a stream in memory is opened")
	}
}

// TestStreamIgnores: rules of other queues take nothing out of a stream.
func TestStreamIgnores(t *testing.T) {
	rules := queue.Rules{MaxLength: queue.AtMost(1), TTL: queue.AtMost(1), MaxDeliveries: 1, Overflow: queue.RejectPublish}
	stream(t, rules, func(r *rig) {
		r.kept(queue.Record{Data: []byte("a"), TTL: queue.AtMost(0), Priority: 9})
		r.kept(queue.Record{Data: []byte("b")})
		pass(time.Hour)
		r.holds("1=a 2=b")
		high := r.consume(queue.ConsumerConfig{Credit: 1, Window: true, Priority: 5})
		low := r.consume(queue.ConsumerConfig{Credit: 1, Window: true})
		r.chunk("c")
		high.reads("3=c")
		low.reads("3=c")
		r.reopen()
		r.holds("1=a 2=b 3=c")
	})
}

// TestStreamEnds: those who read are told, and what they settle afterwards is answered.
func TestStreamEnds(t *testing.T) {
	stream(t, queue.Rules{}, func(r *rig) {
		r.chunk("a")
		c := r.reader(first(), 1)
		hs := c.reads("1=a")
		n, err := r.q.Delete(false, false)
		if n != 1 || err != nil {
			r.Fatalf("delete: %d, %v", n, err)
		}
		if len(c.gone) != 1 || !errors.Is(c.gone[0], queue.ErrDeleted) {
			r.Errorf("told %v", c.gone)
		}
		r.wants("settle", r.settle(queue.Ack, hs[0]).once(), queue.ErrDeleted)
		if r.disk.Len() != 0 {
			r.Errorf("%d entries are left", r.disk.Len())
		}
	})
}
