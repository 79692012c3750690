package queuetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"portico/core/queue"
)

func rulesOfSettle() map[string]func(h *harness) {
	return map[string]func(h *harness){
		"ack removes":                           ackRemoves,
		"requeue returns to the original place": requeueReturns,
		"stale handles are passed over":         staleHandles,
		"a durable settlement is told":          settleTells,
		"close returns what the consumer holds": closeReturns,
		"cancel leaves it held":                 cancelHolds,
		"deliveries are limited":                deliveriesAreLimited,
		"a consumer's end counts as a delivery": consumerLossCounts,
		"a rejected record is dead-lettered":    rejects,
		"dead-lettering is tried again":         deadLetterRetries,
		"purge removes what is ready":           purges,
		"delete looks at its conditions":        deleteConditions,
		"a deleted queue tells everybody":       deletes,
		"a closed queue tells everybody":        closes,
		"the last consumer's leaving is told":   idles,
		"a lease runs out":                      leaseRunsOut,
		"a lease is extended":                   leaseIsExtended,
		"events are counted":                    observes,
		"bytes are counted":                     countsBytes,
	}
}

func ackRemoves(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(5)...)
	c := h.consume(queue.ConsumerConfig{Credit: 3})
	ds := c.next(3)
	h.noError("ack", h.settle(queue.Ack, ds[2], ds[0]))
	h.stats(2, 1)
	c.Close()
	h.consume(queue.ConsumerConfig{Credit: queue.Unlimited}).wants("record 1", "record 3", "record 4")
}

func requeueReturns(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(6)...)
	c := h.consume(queue.ConsumerConfig{Credit: 5})
	ds := c.next(5)
	h.noError("requeue", h.settle(queue.Requeue, ds[3], ds[1]))
	c.Grant(3)
	again := c.wants("record 1", "record 3", "record 5")
	for i, want := range []bool{true, true, false} {
		if again[i].Redelivered != want {
			h.Fatalf("%q: redelivered %v", again[i].Record, again[i].Redelivered)
		}
	}
	if again[0].Handle != (queue.Handle{Seq: 2, Attempt: 2}) {
		h.Fatalf("the second delivery's handle is %+v", again[0].Handle)
	}
	h.stats(0, 6)
}

func staleHandles(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(4)...)
	c := h.consume(queue.ConsumerConfig{Credit: 3})
	ds := c.next(3)
	h.noError("requeue", h.settle(queue.Requeue, ds[0]))
	c.Grant(1)
	c.wants("record 0")
	h.noError("ack", h.settle(queue.Ack, ds[1]))
	for name, stale := range map[string]queue.Handle{
		"nobody's": {}, "an earlier attempt": ds[0].Handle, "settled": ds[1].Handle, "ready": {Seq: 4, Attempt: 1},
		"never delivered": {Seq: 4}, "not there": {Seq: 5, Attempt: 1}, "far away": {Seq: 1<<64 - 1, Attempt: 1},
	} {
		h.wants(name, h.settle(queue.Ack, queue.Delivery{Handle: stale}), queue.ErrStale)
		h.wants("extend: "+name, h.q.Extend(stale, time.Minute), queue.ErrStale)
	}
	h.stats(1, 2)
	h.wants("one stale of two", h.settle(queue.Ack, ds[1], ds[2]), queue.ErrStale)
	h.stats(1, 1) // the other was settled
}

func settleTells(h *harness) {
	h.open(queue.Config{Name: "q"})
	c := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
	for i := range 20 {
		h.q.Append(queue.Record{Data: []byte("a")}, nil, 0) // perhaps it is settled before it is kept
		h.noError("settle", h.settle(queue.Outcome(i%3), c.next(1)...))
		if queue.Outcome(i%3) == queue.Requeue {
			h.noError("ack", h.settle(queue.Ack, c.next(1)...))
		}
	}
	h.noError("settle nothing", h.settle(queue.Ack))
	h.stats(0, 0)
}

