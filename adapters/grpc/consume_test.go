package grpcapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	grpcapi "portico/adapters/grpc"
	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
)

// consumer is a Consume stream.
type consumer struct {
	*house
	grpc.BidiStreamingClient[porticov1.ConsumeRequest, porticov1.ConsumeResponse]
	cancel context.CancelFunc
	rest   []*porticov1.Delivery // received and not yet asked for
}

func (h *house) consume(start *porticov1.ConsumeStart) *consumer {
	h.Helper()
	ctx, cancel := context.WithCancel(h.ctx())
	h.Cleanup(cancel)
	stream, err := h.client.Consume(ctx)
	if err == nil {
		err = stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: start}})
	}
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		h.Fatal(err)
	}
	return &consumer{house: h, BidiStreamingClient: stream, cancel: cancel}
}

// next returns the next n deliveries; nothing else may come between.
func (c *consumer) next(n int) []*porticov1.Delivery {
	c.house.Helper()
	for len(c.rest) < n {
		resp, err := c.Recv()
		if err != nil || resp.GetDeliveries() == nil {
			c.Fatalf("no deliveries after %d of %d: %v, %v", len(c.rest), n, resp, err)
		}
		c.rest = append(c.rest, resp.GetDeliveries().GetDeliveries()...)
	}
	got := c.rest[:n]
	c.rest = c.rest[n:]
	return got
}

func (c *consumer) send(req *porticov1.ConsumeRequest) {
	c.house.Helper()
	if err := c.Send(req); err != nil {
		c.Fatal(err)
	}
}

func (c *consumer) ack(ids ...uint64) {
	c.house.Helper()
	c.send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Ack{Ack: &porticov1.ConsumeAck{Ids: ids}}})
}

func (c *consumer) nack(requeue bool, ids ...uint64) {
	c.house.Helper()
	nack := &porticov1.ConsumeNack{Ids: ids, Requeue: requeue}
	c.send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Nack{Nack: nack}})
}

func (c *consumer) extend(lease time.Duration, ids ...uint64) {
	c.house.Helper()
	extend := &porticov1.ConsumeExtend{Ids: ids, Lease: durationpb.New(lease)}
	c.send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Extend{Extend: extend}})
}

// answer returns the next frame that is not deliveries; those are kept for next.
func (c *consumer) answer() *porticov1.ConsumeResponse {
	c.house.Helper()
	for {
		resp, err := c.Recv()
		if err != nil {
			c.Fatal(err)
		}
		if resp.GetDeliveries() == nil {
			return resp
		}
		c.rest = append(c.rest, resp.GetDeliveries().GetDeliveries()...)
	}
}

// settled waits until so many settlements have been answered.
func (c *consumer) settled(n int) {
	c.house.Helper()
	for n > 0 {
		resp := c.answer()
		if resp.GetSettled() == nil {
			c.Fatalf("not settled: %v", resp)
		}
		n -= len(resp.GetSettled().GetIds())
	}
}

func payloads(deliveries []*porticov1.Delivery) []string {
	var all []string
	for _, d := range deliveries {
		all = append(all, string(d.GetMessage().GetData()))
	}
	return all
}

func ids(deliveries []*porticov1.Delivery) []uint64 {
	var all []uint64
	for _, d := range deliveries {
		all = append(all, d.GetId())
	}
	return all
}

func TestConsumeAndAck(t *testing.T) {
	for name, durable := range map[string]bool{"memory": false, "durable": true} {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			h.declare(&porticov1.Queue{Name: "jobs", Durable: durable})
			h.append("jobs", "a", "b", "c")
			c := h.consume(&porticov1.ConsumeStart{Queue: "jobs"})
			got := c.next(3)
			if !slices.Equal(payloads(got), []string{"a", "b", "c"}) || !slices.Equal(ids(got), []uint64{1, 2, 3}) {
				t.Errorf("delivered %v", got)
			}
			for _, d := range got {
				if d.GetAttempt() != 1 || d.GetRedelivered() {
					t.Errorf("first delivery says %v", d)
				}
			}
			c.ack(1, 3, 3)
			c.settled(2)
			if info := h.info("jobs"); info.GetReady() != 0 || info.GetUnacked() != 1 || info.GetConsumers() != 1 {
				t.Errorf("after two of three: %v", info)
			}
			c.ack(1)
			if f := c.answer().GetFailure(); !slices.Equal(f.GetIds(), []uint64{1}) || f.GetFailure().GetReason() != "precondition-failed" {
				t.Errorf("acked twice: %v", f)
			}
			c.ack(2)
			c.settled(1)
			if info := h.info("jobs"); info.GetReady()+info.GetUnacked() != 0 {
				t.Errorf("after all: %v", info)
			}
		})
	}
}

