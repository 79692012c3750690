package core_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"portico/core"
	"portico/core/coretest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// createStream makes a stream as a NATS client does, and waits until the gateway knows.
func createStream(t testing.TB, g *core.Gateway, cfg jetstream.StreamConfig) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(connectNATS(t, g))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := login(t, g)
	if !cfg.NoAck {
		eventually(t, "the stream is known", func() bool { return b.StreamOf(strings.ReplaceAll(cfg.Subjects[0], ">", "x")) == cfg.Name })
	}
	return s
}

func TestAStreamAcknowledgesPublishes(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	s := createStream(t, g, jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log.>"}})
	live := subscribe(t, b, "log.>", "")
	shared := subscribe(t, b, "log.*", "group")
	const n = 10_000
	receipts := make(chan core.Receipt, n)
	for i := range n {
		b.PublishAsync(&core.Message{Subject: "log.a", Data: fmt.Append(nil, i)}, func(r core.Receipt, err error) {
			if err != nil {
				t.Error(err)
			}
			receipts <- r
		})
		if i%500 == 499 { // the subscribers keep 1,000
			for j := range 500 {
				for _, from := range []<-chan *core.Message{live, shared} {
					if m := receive(t, from); string(m.Data) != fmt.Sprint(i-499+j) || m.Reply != "" {
						t.Fatalf("subscriber got %q with reply %q", m.Data, m.Reply)
					}
				}
			}
		}
	}
	for i := range uint64(n) {
		wantReceipt(t, "publish", receive(t, receipts), core.Receipt{Live: true, Stream: "LOG", Sequence: i + 1})
	}
	for _, i := range []uint64{1, 17, n} {
		if m, err := s.GetMsg(t.Context(), i); err != nil || string(m.Data) != fmt.Sprint(i-1) {
			t.Errorf("the stream has %+v, %v at %d", m, err, i)
		}
	}
}

func TestAStreamDropsDuplicates(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	createStream(t, g, jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log.>"}})
	wantReceipt(t, "first", publish(t, b, named("log.a", "1")), core.Receipt{Live: true, Stream: "LOG", Sequence: 1})
	wantReceipt(t, "again", publish(t, b, named("log.a", "1")), core.Receipt{Live: true, Stream: "LOG", Sequence: 1, Duplicate: true})
	q := declare(t, b, core.QueueConfig{Name: "q", Durable: true})
	bind(t, b, "log.>", "q")
	wantReceipt(t, "the queue has not had it", publish(t, b, named("log.a", "1")), core.Receipt{Queues: 1, Live: true, Stream: "LOG", Sequence: 1})
	wantReceipt(t, "now it has", publish(t, b, named("log.a", "1")), core.Receipt{Queues: 1, Live: true, Stream: "LOG", Sequence: 1, Duplicate: true})
	wantReceipt(t, "another", publish(t, b, named("log.a", "2")), core.Receipt{Queues: 1, Live: true, Stream: "LOG", Sequence: 2})
	if n := ready(t, q); n != 2 {
		t.Errorf("the queue has %d messages, want 2", n)
	}
}

func TestAStreamRefuses(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	createStream(t, g, jetstream.StreamConfig{Name: "FULL", Subjects: []string{"full"}, MaxMsgs: 1, Discard: jetstream.DiscardNew})
	createStream(t, g, jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log"}, MaxMsgSize: 1000})
	q := declare(t, b, core.QueueConfig{Name: "q"})
	publish(t, b, &core.Message{Subject: "full"})
	publish(t, b, named("log", "1"))
	bind(t, b, "log", "q")
	for name, c := range map[string]struct {
		subject, header, value string
		size                   int
		want                   core.Code
	}{
		"full":                     {subject: "full", want: core.CodeResourceExhausted},
		"too large":                {subject: "log", size: 2000, want: core.CodeTooLarge},
		"another stream":           {"log", "Nats-Expected-Stream", "OTHER", 0, core.CodePreconditionFailed},
		"another last sequence":    {"log", "Nats-Expected-Last-Sequence", "7", 0, core.CodePreconditionFailed},
		"another last id":          {"log", "Nats-Expected-Last-Msg-Id", "7", 0, core.CodePreconditionFailed},
		"another last of its kind": {"log", "Nats-Expected-Last-Subject-Sequence", "7", 0, core.CodePreconditionFailed},
		"a time it does not allow": {"log", "Nats-TTL", "1m", 0, core.CodeInvalid},
	} {
		m := &core.Message{Subject: c.subject, Data: make([]byte, c.size)}
		if c.header != "" {
			m.Header = core.Header{c.header: {c.value}}
		}
		r, err := b.Publish(within(t, patience), m)
		wantCode(t, name, err, c.want)
		wantReceipt(t, name, r, core.Receipt{})
		kept := ready(t, q)
		if expects := strings.HasPrefix(c.header, "Nats-Expected"); expects && kept != 0 {
			t.Errorf("%s: the queue keeps it", name)
		}
		if _, err := q.Purge(); err != nil {
			t.Fatal(err)
		}
	}
	m := &core.Message{Subject: "log", Header: core.Header{"Nats-Expected-Last-Sequence": {"1"}, "Nats-Expected-Stream": {"LOG"}}}
	wantReceipt(t, "as expected", publish(t, b, m), core.Receipt{Queues: 1, Live: true, Stream: "LOG", Sequence: 2})
}

// TestWhoeverAnswersIsNoStream: a NATS client that answers to whatever has a reply subject cannot be taken for the stream, nor can a door.
func TestWhoeverAnswersIsNoStream(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	createStream(t, g, jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log.>"}})
	nc := connectNATS(t, g)
	var inbox string
	var mu sync.Mutex
	if _, err := nc.Subscribe("log.>", func(m *nats.Msg) {
		mu.Lock()
		inbox = m.Reply
		mu.Unlock()
		for _, answer := range []string{"", "garbage", "{}", `{"stream":"LOG"}`, `{"seq":3}`, `[1]`} {
			if err := nc.Publish(m.Reply, []byte(answer)); err != nil {
				t.Error(err)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(200) {
		wantReceipt(t, "publish", publish(t, b, &core.Message{Subject: "log.a"}), core.Receipt{Live: true, Stream: "LOG", Sequence: i + 1})
	}
	mu.Lock()
	defer mu.Unlock()
	publish(t, b, &core.Message{Subject: inbox, Data: []byte(`{"stream":"LOG","seq":9}`)}) // whose time is over
}

// TestAReplyOfItsOwn: the stream answers there, as over NATS, and a stream that does not acknowledge is not waited for.
func TestAReplyOfItsOwn(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	createStream(t, g, jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log.>"}})
	s := createStream(t, g, jetstream.StreamConfig{Name: "SILENT", Subjects: []string{"silent"}, NoAck: true})
	acks := subscribe(t, b, "acks", "")
	wantReceipt(t, "with a reply", publish(t, b, &core.Message{Subject: "log.a", Reply: "acks"}), core.Receipt{Live: true})
	if m := receive(t, acks); !strings.Contains(string(m.Data), `"seq":1`) {
		t.Errorf("the stream says %s", m.Data)
	}
	wantReceipt(t, "a silent stream", publish(t, b, &core.Message{Subject: "silent"}), core.Receipt{Live: true})
	eventually(t, "it has the message", func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Msgs == 1
	})
	// PublishLive waits for nobody.
	if err := b.PublishLive(&core.Message{Subject: "log.b"}); err != nil {
		t.Error(err)
	}
}
