package core_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func hiddenAddr(t testing.TB, g *core.Gateway) string {
	t.Helper()
	return g.HiddenAddr()
}

func TestStartIsQuick(t *testing.T) {
	start := time.Now()
	g := coretest.Start(t)
	if took := time.Since(start); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if err := g.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if err := errors.Join(g.Close(), g.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	wantCode(t, "ready after close", g.Ready(), core.CodeUnavailable)
	b := login(t, g)
	if _, err := b.Publish(t.Context(), &core.Message{Subject: "a"}); err != nil {
		t.Errorf("a live publish nobody hears: %v", err)
	}
	_, _, err := b.DeclareQueue(t.Context(), core.QueueConfig{Name: "q"})
	wantCode(t, "declare after close", err, core.CodeUnavailable)
	_, err = b.Subscribe("a", "", func(*core.Message) {})
	wantCode(t, "subscribe after close", err, core.CodeUnavailable)
}

func TestOneProcessPerDataDirectory(t *testing.T) {
	dir := t.TempDir()
	g := coretest.Start(t, coretest.DataDir(dir))
	if second, err := core.New(core.Config{DataDir: dir}, quiet()); err == nil || !strings.Contains(err.Error(), "in use by another gateway") {
		t.Errorf("a second gateway: %v", err)
		if second != nil {
			second.Close()
		}
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := core.New(core.Config{DataDir: dir}, quiet())
	if err != nil {
		t.Fatalf("after the first is gone: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestServerNameIsKept(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for range 2 {
		g := coretest.Start(t, coretest.DataDir(dir))
		nc := connectNATS(t, g)
		names = append(names, nc.ConnectedServerName())
		nc.Close()
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if names[0] != names[1] || !strings.HasPrefix(names[0], "portico-") {
		t.Errorf("names: %q", names)
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	taken := coretest.Start(t)
	for name, change := range map[string]func(*core.Config){
		"no directory":      func(c *core.Config) { c.DataDir = "" },
		"durability":        func(c *core.Config) { c.Durability = "maybe" },
		"message size":      func(c *core.Config) { c.MaxMessage = 1 << 30 },
		"negative memory":   func(c *core.Config) { c.QueueMemory = -1 },
		"NATS address":      func(c *core.Config) { c.NATSListen = "nonsense" },
		"MQTT port":         func(c *core.Config) { c.MQTTListen = "127.0.0.1:70000" },
		"NATS port taken":   func(c *core.Config) { c.NATSListen = taken.NATSAddr() },
		"MQTT port taken":   func(c *core.Config) { c.MQTTListen = taken.MQTTAddr() },
		"not a directory":   func(c *core.Config) { c.DataDir = "/dev/null/x" },
		"negative drain":    func(c *core.Config) { c.DrainTimeout = -1 },
		"negative max size": func(c *core.Config) { c.MaxMessage = -1 },
	} {
		cfg := core.Config{DataDir: t.TempDir()}
		change(&cfg)
		start := time.Now()
		g, err := core.New(cfg, quiet())
		if err == nil {
			t.Errorf("%s: accepted", name)
			g.Close()
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: it took %v to find out", name, took)
		}
	}
}

// door is an adapter that notes when it stops.
type door struct {
	g    *core.Gateway
	fail error
	note func(string)
}

// Serve implements core.Adapter.
func (d *door) Serve(ctx context.Context) error {
	if d.fail != nil {
		return d.fail
	}
	<-ctx.Done()
	b := d.g.System() // the core still works while doors drain
	if _, err := b.Publish(context.Background(), &core.Message{Subject: "goodbye"}); err != nil {
		return err
	}
	d.note("door stopped, " + core.AsError(d.g.Ready()).Code.String())
	return nil
}

func TestRunDrainsDoorsBeforeTheCore(t *testing.T) {
	for name, fail := range map[string]error{"told to stop": nil, "a door fails": errTest} {
		t.Run(name, func(t *testing.T) {
			g := coretest.Start(t)
			q := declare(t, g.System(), core.QueueConfig{Name: "q", Durable: true})
			bind(t, g.System(), "goodbye", "q")
			ctx, cancel := context.WithCancel(t.Context())
			var mu sync.Mutex
			var notes []string
			note := func(s string) { mu.Lock(); notes = append(notes, s); mu.Unlock() }
			doors := []core.Adapter{&door{g: g, note: note}, &door{g: g, note: note}}
			if fail != nil {
				doors = append(doors, &door{g: g, fail: fail})
			}
			ran := make(chan error, 1)
			go func() { ran <- g.Run(ctx, doors...) }()
			if fail == nil {
				cancel()
			}
			if err := receive(t, ran); !errors.Is(err, fail) {
				t.Errorf("run: %v", err)
			}
			cancel()
			mu.Lock()
			defer mu.Unlock()
			if len(notes) != 2 || notes[0] != "door stopped, unavailable" {
				t.Errorf("notes: %q", notes)
			}
			if _, err := q.Stats(); err == nil {
				t.Error("the queue is not closed")
			}
		})
	}
}

func TestLinksComeBack(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	declare(t, b, core.QueueConfig{Name: "q"})
	bind(t, b, "a", "q")
	live := subscribe(t, b, "a", "")
	serve(t, b, "echo", "crew")
	g.CutLinks()
	nc := connectNATS(t, g)
	eventually(t, "native publishes come in again, to the queue and to the door", func() bool {
		_, err := nc.Request("a", nil, 100*time.Millisecond)
		return err == nil && len(live) > 0
	})
	eventually(t, "requests are answered again", func() bool {
		_, err := b.Request(within(t, 100*time.Millisecond), &core.Message{Subject: "echo"})
		return err == nil
	})
}

func TestDiskAlarm(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.DiskFree = 1 << 62 })
	b := login(t, g)
	if a := g.Alarms(); len(a) != 1 || a[0].Name != "disk" || a[0].Detail == "" {
		t.Fatalf("alarms: %v", a)
	}
	wantCode(t, "ready", g.Ready(), core.CodeResourceExhausted)
	q := declare(t, b, core.QueueConfig{Name: "q"})
	bind(t, b, "a", "q")
	_, err := b.Publish(t.Context(), &core.Message{Subject: "a"})
	wantCode(t, "publish to a queue", err, core.CodeResourceExhausted)
	if _, err := b.Publish(t.Context(), &core.Message{Subject: "live"}); err != nil {
		t.Errorf("publish to nobody: %v", err)
	}
	nc := connectNATS(t, g)
	if m, err := nc.Request("a", nil, patience); err != nil || !strings.Contains(string(m.Data), "resource-exhausted") {
		t.Errorf("native publish: %+v, %v", m, err)
	}
	if ready(t, q) != 0 {
		t.Error("something was kept")
	}
	if n, err := testutil.GatherAndCount(g.Registry(), "portico_alarm"); err != nil || n != 2 {
		t.Errorf("%d alarm series, %v", n, err)
	}
}

func TestStoreAlarmGoesWhenTheStoreWorks(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	declare(t, b, core.QueueConfig{Name: "q"})
	bind(t, b, "a", "q")
	changed := g.AlarmsChanged()
	g.FailStore(errTest)
	receive(t, changed)
	if a := g.Alarms(); len(a) != 1 || a[0].Name != "store" {
		t.Fatalf("alarms: %v", a)
	}
	changed = g.AlarmsChanged()
	_, err := b.Publish(t.Context(), &core.Message{Subject: "a"})
	wantCode(t, "publish", err, core.CodeUnavailable)
	wantCode(t, "ready", g.Ready(), core.CodeUnavailable)
	receive(t, changed)
	if a := g.Alarms(); len(a) != 0 || g.Ready() != nil {
		t.Errorf("after a successful probe: %v, %v", a, g.Ready())
	}
	publish(t, b, &core.Message{Subject: "a"})
}

func TestMetrics(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	mustMQTT(t, g, "sensor")
	connectNATS(t, g)
	connectNATS(t, g)
	d := g.Door("test")
	if g.Door("test") != d {
		t.Error("a door has two sets of counters")
	}
	d.Connections.Inc()
	d.In.Add(3)
	d.PublishSeconds.Observe(.001)
	declare(t, b, core.QueueConfig{Name: "weird \xff"})
	declare(t, b, core.QueueConfig{Name: "b"})
	bind(t, b, "a", "weird \xff")
	for range 5 {
		publish(t, b, &core.Message{Subject: "a"})
	}
	err := testutil.GatherAndCompare(g.Registry(), strings.NewReader(`
# HELP portico_connections Open client connections.
# TYPE portico_connections gauge
portico_connections{door="mqtt"} 1
portico_connections{door="nats"} 2
portico_connections{door="test"} 1
# HELP portico_messages_in_total Messages published by clients.
# TYPE portico_messages_in_total counter
portico_messages_in_total{door="test"} 3
# HELP portico_queue_depth Messages in a queue; the deepest queues only.
# TYPE portico_queue_depth gauge
portico_queue_depth{queue="b",state="ready",tenant="/"} 0
portico_queue_depth{queue="b",state="unacked",tenant="/"} 0
portico_queue_depth{queue="weird%20%FF",state="ready",tenant="/"} 5
portico_queue_depth{queue="weird%20%FF",state="unacked",tenant="/"} 0
# HELP portico_queue_ready_messages Messages in all queues that wait for a consumer.
# TYPE portico_queue_ready_messages gauge
portico_queue_ready_messages 5
# HELP portico_queues Queues.
# TYPE portico_queues gauge
portico_queues 2
`), "portico_connections", "portico_messages_in_total", "portico_queue_depth", "portico_queue_ready_messages", "portico_queues")
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{"portico_publish_seconds", "portico_queue_events_total", "portico_server_connections", "portico_store_bytes", "go_goroutines"} {
		if n, err := testutil.GatherAndCount(g.Registry(), name); err != nil || n == 0 {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
}
