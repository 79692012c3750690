package queuetest

import (
	"bytes"
	"fmt"

	"portico/core/queue"
)

func rulesOfLimits() map[string]func(h *harness) {
	return map[string]func(h *harness){
		"a full queue drops its head":                        dropsHead,
		"a full queue without dead letters forgets its head": dropsWithoutDeadLetters,
		"bytes are limited":                                  limitsBytes,
		"what is held does not count":                        heldDoNotCount,
		"what a consumer can take is not dropped":            takersComeFirst,
		"a return into a full queue drops the head":          returnsDropHead,
		"a full queue refuses, and takes what comes back":    refusesPublish,
		"what a consumer can take is not refused":            refusesLate,
		"what is refused is dead-lettered":                   buriesRefused,
		"a new length holds for what is there":               governsLength,
		"a new weight holds for what is there":               governsBytes,
		"a new time does not hold for what is there":         governsTime,
		"the dead go where the new rules say":                governsDeadLetters,
		"a new limit of deliveries counts those before":      governsDeliveries,
		"a queue that has dropped much is empty when it is":  drainsAfterDrops,
		"what was dropped does not come back":                reopensDropped,
		"a weight is there again":                            reopensWeight,
	}
}

func dropsHead(h *harness) {
	var g graveyard
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxLength: queue.AtMost(3), DeadLetter: g.bury}})
	h.fill(numbered(5)...) // all are told that they are kept
	h.stats(3, 0)
	g.wants(h, "record 0 maxlen 1 0", "record 1 maxlen 2 0")
	h.consume(queue.ConsumerConfig{Credit: queue.Unlimited}).wants("record 2", "record 3", "record 4")
}

func dropsWithoutDeadLetters(h *harness) {
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxLength: queue.AtMost(1000)}})
	records := numbered(3000)
	h.fill(records...)
	h.stats(1000, 0)
	h.consume(queue.ConsumerConfig{Credit: queue.Unlimited}).wants(records[2000:]...)
	h.stats(0, 1000)
}

func limitsBytes(h *harness) {
	body := func(d []byte) int { return len(d) - bytes.IndexByte(d, ' ') - 1 }
	h.open(queue.Config{Name: "q", Weigh: body, Rules: queue.Rules{MaxBytes: queue.AtMost(10)}})
	h.fill("header 12345", "long_header 12345")
	h.stats(2, 0)
	h.fill("h 1")
	h.stats(2, 0)
	h.fill("h 1234", "h ") // exactly ten, and one that weighs nothing
	if s := h.stats(4, 0); s.Bytes != int64(len("long_header 12345"+"h 1"+"h 1234"+"h ")) {
		h.Fatalf("%d bytes", s.Bytes)
	}
	h.fill("h 12345678901") // drops everything, and itself
	h.stats(0, 0)
	h.fill("h 1234567890")
	s := h.consume(queue.ConsumerConfig{Credit: 1})
	ds := s.wants("h 1234567890") // does not weigh any more
	h.fill("h 123456")
	h.noError("requeue", h.settle(queue.Requeue, ds...))
	h.stats(1, 0)
	s.Grant(1)
	s.wants("h 123456")
}

func heldDoNotCount(h *harness) {
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxLength: queue.AtMost(2)}})
	s := h.consume(queue.ConsumerConfig{Credit: 3})
	h.fill(numbered(5)...)
	s.wants("record 0", "record 1", "record 2")
	h.stats(2, 3)
}

func takersComeFirst(h *harness) {
	var g graveyard
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxLength: queue.AtMost(0), DeadLetter: g.bury}})
	h.fill("nobody's")
	s := h.consume(queue.ConsumerConfig{Credit: 2})
	h.fill(numbered(3)...)
	ds := s.wants("record 0", "record 1")
	h.stats(0, 2)
	h.noError("requeue", h.settle(queue.Requeue, ds[0])) // into a queue that has no room for it
	h.stats(0, 1)
	g.wants(h, "nobody's maxlen 1 0", "record 0 maxlen 2 1", "record 2 maxlen 4 0")
}

