package core_test

import (
	"fmt"
	"slices"
	"testing"

	"portico/core"
	"portico/core/coretest"
	"portico/core/queue"
)

// streamQueue describes a stream with these rules.
func streamQueue(rules core.QueueRules) core.QueueConfig {
	return core.QueueConfig{Name: "s", Type: core.StreamQueue, Durable: true, QueueRules: rules}
}

// TestStreamDescriptions: a stream is durable and everybody's, and has limits of its own and no other rules.
func TestStreamDescriptions(t *testing.T) {
	b := login(t, coretest.Start(t))
	for name, change := range map[string]func(*core.QueueConfig){
		"not durable":     func(c *core.QueueConfig) { c.Durable = false },
		"auto-delete":     func(c *core.QueueConfig) { c.AutoDelete = true },
		"exclusive":       func(c *core.QueueConfig) { c.Durable, c.Owner = false, "me" },
		"priorities":      func(c *core.QueueConfig) { c.MaxPriority = 1 },
		"single active":   func(c *core.QueueConfig) { c.SingleActive = true },
		"max_deliveries":  func(c *core.QueueConfig) { c.MaxDeliveries = 1 },
		"dead letters":    func(c *core.QueueConfig) { c.DeadLetter.Queue = "dead" },
		"message_ttl":     func(c *core.QueueConfig) { c.TTL = queue.AtMost(1) },
		"expires":         func(c *core.QueueConfig) { c.Expires = queue.AtMost(1) },
		"max_length":      func(c *core.QueueConfig) { c.MaxLength = queue.AtMost(1) },
		"overflow":        func(c *core.QueueConfig) { c.Overflow = queue.RejectPublish },
		"no age":          func(c *core.QueueConfig) { c.MaxAge = queue.AtMost(0) },
		"age of a queue":  func(c *core.QueueConfig) { c.Type, c.MaxAge = core.ClassicQueue, queue.AtMost(1) },
		"age of a quorum": func(c *core.QueueConfig) { c.Type, c.MaxAge = core.QuorumQueue, queue.AtMost(1) },
		"another type":    func(c *core.QueueConfig) { c.Type = "river" },
	} {
		cfg := streamQueue(core.QueueRules{})
		change(&cfg)
		_, _, err := b.DeclareQueue(t.Context(), cfg)
		wantCode(t, name, err, core.CodeInvalid)
	}
	cfg := streamQueue(core.QueueRules{MaxBytes: queue.AtMost(1000), MaxAge: queue.AtMost(60_000)})
	q := declare(t, b, cfg)
	if q.Type() != core.StreamQueue || q.Rules() != cfg.QueueRules {
		t.Errorf("declared a queue of type %q with %+v", q.Type(), q.Rules())
	}
	for name, rules := range map[string]core.QueueRules{"age": {MaxBytes: queue.AtMost(1000)}, "bytes": {MaxAge: queue.AtMost(60_000)}} {
		_, _, err := b.DeclareQueue(t.Context(), streamQueue(rules))
		wantCode(t, "another "+name, err, core.CodePreconditionFailed)
	}
}

// TestStreamRefusals: what takes something from a queue is not implemented for a stream, and every door says so.
func TestStreamRefusals(t *testing.T) {
	b := login(t, coretest.Start(t))
	q := declare(t, b, streamQueue(core.QueueRules{}))
	_, _, get := q.Get(true, nil)
	_, purge := q.Purge()
	_, holder := q.Holder()
	_, consume := q.Consume(queue.ConsumerConfig{AutoAck: true})
	for name, err := range map[string]error{"get": get, "purge": purge, "holder": holder, "auto ack": consume} {
		wantCode(t, name, err, core.CodeUnimplemented)
	}
}

// TestStreamComesBack: description, messages and their numbers, on JetStream, also when the first of them have gone.
func TestStreamComesBack(t *testing.T) {
	dir := t.TempDir()
	g := coretest.Start(t, coretest.DataDir(dir))
	b := login(t, g)
	cfg := streamQueue(core.QueueRules{MaxBytes: queue.AtMost(100_000), MaxAge: queue.AtMost(1 << 40)})
	q := declare(t, b, cfg)
	bind(t, b, "s.>", "s")
	for i := range 30 {
		publish(t, b, &core.Message{Subject: fmt.Sprintf("s.%d", i), Data: make([]byte, 10_000)})
	}
	want := readNumbers(t, g, q)
	if len(want) != 9 || want[8] != 30 {
		t.Fatalf("kept are %v, want the last 9 of 30", want)
	}
	for range 2 {
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		g = coretest.Start(t, coretest.DataDir(dir))
		b = login(t, g)
		q = b.Lookup("s")
		if q == nil || q.Type() != core.StreamQueue || q.Rules() != cfg.QueueRules {
			t.Fatal("the stream is not what it was")
		}
		if got := readNumbers(t, g, q); !slices.Equal(got, want) {
			t.Fatalf("after a restart there are %v, want %v", got, want)
		}
	}
	publish(t, b, &core.Message{Subject: "s.30", Data: make([]byte, 10_000)})
	if got := readNumbers(t, g, q); !slices.Equal(got, append(want[1:], 31)) {
		t.Errorf("there are %v", got)
	}
}

// readNumbers reads a stream from its beginning, and checks that each record is what its number says.
func readNumbers(t *testing.T, g *core.Gateway, q *core.Queue) (numbers []uint64) {
	t.Helper()
	s, err := q.Stats()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan queue.Delivery, 64)
	c, err := q.Consume(queue.ConsumerConfig{Offset: queue.Offset{From: queue.FromFirst}, Credit: 64, Deliver: func(ds []queue.Delivery) {
		for _, d := range ds {
			got <- d
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range s.Ready {
		d := receive(t, got)
		m, err := g.Message(d.Record)
		if err != nil || m.Subject != fmt.Sprintf("s.%d", d.Seq-1) {
			t.Fatalf("record %d is %v, %v", d.Seq, m, err)
		}
		numbers = append(numbers, d.Seq)
	}
	return numbers
}
