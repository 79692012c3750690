package amqp_test

import (
	"testing"
	"time"

	client "github.com/rabbitmq/amqp091-go"

	"portico/core/coretest"
)

// A delayed message is confirmed when it is kept, comes when its time has, in the order of those times, with x-delay negated, and is not routable before.
func TestDelayedMessageExchange(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	must(t, ch.ExchangeDeclare("later", "x-delayed-message", true, false, false, false, client.Table{"x-delayed-type": "topic"}))
	declare(t, ch, "q")
	must(t, ch.QueueBind("q", "jobs.#", "later", false, nil))
	must(t, ch.Confirm(false))
	returns := ch.NotifyReturn(make(chan client.Return, 8))
	publish := func(body string, mandatory bool, delay any) {
		t.Helper()
		c := value(ch.PublishWithDeferredConfirm("later", "jobs.a", mandatory, false, client.Publishing{Headers: client.Table{"x-delay": delay, "k": "v"}, Body: []byte(body)}))(t)
		if !c.Wait() {
			t.Fatalf("%q was not confirmed", body)
		}
	}
	start := time.Now()
	publish("third", false, int32(300))
	publish("second", false, int64(100))
	publish("first", false, int32(-1))
	publish("fourth", true, "400")
	ds := value(ch.Consume("q", "", true, false, false, false, nil))(t)
	for _, want := range []struct {
		body  string
		least time.Duration
		delay any
	}{{"first", 0, int32(-1)}, {"second", 100, int64(-100)}, {"third", 300, int64(-300)}, {"fourth", 400, int64(-400)}} {
		got := next(t, ds)
		if string(got.Body) != want.body || got.Headers["x-delay"] != want.delay || got.Headers["k"] != "v" || got.Exchange != "later" || got.RoutingKey != "jobs.a" {
			t.Fatalf("got %q %v by %s/%s", got.Body, got.Headers, got.Exchange, got.RoutingKey)
		}
		if took := time.Since(start); took < want.least*time.Millisecond-time.Millisecond { // the delay counts whole milliseconds
			t.Errorf("%q came after %v", want.body, took)
		}
	}
	if r := <-returns; string(r.Body) != "fourth" || r.ReplyCode != 312 {
		t.Errorf("returned %q %d", r.Body, r.ReplyCode)
	}
}

// What is delayed is delayed over a restart.
func TestDelayedMessageSurvives(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.channel(t)
	must(t, ch.ExchangeDeclare("later", "x-delayed-message", true, false, false, false, client.Table{"x-delayed-type": "direct"}))
	value(ch.QueueDeclare("q", true, false, false, false, nil))(t)
	must(t, ch.QueueBind("q", "k", "later", false, nil))
	must(t, ch.Confirm(false))
	c := value(ch.PublishWithDeferredConfirm("later", "k", false, false, client.Publishing{Headers: client.Table{"x-delay": int32(200)}, Body: []byte("x")}))(t)
	if !c.Wait() {
		t.Fatal("not confirmed")
	}
	d = d.restart(t, dir)
	if got := next(t, value(d.channel(t).Consume("q", "", true, false, false, false, nil))(t)); string(got.Body) != "x" {
		t.Fatalf("got %q", got.Body)
	}
}
