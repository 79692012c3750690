package grpcapi_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (h *house) streams() porticov1.StreamServiceClient {
	return porticov1.NewStreamServiceClient(h.conn)
}

// stream makes a stream on its name with subjects below, and publishes payloads "1" to n.
func (h *house) stream(name string, n int) {
	h.Helper()
	s := &porticov1.Stream{Name: name, Subjects: []string{name + ".>"}, Storage: porticov1.Storage_STORAGE_MEMORY}
	if _, err := h.streams().CreateStream(h.ctx(), &porticov1.CreateStreamRequest{Stream: s}); err != nil {
		h.Fatal(err)
	}
	h.fill(name, 1, n)
}

func (h *house) fill(name string, from, to int) {
	h.Helper()
	for i := from; i <= to; i++ {
		m := message(name+".n"+strconv.Itoa(i%2), strconv.Itoa(i))
		if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: m}); err != nil {
			h.Fatal(err)
		}
	}
}

func TestPublishTellsStreamSequenceAndDuplicate(t *testing.T) {
	h := start(t)
	h.stream("orders", 0)
	for i, duplicate := range []bool{false, true} {
		resp, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("orders.new", "x"), MsgId: "one"})
		if err != nil || resp.GetStream() != "orders" || resp.GetSequence() != 1 || resp.GetDuplicate() != duplicate {
			t.Errorf("publish %d: %v, %v", i+1, resp, err)
		}
	}
	batch := &porticov1.PublishBatchRequest{Messages: []*porticov1.PublishRequest{
		{Message: message("orders.new", "x"), MsgId: "one"}, {Message: message("bad subject", "x")}, {Message: message("orders.new", "y"), MsgId: "two"}, {},
	}}
	resp, err := h.client.PublishBatch(h.ctx(), batch)
	if err != nil || resp.GetFailed() != 2 || len(resp.GetResults()) != 4 {
		t.Fatalf("batch: %v, %v", resp, err)
	}
	r := resp.GetResults()
	if !r[0].GetDuplicate() || r[1].GetFailure().GetField() != "message.subject" || r[2].GetSequence() != 2 || r[3].GetFailure().GetField() != "message" || r[3].GetId() != 3 {
		t.Errorf("results %v", r)
	}
}

func TestStreamIsDescribedChangedAndPurged(t *testing.T) {
	h := start(t)
	h.stream("a", 5)
	again, err := h.streams().CreateStream(h.ctx(), &porticov1.CreateStreamRequest{Stream: &porticov1.Stream{
		Name: "a", Subjects: []string{"a.>"}, Storage: porticov1.Storage_STORAGE_MEMORY,
	}})
	if err != nil || again.GetCreated() || again.GetInfo().GetMessages() != 5 {
		t.Errorf("created again: %v, %v", again, err)
	}
	_, err = h.streams().CreateStream(h.ctx(), &porticov1.CreateStreamRequest{Stream: &porticov1.Stream{Name: "a", Subjects: []string{"other"}}})
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	wanted := &porticov1.Stream{
		Name: "a", Subjects: []string{"a.>"}, Storage: porticov1.Storage_STORAGE_MEMORY, Discard: porticov1.Discard_DISCARD_NEW, MaxMessages: 7,
		MaxAge: durationpb.New(time.Hour), DuplicateWindow: durationpb.New(time.Minute), Description: "d",
	}
	changed, err := h.streams().UpdateStream(h.ctx(), &porticov1.UpdateStreamRequest{Stream: wanted})
	if err != nil {
		t.Fatal(err)
	}
	got := changed.GetInfo().GetStream()
	if got.GetDiscard() != wanted.GetDiscard() || got.GetMaxMessages() != 7 || got.GetMaxAge().AsDuration() != time.Hour || got.GetDescription() != "d" {
		t.Errorf("changed to %v", got)
	}
	purged, err := h.streams().PurgeStream(h.ctx(), &porticov1.PurgeStreamRequest{Stream: "a", Keep: 2})
	if err != nil || purged.GetPurged() != 3 {
		t.Errorf("purged %v, %v", purged, err)
	}
	info, err := h.streams().GetStream(h.ctx(), &porticov1.GetStreamRequest{Stream: "a"})
	if err != nil || info.GetInfo().GetFirstSequence() != 4 || info.GetInfo().GetLastSequence() != 5 || info.GetInfo().GetSubjects() != 2 {
		t.Errorf("info %v, %v", info, err)
	}
	if _, err := h.streams().DeleteStream(h.ctx(), &porticov1.DeleteStreamRequest{Stream: "a"}); err != nil {
		t.Error(err)
	}
	_, err = h.streams().GetStream(h.ctx(), &porticov1.GetStreamRequest{Stream: "a"})
	want(t, err, codes.NotFound, "not-found")
}

