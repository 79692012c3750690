package core_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"portico/core"
	"portico/core/coretest"
	"portico/core/queue"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// named is a message with a Nats-Msg-Id.
func named(subject, id string) *core.Message {
	return &core.Message{Subject: subject, Header: core.Header{"nats-msg-ID": {id}}, Data: []byte(id)}
}

// appendTo puts a message into a queue and waits.
func appendTo(t testing.TB, b *core.Bus, q *core.Queue, m *core.Message) (core.Receipt, error) {
	t.Helper()
	type outcome struct {
		core.Receipt
		error
	}
	kept := make(chan outcome, 1)
	b.Append(q, m, func(r core.Receipt, err error) { kept <- outcome{r, err} })
	o := receive(t, kept)
	return o.Receipt, o.error
}

func wantReceipt(t testing.TB, what string, got, want core.Receipt) {
	t.Helper()
	if got != want {
		t.Errorf("%s: receipt %+v, want %+v", what, got, want)
	}
}

func TestANamedMessageIsPublishedOnce(t *testing.T) {
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprint("durable ", durable), func(t *testing.T) {
			g := coretest.Start(t)
			b := login(t, g)
			q := declare(t, b, core.QueueConfig{Name: "q", Durable: durable})
			bind(t, b, "a.>", "q")
			live := subscribe(t, b, "a.>", "")
			wantReceipt(t, "first", publish(t, b, named("a.b", "1")), core.Receipt{Queues: 1, Live: true})
			wantReceipt(t, "again", publish(t, b, named("a.b", "1")), core.Receipt{Queues: 1, Duplicate: true})
			wantReceipt(t, "elsewhere", publish(t, b, named("a.c", "1")), core.Receipt{Queues: 1, Duplicate: true})
			wantReceipt(t, "another", publish(t, b, named("a.b", "2")), core.Receipt{Queues: 1, Live: true})
			for range 2 {
				wantReceipt(t, "without a name", publish(t, b, &core.Message{Subject: "a.b", Header: core.Header{"Nats-Msg-Id": {""}}}), core.Receipt{Queues: 1, Live: true})
			}
			r, err := appendTo(t, b, q, named("", "1"))
			if err != nil {
				t.Error(err)
			}
			wantReceipt(t, "appended", r, core.Receipt{Queues: 1, Duplicate: true})
			if r, err = appendTo(t, b, q, named("", "3")); err != nil {
				t.Error(err)
			}
			wantReceipt(t, "appended first", r, core.Receipt{Queues: 1})
			if n := ready(t, q); n != 5 {
				t.Errorf("the queue has %d messages, want 5", n)
			}
			for _, want := range []string{"1", "2", "", ""} {
				if m := receive(t, live); string(m.Data) != want {
					t.Errorf("live copy %q, want %q", m.Data, want)
				}
			}
			nothing(t, live)
		})
	}
}

// TestNamesOutliveTheGateway: what was consumed before a restart is not published again after it.
func TestNamesOutliveTheGateway(t *testing.T) {
	dir := t.TempDir()
	g := coretest.Start(t, coretest.DataDir(dir))
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "q", Durable: true})
	bind(t, b, "a", "q")
	publish(t, b, named("a", "1"))
	take(t, g, q)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	g = coretest.Start(t, coretest.DataDir(dir))
	b = login(t, g)
	wantReceipt(t, "again", publish(t, b, named("a", "1")), core.Receipt{Queues: 1, Duplicate: true})
	if n := ready(t, b.Lookup("q")); n != 0 {
		t.Errorf("the queue has %d messages", n)
	}
}

func TestNamesBelongToUsers(t *testing.T) {
	g := coretest.Start(t, coretest.Users(core.User{Name: "ann", Password: "1"}, core.User{Name: "bob", Password: "2"}))
	ann, bob := loginAs(t, g, "ann", "1"), loginAs(t, g, "bob", "2")
	q := declare(t, ann, core.QueueConfig{Name: "q"})
	bind(t, ann, "a", "q")
	for _, b := range []*core.Bus{ann, bob, g.System()} {
		wantReceipt(t, "first of "+b.User(), publish(t, b, named("a", "1")), core.Receipt{Queues: 1})
		wantReceipt(t, "again of "+b.User(), publish(t, b, named("a", "1")), core.Receipt{Queues: 1, Duplicate: true})
	}
	js, err := jetstream.New(connectNATS(t, g, nats.UserInfo("ann", "1")))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		ack, err := js.Publish(within(t, patience), "a", nil, jetstream.WithMsgID("1"))
		if err != nil || ack.Stream != "portico" || ack.Duplicate != (i == 1) {
			t.Errorf("native publish %d: %+v, %v", i, ack, err)
		}
	}
	if n := ready(t, q); n != 4 {
		t.Errorf("the queue has %d messages, want one of each", n)
	}
}