func TestNackReturnsToItsPlace(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	h.append("jobs", "a", "b", "c", "d")
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Credit: 2})
	c.nack(true, ids(c.next(2))...)
	c.settled(2)
	again := c.next(2)
	if !slices.Equal(payloads(again), []string{"a", "b"}) {
		t.Errorf("redelivered %v", again)
	}
	for _, d := range again {
		if !d.GetRedelivered() || d.GetAttempt() != 2 {
			t.Errorf("second delivery says %v", d)
		}
	}
	c.ack(ids(again)...)
	c.settled(2)
	if got := payloads(c.next(2)); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("then %v", got)
	}
}

func TestRejectGoesToTheDeadLetters(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "dead"})
	h.declare(&porticov1.Queue{Name: "jobs", DeadLetter: &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Queue{Queue: "dead"}}})
	h.append("jobs", "bad")
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs"})
	c.nack(false, ids(c.next(1))...)
	c.settled(1)
	if got := payloads(h.consume(&porticov1.ConsumeStart{Queue: "dead"}).next(1)); got[0] != "bad" {
		t.Errorf("in the dead letters: %v", got)
	}
}

func TestCreditIsAWindow(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	for i := range 10 {
		h.append("jobs", fmt.Sprint(i))
	}
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Credit: 2})
	first := c.next(2)
	if info := h.info("jobs"); info.GetUnacked() != 2 || info.GetReady() != 8 {
		t.Errorf("credit 2: %v", info)
	}
	c.ack(first[0].GetId())
	c.settled(1)
	c.next(1)
	c.send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Credit{Credit: &porticov1.ConsumeCredit{Credit: 3}}})
	c.next(3)
	if info := h.info("jobs"); info.GetUnacked() != 5 || info.GetReady() != 4 {
		t.Errorf("credit 2 and 3 more: %v", info)
	}
}

func TestCancelledConsumerReturnsEverythingAtOnce(t *testing.T) {
	for name, leave := range map[string]func(*consumer){
		"cancelled":       func(c *consumer) { c.cancel() },
		"connection gone": func(c *consumer) { _ = c.conn.Close() },
		"half-closed":     func(c *consumer) { _ = c.CloseSend() },
		"protocol error":  func(c *consumer) { _ = c.Send(&porticov1.ConsumeRequest{}) },
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			h.declare(&porticov1.Queue{Name: "jobs"})
			h.append("jobs", "a", "b", "c")
			second := &house{T: t, gateway: h.gateway, bus: h.bus, address: h.address}
			second.conn = second.dial()
			second.client = porticov1.NewPorticoServiceClient(second.conn)
			first := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Lease: durationpb.New(time.Hour)})
			first.ack(first.next(3)[1].GetId())
			first.settled(1)
			leave(first)
			got := second.consume(&porticov1.ConsumeStart{Queue: "jobs"}).next(2)
			if !slices.Equal(payloads(got), []string{"a", "c"}) || !got[0].GetRedelivered() || !got[1].GetRedelivered() {
				t.Errorf("the next consumer gets %v", got)
			}
		})
	}
}

func TestLeases(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	h.append("jobs", "short", "long")
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Lease: durationpb.New(300 * time.Millisecond)})
	c.next(2)
	c.extend(time.Hour, 2, 7)
	if f := c.answer().GetFailure(); !slices.Equal(f.GetIds(), []uint64{7}) {
		t.Errorf("extended what was never delivered: %v", f)
	}
	if e := c.answer().GetExtended(); !slices.Equal(e.GetIds(), []uint64{2}) {
		t.Errorf("extended %v", e)
	}
	lapsed := c.next(1)[0] // the first came back, to us again
	if string(lapsed.GetMessage().GetData()) != "short" || lapsed.GetId() != 3 || !lapsed.GetRedelivered() {
		t.Errorf("lapsed: %v", lapsed)
	}
	c.ack(1, 2)
	answers := map[uint64]bool{}
	for len(answers) < 2 {
		switch resp := c.answer(); {
		case resp.GetFailure() != nil:
			answers[resp.GetFailure().GetIds()[0]] = false
		case resp.GetSettled() != nil:
			answers[resp.GetSettled().GetIds()[0]] = true
		}
	}
	if ok, told := answers[1]; ok || !told {
		t.Error("a lapsed delivery was acked")
	}
	if !answers[2] {
		t.Error("an extended delivery was not acked")
	}
}

func TestLapsedDeliveriesDoNotFillTheStream(t *testing.T) {
	h := startWith(t, core.Config{}, grpcapi.Config{HeldMessages: 2})
	h.declare(&porticov1.Queue{Name: "jobs"})
	h.append("jobs", "a", "b")
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Lease: durationpb.New(20 * time.Millisecond)})
	for i, d := range c.next(6) { // two at a time, three times: nobody settles them
		if d.GetAttempt() != uint32(i/2+1) {
			t.Errorf("delivery %d is attempt %d", i, d.GetAttempt())
		}
	}
}

