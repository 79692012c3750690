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
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
)

// subscribe returns a stream that is in place.
func (h *house) subscribe(group string, subjects ...string) grpc.ServerStreamingClient[porticov1.SubscribeResponse] {
	h.Helper()
	stream, err := h.client.Subscribe(h.ctx(), &porticov1.SubscribeRequest{Subjects: subjects, Group: group})
	if err != nil {
		h.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		h.Fatal(err)
	}
	return stream
}

func TestPublishReachesQueuesAndSubscribers(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	if _, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: "jobs", Pattern: "orders.>"}); err != nil {
		t.Fatal(err)
	}
	live := h.subscribe("", "orders.*")
	m := &porticov1.Message{
		Subject: "orders.new", Reply: "answers",
		Headers: map[string]*porticov1.HeaderValues{"X-Mixed-Case": {Values: []string{"a", "b"}}, "plain": {Values: []string{""}}},
		Data:    []byte{0, 1, 0xff},
	}
	receipt, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: m})
	if err != nil || receipt.GetQueues() != 1 || !receipt.GetLive() {
		t.Fatalf("receipt %v, %v", receipt, err)
	}
	resp, err := live.Recv()
	if err != nil {
		t.Fatal(err)
	}
	same(t, resp.GetMessage(), m)
	stream := h.consume(&porticov1.ConsumeStart{Queue: "jobs"})
	same(t, stream.next(1)[0].GetMessage(), m)
}

func same(t *testing.T, got, want *porticov1.Message) {
	t.Helper()
	if got.GetSubject() != want.GetSubject() || got.GetReply() != want.GetReply() || string(got.GetData()) != string(want.GetData()) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, header := range want.GetHeaders() {
		if values := got.GetHeaders()[name].GetValues(); !slices.Equal(values, header.GetValues()) {
			t.Errorf("header %q: got %q, want %q", name, values, header.GetValues())
		}
	}
	if len(got.GetHeaders()) != len(want.GetHeaders()) {
		t.Errorf("got headers %v, want %v", got.GetHeaders(), want.GetHeaders())
	}
}

func TestPublishToNobodyIsNoError(t *testing.T) {
	h := start(t)
	receipt, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("nobody.there", "x")})
	if err != nil || receipt.GetQueues() != 0 || receipt.GetLive() {
		t.Errorf("receipt %v, %v", receipt, err)
	}
}

func TestCommandHeadersAreTakenOff(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	live := h.subscribe("", "orders")
	headers := map[string]*porticov1.HeaderValues{
		"Nats-Rollup": {Values: []string{"all"}}, "Portico-Origin": {Values: []string{"me"}}, "kept": {Values: []string{"yes"}},
	}
	_, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: &porticov1.Message{Subject: "orders", Headers: headers}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := live.Recv()
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]*porticov1.HeaderValues{"kept": {Values: []string{"yes"}}}
	same(t, resp.GetMessage(), &porticov1.Message{Subject: "orders", Headers: kept})
	if _, err := h.client.Append(h.ctx(), &porticov1.AppendRequest{Queue: "jobs", Message: &porticov1.Message{Headers: headers}}); err != nil {
		t.Fatal(err)
	}
	same(t, h.consume(&porticov1.ConsumeStart{Queue: "jobs"}).next(1)[0].GetMessage(), &porticov1.Message{Headers: kept})
}