func closeReturns(h *harness) {
	h.open(queue.Config{Name: "q"})
	records := numbered(1000)
	h.fill(records...)
	c := h.consume(queue.ConsumerConfig{Credit: 700})
	h.noError("ack", h.settle(queue.Ack, c.next(700)[:350]...))
	c.Close()
	c.Close()
	if s := h.stats(650, 0); s.Consumers != 0 {
		h.Fatal("the consumer is still there")
	}
	other := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
	for i, d := range other.wants(records[350:]...) {
		if d.Redelivered != (i < 350) {
			h.Fatalf("%q: redelivered %v", d.Record, d.Redelivered)
		}
	}
}

func cancelHolds(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(4)...)
	c := h.consume(queue.ConsumerConfig{Credit: 2, Window: true})
	ds := c.next(2)
	c.Cancel()
	c.Grant(5)
	c.Wake()
	h.noError("ack", h.settle(queue.Ack, ds[0]))
	c.nothing()
	if s := h.stats(2, 1); s.Consumers != 0 {
		h.Fatal("the consumer still counts")
	}
	c.Close()
	h.stats(3, 0)
}

// graveyard takes dead letters, and refuses the first few.
type graveyard struct {
	mu     sync.Mutex
	refuse int
	dead   []queue.Dead
}

func (g *graveyard) bury(d queue.Dead, done func(error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refuse > 0 {
		g.refuse--
		go done(errors.New("no room"))
		return
	}
	g.dead = append(g.dead, d)
	go done(nil)
}

// wants checks what has been buried, in any order.
func (g *graveyard) wants(h *harness, want ...string) {
	h.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	var got []string
	for _, d := range g.dead {
		got = append(got, fmt.Sprint(string(d.Record), " ", d.Reason, " ", d.Seq, " ", d.Count))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		h.Fatalf("dead letters %q, want %q", got, want)
	}
}

// wantsOrder checks what has been buried, in that order.
func (g *graveyard) wantsOrder(h *harness, want ...string) {
	h.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.dead) != len(want) {
		h.Fatalf("%d dead letters, want %d", len(g.dead), len(want))
	}
	for i, d := range g.dead {
		if string(d.Record) != want[i] {
			h.Fatalf("dead letter %d is %q, want %q", i, d.Record, want[i])
		}
	}
}

func deliveriesAreLimited(h *harness) {
	var g graveyard
	for name, bury := range map[string]func(queue.Dead, func(error)){"without": nil, "with": g.bury} {
		h.Log(name, "dead letters")
		h.open(queue.Config{Name: name, Rules: queue.Rules{MaxDeliveries: 2, DeadLetter: bury}})
		h.fill(numbered(3)...)
		c := h.consume(queue.ConsumerConfig{Credit: 2})
		h.noError("requeue", h.settle(queue.Requeue, c.wants("record 0", "record 1")...))
		c.Grant(2)
		h.noError("requeue", h.settle(queue.Requeue, c.wants("record 0", "record 1")...))
		c.Grant(2)
		c.wants("record 2")
		c.nothing()
		h.stats(0, 1)
	}
	g.wants(h, "record 0 delivery_limit 1 2", "record 1 delivery_limit 2 2")
}

func consumerLossCounts(h *harness) {
	var g graveyard
	for name, bury := range map[string]func(queue.Dead, func(error)){"without": nil, "with": g.bury} {
		h.Log(name, "dead letters")
		h.open(queue.Config{Name: name, Rules: queue.Rules{MaxDeliveries: 1, DeadLetter: bury}})
		records := numbered(3000)
		h.fill(records...)
		c := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
		var keep, ack []queue.Delivery
		for i, d := range c.next(3000) { // chunks that are settled whole between others that die now
			if i/600%2 == 0 {
				keep = append(keep, d)
			} else {
				ack = append(ack, d)
			}
		}
		h.noError("ack", h.settle(queue.Ack, ack...))
		h.stats(0, len(keep))
		c.Close()
		h.stats(0, 0)
	}
	if len(g.dead) != 1800 {
		h.Fatalf("%d dead letters, want 1800", len(g.dead))
	}
}

