package amqp_test

import (
	"testing"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.6: confirms, one per publish, in order of publishing.
func TestPublishConfirmConsumeAck(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	value(ch.QueueDeclare("jobs", true, false, false, false, nil))(t)
	must(t, ch.Confirm(false))
	confirmed(t, ch, "", "jobs", "one", "two", "three")
	if n := ready(t, ch, "jobs"); n != 3 {
		t.Fatalf("%d ready, want 3", n)
	}
	ds := value(ch.Consume("jobs", "", false, false, false, false, nil))(t)
	for _, got := range wantTexts(t, ds, "one", "two", "three") {
		if got.Redelivered {
			t.Errorf("%q is redelivered", got.Body)
		}
		must(t, got.Ack(false))
	}
	if q := value(ch.QueueDeclarePassive("jobs", true, false, false, false, nil))(t); q.Messages != 0 || q.Consumers != 1 {
		t.Fatalf("queue has %d messages and %d consumers, want 0 and 1", q.Messages, q.Consumers)
	}
	_ = client.Table{}
}
