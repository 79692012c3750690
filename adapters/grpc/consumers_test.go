package grpcapi_test

import (
	"slices"
	"strconv"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// lend fetches from consumer c of stream a until n have come.
func (h *house) lend(n int) (got []*porticov1.LentMessage) {
	h.Helper()
	h.eventually(strconv.Itoa(n)+" messages", func() bool {
		req := &porticov1.FetchMessagesRequest{Stream: "a", Consumer: "c", Max: uint32(n - len(got)), Wait: durationpb.New(time.Second)}
		resp, err := h.streams().FetchMessages(h.ctx(), req)
		if err != nil {
			h.Fatal(err)
		}
		got = append(got, resp.GetMessages()...)
		return len(got) == n
	})
	return got
}

func (h *house) settleLent(outcome porticov1.LentOutcome, tokens ...string) *porticov1.SettleMessagesResponse {
	h.Helper()
	resp, err := h.streams().SettleMessages(h.ctx(), &porticov1.SettleMessagesRequest{Stream: "a", Consumer: "c", Tokens: tokens, Outcome: outcome})
	if err != nil {
		h.Fatal(err)
	}
	return resp
}

func TestConsumerLendsUntilSettled(t *testing.T) {
	h := start(t)
	h.stream("a", 4)
	c := &porticov1.Consumer{Name: "c", AckWait: durationpb.New(20 * time.Second), MaxDeliver: 5, Deliver: porticov1.DeliverPolicy_DELIVER_POLICY_SEQUENCE, StartSequence: 2}
	for _, created := range []bool{true, false} {
		resp, err := h.streams().CreateConsumer(h.ctx(), &porticov1.CreateConsumerRequest{Stream: "a", Consumer: c})
		if err != nil || resp.GetCreated() != created || resp.GetInfo().GetConsumer().GetStartSequence() != 2 {
			t.Fatalf("created %v, %v", resp, err)
		}
	}
	got := h.lend(3)
	if string(got[0].GetMessage().GetMessage().GetData()) != "2" || got[0].GetAttempt() != 1 || got[0].GetPending() != 2 {
		t.Errorf("lent %v", got[0])
	}
	h.settleLent(porticov1.LentOutcome_LENT_OUTCOME_IN_PROGRESS, got[0].GetToken())
	h.settleLent(porticov1.LentOutcome_LENT_OUTCOME_ACK, got[0].GetToken())
	h.settleLent(porticov1.LentOutcome_LENT_OUTCOME_TERM, got[1].GetToken())
	h.settleLent(porticov1.LentOutcome_LENT_OUTCOME_NACK, got[2].GetToken())
	again := h.lend(1)
	if string(again[0].GetMessage().GetMessage().GetData()) != "4" || again[0].GetAttempt() != 2 {
		t.Errorf("lent again %v", again)
	}
	late := h.settleLent(porticov1.LentOutcome_LENT_OUTCOME_ACK, "not a token", again[0].GetToken())
	if late.GetFailed() != 1 || late.GetResults()[0].GetFailure().GetField() != "tokens" || late.GetResults()[1].GetFailure() != nil {
		t.Errorf("settled %v", late)
	}
	info, err := h.streams().GetConsumer(h.ctx(), &porticov1.GetConsumerRequest{Stream: "a", Consumer: "c"})
	if err != nil || info.GetInfo().GetAckFloor() != 4 || info.GetInfo().GetAckPending() != 0 {
		t.Errorf("the consumer is %v, %v", info, err)
	}
}

func TestTokenOfAnotherConsumerIsRefused(t *testing.T) {
	h := start(t)
	h.stream("a", 1)
	for _, name := range []string{"c", "d"} {
		if _, err := h.streams().CreateConsumer(h.ctx(), &porticov1.CreateConsumerRequest{Stream: "a", Consumer: &porticov1.Consumer{Name: name}}); err != nil {
			t.Fatal(err)
		}
	}
	token := h.lend(1)[0].GetToken()
	req := &porticov1.SettleMessagesRequest{Stream: "a", Consumer: "d", Tokens: []string{token}, Outcome: porticov1.LentOutcome_LENT_OUTCOME_ACK}
	resp, err := h.streams().SettleMessages(h.ctx(), req)
	if err != nil || resp.GetFailed() != 1 || resp.GetResults()[0].GetFailure().GetReason() != "precondition-failed" {
		t.Errorf("settled %v, %v", resp, err)
	}
}

func TestConsumersArePausedListedAndDeleted(t *testing.T) {
	h := start(t)
	h.stream("a", 1)
	if _, err := h.streams().CreateConsumer(h.ctx(), &porticov1.CreateConsumerRequest{Stream: "a", Consumer: &porticov1.Consumer{Name: "c"}}); err != nil {
		t.Fatal(err)
	}
	until := timestamppb.New(time.Now().Add(time.Hour))
	paused, err := h.streams().PauseConsumer(h.ctx(), &porticov1.PauseConsumerRequest{Stream: "a", Consumer: "c", Until: until})
	if err != nil || paused.GetInfo().GetPausedUntil() == nil {
		t.Errorf("paused %v, %v", paused, err)
	}
	if resp, err := h.streams().FetchMessages(h.ctx(), &porticov1.FetchMessagesRequest{Stream: "a", Consumer: "c"}); err != nil || len(resp.GetMessages()) != 0 {
		t.Errorf("while it pauses: %v, %v", resp, err)
	}
	if resumed, err := h.streams().PauseConsumer(h.ctx(), &porticov1.PauseConsumerRequest{Stream: "a", Consumer: "c"}); err != nil || resumed.GetInfo().GetPausedUntil() != nil {
		t.Errorf("resumed %v, %v", resumed, err)
	}
	h.lend(1)
	list, err := h.streams().ListConsumers(h.ctx(), &porticov1.ListConsumersRequest{Stream: "a"})
	if err != nil || len(list.GetConsumers()) != 1 || list.GetConsumers()[0].GetAckPending() != 1 {
		t.Errorf("consumers %v, %v", list, err)
	}
	if _, err := h.streams().DeleteConsumer(h.ctx(), &porticov1.DeleteConsumerRequest{Stream: "a", Consumer: "c"}); err != nil {
		t.Error(err)
	}
	_, err = h.streams().GetConsumer(h.ctx(), &porticov1.GetConsumerRequest{Stream: "a", Consumer: "c"})
	want(t, err, codes.NotFound, "not-found")
	wantField(t, err, "consumer")
}

// fetch fetches from queue q until n messages have come.
func (h *house) fetch(n int, lease time.Duration) (got []*porticov1.FetchedMessage) {
	h.Helper()
	h.eventually(strconv.Itoa(n)+" messages", func() bool {
		req := &porticov1.FetchRequest{Queue: "q", Max: uint32(n - len(got)), Wait: durationpb.New(time.Second), Lease: durationpb.New(lease)}
		resp, err := h.client.Fetch(h.ctx(), req)
		if err != nil {
			h.Fatal(err)
		}
		got = append(got, resp.GetMessages()...)
		return len(got) == n
	})
	return got
}

func (h *house) settle(outcome porticov1.SettleOutcome, tokens ...string) *porticov1.SettleResponse {
	h.Helper()
	resp, err := h.client.Settle(h.ctx(), &porticov1.SettleRequest{Queue: "q", Tokens: tokens, Outcome: outcome})
	if err != nil {
		h.Fatal(err)
	}
	return resp
}

func TestFetchAndSettle(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "dead"})
	h.declare(&porticov1.Queue{Name: "q", DeadLetter: &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Queue{Queue: "dead"}}})
	h.append("q", "a", "b", "c")
	got := h.fetch(3, time.Minute)
	if i := slices.IndexFunc(got, func(m *porticov1.FetchedMessage) bool { return m.GetAttempt() != 1 || m.GetRedelivered() }); i >= 0 {
		t.Errorf("fetched %v", got[i])
	}
	h.settle(porticov1.SettleOutcome_SETTLE_OUTCOME_EXTEND, got[0].GetToken())
	h.settle(porticov1.SettleOutcome_SETTLE_OUTCOME_ACK, got[0].GetToken())
	h.settle(porticov1.SettleOutcome_SETTLE_OUTCOME_DEAD_LETTER, got[1].GetToken())
	h.settle(porticov1.SettleOutcome_SETTLE_OUTCOME_REQUEUE, got[2].GetToken())
	h.eventually("a dead letter", func() bool { return h.info("dead").GetReady() == 1 })
	again := h.fetch(1, time.Minute)
	if string(again[0].GetMessage().GetData()) != "c" || !again[0].GetRedelivered() {
		t.Errorf("fetched again %v", again[0])
	}
	resp := h.settle(porticov1.SettleOutcome_SETTLE_OUTCOME_ACK, "nonsense", got[2].GetToken(), again[0].GetToken())
	r := resp.GetResults()
	if resp.GetFailed() != 2 || r[0].GetFailure().GetReason() != "invalid-argument" || r[1].GetFailure().GetReason() != "precondition-failed" || r[2].GetFailure() != nil {
		t.Errorf("settled %v", resp)
	}
	if info := h.info("q"); info.GetReady() != 0 || info.GetUnacked() != 0 {
		t.Errorf("the queue has %v", info)
	}
}

