package amqp_test

import (
	"fmt"
	"testing"
	"time"

	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// letters are the arguments of a queue whose dead letters go to another, and what more they are given.
func letters(to string, more client.Table) client.Table {
	args := client.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": to}
	for k, v := range more {
		args[k] = v
	}
	return args
}

// §1.8: the reasons for which messages die.
func TestDeadLetterReasons(t *testing.T) {
	t.Parallel()
	d := open(t)
	ch := d.confirming(t)
	transient(t, ch, "letters", nil)
	reject := func(t *testing.T, q string) { must(t, hold(t, ch, q).Reject(false)) }
	for name, c := range map[string]struct {
		args   client.Table
		texts  []string
		kill   func(t *testing.T, q string) // nil: it dies by itself
		reason string
		dead   string
	}{
		"reject":             {nil, []string{"a"}, reject, "rejected", "a"},
		"nack":               {nil, []string{"a"}, func(t *testing.T, q string) { must(t, hold(t, ch, q).Nack(true, false)) }, "rejected", "a"},
		"ttl":                {client.Table{"x-message-ttl": int32(30)}, []string{"a"}, nil, "expired", "a"},
		"ttl 0":              {client.Table{"x-message-ttl": int32(0)}, []string{"a"}, nil, "expired", "a"},
		"drop-head":          {client.Table{"x-max-length": int32(1)}, []string{"oldest", "newest"}, nil, "maxlen", "oldest"},
		"drop-head, octets":  {client.Table{"x-max-length-bytes": int32(8)}, []string{"oldest", "newest"}, nil, "maxlen", "oldest"},
		"reject-publish-dlx": {client.Table{"x-max-length": int32(1), "x-overflow": "reject-publish-dlx"}, []string{"oldest", "newest"}, nil, "maxlen", "newest"},
		"delivery limit": {client.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(1)}, []string{"a"}, func(t *testing.T, q string) {
			must(t, hold(t, ch, q).Nack(false, true))
			must(t, hold(t, ch, q).Nack(false, true))
		}, "delivery_limit", "a"},
	} {
		t.Run(name, func(t *testing.T) {
			durable(t, ch, name, letters("letters", c.args))
			for _, text := range c.texts {
				put(t, ch, "", name, client.Publishing{Body: []byte(text)})
			}
			if c.kill != nil {
				c.kill(t, name)
			}
			awaitReady(t, ch, "letters", 1)
			got := get(t, ch, "letters")
			wantDeath(t, got, name, c.reason, 1)
			if string(got.Body) != c.dead || got.Redelivered || got.Headers["x-first-death-reason"] != c.reason {
				t.Errorf("letter is %q %v, redelivered %t", got.Body, got.Headers, got.Redelivered)
			}
		})
	}
}

// §1.8: what is acknowledged, purged or deleted with its queue is no letter.
func TestNoDeadLetters(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "letters", nil)
	transient(t, ch, "q", letters("letters", nil))
	confirmed(t, ch, "", "q", "acked", "purged")
	must(t, hold(t, ch, "q").Ack(false))
	value(ch.QueuePurge("q", false))(t)
	confirmed(t, ch, "", "q", "taken", "deleted")
	get(t, ch, "q")
	value(ch.QueueDelete("q", false, false, false))(t)
	transient(t, ch, "plain", nil)
	confirmed(t, ch, "", "plain", "nowhere to go")
	must(t, hold(t, ch, "plain").Reject(false))
	drained(t, ch, "plain")
	drained(t, ch, "letters")
}

// §1.8: a letter that would come back to a queue where it died is dropped, unless it was rejected since: then it goes round as often as one likes.
func TestDeadLetterCycles(t *testing.T) {
	t.Parallel()
	ch := open(t).confirming(t)
	transient(t, ch, "self", letters("self", client.Table{"x-message-ttl": int32(20)}))
	transient(t, ch, "a", letters("b", client.Table{"x-message-ttl": int32(20)}))
	transient(t, ch, "b", letters("a", client.Table{"x-message-ttl": int32(20)}))
	transient(t, ch, "full", letters("full", client.Table{"x-max-length": int32(1)}))
	for _, q := range []string{"self", "a", "full", "full"} {
		put(t, ch, "", q, client.Publishing{Body: []byte("round")})
	}
	for _, q := range []string{"self", "a", "b"} {
		awaitReady(t, ch, q, 0)
	}
	sinceThen(100*time.Millisecond, func() {
		if n := ready(t, ch, "self") + ready(t, ch, "a") + ready(t, ch, "b"); n > 1 {
			t.Fatalf("%d came back", n)
		}
	})
	for _, q := range []string{"self", "a", "b"} {
		drained(t, ch, q)
	}
	drained(t, ch, "full", "round")

	transient(t, ch, "work", letters("wait", nil))
	transient(t, ch, "wait", letters("work", client.Table{"x-message-ttl": int32(20)}))
	put(t, ch, "", "work", client.Publishing{Body: []byte("again")})
	for round := range int64(4) {
		awaitReady(t, ch, "work", 1)
		got := hold(t, ch, "work")
		if round > 0 {
			wantDeath(t, got, "wait", "expired", round)
			if all := deaths(t, got); len(all) != 2 || all[1]["reason"] != "rejected" || all[1]["count"] != round {
				t.Fatalf("round %d: x-death %v", round, all)
			}
		}
		must(t, got.Reject(false))
	}
}

