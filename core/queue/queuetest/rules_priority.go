package queuetest

import (
	"fmt"

	"portico/core/queue"
)

func rulesOfPriority() map[string]func(h *harness) {
	return map[string]func(h *harness){
		"higher priorities come first":                              higherComeFirst,
		"without priorities order counts":                           withoutPriorities,
		"requeue returns to the place in its priority":              requeueKeepsPriority,
		"many priorities keep their orders":                         manyPriorities,
		"purge removes all priorities":                              purgesPriorities,
		"a full queue drops the highest priority first":             dropsHighestFirst,
		"the head of all priorities expires":                        expiresByPriority,
		"priorities are there again, and who was delivered is told": reopensPriorities,
	}
}

// putAll appends records with priorities, written "5 data", and waits until they are kept.
func (h *harness) putAll(records ...string) {
	h.Helper()
	kept := make(chan error, len(records))
	for _, r := range records {
		h.q.AppendFunc(queue.Record{Data: []byte(r), Priority: r[0] - '0'}, func(err error) { kept <- err })
	}
	for range records {
		h.noError("append", h.answer(kept))
	}
}

func higherComeFirst(h *harness) {
	h.open(queue.Config{Name: "q", MaxPriority: 5})
	h.putAll("0 a", "3 b", "1 c", "3 d", "5 e", "0 f", "9 g") // nine is five
	s := h.consume(queue.ConsumerConfig{Credit: 5})
	for _, d := range s.wants("5 e", "9 g", "3 b", "3 d", "1 c") {
		if d.Redelivered || d.Attempt != 1 {
			h.Fatalf("%q: redelivered %v, attempt %d", d.Record, d.Redelivered, d.Attempt)
		}
	}
	h.putAll("4 h")
	s.Grant(2)
	s.wants("4 h", "0 a")
	if d, ok, err := h.q.Get(true, nil); !ok || err != nil || string(d.Record) != "0 f" || d.Ready != 0 {
		h.Fatalf("get: %q, %d left, %v, %v", d.Record, d.Ready, ok, err)
	}
}

func withoutPriorities(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.putAll("0 a", "9 b", "1 c")
	h.consume(queue.ConsumerConfig{Credit: 3}).wants("0 a", "9 b", "1 c")
}

func requeueKeepsPriority(h *harness) {
	h.open(queue.Config{Name: "q", MaxPriority: 9})
	h.putAll("1 a", "2 b", "1 c", "2 d")
	s := h.consume(queue.ConsumerConfig{Credit: 4})
	ds := s.wants("2 b", "2 d", "1 a", "1 c")
	h.noError("requeue", h.settle(queue.Requeue, ds[3], ds[1], ds[0]))
	h.putAll("2 e", "1 f", "3 g")
	s.Grant(6)
	for i, d := range s.wants("3 g", "2 b", "2 d", "2 e", "1 c", "1 f") {
		if again := i == 1 || i == 2 || i == 4; d.Redelivered != again {
			h.Fatalf("%q: redelivered %v", d.Record, d.Redelivered)
		}
	}
}

// manyPriorities is a backlog in which the priorities are mixed, of which part is settled in every place.
func manyPriorities(h *harness) {
	h.open(queue.Config{Name: "q", MaxPriority: 9})
	var records []string
	for i := range 4000 {
		records = append(records, fmt.Sprint(i*7%10, " ", i))
	}
	h.putAll(records...)
	want := byPriority(records)
	s := h.consume(queue.ConsumerConfig{Credit: 2500})
	ds := s.wants(want[:2500]...)
	var acked []queue.Delivery
	for i, d := range ds {
		if i%3 == 0 {
			acked = append(acked, d)
		}
	}
	h.noError("ack", h.settle(queue.Ack, acked...))
	s.Close()
	left := len(records) - len(acked)
	h.stats(left, 0)
	h.putAll("5 late")
	got := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited}).next(left + 1)
	for level, at := 9, 0; level >= 0; level-- {
		for last := -1; at < len(got) && got[at].Record[0] == byte('0'+level); at++ {
			if n := int(got[at].Seq); n <= last {
				h.Fatalf("%q after number %d", got[at].Record, last)
			}
			last = int(got[at].Seq)
		}
	}
	h.noError("ack", h.settle(queue.Ack, got...))
	h.stats(0, 0)
}

