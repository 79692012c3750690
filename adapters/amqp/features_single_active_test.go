package amqp_test

import (
	"testing"

	"portico/adapters/amqp/wire"

	client "github.com/rabbitmq/amqp091-go"
)

func singleActive() client.Table { return client.Table{"x-single-active-consumer": true} }

// §1.7: the first consumer is active, the others wait; however it goes, the next in turn takes over.
func TestSingleActiveConsumerTakesTurns(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, ch *client.Channel, conn *client.Connection){
		"cancel":           func(t *testing.T, ch *client.Channel, _ *client.Connection) { must(t, ch.Cancel("active", false)) },
		"channel close":    func(t *testing.T, ch *client.Channel, _ *client.Connection) { must(t, ch.Close()) },
		"connection close": func(t *testing.T, _ *client.Channel, conn *client.Connection) { must(t, conn.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			p := d.confirming(t)
			transient(t, p, "q", singleActive())
			conn := d.dial(t)
			first := channelOf(t, conn)
			active := value(first.Consume("q", "active", true, false, false, false, nil))(t)
			second := value(d.channel(t).Consume("q", "second", true, false, false, false, nil))(t)
			third := value(d.channel(t).Consume("q", "third", true, false, false, false, nil))(t)
			confirmed(t, p, "", "q", "1", "2", "3")
			wantTexts(t, active, "1", "2", "3")
			leave(t, first, conn)
			confirmed(t, p, "", "q", "4", "5")
			wantTexts(t, second, "4", "5")
			wantNone(t, third)
			if q := value(p.QueueDeclarePassive("q", false, false, false, false, nil))(t); q.Consumers != 2 {
				t.Errorf("%d consumers", q.Consumers)
			}
		})
	}
}

// §1.7: a higher priority does not oust the active consumer; of those who wait it is the next.
func TestSingleActiveConsumerPriority(t *testing.T) {
	d := open(t)
	p, first := d.confirming(t), d.channel(t)
	transient(t, p, "q", singleActive())
	active := value(first.Consume("q", "active", true, false, false, false, nil))(t)
	early := value(d.channel(t).Consume("q", "early", true, false, false, false, nil))(t)
	high := value(d.channel(t).Consume("q", "high", true, false, false, false, client.Table{"x-priority": int32(10)}))(t)
	confirmed(t, p, "", "q", "1")
	wantTexts(t, active, "1")
	must(t, first.Cancel("active", false))
	confirmed(t, p, "", "q", "2")
	wantTexts(t, high, "2")
	wantNone(t, early)
}

// §1.7: a consumer that is cut off makes room for the next, which gets what it held, redelivered.
func TestSingleActiveConsumerIsLost(t *testing.T) {
	d := open(t)
	ch := d.confirming(t)
	transient(t, ch, "q", singleActive())
	p := d.peer(t, login{})
	p.open(1)
	p.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "lost"})
	want[*wire.BasicConsumeOk](p, 1)
	next := value(d.channel(t).Consume("q", "next", false, false, false, false, nil))(t)
	confirmed(t, ch, "", "q", "held")
	want[*wire.BasicDeliver](p, 1)
	p.content(1)
	_ = p.nc.Close()
	if got := wantTexts(t, next, "held")[0]; !got.Redelivered {
		t.Error("it is not redelivered")
	}
}

// §1.7: at its prefetch the active consumer does not let others in; what a cancelled one holds stays with it until it is settled.
func TestSingleActiveConsumerIsBusy(t *testing.T) {
	d := open(t)
	p, first, second := d.confirming(t), d.channel(t), d.channel(t)
	transient(t, p, "q", singleActive())
	must(t, first.Qos(1, 0, false))
	active := value(first.Consume("q", "active", false, false, false, false, nil))(t)
	waiting := value(second.Consume("q", "waiting", false, false, false, false, nil))(t)
	confirmed(t, p, "", "q", "1", "2")
	must(t, wantTexts(t, active, "1")[0].Ack(false))
	held := wantTexts(t, active, "2")[0]
	must(t, first.Cancel("active", false))
	confirmed(t, p, "", "q", "3")
	wantTexts(t, waiting, "3")
	must(t, held.Nack(false, true))
	if got := wantTexts(t, waiting, "2")[0]; !got.Redelivered {
		t.Error("2 is not redelivered")
	}
}

// §1.7: no exclusive consumers; basic.get is not forbidden, as in RabbitMQ; quorum queues know it, too.
func TestSingleActiveConsumerAndOthers(t *testing.T) {
	d := open(t)
	ch := d.confirming(t)
	transient(t, ch, "q", singleActive())
	_, err := d.channel(t).Consume("q", "", false, true, false, false, nil)
	wantCode(t, err, 403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use")

	durable(t, ch, "quorum", client.Table{"x-queue-type": "quorum", "x-single-active-consumer": true})
	first, second := d.channel(t), d.channel(t)
	must(t, first.Qos(10, 0, false))
	active := value(first.Consume("quorum", "active", false, false, false, false, nil))(t)
	waiting := value(second.Consume("quorum", "waiting", false, false, false, false, nil))(t)
	confirmed(t, ch, "", "quorum", "1", "2")
	wantTexts(t, active, "1", "2")
	must(t, first.Cancel("active", false))
	confirmed(t, ch, "", "quorum", "3")
	wantTexts(t, waiting, "3")
	must(t, first.Nack(0, true, true))
	for _, got := range wantTexts(t, waiting, "1", "2") {
		if got.Headers["x-delivery-count"] != int64(1) {
			t.Errorf("%q: headers %v", got.Body, got.Headers)
		}
	}
}

// §1.5: values of x-single-active-consumer.
func TestSingleActiveConsumerValues(t *testing.T) {
	p := open(t).peer(t, login{})
	for name, c := range map[string]struct {
		value any
		kind  string
	}{"text": {"true", "longstr"}, "number": {int32(1), "signedint"}, "void": {nil, "void"}} {
		t.Run(name, func(t *testing.T) {
			p.wantRefused(2, declaration("q", "x-single-active-consumer", c.value), 406,
				"PRECONDITION_FAILED - invalid arg 'x-single-active-consumer' for queue 'q' in vhost '/': {unacceptable_type,"+c.kind+"}")
		})
	}
}
