package soak

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Destinations of a message: a letter may be acknowledged in its first queue or where it ends when it expires or is rejected.
const (
	toA bits = 1 << iota
	toB
	toPriority
	toLetters
)

// queue is one of the durable queues that the ledger watches.
type queue struct {
	name    string
	bit     bits // of its own
	serves  bits // destinations
	args    amqp.Table
	letters bool          // it holds what has died elsewhere
	buries  bool          // what is rejected here is a dead letter, and not gone
	lonely  time.Duration // for how long its consumers are away between two visits, at most: messages expire meanwhile
}

const (
	queueA, queueB, queuePriority, queueTTL, queueReject, queueDead = "soak.a", "soak.b", "soak.priority", "soak.ttl", "soak.reject", "soak.dead"
	exchangeBoth, exchangeTopic, exchangeWork, exchangeDead         = "soak.both", "soak.topic", "soak.work", "soak.dead"
	exchangeChurn, exchangeMissing                                  = "soak.churn", "soak.nobody-declared-this"
)

func workQueues() []*queue {
	queues := []*queue{
		{name: queueA, serves: toA},
		{name: queueB, serves: toB},
		{name: queuePriority, serves: toPriority, args: amqp.Table{"x-max-priority": int32(9)}},
		{name: queueTTL, serves: toLetters, buries: true, lonely: 4 * time.Second, args: amqp.Table{"x-message-ttl": int32(1500),
			"x-dead-letter-exchange": exchangeDead, "x-dead-letter-routing-key": "dead"}},
		{name: queueReject, serves: toLetters, buries: true, lonely: 2 * time.Second, args: amqp.Table{"x-dead-letter-exchange": exchangeDead}},
		{name: queueDead, serves: toLetters, letters: true},
	}
	for i, q := range queues {
		q.bit = 1 << i
	}
	return queues
}

// declareTopology declares what the ledger watches, once: after a kill it has to be there.
func (w *world) declareTopology() {
	w.t.Helper()
	must := func(err error) {
		if w.t.Helper(); err != nil {
			w.t.Fatal(err)
		}
	}
	conn, err := amqp.Dial(w.gateway.Doors["AMQP"] + "/")
	must(err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(err)
	for name, kind := range map[string]string{exchangeBoth: "fanout", exchangeTopic: "topic", exchangeWork: "direct", exchangeDead: "direct", exchangeChurn: "topic"} {
		must(ch.ExchangeDeclare(name, kind, true, false, false, false, nil))
	}
	for _, q := range w.queues {
		_, err := ch.QueueDeclare(q.name, true, false, false, false, q.args)
		must(err)
	}
	for _, b := range []struct{ queue, exchange, key string }{
		{queueA, exchangeBoth, ""}, {queueB, exchangeBoth, ""}, {queueB, exchangeTopic, "to.#"}, {queueReject, exchangeWork, "reject"},
		{queueDead, exchangeDead, "dead"}, {queueDead, exchangeDead, "reject"},
	} {
		must(ch.QueueBind(b.queue, b.key, b.exchange, false, nil))
	}
}

// parcel is a publish as it will be.
type parcel struct {
	exchange, key string
	want          bits
	amqp.Publishing
}

// compose returns a publish to one of the destinations. Its body is to be filled in.
func compose(rnd *rand.Rand) parcel {
	p := parcel{Publishing: amqp.Publishing{DeliveryMode: amqp.Persistent}}
	switch rnd.IntN(6) {
	case 0:
		p.key, p.want = queueA, toA
	case 1:
		p.exchange, p.want = exchangeBoth, toA|toB
	case 2:
		p.exchange, p.key, p.want = exchangeTopic, fmt.Sprintf("to.b.%d", rnd.IntN(100)), toB
	case 3:
		p.key, p.want, p.Priority = queuePriority, toPriority, uint8(rnd.IntN(12))
	case 4:
		p.key, p.want = queueTTL, toLetters
	case 5:
		p.exchange, p.key, p.want = exchangeWork, "reject", toLetters
		if rnd.IntN(3) == 0 {
			p.Expiration = strconv.Itoa(rnd.IntN(500))
		}
	}
	return p
}