// byPriority sorts records by their first digit, the highest first, and keeps their order otherwise.
func byPriority(records []string) (sorted []string) {
	for level := byte('9'); level >= '0'; level-- {
		for _, r := range records {
			if r[0] == level {
				sorted = append(sorted, r)
			}
		}
	}
	return sorted
}

func purgesPriorities(h *harness) {
	h.open(queue.Config{Name: "q", MaxPriority: 2})
	h.putAll("0 a", "2 b", "1 c")
	s := h.consume(queue.ConsumerConfig{Credit: 1})
	ds := s.wants("2 b")
	if n, err := h.q.Purge(); n != 2 || err != nil {
		h.Fatalf("purge: %d, %v", n, err)
	}
	h.putAll("0 d")
	h.noError("requeue", h.settle(queue.Requeue, ds...))
	s.Grant(3)
	s.wants("2 b", "0 d")
	s.nothing()
}

// dropsHighestFirst is RabbitMQ's: the head is what would be delivered next.
func dropsHighestFirst(h *harness) {
	var g graveyard
	h.open(queue.Config{Name: "q", MaxPriority: 9, Rules: queue.Rules{MaxLength: queue.AtMost(2), DeadLetter: g.bury}})
	h.putAll("1 a", "5 b", "3 c", "0 d")
	h.stats(2, 0)
	g.wants(h, "3 c maxlen 3 0", "5 b maxlen 2 0")
	h.consume(queue.ConsumerConfig{Credit: 2}).wants("1 a", "0 d")
}

// expiresByPriority: what is over dies when it is the next to be delivered.
func expiresByPriority(h *harness) {
	c, g := newClock(), graveyard{}
	h.open(queue.Config{Name: "q", MaxPriority: 9, Now: c.now, Rules: queue.Rules{DeadLetter: g.bury}})
	h.put(queue.Record{Data: []byte("low"), TTL: queue.AtMost(10)})
	h.put(queue.Record{Data: []byte("high"), TTL: queue.AtMost(30), Priority: 9})
	h.put(queue.Record{Data: []byte("higher"), TTL: queue.AtMost(10), Priority: 200})
	h.pass(c, 10)
	h.stats(3, 0)
	h.pass(c, 20)
	h.stats(0, 0)
	g.wantsOrder(h, "high", "higher", "low")
}

func reopensPriorities(h *harness) {
	h.needReopen()
	h.open(queue.Config{Name: "q", MaxPriority: 9})
	large := "4 " + string(make([]byte, 600<<10))
	h.putAll("1 a", "5 b", "5 c", large, "0 d", "9 e")
	ds := h.consume(queue.ConsumerConfig{Credit: 2}).wants("9 e", "5 b")
	h.noError("ack", h.settle(queue.Ack, ds[0]))
	h.reopen()
	h.putAll("4 f")
	ds = h.consume(queue.ConsumerConfig{Credit: 2}).wants("5 b", "5 c")
	if !ds[0].Redelivered || ds[1].Redelivered {
		h.Fatalf("redelivered: %v and %v", ds[0].Redelivered, ds[1].Redelivered)
	}
	h.reopen()
	for i, d := range h.consume(queue.ConsumerConfig{Credit: queue.Unlimited}).wants("5 b", "5 c", large, "4 f", "1 a", "0 d") {
		if d.Redelivered != (i < 2) { // and not what is in front of them in the log
			h.Fatalf("%.10q: redelivered %v", d.Record, d.Redelivered)
		}
	}
}
