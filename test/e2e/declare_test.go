package e2e

import (
	"errors"
	"testing"

	"portico/core"
	"portico/core/queue"
)

// descriptions name every property that all doors can name.
func descriptions() map[string]core.QueueConfig {
	rules := core.QueueRules{
		DeadLetter: core.DeadLetter{Exchange: core.Some("x"), RoutingKey: core.Some("")},
		TTL:        queue.AtMost(60_000), Expires: queue.AtMost(3_600_000), MaxLength: queue.AtMost(0), MaxBytes: queue.AtMost(1 << 40), Overflow: queue.RejectPublish,
	}
	quorum := rules
	quorum.MaxDeliveries = 5
	return map[string]core.QueueConfig{
		"classic": {AutoDelete: true, MaxPriority: 9, SingleActive: true, QueueRules: rules},
		"quorum":  {Type: core.QuorumQueue, Durable: true, SingleActive: true, QueueRules: quorum},
		"plain":   {Durable: true},
	}
}

func TestADescriptionIsTheSameAtEveryDoor(t *testing.T) {
	h := open(t)
	for name, q := range descriptions() {
		t.Run(name, func(t *testing.T) {
			h.pairs(t, declares, declares, func(t *testing.T, from, to *door) {
				q.Name = subjectOf(t)
				must(t, from.declare(t, q))
				must(t, to.declare(t, q))
				got := h.bus.Lookup(q.Name).Config()
				if got.Type != q.Type || got.Durable != q.Durable || got.AutoDelete != q.AutoDelete || got.MaxPriority != q.MaxPriority ||
					got.SingleActive != q.SingleActive || got.QueueRules != q.QueueRules {
					t.Errorf("declared %+v, it is %+v", q, got)
				}
			})
		})
	}
}

func TestADifferenceIsToldAtEveryDoor(t *testing.T) {
	h := open(t)
	for name, change := range map[string]func(*core.QueueConfig){
		"durable":           func(q *core.QueueConfig) { q.Durable = true },
		"auto-delete":       func(q *core.QueueConfig) { q.AutoDelete = false },
		"max priority":      func(q *core.QueueConfig) { q.MaxPriority = 8 },
		"single active":     func(q *core.QueueConfig) { q.SingleActive = false },
		"exchange":          func(q *core.QueueConfig) { q.DeadLetter.Exchange = core.Some("y") },
		"routing key":       func(q *core.QueueConfig) { q.DeadLetter.RoutingKey = core.Text{} },
		"TTL":               func(q *core.QueueConfig) { q.TTL = queue.AtMost(0) },
		"expires":           func(q *core.QueueConfig) { q.Expires = queue.AtMost(1 << 30) },
		"length":            func(q *core.QueueConfig) { q.MaxLength = queue.Bound{} },
		"bytes":             func(q *core.QueueConfig) { q.MaxBytes = queue.AtMost(0) },
		"overflow":          func(q *core.QueueConfig) { q.Overflow = queue.RejectPublishDLX },
		"overflow drophead": func(q *core.QueueConfig) { q.Overflow = queue.DropHead },
	} {
		t.Run(name, func(t *testing.T) {
			h.pairs(t, declares, declares, func(t *testing.T, from, to *door) {
				q := descriptions()["classic"]
				q.Name = subjectOf(t)
				must(t, from.declare(t, q))
				change(&q)
				if err := to.declare(t, q); !errors.Is(err, errDifferent) {
					t.Errorf("declared with another %s: %v", name, err)
				}
			})
		})
	}
}