func TestLeaseOfAFetchRunsOut(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "q"})
	h.append("q", "a")
	token := h.fetch(1, 10*time.Millisecond)[0].GetToken()
	again := h.fetch(1, time.Minute)[0]
	if again.GetAttempt() != 2 {
		t.Errorf("fetched again %v", again)
	}
	if resp := h.settle(porticov1.SettleOutcome_SETTLE_OUTCOME_ACK, token); resp.GetFailed() != 1 || resp.GetResults()[0].GetFailure().GetReason() != "precondition-failed" {
		t.Errorf("settled after the lease: %v", resp)
	}
	h.settle(porticov1.SettleOutcome_SETTLE_OUTCOME_ACK, again.GetToken())
}

func TestFetchWithoutMessages(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "q"})
	if resp, err := h.client.Fetch(h.ctx(), &porticov1.FetchRequest{Queue: "q"}); err != nil || len(resp.GetMessages()) != 0 {
		t.Errorf("fetched %v, %v", resp, err)
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := h.client.Fetch(h.ctx(), &porticov1.FetchRequest{Queue: "q", Wait: durationpb.New(time.Minute)})
		waiting <- err
	}()
	h.eventually("a consumer", func() bool { return h.info("q").GetConsumers() == 1 })
	if _, err := h.client.DeleteQueue(h.ctx(), &porticov1.DeleteQueueRequest{Queue: "q"}); err != nil {
		t.Fatal(err)
	}
	want(t, <-waiting, codes.NotFound, "not-found")
}

func TestDeadLetterFrame(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "dead"})
	h.declare(&porticov1.Queue{Name: "q", DeadLetter: &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Queue{Queue: "dead"}}})
	h.append("q", "a")
	c := h.consume(&porticov1.ConsumeStart{Queue: "q"})
	c.send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_DeadLetter{DeadLetter: &porticov1.ConsumeDeadLetter{Ids: []uint64{c.next(1)[0].GetId()}}}})
	c.settled(1)
	h.eventually("a dead letter", func() bool { return h.info("dead").GetReady() == 1 })
}
