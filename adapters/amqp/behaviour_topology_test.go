package amqp_test

import (
	"strings"
	"testing"
)

// §2.4: names the server gives.
func TestBehaviour04ServerNamedQueues(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	a := value(ch.QueueDeclare("", false, false, true, false, nil))(t)
	b := value(ch.QueueDeclare("", false, false, true, false, nil))(t)
	if a.Name == b.Name || !strings.HasPrefix(a.Name, "amq.gen-") {
		t.Fatalf("names %q and %q", a.Name, b.Name)
	}
	must(t, ch.QueueBind("", "", "amq.direct", false, nil))
	publish(t, ch, "amq.direct", b.Name, "by its name")
	wantTexts(t, value(ch.Consume("", "", true, false, false, false, nil))(t), "by its name")
	_, err := ch.QueueDeclare(a.Name, false, false, true, false, nil)
	wantCode(t, err, 403, "")
}

// §2.5: deleting, unbinding and cancelling what is not there succeeds.
func TestBehaviour05MissingThingsGoWithoutError(t *testing.T) {
	ch := open(t).channel(t)
	declare(t, ch, "q")
	must(t, ch.ExchangeDelete("none", false, false))
	must(t, ch.QueueUnbind("q", "k", "none", nil))
	must(t, ch.QueueUnbind("none", "k", "amq.direct", nil))
	must(t, ch.QueueUnbind("q", "k", "amq.direct", nil))
	must(t, ch.ExchangeUnbind("amq.fanout", "k", "none", false, nil))
	must(t, ch.Cancel("none", false))
	if n := value(ch.QueueDelete("none", false, false, false))(t); n != 0 {
		t.Errorf("deleted %d messages", n)
	}
}
