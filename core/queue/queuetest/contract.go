package queuetest

import (
	"errors"
	"testing"
	"time"

	"portico/core/queue"
)

// Store makes queues for the contract suite.
type Store struct {
	// Open returns an empty queue. It is closed by the suite.
	Open func(t *testing.T, cfg queue.Config) *queue.Queue
	// Reopen closes q and opens it again with the same configuration. nil: a closed queue has lost everything.
	Reopen func(t *testing.T, q *queue.Queue) *queue.Queue
}

// Contract runs the rules that hold for every queue, whatever its log.
func Contract(t *testing.T, s Store) {
	for _, rules := range []map[string]func(h *harness){rulesOfConsumers(), rulesOfDeliver(), rulesOfExpiry(), rulesOfIDs(), rulesOfLimits(), rulesOfPriority(), rulesOfReopen(), rulesOfSettle()} {
		for name, rule := range rules {
			t.Run(name, func(t *testing.T) {
				rule(&harness{T: t, store: s})
			})
		}
	}
}

// patience is how long the suite waits for what must happen.
const patience = 10 * time.Second

// harness is one run of one rule.
type harness struct {
	*testing.T
	store Store
	q     *queue.Queue
}

// open opens the queue under test.
func (h *harness) open(cfg queue.Config) {
	h.Helper()
	h.q = h.another(cfg)
}

// another opens one more queue.
func (h *harness) another(cfg queue.Config) *queue.Queue {
	h.Helper()
	q := h.store.Open(h.T, cfg)
	h.Cleanup(func() {
		if err := q.Close(); err != nil && !errors.Is(err, queue.ErrClosed) && !errors.Is(err, queue.ErrDeleted) {
			h.Errorf("close: %v", err)
		}
	})
	return q
}

// reopen closes the queue and opens it again, or skips the rule for a store that cannot.
func (h *harness) reopen() {
	h.Helper()
	h.q = h.store.Reopen(h.T, h.q)
	h.Cleanup(func() { _ = h.q.Close() })
}

func (h *harness) needReopen() {
	h.Helper()
	if h.store.Reopen == nil {
		h.Skip("nothing is kept")
	}
}

// fill appends records and waits until they are kept.
func (h *harness) fill(records ...string) {
	h.Helper()
	kept := make(chan error, len(records))
	for _, r := range records {
		h.q.AppendFunc(queue.Record{Data: []byte(r)}, func(err error) { kept <- err })
	}
	for range records {
		h.noError("append", h.answer(kept))
	}
}

// settle settles deliveries and waits until that is durable.
func (h *harness) settle(o queue.Outcome, ds ...queue.Delivery) error {
	h.Helper()
	settled := make(chan error, 1)
	h.q.Settle(o, handles(ds), func(err error) { settled <- err })
	return h.answer(settled)
}

func handles(ds []queue.Delivery) (hs []queue.Handle) {
	for _, d := range ds {
		hs = append(hs, d.Handle)
	}
	return hs
}

func (h *harness) answer(c <-chan error) error {
	h.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(patience):
		h.Fatal("no answer")
		return nil
	}
}

func (h *harness) noError(what string, err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("%s: %v", what, err)
	}
}

// wants fails unless err is the one wanted.
func (h *harness) wants(what string, err, want error) {
	h.Helper()
	if !errors.Is(err, want) {
		h.Fatalf("%s: %v, want %v", what, err, want)
	}
}

// stats waits until the queue has so many ready and unacked (or dying) records.
func (h *harness) stats(ready, unacked int) queue.Stats {
	h.Helper()
	for deadline := time.Now().Add(patience); ; {
		s, err := h.q.Stats()
		h.noError("stats", err)
		if s.Ready == ready && s.Unacked+s.Dying == unacked {
			return s
		}
		if time.Now().After(deadline) {
			h.Fatalf("%d ready, %d unacked; want %d and %d", s.Ready, s.Unacked+s.Dying, ready, unacked)
		}
	}
}

// sink is a consumer that keeps what it gets.
type sink struct {
	*queue.Consumer
	h    *harness
	came chan queue.Delivery
	gone chan error
}

// consume registers a sink; cfg's callbacks are set if they are not.
func (h *harness) consume(cfg queue.ConsumerConfig) *sink {
	h.Helper()
	s, err := h.tryConsume(h.q, cfg)
	h.noError("consume", err)
	return s
}

func (h *harness) tryConsume(q *queue.Queue, cfg queue.ConsumerConfig) (*sink, error) {
	s := &sink{h: h, came: make(chan queue.Delivery, 1<<16), gone: make(chan error, 8)}
	cfg.Deliver = func(ds []queue.Delivery) {
		for _, d := range ds {
			s.came <- d
		}
	}
	if cfg.Gone == nil {
		cfg.Gone = func(err error) { s.gone <- err }
	}
	var err error
	s.Consumer, err = q.Consume(cfg)
	return s, err
}

// next waits for so many deliveries.
func (s *sink) next(n int) (ds []queue.Delivery) {
	s.h.Helper()
	for range n {
		select {
		case d := <-s.came:
			ds = append(ds, d)
		case <-time.After(patience):
			s.h.Fatalf("%d of %d deliveries came", len(ds), n)
		}
	}
	return ds
}

// wants waits for deliveries of these records, in order.
func (s *sink) wants(records ...string) []queue.Delivery {
	s.h.Helper()
	ds := s.next(len(records))
	for i, d := range ds {
		if string(d.Record) != records[i] {
			s.h.Fatalf("delivery %d is %.40q, want %.40q", i, d.Record, records[i])
		}
	}
	return ds
}

// nothing makes sure that nothing has come by the time the queue has looked at everything asked of it so far.
func (s *sink) nothing() {
	s.h.Helper()
	_, err := s.h.q.Stats()
	s.h.noError("stats", err)
	_, err = s.h.q.Stats() // deliveries of the batch in which the first was answered
	s.h.noError("stats", err)
	select {
	case d := <-s.came:
		s.h.Fatalf("%.40q was delivered", d.Record)
	default:
	}
}
