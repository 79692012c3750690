package e2e

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/core"
	"portico/core/queue"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// topicExchange is the bus: its routing keys are subjects.
const topicExchange = "amq.topic"

// rabbit is an AMQP connection.
type rabbit struct {
	conn *amqp091.Connection
	net  net.Conn
}

func dialRabbit(t *testing.T, address string) *rabbit {
	t.Helper()
	r := &rabbit{}
	conn, err := amqp091.DialConfig("amqp://guest:guest@"+address+"/", amqp091.Config{
		Dial: func(network, addr string) (c net.Conn, err error) {
			c, err = amqp091.DefaultDial(patience)(network, addr)
			r.net = c
			return c, err
		},
	})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	r.conn = conn
	return r
}

func (r *rabbit) channel(t *testing.T) *amqp091.Channel {
	t.Helper()
	ch, err := r.conn.Channel()
	must(t, err)
	t.Cleanup(func() { ch.Close() })
	return ch
}

func amqpDoor(t *testing.T, address string) *door {
	t.Helper()
	r := dialRabbit(t, address)
	return &door{
		name: "AMQP", headers: true, lasting: true,
		publish:   func(t *testing.T, m message) error { return r.publish(t, topicExchange, m.subject, m) },
		subscribe: r.subscribe,
		request:   r.request,
		serve:     r.serve,
		declare: func(t *testing.T, q core.QueueConfig) error {
			t.Helper()
			ch := r.channel(t)
			defer ch.Close()
			_, err := ch.QueueDeclare(q.Name, q.Durable, q.AutoDelete, false, false, arguments(q))
			if e := (*amqp091.Error)(nil); errors.As(err, &e) && e.Code == amqp091.PreconditionFailed && strings.Contains(e.Reason, "inequivalent") {
				return errDifferent
			}
			return err
		},
		append: func(t *testing.T, queue string, m message) error { return r.publish(t, "", queue, m) },
		consume: func(t *testing.T, queue string, priority int) consumer {
			return consumeRabbit(t, address, queue, priority)
		},
	}
}

// arguments are what a description is to AMQP, where dead letters always take an exchange: the default one to a queue, the bus's to a subject.
func arguments(q core.QueueConfig) amqp091.Table {
	args := amqp091.Table{}
	for name, b := range map[string]queue.Bound{
		"x-message-ttl": q.TTL, "x-expires": q.Expires, "x-max-length": q.MaxLength, "x-max-length-bytes": q.MaxBytes,
	} {
		if b.Set {
			args[name] = b.N
		}
	}
	if q.Type != core.ClassicQueue {
		args["x-queue-type"] = string(q.Type)
	}
	if q.MaxPriority > 0 {
		args["x-max-priority"] = int64(q.MaxPriority)
	}
	if q.SingleActive {
		args["x-single-active-consumer"] = true
	}
	if q.MaxDeliveries > 0 {
		args["x-delivery-limit"] = int64(q.MaxDeliveries) - 1 // it counts returns
	}
	if q.Overflow != queue.DropHead {
		args["x-overflow"] = q.Overflow.String()
	}
	to := q.DeadLetter
	switch {
	case to.Queue != "":
		to.Exchange, to.RoutingKey = core.Some(""), core.Some(to.Queue)
	case to.Subject != "":
		to.Exchange, to.RoutingKey = core.Some(topicExchange), core.Some(to.Subject)
	}
	for name, text := range map[string]core.Text{"x-dead-letter-exchange": to.Exchange, "x-dead-letter-routing-key": to.RoutingKey} {
		if text.Set {
			args[name] = text.V
		}
	}
	return args
}

// publishing is a message in AMQP's terms.
func publishing(m message) amqp091.Publishing {
	p := amqp091.Publishing{Headers: amqp091.Table{}, Body: m.data}
	for name, value := range m.header {
		switch name {
		case "Content-Type":
			p.ContentType = value
		case "Portico-Message-Id":
			p.MessageId = value
		case "Portico-Correlation-Id":
			p.CorrelationId = value
		case "Portico-Expiration":
			p.Expiration = value
		case "Portico-Priority":
			n, _ := strconv.Atoi(value)
			p.Priority = uint8(n)
		default:
			p.Headers[name] = value
		}
	}
	return p
}

func received(d amqp091.Delivery) message {
	m := message{subject: d.RoutingKey, reply: d.ReplyTo, header: make(map[string]string), data: d.Body}
	for name, value := range map[string]string{
		"Content-Type": d.ContentType, "Portico-Message-Id": d.MessageId, "Portico-Correlation-Id": d.CorrelationId, "Portico-Expiration": d.Expiration,
	} {
		if value != "" {
			m.header[name] = value
		}
	}
	for name, value := range d.Headers {
		m.header[name] = fmt.Sprint(value)
	}
	return m
}

