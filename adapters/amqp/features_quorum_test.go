package amqp_test

import (
	"testing"

	"portico/adapters/amqp/wire"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

func quorum(more client.Table) client.Table {
	args := client.Table{"x-queue-type": "quorum"}
	for k, v := range more {
		args[k] = v
	}
	return args
}

// §1.12: each return counts, however it comes about, and the header says how many; the first delivery says nothing. What returns comes before what is ready.
func TestQuorumCountsReturns(t *testing.T) {
	d := open(t)
	p := d.confirming(t)
	durable(t, p, "q", quorum(nil))
	confirmed(t, p, "", "q", "x")
	ch := d.channel(t)
	returns := []func(got client.Delivery){
		func(got client.Delivery) { must(t, got.Nack(false, true)) },
		func(got client.Delivery) { must(t, got.Reject(true)) },
		func(client.Delivery) { must(t, ch.Recover(true)) },
		func(client.Delivery) { must(t, ch.Close()); ch = d.channel(t) },
	}
	for n, back := range returns {
		awaitReady(t, p, "q", 1)
		got := hold(t, ch, "q")
		count, there := got.Headers["x-delivery-count"]
		if want := int64(n); there != (n > 0) || there && count != want || got.Redelivered != (n > 0) {
			t.Fatalf("after %d returns: headers %v, redelivered %t", n, got.Headers, got.Redelivered)
		}
		back(got)
	}
	confirmed(t, p, "", "q", "y")
	awaitReady(t, p, "q", 2)
	if got := drained(t, p, "q", "x", "y")[0]; got.Headers["x-delivery-count"] != int64(len(returns)) {
		t.Errorf("headers %v", got.Headers)
	}
}

// §1.8: above x-delivery-limit a message dies; 0 allows no return at all, below 0 and none any number.
func TestQuorumDeliveryLimit(t *testing.T) {
	d := open(t)
	ch := d.confirming(t)
	durable(t, ch, "letters", nil)
	for name, c := range map[string]struct {
		limit   any
		returns int // that it outlives
	}{
		"two": {int32(2), 2}, "none": {int32(0), 0}, "no limit": {int32(-1), 50}, "not said": {nil, 50},
	} {
		t.Run(name, func(t *testing.T) {
			args := letters("letters", quorum(nil))
			if c.limit != nil {
				args["x-delivery-limit"] = c.limit
			}
			durable(t, ch, name, args)
			confirmed(t, ch, "", name, "poison")
			for range c.returns {
				must(t, hold(t, ch, name).Nack(false, true))
				awaitReady(t, ch, name, 1)
			}
			last := hold(t, ch, name)
			if c.returns > 2 {
				must(t, last.Ack(false))
				return
			}
			must(t, last.Nack(false, true))
			awaitReady(t, ch, "letters", 1)
			wantDeath(t, get(t, ch, "letters"), name, "delivery_limit", 1)
			drained(t, ch, name)
		})
	}
}

// §1.12: counts are there again after a restart, and what has reached its limit dies at the next return.
func TestQuorumCountsOutliveTheGateway(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.confirming(t)
	durable(t, ch, "letters", nil)
	durable(t, ch, "q", letters("letters", quorum(client.Table{"x-delivery-limit": int32(2)})))
	confirmed(t, ch, "", "q", "poison", "sound")
	must(t, hold(t, ch, "q").Nack(false, true))
	awaitReady(t, ch, "q", 2)
	ch = d.restart(t, dir).channel(t)
	counts := map[string]any{}
	for range 2 {
		got := hold(t, ch, "q")
		counts[string(got.Body)] = got.Headers["x-delivery-count"]
	}
	if counts["poison"] != int64(1) || counts["sound"] != nil {
		t.Fatalf("counts %v", counts)
	}
	must(t, ch.Nack(0, true, true))
	awaitReady(t, ch, "q", 2)
	hold(t, ch, "q")
	hold(t, ch, "q")
	must(t, ch.Nack(0, true, true))
	awaitReady(t, ch, "letters", 1)
	wantDeath(t, drained(t, ch, "letters", "poison")[0], "q", "delivery_limit", 1)
	awaitReady(t, ch, "q", 1)
}

// §1.12: what is published to it is kept, whatever its delivery mode.
func TestQuorumKeepsTransientMessages(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.confirming(t)
	durable(t, ch, "q", quorum(nil))
	put(t, ch, "", "q", client.Publishing{DeliveryMode: client.Transient, Body: []byte("kept")})
	drained(t, d.restart(t, dir).channel(t), "q", "kept")
}

// §1.5, §1.12: what a quorum queue cannot be, and what it does not do.
func TestQuorumRefusals(t *testing.T) {
	d := open(t)
	durable(t, d.channel(t), "q", quorum(nil))
	durable(t, d.channel(t), "plain", nil)
	args := func(more wire.Table) wire.Table {
		t := wire.Table{"x-queue-type": "quorum"}
		for k, v := range more {
			t[k] = v
		}
		return t
	}
	p := d.peer(t, login{})
	const invalid = "PRECONDITION_FAILED - invalid "
	for name, c := range map[string]struct {
		method wire.Method
		text   string
	}{
		"not durable":           {&wire.QueueDeclare{Queue: "n", Arguments: args(nil)}, invalid + "property 'non-durable' for queue 'n' in vhost '/'"},
		"exclusive":             {&wire.QueueDeclare{Queue: "n", Durable: true, Exclusive: true, Arguments: args(nil)}, invalid + "property 'exclusive-owner' for queue 'n' in vhost '/'"},
		"auto-delete":           {&wire.QueueDeclare{Queue: "n", Durable: true, AutoDelete: true, Arguments: args(nil)}, invalid + "property 'auto-delete' for queue 'n' in vhost '/'"},
		"without a name":        {&wire.QueueDeclare{Durable: true, Arguments: args(nil)}, "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_quorum_queue"},
		"priorities":            {&wire.QueueDeclare{Queue: "n", Durable: true, Arguments: args(wire.Table{"x-max-priority": int32(5)})}, invalid + "arg 'x-max-priority' for queue 'n' in vhost '/' of queue type rabbit_quorum_queue"},
		"an argument of ours":   {&wire.QueueDeclare{Queue: "n", Durable: true, Arguments: wire.Table{"x-delivery-limit": int32(5)}}, invalid + "arg 'x-delivery-limit' for queue 'n' in vhost '/' of queue type rabbit_classic_queue"},
		"unheard type":          {&wire.QueueDeclare{Queue: "n", Durable: true, Arguments: wire.Table{"x-queue-type": "unheard"}}, invalid + "arg 'x-queue-type' for queue 'n' in vhost '/': \"unsupported queue type 'unheard'\""},
		"unheard strategy":      {&wire.QueueDeclare{Queue: "n", Durable: true, Arguments: args(wire.Table{"x-dead-letter-strategy": "sometimes"})}, invalid + "arg 'x-dead-letter-strategy' for queue 'n' in vhost '/': invalid_dlx_strategy"},
		"redeclared as classic": {&wire.QueueDeclare{Queue: "q", Durable: true}, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received none but current is the value 'quorum' of type 'longstr'"},
		"redeclared as quorum":  {&wire.QueueDeclare{Queue: "plain", Durable: true, Arguments: args(nil)}, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'plain' in vhost '/': received the value 'quorum' of type 'longstr' but current is none"},
	} {
		t.Run(name, func(t *testing.T) { p.wantRefused(2, c.method, 406, c.text) })
	}
	durable(t, d.channel(t), "careful", quorum(client.Table{"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish", "x-quorum-initial-group-size": int32(3)}))
}
