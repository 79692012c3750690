package queuetest

import (
	"sync/atomic"
	"time"

	"portico/core/queue"
)

func rulesOfExpiry() map[string]func(h *harness) {
	return map[string]func(h *harness){
		"a record dies when its time is over":                 expires,
		"the shorter time counts":                             shorterTimeCounts,
		"only the head expires":                               onlyHeadExpires,
		"a record with no time at all is offered once":        noTimeAtAll,
		"a held record does not expire, and its time goes on": heldDoesNotExpire,
		"what expires is dead-lettered in order":              expiresInOrder,
		"a record dies though nobody asks":                    expiresUnasked,
		"get does not see what is over":                       getDoesNotSeeOver,
		"a clock that goes back makes records live longer":    clockGoesBack,
		"the longest time is for ever":                        extremeTimes,
		"the time goes on while the queue is closed":          reopensExpiry,
		"an unused queue is told":                             unusedIsTold,
	}
}

// clock is a Config.Now that stands still until it is put on.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	return c
}

func (c *clock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

// pass puts the clock on and lets the queue see it.
func (h *harness) pass(c *clock, ms int64) {
	h.Helper()
	c.ms.Add(ms)
	_, err := h.q.Stats()
	h.noError("stats", err)
}

// put appends a record and waits until it is kept.
func (h *harness) put(r queue.Record) {
	h.Helper()
	h.noError("append", h.tryPut(r))
}

func (h *harness) tryPut(r queue.Record) error {
	h.Helper()
	kept := make(chan error, 1)
	h.q.AppendFunc(r, func(err error) { kept <- err })
	return h.answer(kept)
}

// timed is a record that may wait for so many milliseconds.
func timed(data string, ms int64) queue.Record {
	return queue.Record{Data: []byte(data), TTL: queue.AtMost(ms)}
}

func expires(h *harness) {
	c, g := newClock(), graveyard{}
	h.open(queue.Config{Name: "q", Now: c.now, Rules: queue.Rules{TTL: queue.AtMost(1000), DeadLetter: g.bury}})
	h.fill("a")
	h.pass(c, 1)
	h.fill("b")
	h.pass(c, 998)
	h.stats(2, 0)
	g.wants(h)
	h.pass(c, 1)
	h.stats(1, 0)
	g.wants(h, "a expired 1 0")
	h.pass(c, 1)
	h.stats(0, 0)
	g.wants(h, "a expired 1 0", "b expired 2 0")
}

func shorterTimeCounts(h *harness) {
	for name, test := range map[string]struct {
		rule, own queue.Bound
		want      int64
	}{
		"the queue's": {queue.AtMost(10), queue.AtMost(20), 10},
		"its own":     {queue.AtMost(20), queue.AtMost(10), 10},
		"only its":    {queue.Bound{}, queue.AtMost(30), 30},
		"only the":    {queue.AtMost(30), queue.Bound{}, 30},
	} {
		c := newClock()
		h.open(queue.Config{Name: name, Now: c.now, Rules: queue.Rules{TTL: test.rule}})
		h.put(queue.Record{Data: []byte("a"), TTL: test.own})
		h.pass(c, test.want-1)
		h.stats(1, 0)
		h.pass(c, 1)
		h.stats(0, 0)
	}
}

func onlyHeadExpires(h *harness) {
	c, g := newClock(), graveyard{}
	h.open(queue.Config{Name: "q", Now: c.now, Rules: queue.Rules{DeadLetter: g.bury}})
	h.put(timed("head", 1000))
	h.put(timed("behind", 10))
	h.put(timed("last", 1000))
	h.pass(c, 500)
	h.stats(3, 0)
	if d, ok, err := h.q.Get(true, nil); !ok || err != nil || string(d.Record) != "head" || d.Ready != 1 { // what is over behind it has gone
		h.Fatalf("get: %q, %d left, %v, %v", d.Record, d.Ready, ok, err)
	}
	if d, ok, err := h.q.Get(true, nil); !ok || err != nil || string(d.Record) != "last" || d.Ready != 0 {
		h.Fatalf("get: %q, %d left, %v, %v", d.Record, d.Ready, ok, err)
	}
	h.stats(0, 0)
	g.wants(h, "behind expired 2 0")
}

func noTimeAtAll(h *harness) {
	c, g := newClock(), graveyard{}
	h.open(queue.Config{Name: "q", Now: c.now, Rules: queue.Rules{DeadLetter: g.bury}})
	h.put(timed("nobody's", 0))
	h.stats(0, 0)
	h.q.Append(timed("not for get", 0), nil, 0)
	if d, ok, err := h.q.Get(true, nil); ok || err != nil {
		h.Fatalf("get: %q, %v", d.Record, err)
	}
	s := h.consume(queue.ConsumerConfig{Credit: 1, Window: true})
	h.put(timed("offered", 0))
	ds := s.wants("offered")
	h.put(timed("nobody has room", 0))
	h.stats(0, 1)
	h.noError("requeue", h.settle(queue.Requeue, ds...))
	s.nothing()
	h.stats(0, 0)
	g.wants(h, "nobody has room expired 4 0", "nobody's expired 1 0", "not for get expired 2 0", "offered expired 3 1")
}

func heldDoesNotExpire(h *harness) {
	c, g := newClock(), graveyard{}
	h.open(queue.Config{Name: "q", Now: c.now, Rules: queue.Rules{TTL: queue.AtMost(100), DeadLetter: g.bury}})
	h.fill("acked", "returned late", "returned in time")
	s := h.consume(queue.ConsumerConfig{Credit: 3})
	ds := s.wants("acked", "returned late", "returned in time")
	h.pass(c, 99)
	h.noError("requeue", h.settle(queue.Requeue, ds[2]))
	h.pass(c, 0)
	h.stats(1, 2)
	h.pass(c, 1) // its time has not begun anew
	h.stats(0, 2)
	h.noError("ack", h.settle(queue.Ack, ds[0]))
	h.noError("requeue", h.settle(queue.Requeue, ds[1]))
	s.Grant(3)
	s.nothing()
	h.stats(0, 0)
	g.wants(h, "returned in time expired 3 1", "returned late expired 2 1")
}

func expiresInOrder(h *harness) {
	c, g := newClock(), graveyard{}
	h.open(queue.Config{Name: "q", Now: c.now, Rules: queue.Rules{TTL: queue.AtMost(100), DeadLetter: g.bury}})
	records := numbered(3000) // more than may be under way at once
	h.fill(records...)
	h.pass(c, 100)
	h.stats(0, 0)
	g.wantsOrder(h, records...)
}

// expiresUnasked is on real time: nobody asks the queue for anything.
func expiresUnasked(h *harness) {
	dead := make(chan error, 3)
	h.open(queue.Config{Name: "q", Rules: queue.Rules{DeadLetter: func(d queue.Dead, done func(error)) {
		done(nil)
		dead <- nil
	}}})
	s := h.consume(queue.ConsumerConfig{})
	h.q.Append(timed("a", 40), nil, 0)
	h.q.Append(timed("b", 20), nil, 0)
	h.q.Append(timed("c", 60), nil, 0)
	for range 3 {
		h.noError("dead letter", h.answer(dead))
	}
	s.Grant(1)
	s.nothing()
}

func getDoesNotSeeOver(h *harness) {
	c := newClock()
	h.open(queue.Config{Name: "q", Now: c.now})
	h.put(timed("a", 10))
	h.put(timed("b", 20))
	c.ms.Add(10) // and the queue has not looked since
	if d, ok, err := h.q.Get(true, nil); !ok || err != nil || string(d.Record) != "b" || d.Ready != 0 {
		h.Fatalf("get: %q, %d left, %v, %v", d.Record, d.Ready, ok, err)
	}
}

func clockGoesBack(h *harness) {
	c := newClock()
	h.open(queue.Config{Name: "q", Now: c.now})
	h.put(timed("a", 100))
	h.pass(c, -1000)
	h.put(timed("b", 100)) // behind it, and over earlier
	h.pass(c, 100)
	h.stats(2, 0)
	h.pass(c, 1000)
	h.stats(0, 0)
}

func extremeTimes(h *harness) {
	c := newClock()
	h.open(queue.Config{Name: "q", Now: c.now})
	h.put(timed("for ever", 1<<63-1))
	h.pass(c, 1<<40)
	h.stats(1, 0)
	h.put(timed("before it came", -1<<63))
	if d, ok, err := h.q.Get(true, nil); !ok || err != nil || string(d.Record) != "for ever" {
		h.Fatalf("get: %q, %v, %v", d.Record, ok, err)
	}
	h.stats(0, 0)
}

func reopensExpiry(h *harness) {
	h.needReopen()
	c := newClock()
	large := string(make([]byte, 600<<10))
	h.open(queue.Config{Name: "q", Now: c.now, Rules: queue.Rules{TTL: queue.AtMost(1000)}})
	h.put(timed("a", 100))
	h.put(timed("b", 200))
	h.put(timed(large, 300))
	h.fill("c")
	c.ms.Add(99)
	h.reopen()
	h.stats(4, 0)
	for _, left := range []int{3, 2, 1} {
		h.pass(c, 1)
		h.stats(left, 0)
		h.pass(c, 99)
	}
	h.stats(1, 0)
	c.ms.Add(700)
	h.reopen() // and it died meanwhile
	h.stats(0, 0)
}

func unusedIsTold(h *harness) {
	unused := make(chan error, 100)
	h.open(queue.Config{Name: "q", Rules: queue.Rules{Expires: 10 * time.Millisecond}, Unused: func() { unused <- nil }})
	h.noError("unused", h.answer(unused))
	h.noError("unused again", h.answer(unused))
	s := h.consume(queue.ConsumerConfig{})
	for len(unused) > 0 {
		<-unused //nolint:errcheck // it says that nobody uses the queue
	}
	s.nothing()
	s.Close()
	h.noError("unused after the last consumer", h.answer(unused))
	h.noError("govern", h.q.Govern(queue.Rules{}))
	h.q.Touch()
}
