package grpcapi

import (
	"context"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/protobuf/types/known/durationpb"
)

// untilDrain is a call's ctx, ended too when the door drains, and when the caller's identity does.
func (a *Adapter) untilDrain(ctx context.Context) (context.Context, context.CancelFunc) {
	bus := busOf(ctx)
	ctx, cancel := context.WithCancel(ctx)
	stop, forget := a.onDrain(cancel), bus.AfterEnd(cancel)
	return ctx, func() {
		stop()
		forget()
		cancel()
	}
}

// fetchFields are what a fetch from a queue and one from a consumer have in common.
type fetchFields interface {
	GetMax() uint32
	GetWait() *durationpb.Duration
}

func fetchSize(k *checks, req fetchFields) (limit int, wait time.Duration) {
	if limit = int(req.GetMax()); limit == 0 {
		limit = defaultFetch
	}
	if limit > maxFetch {
		k.fail("max", "%d: want 1 to %d", limit, maxFetch)
	}
	return limit, k.duration("wait", req.GetWait(), 0, maxWait)
}

// leaseOf says what tokens of a call are bound to.
func (s *streamService) leaseOf(ctx context.Context, stream, consumer string) (ticketSeal, error) {
	key, err := s.tickets.sealing(ctx, s.gateway.System())
	return ticketSeal{key, busOf(ctx).Tenant(), busOf(ctx).User(), stream, consumer}, err
}

// FetchMessages implements StreamService. What the client has not taken, because it went meanwhile, goes back at once.
func (s *streamService) FetchMessages(ctx context.Context, req *porticov1.FetchMessagesRequest) (*porticov1.FetchMessagesResponse, error) {
	var k checks
	limit, wait := fetchSize(&k, req)
	if k.err != nil {
		return nil, k.err
	}
	seal, err := s.leaseOf(ctx, req.GetStream(), req.GetConsumer())
	if err != nil {
		return nil, err
	}
	waiting, cancel := s.untilDrain(ctx)
	defer cancel()
	lent, err := busOf(ctx).Fetch(waiting, req.GetStream(), req.GetConsumer(), limit, batchBytes, wait)
	switch gone := busOf(ctx).Err(); {
	case gone != nil:
		s.giveBack(ctx, lent)
		return nil, gone
	case err != nil && s.draining.Err() != nil:
		return nil, errDraining
	case err != nil:
		return nil, consumerError(ctx, err, req.GetStream())
	case ctx.Err() != nil:
		s.giveBack(ctx, lent)
		return nil, ctx.Err()
	}
	resp := &porticov1.FetchMessagesResponse{}
	for i := range lent {
		m := &lent[i]
		if m.Attempt > 1 {
			s.metrics.Redeliveries.Inc()
		}
		resp.Messages = append(resp.Messages, &porticov1.LentMessage{
			Token: seal.seal(m.Ticket), Message: s.storedMessage(&m.StoredMessage), Attempt: m.Attempt, Pending: m.Pending,
		})
	}
	return resp, nil
}

// giveBack returns what was fetched for a client that is not there any more.
func (s *streamService) giveBack(ctx context.Context, lent []core.Lent) {
	if len(lent) == 0 {
		return
	}
	tickets := make([]string, len(lent))
	for i := range lent {
		tickets[i] = lent[i].Ticket
	}
	bus := busOf(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	for _, err := range bus.SettleAllLent(ctx, tickets, core.StreamNak, 0) {
		if err != nil {
			s.log.Debug("a message comes back when its lease has run out", "door", door, "err", err)
		}
	}
}

func lentOutcome(o porticov1.LentOutcome) (core.StreamOutcome, error) {
	switch o {
	case porticov1.LentOutcome_LENT_OUTCOME_ACK:
		return core.StreamAck, nil
	case porticov1.LentOutcome_LENT_OUTCOME_NACK:
		return core.StreamNak, nil
	case porticov1.LentOutcome_LENT_OUTCOME_TERM:
		return core.StreamTerm, nil
	case porticov1.LentOutcome_LENT_OUTCOME_IN_PROGRESS:
		return core.StreamExtend, nil
	}
	return 0, badField("outcome", "it must be said, and there is no %d", o)
}

// SettleMessages implements StreamService.
func (s *streamService) SettleMessages(ctx context.Context, req *porticov1.SettleMessagesRequest) (*porticov1.SettleMessagesResponse, error) {
	outcome, err := lentOutcome(req.GetOutcome())
	if err != nil {
		return nil, err
	}
	var k checks
	tokens := req.GetTokens()
	delay := k.duration("delay", req.GetDelay(), 0, maxTime)
	if req.GetDelay() != nil && outcome != core.StreamNak {
		k.fail("delay", "it goes with LENT_OUTCOME_NACK, and only with that")
	}
	if n := len(tokens); n == 0 || n > maxFetch {
		k.fail("tokens", "%d of them: want 1 to %d", n, maxFetch)
	}
	if k.err != nil {
		return nil, k.err
	}
	seal, err := s.leaseOf(ctx, req.GetStream(), req.GetConsumer())
	if err != nil {
		return nil, err
	}
	errs := make([]error, len(tokens))
	var tickets []string
	var places []int // of the tickets among the tokens
	for i, token := range tokens {
		ticket, err := seal.open(token)
		if errs[i] = err; err == nil {
			tickets, places = append(tickets, ticket), append(places, i)
		}
	}
	if len(tickets) > 0 {
		for i, err := range busOf(ctx).SettleAllLent(ctx, tickets, outcome, delay) {
			errs[places[i]] = err
		}
	}
	results, failed := s.settleResults(tokens, errs, outcome == core.StreamAck)
	return &porticov1.SettleMessagesResponse{Results: results, Failed: failed}, nil
}

// settleResults tells what became of tokens, and counts acknowledgements.
func (a *Adapter) settleResults(tokens []string, errs []error, acks bool) (results []*porticov1.SettleResult, failed uint32) {
	results = make([]*porticov1.SettleResult, len(tokens))
	for i, err := range errs {
		results[i] = &porticov1.SettleResult{Token: tokens[i]}
		if err != nil {
			results[i].Failure = toFailure(inField(err, "tokens"))
			failed++
		}
	}
	if acks {
		a.metrics.Acks.Add(float64(len(tokens) - int(failed)))
	}
	return results, failed
}
