package amqp_test

import (
	"testing"
	"time"

	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.5, §2.22: a queue with x-expires goes when nobody has used it for so long. Gets and declarations, passive ones too, are use; consumers keep it;
// publishes do not.
func TestExpiresIsRenewedByUse(t *testing.T) {
	t.Parallel()
	const life = 300 * time.Millisecond
	args := client.Table{"x-expires": int32(life / time.Millisecond)}
	d := open(t)
	for name, use := range map[string]func(t *testing.T, ch *client.Channel, q string){
		"get": func(t *testing.T, ch *client.Channel, q string) {
			if _, _, err := ch.Get(q, true); err != nil {
				t.Fatal(err)
			}
		},
		"declare": func(t *testing.T, ch *client.Channel, q string) { transient(t, ch, q, args) },
		"passive": func(t *testing.T, ch *client.Channel, q string) { ready(t, ch, q) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ch := d.channel(t)
			transient(t, ch, name, args)
			sinceThen(2*life, func() { use(t, ch, name) })
			eventually(t, "it goes when it is not used any more", func() bool { return d.gateway.System().Lookup(name) == nil })
		})
	}
	t.Run("publish", func(t *testing.T) {
		t.Parallel()
		ch := d.confirming(t)
		transient(t, ch, "published", args)
		declared := time.Now()
		eventually(t, "it goes", func() bool {
			put(t, ch, "", "published", client.Publishing{})
			return d.gateway.System().Lookup("published") == nil
		})
		if took := time.Since(declared); took < life-2*time.Millisecond {
			t.Errorf("it went after %s", took)
		}
	})
	t.Run("consumer", func(t *testing.T) {
		t.Parallel()
		ch := d.channel(t)
		transient(t, ch, "consumed", args)
		value(ch.Consume("consumed", "c", true, false, false, false, nil))(t)
		sinceThen(2*life, func() {
			if d.gateway.System().Lookup("consumed") == nil {
				t.Fatal("it has gone in spite of its consumer")
			}
		})
		must(t, ch.Cancel("c", false))
		eventually(t, "it goes", func() bool { return d.gateway.System().Lookup("consumed") == nil })
	})
}

// §1.5: what is in a queue that expires is lost with it, not dead-lettered; bindings go, and what was delivered of it can still be acknowledged.
func TestExpiresTakesItsMessagesAlong(t *testing.T) {
	t.Parallel()
	d := open(t)
	ch := d.confirming(t)
	transient(t, ch, "letters", nil)
	transient(t, ch, "brief", client.Table{"x-expires": int32(100), "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "letters"})
	must(t, ch.QueueBind("brief", "k", "amq.direct", false, nil))
	confirmed(t, ch, "", "brief", "held", "waiting")
	held := hold(t, ch, "brief")
	eventually(t, "it goes", func() bool { return d.gateway.System().Lookup("brief") == nil })
	must(t, held.Ack(false))
	returned := ch.NotifyReturn(make(chan client.Return, 1))
	must(t, ch.PublishWithContext(t.Context(), "amq.direct", "k", true, false, client.Publishing{}))
	receive(t, returned, "return")
	drained(t, ch, "letters")
}

// §1.5: a durable queue with x-expires is as unused after a restart as before, and goes.
func TestExpiresOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	durable(t, d.channel(t), "brief", client.Table{"x-expires": int32(400)})
	durable(t, d.channel(t), "kept", nil)
	d = d.restart(t, dir)
	eventually(t, "it goes", func() bool { return d.gateway.System().Lookup("brief") == nil })
	if d.gateway.System().Lookup("kept") == nil {
		t.Error("the other one has gone, too")
	}
}

// §1.5: values of x-expires.
func TestExpiresValues(t *testing.T) {
	p := open(t).peer(t, login{})
	for name, c := range map[string]struct {
		value any
		why   string
	}{
		"zero":      {int32(0), "{value_zero,0}"},
		"negative":  {int32(-1), "{value_negative,-1}"},
		"text":      {"1000", `"expected integer, got longstr"`},
		"too large": {int64(315360000001), "{value_too_large,315360000001}"},
	} {
		t.Run(name, func(t *testing.T) {
			p.wantRefused(2, declaration("q", "x-expires", c.value), 406,
				"PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q' in vhost '/': "+c.why)
		})
	}
}