// publish returns errFull if it is not confirmed.
func (r *rabbit) publish(t *testing.T, exchange, key string, m message) error {
	t.Helper()
	ch := r.channel(t)
	defer ch.Close()
	must(t, ch.Confirm(false))
	confirm, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, publishing(m))
	must(t, err)
	if acked, err := confirm.WaitContext(within(t)); err != nil || acked {
		return err
	}
	return errFull
}

// bound consumes from a queue of its own that hears a subject.
func (r *rabbit) bound(t *testing.T, subject string) (ch *amqp091.Channel, queue string, deliveries <-chan amqp091.Delivery) {
	t.Helper()
	ch = r.channel(t)
	q, err := ch.QueueDeclare("", false, true, true, false, nil)
	must(t, err)
	must(t, ch.QueueBind(q.Name, subject, topicExchange, false, nil))
	deliveries, err = ch.Consume(q.Name, "", true, false, false, false, nil)
	must(t, err)
	return ch, q.Name, deliveries
}

func (r *rabbit) subscribe(t *testing.T, subject string) <-chan message {
	t.Helper()
	_, _, deliveries := r.bound(t, subject)
	arrived := make(chan message, 64)
	go func() {
		defer close(arrived)
		for d := range deliveries {
			arrived <- received(d)
		}
	}()
	return arrived
}

func (r *rabbit) request(t *testing.T, m message) (message, error) {
	t.Helper()
	ch := r.channel(t)
	defer ch.Close()
	replies, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	must(t, err)
	returned := ch.NotifyReturn(make(chan amqp091.Return, 1))
	p := publishing(m)
	p.ReplyTo = "amq.rabbitmq.reply-to"
	must(t, ch.PublishWithContext(within(t), topicExchange, m.subject, true, false, p))
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case d := <-replies:
		return received(d), nil
	case ret := <-returned:
		if ret.ReplyCode == amqp091.NoRoute {
			return message{}, errNobody
		}
		return message{}, fmt.Errorf("returned: %d %s", ret.ReplyCode, ret.ReplyText)
	case <-timer.C:
		return message{}, fmt.Errorf("no answer within %v", patience)
	}
}

func (r *rabbit) serve(t *testing.T, subject string, answer func(message) message) (stop func()) {
	t.Helper()
	ch, queue, calls := r.bound(t, subject)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for d := range calls {
			if err := ch.Publish("", d.ReplyTo, false, false, publishing(answer(received(d)))); err != nil {
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		_, _ = ch.QueueDelete(queue, false, false, false) // gone when this returns; closing the channel would only begin it
		ch.Close()
		<-ended
	})
}

// rabbitConsumer has a connection of its own, so that it can vanish.
type rabbitConsumer struct {
	*testing.T
	rabbit     *rabbit
	channel    *amqp091.Channel
	deliveries <-chan amqp091.Delivery
}

func consumeRabbit(t *testing.T, address, queue string, priority int) *rabbitConsumer {
	t.Helper()
	r := dialRabbit(t, address)
	ch := r.channel(t)
	must(t, ch.Qos(2, 0, false))
	deliveries, err := ch.Consume(queue, "only", false, false, false, false, amqp091.Table{"x-priority": int64(priority)})
	must(t, err)
	return &rabbitConsumer{t, r, ch, deliveries}
}

func (c *rabbitConsumer) next() delivery {
	c.Helper()
	d := receive(c.T, c.deliveries, "delivery")
	attempt := 0
	if n, told := d.Headers["x-delivery-count"].(int64); told { // only where quorum queues deliver again
		attempt = int(n) + 1
	}
	return delivery{received(d), d.Redelivered, attempt, d}
}

func (c *rabbitConsumer) ack(d delivery) { c.Helper(); must(c.T, d.id.(amqp091.Delivery).Ack(false)) }

func (c *rabbitConsumer) nack(d delivery) {
	c.Helper()
	must(c.T, d.id.(amqp091.Delivery).Nack(false, true))
}

func (c *rabbitConsumer) reject(d delivery) {
	c.Helper()
	must(c.T, d.id.(amqp091.Delivery).Reject(false))
}

func (c *rabbitConsumer) leave() { c.Helper(); must(c.T, c.channel.Cancel("only", false)) }

func (c *rabbitConsumer) vanish() { _ = c.rabbit.net.Close() }