func rejects(h *harness) {
	var g graveyard
	h.open(queue.Config{Name: "q", Rules: queue.Rules{DeadLetter: g.bury}})
	h.fill(numbered(3)...)
	c := h.consume(queue.ConsumerConfig{Credit: 2, Window: true})
	h.noError("reject", h.settle(queue.Reject, c.next(2)...))
	c.wants("record 2") // the window does not wait for the dead letters
	h.stats(0, 1)
	g.wants(h, "record 0 rejected 1 1", "record 1 rejected 2 1")
}

func deadLetterRetries(h *harness) {
	g := graveyard{refuse: 2}
	h.open(queue.Config{Name: "q", Rules: queue.Rules{DeadLetter: g.bury}})
	h.fill(numbered(2)...)
	c := h.consume(queue.ConsumerConfig{Credit: 2})
	ds := c.next(2)
	h.q.Settle(queue.Reject, handles(ds), nil)
	h.stats(0, 2) // dead, and not settled yet
	h.wants("ack of the dead", h.settle(queue.Ack, ds[0]), queue.ErrStale)
	h.stats(0, 0)
	g.wants(h, "record 0 rejected 1 1", "record 1 rejected 2 1")
}

func purges(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(3000)...)
	c := h.consume(queue.ConsumerConfig{Credit: 10})
	ds := c.next(10)
	h.noError("requeue", h.settle(queue.Requeue, ds[9]))
	if n, err := h.q.Purge(); n != 2991 || err != nil {
		h.Fatalf("purge: %d, %v", n, err)
	}
	h.stats(0, 9)
	h.fill("new")
	c.Grant(1)
	c.wants("new")
	c.Close()
	h.stats(10, 0)
	if n, err := h.q.Purge(); n != 10 || err != nil {
		h.Fatalf("purge again: %d, %v", n, err)
	}
	if n, err := h.q.Purge(); n != 0 || err != nil {
		h.Fatalf("purge an empty queue: %d, %v", n, err)
	}
}

func deleteConditions(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill("a", "b")
	c := h.consume(queue.ConsumerConfig{Credit: 1})
	c.wants("a")
	_, err := h.q.Delete(true, false)
	h.wants("delete if unused", err, queue.ErrInUse)
	_, err = h.q.Delete(false, true)
	h.wants("delete if empty", err, queue.ErrNotEmpty)
	h.stats(1, 1)
	if n, err := h.q.Delete(false, false); n != 1 || err != nil {
		h.Fatalf("delete: %d, %v", n, err)
	}
	h.wants("gone", h.answer(c.gone), queue.ErrDeleted)
}

func deletes(h *harness) {
	h.open(queue.Config{Name: "q"})
	c := h.consume(queue.ConsumerConfig{})
	_, err := h.q.Delete(false, false)
	h.noError("delete", err)
	h.refuses(c, queue.ErrDeleted)
}

func closes(h *harness) {
	h.open(queue.Config{Name: "q"})
	c := h.consume(queue.ConsumerConfig{})
	h.noError("close", h.q.Close())
	h.refuses(c, queue.ErrClosed)
}

// refuses makes sure that a queue that has ended says so, whatever it is asked.
func (h *harness) refuses(c *sink, want error) {
	h.Helper()
	h.wants("gone", h.answer(c.gone), want)
	told := make(chan error, 1)
	h.q.AppendFunc(queue.Record{Data: []byte("late")}, func(err error) { told <- err })
	h.wants("append", h.answer(told), want)
	h.wants("settle", h.settle(queue.Ack), want)
	_, err := h.q.Stats()
	h.wants("stats", err, want)
	_, _, err = h.q.Get(true, nil)
	h.wants("get", err, want)
	_, err = h.q.Purge()
	h.wants("purge", err, want)
	_, err = h.q.Holder()
	h.wants("holder", err, want)
	h.wants("extend", h.q.Extend(queue.Handle{Seq: 1, Attempt: 1}, time.Second), want)
	_, err = h.tryConsume(h.q, queue.ConsumerConfig{})
	h.wants("consume", err, want)
	h.wants("close", h.q.Close(), want)
	c.Grant(1)
	c.Close()
	if len(c.gone) > 0 {
		h.Fatal("the consumer was told twice")
	}
}

