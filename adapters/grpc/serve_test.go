package grpcapi_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	grpcapi "portico/adapters/grpc"
	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func metadataContext(ctx context.Context, pairs ...string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

// responder is a Serve stream.
type responder struct {
	*house
	grpc.BidiStreamingClient[porticov1.ServeRequest, porticov1.ServeResponse]
}

func (h *house) serve(subject, group string) *responder {
	h.Helper()
	stream, err := h.client.Serve(h.ctx())
	if err == nil {
		start := &porticov1.ServeStart{Subject: subject, Group: group}
		err = stream.Send(&porticov1.ServeRequest{Frame: &porticov1.ServeRequest_Start{Start: start}})
	}
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		h.Fatal(err)
	}
	return &responder{h, stream}
}

func (r *responder) call() *porticov1.ServeCall {
	r.house.Helper()
	resp, err := r.Recv()
	if err != nil || resp.GetCall() == nil {
		r.Fatalf("no call: %v, %v", resp, err)
	}
	return resp.GetCall()
}

func (r *responder) answer(id uint64, m *porticov1.Message) {
	r.house.Helper()
	answer := &porticov1.ServeAnswer{Id: id, Message: m}
	if err := r.Send(&porticov1.ServeRequest{Frame: &porticov1.ServeRequest_Answer{Answer: answer}}); err != nil {
		r.Fatal(err)
	}
}

func (r *responder) failure() *porticov1.ServeFailure {
	r.house.Helper()
	resp, err := r.Recv()
	if err != nil || resp.GetFailure() == nil {
		r.Fatalf("no failure: %v, %v", resp, err)
	}
	return resp.GetFailure()
}

type reply struct {
	message *porticov1.Message
	err     error
}

func (h *house) request(ctx context.Context, m *porticov1.Message) <-chan reply {
	replies := make(chan reply, 1)
	go func() {
		resp, err := h.client.Request(ctx, &porticov1.RequestRequest{Message: m})
		replies <- reply{resp.GetMessage(), err}
	}()
	return replies
}

func TestRequestAndServe(t *testing.T) {
	h := start(t)
	r := h.serve("math.*", "")
	question := message("math.double", "21")
	question.Headers = map[string]*porticov1.HeaderValues{"X-Unit": {Values: []string{"m"}}}
	replies := h.request(h.ctx(), question)
	call := r.call()
	if call.GetMessage().GetReply() == "" {
		t.Error("a call without a reply subject")
	}
	question.Reply = call.GetMessage().GetReply()
	same(t, call.GetMessage(), question)
	r.answer(call.GetId(), &porticov1.Message{Subject: "ignored", Headers: question.GetHeaders(), Data: []byte("42")})
	got := <-replies
	if got.err != nil || string(got.message.GetData()) != "42" || got.message.GetHeaders()["X-Unit"].GetValues()[0] != "m" {
		t.Errorf("answer %v, %v", got.message, got.err)
	}
}

func TestRequestWithoutResponders(t *testing.T) {
	h := start(t)
	begun := time.Now()
	_, err := h.client.Request(h.ctx(), &porticov1.RequestRequest{Message: message("nobody", "x")})
	want(t, err, codes.Unavailable, "no-responders")
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("told after %v", took)
	}
}

func TestRequestTimesOut(t *testing.T) {
	h := startWith(t, core.Config{}, grpcapi.Config{RequestTimeout: 50 * time.Millisecond})
	r := h.serve("slow", "")
	_, err := h.client.Request(context.WithoutCancel(h.ctx()), &porticov1.RequestRequest{Message: message("slow", "x")})
	want(t, err, codes.DeadlineExceeded, "timeout")
	call := r.call()
	if left := call.GetTimeout().AsDuration(); left <= 0 || left > 50*time.Millisecond {
		t.Errorf("the responder has %v", left)
	}
	if resp, err := r.Recv(); err != nil || resp.GetCancelled().GetId() != call.GetId() {
		t.Errorf("the responder is not told that nobody waits: %v, %v", resp, err)
	}
	for _, id := range []uint64{call.GetId(), 99} {
		r.answer(id, message("", "too late"))
		f := r.failure()
		if f.GetId() != id || f.GetFailure().GetReason() != "not-found" || f.GetFailure().GetField() != "answer.id" {
			t.Errorf("failure %v", f)
		}
	}
}

func TestCancelledRequestReachesTheResponder(t *testing.T) {
	h := start(t)
	r := h.serve("slow", "")
	ctx, cancel := context.WithCancel(h.ctx())
	replies := h.request(ctx, message("slow", "x"))
	call := r.call()
	cancel()
	if got := <-replies; status.Code(got.err) != codes.Canceled {
		t.Errorf("the requester got %v", got.err)
	}
	if resp, err := r.Recv(); err != nil || resp.GetCancelled().GetId() != call.GetId() {
		t.Errorf("the responder got %v, %v", resp, err)
	}
	replies = h.request(h.ctx(), message("slow", "y")) // the stream goes on
	r.answer(r.call().GetId(), message("", "z"))
	if got := <-replies; got.err != nil || string(got.message.GetData()) != "z" {
		t.Errorf("answer %v, %v", got.message, got.err)
	}
}