func returnsDropHead(h *harness) {
	var g graveyard
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxLength: queue.AtMost(3), DeadLetter: g.bury}})
	h.fill(numbered(3)...)
	s := h.consume(queue.ConsumerConfig{Credit: 3})
	ds := s.wants("record 0", "record 1", "record 2")
	h.fill("later 0", "later 1")
	h.noError("requeue", h.settle(queue.Requeue, ds[1], ds[0])) // the first of them is the head then
	h.stats(3, 1)
	g.wants(h, "record 0 maxlen 1 1")
	s.Close()
	h.stats(3, 0)
	g.wants(h, "record 0 maxlen 1 1", "record 1 maxlen 2 1")
	h.consume(queue.ConsumerConfig{Credit: 3}).wants("record 2", "later 0", "later 1")
}

func refusesPublish(h *harness) {
	var g graveyard
	h.open(queue.Config{Name: "q", Rules: queue.Rules{
		MaxLength: queue.AtMost(2), MaxBytes: queue.AtMost(10), Overflow: queue.RejectPublish, DeadLetter: g.bury,
	}})
	h.fill("first", "second"[:5])
	h.wants("append to a full queue", h.tryPut(queue.Record{Data: []byte("x")}), queue.ErrOverflow)
	if d, ok, err := h.q.Get(true, nil); !ok || err != nil || string(d.Record) != "first" {
		h.Fatalf("get: %q, %v, %v", d.Record, ok, err)
	}
	h.wants("append of too much", h.tryPut(queue.Record{Data: []byte("123456")}), queue.ErrOverflow)
	h.fill("12345")
	s := h.consume(queue.ConsumerConfig{Credit: 3})
	ds := s.wants("secon", "12345")
	h.fill("for s", "stays", "here.")
	s.wants("for s")
	h.wants("append", h.tryPut(queue.Record{Data: []byte("")}), queue.ErrOverflow)
	h.noError("requeue", h.settle(queue.Requeue, ds...)) // what comes back is taken
	h.stats(4, 1)
	g.wants(h)
}

// refusesLate asks the limit when consumers have taken what they can, although it all came at once.
func refusesLate(h *harness) {
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxLength: queue.AtMost(1), Overflow: queue.RejectPublish}})
	s := h.consume(queue.ConsumerConfig{Credit: 1000})
	records := numbered(1001)
	h.fill(records...)
	s.wants(records[:1000]...)
	h.stats(1, 1000)
	h.wants("append", h.tryPut(queue.Record{}), queue.ErrOverflow)
}

func buriesRefused(h *harness) {
	g := graveyard{refuse: 1}
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxLength: queue.AtMost(1), Overflow: queue.RejectPublishDLX, DeadLetter: g.bury}})
	h.fill("kept")
	h.wants("append", h.tryPut(queue.Record{Data: []byte("taken by nobody")}), queue.ErrOverflow)
	h.wants("append", h.tryPut(queue.Record{Data: []byte("refused")}), queue.ErrOverflow)
	h.stats(1, 0)
	g.wants(h, "refused maxlen 0 0")
	h.noError("govern", h.q.Govern(queue.Rules{MaxLength: queue.AtMost(1), Overflow: queue.RejectPublishDLX}))
	h.wants("append without dead letters", h.tryPut(queue.Record{Data: []byte("gone")}), queue.ErrOverflow)
}

func governsLength(h *harness) {
	var g graveyard
	h.open(queue.Config{Name: "q"})
	records := numbered(2000)
	h.fill(records...)
	s := h.consume(queue.ConsumerConfig{Credit: 2})
	s.next(2)
	h.noError("govern", h.q.Govern(queue.Rules{MaxLength: queue.AtMost(10), Overflow: queue.RejectPublish, DeadLetter: g.bury}))
	h.stats(1998, 2) // a queue that refuses keeps what it has
	h.wants("append", h.tryPut(queue.Record{}), queue.ErrOverflow)
	h.noError("govern", h.q.Govern(queue.Rules{MaxLength: queue.AtMost(10), DeadLetter: g.bury}))
	h.stats(10, 2)
	g.wantsOrder(h, records[2:1990]...)
	h.noError("govern", h.q.Govern(queue.Rules{}))
	h.fill("one more")
	h.stats(11, 2)
	s.Close()
	h.stats(13, 0)
}

