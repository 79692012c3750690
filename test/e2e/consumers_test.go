package e2e

import (
	"testing"

	"portico/core"
	"portico/core/queue"
)

func declares(d *door) bool { return d.declare != nil }

// lasts: between its deliveries, too, there is a consumer.
func lasts(d *door) bool { return d.consume != nil && d.lasting }

func TestConsumersOfHigherPriorityComeFirst(t *testing.T) {
	h := open(t)
	h.pairs(t, lasts, lasts, func(t *testing.T, from, to *door) {
		q := h.declare(t, subjectOf(t))
		low := from.consume(t, q.Name(), -1)
		high := to.consume(t, q.Name(), 7)
		for _, m := range three() {
			must(t, from.append(t, q.Name(), m))
		}
		one, two := high.next().is(t, "1", false), high.next().is(t, "2", false) // it takes two at a time
		low.ack(low.next().is(t, "3", false))
		high.ack(one)
		high.ack(two)
		empty(t, q)
	})
}

func TestAutoDeleteQueueIsGoneWhenItsLastConsumerHasLeft(t *testing.T) {
	h := open(t)
	h.pairs(t, declares, consumes, func(t *testing.T, from, to *door) {
		name := subjectOf(t)
		must(t, from.declare(t, core.QueueConfig{Name: name, AutoDelete: true}))
		to.consume(t, name, 0).leave()
		if h.bus.Lookup(name) != nil {
			t.Error("the queue is still there")
		}
	})
}

func TestUnusedQueuesExpire(t *testing.T) {
	h := open(t)
	h.pairs(t, declares, lasts, func(t *testing.T, from, to *door) {
		t.Parallel()
		unused, used := subjectOf(t)+".unused", subjectOf(t)+".used"
		expires := core.QueueRules{Expires: queue.AtMost(500)}
		must(t, from.declare(t, core.QueueConfig{Name: used, QueueRules: expires}))
		c := to.consume(t, used, 0)
		must(t, from.declare(t, core.QueueConfig{Name: unused, QueueRules: expires}))
		h.gone(t, unused)
		if h.bus.Lookup(used) == nil {
			t.Error("a queue with a consumer has expired")
		}
		c.leave()
		h.gone(t, used)
	})
}

// gone waits until there is no queue of that name.
func (h *house) gone(t *testing.T, name string) {
	t.Helper()
	until(t, "queue "+name+" is gone", func() bool { return h.bus.Lookup(name) == nil })
}
