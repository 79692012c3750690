package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func stream(t testing.TB, b *core.Bus, cfg core.StreamConfig) core.StreamInfo {
	t.Helper()
	info, _, err := b.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatalf("create stream %q: %v", cfg.Name, err)
	}
	return info
}

// keep publishes n messages on subjects "prefix0", "prefix1", … and returns when the stream has them.
func keep(t testing.TB, js jetstream.JetStream, prefix string, n int) {
	t.Helper()
	for i := range n {
		if _, err := js.Publish(t.Context(), fmt.Sprintf("%s%d", prefix, i), []byte(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStreamLife: created, found again, changed, listed, purged, deleted; NATS clients see the same, also after a restart.
func TestStreamLife(t *testing.T) {
	dir := t.TempDir()
	g := coretest.Start(t, coretest.DataDir(dir))
	b, js := login(t, g), connectStreams(t, g)
	cfg := core.StreamConfig{Name: "orders", Subjects: []string{"o.>"}, MaxMessages: 100, MaxAge: time.Hour, Description: "ours"}
	info, created, err := b.CreateStream(t.Context(), cfg)
	if err != nil || !created || info.FirstSequence != 1 || info.LastSequence != 0 {
		t.Fatalf("created %+v, %v, %v", info, created, err)
	}
	if b.StreamOf("o.x") != "orders" {
		t.Error("what we made ourselves is not known at once")
	}
	if _, created, err = b.CreateStream(t.Context(), cfg); err != nil || created {
		t.Errorf("the same again: %v, %v", created, err)
	}
	other := cfg
	other.MaxMessages = 7
	_, _, err = b.CreateStream(t.Context(), other)
	wantCode(t, "other properties", err, core.CodePreconditionFailed)
	_, _, err = b.CreateStream(t.Context(), core.StreamConfig{Name: "overlap", Subjects: []string{"o.*"}})
	wantCode(t, "overlapping subjects", err, core.CodePreconditionFailed)
	if info, err = b.UpdateStream(t.Context(), other); err != nil || info.Config.MaxMessages != 7 {
		t.Fatalf("updated %+v, %v", info, err)
	}
	native, err := js.Stream(t.Context(), "orders")
	if err != nil || native.CachedInfo().Config.MaxMsgs != 7 || !native.CachedInfo().Config.AllowDirect {
		t.Fatalf("a NATS client sees %v, %v", native, err)
	}
	keep(t, js, "o.", 9)
	if info, err = b.Stream(t.Context(), "orders"); err != nil || info.Messages != 7 || info.FirstSequence != 3 || info.LastSequence != 9 || info.Subjects != 7 {
		t.Errorf("info %+v, %v", info, err)
	}
	if n, err := b.PurgeStream(t.Context(), "orders", core.PurgeOptions{Subject: "o.8"}); err != nil || n != 1 {
		t.Errorf("purged %d, %v", n, err)
	}
	if err := b.DeleteStreamMessage(t.Context(), "orders", 4); err != nil {
		t.Error(err)
	}
	wantCode(t, "deleted twice", b.DeleteStreamMessage(t.Context(), "orders", 4), core.CodeNotFound)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	b = login(t, coretest.Start(t, coretest.DataDir(dir)))
	if info, err = b.Stream(t.Context(), "orders"); err != nil || info.Messages != 5 || info.LastSequence != 9 {
		t.Errorf("after a restart %+v, %v", info, err)
	}
	if n, err := b.PurgeStream(t.Context(), "orders", core.PurgeOptions{}); err != nil || n != 5 {
		t.Errorf("purged %d, %v", n, err)
	}
	if err := b.DeleteStream(t.Context(), "orders"); err != nil || b.StreamOf("o.x") != "" {
		t.Errorf("deleted: %v", err)
	}
	wantCode(t, "deleted twice", b.DeleteStream(t.Context(), "orders"), core.CodeNotFound)
	_, err = b.UpdateStream(t.Context(), cfg)
	wantCode(t, "update of none", err, core.CodeNotFound)
}

// TestStreamList: by name, in pages, without those of buckets and of the server.
func TestStreamList(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	for _, name := range []string{"c", "a", "b"} {
		stream(t, b, core.StreamConfig{Name: name})
	}
	makeStream(t, js, jetstream.StreamConfig{Name: "$MQTT_x", Subjects: []string{"$MQTT.x"}})
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "kv"}); err != nil {
		t.Fatal(err)
	}
	names := func(after string, limit int) (names []string) {
		infos, err := b.Streams(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, info := range infos {
			names = append(names, info.Config.Name)
		}
		return names
	}
	if got := names("", 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("first page %v", got)
	}
	if got := names("b", 2); !slices.Equal(got, []string{"c"}) {
		t.Errorf("second page %v", got)
	}
	_, err := b.Stream(t.Context(), "$MQTT_x")
	wantCode(t, "the server's own", err, core.CodeNotFound)
	wantCode(t, "the server's own", b.DeleteStream(t.Context(), "$MQTT_x"), core.CodeNotFound)
}

// TestStreamRefusals: what cannot be is told before anything is done.
func TestStreamBadConfig(t *testing.T) {
	b := login(t, coretest.Start(t))
	for name, change := range map[string]func(*core.StreamConfig){
		"no name":            func(c *core.StreamConfig) { c.Name = "" },
		"dot":                func(c *core.StreamConfig) { c.Name = "a.b" },
		"slash":              func(c *core.StreamConfig) { c.Name = "a/b" },
		"not UTF-8":          func(c *core.StreamConfig) { c.Name = "a\xff" },
		"long name":          func(c *core.StreamConfig) { c.Name = string(make([]byte, 256)) },
		"bucket":             func(c *core.StreamConfig) { c.Name = "KV_x" },
		"retention":          func(c *core.StreamConfig) { c.Retention = "sometimes" },
		"storage":            func(c *core.StreamConfig) { c.Storage = "tape" },
		"discard":            func(c *core.StreamConfig) { c.Discard = "all" },
		"negative":           func(c *core.StreamConfig) { c.MaxMessages = -1 },
		"negative age":       func(c *core.StreamConfig) { c.MaxAge = -time.Second },
		"tiny age":           func(c *core.StreamConfig) { c.MaxAge = time.Nanosecond },
		"window beyond age":  func(c *core.StreamConfig) { c.MaxAge, c.DuplicateWindow = time.Second, time.Minute },
		"replicas":           func(c *core.StreamConfig) { c.Replicas = 3 },
		"bad subject":        func(c *core.StreamConfig) { c.Subjects = []string{"a..b"} },
		"long description":   func(c *core.StreamConfig) { c.Description = string(make([]byte, 5000)) },
		"too many subjects":  func(c *core.StreamConfig) { c.Subjects = make([]string, 1001) },
		"overlapping itself": func(c *core.StreamConfig) { c.Subjects = []string{"a.>", "a.b"} },
	} {
		cfg := core.StreamConfig{Name: "s", Subjects: []string{"s.>"}}
		change(&cfg)
		_, _, err := b.CreateStream(t.Context(), cfg)
		wantCode(t, name, err, core.CodeInvalid)
	}
	for _, subject := range []string{"$KV.a.>", "_INBOX.>", "$JS.API.>"} {
		_, _, err := b.CreateStream(t.Context(), core.StreamConfig{Name: "s", Subjects: []string{subject}})
		wantCode(t, subject, err, core.CodePermissionDenied)
	}
}

// TestReadStream: from a sequence, from a time, by several subjects, in pages; also a stream made without direct gets.
func TestReadStream(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	for name, direct := range map[string]bool{"direct": true, "api": false} {
		makeStream(t, js, jetstream.StreamConfig{Name: name, Subjects: []string{name + ".>"}, AllowDirect: direct})
		keep(t, js, name+".a.", 5)
		between := time.Now()
		keep(t, js, name+".b.", 5)
		read := func(o core.ReadOptions) (got []uint64, next uint64) {
			o.MaxBytes = 1 << 20
			messages, next, err := b.ReadStream(t.Context(), name, o)
			if err != nil {
				t.Fatalf("%s: read %+v: %v", name, o, err)
			}
			for _, m := range messages {
				got = append(got, m.Sequence)
			}
			return got, next
		}
		for what, c := range map[string]struct {
			o    core.ReadOptions
			want []uint64
			next uint64
		}{
			"all":              {core.ReadOptions{Limit: 100}, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 11},
			"page":             {core.ReadOptions{Limit: 3, From: 4}, []uint64{4, 5, 6}, 7},
			"end":              {core.ReadOptions{Limit: 3, From: 11}, nil, 11},
			"since":            {core.ReadOptions{Limit: 2, Since: between}, []uint64{6, 7}, 8},
			"since later":      {core.ReadOptions{Limit: 2, Since: time.Now().Add(time.Hour)}, nil, 11},
			"one subject":      {core.ReadOptions{Limit: 9, Subjects: []string{name + ".b.*"}}, []uint64{6, 7, 8, 9, 10}, 11},
			"several subjects": {core.ReadOptions{Limit: 3, Subjects: []string{name + ".b.*", name + ".*.1", name + ".a.0"}}, []uint64{1, 2, 6}, 7},
			"no such subject":  {core.ReadOptions{Limit: 3, Subjects: []string{"other"}}, nil, 1},
		} {
			if got, next := read(c.o); !slices.Equal(got, c.want) || next != c.next {
				t.Errorf("%s, %s: %v next %d, want %v next %d", name, what, got, next, c.want, c.next)
			}
		}
		m, err := b.StreamMessage(t.Context(), name, 7)
		if err != nil || m.Subject != name+".b.1" || string(m.Data) != "1" || m.Sequence != 7 || m.Time.IsZero() || m.Header != nil {
			t.Errorf("%s: message 7 is %+v, %v", name, m, err)
		}
		m, err = b.LastStreamMessage(t.Context(), name, name+".a.4")
		if err != nil || m.Sequence != 5 {
			t.Errorf("%s: last is %+v, %v", name, m, err)
		}
		_, err = b.StreamMessage(t.Context(), name, 70)
		wantCode(t, "no such message", err, core.CodeNotFound)
		_, err = b.LastStreamMessage(t.Context(), name, name+".c")
		wantCode(t, "no such subject", err, core.CodeNotFound)
	}
	_, _, err := b.ReadStream(t.Context(), "none", core.ReadOptions{Limit: 1})
	wantCode(t, "no such stream", err, core.CodeNotFound)
	_, _, err = b.ReadStream(t.Context(), "direct", core.ReadOptions{})
	wantCode(t, "no limit", err, core.CodeInvalid)
}

// TestReadHeaders: a message's own headers come, also if they look like the server's.
func TestReadHeaders(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	stream(t, b, core.StreamConfig{Name: "s"})
	m := nats.NewMsg("s")
	m.Header = nats.Header{"Color": {"red", "blue"}, "Nats-Sequence": {"77"}, "Nats-Subject": {"evil"}}
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got, err := b.StreamMessage(t.Context(), "s", 1)
	if err != nil || got.Sequence != 1 || got.Subject != "s" || !slices.Equal(got.Header["Color"], []string{"red", "blue"}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestConsumerLife: made, found, listed, paused, and gone; NATS clients share it.
func TestConsumerLife(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	stream(t, b, core.StreamConfig{Name: "s", Subjects: []string{"s.>"}})
	keep(t, js, "s.", 5)
	cfg := core.ConsumerConfig{Name: "c", Subjects: []string{"s.1", "s.3", "s.4"}, MaxDeliver: 3}
	info, created, err := b.CreateConsumer(t.Context(), "s", cfg)
	if err != nil || !created || info.Pending != 3 || info.Config.AckWait != 30*time.Second {
		t.Fatalf("created %+v, %v, %v", info, created, err)
	}
	if _, created, err = b.CreateConsumer(t.Context(), "s", cfg); err != nil || created {
		t.Errorf("the same again: %v, %v", created, err)
	}
	cfg.MaxDeliver = 4
	_, _, err = b.CreateConsumer(t.Context(), "s", cfg)
	wantCode(t, "other properties", err, core.CodePreconditionFailed)
	for _, deliver := range []string{"all", "new", "last", "last_per_subject"} {
		for range 2 {
			if _, _, err := b.CreateConsumer(t.Context(), "s", core.ConsumerConfig{Name: deliver, Deliver: deliver}); err != nil {
				t.Errorf("deliver %s: %v", deliver, err)
			}
		}
	}
	list, err := b.Consumers(t.Context(), "s", "c", 2)
	if err != nil || len(list) != 2 || list[0].Config.Name != "last" || list[1].Config.Name != "last_per_subject" {
		t.Errorf("list %+v, %v", list, err)
	}
	until := time.Now().Add(time.Hour)
	if info, err = b.PauseConsumer(t.Context(), "s", "c", until); err != nil || !info.PausedUntil.Equal(until) {
		t.Errorf("paused until %v, %v", info.PausedUntil, err)
	}
	if got, err := b.Fetch(t.Context(), "s", "c", 1, 0, 0); err != nil || len(got) != 0 {
		t.Errorf("fetched %v, %v while paused", got, err)
	}
	if info, err = b.PauseConsumer(t.Context(), "s", "c", time.Time{}); err != nil || !info.PausedUntil.IsZero() {
		t.Errorf("paused until %v, %v", info.PausedUntil, err)
	}
	native, err := js.Consumer(t.Context(), "s", "c")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := native.Next(jetstream.FetchMaxWait(patience)); err != nil || m.Subject() != "s.1" {
		t.Errorf("a NATS client gets %v, %v", m, err)
	}
	if err := b.DeleteConsumer(t.Context(), "s", "c"); err != nil {
		t.Error(err)
	}
	wantCode(t, "deleted twice", b.DeleteConsumer(t.Context(), "s", "c"), core.CodeNotFound)
	_, err = b.Consumer(t.Context(), "none", "c")
	wantCode(t, "no stream", err, core.CodeNotFound)
	_, err = b.Consumers(t.Context(), "none", "", 10)
	wantCode(t, "no stream", err, core.CodeNotFound)
	_, err = b.Fetch(t.Context(), "s", "c", 1, 0, 0)
	wantCode(t, "fetch without consumer", err, core.CodeNotFound)
	for name, change := range map[string]func(*core.ConsumerConfig){
		"deliver": func(c *core.ConsumerConfig) { c.Deliver = "some" }, "sequence": func(c *core.ConsumerConfig) { c.Deliver = "sequence" },
		"time": func(c *core.ConsumerConfig) { c.Time = until }, "ack_wait": func(c *core.ConsumerConfig) { c.AckWait = -1 },
		"max_deliver": func(c *core.ConsumerConfig) { c.MaxDeliver = -1 }, "overlap": func(c *core.ConsumerConfig) { c.Subjects = []string{"s.*", "s.1"} },
		"name": func(c *core.ConsumerConfig) { c.Name = "a.b" }, "subject": func(c *core.ConsumerConfig) { c.Subjects = []string{"s..1"} },
	} {
		bad := core.ConsumerConfig{Name: "bad"}
		change(&bad)
		_, _, err := b.CreateConsumer(t.Context(), "s", bad)
		wantCode(t, name, err, core.CodeInvalid)
	}
}

// TestFetchAndSettle: lent, extended, given back, done; what is settled is not lent any more.
func TestFetchAndSettle(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	stream(t, b, core.StreamConfig{Name: "s", Subjects: []string{"s.>"}, Retention: "workqueue"})
	if _, _, err := b.CreateConsumer(t.Context(), "s", core.ConsumerConfig{Name: "c"}); err != nil {
		t.Fatal(err)
	}
	fetch := func(max, bytes int, wait time.Duration) []core.Lent {
		t.Helper()
		lent, err := b.Fetch(t.Context(), "s", "c", max, bytes, wait)
		if err != nil {
			t.Fatal(err)
		}
		return lent
	}
	if got := fetch(10, 0, 0); len(got) != 0 {
		t.Fatalf("fetched %v from nothing", got)
	}
	late := make(chan []core.Lent, 1)
	go func() {
		lent, _ := b.Fetch(t.Context(), "s", "c", 10, 0, patience)
		late <- lent
	}()
	eventually(t, "somebody waits", func() bool {
		c, err := js.Consumer(t.Context(), "s", "c")
		return err == nil && c.CachedInfo().NumWaiting == 1
	})
	keep(t, js, "s.", 1)
	first := receive(t, late)
	if len(first) != 1 || first[0].Attempt != 1 || first[0].Subject != "s.0" {
		t.Fatalf("who waited got %+v", first)
	}
	settle := func(ticket string, what core.StreamOutcome) error {
		return b.SettleLent(t.Context(), ticket, what, 0)
	}
	if err := settle(first[0].Ticket, core.StreamExtend); err != nil {
		t.Error(err)
	}
	if err := settle(first[0].Ticket, core.StreamNak); err != nil {
		t.Error(err)
	}
	again := fetch(1, 0, patience)
	if len(again) != 1 || again[0].Attempt != 2 {
		t.Fatalf("fetched %+v", again)
	}
	if err := settle(again[0].Ticket, core.StreamAck); err != nil {
		t.Error(err)
	}
	wantCode(t, "settled twice", settle(again[0].Ticket, core.StreamAck), core.CodePreconditionFailed)
	keep(t, js, "s.", 20)
	if got := fetch(10, 1, 0); len(got) != 1 { // one message always fits
		t.Errorf("fetched %d", len(got))
	}
	rest := fetch(100, 0, 0)
	if len(rest) != 19 {
		t.Errorf("fetched %d", len(rest))
	}
	var tickets []string
	for _, l := range rest {
		tickets = append(tickets, l.Ticket)
	}
	if err := errors.Join(b.SettleAllLent(t.Context(), tickets, core.StreamTerm, 0)...); err != nil {
		t.Error(err)
	}
	if info, err := b.Stream(t.Context(), "s"); err != nil || info.Messages != 1 {
		t.Errorf("left are %d, %v", info.Messages, err)
	}
	for name, ticket := range map[string]string{
		"empty": "", "words": "$JS.ACK.s.c.1.1", "number": "$JS.ACK.s.c.1.x.1.1.1", "wildcard": "$JS.ACK.*.c.1.1.1.1.1", "other subject": "orders.s.c.1.1.1.1.1",
		"zero": "$JS.ACK.s.c.0.1.1.1.1", "own stream": "$JS.ACK.$MQTT_x.c.1.1.1.1.1",
	} {
		wantCode(t, name, settle(ticket, core.StreamAck), core.CodeInvalid)
	}
	wantCode(t, "no such consumer", settle("$JS.ACK.s.x.1.1.1.1.1", core.StreamAck), core.CodePreconditionFailed)
	wantCode(t, "never lent", settle("$JS.ACK.s.c.1.999.1.1.1", core.StreamAck), core.CodePreconditionFailed)
}

// TestFetchCancelled: what comes while a fetch is given up goes back at once, not when its lease is over.
func TestFetchCancelled(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	stream(t, b, core.StreamConfig{Name: "s", Storage: "memory"})
	if _, _, err := b.CreateConsumer(t.Context(), "s", core.ConsumerConfig{Name: "c", AckWait: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan []core.Lent, 1)
		go func() {
			lent, _ := b.Fetch(ctx, "s", "c", 5, 0, patience)
			got <- lent
		}()
		go cancel()
		if _, err := js.Publish(t.Context(), "s", nil); err != nil {
			t.Fatal(err)
		}
		lent := receive(t, got)
		if len(lent) == 0 {
			var err error
			if lent, err = b.Fetch(t.Context(), "s", "c", 1, 0, patience); err != nil || len(lent) != 1 {
				t.Fatalf("round %d: message lost for now: %v, %v", i, lent, err)
			}
		}
		if err := b.SettleLent(t.Context(), lent[0].Ticket, core.StreamAck, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNakWithDelay: it comes again when the delay is over, not before.
func TestNakWithDelay(t *testing.T) {
	b := login(t, coretest.Start(t, func(c *core.Config) { c.Durability = "os" }))
	stream(t, b, core.StreamConfig{Name: "s", Storage: "memory"})
	if _, _, err := b.CreateConsumer(t.Context(), "s", core.ConsumerConfig{Name: "c"}); err != nil {
		t.Fatal(err)
	}
	publish(t, b, &core.Message{Subject: "s"})
	lent, err := b.Fetch(t.Context(), "s", "c", 1, 0, patience)
	if err != nil || len(lent) != 1 {
		t.Fatalf("fetched %v, %v", lent, err)
	}
	at := time.Now()
	if err := b.SettleLent(t.Context(), lent[0].Ticket, core.StreamNak, 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if lent, err = b.Fetch(t.Context(), "s", "c", 1, 0, patience); err != nil || len(lent) != 1 || time.Since(at) < 150*time.Millisecond {
		t.Errorf("fetched %v, %v after %v", lent, err, time.Since(at))
	}
	wantCode(t, "negative delay", b.SettleLent(t.Context(), lent[0].Ticket, core.StreamNak, -1), core.CodeInvalid)
}