func TestServeGroupSharesRequests(t *testing.T) {
	h := start(t)
	one, other := h.serve("math", "g"), h.serve("math", "g")
	for name, r := range map[string]*responder{"one": one, "other": other} {
		go func() {
			for {
				resp, err := r.Recv()
				if err != nil {
					return
				}
				r.answer(resp.GetCall().GetId(), message("", name))
			}
		}()
	}
	seen := make(map[string]int)
	for range 50 {
		got := <-h.request(h.ctx(), message("math", "x"))
		if got.err != nil {
			t.Fatal(got.err)
		}
		seen[string(got.message.GetData())]++
	}
	if seen["one"] == 0 || seen["other"] == 0 {
		t.Errorf("not shared: %v", seen)
	}
}

func TestAnswersThatCannotBe(t *testing.T) {
	h := startWith(t, core.Config{}, grpcapi.Config{HeldMessages: 2})
	r := h.serve("math", "")
	if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("math", "no answer wanted")}); err != nil {
		t.Fatal(err)
	}
	unasked := r.call()
	r.answer(unasked.GetId(), message("", "x"))
	if f := r.failure(); f.GetId() != unasked.GetId() || f.GetFailure().GetReason() != "not-found" {
		t.Errorf("nobody asked: %v", f)
	}
	for range 3 {
		h.request(h.ctx(), message("math", "x"))
	}
	first, second := r.call(), r.call()
	r.call()
	r.answer(first.GetId(), message("", "forgotten"))
	if f := r.failure(); f.GetId() != first.GetId() || f.GetFailure().GetReason() != "not-found" {
		t.Errorf("two newer requests are remembered: %v", f)
	}
	r.answer(second.GetId(), nil)
	if f := r.failure(); f.GetId() != second.GetId() || f.GetFailure().GetReason() != "invalid-argument" {
		t.Errorf("an answer without a message: %v", f)
	}
	r.answer(second.GetId(), message("", "in time"))
	r.answer(second.GetId(), message("", "twice"))
	if f := r.failure(); f.GetId() != second.GetId() || f.GetFailure().GetReason() != "not-found" {
		t.Errorf("answered twice: %v", f)
	}
}

func TestServeFrames(t *testing.T) {
	h := start(t)
	startFrame := &porticov1.ServeRequest{Frame: &porticov1.ServeRequest_Start{Start: &porticov1.ServeStart{Subject: "a"}}}
	for name, frames := range map[string][]*porticov1.ServeRequest{
		"nothing":       nil,
		"no start":      {{}},
		"start twice":   {startFrame, startFrame},
		"empty frame":   {startFrame, {}},
		"empty subject": {{Frame: &porticov1.ServeRequest_Start{Start: &porticov1.ServeStart{}}}},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := h.client.Serve(h.ctx())
			if err != nil {
				t.Fatal(err)
			}
			for _, frame := range frames {
				_ = stream.Send(frame) // the error comes with Recv
			}
			if len(frames) == 0 {
				_ = stream.CloseSend()
			}
			_, err = stream.Recv()
			want(t, err, codes.InvalidArgument, "invalid-argument")
		})
	}
}

func TestServeHalfClosedEndsInPeace(t *testing.T) {
	h := start(t)
	r := h.serve("math", "")
	replies := h.request(h.ctx(), message("math", "x"))
	r.answer(r.call().GetId(), message("", "y"))
	if err := r.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if got := <-replies; got.err != nil {
		t.Errorf("the last answer: %v", got.err)
	}
	if _, err := r.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v", err)
	}
	h.eventually("nobody serves", func() bool { return !h.bus.Interest("math") })
}

// TestEveryResponderHearsThatNobodyWaits: responders of several groups get a request, and all are told that its requester has gone.
func TestEveryResponderHearsThatNobodyWaits(t *testing.T) {
	h := start(t)
	responders := []*responder{h.serve("s", "one"), h.serve("s", "two")}
	ctx, cancel := context.WithCancel(h.ctx())
	defer cancel()
	h.request(ctx, message("s", "x"))
	for _, r := range responders {
		r.call()
	}
	cancel()
	for i, r := range responders {
		timeout := time.AfterFunc(20*time.Second, func() { t.Errorf("responder %d is not told", i); h.drain() })
		resp, err := r.Recv()
		timeout.Stop()
		if err != nil || resp.GetCancelled() == nil {
			t.Errorf("responder %d: %v, %v", i, resp, err)
		}
	}
}
