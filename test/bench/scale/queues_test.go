package scale

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// oneIn is how many queues there are for one that has a message.
const oneIn = 10

// TestQueues: what a durable queue costs, and how soon the gateway is back with all of them, after a stop and after kill -9.
func TestQueues(t *testing.T) {
	z, dir := chosen(t), t.TempDir()
	s := start(t, dir)
	idle := s.still(t, z)

	declareQueues(t, z, s)
	rss := s.settled(t, z)
	atMost(t, z, "resident by durable queue", float64(rss-idle)/float64(z.queues), 100<<10, kib)
	tell(t, "resident at most while they were declared", mib(s.memory(t, "VmHWM")))
	s.profile(t, "queues")

	tell(t, "stop with all queues", seconds(s.end(t, syscall.SIGTERM)))
	s = restart(t, z, dir, "a stop")
	tell(t, "resident by durable queue after a restart", kib(float64(s.settled(t, z)-idle)/float64(z.queues)))
	s.profile(t, "queues-restarted")
	s.end(t, syscall.SIGKILL)
	restart(t, z, dir, "kill -9")
}

// declareQueues declares them one after another on one channel, as most clients would, and puts a message into some.
func declareQueues(t *testing.T, z size, s *server) {
	t.Helper()
	conn, ch := s.dial(t)
	defer conn.Close()
	wait := func() {}
	defer func() { wait() }()
	began := time.Now()
	var lastTenth time.Time
	for i := range z.queues {
		switch i {
		case z.queues / 2:
			wait = s.profileCPU(t, "queues-declare", 4)
		case z.queues - z.queues/10:
			lastTenth = time.Now()
		}
		_, err := ch.QueueDeclare(queueName(i), true, false, false, false, nil)
		must(t, err)
	}
	now := time.Now()
	atLeast(t, z, "durable queues declared one by one", rate(z.queues, now.Sub(began)), 300, perSecond)
	tell(t, "the last tenth of them", perSecond(rate(z.queues/10, now.Sub(lastTenth))))
	must(t, ch.Confirm(false))
	for i := 0; i < z.queues; i += oneIn {
		confirm, err := ch.PublishWithDeferredConfirm("", queueName(i), true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("kept")})
		must(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		ok, err := confirm.WaitContext(ctx)
		cancel()
		if must(t, err); !ok {
			t.Fatalf("message to %s was refused", queueName(i))
		}
	}
}

func queueName(i int) string { return fmt.Sprintf("scale.%05d", i) }

// restart starts the gateway again and looks at every queue.
func restart(t *testing.T, z size, dir, after string) *server {
	t.Helper()
	s := start(t, dir)
	conn, ch := s.dial(t)
	defer conn.Close()
	for i := range z.queues {
		q, err := ch.QueueDeclarePassive(queueName(i), true, false, false, false, nil)
		must(t, err)
		if i == 0 {
			tell(t, "first passive declare answered after "+after, seconds(time.Since(s.began)))
		}
		want := 0
		if i%oneIn == 0 {
			want = 1
		}
		if q.Messages != want {
			t.Fatalf("after %s %s has %d messages, want %d", after, q.Name, q.Messages, want)
		}
	}
	atMost(t, z, "all queues answered after "+after+", from exec", time.Since(s.began), 20*time.Second, seconds)
	return s
}
