package amqp_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"portico/adapters/amqp"
	"portico/core"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// door is a running gateway with the AMQP door open.
type door struct {
	gateway *core.Gateway
	adapter *amqp.Adapter
	addr    string
	stop    func() error // ends Serve and returns its error; may be called twice
}

func (d *door) url() string { return "amqp://guest:guest@" + d.addr + "/" }

// open starts a gateway and its AMQP door.
func open(t testing.TB, options ...func(*core.Config)) *door {
	t.Helper()
	return serve(t, coretest.Start(t, options...), amqp.Config{})
}

// serve opens the AMQP door of g.
func serve(t testing.TB, g *core.Gateway, cfg amqp.Config) *door {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	g.Translate(core.FormAMQP, amqp.Translator{})
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("AMQP_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	a, err := amqp.New(cfg, g, log)
	if err != nil {
		t.Fatalf("open door: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-served })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return &door{gateway: g, adapter: a, addr: a.Addr(), stop: stop}
}

// restart stops the gateway and starts another on what it has kept in dir.
func (d *door) restart(t testing.TB, dir string) *door {
	t.Helper()
	if err := d.stop(); err != nil {
		t.Fatalf("serve: %v", err)
	}
	if err := d.gateway.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	return open(t, coretest.DataDir(dir))
}

// dial opens a connection that is closed with the test.
func (d *door) dial(t testing.TB) *client.Connection {
	t.Helper()
	c, err := client.Dial(d.url())
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// channel opens a connection and a channel on it.
func (d *door) channel(t testing.TB) *client.Channel {
	t.Helper()
	return channelOf(t, d.dial(t))
}

func channelOf(t testing.TB, c *client.Connection) *client.Channel {
	t.Helper()
	ch, err := c.Channel()
	if err != nil {
		t.Fatalf("open channel: %v", err)
	}
	return ch
}

// must stops the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// value is must for calls that return something.
func value[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// wantCode fails unless err is an AMQP error with that code, and with that text if one is given.
func wantCode(t testing.TB, err error, code int, text string) {
	t.Helper()
	var e *client.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want code %d", err, code)
	}
	if e.Code != code || text != "" && e.Reason != text {
		t.Fatalf("error is %d %q, want %d %q", e.Code, e.Reason, code, text)
	}
}

// declare declares a transient queue.
func declare(t testing.TB, ch *client.Channel, name string) client.Queue {
	t.Helper()
	return value(ch.QueueDeclare(name, false, false, false, false, nil))(t)
}

// publish publishes text.
func publish(t testing.TB, ch *client.Channel, exchange, key, text string) {
	t.Helper()
	must(t, ch.PublishWithContext(t.Context(), exchange, key, false, false, client.Publishing{Body: []byte(text)}))
}

// confirmed publishes messages in confirm mode and waits until they are kept.
func confirmed(t testing.TB, ch *client.Channel, exchange, key string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		c := value(ch.PublishWithDeferredConfirmWithContext(t.Context(), exchange, key, false, false,
			client.Publishing{DeliveryMode: client.Persistent, Body: []byte(text)}))(t)
		if c == nil {
			t.Fatal("the channel is not in confirm mode")
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		ok, err := c.WaitContext(ctx)
		cancel()
		if err != nil || !ok {
			t.Fatalf("publish %q: confirmed %t, %v", text, ok, err)
		}
	}
}

// next returns the next delivery.
func next(t testing.TB, ds <-chan client.Delivery) client.Delivery {
	t.Helper()
	return receive(t, ds, "delivery")
}

// receive returns what comes next over c.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatalf("no %s: closed", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
	}
	panic("unreachable")
}

// wantTexts fails unless exactly these bodies come next, in this order.
func wantTexts(t testing.TB, ds <-chan client.Delivery, texts ...string) []client.Delivery {
	t.Helper()
	got := make([]client.Delivery, 0, len(texts))
	for _, text := range texts {
		d := next(t, ds)
		if string(d.Body) != text {
			t.Fatalf("delivery is %q, want %q", d.Body, text)
		}
		got = append(got, d)
	}
	return got
}

// ready is how many messages a queue has ready, in order with what ch has done.
func ready(t testing.TB, ch *client.Channel, name string) int {
	t.Helper()
	return value(ch.QueueDeclarePassive(name, false, false, false, false, nil))(t).Messages
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
