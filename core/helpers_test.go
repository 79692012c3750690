package core_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"portico/core"
	"portico/core/queue"

	"github.com/nats-io/nats.go"
)

// patience is how long a test waits for what should happen at once; a moment, for what should not happen at all.
const (
	patience = 10 * time.Second
	moment   = 50 * time.Millisecond
)

func login(t testing.TB, g *core.Gateway) *core.Bus {
	t.Helper()
	b, err := g.Login(t.Context(), core.Credentials{Door: "http", Anonymous: true})
	if err != nil {
		t.Fatalf("log in: %v", err)
	}
	return b
}

func loginAs(t testing.TB, g *core.Gateway, user, password string) *core.Bus {
	t.Helper()
	b, err := g.Login(t.Context(), core.Credentials{Door: "http", User: user, Password: password})
	if err != nil {
		t.Fatalf("log in as %s: %v", user, err)
	}
	return b
}

func connectNATS(t testing.TB, g *core.Gateway, options ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect("nats://"+g.NATSAddr(), options...)
	if err != nil {
		t.Fatalf("connect with NATS: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// subscribe returns what arrives, in order. It holds 1,000 messages.
func subscribe(t testing.TB, b *core.Bus, pattern, group string) <-chan *core.Message {
	t.Helper()
	got := make(chan *core.Message, 1000)
	s, err := b.Subscribe(pattern, group, func(m *core.Message) { got <- m })
	if err != nil {
		t.Fatalf("subscribe to %q: %v", pattern, err)
	}
	t.Cleanup(s.Unsubscribe)
	return got
}

func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func nothing[T any](t testing.TB, from <-chan T) {
	t.Helper()
	select {
	case v := <-from:
		t.Fatalf("something came: %+v", v)
	case <-time.After(moment):
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

func publish(t testing.TB, b *core.Bus, m *core.Message) core.Receipt {
	t.Helper()
	r, err := b.Publish(t.Context(), m)
	if err != nil {
		t.Fatalf("publish on %q: %v", m.Subject, err)
	}
	return r
}

func declare(t testing.TB, b *core.Bus, cfg core.QueueConfig) *core.Queue {
	t.Helper()
	q, _, err := b.DeclareQueue(t.Context(), cfg)
	if err != nil {
		t.Fatalf("declare %q: %v", cfg.Name, err)
	}
	return q
}

func bind(t testing.TB, b *core.Bus, pattern, name string) {
	t.Helper()
	if err := b.Bind(t.Context(), core.Binding{Pattern: pattern, Queue: name}); err != nil {
		t.Fatalf("bind %q to %q: %v", name, pattern, err)
	}
}

// take gets one message out of a queue, waiting for it.
func take(t testing.TB, g *core.Gateway, q *core.Queue) *core.Message {
	t.Helper()
	var d queue.Delivery
	eventually(t, "a message is ready", func() bool {
		var ok bool
		var err error
		if d, ok, err = q.Get(true, nil); err != nil {
			t.Fatalf("get: %v", err)
		}
		return ok
	})
	m, err := g.Message(d.Record)
	if err != nil {
		t.Fatalf("open message: %v", err)
	}
	return m
}

func ready(t testing.TB, q *core.Queue) int {
	t.Helper()
	s, err := q.Stats()
	if err != nil {
		t.Fatalf("stats: %v", err)
	}
	return s.Ready
}

func code(err error) core.Code {
	if err == nil {
		return 255
	}
	return core.AsError(err).Code
}

func wantCode(t testing.TB, what string, err error, want core.Code) {
	t.Helper()
	if err == nil || code(err) != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

var errTest = errors.New("test")