func TestAutoAck(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	h.append("jobs", "a", "b", "c")
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs", AutoAck: true, Credit: 2})
	if err := c.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if got := payloads(c.next(2)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
	if _, err := c.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the credit was used up: %v", err)
	}
	h.eventually("the consumer is gone", func() bool { return h.info("jobs").GetConsumers() == 0 })
	if info := h.info("jobs"); info.GetReady() != 1 || info.GetUnacked() != 0 {
		t.Errorf("left: %v", info)
	}
}

func TestHalfClosedConsumerGetsItsAnswers(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs", Durable: true})
	for i := range 200 {
		h.append("jobs", fmt.Sprint(i))
	}
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Credit: 200})
	for _, id := range ids(c.next(200)) {
		c.ack(id)
	}
	if err := c.CloseSend(); err != nil {
		t.Fatal(err)
	}
	c.settled(200)
	if _, err := c.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
}

func TestExclusiveConsumer(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	h.consume(&porticov1.ConsumeStart{Queue: "jobs", Exclusive: true})
	want(t, h.tryConsume(&porticov1.ConsumeStart{Queue: "jobs"}), codes.FailedPrecondition, "resource-locked")
}

// tryConsume returns what a stream ends with.
func (h *house) tryConsume(start *porticov1.ConsumeStart, more ...*porticov1.ConsumeRequest) error {
	stream, err := h.client.Consume(h.ctx())
	if err != nil {
		return err
	}
	if start != nil {
		_ = stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: start}})
	}
	for _, req := range more {
		_ = stream.Send(req) // the error comes with Recv
	}
	if start == nil && len(more) == 0 {
		_ = stream.CloseSend()
	}
	for err == nil {
		_, err = stream.Recv()
	}
	return err
}

func TestConsumeFrames(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	fine := &porticov1.ConsumeStart{Queue: "jobs"}
	startFrame := &porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: fine}}
	extend := func(lease *durationpb.Duration) *porticov1.ConsumeRequest {
		return &porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Extend{Extend: &porticov1.ConsumeExtend{Ids: []uint64{1}, Lease: lease}}}
	}
	manyIDs := &porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Ack{Ack: &porticov1.ConsumeAck{Ids: make([]uint64, 65537)}}}
	leased := &porticov1.ConsumeStart{Queue: "jobs", Lease: durationpb.New(time.Minute)}
	for name, test := range map[string]struct {
		start *porticov1.ConsumeStart
		more  []*porticov1.ConsumeRequest
	}{
		"nothing":             {nil, nil},
		"no start":            {nil, []*porticov1.ConsumeRequest{{}}},
		"start twice":         {fine, []*porticov1.ConsumeRequest{startFrame}},
		"empty frame":         {fine, []*porticov1.ConsumeRequest{{}}},
		"too many ids":        {fine, []*porticov1.ConsumeRequest{manyIDs}},
		"extend no lease":     {fine, []*porticov1.ConsumeRequest{extend(durationpb.New(time.Second))}},
		"extend by nothing":   {leased, []*porticov1.ConsumeRequest{extend(nil)}},
		"extend by too much":  {leased, []*porticov1.ConsumeRequest{extend(durationpb.New(25 * time.Hour))}},
		"negative lease":      {&porticov1.ConsumeStart{Queue: "jobs", Lease: durationpb.New(-1)}, nil},
		"lease out of bounds": {&porticov1.ConsumeStart{Queue: "jobs", Lease: &durationpb.Duration{Seconds: 1 << 60}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			want(t, h.tryConsume(test.start, test.more...), codes.InvalidArgument, "invalid-argument")
		})
	}
	want(t, h.tryConsume(&porticov1.ConsumeStart{Queue: "none"}), codes.NotFound, "not-found")
	if info := h.info("jobs"); info.GetConsumers() != 0 {
		t.Errorf("left behind: %v", info)
	}
}

func TestConsumersOfADeletedQueueAreTold(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	h.append("jobs", "a", "b")
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Credit: 1})
	c.next(1)
	resp, err := h.client.DeleteQueue(h.ctx(), &porticov1.DeleteQueueRequest{Queue: "jobs"})
	if err != nil || resp.GetReady() != 1 {
		t.Errorf("deleted %v, %v", resp, err)
	}
	_, err = c.Recv()
	want(t, err, codes.NotFound, "not-found")
}

