package amqp_test

import (
	"testing"

	"portico/adapters/amqp/wire"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.7: both limits at once are both kept, as up to RabbitMQ 3.13: of each consumer to come, and of the channel.
func TestQosBothAtOnce(t *testing.T) {
	d := open(t)
	filled(t, d, "q", "1", "2", "3", "4")
	ch := d.channel(t)
	must(t, ch.Qos(2, 0, false))
	must(t, ch.Qos(3, 0, true))
	x := value(ch.Consume("q", "x", false, false, false, false, nil))(t)
	wantTexts(t, x, "1", "2")
	y := value(ch.Consume("q", "y", false, false, false, false, nil))(t)
	wantTexts(t, y, "3")
	if n := ready(t, ch, "q"); n != 1 {
		t.Fatalf("%d ready", n)
	}
	must(t, ch.Ack(0, true))
	awaitReady(t, ch, "q", 0)
}

// §1.7: from consume-ok on a consumer gets what is published, by whomever: a message that does not wait finds it.
func TestConsumeOkIsInTime(t *testing.T) {
	d := open(t)
	ch := d.confirming(t)
	transient(t, ch, "q", client.Table{"x-message-ttl": int32(0)})
	p := d.peer(t, login{})
	p.open(1)
	for range 300 {
		p.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true})
		want[*wire.BasicConsumeOk](p, 1)
		put(t, ch, "", "q", client.Publishing{})
		p.send(1, &wire.BasicCancel{ConsumerTag: "c"})
		want[*wire.BasicDeliver](p, 1)
		p.content(1)
		want[*wire.BasicCancelOk](p, 1)
	}
}

// §1.7: 0 takes a channel's limit away, for consumers that are there, too.
func TestQosIsLifted(t *testing.T) {
	d := open(t)
	filled(t, d, "q", "1", "2", "3")
	ch := d.channel(t)
	must(t, ch.Qos(1, 0, true))
	ds := value(ch.Consume("q", "", false, false, false, false, nil))(t)
	wantTexts(t, ds, "1")
	must(t, ch.Qos(0, 0, true))
	wantTexts(t, ds, "2", "3")
}

// §1.7: no_local means nothing, and nowait that nobody answers.
func TestConsumeFlags(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1,
		&wire.QueueDeclare{Queue: "q", Exclusive: true, NoWait: true}, &wire.QueueBind{Queue: "q", Exchange: "amq.fanout", NoWait: true},
		&wire.ExchangeDeclare{Exchange: "x", Type: "fanout", AutoDelete: true, NoWait: true}, &wire.ExchangeBind{Source: "x", Destination: "amq.fanout", NoWait: true},
		&wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoLocal: true, NoAck: true, NoWait: true},
	)
	p.write(publication(1, "x", "k", []byte("from here"), 4096))
	if m := want[*wire.BasicDeliver](p, 1); m.ConsumerTag != "c" || m.Exchange != "x" || m.RoutingKey != "k" {
		t.Errorf("deliver %+v", m)
	}
	p.content(1)
	p.send(1,
		&wire.BasicCancel{ConsumerTag: "c", NoWait: true}, &wire.QueuePurge{Queue: "q", NoWait: true}, &wire.ExchangeUnbind{Source: "x", Destination: "amq.fanout", NoWait: true},
		&wire.QueueDelete{Queue: "q", NoWait: true}, &wire.ExchangeDelete{Exchange: "x", NoWait: true}, &wire.ConfirmSelect{NoWait: true},
	)
	p.write(publication(1, "", "nobody", nil, 4096))
	if m := want[*wire.BasicAck](p, 1); m.DeliveryTag != 1 {
		t.Errorf("ack %+v", m)
	}
}

// §1.6: durable queues keep what is published to them, whatever its delivery mode; transient queues are gone with the gateway.
func TestDeliveryModes(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.confirming(t)
	durable(t, ch, "durable", nil)
	transient(t, ch, "transient", nil)
	for _, q := range []string{"durable", "transient"} {
		for _, mode := range []uint8{client.Persistent, client.Transient} {
			put(t, ch, "", q, client.Publishing{DeliveryMode: mode, Body: []byte{'0' + mode}})
		}
	}
	ch = d.restart(t, dir).channel(t)
	drained(t, ch, "durable", "2", "1")
	_, err := ch.QueueDeclarePassive("transient", false, false, false, false, nil)
	wantCode(t, err, 404, "NOT_FOUND - no queue 'transient' in vhost '/'")
}