// TestAQueueThatMissedItGetsIt: of several queues only those that had the message do not get it, and nobody sees it twice.
func TestAQueueThatMissedItGetsIt(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	one, two := declare(t, b, core.QueueConfig{Name: "one", Durable: true}), declare(t, b, core.QueueConfig{Name: "two"})
	bind(t, b, "a", "one")
	live := subscribe(t, b, "a", "")
	publish(t, b, named("a", "1"))
	bind(t, b, "a", "two")
	wantReceipt(t, "partly", publish(t, b, named("a", "1")), core.Receipt{Queues: 2})
	wantReceipt(t, "wholly", publish(t, b, named("a", "1")), core.Receipt{Queues: 2, Duplicate: true})
	if n, m := ready(t, one), ready(t, two); n != 1 || m != 1 {
		t.Errorf("the queues have %d and %d messages, want one each", n, m)
	}
	receive(t, live)
	nothing(t, live)
}

// TestARefusedMessageLeavesNoName: once there is room it is kept.
func TestARefusedMessageLeavesNoName(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "q", QueueRules: core.QueueRules{MaxLength: queue.AtMost(1), Overflow: queue.RejectPublish}})
	bind(t, b, "a", "q")
	publish(t, b, named("a", "1"))
	_, err := b.Publish(t.Context(), named("a", "2"))
	wantCode(t, "above the limit", err, core.CodeResourceExhausted)
	take(t, g, q)
	wantReceipt(t, "when there is room", publish(t, b, named("a", "2")), core.Receipt{Queues: 1})
	if m := take(t, g, q); string(m.Data) != "2" {
		t.Errorf("the queue has %q", m.Data)
	}
}

// TestTheSameNameAtOnce: whoever is first, there is one message and one live copy, and everybody is told when it is kept.
func TestTheSameNameAtOnce(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "q", Durable: true})
	bind(t, b, "a", "q")
	live := subscribe(t, b, "a", "")
	const names, times = 20, 30
	var all sync.WaitGroup
	var mu sync.Mutex
	first := map[string]int{}
	for i := range names * times {
		all.Go(func() {
			m := named("a", fmt.Sprint(i%names))
			r, err := b.Publish(t.Context(), m)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil || r.Queues != 1:
				t.Errorf("%+v, %v", r, err)
			case !r.Duplicate:
				first[string(m.Data)]++
			}
		})
	}
	all.Wait()
	for i := range names {
		if n := first[fmt.Sprint(i)]; n != 1 {
			t.Errorf("%d of the messages named %d were told to be the first", n, i)
		}
		receive(t, live)
	}
	nothing(t, live)
	if n := ready(t, q); n != names {
		t.Errorf("the queue has %d messages, want %d", n, names)
	}
}

// TestDeadLettersHaveNoName: where a message died it may go, whoever has had one of that name.
func TestDeadLettersHaveNoName(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	js, err := jetstream.New(connectNATS(t, g))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "DEAD", Subjects: []string{"dead"}})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stream is known", func() bool { return b.StreamOf("dead") == "DEAD" })
	dead := declare(t, b, core.QueueConfig{Name: "dead", Durable: true})
	bind(t, b, "dead", "dead")
	byName := declare(t, b, core.QueueConfig{Name: "by name", QueueRules: core.QueueRules{DeadLetter: core.DeadLetter{Queue: "dead"}}})
	bySubject := declare(t, b, core.QueueConfig{Name: "by subject", QueueRules: core.QueueRules{DeadLetter: core.DeadLetter{Subject: "dead"}}})
	publish(t, b, named("dead", "1"))
	for i, q := range []*core.Queue{byName, bySubject} {
		m := named("", "1")
		m.Header.Set("Nats-Expected-Last-Sequence", "7")
		if _, err := appendTo(t, b, q, m); err != nil {
			t.Fatal(err)
		}
		settle(t, q, queue.Reject)
		eventually(t, "the letter has come from "+q.Name(), func() bool { return ready(t, dead) == 2+i })
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 2 {
		t.Errorf("the stream has %d messages, %v; want 2", info.State.Msgs, err)
	}
	for range 3 {
		if m := take(t, g, dead); m.Header.Get("Nats-Msg-Id") != "1" {
			t.Errorf("dead letter %+v", m)
		}
	}
}

// TestTooManyNames: when no more names can be remembered the publisher is told.
func TestTooManyNames(t *testing.T) {
	if testing.Short() {
		t.Skip("100,000 messages")
	}
	g := coretest.Start(t)
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "q"})
	bind(t, b, "a", "q")
	var mu sync.Mutex
	errs := map[core.Code]int{}
	var all sync.WaitGroup
	for i := range 100_001 {
		all.Add(1)
		b.PublishAsync(named("a", fmt.Sprint(i)), func(_ core.Receipt, err error) {
			defer all.Done()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs[code(err)]++
			}
		})
		if i%1000 == 0 {
			all.Wait()
		}
	}
	all.Wait()
	if len(errs) != 1 || errs[core.CodeResourceExhausted] != 1 {
		t.Errorf("errors %v, want one for what was too much", errs)
	}
	if n := ready(t, q); n != 100_000 {
		t.Errorf("the queue has %d messages", n)
	}
	if _, err := b.Publish(t.Context(), named("a", "0")); err != nil || strings.Contains(fmt.Sprint(err), "full") {
		t.Errorf("a name that is known: %v", err)
	}
}