func TestUnaryErrors(t *testing.T) {
	h := startWith(t, core.Config{MaxMessage: 1 << 20}, grpcapi.Config{})
	h.declare(&porticov1.Queue{Name: "jobs"})
	if _, _, err := h.bus.DeclareQueue(h.ctx(), core.QueueConfig{Name: "owned", Owner: "connection-1"}); err != nil {
		t.Fatal(err)
	}
	large := &porticov1.Message{Subject: "a", Data: make([]byte, 1<<20+1)}
	publish := func(m *porticov1.Message) error {
		_, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: m})
		return err
	}
	appendTo := func(queue string, m *porticov1.Message) error {
		_, err := h.client.Append(h.ctx(), &porticov1.AppendRequest{Queue: queue, Message: m})
		return err
	}
	line := map[string]*porticov1.HeaderValues{"x": {Values: []string{"two\r\nlines"}}}
	for name, test := range map[string]struct {
		call   func() error
		code   codes.Code
		reason string
	}{
		"publish nothing":     {func() error { return publish(nil) }, codes.InvalidArgument, "invalid-argument"},
		"publish to nowhere":  {func() error { return publish(message("", "x")) }, codes.InvalidArgument, "invalid-argument"},
		"publish to wildcard": {func() error { return publish(message("a.*", "x")) }, codes.InvalidArgument, "invalid-argument"},
		"header of two lines": {func() error { return publish(&porticov1.Message{Subject: "a", Headers: line}) }, codes.InvalidArgument, "invalid-argument"},
		"publish too much":    {func() error { return publish(large) }, codes.ResourceExhausted, "too-large"},
		"append nothing":      {func() error { return appendTo("jobs", nil) }, codes.InvalidArgument, "invalid-argument"},
		"append too much":     {func() error { return appendTo("jobs", &porticov1.Message{Data: large.GetData()}) }, codes.ResourceExhausted, "too-large"},
		"append header of two lines": {func() error { return appendTo("jobs", &porticov1.Message{Headers: line}) },
			codes.InvalidArgument, "invalid-argument"},
		"append to no queue":     {func() error { return appendTo("none", message("", "x")) }, codes.NotFound, "not-found"},
		"append to another's":    {func() error { return appendTo("owned", message("", "x")) }, codes.FailedPrecondition, "resource-locked"},
		"request of nothing":     {func() error { _, err := h.client.Request(h.ctx(), &porticov1.RequestRequest{}); return err }, codes.InvalidArgument, "invalid-argument"},
		"declare nothing":        {func() error { _, err := h.client.DeclareQueue(h.ctx(), &porticov1.DeclareQueueRequest{}); return err }, codes.InvalidArgument, "invalid-argument"},
		"declare without a name": {func() error { return h.tryDeclare(&porticov1.Queue{}) }, codes.InvalidArgument, "invalid-argument"},
		"declare otherwise":      {func() error { return h.tryDeclare(&porticov1.Queue{Name: "jobs", MaxDeliveries: 3}) }, codes.FailedPrecondition, "precondition-failed"},
		"declare another's":      {func() error { return h.tryDeclare(&porticov1.Queue{Name: "owned"}) }, codes.FailedPrecondition, "resource-locked"},
		"get no queue": {func() error {
			_, err := h.client.GetQueue(h.ctx(), &porticov1.GetQueueRequest{Queue: "none"})
			return err
		}, codes.NotFound, "not-found"},
		"purge no queue": {func() error {
			_, err := h.client.PurgeQueue(h.ctx(), &porticov1.PurgeQueueRequest{Queue: "none"})
			return err
		}, codes.NotFound, "not-found"},
		"delete no queue": {func() error {
			_, err := h.client.DeleteQueue(h.ctx(), &porticov1.DeleteQueueRequest{Queue: "none"})
			return err
		}, codes.NotFound, "not-found"},
		"delete another's": {func() error {
			_, err := h.client.DeleteQueue(h.ctx(), &porticov1.DeleteQueueRequest{Queue: "owned"})
			return err
		}, codes.FailedPrecondition, "resource-locked"},
		"bind no queue": {func() error {
			_, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: "none", Pattern: "a"})
			return err
		}, codes.NotFound, "not-found"},
		"bind to no pattern": {func() error {
			_, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: "jobs", Pattern: "a..b"})
			return err
		}, codes.InvalidArgument, "invalid-argument"},
		"page of nothing": {func() error {
			_, err := h.client.ListQueues(h.ctx(), &porticov1.ListQueuesRequest{PageToken: "%"})
			return err
		}, codes.InvalidArgument, "invalid-argument"},
	} {
		t.Run(name, func(t *testing.T) { want(t, test.call(), test.code, test.reason) })
	}
}

func (h *house) tryDeclare(q *porticov1.Queue) error {
	_, err := h.client.DeclareQueue(h.ctx(), &porticov1.DeclareQueueRequest{Queue: q})
	return err
}

