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
	rules := map[string]func(h *harness){
		"records are delivered in order":                     inOrder,
		"publishers are told once, in order":                 tellsPublishers,
		"empty and large records come through":               anySize,
		"credit bounds deliveries":                           creditBounds,
		"grants add up to unlimited":                         grantsSaturate,
		"a window is refilled by settlements":                windowRefills,
		"a record taken with AutoAck is gone":                autoAckIsGone,
		"ack removes":                                        ackRemoves,
		"requeue returns to the original place":              requeueReturns,
		"stale handles are passed over":                      staleHandles,
		"a durable settlement is told":                       settleTells,
		"close returns what the consumer holds":              closeReturns,
		"cancel leaves it held":                              cancelHolds,
		"consumers take turns":                               takeTurns,
		"an exclusive consumer is alone":                     exclusive,
		"a consumer without room is passed over":             roomIsAsked,
		"a limit is shared between queues":                   limitIsShared,
		"a deleted queue gives back what it held of a limit": limitComesBack,
		"get takes the first":                                getTakesFirst,
		"get holds for a holder":                             getHolds,
		"deliveries are limited":                             deliveriesAreLimited,
		"a consumer's end counts as a delivery":              consumerLossCounts,
		"a rejected record is dead-lettered":                 rejects,
		"dead-lettering is tried again":                      deadLetterRetries,
		"purge removes what is ready":                        purges,
		"delete looks at its conditions":                     deleteConditions,
		"a deleted queue tells everybody":                    deletes,
		"a closed queue tells everybody":                     closes,
		"the last consumer's leaving is told":                idles,
		"a lease runs out":                                   leaseRunsOut,
		"a lease is extended":                                leaseIsExtended,
		"events are counted":                                 observes,
		"bytes are counted":                                  countsBytes,
		"what was not settled is there again":                reopens,
		"a large record is there again":                      reopensLarge,
		"deliveries are still counted":                       reopensCounts,
		"nothing settled comes back":                         reopensSettled,

		"a record dies when its time is over":                       expires,
		"the shorter time counts":                                   shorterTimeCounts,
		"only the head expires":                                     onlyHeadExpires,
		"a record with no time at all is offered once":              noTimeAtAll,
		"a held record does not expire, and its time goes on":       heldDoesNotExpire,
		"what expires is dead-lettered in order":                    expiresInOrder,
		"a record dies though nobody asks":                          expiresUnasked,
		"get does not see what is over":                             getDoesNotSeeOver,
		"a clock that goes back makes records live longer":          clockGoesBack,
		"the longest time is for ever":                              extremeTimes,
		"the time goes on while the queue is closed":                reopensExpiry,
		"an unused queue is told":                                   unusedIsTold,
		"a full queue drops its head":                               dropsHead,
		"a full queue without dead letters forgets its head":        dropsWithoutDeadLetters,
		"bytes are limited":                                         limitsBytes,
		"what is held does not count":                               heldDoNotCount,
		"what a consumer can take is not dropped":                   takersComeFirst,
		"a return into a full queue drops the head":                 returnsDropHead,
		"a full queue refuses, and takes what comes back":           refusesPublish,
		"what a consumer can take is not refused":                   refusesLate,
		"what is refused is dead-lettered":                          buriesRefused,
		"a new length holds for what is there":                      governsLength,
		"a new weight holds for what is there":                      governsBytes,
		"a new time does not hold for what is there":                governsTime,
		"the dead go where the new rules say":                       governsDeadLetters,
		"a new limit of deliveries counts those before":             governsDeliveries,
		"a queue that has dropped much is empty when it is":         drainsAfterDrops,
		"what was dropped does not come back":                       reopensDropped,
		"a weight is there again":                                   reopensWeight,
		"higher priorities come first":                              higherComeFirst,
		"without priorities order counts":                           withoutPriorities,
		"requeue returns to the place in its priority":              requeueKeepsPriority,
		"many priorities keep their orders":                         manyPriorities,
		"purge removes all priorities":                              purgesPriorities,
		"a full queue drops the highest priority first":             dropsHighestFirst,
		"the head of all priorities expires":                        expiresByPriority,
		"priorities are there again, and who was delivered is told": reopensPriorities,
		"consumers of a higher priority come first":                 higherConsumersFirst,
		"equal consumers take turns in their priority":              equalConsumersTakeTurns,
		"a single active consumer gets everything":                  singleActive,
		"the next active consumer is the oldest of the highest":     singleActiveSuccession,
		"a single active consumer is not exclusive":                 singleActiveIsNotExclusive,
		"the counters tell of a moment between batches":             statsAfterAppend,
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			rule(&harness{T: t, store: s})
		})
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
