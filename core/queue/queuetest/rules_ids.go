package queuetest

import (
	"time"

	"portico/core/queue"
)

func rulesOfIDs() map[string]func(h *harness) {
	return map[string]func(h *harness){
		"of records with one id the first is kept": keepTheFirst,
		"an id is forgotten":                       forgetID,
		"ids are there after a restart":            idsAfterRestart,
	}
}

// keeps appends a record with an ID and waits for the answer.
func (h *harness) keeps(record string, id byte) error {
	h.Helper()
	kept := make(chan error, 1)
	h.q.AppendFunc(queue.Record{Data: []byte(record), ID: queue.ID{id}}, func(err error) { kept <- err })
	return h.answer(kept)
}

func keepTheFirst(h *harness) {
	h.open(queue.Config{})
	h.noError("append", h.keeps("a", 1))
	h.wants("again", h.keeps("b", 1), queue.ErrDuplicate)
	h.noError("append", h.keeps("c", 2))
	h.fill("d")
	c := h.consume(queue.ConsumerConfig{Credit: 10})
	h.noError("settle", h.settle(queue.Ack, c.wants("a", "c", "d")...))
	h.wants("once more", h.keeps("e", 1), queue.ErrDuplicate)
	if h.q.Remembers(queue.ID{3}) || !h.q.Remembers(queue.ID{2}) {
		h.Error("remembers the wrong ones")
	}
	h.stats(0, 0)
}

func forgetID(h *harness) {
	h.open(queue.Config{Remember: 50 * time.Millisecond})
	h.noError("append", h.keeps("a", 1))
	for deadline := time.Now().Add(patience); h.q.Remembers(queue.ID{1}); {
		if time.Now().After(deadline) {
			h.Fatal("never forgotten")
		}
	}
	h.noError("append", h.keeps("b", 1))
	h.consume(queue.ConsumerConfig{Credit: 10}).wants("a", "b")
}

func idsAfterRestart(h *harness) {
	h.needReopen()
	h.open(queue.Config{})
	h.noError("append", h.keeps("a", 1))
	h.noError("append", h.keeps("b", 2))
	c := h.consume(queue.ConsumerConfig{Credit: 1})
	h.noError("settle", h.settle(queue.Ack, c.wants("a")...))
	for range 2 {
		h.reopen()
		h.stats(1, 0)
		h.wants("settled", h.keeps("c", 1), queue.ErrDuplicate)
		h.wants("ready", h.keeps("d", 2), queue.ErrDuplicate)
	}
}
