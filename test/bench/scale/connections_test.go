package scale

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"golang.org/x/sync/errgroup"
)

// TestConnections: what an idle AMQP connection with one channel costs, and that nothing of it stays behind.
func TestConnections(t *testing.T) {
	z := chosen(t)
	s := start(t, t.TempDir())
	s.needFiles(t, z.connections+z.connections/10+200)
	idle, goroutines := s.still(t, z), s.metric(t, "go_goroutines")
	tell(t, "resident, nothing connected", mib(idle))

	began := time.Now()
	conns := s.connect(t, z.connections)
	tell(t, "AMQP connections opened", perSecond(rate(len(conns), time.Since(began))))
	tell(t, "resident as soon as they are open, by connection", kib(float64(s.memory(t, "VmRSS")-idle)/float64(len(conns))))
	rss := s.settled(t, z)
	atMost(t, z, "resident by idle AMQP connection with a channel", float64(rss-idle)/float64(len(conns)), 60<<10, kib)
	tell(t, "goroutines by connection", ratio((s.metric(t, "go_goroutines")-goroutines)/float64(len(conns))))
	if open := s.metric(t, `portico_connections{door="amqp"}`); int(open) != len(conns) {
		t.Errorf("the gateway counts %v connections, want %d", open, len(conns))
	}
	s.profile(t, "connections")

	for _, c := range conns {
		if c.IsClosed() {
			t.Fatal("an idle connection was closed")
		}
	}
	closeAll(t, conns)
	left := func() float64 { return s.metric(t, "go_goroutines") - goroutines }
	if !poll(20*time.Second, 100*time.Millisecond, func() bool { return left() <= 10 }) {
		t.Errorf("%v goroutines stayed behind %d closed connections", left(), len(conns))
	}
	tell(t, "resident a few seconds after they are closed", mib(s.still(t, z)))
	s.profile(t, "connections-closed")
}

// connect opens so many connections with a channel each, 16 at a time.
func (s *server) connect(t *testing.T, n int) []*amqp.Connection {
	t.Helper()
	conns := make([]*amqp.Connection, n)
	var all errgroup.Group
	all.SetLimit(16)
	for i := range conns {
		all.Go(func() (err error) {
			if conns[i], err = amqp.Dial(s.Doors["AMQP"] + "/"); err != nil {
				return err
			}
			_, err = conns[i].Channel()
			return err
		})
	}
	must(t, all.Wait())
	return conns
}

func closeAll(t *testing.T, conns []*amqp.Connection) {
	t.Helper()
	var all errgroup.Group
	all.SetLimit(16)
	for _, c := range conns {
		all.Go(c.Close)
	}
	must(t, all.Wait())
}
