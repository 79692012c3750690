package amqp_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core"

	client "github.com/rabbitmq/amqp091-go"
)

// The gateway's own alarm reaches publishers: a disk with less free than asked for.
func TestDiskAlarmBlocks(t *testing.T) {
	d := open(t, func(c *core.Config) { c.DiskFree = 1 << 60 })
	publisher := d.dial(t)
	blocked := publisher.NotifyBlocked(make(chan client.Blocking, 2))
	ch := channelOf(t, publisher)
	declare(t, ch, "q")
	publish(t, ch, "", "q", "x")
	if b := receive(t, blocked, "blocked"); !b.Active || b.Reason != "low on disk" {
		t.Fatalf("blocked %+v", b)
	}
	_ = publisher.CloseDeadline(time.Now()) // the server does not read its goodbye, as RabbitMQ does not
}

// Contract of core.Adapter: on the end of its context the door lets publishes settle and tells every client 320.
func TestDrain(t *testing.T) {
	t.Parallel()
	d := open(t)
	conn := d.dial(t)
	closed := conn.NotifyClose(make(chan *client.Error, 1))
	ch := channelOf(t, conn)
	value(ch.QueueDeclare("q", true, false, false, false, nil))(t)
	must(t, ch.Confirm(false))
	confirms := ch.NotifyPublish(make(chan client.Confirmation, 1000))
	for range 500 {
		must(t, ch.PublishWithContext(t.Context(), "", "q", false, false, client.Publishing{Body: []byte("x")}))
	}
	idle, silent := d.peer(t, login{}), d.connect(t)
	stopped := make(chan error, 1)
	go func() { stopped <- d.stop() }()
	wantCode(t, receive(t, closed, "close"), 320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'")
	idle.wantClose(wire.ConnectionForced)
	silent.wantEnd()
	must(t, receive(t, stopped, "end of Serve"))
	q := d.gateway.System().Lookup("q")
	s := value(q.Stats())(t)
	acked := 0
	for c := range confirms {
		if c.Ack {
			acked++
		}
	}
	if acked > s.Ready {
		t.Errorf("%d confirmed, %d kept", acked, s.Ready)
	}
	if _, err := net.DialTimeout("tcp", d.addr, time.Second); err == nil {
		t.Error("the door still accepts")
	}
}

// A drain does not wait for a client that is blocked or does not answer longer than it may.
func TestDrainOfStuckClients(t *testing.T) {
	t.Parallel()
	d := open(t, func(c *core.Config) { c.DrainTimeout = 300 * time.Millisecond })
	stuck, deaf := d.peer(t, login{}), d.peer(t, login{})
	stuck.open(1)
	clear := d.adapter.RaiseForTest("low on disk")
	defer clear()
	stuck.write(publication(1, "", "q", nil, 4096))
	_ = deaf
	start := time.Now()
	must(t, d.stop())
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the drain took %s", took)
	}
}

// Close while everything is going on: publishes, deliveries, acks, channels that end. Nothing hangs, nothing leaks (see TestMain).
func TestCloseInTheMiddle(t *testing.T) {
	d := open(t)
	declare(t, d.channel(t), "q")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 10 {
				conn, err := client.Dial(d.url())
				if err != nil {
					t.Error(err)
					return
				}
				ch, err := conn.Channel()
				if err != nil {
					t.Error(err)
					return
				}
				ds, err := ch.Consume("q", "", i%2 == 0, false, false, false, nil)
				if err != nil {
					t.Error(err)
				}
				for n := range 50 {
					_ = ch.PublishWithContext(context.Background(), "", "q", false, false, client.Publishing{Body: []byte(fmt.Sprint(n))})
				}
				select {
				case got := <-ds:
					if i%2 == 1 {
						_ = got.Ack(false)
					}
				case <-time.After(patience):
					t.Error("no delivery")
				}
				if i%3 == 0 {
					_ = ch.Close()
				}
				_ = conn.Close()
			}
		})
	}
	all.Wait()
	ch := d.channel(t)
	for {
		q := value(ch.QueueDeclarePassive("q", false, false, false, false, nil))(t)
		if q.Consumers == 0 {
			break
		}
	}
	before := ready(t, ch, "q")
	ds := value(ch.Consume("q", "", false, false, false, false, nil))(t)
	for range before {
		must(t, next(t, ds).Ack(false))
	}
	if q := value(ch.QueueDeclarePassive("q", false, false, false, false, nil))(t); q.Messages != 0 {
		t.Errorf("%d messages are left", q.Messages)
	}
}

// Idle connections are cheap.
func TestIdleConnectionsAreCheap(t *testing.T) {
	if testing.Short() {
		t.Skip("opens 1,000 connections")
	}
	d := open(t)
	const n = 1000
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := heap()
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = d.peer(t, login{})
		peers[i].open(1)
		peers[i].write(publication(1, "", "nowhere", make([]byte, 20000), 4096))
	}
	for _, p := range peers {
		p.send(1, &wire.BasicQos{})
		want[*wire.BasicQosOk](p, 1)
	}
	each := (heap() - before) / n
	t.Logf("%d octets for a connection and its test client", each)
	if each > 120<<10 {
		t.Errorf("an idle connection and its client take %d octets", each)
	}
}

// The door's counters: connections, messages and payload octets in and out, acknowledgements, redeliveries, time from publish to confirm.
func TestMetrics(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	declare(t, ch, "q")
	for range 64 {
		confirmed(t, ch, "", "q", "12345")
	}
	got, _, err := ch.Get("q", false)
	must(t, err)
	must(t, got.Nack(false, true))
	got, _, err = ch.Get("q", false)
	must(t, err)
	must(t, got.Ack(false))
	declare(t, ch, "in-order")
	for name, want := range map[string]float64{
		"portico_connections": 1, "portico_messages_in_total": 64, "portico_bytes_in_total": 320, "portico_messages_out_total": 2, "portico_bytes_out_total": 10,
		"portico_acks_total": 1, "portico_redeliveries_total": 1, "portico_publish_seconds": 1,
	} {
		eventually(t, fmt.Sprintf("%s is %v", name, want), func() bool { return metric(t, d.gateway, name) == want })
	}
}

// metric reads a series of the door.
func metric(t testing.TB, g *core.Gateway, name string) float64 {
	t.Helper()
	families, err := g.Registry().Gather()
	must(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() != name || len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() != "amqp" {
				continue
			}
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return 0
}
