package amqp_test

import (
	"testing"

	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.8: nack and reject wait for their commit, too; after a rollback a tag can be used again, after a commit it cannot; a channel that ends drops what was
// not committed, and returns what it held.
func TestTxSettlements(t *testing.T) {
	d := open(t)
	other := filled(t, d, "q", "a", "b")
	ch := d.channel(t)
	must(t, ch.Tx())
	must(t, ch.Tx()) // again is no error
	must(t, ch.TxCommit())
	got := hold(t, ch, "q")
	must(t, got.Nack(false, true))
	if n := ready(t, ch, "q"); n != 1 {
		t.Fatalf("%d ready before commit", n)
	}
	must(t, ch.TxRollback())
	must(t, got.Nack(false, true))
	must(t, ch.TxCommit())
	awaitReady(t, ch, "q", 2)
	held := hold(t, ch, "q")
	if string(held.Body) != "a" || !held.Redelivered {
		t.Fatalf("head is %q, redelivered %t", held.Body, held.Redelivered)
	}
	must(t, held.Ack(false))
	must(t, ch.TxCommit())
	closed := ch.NotifyClose(make(chan *client.Error, 1))
	must(t, held.Ack(false))
	wantCode(t, receive(t, closed, "close"), 406, "PRECONDITION_FAILED - unknown delivery tag 2")

	ch = d.channel(t)
	must(t, ch.Tx())
	publish(t, ch, "", "q", "dropped")
	must(t, hold(t, ch, "q").Ack(false))
	must(t, ch.Close())
	awaitReady(t, other, "q", 1)
	if got := drained(t, other, "q", "b")[0]; !got.Redelivered {
		t.Error("it is not redelivered")
	}
}

// §1.8: what is wrong with a publish is said at once, not at commit; the transaction is lost with its channel.
func TestTxErrorsAreImmediate(t *testing.T) {
	d := open(t)
	other := filled(t, d, "q")
	for name, c := range map[string]struct {
		exchange string
		p        client.Publishing
		code     int
		text     string
	}{
		"exchange":   {"none", client.Publishing{}, 404, "NOT_FOUND - no exchange 'none' in vhost '/'"},
		"expiration": {"", client.Publishing{Expiration: "abc"}, 406, "PRECONDITION_FAILED - invalid expiration 'abc': no_integer"},
	} {
		t.Run(name, func(t *testing.T) {
			ch := d.channel(t)
			closed := ch.NotifyClose(make(chan *client.Error, 1))
			must(t, ch.Tx())
			publish(t, ch, "", "q", "lost")
			must(t, ch.PublishWithContext(t.Context(), c.exchange, "q", false, false, c.p))
			wantCode(t, receive(t, closed, "close"), c.code, c.text)
			drained(t, other, "q")
		})
	}
}

// §1.6, §1.8: what was committed is kept over a restart, in order, whatever its delivery mode.
func TestTxIsDurable(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.channel(t)
	durable(t, ch, "q", nil)
	must(t, ch.Tx())
	for i, text := range []string{"a", "b", "c", "d"} {
		mode := []uint8{client.Persistent, client.Transient}[i%2]
		must(t, ch.PublishWithContext(t.Context(), "", "q", false, false, client.Publishing{DeliveryMode: mode, Body: []byte(text)}))
	}
	must(t, ch.TxCommit())
	publish(t, ch, "", "q", "not committed")
	for i, got := range drained(t, d.restart(t, dir).channel(t), "q", "a", "b", "c", "d") {
		if want := []uint8{client.Persistent, client.Transient}[i%2]; got.DeliveryMode != want {
			t.Errorf("%q has delivery mode %d", got.Body, got.DeliveryMode)
		}
	}
}
