package scale

import (
	"context"
	"encoding/binary"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	backlog     = "scale.backlog"
	bodySize    = 128
	unconfirmed = 2_048 // publishes that wait for their confirm
	batch       = 1_000 // deliveries acknowledged at once
	patience    = 60 * time.Second
)

// TestBacklog: one durable queue with millions of messages. Enqueueing does not slow down with the depth, the memory does not grow with it, the first message
// is delivered soon after a start, and all of them come, in order.
func TestBacklog(t *testing.T) {
	z, dir := chosen(t), t.TempDir()
	s := start(t, dir)
	enqueue(t, z, s)
	atMost(t, z, "resident at most while enqueueing", s.memory(t, "VmHWM"), 500<<20, mib)
	atMost(t, z, "resident with the backlog", s.settled(t, z), 500<<20, mib)
	s.profile(t, "backlog")

	tell(t, "stop with the backlog", seconds(s.end(t, syscall.SIGTERM)))
	s = start(t, dir)
	firstDelivery(t, z, s, "a stop")
	s.end(t, syscall.SIGKILL)
	s = start(t, dir)
	firstDelivery(t, z, s, "kill -9")
	atMost(t, z, "resident at most after that", s.memory(t, "VmHWM"), 500<<20, mib)
	s.profile(t, "backlog-restarted")
	drain(t, z, s)
	atMost(t, z, "resident at most when drained", s.memory(t, "VmHWM"), 500<<20, mib)
	tell(t, "resident a few seconds after that", mib(s.still(t, z)))
}

// enqueue publishes numbered messages on one connection with a window of confirms.
func enqueue(t *testing.T, z size, s *server) {
	t.Helper()
	conn, ch := s.dial(t)
	defer conn.Close()
	_, err := ch.QueueDeclare(backlog, true, false, false, false, nil)
	must(t, err)
	must(t, ch.Confirm(false))
	wait := s.profileCPU(t, "backlog-enqueue", 10)
	defer wait()
	var under [unconfirmed]*amqp.DeferredConfirmation
	marks := []time.Time{time.Now()} // of every tenth
	for i := range z.messages + unconfirmed {
		if c := under[i%unconfirmed]; c != nil {
			confirmed(t, c)
		}
		if under[i%unconfirmed] = nil; i >= z.messages {
			continue
		}
		body := make([]byte, bodySize)
		binary.BigEndian.PutUint64(body, uint64(i))
		under[i%unconfirmed], err = ch.PublishWithDeferredConfirm("", backlog, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
		must(t, err)
		if (i+1)%(z.messages/10) == 0 {
			marks = append(marks, time.Now())
		}
	}
	tenth := func(i int) float64 { return rate(z.messages/10, marks[i+1].Sub(marks[i])) }
	tell(t, "enqueued", perSecond(rate(z.messages, time.Since(marks[0]))))
	tell(t, "enqueued, first tenth", perSecond(tenth(0)))
	tell(t, "enqueued, last tenth", perSecond(tenth(9)))
	atLeast(t, z, "last tenth to first", tenth(9)/tenth(0), 0.5, ratio)
}

func confirmed(t *testing.T, c *amqp.DeferredConfirmation) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if ok, err := c.WaitContext(ctx); err != nil || !ok {
		t.Fatalf("message %d: confirmed %v, %v", c.DeliveryTag, ok, err)
	}
}

func consume(t *testing.T, s *server) (*amqp.Connection, <-chan amqp.Delivery) {
	t.Helper()
	conn, ch := s.dial(t)
	must(t, ch.Qos(2*batch, 0, false))
	deliveries, err := ch.Consume(backlog, "", false, false, false, false, nil)
	must(t, err)
	return conn, deliveries
}

// next returns the next message's number.
func next(t *testing.T, deliveries <-chan amqp.Delivery) (amqp.Delivery, int) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case d, ok := <-deliveries:
		if !ok {
			t.Fatal("the consumer was cut")
		}
		if len(d.Body) != bodySize {
			t.Fatalf("a message of %d bytes, want %d", len(d.Body), bodySize)
		}
		return d, int(binary.BigEndian.Uint64(d.Body))
	case <-timer.C:
		t.Fatalf("no message for %v", patience)
	}
	return amqp.Delivery{}, 0
}

// firstDelivery consumes one message and gives it back.
func firstDelivery(t *testing.T, z size, s *server, after string) {
	t.Helper()
	conn, deliveries := consume(t, s)
	defer conn.Close()
	_, n := next(t, deliveries)
	atMost(t, z, "first delivery after "+after+", from exec", time.Since(s.began), 15*time.Second, seconds)
	if n != 0 {
		t.Errorf("the first message after %s is number %d", after, n)
	}
}

// drain takes everything out, and wants it in order and nothing behind it.
func drain(t *testing.T, z size, s *server) {
	t.Helper()
	conn, deliveries := consume(t, s)
	defer conn.Close()
	wait := s.profileCPU(t, "backlog-drain", 10)
	defer wait()
	began := time.Now()
	for i := range z.messages {
		d, n := next(t, deliveries)
		if n != i {
			t.Fatalf("delivery %d is message %d", i, n)
		}
		if (i+1)%batch == 0 || i == z.messages-1 {
			must(t, d.Ack(true))
		}
	}
	tell(t, "drained, all in order", perSecond(rate(z.messages, time.Since(began))))
	ch, err := conn.Channel()
	must(t, err)
	q, err := ch.QueueDeclarePassive(backlog, true, false, false, false, nil)
	must(t, err)
	if q.Messages != 0 {
		t.Errorf("%d messages are left", q.Messages)
	}
}