func TestFrameAboveTheLimitEndsOnlyItsCall(t *testing.T) {
	h := startWith(t, core.Config{MaxMessage: 1 << 20}, grpcapi.Config{})
	_, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("a", strings.Repeat("x", 2<<20))})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("2 MiB: %v", err)
	}
	_, err = h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("a", strings.Repeat("\x00", 8<<20))}, grpc.UseCompressor(gzip.Name))
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("8 MiB in a few KiB of gzip: %v", err)
	}
	if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("a", "small")}, grpc.UseCompressor(gzip.Name)); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestLogin(t *testing.T) {
	users := []core.User{{Name: "reader", Password: "secret", Publish: []string{"mine.>"}, Subscribe: []string{"mine.>"}}}
	h := startWith(t, core.Config{Users: users}, grpcapi.Config{})
	as := func(authorization string) context.Context {
		return metadataContext(h.ctx(), "authorization", authorization)
	}
	publish := func(ctx context.Context, subject string) error {
		_, err := h.client.Publish(ctx, &porticov1.PublishRequest{Message: message(subject, "x")})
		return err
	}
	const reader, wrong = "Basic cmVhZGVyOnNlY3JldA==", "Basic cmVhZGVyOnRlcmNlcw=="
	for range 2 { // the second time the connection knows the first's credentials
		if err := publish(as(reader), "mine.a"); err != nil {
			t.Errorf("with the right password: %v", err)
		}
		want(t, publish(as(reader), "theirs.a"), codes.PermissionDenied, "permission-denied")
		want(t, publish(as(wrong), "mine.a"), codes.Unauthenticated, "unauthenticated")
		want(t, publish(as("Bearer x"), "mine.a"), codes.Unauthenticated, "unauthenticated")
		want(t, publish(h.ctx(), "mine.a"), codes.Unauthenticated, "unauthenticated")
		want(t, publish(metadataContext(as(reader), "authorization", wrong), "mine.a"), codes.Unauthenticated, "unauthenticated")
	}
	stream, err := h.client.Subscribe(as(reader), &porticov1.SubscribeRequest{Subjects: []string{"theirs.>"}})
	if err == nil {
		_, err = stream.Recv()
	}
	want(t, err, codes.PermissionDenied, "permission-denied")
	for name, call := range map[string]func() error{
		"declare": func() error {
			_, err := h.client.DeclareQueue(as(reader), &porticov1.DeclareQueueRequest{Queue: &porticov1.Queue{Name: "jobs"}})
			return err
		},
		"append": func() error {
			_, err := h.client.Append(as(reader), &porticov1.AppendRequest{Queue: "jobs", Message: message("", "x")})
			return err
		},
		"purge": func() error {
			_, err := h.client.PurgeQueue(as(reader), &porticov1.PurgeQueueRequest{Queue: "jobs"})
			return err
		},
		"delete": func() error {
			_, err := h.client.DeleteQueue(as(reader), &porticov1.DeleteQueueRequest{Queue: "jobs"})
			return err
		},
		"bind": func() error {
			_, err := h.client.Bind(as(reader), &porticov1.BindRequest{Queue: "jobs", Pattern: "mine.a"})
			return err
		},
	} {
		t.Run("queue "+name, func(t *testing.T) { want(t, call(), codes.PermissionDenied, "permission-denied") })
	}
}

func TestDevelopmentIdentity(t *testing.T) {
	h := start(t)
	_, err := h.client.ListQueues(metadataContext(h.ctx(), "authorization", "Basic Z3Vlc3Q6Z3Vlc3Q="), &porticov1.ListQueuesRequest{})
	if err != nil {
		t.Errorf("guest: %v", err)
	}
	_, err = h.client.ListQueues(metadataContext(h.ctx(), "authorization", "Basic Z3Vlc3Q6bm8="), &porticov1.ListQueuesRequest{})
	want(t, err, codes.Unauthenticated, "unauthenticated")
}