// §1.8: an exchange that does not exist drops letters, until it does.
func TestDeadLetterExchangeIsMissing(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "q", client.Table{"x-dead-letter-exchange": "later"})
	confirmed(t, ch, "", "q", "dropped")
	must(t, hold(t, ch, "q").Reject(false))
	drained(t, ch, "q")
	must(t, ch.ExchangeDeclare("later", "fanout", false, false, true, false, nil)) // internal: letters are not published by a client
	transient(t, ch, "letters", nil)
	must(t, ch.QueueBind("letters", "", "later", false, nil))
	confirmed(t, ch, "", "q", "found")
	must(t, hold(t, ch, "q").Reject(false))
	awaitReady(t, ch, "letters", 1)
	if got := drained(t, ch, "letters", "found")[0]; got.Exchange != "later" || got.RoutingKey != "q" {
		t.Errorf("by %s/%s", got.Exchange, got.RoutingKey)
	}
}

// §1.8: a letter's routing keys: the queue's, or the message's own with CC and BCC.
func TestDeadLetterKeys(t *testing.T) {
	for name, c := range map[string]struct {
		key  any
		want map[string]int // ready by queue
		by   string
	}{
		"its own, CC and BCC": {nil, map[string]int{"own": 1, "cc": 1, "bcc": 1, "new": 0}, "own"},
		"the queue's":         {"new", map[string]int{"own": 0, "cc": 0, "bcc": 0, "new": 1}, "new"},
		"the queue's, empty":  {"", map[string]int{"own": 0, "cc": 0, "bcc": 0, "empty": 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			ch := open(t).confirming(t)
			must(t, ch.ExchangeDeclare("dlx", "direct", false, false, false, false, nil))
			for q, key := range map[string]string{"own": "own", "cc": "cc", "bcc": "bcc", "new": "new", "empty": ""} {
				transient(t, ch, q, nil)
				must(t, ch.QueueBind(q, key, "dlx", false, nil))
			}
			args := client.Table{"x-dead-letter-exchange": "dlx"}
			if c.key != nil {
				args["x-dead-letter-routing-key"] = c.key
			}
			transient(t, ch, "q", args)
			must(t, ch.QueueBind("q", "own", "amq.direct", false, nil))
			headers := client.Table{"CC": []any{"cc"}, "BCC": []any{"bcc"}}
			put(t, ch, "amq.direct", "own", client.Publishing{Headers: headers, Body: []byte("x")})
			must(t, hold(t, ch, "q").Reject(false))
			for q, n := range c.want {
				awaitReady(t, ch, q, n)
				if n == 0 {
					continue
				}
				got := get(t, ch, q)
				if got.Exchange != "dlx" || got.RoutingKey != c.by || fmt.Sprint(got.Headers["CC"]) != "[cc]" || got.Headers["BCC"] != nil {
					t.Errorf("%s: by %s/%q with %v", q, got.Exchange, got.RoutingKey, got.Headers)
				}
			}
		})
	}
}

// §1.8: x-death that a client sends along is counted on, as it was up to RabbitMQ 3.13.
func TestDeadLetterCountsOn(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "letters", nil)
	transient(t, ch, "q", letters("letters", nil))
	died := client.Table{
		"count": int64(5), "exchange": "elsewhere", "queue": "q", "reason": "rejected", "routing-keys": []any{"k"}, "time": time.Unix(1600000000, 0),
	}
	put(t, ch, "", "q", client.Publishing{Headers: client.Table{"x-death": []any{died}}})
	must(t, hold(t, ch, "q").Reject(false))
	awaitReady(t, ch, "letters", 1)
	got := get(t, ch, "letters")
	wantDeath(t, got, "q", "rejected", 6)
	if e := deaths(t, got); len(e) != 1 || e[0]["exchange"] != "elsewhere" || !e[0]["time"].(time.Time).Equal(time.Unix(1600000000, 0)) {
		t.Errorf("x-death %v", e)
	}
}

// §1.8: letters that are under way when the gateway stops arrive after it has started again.
func TestDeadLettersOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.confirming(t)
	durable(t, ch, "letters", nil)
	durable(t, ch, "q", letters("letters", client.Table{"x-message-ttl": int32(50)}))
	const n = 400
	var last *client.DeferredConfirmation
	for i := range n {
		last = value(ch.PublishWithDeferredConfirm("", "q", false, false, client.Publishing{DeliveryMode: client.Persistent, Body: fmt.Append(nil, i)}))(t)
	}
	if !last.Wait() {
		t.Fatal("not confirmed")
	}
	eventually(t, "the first have arrived", func() bool { return ready(t, ch, "letters") > 0 })
	d = d.restart(t, dir)
	ch = d.channel(t)
	eventually(t, "all have left", func() bool { return ready(t, ch, "q") == 0 })
	seen := map[string]int{}
	ds := value(ch.Consume("letters", "", true, false, false, false, nil))(t)
	for len(seen) < n {
		got := next(t, ds)
		wantDeath(t, got, "q", "expired", 1)
		seen[string(got.Body)]++
	}
	for text, times := range seen {
		if times > 1 {
			t.Errorf("%s came %d times", text, times)
		}
	}
}
