package amqp_test

import (
	"strings"
	"testing"

	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// verdicts are the confirms of a series of publishes, one letter each: a for ack, n for nack.
func verdicts(t testing.TB, ch *client.Channel, queue string, texts ...string) string {
	t.Helper()
	var all strings.Builder
	for _, text := range texts {
		if put(t, ch, "", queue, client.Publishing{Body: []byte(text)}) {
			all.WriteByte('a')
		} else {
			all.WriteByte('n')
		}
	}
	return all.String()
}

// §1.8: the limits count what is ready, messages or octets of bodies; the oldest go, or the newest are refused.
func TestMaxLength(t *testing.T) {
	ch := open(t).confirming(t)
	texts := func(s string) []string { return strings.Fields(s) }
	for name, c := range map[string]struct {
		args     client.Table
		publish  string
		verdicts string
		left     string
		letters  string
	}{
		"messages":               {client.Table{"x-max-length": int32(3)}, "a b c d e", "aaaaa", "c d e", "a b"},
		"none":                   {client.Table{"x-max-length": int32(0)}, "a b", "aa", "", "a b"},
		"octets":                 {client.Table{"x-max-length-bytes": int32(10)}, "1234 5678 90 x", "aaaa", "5678 90 x", "1234"},
		"larger than the queue":  {client.Table{"x-max-length-bytes": int32(10)}, "a yyyyyyyyyyy", "aa", "", "a yyyyyyyyyyy"},
		"both, messages first":   {client.Table{"x-max-length": int32(3), "x-max-length-bytes": int32(6)}, "a b c d", "aaaa", "b c d", "a"},
		"both, octets first":     {client.Table{"x-max-length": int32(3), "x-max-length-bytes": int32(6)}, "b c d eeeee", "aaaa", "d eeeee", "b c"},
		"reject-publish":         {client.Table{"x-max-length": int32(2), "x-overflow": "reject-publish"}, "a b c d", "aann", "a b", ""},
		"reject-publish, none":   {client.Table{"x-max-length": int32(0), "x-overflow": "reject-publish"}, "a", "n", "", ""},
		"reject-publish, octets": {client.Table{"x-max-length-bytes": int32(10), "x-overflow": "reject-publish"}, "12345678 12345678 1 2 3", "anaan", "12345678 1 2", ""},
		"reject-publish-dlx":     {client.Table{"x-max-length": int32(1), "x-overflow": "reject-publish-dlx"}, "a b c", "ann", "a", "b c"},
		"drop-head":              {client.Table{"x-max-length": int32(1), "x-overflow": "drop-head"}, "a b", "aa", "b", "a"},
		"overflow without limit": {client.Table{"x-overflow": "reject-publish"}, "a b", "aa", "a b", ""},
		"quorum":                 {client.Table{"x-max-length": int32(2), "x-queue-type": "quorum"}, "a b c", "aaa", "b c", "a"},
		"quorum, octets":         {client.Table{"x-max-length-bytes": int32(5), "x-queue-type": "quorum"}, "aaa bbb c", "aaa", "bbb c", "aaa"},
		"quorum, knows no dlx":   {client.Table{"x-max-length": int32(1), "x-overflow": "reject-publish-dlx", "x-queue-type": "quorum"}, "a b", "aa", "b", "a"},
		"quorum, reject-publish": {client.Table{"x-max-length": int32(1), "x-overflow": "reject-publish", "x-queue-type": "quorum"}, "a b", "an", "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			durable(t, ch, "dead "+name, nil)
			durable(t, ch, name, letters("dead "+name, c.args))
			if got := verdicts(t, ch, name, texts(c.publish)...); got != c.verdicts {
				t.Errorf("confirms %s, want %s", got, c.verdicts)
			}
			awaitReady(t, ch, "dead "+name, len(texts(c.letters)))
			for _, dead := range drained(t, ch, "dead "+name, texts(c.letters)...) {
				wantDeath(t, dead, name, "maxlen", 1)
			}
			drained(t, ch, name, texts(c.left)...)
		})
	}
}

// §1.8: a body counts, its headers do not.
func TestMaxLengthCountsBodies(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "q", client.Table{"x-max-length-bytes": int32(10)})
	headers := client.Table{"long": strings.Repeat("z", 100)}
	for _, body := range []string{"", "ten octets"} {
		put(t, ch, "", "q", client.Publishing{Headers: headers, Body: []byte(body)})
	}
	drained(t, ch, "q", "", "ten octets")
}

