package amqp_test

import (
	"testing"
	"time"

	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.6, §1.8: a message lives as long as its queue or it itself allows, whichever is less.
func TestTTLIsTheLesser(t *testing.T) {
	t.Parallel()
	d := open(t)
	ch := d.confirming(t)
	for name, c := range map[string]struct {
		queue   client.Table
		message string
		expires bool
	}{
		"of the queue":            {client.Table{"x-message-ttl": int32(50)}, "", true},
		"of the message":          {nil, "50", true},
		"queue below the message": {client.Table{"x-message-ttl": int32(50)}, "60000", true},
		"message below the queue": {client.Table{"x-message-ttl": int32(60000)}, "50", true},
		"neither soon":            {client.Table{"x-message-ttl": int64(60000)}, "60000", false},
		"ten years":               {client.Table{"x-message-ttl": int64(315360000000)}, "315360000000", false},
	} {
		t.Run(name, func(t *testing.T) {
			transient(t, ch, name, c.queue)
			put(t, ch, "", name, client.Publishing{Expiration: c.message, Body: []byte("x")})
			if n := ready(t, ch, name); n != 1 {
				t.Fatalf("%d ready at once", n)
			}
			if c.expires {
				awaitReady(t, ch, name, 0)
				return
			}
			if got := get(t, ch, name); got.Expiration != c.message {
				t.Errorf("expiration is %q", got.Expiration)
			}
		})
	}
}

// §1.8: with no time at all a message goes to a consumer that can take it now, or nowhere; it is confirmed, and mandatory is content.
func TestTTLZero(t *testing.T) {
	d := open(t)
	ch := d.confirming(t)
	transient(t, ch, "zero", client.Table{"x-message-ttl": int32(0)})
	transient(t, ch, "plain", nil)
	returned := ch.NotifyReturn(make(chan client.Return, 1))
	for _, to := range []struct{ queue, expiration string }{{"zero", ""}, {"plain", "0"}} {
		c := value(ch.PublishWithDeferredConfirm("", to.queue, true, false, client.Publishing{Expiration: to.expiration, Body: []byte("nobody")}))(t)
		if !c.Wait() {
			t.Fatalf("to %s: not confirmed", to.queue)
		}
		drained(t, ch, to.queue)
	}
	select {
	case r := <-returned:
		t.Errorf("returned %+v", r)
	default:
	}
	other := d.channel(t)
	must(t, other.Qos(1, 0, false))
	ds := value(other.Consume("zero", "", false, false, false, false, nil))(t)
	put(t, ch, "", "zero", client.Publishing{Body: []byte("taken")})
	held := next(t, ds)
	put(t, ch, "", "zero", client.Publishing{Body: []byte("no credit for it")})
	awaitReady(t, ch, "zero", 0)
	must(t, held.Nack(false, true)) // what comes back has no time left either
	awaitReady(t, other, "zero", 0) // in order with the nack
	put(t, ch, "", "zero", client.Publishing{Body: []byte("next")})
	if got := next(t, ds); string(got.Body) != "next" {
		t.Errorf("delivery is %q", got.Body)
	}
}

// §1.8: what is returned to its queue keeps the hour of its death.
func TestTTLIsKeptByARequeue(t *testing.T) {
	t.Parallel()
	d := open(t)
	ch := d.confirming(t)
	transient(t, ch, "q", client.Table{"x-message-ttl": int32(200)})
	for name, p := range map[string]client.Publishing{"of the queue": {}, "its own": {Expiration: "150"}} {
		t.Run(name, func(t *testing.T) {
			published := time.Now()
			put(t, ch, "", "q", p)
			held := hold(t, ch, "q")
			sinceThen(300*time.Millisecond-time.Since(published), func() {
				if n := ready(t, ch, "q"); n != 0 {
					t.Fatalf("%d ready while the message is held", n)
				}
			})
			must(t, held.Nack(false, true)) // overdue: an unacknowledged message does not expire, a returned one does
			awaitReady(t, ch, "q", 0)
			drained(t, ch, "q")
		})
	}
}

// §1.8: time goes by while the gateway is down.
func TestTTLClockGoesOnOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.confirming(t)
	durable(t, ch, "short", client.Table{"x-message-ttl": int32(300)})
	durable(t, ch, "plain", nil)
	durable(t, ch, "letters", nil)
	durable(t, ch, "watched", client.Table{"x-message-ttl": int32(300), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "letters"})
	published := time.Now()
	for _, p := range []struct{ queue, expiration, text string }{
		{"short", "", "by the queue"}, {"plain", "300", "by itself"}, {"plain", "60000", "later"}, {"watched", "", "letter"},
	} {
		put(t, ch, "", p.queue, client.Publishing{DeliveryMode: client.Persistent, Expiration: p.expiration, Body: []byte(p.text)})
	}
	d = d.restart(t, dir)
	ch = d.channel(t)
	awaitReady(t, ch, "letters", 1)
	if took := time.Since(published); took < 299*time.Millisecond {
		t.Errorf("it died after %s", took)
	}
	wantDeath(t, get(t, ch, "letters"), "watched", "expired", 1)
	awaitReady(t, ch, "short", 0)
	awaitReady(t, ch, "plain", 1)
	if got := get(t, ch, "plain"); string(got.Body) != "later" || got.Expiration != "60000" {
		t.Errorf("kept is %q with expiration %q", got.Body, got.Expiration)
	}
}

// §1.6, §1.8: values that are no time to live.
func TestTTLValues(t *testing.T) {
	d := open(t)
	p := d.peer(t, login{})
	for name, c := range map[string]struct {
		value any
		why   string
	}{
		"text":      {"60000", `"expected integer, got longstr"`},
		"negative":  {int32(-1), "{value_negative,-1}"},
		"bool":      {true, `"expected integer, got bool"`},
		"float":     {1.5, `"expected integer, got double"`},
		"void":      {nil, `"expected integer, got void"`},
		"too large": {int64(315360000001), "{value_too_large,315360000001}"},
	} {
		t.Run(name, func(t *testing.T) {
			p.wantRefused(2, declaration("q", "x-message-ttl", c.value), 406,
				"PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'q' in vhost '/': "+c.why)
		})
	}
}
