package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"portico/adapters/grpc/client"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc/codes"
)

func codeOf(err error) codes.Code {
	if e := (*client.Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	if err == nil {
		return codes.OK
	}
	return codes.Unknown
}

func TestPublishTellsWhereItWent(t *testing.T) {
	h := start(t)
	h.queue(&porticov1.Queue{Name: "q"}, "both.*")
	h.stream("S", "both.>")
	m := &client.Message{Subject: "both.x", Data: []byte("a"), Header: client.Header{"color": {"red", "blue"}}}
	first := must[client.Receipt](t)(h.Publish(h.ctx(), m, client.MsgID("one")))
	if first.Queues != 1 || first.Stream != "S" || first.Sequence != 1 || first.Duplicate {
		t.Errorf("first: %+v", first)
	}
	if again := must[client.Receipt](t)(h.Publish(h.ctx(), m, client.MsgID("one"))); !again.Duplicate {
		t.Errorf("again: %+v", again)
	}
	stored := must[*porticov1.GetMessageResponse](t)(h.streams.GetMessage(h.ctx(), &porticov1.GetMessageRequest{Stream: "S", Message: &porticov1.GetMessageRequest_Sequence{Sequence: 1}}))
	if got := stored.GetMessage().GetMessage().GetHeaders()["color"].GetValues(); !slices.Equal(got, []string{"red", "blue"}) {
		t.Errorf("headers: %q", got)
	}
}

func TestErrorsAreTheGateways(t *testing.T) {
	h := start(t)
	_, err := h.Publish(h.ctx(), &client.Message{Subject: "a..b"})
	want(t, err, codes.InvalidArgument, "invalid-argument")
	_, err = h.Request(h.ctx(), &client.Message{Subject: "nobody.here"})
	want(t, err, codes.Unavailable, "no-responders")
	_, err = h.Consume(h.ctx(), "absent")
	want(t, err, codes.NotFound, "not-found")
	_, err = h.Subscribe(h.ctx(), "a..b")
	want(t, err, codes.InvalidArgument, "invalid-argument")
	_, err = h.Follow(h.ctx(), "absent")
	want(t, err, codes.NotFound, "not-found")
	_, err = h.connect(client.WithUser("guest", "wrong")).Publish(h.ctx(), &client.Message{Subject: "a"})
	want(t, err, codes.Unauthenticated, "unauthenticated")
	early, cancel := context.WithCancel(h.ctx())
	cancel()
	if _, err := h.Publish(early, &client.Message{Subject: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context has ended: %v", err)
	}
}

// TestPublishAsync: more than may be unanswered at a time, each answered once, in a stream in the order they were given.
func TestPublishAsync(t *testing.T) {
	const n = 2000
	h := start(t, client.WithInFlight(64, 1<<10))
	h.stream("S", "s.>")
	var all []*client.Future
	for i := range n {
		all = append(all, must[*client.Future](t)(h.PublishAsync(h.ctx(), &client.Message{Subject: "s.x", Data: fmt.Appendf(nil, "%d", i)})))
	}
	bad := must[*client.Future](t)(h.PublishAsync(h.ctx(), &client.Message{Subject: "a..b"}))
	if err := h.Flush(h.ctx()); err != nil {
		t.Fatal(err)
	}
	for i, f := range all {
		if r := must[client.Receipt](t)(f.Result(h.ctx())); r.Sequence != uint64(i+1) {
			t.Fatalf("message %d has number %d", i, r.Sequence)
		}
	}
	_, err := bad.Result(h.ctx())
	want(t, err, codes.InvalidArgument, "invalid-argument")
}

func TestSubscribeEachWay(t *testing.T) {
	for name, take := range map[string]func(h *house, s *client.Subscription) []string{
		"Next": func(h *house, s *client.Subscription) (got []string) {
			for range 3 {
				got = append(got, string(must[*client.Message](h)(s.Next(h.ctx())).Data))
			}
			return got
		},
		"All": func(h *house, s *client.Subscription) (got []string) {
			for m, err := range s.All(h.ctx()) {
				if got = append(got, string(must[*client.Message](h)(m, err).Data)); len(got) == 3 {
					break
				}
			}
			return got
		},
		"Chan": func(h *house, s *client.Subscription) (got []string) {
			ctx, cancel := context.WithCancel(h.ctx())
			c := s.Chan(ctx)
			for range 3 {
				got = append(got, string((<-c).Data))
			}
			cancel()
			for range c { // until it is closed
			}
			return got
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			s := must[*client.Subscription](t)(h.Subscribe(h.ctx(), "a.*"))
			h.publish("a.b", "1", "2", "3")
			if got := take(h, s); !slices.Equal(got, []string{"1", "2", "3"}) {
				t.Errorf("got %q", got)
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			if _, err := s.Next(h.ctx()); !errors.Is(err, client.ErrClosed) {
				t.Errorf("after Stop: %v", err)
			}
		})
	}
}

func TestSubscribeFuncInAGroup(t *testing.T) {
	h := start(t)
	got := make(chan string, 100)
	for range 2 {
		must[*client.Subscription](t)(h.SubscribeFunc(h.ctx(), "a", func(m *client.Message) { got <- string(m.Data) }, client.Group("g")))
	}
	h.publish("a", "1", "2", "3", "4")
	var all []string
	for range 4 {
		all = append(all, <-got)
	}
	slices.Sort(all)
	if !slices.Equal(all, []string{"1", "2", "3", "4"}) || len(got) > 0 {
		t.Errorf("got %q and %d more", all, len(got))
	}
}

// TestSlowSubscriberIsTold: who does not take what comes is ended by the gateway, and nothing is kept without bound.
func TestSlowSubscriberIsTold(t *testing.T) {
	h := start(t, client.WithBuffer(1, 1))
	s := must[*client.Subscription](t)(h.Subscribe(h.ctx(), "a"))
	big := make([]byte, 1<<20)
	for range 64 { // more than all windows and buffers on the way
		must[client.Receipt](t)(h.Publish(h.ctx(), &client.Message{Subject: "a", Data: big}))
	}
	for _, err := range s.All(h.ctx()) {
		if err != nil {
			want(t, err, codes.ResourceExhausted, "slow-consumer")
			return
		}
	}
	t.Error("it was not told")
}

func TestRequestAndServe(t *testing.T) {
	h := start(t)
	service := must[*client.Service](t)(h.Serve(h.ctx(), "up.*", func(_ context.Context, m *client.Message) *client.Message {
		return &client.Message{Data: append([]byte("up "), m.Data...), Header: client.Header{"by": {"me"}}}
	}, client.Group("g"), client.Workers(4)))
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			text := fmt.Sprint(i)
			m, err := h.Request(h.ctx(), &client.Message{Subject: "up.x", Data: []byte(text)})
			if err != nil || string(m.Data) != "up "+text || m.Header.Get("by") != "me" {
				t.Errorf("%s: %v, %v", text, m, err)
			}
		})
	}
	all.Wait()
	if err := service.Stop(); err != nil {
		t.Error(err)
	}
	_, err := h.Request(h.ctx(), &client.Message{Subject: "up.x"})
	want(t, err, codes.Unavailable, "no-responders")
}

// TestRequesterThatGivesUp: the handler's context ends.
func TestRequesterThatGivesUp(t *testing.T) {
	h := start(t)
	asked, gone := make(chan struct{}), make(chan struct{})
	must[*client.Service](t)(h.Serve(h.ctx(), "slow", func(ctx context.Context, _ *client.Message) *client.Message {
		close(asked)
		<-ctx.Done()
		close(gone)
		return nil
	}))
	ctx, cancel := context.WithCancel(h.ctx())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := h.Request(ctx, &client.Message{Subject: "slow"}); !errors.Is(err, context.Canceled) {
		t.Errorf("the requester got %v", err)
	}
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Fatal("the handler does not learn of it")
	}
}