func TestStreamsAreListedInPages(t *testing.T) {
	h := start(t)
	for i := range 3 {
		h.stream("s"+strconv.Itoa(i), 0)
	}
	var names []string
	req := &porticov1.ListStreamsRequest{PageSize: 2}
	for {
		resp, err := h.streams().ListStreams(h.ctx(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range resp.GetStreams() {
			names = append(names, s.GetStream().GetName())
		}
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if len(names) != 3 || names[0] != "s0" || names[2] != "s2" {
		t.Errorf("streams %q", names)
	}
}

func payloadsOf(messages []*porticov1.StoredMessage) (all string) {
	for _, m := range messages {
		all += string(m.GetMessage().GetData())
	}
	return all
}

func TestReadMessages(t *testing.T) {
	h := start(t)
	h.stream("a", 6)
	for name, test := range map[string]struct {
		req  *porticov1.ReadMessagesRequest
		want string
		next uint64
	}{
		"all":         {&porticov1.ReadMessagesRequest{}, "123456", 7},
		"some":        {&porticov1.ReadMessagesRequest{Start: &porticov1.ReadMessagesRequest_FromSequence{FromSequence: 3}, Limit: 2}, "34", 5},
		"of subjects": {&porticov1.ReadMessagesRequest{Subjects: []string{"a.n0"}}, "246", 7},
		"long ago":    {&porticov1.ReadMessagesRequest{Start: &porticov1.ReadMessagesRequest_Since{Since: timestamppb.New(time.Unix(1, 0))}, Limit: 1}, "1", 2},
		"to come":     {&porticov1.ReadMessagesRequest{Start: &porticov1.ReadMessagesRequest_FromSequence{FromSequence: 7}}, "", 7},
	} {
		t.Run(name, func(t *testing.T) {
			test.req.Stream = "a"
			resp, err := h.streams().ReadMessages(h.ctx(), test.req)
			if err != nil || payloadsOf(resp.GetMessages()) != test.want || resp.GetNextSequence() != test.next {
				t.Errorf("got %q next %d, %v", payloadsOf(resp.GetMessages()), resp.GetNextSequence(), err)
			}
		})
	}
	if _, err := h.streams().DeleteMessage(h.ctx(), &porticov1.DeleteMessageRequest{Stream: "a", Sequence: 6}); err != nil {
		t.Error(err)
	}
	last, err := h.streams().GetMessage(h.ctx(), &porticov1.GetMessageRequest{Stream: "a", Message: &porticov1.GetMessageRequest_LastSubject{LastSubject: "a.n0"}})
	if err != nil || last.GetMessage().GetSequence() != 4 || last.GetMessage().GetTime() == nil {
		t.Errorf("the last one: %v, %v", last, err)
	}
	_, err = h.streams().GetMessage(h.ctx(), &porticov1.GetMessageRequest{Stream: "a", Message: &porticov1.GetMessageRequest_Sequence{Sequence: 6}})
	want(t, err, codes.NotFound, "not-found")
}

// follower is a FollowStream.
type follower struct {
	*house
	grpc.ServerStreamingClient[porticov1.FollowStreamResponse]
	cancel context.CancelFunc
	cursor string
}

func (h *house) follow(req *porticov1.FollowStreamRequest) (*follower, *porticov1.FollowStarted) {
	h.Helper()
	ctx, cancel := context.WithCancel(h.ctx())
	h.Cleanup(cancel)
	stream, err := h.streams().FollowStream(ctx, req)
	if err != nil {
		h.Fatal(err)
	}
	f := &follower{house: h, ServerStreamingClient: stream, cancel: cancel}
	first := f.frame()
	if first.GetStarted() == nil {
		h.Fatalf("the first frame is %v", first)
	}
	return f, first.GetStarted()
}

func (f *follower) frame() *porticov1.FollowStreamResponse {
	f.house.Helper()
	resp, err := f.Recv()
	if err != nil {
		f.Fatal(err)
	}
	f.cursor = resp.GetCursor()
	return resp
}

// next returns the payloads that come, until there are n bytes of them.
func (f *follower) next(n int) (got string) {
	f.house.Helper()
	for len(got) < n {
		got += payloadsOf(f.frame().GetMessages().GetMessages())
	}
	return got
}

func after(cursor string) *porticov1.FollowStreamRequest {
	return &porticov1.FollowStreamRequest{Stream: "a", Start: &porticov1.FollowStreamRequest_AfterCursor{AfterCursor: cursor}}
}

func TestFollowGoesOnBehindItsCursor(t *testing.T) {
	h := start(t)
	h.stream("a", 3)
	f, started := h.follow(&porticov1.FollowStreamRequest{Stream: "a", Start: &porticov1.FollowStreamRequest_FromSequence{FromSequence: 1}})
	if got := f.next(3); got != "123" || started.GetNextSequence() != 1 {
		t.Errorf("got %q from %v", got, started)
	}
	h.fill("a", 4, 4)
	if got := f.next(1); got != "4" {
		t.Errorf("got %q", got)
	}
	f.cancel()
	h.fill("a", 5, 6)
	f, started = h.follow(after(f.cursor))
	if !started.GetRecovered() || f.next(2) != "56" {
		t.Errorf("resumed with %v", started)
	}
	f.cancel()
	h.fill("a", 7, 9)
	if _, err := h.streams().PurgeStream(h.ctx(), &porticov1.PurgeStreamRequest{Stream: "a", Keep: 1}); err != nil {
		t.Fatal(err)
	}
	f, started = h.follow(after(f.cursor))
	gap := f.frame().GetGap()
	if started.GetRecovered() || gap.GetFromSequence() != 7 || gap.GetToSequence() != 8 || f.next(1) != "9" {
		t.Errorf("started %v with gap %v", started, gap)
	}
}

func TestFollowFromNowOnMissesNothing(t *testing.T) {
	h := start(t)
	h.stream("a", 3)
	f, started := h.follow(&porticov1.FollowStreamRequest{Stream: "a", Subjects: []string{"a.n0"}})
	if started.GetNextSequence() != 4 {
		t.Errorf("started %v", started)
	}
	cursor := f.cursor
	f.cancel() // before anything came
	h.fill("a", 4, 6)
	f, _ = h.follow(after(cursor))
	if got := f.next(3); got != "456" {
		t.Errorf("got %q", got)
	}
	f, _ = h.follow(&porticov1.FollowStreamRequest{Stream: "a", Start: &porticov1.FollowStreamRequest_Since{Since: timestamppb.New(time.Unix(1, 0))}, Subjects: []string{"a.n0"}})
	if got := f.next(3); got != "246" {
		t.Errorf("got %q", got)
	}
}

func TestCursorOfAnotherStreamIsStale(t *testing.T) {
	h := start(t)
	h.stream("a", 1)
	f, _ := h.follow(&porticov1.FollowStreamRequest{Stream: "a"})
	cursor := f.cursor
	f.cancel()
	if _, err := h.streams().DeleteStream(h.ctx(), &porticov1.DeleteStreamRequest{Stream: "a"}); err != nil {
		t.Fatal(err)
	}
	h.stream("a", 5)
	stream, err := h.streams().FollowStream(h.ctx(), after(cursor))
	if err == nil {
		_, err = stream.Recv()
	}
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	wantField(t, err, "after_cursor")
}

func TestFollowerEndsWithItsStream(t *testing.T) {
	h := start(t)
	h.stream("a", 0)
	f, _ := h.follow(&porticov1.FollowStreamRequest{Stream: "a"})
	if _, err := h.streams().DeleteStream(h.ctx(), &porticov1.DeleteStreamRequest{Stream: "a"}); err != nil {
		t.Fatal(err)
	}
	_, err := f.Recv()
	want(t, err, codes.NotFound, "not-found")
}