func governsBytes(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill("1234", "1234", "1234", "1234")
	s := h.consume(queue.ConsumerConfig{Credit: 1})
	ds := s.wants("1234")
	for _, rules := range []queue.Rules{{MaxBytes: queue.AtMost(100)}, {}, {MaxBytes: queue.AtMost(12)}} {
		h.noError("govern", h.q.Govern(rules))
		h.stats(3, 1)
	}
	h.noError("requeue", h.settle(queue.Requeue, ds...)) // it has a weight, too
	h.stats(3, 0)
	h.noError("govern", h.q.Govern(queue.Rules{MaxBytes: queue.AtMost(4)}))
	h.stats(1, 0)
	h.noError("govern", h.q.Govern(queue.Rules{}))
	h.fill("1234", "1234") // these weigh nothing, and will
	h.noError("govern", h.q.Govern(queue.Rules{MaxBytes: queue.AtMost(10)}))
	h.stats(2, 0)
	if n, err := h.q.Purge(); n != 2 || err != nil {
		h.Fatalf("purge: %d, %v", n, err)
	}
	h.fill("1234", "1234", "1234")
	h.stats(2, 0)
}

func governsTime(h *harness) {
	c := newClock()
	h.open(queue.Config{Name: "q", Now: c.now, Rules: queue.Rules{TTL: queue.AtMost(100)}})
	h.fill("before")
	h.noError("govern", h.q.Govern(queue.Rules{TTL: queue.AtMost(10)}))
	h.pass(c, 99)
	h.stats(1, 0) // keeps the time that it was given
	h.fill("after")
	h.pass(c, 1)
	h.stats(1, 0)
	h.pass(c, 9)
	h.stats(0, 0)
}

func governsDeadLetters(h *harness) {
	var g graveyard
	h.open(queue.Config{Name: "q", Rules: queue.Rules{DeadLetter: func(_ queue.Dead, done func(error)) { done(ErrRefused) }}})
	h.fill(numbered(4)...)
	s := h.consume(queue.ConsumerConfig{Credit: 4})
	ds := s.next(4)
	h.q.Settle(queue.Reject, handles(ds[:2]), nil)
	h.stats(0, 4)
	h.noError("govern", h.q.Govern(queue.Rules{DeadLetter: g.bury})) // they go elsewhere
	h.stats(0, 2)
	g.wants(h, "record 0 rejected 1 1", "record 1 rejected 2 1")
	h.noError("govern", h.q.Govern(queue.Rules{DeadLetter: func(_ queue.Dead, done func(error)) { done(ErrRefused) }}))
	h.q.Settle(queue.Reject, handles(ds[2:]), nil)
	h.stats(0, 2)
	h.noError("govern", h.q.Govern(queue.Rules{})) // nowhere
	h.stats(0, 0)
}

func governsDeliveries(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill("a")
	s := h.consume(queue.ConsumerConfig{Credit: 10})
	for range 3 {
		h.noError("requeue", h.settle(queue.Requeue, s.wants("a")...))
	}
	ds := s.wants("a")
	h.noError("govern", h.q.Govern(queue.Rules{MaxDeliveries: 4}))
	h.noError("requeue", h.settle(queue.Requeue, ds...))
	h.stats(0, 0)
	s.nothing()
}

func drainsAfterDrops(h *harness) {
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxLength: queue.AtMost(5)}})
	for i := range 300 {
		h.fill(fmt.Sprint("a", i), fmt.Sprint("b", i))
	}
	s := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
	h.noError("ack", h.settle(queue.Ack, s.wants("b297", "a298", "b298", "a299", "b299")...))
	if s := h.stats(0, 0); s.Bytes != 0 || s.Resident != 0 {
		h.Fatalf("an empty queue has %d bytes, %d of them in memory", s.Bytes, s.Resident)
	}
}

func reopensDropped(h *harness) {
	h.needReopen()
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxLength: queue.AtMost(700)}})
	records := numbered(2500)
	h.fill(records...)
	h.reopen()
	h.stats(700, 0)
	h.fill("new")
	s := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
	s.wants(append(records[1801:], "new")...)
}

func reopensWeight(h *harness) {
	h.needReopen()
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxBytes: queue.AtMost(10)}})
	h.fill("123", "456", "789")
	if d, ok, err := h.q.Get(true, nil); !ok || err != nil || string(d.Record) != "123" {
		h.Fatalf("get: %q, %v, %v", d.Record, ok, err)
	}
	h.reopen()
	h.fill("abcd")
	h.stats(3, 0)
	h.fill("e")
	h.stats(3, 0)
	h.consume(queue.ConsumerConfig{Credit: queue.Unlimited}).wants("789", "abcd", "e")
}
