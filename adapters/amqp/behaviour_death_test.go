package amqp_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"portico/adapters/amqp/wire"

	client "github.com/rabbitmq/amqp091-go"
)

// §2.16: only the head of a queue expires: a dead message behind a live one is counted until its turn comes, and is then not delivered. Letters keep the
// order.
func TestBehaviour16OnlyTheHeadExpires(t *testing.T) {
	t.Parallel()
	ch := open(t).confirming(t)
	transient(t, ch, "letters", nil)
	transient(t, ch, "q", letters("letters", nil))
	published := time.Now()
	for _, m := range [][2]string{{"alive", "60000"}, {"first dead", "20"}, {"second dead", "10"}, {"immortal", ""}} {
		put(t, ch, "", "q", client.Publishing{Expiration: m[1], Body: []byte(m[0])})
	}
	sinceThen(100*time.Millisecond-time.Since(published), func() {
		if n := ready(t, ch, "q"); n != 4 {
			t.Fatalf("%d ready while the head is alive", n)
		}
	})
	if got := get(t, ch, "q"); string(got.Body) != "alive" {
		t.Fatalf("the head is %q", got.Body)
	}
	awaitReady(t, ch, "q", 1)
	awaitReady(t, ch, "letters", 2)
	for _, dead := range drained(t, ch, "letters", "first dead", "second dead") {
		wantDeath(t, dead, "q", "expired", 1)
	}
	drained(t, ch, "q", "immortal")
}

// §2.16: time runs from when a message came to its queue, whatever was done to it since; with values that are none the channel closes.
func TestBehaviour16TimeRunsFromTheQueue(t *testing.T) {
	t.Parallel()
	ch := open(t).confirming(t)
	transient(t, ch, "letters", nil)
	transient(t, ch, "q", letters("letters", client.Table{"x-message-ttl": int32(200)}))
	start := time.Now()
	put(t, ch, "", "q", client.Publishing{Body: []byte("x")})
	sinceThen(150*time.Millisecond, func() { must(t, hold(t, ch, "q").Nack(false, true)) })
	awaitReady(t, ch, "letters", 1)
	if took := time.Since(start); took > time.Second {
		t.Errorf("it died after %s: returning it gave it time", took)
	}
	p := open(t).peer(t, login{})
	for _, v := range []string{"", "abc", "-1"} {
		p.open(1)
		props := wire.Properties{Flags: wire.FlagExpiration, Expiration: v}
		p.write(wire.AppendHeader(method(1, &wire.BasicPublish{RoutingKey: "q"}), 1, wire.ClassBasic, 0, props.Append(nil)))
		p.wantChannelClose(1, 406)
		p.send(1, &wire.ChannelCloseOk{})
	}
}

