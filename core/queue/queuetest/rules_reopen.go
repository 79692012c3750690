package queuetest

import (
	"bytes"

	"portico/core/queue"
)

func rulesOfReopen() map[string]func(h *harness) {
	return map[string]func(h *harness){
		"what was not settled is there again": reopens,
		"a large record is there again":       reopensLarge,
		"deliveries are still counted":        reopensCounts,
		"nothing settled comes back":          reopensSettled,
	}
}

func reopens(h *harness) {
	h.needReopen()
	h.open(queue.Config{Name: "q"})
	records := numbered(5000)
	h.fill(records...)
	c := h.consume(queue.ConsumerConfig{Credit: 2000})
	ds := c.next(2000)
	var acked []queue.Delivery
	for i, d := range ds {
		if i%3 == 0 {
			acked = append(acked, d)
		}
	}
	h.q.Settle(queue.Ack, handles(acked), nil)
	h.q.Settle(queue.Requeue, []queue.Handle{ds[1].Handle}, nil)
	h.reopen()
	s := h.stats(5000-len(acked), 0)
	var size int64
	for i, r := range records {
		if i >= 2000 || i%3 != 0 {
			size += int64(len(r))
		}
	}
	if s.Bytes != size {
		h.Fatalf("%d bytes, want %d", s.Bytes, size)
	}
	c = h.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
	for i, r := range records {
		if i < 2000 && i%3 == 0 {
			continue
		}
		if d := c.wants(r)[0]; d.Redelivered != (i < 2000) {
			h.Fatalf("%q: redelivered %v", r, d.Redelivered)
		}
	}
	c.nothing()
}

func reopensLarge(h *harness) {
	h.needReopen()
	h.open(queue.Config{Name: "q"})
	large := string(bytes.Repeat([]byte("0123456789abcde\n"), 600<<10/16*9))
	h.fill("a", large, "b")
	h.reopen()
	c := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
	ds := c.wants("a", large, "b")
	h.noError("ack", h.settle(queue.Ack, ds[1]))
	h.reopen()
	h.consume(queue.ConsumerConfig{Credit: queue.Unlimited}).wants("a", "b")
}

func reopensCounts(h *harness) {
	h.needReopen()
	h.open(queue.Config{Name: "q", Rules: queue.Rules{MaxDeliveries: 3}})
	h.fill("a", "b")
	c := h.consume(queue.ConsumerConfig{Credit: 3})
	ds := c.wants("a", "b")
	h.noError("requeue", h.settle(queue.Requeue, ds[0]))
	c.wants("a")
	h.reopen()
	c = h.consume(queue.ConsumerConfig{Credit: 2})
	ds = c.wants("a", "b")
	if ds[0].Attempt != 3 || ds[1].Attempt != 2 {
		h.Fatalf("attempts %d and %d, want 3 and 2", ds[0].Attempt, ds[1].Attempt)
	}
	h.noError("requeue", h.settle(queue.Requeue, ds...))
	h.stats(1, 0) // the first has died
}

func reopensSettled(h *harness) {
	h.needReopen()
	h.open(queue.Config{Name: "q"})
	c := h.consume(queue.ConsumerConfig{Credit: queue.Unlimited})
	auto := 0
	for i, r := range numbered(300) {
		h.q.Append(queue.Record{Data: []byte(r)}, nil, 0) // settled before it is kept, as it comes
		switch d := c.next(1)[0]; {
		case i == 100:
			c.Cancel()
			c = h.consume(queue.ConsumerConfig{Credit: queue.Unlimited, AutoAck: true})
			h.q.Settle(queue.Reject, []queue.Handle{d.Handle}, nil)
		case i < 100:
			h.q.Settle(queue.Ack, []queue.Handle{d.Handle}, nil)
		default:
			auto++
		}
	}
	h.reopen()
	h.stats(0, 0)
	h.fill("left", "purged")
	if d, ok, err := h.q.Get(true, nil); !ok || err != nil || string(d.Record) != "left" {
		h.Fatalf("get: %q, %v, %v", d.Record, ok, err)
	}
	if n, err := h.q.Purge(); n != 1 || err != nil {
		h.Fatalf("purge: %d, %v", n, err)
	}
	h.reopen()
	h.stats(0, 0)
	if auto == 0 {
		h.Fatal("nothing was taken with AutoAck")
	}
}
