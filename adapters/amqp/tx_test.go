package amqp_test

import (
	"testing"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.8: publishes and acknowledgements wait for commit; a rollback drops them and requeues nothing.
func TestTx(t *testing.T) {
	d := open(t)
	other := filled(t, d, "in", "1", "2")
	value(other.QueueDeclare("out", true, false, false, false, nil))(t)
	ch := d.channel(t)
	must(t, ch.Tx())
	ds := value(ch.Consume("in", "", false, false, false, false, nil))(t)
	held := wantTexts(t, ds, "1", "2")

	publish(t, ch, "", "out", "dropped")
	must(t, held[0].Ack(false))
	must(t, ch.TxRollback())
	if n := ready(t, other, "out") + ready(t, other, "in"); n != 0 {
		t.Fatalf("%d ready after rollback", n)
	}
	publish(t, ch, "", "out", "kept")
	must(t, held[0].Ack(false))
	if n := ready(t, other, "out"); n != 0 {
		t.Fatalf("%d ready before commit", n)
	}
	must(t, ch.TxCommit())
	if got, ok, err := other.Get("out", true); !ok || err != nil || string(got.Body) != "kept" {
		t.Fatalf("get: %t, %v, %q", ok, err, got.Body)
	}
	must(t, held[1].Ack(false)) // not committed
	must(t, ch.Close())
	got, ok, err := other.Get("in", true)
	if !ok || err != nil || string(got.Body) != "2" || !got.Redelivered {
		t.Fatalf("get: %t, %v, %q", ok, err, got.Body)
	}
	if n := ready(t, other, "in"); n != 0 {
		t.Fatalf("%d ready, the committed ack has not been", n)
	}
}

// A mandatory publish in a transaction is returned by its commit.
func TestTxReturnsAtCommit(t *testing.T) {
	ch := open(t).channel(t)
	returned := ch.NotifyReturn(make(chan client.Return, 1))
	must(t, ch.Tx())
	must(t, ch.PublishWithContext(t.Context(), "", "nobody", true, false, client.Publishing{Body: []byte("x")}))
	must(t, ch.TxCommit())
	if r := receive(t, returned, "return"); r.ReplyCode != 312 {
		t.Errorf("return %+v", r)
	}
}