func TestPublishStream(t *testing.T) {
	h := start(t)
	h.declare(&porticov1.Queue{Name: "jobs"})
	if _, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: "jobs", Pattern: "orders"}); err != nil {
		t.Fatal(err)
	}
	stream, err := h.client.PublishStream(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	go func() {
		for id := range uint64(n) {
			req := &porticov1.PublishStreamRequest{Id: id, Message: message("orders", fmt.Sprint(id))}
			switch id {
			case 17:
				req.Message.Subject = "not a subject"
			case 18:
				req.Message = nil
			}
			if err := stream.Send(req); err != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	answered := make(map[uint64]bool)
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.GetResults() {
			bad := r.GetId() == 17 || r.GetId() == 18
			if answered[r.GetId()] || bad != (r.GetFailure().GetReason() == "invalid-argument") || !bad && r.GetQueues() != 1 {
				t.Fatalf("result %v", r)
			}
			answered[r.GetId()] = true
		}
	}
	if info := h.info("jobs"); len(answered) != n || info.GetReady() != n-2 {
		t.Errorf("%d answers, %d messages", len(answered), info.GetReady())
	}
	stream2 := h.consume(&porticov1.ConsumeStart{Queue: "jobs", AutoAck: true})
	last := -1
	for _, d := range stream2.next(n - 2) {
		var id int
		if _, err := fmt.Sscan(string(d.GetMessage().GetData()), &id); err != nil || id <= last {
			t.Fatalf("%d after %d: not in order (%v)", id, last, err)
		}
		last = id
	}
}

func TestPublishStreamIsNotReadWhileItsWindowIsFull(t *testing.T) {
	h := start(t)
	stream, err := h.client.PublishStream(h.ctx())
	if err != nil {
		t.Fatal(err)
	}
	var sent int
	blocked := make(chan struct{})
	done := make(chan error, 1)
	progress := make(chan int, 1<<20)
	go func() {
		payload := strings.Repeat("x", 1<<10)
		for range 200_000 {
			if err := stream.Send(&porticov1.PublishStreamRequest{Message: message("nobody", payload)}); err != nil {
				done <- err
				return
			}
			progress <- 1
		}
		done <- nil
	}()
	go func() { // until nothing has moved for a while: the answers that nobody reads have filled the window
		defer close(blocked)
		for {
			select {
			case <-progress:
				sent++
			case <-time.After(time.Second):
				return
			}
		}
	}()
	<-blocked
	if sent == 200_000 {
		t.Fatal("200,000 messages went in while no answer came out")
	}
	got := 0
	for range 100 {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got += len(resp.GetResults())
	}
	if got < 100 {
		t.Errorf("%d answers", got)
	}
	_ = stream.CloseSend()
	h.conn.Close()
	<-done
}

func TestSubscribeWithWildcardsAndGroups(t *testing.T) {
	h := start(t)
	one, other := h.subscribe("g", "work.>"), h.subscribe("g", "work.>")
	all := h.subscribe("", "work.*", "rest")
	const n = 40
	for i := range n {
		if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("work.a", fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("rest", "end")}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		resp, err := all.Recv()
		if err != nil || string(resp.GetMessage().GetData()) != fmt.Sprint(i) {
			t.Fatalf("message %d: %v, %v", i, resp, err)
		}
	}
	shared := make(chan string, 2*n)
	for _, stream := range []grpc.ServerStreamingClient[porticov1.SubscribeResponse]{one, other} {
		go func() {
			for {
				resp, err := stream.Recv()
				if err != nil {
					return
				}
				shared <- string(resp.GetMessage().GetData())
			}
		}()
	}
	seen := make(map[string]bool)
	for range n {
		select {
		case data := <-shared:
			if seen[data] {
				t.Fatalf("%s went to two members", data)
			}
			seen[data] = true
		case <-h.ctx().Done():
			t.Fatalf("only %d of %d", len(seen), n)
		}
	}
}

func TestSubscribeRefusals(t *testing.T) {
	h := start(t)
	for name, subjects := range map[string][]string{
		"no subject":   nil,
		"illegal":      {"fine", "not fine"},
		"too many":     slices.Repeat([]string{"a"}, 257),
		"end in a dot": {"a."},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := h.client.Subscribe(h.ctx(), &porticov1.SubscribeRequest{Subjects: subjects})
			if err == nil {
				_, err = stream.Recv()
			}
			want(t, err, codes.InvalidArgument, "invalid-argument")
		})
	}
}

func TestSlowSubscriberIsToldAndOthersAreNotHeldUp(t *testing.T) {
	h := startWith(t, core.Config{}, grpcapi.Config{OutboundMessages: 64, OutboundBytes: 1 << 20})
	slow, quick := h.subscribe("", "flood"), h.subscribe("", "flood")
	const n = 400
	payload := strings.Repeat("x", 32<<10)
	for i := range n {
		if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("flood", payload)}); err != nil {
			t.Fatal(err)
		}
		if _, err := quick.Recv(); err != nil {
			t.Fatalf("the quick one got %d of %d: %v", i, n, err)
		}
	}
	var err error
	got := 0
	for err == nil {
		if _, err = slow.Recv(); err == nil {
			got++
		}
	}
	want(t, err, codes.ResourceExhausted, "slow-consumer")
	if got == n {
		t.Error("the slow one got everything")
	}
}

func TestCancelledSubscriptionIsGone(t *testing.T) {
	h := start(t)
	ctx, cancel := context.WithCancel(h.ctx())
	stream, err := h.client.Subscribe(ctx, &porticov1.SubscribeRequest{Subjects: []string{"orders"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil || !h.bus.Interest("orders") {
		t.Fatalf("not in place: %v", err)
	}
	cancel()
	h.eventually("nobody listens", func() bool { return !h.bus.Interest("orders") })
}
