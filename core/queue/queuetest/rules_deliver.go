package queuetest

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"time"

	"portico/core/queue"
)

func rulesOfDeliver() map[string]func(h *harness) {
	return map[string]func(h *harness){
		"records are delivered in order":                     inOrder,
		"publishers are told once, in order":                 tellsPublishers,
		"empty and large records come through":               anySize,
		"credit bounds deliveries":                           creditBounds,
		"grants add up to unlimited":                         grantsSaturate,
		"a window is refilled by settlements":                windowRefills,
		"a record taken with AutoAck is gone":                autoAckIsGone,
		"consumers take turns":                               takeTurns,
		"an exclusive consumer is alone":                     exclusive,
		"a consumer without room is passed over":             roomIsAsked,
		"a limit is shared between queues":                   limitIsShared,
		"a deleted queue gives back what it held of a limit": limitComesBack,
		"get takes the first":                                getTakesFirst,
		"get holds for a holder":                             getHolds,
	}
}

func numbered(n int) (records []string) {
	for i := range n {
		records = append(records, fmt.Sprintf("record %d", i))
	}
	return records
}

func inOrder(h *harness) {
	h.open(queue.Config{Name: "q"})
	records := numbered(3000)
	c := h.consume(queue.ConsumerConfig{Credit: 1500})
	h.fill(records...)
	c.Grant(1500)
	for i, d := range c.wants(records...) {
		if d.Handle != (queue.Handle{Seq: uint64(i + 1), Attempt: 1}) || d.Redelivered {
			h.Fatalf("delivery %d is %+v, redelivered %v", i, d.Handle, d.Redelivered)
		}
	}
	h.stats(0, 3000)
}

// ledger is a Publisher that writes down what it is told.
type ledger struct{ told chan uint64 }

// Appended implements queue.Publisher.
func (l *ledger) Appended(tags []uint64, err error) {
	for _, tag := range tags {
		if err != nil {
			tag = 0
		}
		l.told <- tag
	}
}

func tellsPublishers(h *harness) {
	h.open(queue.Config{Name: "q"})
	const n = 5000
	a, b := &ledger{make(chan uint64, n+1)}, &ledger{make(chan uint64, n+1)}
	for i := range uint64(n) {
		h.q.Append(queue.Record{Data: []byte("a")}, a, i+1)
		h.q.Append(queue.Record{Data: []byte("b")}, b, i+1)
		h.q.Append(queue.Record{Data: []byte("nobody's")}, nil, 0)
	}
	for i := range uint64(n) {
		for name, l := range map[string]*ledger{"first": a, "second": b} {
			select {
			case tag := <-l.told:
				if tag != i+1 {
					h.Fatalf("the %s publisher was told of %d, want %d", name, tag, i+1)
				}
			case <-time.After(patience):
				h.Fatalf("the %s publisher was not told of %d", name, i+1)
			}
		}
	}
	h.stats(3*n, 0)
	if len(a.told)+len(b.told) > 0 {
		h.Fatal("told twice")
	}
}

func anySize(h *harness) {
	h.open(queue.Config{Name: "q"})
	records := []string{"", "small", string(bytes.Repeat([]byte("large "), 300<<10)), "", "small again"}
	h.fill(records...)
	c := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
	h.noError("ack", h.settle(queue.Ack, c.wants(records...)...))
	h.stats(0, 0)
}

func creditBounds(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(10)...)
	c := h.consume(queue.ConsumerConfig{})
	c.nothing()
	c.Grant(3)
	ds := c.wants("record 0", "record 1", "record 2")
	h.noError("ack", h.settle(queue.Ack, ds...))
	c.nothing() // without Window settlements give nothing back
	c.Grant(1)
	c.wants("record 3")
	c.Grant(-2)
	c.Grant(2)
	c.nothing()
	h.stats(6, 1)
}

func grantsSaturate(h *harness) {
	h.open(queue.Config{Name: "q"})
	c := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
	c.Grant(queue.Unlimited)
	c.Grant(queue.Unlimited)
	h.fill("a")
	c.wants("a")
}

func windowRefills(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(6)...)
	c := h.consume(queue.ConsumerConfig{Credit: 2, Window: true})
	ds := c.wants("record 0", "record 1")
	c.nothing()
	h.noError("ack", h.settle(queue.Ack, ds[0]))
	c.wants("record 2")
	h.noError("requeue", h.settle(queue.Requeue, ds[1]))
	ds = c.wants("record 1")
	h.noError("reject", h.settle(queue.Reject, ds[0]))
	c.wants("record 3")
	c.Grant(1)
	c.wants("record 4")
	c.nothing()
	h.stats(1, 3)
}

func autoAckIsGone(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(3)...)
	c := h.consume(queue.ConsumerConfig{AutoAck: true, Credit: 2})
	ds := c.wants("record 0", "record 1")
	h.wants("ack", h.settle(queue.Ack, ds[0]), queue.ErrStale)
	c.Close()
	h.stats(1, 0)
}