func TestConsumerThatDoesNotReadIsPassedOver(t *testing.T) {
	h := startWith(t, core.Config{}, grpcapi.Config{OutboundBytes: 256 << 10})
	h.declare(&porticov1.Queue{Name: "jobs"})
	const n = 200
	payload := strings.Repeat("x", 64<<10)
	for range n {
		h.append("jobs", payload)
	}
	lazy := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Credit: n})
	busy := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Credit: n})
	first := busy.next(n / 2) // the lazy one has room for a dozen
	lazy.next(4)              // and goes on where it was
	lazy.cancel()
	rest := busy.next(n - n/2)
	busy.ack(ids(append(first, rest...))...)
	busy.settled(n)
}

func TestConsumerThatSettlesOneByOneIsNeverStuck(t *testing.T) {
	h := startWith(t, core.Config{}, grpcapi.Config{OutboundBytes: 64 << 10, OutboundMessages: 16})
	h.declare(&porticov1.Queue{Name: "jobs"})
	const n = 3000
	for range n {
		h.append("jobs", strings.Repeat("x", 1<<10))
	}
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Credit: 2000})
	left := n
	for left > 0 {
		resp, err := c.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range resp.GetDeliveries().GetDeliveries() {
			c.ack(d.GetId())
		}
		left -= len(resp.GetSettled().GetIds())
	}
	if info := h.info("jobs"); info.GetReady()+info.GetUnacked() != 0 {
		t.Errorf("left: %v", info)
	}
}

func TestHeldMessagesAreBounded(t *testing.T) {
	h := startWith(t, core.Config{}, grpcapi.Config{HeldMessages: 100})
	h.declare(&porticov1.Queue{Name: "jobs"})
	for range 300 {
		h.append("jobs", "x")
	}
	c := h.consume(&porticov1.ConsumeStart{Queue: "jobs", Credit: 1 << 30})
	first := c.next(100)
	if unacked := h.info("jobs").GetUnacked(); unacked > 200 {
		t.Errorf("%d held, 100 are allowed and one batch more", unacked)
	}
	c.ack(ids(first)...)
	c.settled(100)
	c.ack(ids(c.next(100))...)
	c.settled(100)
	c.next(100)
}

func TestQueueAdministration(t *testing.T) {
	h := start(t)
	dead := &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Subject{Subject: "dead.jobs"}}
	described := &porticov1.Queue{Name: "jobs", Durable: true, MaxDeliveries: 3, DeadLetter: dead}
	for i, created := range []bool{true, false} {
		resp, err := h.client.DeclareQueue(h.ctx(), &porticov1.DeclareQueueRequest{Queue: described})
		if err != nil || resp.GetCreated() != created {
			t.Errorf("declared %d: %v, %v", i, resp, err)
		}
	}
	for range 2 {
		if _, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: "jobs", Pattern: "orders.*.new"}); err != nil {
			t.Error(err)
		}
	}
	h.append("jobs", "one", "two")
	info := h.info("jobs")
	q := info.GetQueue()
	if q.GetName() != "jobs" || !q.GetDurable() || q.GetMaxDeliveries() != 3 || q.GetDeadLetter().GetSubject() != "dead.jobs" ||
		info.GetReady() != 2 || info.GetBytes() == 0 || !slices.Equal(info.GetBindings(), []string{"orders.*.new"}) || info.GetExclusive() {
		t.Errorf("described as %v", info)
	}
	for range 2 {
		if _, err := h.client.Unbind(h.ctx(), &porticov1.UnbindRequest{Queue: "jobs", Pattern: "orders.*.new"}); err != nil {
			t.Error(err)
		}
	}
	if bindings := h.info("jobs").GetBindings(); len(bindings) != 0 {
		t.Errorf("still bound: %v", bindings)
	}
	purged, err := h.client.PurgeQueue(h.ctx(), &porticov1.PurgeQueueRequest{Queue: "jobs"})
	if err != nil || purged.GetPurged() != 2 {
		t.Errorf("purged %v, %v", purged, err)
	}
}

func TestListQueuesInPages(t *testing.T) {
	h := start(t)
	var names []string
	for i := range 7 {
		names = append(names, fmt.Sprintf("q%d", i))
		h.declare(&porticov1.Queue{Name: names[i]})
	}
	var got []string
	token := ""
	for pages := 0; pages == 0 || token != ""; pages++ {
		resp, err := h.client.ListQueues(h.ctx(), &porticov1.ListQueuesRequest{PageSize: 3, PageToken: token})
		if err != nil || len(resp.GetQueues()) > 3 {
			t.Fatalf("page %d: %v, %v", pages, resp, err)
		}
		for _, info := range resp.GetQueues() {
			got = append(got, info.GetQueue().GetName())
		}
		if pages == 1 { // one that goes while we turn the pages
			if _, err := h.client.DeleteQueue(h.ctx(), &porticov1.DeleteQueueRequest{Queue: "q5"}); err != nil {
				t.Fatal(err)
			}
		}
		token = resp.GetNextPageToken()
	}
	if !slices.Equal(got, names) {
		t.Errorf("listed %v", got)
	}
}
