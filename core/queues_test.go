package core_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
	"portico/core/queue"
)

func TestDeclareFindsWhatExists(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	cfg := core.QueueConfig{Name: "q", Durable: true, QueueRules: core.QueueRules{MaxDeliveries: 3, DeadLetter: core.DeadLetter{Queue: "dead"}}, Attributes: map[string]string{"a": "1"}}
	q, created, err := b.DeclareQueue(t.Context(), cfg)
	if err != nil || !created {
		t.Fatalf("first: created %v, %v", created, err)
	}
	again, created, err := b.DeclareQueue(t.Context(), cfg)
	if err != nil || created || again != q {
		t.Errorf("again: created %v, %v", created, err)
	}
	for name, change := range map[string]func(*core.QueueConfig){
		"durable":        func(c *core.QueueConfig) { c.Durable = false },
		"auto_delete":    func(c *core.QueueConfig) { c.AutoDelete = true },
		"max_deliveries": func(c *core.QueueConfig) { c.MaxDeliveries = 4 },
		"dead_letter":    func(c *core.QueueConfig) { c.DeadLetter.Queue = "" },
	} {
		other := cfg
		change(&other)
		got, created, err := b.DeclareQueue(t.Context(), other)
		wantCode(t, "another "+name, err, core.CodePreconditionFailed)
		if created || got != q {
			t.Errorf("another %s: the queue that exists is not returned", name)
		}
	}
	other := cfg
	other.Attributes, other.Owner, other.Durable = nil, "", true
	if _, _, err := b.DeclareQueue(t.Context(), other); err != nil {
		t.Errorf("attributes are the door's to compare: %v", err)
	}
	if got, err := b.Queue("q"); err != nil || got != q || b.Lookup("q") != q || got.Config().Attributes["a"] != "1" {
		t.Errorf("look-ups: %v", err)
	}
	_, err = b.Queue("missing")
	wantCode(t, "missing", err, core.CodeNotFound)
	if b.Lookup("missing") != nil {
		t.Error("a missing queue was found")
	}
}

func TestQueueNames(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	for name, want := range map[string]core.Code{
		"":                       core.CodeInvalid,
		string(make([]byte, 1)):  core.CodeInvalid,
		fmt.Sprintf("%0256d", 0): core.CodeInvalid,
		fmt.Sprintf("%0255d", 0): 255,
		"\xff\xfe. *>\r\n":       255,
		"日本":                     255,
	} {
		_, _, err := b.DeclareQueue(t.Context(), core.QueueConfig{Name: name, Durable: true})
		if code(err) != want {
			t.Errorf("%.20q: %v", name, err)
		}
	}
	_, _, err := b.DeclareQueue(t.Context(), core.QueueConfig{Name: "q", Durable: true, Owner: "me"})
	wantCode(t, "durable with an owner", err, core.CodeInvalid)
	_, _, err = b.DeclareQueue(t.Context(), core.QueueConfig{Name: "q", QueueRules: core.QueueRules{DeadLetter: core.DeadLetter{Queue: "a", Subject: "b"}}})
	wantCode(t, "two places for dead letters", err, core.CodeInvalid)
	_, _, err = b.DeclareQueue(t.Context(), core.QueueConfig{Name: "q", QueueRules: core.QueueRules{DeadLetter: core.DeadLetter{Subject: "a.*"}}})
	wantCode(t, "dead letters to a wildcard", err, core.CodeInvalid)
}

func TestOwnedQueueIsLocked(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "mine", Owner: "connection 1"})
	_, err := b.Queue("mine")
	wantCode(t, "queue", err, core.CodeLocked)
	wantCode(t, "bind", b.Bind(t.Context(), core.Binding{Pattern: "a", Queue: "mine"}), core.CodeLocked)
	if b.Lookup("mine") != q {
		t.Error("look-up must find it")
	}
}