func takeTurns(h *harness) {
	h.open(queue.Config{Name: "q"})
	var sinks []*sink
	for range 3 {
		sinks = append(sinks, h.consume(queue.ConsumerConfig{Credit: 100}))
	}
	h.fill(numbered(300)...)
	for i, c := range sinks {
		for n, d := range c.next(100) {
			if want := fmt.Sprintf("record %d", 3*n+i); string(d.Record) != want {
				h.Fatalf("consumer %d got %q, want %q", i, d.Record, want)
			}
		}
	}
}

func exclusive(h *harness) {
	h.open(queue.Config{Name: "q"})
	alone := h.consume(queue.ConsumerConfig{Exclusive: true})
	_, err := h.tryConsume(h.q, queue.ConsumerConfig{})
	h.wants("a second consumer", err, queue.ErrInUse)
	alone.Cancel()
	beside := h.consume(queue.ConsumerConfig{})
	_, err = h.tryConsume(h.q, queue.ConsumerConfig{Exclusive: true})
	h.wants("an exclusive one beside it", err, queue.ErrInUse)
	beside.Close()
	h.consume(queue.ConsumerConfig{Exclusive: true})
}

func roomIsAsked(h *harness) {
	h.open(queue.Config{Name: "q"})
	var room atomic.Bool
	full := h.consume(queue.ConsumerConfig{Credit: 10, Room: room.Load})
	other := h.consume(queue.ConsumerConfig{Credit: 2})
	h.fill(numbered(4)...)
	other.wants("record 0", "record 1")
	full.nothing()
	room.Store(true)
	full.nothing() // nobody has told the queue
	full.Wake()
	full.wants("record 2", "record 3")
}

func limitIsShared(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(4)...)
	first := h.q
	limit := queue.NewLimit(3)
	a := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited, Limit: limit})
	ds := a.wants("record 0", "record 1", "record 2")
	h.q = h.another(queue.Config{Name: "other"})
	h.fill("other 0", "other 1", "other 2")
	b := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited, Limit: limit})
	auto := h.consume(queue.ConsumerConfig{Credit: 1, Limit: limit, AutoAck: true})
	auto.wants("other 0") // an AutoAck consumer does not use it
	b.nothing()
	h.q = first
	a.Cancel()
	h.noError("ack", h.settle(queue.Ack, ds[0]))
	b.wants("other 1")
	limit.Resize(4)
	b.wants("other 2")
	a.Close() // returns two of the window
	c := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited, Limit: limit})
	c.wants("record 1", "record 2")
	c.nothing()
}

func limitComesBack(h *harness) {
	limit := queue.NewLimit(2)
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(2)...)
	h.consume(queue.ConsumerConfig{Credit: queue.Unlimited, Limit: limit}).next(2)
	doomed := h.q
	h.q = h.another(queue.Config{Name: "other"})
	h.fill("other")
	c := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited, Limit: limit})
	c.nothing()
	_, err := doomed.Delete(false, false)
	h.noError("delete", err)
	c.wants("other")
}

func getTakesFirst(h *harness) {
	h.open(queue.Config{Name: "q"})
	if _, ok, err := h.q.Get(true, nil); ok || err != nil {
		h.Fatalf("get from an empty queue: %v, %v", ok, err)
	}
	h.fill(numbered(3)...)
	for i, auto := range []bool{true, false} { // without a holder there is nobody to settle
		d, ok, err := h.q.Get(auto, nil)
		if want := fmt.Sprintf("record %d", i); !ok || err != nil || string(d.Record) != want || d.Ready != 2-i || d.Redelivered {
			h.Fatalf("get: %q, %d left, %v, %v", d.Record, d.Ready, ok, err)
		}
	}
	h.stats(1, 0)
}

func getHolds(h *harness) {
	h.open(queue.Config{Name: "q"})
	h.fill(numbered(2)...)
	holder, err := h.q.Holder()
	h.noError("holder", err)
	d, ok, err := h.q.Get(false, holder)
	if !ok || err != nil || string(d.Record) != "record 0" || d.Ready != 1 {
		h.Fatalf("get: %q, %d left, %v, %v", d.Record, d.Ready, ok, err)
	}
	if s := h.stats(1, 1); s.Consumers != 0 {
		h.Fatal("a holder counts as a consumer")
	}
	holder.Close()
	h.stats(2, 0)
	_, _, err = h.q.Get(false, holder)
	h.wants("get for a closed holder", err, queue.ErrClosed)
	if d, ok, err = h.q.Get(true, nil); !ok || err != nil || string(d.Record) != "record 0" || !d.Redelivered || d.Attempt != 2 {
		h.Fatalf("get again: %q, %+v, %v, %v", d.Record, d.Handle, ok, err)
	}
}