// §2.17: the headers of a letter, type by type; all others are as they were, expiration has moved, CC is kept and BCC is not.
func TestBehaviour17DeathHeaders(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.declared(declareExclusive("letters"))
	p.declared(&wire.QueueDeclare{Queue: "q", Exclusive: true, Arguments: wire.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "letters"}})
	p.send(1, &wire.QueueBind{Queue: "q", Exchange: "amq.direct", RoutingKey: "key"})
	want[*wire.QueueBindOk](p, 1)
	sent := wire.Properties{
		ContentType: "text/plain", ContentEncoding: "e", DeliveryMode: 2, Priority: 3, CorrelationID: "c", ReplyTo: "r", Expiration: "60000", MessageID: "m",
		Timestamp: time.Unix(1700000000, 0).UTC(), Type: "t", UserID: "guest", AppID: "a", ClusterID: "l",
		Headers: wire.Table{"mine": int32(7), "octets": []byte{0, 255}, "CC": []any{"cc"}, "BCC": []any{"bcc"}},
	}
	b := method(1, &wire.BasicPublish{Exchange: "amq.direct", RoutingKey: "key"})
	p.write(wire.AppendHeader(b, 1, wire.ClassBasic, 0, sent.Append(nil)))
	start := time.Now().UTC().Truncate(time.Second)
	got := p.deadLetter("q", "letters")
	died, _ := got.Headers["x-death"].([]any)
	if len(died) != 1 {
		t.Fatalf("x-death %v", got.Headers["x-death"])
	}
	entry := died[0].(wire.Table)
	if at := entry["time"].(time.Time); at.Before(start) || at.After(time.Now()) {
		t.Errorf("it died at %s", at)
	}
	delete(entry, "time")
	same(t, "entry", entry, wire.Table{
		"count": int64(1), "reason": "rejected", "queue": "q", "exchange": "amq.direct", "routing-keys": []any{"key", "cc"}, "original-expiration": "60000",
	})
	delete(got.Headers, "x-death")
	expected := sent
	expected.Headers = wire.Table{"mine": int32(7), "octets": []byte{0, 255}, "CC": []any{"cc"}}
	for name, v := range map[string]string{"queue": "q", "reason": "rejected", "exchange": "amq.direct"} {
		expected.Headers["x-first-death-"+name], expected.Headers["x-last-death-"+name] = v, v
	}
	expected.Expiration, got.Flags = "", 0
	same(t, "properties", got, expected)
}

// §2.17: one entry for each queue and reason, the latest first, counted; the first death stays the first.
func TestBehaviour17DeathsAreMerged(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "a", letters("b", nil))
	transient(t, ch, "b", letters("a", nil))
	confirmed(t, ch, "", "a", "x")
	for round := 1; round <= 3; round++ {
		for _, hop := range [][2]string{{"a", "b"}, {"b", "a"}} {
			must(t, hold(t, ch, hop[0]).Reject(false))
			awaitReady(t, ch, hop[1], 1)
		}
		got := hold(t, ch, "a")
		var told []string
		for _, e := range deaths(t, got) {
			told = append(told, fmt.Sprint(e["queue"], e["count"]))
		}
		same(t, "x-death", told, []string{fmt.Sprint("b", round), fmt.Sprint("a", round)})
		if got.Headers["x-first-death-queue"] != "a" || got.Headers["x-last-death-queue"] != "b" {
			t.Errorf("first and last death in %v and %v", got.Headers["x-first-death-queue"], got.Headers["x-last-death-queue"])
		}
		must(t, got.Nack(false, true))
		awaitReady(t, ch, "a", 1)
	}
}

// get takes the next message of a queue, waiting for it, and returns its properties.
func (p *peer) get(queue string) wire.Properties {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); <-time.After(time.Millisecond) {
		if p.declared(&wire.QueueDeclare{Queue: queue, Passive: true}).MessageCount > 0 {
			p.send(1, &wire.BasicGet{Queue: queue, NoAck: true})
			want[*wire.BasicGetOk](p, 1)
			raw, _ := p.content(1)
			props, err := wire.DecodeProperties(raw)
			must(p.t, err)
			return props
		}
	}
	p.t.Fatalf("nothing came to %s", queue)
	return wire.Properties{}
}

// rejectHead rejects the head of a queue.
func (p *peer) rejectHead(queue string) {
	p.t.Helper()
	p.send(1, &wire.BasicGet{Queue: queue})
	m := want[*wire.BasicGetOk](p, 1)
	p.content(1)
	p.send(1, &wire.BasicReject{DeliveryTag: m.DeliveryTag})
}

// deadLetter rejects the head of a queue and returns the properties with which it comes to another.
func (p *peer) deadLetter(from, to string) wire.Properties {
	p.t.Helper()
	p.rejectHead(from)
	return p.get(to)
}

// same fails unless both are equal.
func same(t testing.TB, what string, got, expected any) {
	t.Helper()
	if !reflect.DeepEqual(got, expected) {
		t.Errorf("%s\n\t     %+v\n\twant %+v", what, got, expected)
	}
}