func idles(h *harness) {
	idle := make(chan error, 4)
	h.open(queue.Config{Name: "q", Idle: func() { idle <- nil }})
	a, b := h.consume(queue.ConsumerConfig{}), h.consume(queue.ConsumerConfig{})
	a.Close()
	a.Close()
	b.nothing()
	if len(idle) > 0 {
		h.Fatal("told while there was a consumer")
	}
	b.Cancel()
	h.noError("idle", h.answer(idle))
}

func leaseRunsOut(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill("a", "b")
	c := h.consume(queue.ConsumerConfig{Credit: 2, Lease: 30 * time.Millisecond})
	ds := c.wants("a", "b")
	h.noError("ack", h.settle(queue.Ack, ds[0]))
	c.Cancel() // a lease runs out all the same
	h.stats(1, 0)
	h.wants("ack", h.settle(queue.Ack, ds[1]), queue.ErrStale)
	if d := h.consume(queue.ConsumerConfig{Credit: 1}).wants("b")[0]; !d.Redelivered || d.Attempt != 2 {
		h.Fatalf("redelivered %v, attempt %d", d.Redelivered, d.Attempt)
	}
}

func leaseIsExtended(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill("a", "b")
	c := h.consume(queue.ConsumerConfig{Credit: 2, Lease: time.Hour})
	ds := c.wants("a", "b")
	h.noError("extend", h.q.Extend(ds[1].Handle, time.Millisecond)) // shorter counts as well
	h.stats(1, 1)
	h.noError("extend", h.q.Extend(ds[0].Handle, 2*time.Hour))
	h.noError("ack", h.settle(queue.Ack, ds[0]))
	h.wants("extend", h.q.Extend(ds[0].Handle, time.Hour), queue.ErrStale)
}

func observes(h *harness) {
	var mu sync.Mutex
	counts := map[queue.Event]int{}
	h.open(queue.Config{Name: "q", Observe: func(e queue.Event, n int) {
		mu.Lock()
		defer mu.Unlock()
		counts[e] += n
	}})
	h.fill(numbered(6)...)
	c := h.consume(queue.ConsumerConfig{Credit: 6})
	ds := c.next(6)
	h.noError("ack", h.settle(queue.Ack, ds[:3]...))
	h.noError("reject", h.settle(queue.Reject, ds[3]))
	h.noError("requeue", h.settle(queue.Requeue, ds[4:]...))
	c.Grant(2)
	c.next(2)
	h.noError("close", h.q.Close())
	mu.Lock()
	defer mu.Unlock()
	want := map[queue.Event]int{
		queue.EventAppended: 6, queue.EventDelivered: 8, queue.EventRedelivered: 2, queue.EventAcked: 3, queue.EventDead: 1,
	}
	for e := queue.EventAppended; e <= queue.EventLost; e++ {
		if counts[e] != want[e] {
			h.Errorf("event %d was counted %d times, want %d", e, counts[e], want[e])
		}
	}
}

func countsBytes(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill("1", "22", "333", "4444")
	c := h.consume(queue.ConsumerConfig{Credit: 3})
	ds := c.next(3)
	for i, want := range []int64{9, 7, 4} {
		h.noError("ack", h.settle(queue.Ack, ds[i]))
		if s := h.stats(1, 2-i); s.Bytes != want || s.Resident != want {
			h.Fatalf("%d bytes, %d resident; want %d", s.Bytes, s.Resident, want)
		}
	}
}
