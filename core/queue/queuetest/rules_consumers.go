package queuetest

import (
	"fmt"

	"portico/core/queue"
)

func rulesOfConsumers() map[string]func(h *harness) {
	return map[string]func(h *harness){
		"consumers of a higher priority come first":             higherConsumersFirst,
		"equal consumers take turns in their priority":          equalConsumersTakeTurns,
		"a consumer that leaves costs nobody a turn":            leavingCostsNoTurn,
		"a single active consumer gets everything":              singleActive,
		"the next active consumer is the oldest of the highest": singleActiveSuccession,
		"a single active consumer is not exclusive":             singleActiveIsNotExclusive,
		"the counters tell of a moment between batches":         statsAfterAppend,
	}
}

func higherConsumersFirst(h *harness) {
	h.open(queue.Config{Name: "q"})
	low := h.consume(queue.ConsumerConfig{Credit: 100, Priority: -5})
	high := h.consume(queue.ConsumerConfig{Credit: 2, Window: true, Priority: 10})
	middle := h.consume(queue.ConsumerConfig{Credit: 1})
	h.fill(numbered(5)...)
	ds := high.wants("record 0", "record 1")
	middle.wants("record 2")
	low.wants("record 3", "record 4")
	h.noError("ack", h.settle(queue.Ack, ds...))
	h.fill("a")
	high.wants("a") // it is asked again
	high.Cancel()
	middle.Grant(1)
	h.fill("b", "c")
	middle.wants("b")
	low.wants("c")
}

func equalConsumersTakeTurns(h *harness) {
	h.open(queue.Config{Name: "q"})
	var high, low []*sink
	for range 3 {
		low = append(low, h.consume(queue.ConsumerConfig{Credit: 10}))
		high = append(high, h.consume(queue.ConsumerConfig{Credit: 10, Priority: 1}))
	}
	h.fill(numbered(60)...)
	for i, s := range append(high, low...) {
		for n, d := range s.next(10) {
			if want := fmt.Sprintf("record %d", 30*(i/3)+3*n+i%3); string(d.Record) != want {
				h.Fatalf("consumer %d got %q, want %q", i, d.Record, want)
			}
		}
	}
}

func leavingCostsNoTurn(h *harness) {
	h.open(queue.Config{Name: "q"})
	var sinks []*sink
	for range 3 {
		sinks = append(sinks, h.consume(queue.ConsumerConfig{Credit: 10}))
	}
	h.fill("a")
	sinks[0].wants("a")
	sinks[0].Cancel()
	h.fill("b")
	sinks[1].wants("b")
	h.fill("c")
	sinks[2].wants("c")
}

func singleActive(h *harness) {
	h.open(queue.Config{Name: "q", SingleActive: true})
	first := h.consume(queue.ConsumerConfig{Credit: 2, Window: true})
	second := h.consume(queue.ConsumerConfig{Credit: 100})
	third := h.consume(queue.ConsumerConfig{Credit: 100, Priority: 0})
	h.fill(numbered(4)...)
	ds := first.wants("record 0", "record 1")
	second.nothing() // although the first one has no credit
	third.nothing()
	h.noError("ack", h.settle(queue.Ack, ds[0]))
	ds = append(ds, first.wants("record 2")...)
	first.Cancel()
	second.wants("record 3")
	h.stats(0, 3) // the first one has its own still
	h.noError("ack", h.settle(queue.Ack, ds[1]))
	first.Close()
	second.wants("record 2")
	third.Close()
	h.fill("a")
	second.wants("a")
	second.Close()
	h.stats(3, 0)
	fourth := h.consume(queue.ConsumerConfig{Credit: 100})
	fourth.wants("record 2", "record 3", "a")
}

func singleActiveSuccession(h *harness) {
	h.open(queue.Config{Name: "q", SingleActive: true})
	first := h.consume(queue.ConsumerConfig{Credit: 100})
	low := h.consume(queue.ConsumerConfig{Credit: 100, Priority: -1})
	high := h.consume(queue.ConsumerConfig{Priority: 7})
	other := h.consume(queue.ConsumerConfig{Credit: 100, Priority: 7})
	h.fill("a")
	first.wants("a") // who is active stays it
	first.Close()
	other.nothing()
	high.Grant(1)
	high.wants("a")
	other.Close()
	h.fill("b")
	low.nothing() // not its turn, although the one whose turn it is can take nothing
	high.Close()
	low.wants("a", "b")
}

func singleActiveIsNotExclusive(h *harness) {
	h.open(queue.Config{Name: "q", SingleActive: true})
	_, err := h.tryConsume(h.q, queue.ConsumerConfig{Exclusive: true})
	h.wants("an exclusive consumer", err, queue.ErrInUse)
	h.fill("a", "b")
	s := h.consume(queue.ConsumerConfig{Credit: 1})
	s.wants("a")
	if d, ok, err := h.q.Get(true, nil); !ok || err != nil || string(d.Record) != "b" { // Get is for everybody
		h.Fatalf("get: %q, %v, %v", d.Record, ok, err)
	}
}

// statsAfterAppend makes sure that the counters tell of a moment when consumers have got what they can.
func statsAfterAppend(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.consume(queue.ConsumerConfig{Credit: 50})
	for i := range 100 {
		h.q.Append(queue.Record{Data: []byte("a")}, nil, 0)
		s, err := h.q.Stats()
		if want := max(i-49, 0); err != nil || s.Ready != want || s.Unacked != i+1-want {
			h.Fatalf("%d ready, %d unacked after %d records, %v", s.Ready, s.Unacked, i+1, err)
		}
	}
}