// §1.8: what is unacknowledged does not count; when it comes back the oldest go, or the queue is above its limit for a while.
func TestMaxLengthCountsReady(t *testing.T) {
	ch := open(t).confirming(t)
	transient(t, ch, "head", client.Table{"x-max-length": int32(2)})
	confirmed(t, ch, "", "head", "a", "b")
	hold(t, ch, "head")
	hold(t, ch, "head")
	confirmed(t, ch, "", "head", "c", "d")
	if n := ready(t, ch, "head"); n != 2 {
		t.Fatalf("%d ready", n)
	}
	must(t, ch.Nack(0, true, true))
	awaitReady(t, ch, "head", 2)
	drained(t, ch, "head", "c", "d")

	transient(t, ch, "full", client.Table{"x-max-length": int32(2), "x-overflow": "reject-publish"})
	if got := verdicts(t, ch, "full", "a", "b", "c"); got != "aan" {
		t.Fatalf("confirms %s", got)
	}
	hold(t, ch, "full")
	if got := verdicts(t, ch, "full", "d", "e"); got != "an" {
		t.Fatalf("confirms %s", got)
	}
	must(t, ch.Nack(0, true, true))
	awaitReady(t, ch, "full", 3)
	if got := verdicts(t, ch, "full", "f"); got != "n" {
		t.Fatalf("confirms %s", got)
	}
	drained(t, ch, "full", "a", "b", "d")
}

// §1.8, §2.11: one queue of several refuses: one nack, and the others have the message. Without confirms it is just gone, and mandatory is content.
func TestMaxLengthOfOneQueueOfSeveral(t *testing.T) {
	d := open(t)
	ch, plain := d.confirming(t), d.channel(t)
	transient(t, ch, "small", client.Table{"x-max-length": int32(1), "x-overflow": "reject-publish"})
	transient(t, ch, "large", nil)
	for _, q := range []string{"small", "large"} {
		must(t, ch.QueueBind(q, "", "amq.fanout", false, nil))
	}
	returned := ch.NotifyReturn(make(chan client.Return, 1))
	for i, want := range []bool{true, false} {
		c := value(ch.PublishWithDeferredConfirm("amq.fanout", "", true, false, client.Publishing{Body: []byte("x")}))(t)
		if got := c.Wait(); got != want {
			t.Errorf("publish %d: acked %t, want %t", i, got, want)
		}
	}
	publish(t, plain, "", "small", "silently")
	if small, large := ready(t, plain, "small"), ready(t, plain, "large"); small != 1 || large != 2 {
		t.Errorf("%d and %d ready, want 1 and 2", small, large)
	}
	if len(returned) > 0 {
		t.Error("a refused message was returned")
	}
}

// §1.8: a transaction whose messages are not all taken ends its channel; what was taken stays.
func TestMaxLengthInATransaction(t *testing.T) {
	d := open(t)
	other := d.channel(t)
	transient(t, other, "q", client.Table{"x-max-length": int32(1), "x-overflow": "reject-publish"})
	ch := d.channel(t)
	must(t, ch.Tx())
	for _, text := range []string{"a", "b", "c"} {
		publish(t, ch, "", "q", text)
	}
	wantCode(t, ch.TxCommit(), 406, "PRECONDITION_FAILED - partial tx completion")
	drained(t, other, "q", "a")
}

// §1.8: limits hold for what a restart brings back.
func TestMaxLengthOverARestart(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.confirming(t)
	durable(t, ch, "q", client.Table{"x-max-length": int32(2), "x-overflow": "reject-publish"})
	confirmed(t, ch, "", "q", "a")
	ch = d.restart(t, dir).confirming(t)
	if got := verdicts(t, ch, "q", "b", "c"); got != "an" {
		t.Errorf("confirms %s", got)
	}
	drained(t, ch, "q", "a", "b")
}

// §1.5: values of the limits.
func TestMaxLengthValues(t *testing.T) {
	p := open(t).peer(t, login{})
	for name, c := range map[string]struct {
		argument string
		value    any
		why      string
	}{
		"negative":         {"x-max-length", int32(-1), "{value_negative,-1}"},
		"text":             {"x-max-length", "10", `"expected integer, got longstr"`},
		"negative octets":  {"x-max-length-bytes", int32(-1), "{value_negative,-1}"},
		"octets as bool":   {"x-max-length-bytes", true, `"expected integer, got bool"`},
		"overflow unheard": {"x-overflow", "drop-tail", "invalid_overflow"},
		"overflow number":  {"x-overflow", int32(1), "{unacceptable_type,signedint}"},
	} {
		t.Run(name, func(t *testing.T) {
			p.wantRefused(2, declaration("q", c.argument, c.value), 406,
				"PRECONDITION_FAILED - invalid arg '"+c.argument+"' for queue 'q' in vhost '/': "+c.why)
		})
	}
}
