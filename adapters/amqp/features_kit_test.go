package amqp_test

import (
	"testing"
	"time"

	"portico/adapters/amqp/wire"

	client "github.com/rabbitmq/amqp091-go"
)

// transient declares a transient classic queue with arguments.
func transient(t testing.TB, ch *client.Channel, name string, args client.Table) {
	t.Helper()
	value(ch.QueueDeclare(name, false, false, false, false, args))(t)
}

// durable declares a durable queue with arguments.
func durable(t testing.TB, ch *client.Channel, name string, args client.Table) {
	t.Helper()
	value(ch.QueueDeclare(name, true, false, false, false, args))(t)
}

// confirming opens a connection and a channel in confirm mode.
func (d *door) confirming(t testing.TB) *client.Channel {
	t.Helper()
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	return ch
}

// put publishes one message in confirm mode and tells whether it was taken.
func put(t testing.TB, ch *client.Channel, exchange, key string, p client.Publishing) (acked bool) {
	t.Helper()
	c := value(ch.PublishWithDeferredConfirm(exchange, key, false, false, p))(t)
	select {
	case <-c.Done():
		return c.Acked()
	case <-time.After(patience):
		t.Fatalf("publish %q to %s/%s: no confirm", p.Body, exchange, key)
	}
	return false
}

// get takes the next message of a queue, which must be there, and acknowledges it.
func get(t testing.TB, ch *client.Channel, queue string) client.Delivery {
	t.Helper()
	d, ok, err := ch.Get(queue, true)
	must(t, err)
	if !ok {
		t.Fatalf("queue %s is empty", queue)
	}
	return d
}

// hold takes the next message of a queue, which must be there, and keeps it.
func hold(t testing.TB, ch *client.Channel, queue string) client.Delivery {
	t.Helper()
	d, ok, err := ch.Get(queue, false)
	must(t, err)
	if !ok {
		t.Fatalf("queue %s is empty", queue)
	}
	return d
}

// drained fails unless a queue holds exactly these bodies in this order, and takes them out.
func drained(t testing.TB, ch *client.Channel, queue string, texts ...string) []client.Delivery {
	t.Helper()
	got := make([]client.Delivery, 0, len(texts))
	for _, text := range texts {
		d := get(t, ch, queue)
		if string(d.Body) != text {
			t.Fatalf("queue %s gives %q, want %q", queue, d.Body, text)
		}
		got = append(got, d)
	}
	if d, more, err := ch.Get(queue, true); err != nil || more {
		t.Fatalf("queue %s holds %q after that, %v", queue, d.Body, err)
	}
	return got
}

// awaitReady waits until a queue has n messages ready.
func awaitReady(t testing.TB, ch *client.Channel, queue string, n int) {
	t.Helper()
	for end := time.Now().Add(patience); ; <-time.After(2 * time.Millisecond) {
		last := ready(t, ch, queue)
		if last == n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("queue %s has %d ready, want %d", queue, last, n)
		}
	}
}

// sinceThen runs step every few milliseconds until span has gone by.
func sinceThen(span time.Duration, step func()) {
	for end := time.Now().Add(span); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		step()
	}
}

// refused sends m on a channel of its own and returns how the server closes that.
func (p *peer) refused(channel uint16, m wire.Method) *wire.ChannelClose {
	p.t.Helper()
	p.open(channel)
	p.send(channel, m)
	c := want[*wire.ChannelClose](p, channel)
	p.send(channel, &wire.ChannelCloseOk{})
	return c
}

// wantRefused fails unless m closes its channel with that code and text.
func (p *peer) wantRefused(channel uint16, m wire.Method, code uint16, text string) {
	p.t.Helper()
	if c := p.refused(channel, m); c.ReplyCode != code || c.ReplyText != text {
		p.t.Errorf("%s is answered with %d %q, want %d %q", m.Name(), c.ReplyCode, c.ReplyText, code, text)
	}
}

// declared sends a declaration on channel 1, which must succeed.
func (p *peer) declared(m *wire.QueueDeclare) *wire.QueueDeclareOk {
	p.t.Helper()
	p.send(1, m)
	return wantDeclared(p)
}

// declaration is a transient queue's with one argument.
func declaration(name, argument string, v any) *wire.QueueDeclare {
	return &wire.QueueDeclare{Queue: name, Arguments: wire.Table{argument: v}}
}

// consumption is a consumer's start with one argument.
func consumption(queue, argument string, v any) *wire.BasicConsume {
	return &wire.BasicConsume{Queue: queue, Arguments: wire.Table{argument: v}}
}

// deaths are the entries of a message's x-death.
func deaths(t testing.TB, d client.Delivery) []client.Table {
	t.Helper()
	list, ok := d.Headers["x-death"].([]any)
	if !ok {
		t.Fatalf("x-death of %q is %v", d.Body, d.Headers["x-death"])
	}
	entries := make([]client.Table, 0, len(list))
	for _, entry := range list {
		entries = append(entries, entry.(client.Table))
	}
	return entries
}

// wantDeath fails unless the newest entry of d's x-death is of that queue, reason and count.
func wantDeath(t testing.TB, d client.Delivery, queue, reason string, count int64) {
	t.Helper()
	e := deaths(t, d)[0]
	if e["queue"] != queue || e["reason"] != reason || e["count"] != count {
		t.Errorf("%q died of %v in %v, %v times; want %s in %s, %d times", d.Body, e["reason"], e["queue"], e["count"], reason, queue, count)
	}
}