func TestBindingsFeedQueues(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	one, two := declare(t, b, core.QueueConfig{Name: "one"}), declare(t, b, core.QueueConfig{Name: "two", Durable: true})
	before := b.Generation()
	for _, x := range []core.Binding{{Pattern: "a.*", Queue: "one"}, {Pattern: "a.>", Queue: "one"}, {Pattern: "a.b", Queue: "two"}, {Pattern: "a.b", Queue: "two"}} {
		bind(t, b, x.Pattern, x.Queue)
	}
	if b.Generation() == before {
		t.Error("the generation did not change")
	}
	m := &core.Message{Subject: "a.b", Reply: "r", Header: core.Header{"k": {"v", "w"}}, Data: []byte("data")}
	if r := publish(t, b, m); r.Queues != 2 || r.Live {
		t.Errorf("receipt %+v", r)
	}
	for _, q := range []*core.Queue{one, two} {
		if got := take(t, g, q); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", m) {
			t.Errorf("%s has %+v", q.Config().Name, got)
		}
	}
	if got := b.Bindings("one"); !slices.Equal(got, []core.Binding{{Pattern: "a.*", Queue: "one"}, {Pattern: "a.>", Queue: "one"}}) {
		t.Errorf("bindings: %v", got)
	}
	if got := b.Bound("a.b", nil); !slices.Equal(got, []*core.Queue{one, two}) && !slices.Equal(got, []*core.Queue{two, one}) {
		t.Errorf("bound: %d queues", len(got))
	}
	for range 2 { // the second time there is nothing to unbind
		if err := b.Unbind(t.Context(), core.Binding{Pattern: "a.*", Queue: "one"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.Bound("a.b", nil); len(got) != 2 {
		t.Errorf("one of two bindings of a queue went, now %d queues are bound", len(got))
	}
	wantCode(t, "bind a missing queue", b.Bind(t.Context(), core.Binding{Pattern: "a", Queue: "none"}), core.CodeNotFound)
	wantCode(t, "bind a bad pattern", b.Bind(t.Context(), core.Binding{Pattern: "a..b", Queue: "one"}), core.CodeInvalid)
	if got := b.Bindings("none"); len(got) != 0 {
		t.Errorf("bindings of a missing queue: %v", got)
	}
}

func TestDeleteQueue(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	for _, durable := range []bool{false, true} {
		t.Run("durable "+strconv.FormatBool(durable), func(t *testing.T) {
			q := declare(t, b, core.QueueConfig{Name: "q", Durable: durable})
			bind(t, b, "a", "q")
			publish(t, b, &core.Message{Subject: "a"})
			gone := make(chan error, 1)
			if _, err := q.Consume(queue.ConsumerConfig{Deliver: func([]queue.Delivery) {}, Gone: func(err error) { gone <- err }}); err != nil {
				t.Fatal(err)
			}
			told := make(chan string, 10)
			b.OnQueueDeleted(func(name string) {
				select {
				case told <- name:
				default:
				}
			})
			_, err := b.DeleteQueueIf(t.Context(), "q", true, false)
			wantCode(t, "if unused", err, core.CodePreconditionFailed)
			_, err = b.DeleteQueueIf(t.Context(), "q", false, true)
			wantCode(t, "if empty", err, core.CodePreconditionFailed)
			n, err := b.DeleteQueue(t.Context(), "q")
			if err != nil || n != 1 {
				t.Fatalf("deleted %d, %v", n, err)
			}
			if err := receive(t, gone); err != queue.ErrDeleted {
				t.Errorf("consumer told %v", err)
			}
			if name := receive(t, told); name != "q" {
				t.Errorf("told of %q", name)
			}
			if r := publish(t, b, &core.Message{Subject: "a"}); r.Queues != 0 || r.Live {
				t.Errorf("receipt afterwards: %+v", r)
			}
			_, err = b.DeleteQueue(t.Context(), "q")
			wantCode(t, "again", err, core.CodeNotFound)
			if q := declare(t, b, core.QueueConfig{Name: "q", Durable: durable}); ready(t, q) != 0 {
				t.Error("a new queue of the name has old messages")
			}
			if _, err := b.DeleteQueue(t.Context(), "q"); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAutoDelete(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	for _, durable := range []bool{false, true} {
		q := declare(t, b, core.QueueConfig{Name: "q", AutoDelete: true, Durable: durable})
		if b.Lookup("q") != q {
			t.Fatal("it went before it had a consumer")
		}
		var consumers []*queue.Consumer
		for range 2 {
			c, err := q.Consume(queue.ConsumerConfig{Deliver: func([]queue.Delivery) {}})
			if err != nil {
				t.Fatal(err)
			}
			consumers = append(consumers, c)
		}
		consumers[0].Close()
		if b.Lookup("q") != q {
			t.Fatal("it went while it had a consumer")
		}
		consumers[1].Close()
		eventually(t, "the queue is deleted", func() bool { return b.Lookup("q") == nil })
	}
}

func TestManyDeclareAtOnce(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	var all sync.WaitGroup
	var mu sync.Mutex
	made := map[string]int{}
	for i := range 100 {
		all.Go(func() {
			name := "q" + strconv.Itoa(i%10)
			q, created, err := b.DeclareQueue(t.Context(), core.QueueConfig{Name: name, Durable: true})
			if err != nil || q == nil {
				t.Errorf("declare %s: %v", name, err)
				return
			}
			if created {
				mu.Lock()
				made[name]++
				mu.Unlock()
			}
			bind(t, b, "s."+name, name)
		})
	}
	all.Wait()
	names := make([]string, 0, 10)
	for _, q := range b.Queues() {
		names = append(names, q.Config().Name)
		if made[q.Config().Name] != 1 {
			t.Errorf("%s was created %d times", q.Config().Name, made[q.Config().Name])
		}
	}
	if len(names) != 10 || !slices.IsSorted(names) {
		t.Errorf("queues: %v", names)
	}
}

func TestDurableQueuesComeBack(t *testing.T) {
	dir := t.TempDir()
	weird := "\xff *>\r\n.é"
	cfg := core.QueueConfig{Name: weird, Durable: true, AutoDelete: true,
		QueueRules: core.QueueRules{MaxDeliveries: 5, DeadLetter: core.DeadLetter{Queue: "\xfe"}}, Attributes: map[string]string{"raw": "\x00\xff\x80", "": "x"}}
	t.Run("before", func(t *testing.T) {
		g := coretest.Start(t, coretest.DataDir(dir))
		b := login(t, g)
		declare(t, b, cfg)
		declare(t, b, core.QueueConfig{Name: "memory"})
		declare(t, b, core.QueueConfig{Name: "gone", Durable: true})
		bind(t, b, "a.>", weird)
		bind(t, b, "b", weird)
		bind(t, b, "a.>", "memory")
		bind(t, b, "a.>", "gone")
		for i := range 300 {
			publish(t, b, &core.Message{Subject: "a.x", Data: []byte(strconv.Itoa(i)), Header: core.Header{"k": {"v"}}})
		}
		if err := b.Unbind(t.Context(), core.Binding{Pattern: "b", Queue: weird}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.DeleteQueue(t.Context(), "gone"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("after", func(t *testing.T) {
		start := time.Now()
		g := coretest.Start(t, coretest.DataDir(dir))
		t.Logf("back in %v", time.Since(start))
		b := login(t, g)
		all := b.Queues()
		if len(all) != 1 || fmt.Sprintf("%+v", all[0].Config()) != fmt.Sprintf("%+v", cfg) {
			t.Fatalf("came back: %d, %+v", len(all), all[0].Config())
		}
		if got := b.Bindings(weird); !slices.Equal(got, []core.Binding{{Pattern: "a.>", Queue: weird}}) {
			t.Errorf("bindings: %q", got)
		}
		for i := range 300 {
			if m := take(t, g, all[0]); string(m.Data) != strconv.Itoa(i) || m.Subject != "a.x" || m.Header.Get("k") != "v" {
				t.Fatalf("message %d is %+v", i, m)
			}
		}
		nc := connectNATS(t, g)
		if _, err := nc.Request("a.y", []byte("new"), patience); err != nil {
			t.Errorf("native publish to a restored binding: %v", err)
		}
		if m := take(t, g, all[0]); string(m.Data) != "new" {
			t.Errorf("queue has %+v", m)
		}
	})
}

// upper is a translator whose properties are one header in capitals.
type upper struct{}

// Subject implements core.Translator.
func (upper) Subject(props []byte) string { return "from." + string(props) }

// Header implements core.Translator.
func (upper) Header(props []byte) core.Header { return core.Header{"Props": {string(props)}} }

// Death implements core.DeathTranslator.
func (upper) Death(props []byte, name, reason string, count uint32, at time.Time) []byte {
	return fmt.Appendf(nil, "%s|%s|%s|%d|%v", props, name, reason, count, at.IsZero())
}

func TestMessageOfAnotherForm(t *testing.T) {
	g := coretest.Start(t)
	record := append(core.AppendEnvelope(nil, core.FormAMQP, "", "reply", []byte("P")), "data"...)
	if _, err := g.Message(record); err == nil {
		t.Error("opened without a translator")
	}
	g.Translate(core.FormAMQP, upper{})
	m, err := g.Message(record)
	if err != nil || m.Subject != "from.P" || m.Reply != "reply" || m.Header.Get("props") != "P" || string(m.Data) != "data" {
		t.Errorf("%+v, %v", m, err)
	}
	for _, bad := range [][]byte{nil, {0}, {0, 1}, {0, 0, 0, 5, 1}} {
		if _, err := g.Message(bad); err == nil {
			t.Errorf("opened %v", bad)
		}
	}
}

// settle takes one message and settles it.
func settle(t *testing.T, q *core.Queue, o queue.Outcome) {
	t.Helper()
	holder, err := q.Holder()
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	var d queue.Delivery
	eventually(t, "a message is ready", func() bool {
		var ok bool
		d, ok, _ = q.Get(false, holder)
		return ok
	})
	settled := make(chan error, 1)
	q.Settle(o, []queue.Handle{d.Handle}, func(err error) { settled <- err })
	if err := receive(t, settled); err != nil {
		t.Fatalf("settle: %v", err)
	}
}

func TestDeadLetters(t *testing.T) {
	g := coretest.Start(t)
	g.Translate(core.FormAMQP, upper{})
	b := login(t, g)
	work := declare(t, b, core.QueueConfig{Name: "work queue", Durable: true, QueueRules: core.QueueRules{DeadLetter: core.DeadLetter{Queue: "dead"}}})
	bind(t, b, "jobs", "work queue")
	publish(t, b, &core.Message{Subject: "jobs", Data: []byte("nobody wants it")})
	settle(t, work, queue.Reject) // there is no queue "dead": dropped
	dead := declare(t, b, core.QueueConfig{Name: "dead", Durable: true})
	publish(t, b, &core.Message{Subject: "jobs", Reply: "r", Data: []byte("text"), Header: core.Header{"k": {"v"}}})
	settle(t, work, queue.Reject)
	m := take(t, g, dead)
	want := core.Header{"k": {"v"}, core.HeaderDeathReason: {"rejected"}, core.HeaderDeathQueue: {"work%20queue"}, core.HeaderDeathCount: {"1"}}
	if string(m.Data) != "text" || m.Subject != "jobs" || m.Reply != "r" || fmt.Sprint(m.Header) != fmt.Sprint(want) {
		t.Errorf("dead letter %+v", m)
	}
	kept := make(chan error, 1)
	work.AppendFunc(queue.Record{Data: append(core.AppendEnvelope(nil, core.FormAMQP, "", "", []byte("P")), "amqp"...)}, func(err error) { kept <- err })
	if err := receive(t, kept); err != nil {
		t.Fatal(err)
	}
	settle(t, work, queue.Reject)
	if m := take(t, g, dead); string(m.Data) != "amqp" || m.Header.Get("Props") != "P|work queue|rejected|1|false" {
		t.Errorf("dead letter of another form %+v", m)
	}
	eventually(t, "the rejected ones are gone", func() bool { s, _ := work.Stats(); return s.Ready+s.Unacked == 0 })
}

func TestDeadLettersToASubject(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	work := declare(t, b, core.QueueConfig{Name: "work", QueueRules: core.QueueRules{MaxDeliveries: 2, DeadLetter: core.DeadLetter{Subject: "dead.work"}}})
	dead := declare(t, b, core.QueueConfig{Name: "dead"})
	bind(t, b, "jobs", "work")
	bind(t, b, "dead.>", "dead")
	live := subscribe(t, b, "dead.*", "")
	publish(t, b, &core.Message{Subject: "jobs", Data: []byte("x")})
	for range 2 {
		settle(t, work, queue.Requeue)
	}
	for _, m := range []*core.Message{take(t, g, dead), receive(t, live)} {
		if m.Subject != "dead.work" || string(m.Data) != "x" || m.Header.Get(core.HeaderDeathReason) != "delivery_limit" || m.Header.Get(core.HeaderDeathCount) != "2" {
			t.Errorf("dead letter %+v", m)
		}
	}
}

func TestPublishAsyncKeepsOrderAndReportsEach(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	one, two := declare(t, b, core.QueueConfig{Name: "one", Durable: true}), declare(t, b, core.QueueConfig{Name: "two"})
	bind(t, b, "n", "one")
	bind(t, b, "n", "two")
	const n = 2000
	done := make(chan error, n)
	for i := range n {
		b.PublishAsync(&core.Message{Subject: "n", Data: []byte(strconv.Itoa(i))}, func(r core.Receipt, err error) {
			if err == nil && r.Queues != 2 {
				err = fmt.Errorf("receipt %+v", r)
			}
			done <- err
		})
	}
	for range n {
		if err := receive(t, done); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range []*core.Queue{one, two} {
		for i := range n {
			if m := take(t, g, q); string(m.Data) != strconv.Itoa(i) {
				t.Fatalf("%s: message %d is %q", q.Config().Name, i, m.Data)
			}
		}
	}
}

func BenchmarkPublishToQueues(b *testing.B) {
	for name, cfg := range map[string]core.QueueConfig{"memory": {Name: "q"}, "durable": {Name: "q", Durable: true}} {
		b.Run(name, func(b *testing.B) {
			g := coretest.Start(b)
			bus := login(b, g)
			q := declare(b, bus, cfg)
			if _, err := q.Consume(queue.ConsumerConfig{AutoAck: true, Credit: queue.Unlimited, Deliver: func([]queue.Delivery) {}}); err != nil {
				b.Fatal(err)
			}
			bind(b, bus, "a.b", "q")
			window := make(chan struct{}, 1000)
			m := &core.Message{Subject: "a.b", Data: make([]byte, 128)}
			b.ReportAllocs()
			for b.Loop() {
				window <- struct{}{}
				bus.PublishAsync(m, func(_ core.Receipt, err error) {
					if err != nil {
						b.Error(err)
					}
					<-window
				})
			}
		})
	}
}
