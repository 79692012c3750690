package core_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	"github.com/nats-io/nats.go"
)

// serve answers what comes on subject with a prefix, over the bus.
func serve(t testing.TB, b *core.Bus, subject, group string) {
	t.Helper()
	s, err := b.Subscribe(subject, group, func(m *core.Message) {
		b.PublishAsync(&core.Message{Subject: m.Reply, Header: m.Header, Data: append([]byte("re: "), m.Data...)}, func(core.Receipt, error) {})
	})
	if err != nil {
		t.Fatalf("serve %q: %v", subject, err)
	}
	t.Cleanup(s.Unsubscribe)
}

func TestRequestsAreAnsweredAcrossDoors(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	nc := connectNATS(t, g)
	serve(t, b, "by.door", "")
	if _, err := nc.Subscribe("by.native", func(m *nats.Msg) {
		_ = m.RespondMsg(&nats.Msg{Header: m.Header, Data: append([]byte("re: "), m.Data...)})
	}); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"by.door", "by.native"} {
		t.Run("door asks "+subject, func(t *testing.T) {
			m, err := b.Request(within(t, patience), &core.Message{Subject: subject, Data: []byte("hi"), Header: core.Header{"k": {"v"}}})
			if err != nil || string(m.Data) != "re: hi" || m.Header.Get("k") != "v" {
				t.Errorf("answer %+v, %v", m, err)
			}
		})
		t.Run("native asks "+subject, func(t *testing.T) {
			m, err := nc.RequestMsg(&nats.Msg{Subject: subject, Data: []byte("hi"), Header: nats.Header{"k": {"v"}}}, patience)
			if err != nil || string(m.Data) != "re: hi" || m.Header.Get("k") != "v" {
				t.Errorf("answer %+v, %v", m, err)
			}
		})
	}
}

func TestNoResponderIsToldAtOnce(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	nc := connectNATS(t, g)
	start := time.Now()
	_, err := b.Request(within(t, patience), &core.Message{Subject: "nobody"})
	wantCode(t, "door asks nobody", err, core.CodeNoResponders)
	if _, err := nc.Request("nobody", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("native asks nobody: %v", err)
	}
	// A subscription of ours, wider than any queue's interest, must not turn "nobody" into silence.
	if err := b.SetIngress([]string{">"}); err != nil {
		t.Fatal(err)
	}
	_, err = b.Request(within(t, patience), &core.Message{Subject: "nobody"})
	wantCode(t, "door asks nobody behind an ingress", err, core.CodeNoResponders)
	if _, err := nc.Request("nobody", nil, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("native asks nobody behind an ingress: %v", err)
	}
	if took := time.Since(start); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	// And it must not speak for a responder who is there.
	if _, err := nc.Subscribe("somebody", func(m *nats.Msg) { _ = m.Respond([]byte("here")) }); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	if m, err := nc.Request("somebody", nil, patience); err != nil || string(m.Data) != "here" {
		t.Errorf("native asks somebody behind an ingress: %+v, %v", m, err)
	}
}

// TestStatusLine looks at the bytes, because client libraries look for the status in different places.
func TestNoResponderHasItsStatusInTheFirstLine(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	if err := b.SetIngress([]string{"x"}); err != nil {
		t.Fatal(err)
	}
	got := make(chan *nats.Msg, 1)
	nc := connectNATS(t, g)
	if _, err := nc.Subscribe("answers", func(m *nats.Msg) { got <- m }); err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest("x", "answers", nil); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, got); m.Header.Get("Status") != "503" || len(m.Data) != 0 || m.Size() != len("answers")+len("NATS/1.0 503\r\n\r\n") {
		t.Errorf("status message: %+v, %d bytes", m.Header, m.Size())
	}
}

func TestRequestTimesOut(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	asked := subscribe(t, b, "slow", "")
	_, err := b.Request(within(t, moment), &core.Message{Subject: "slow"})
	wantCode(t, "request", err, core.CodeTimeout)
	late := receive(t, asked)
	if r := publish(t, b, &core.Message{Subject: late.Reply}); r.Queues != 0 {
		t.Errorf("late answer: %+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.Request(ctx, &core.Message{Subject: "slow"})
	wantCode(t, "cancelled request", err, core.CodeUnavailable)
}

func TestFirstAnswerWins(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	asked := subscribe(t, b, "q", "")
	go func() {
		m := <-asked
		for _, answer := range []string{"first", "second"} {
			b.PublishAsync(&core.Message{Subject: m.Reply, Data: []byte(answer)}, func(core.Receipt, error) {})
		}
	}()
	m, err := b.Request(within(t, patience), &core.Message{Subject: "q"})
	if err != nil || string(m.Data) != "first" {
		t.Errorf("answer %+v, %v", m, err)
	}
}

func TestManyRequestsAtOnce(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	serve(t, b, "echo", "crew")
	serve(t, b, "echo", "crew")
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			n := strconv.Itoa(i)
			if m, err := b.Request(within(t, patience), &core.Message{Subject: "echo", Data: []byte(n)}); err != nil || string(m.Data) != "re: "+n {
				t.Errorf("request %s: %+v, %v", n, m, err)
			}
		})
	}
	all.Wait()
}

func TestInboxesCannotBeOverheard(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	for _, pattern := range []string{"_INBOX.>", "_INBOX.*", "_INBOX.*.x"} {
		_, err := b.Subscribe(pattern, "", func(*core.Message) {})
		wantCode(t, pattern, err, core.CodePermissionDenied)
	}
	mine := subscribe(t, b, "_INBOX.mine.>", "")
	publish(t, b, &core.Message{Subject: "_INBOX.mine.1"})
	receive(t, mine)
}

func BenchmarkRequest(b *testing.B) {
	g := coretest.Start(b)
	bus := login(b, g)
	serve(b, bus, "echo", "")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.Request(b.Context(), &core.Message{Subject: "echo", Data: []byte("x")}); err != nil {
			b.Fatal(err)
		}
	}
}
