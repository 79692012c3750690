package core_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	"github.com/nats-io/nats.go"
)

func TestPublishReachesEverySubscriberWithItsHeaders(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	door1, door2, door3 := subscribe(t, b, "a.*", ""), subscribe(t, b, "a.>", ""), subscribe(t, b, "a.*", "")
	nc := connectNATS(t, g)
	native, err := nc.SubscribeSync("a.b")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	m := &core.Message{Subject: "a.b", Reply: "back", Data: []byte("hello\r\n\x00"),
		Header: core.Header{"lower": {"1"}, "Multi": {"x", "y z"}, "Empty": {""}, core.HeaderMessageID: {"7"}, "Ünï": nil}}
	delete(m.Header, "Ünï")
	if r := publish(t, b, m); !r.Live || r.Queues != 0 {
		t.Errorf("receipt %+v", r)
	}
	for _, door := range []<-chan *core.Message{door1, door2, door3} {
		got := receive(t, door)
		if got.Subject != "a.b" || got.Reply != "back" || !bytes.Equal(got.Data, m.Data) || fmt.Sprint(got.Header) != fmt.Sprint(m.Header) {
			t.Errorf("got %+v, want %+v", got, m)
		}
	}
	got, err := native.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	if got.Subject != "a.b" || got.Reply != "back" || !bytes.Equal(got.Data, m.Data) || fmt.Sprint(core.Header(got.Header)) != fmt.Sprint(m.Header) {
		t.Errorf("native client got %+v, %v", got, got.Header)
	}
	if err := nc.PublishMsg(&nats.Msg{Subject: "a.c", Header: nats.Header{"k": {"v"}}, Data: []byte("from outside")}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, door1); string(got.Data) != "from outside" || got.Header["k"][0] != "v" {
		t.Errorf("from a native client: %+v", got)
	}
}

func TestNobodyListens(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	if r := publish(t, b, &core.Message{Subject: "a"}); r.Live || r.Queues != 0 {
		t.Errorf("receipt %+v", r)
	}
	s, err := b.Subscribe("a", "", func(*core.Message) {})
	if err != nil {
		t.Fatal(err)
	}
	if !b.Interest("a") || b.Interest("b") {
		t.Error("interest is not told from none")
	}
	s.Unsubscribe()
	s.Unsubscribe()
	eventually(t, "no interest after the subscriber left", func() bool { return !b.Interest("a") })
}

func TestSubscriptionIsInForceWhenSubscribeReturns(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { // some share a subject
			subject := "s." + strconv.Itoa(i/2)
			got := make(chan *core.Message, 10)
			s, err := b.Subscribe(subject, "", func(m *core.Message) { got <- m })
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Unsubscribe()
			if r, err := b.Publish(t.Context(), &core.Message{Subject: subject}); err != nil || !r.Live {
				t.Errorf("publish behind subscribe: %+v, %v", r, err)
			}
			select {
			case <-got:
			case <-time.After(patience):
				t.Error("nothing came")
			}
		})
	}
	all.Wait()
}

func TestOrderIsKept(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	got := subscribe(t, b, "n", "")
	for i := range 500 {
		publish(t, b, &core.Message{Subject: "n", Data: strconv.AppendInt(nil, int64(i), 10)})
	}
	for i := range 500 {
		if m := receive(t, got); string(m.Data) != strconv.Itoa(i) {
			t.Fatalf("message %d is %q", i, m.Data)
		}
	}
}

func TestGroupMembersShare(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	nc := connectNATS(t, g)
	counts := map[string]int{}
	var mu sync.Mutex
	count := func(who string) { mu.Lock(); counts[who]++; mu.Unlock() }
	for _, who := range []string{"door 1", "door 2"} {
		s, err := b.Subscribe("work", "crew", func(*core.Message) { count(who) })
		if err != nil {
			t.Fatal(err)
		}
		defer s.Unsubscribe()
	}
	if _, err := nc.QueueSubscribe("work", "crew", func(*nats.Msg) { count("native") }); err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	const n = 600
	for range n {
		publish(t, b, &core.Message{Subject: "work"})
	}
	total := func() int {
		mu.Lock()
		defer mu.Unlock()
		return counts["door 1"] + counts["door 2"] + counts["native"]
	}
	eventually(t, "every message arrived", func() bool { return total() >= n })
	mu.Lock()
	defer mu.Unlock()
	for who, c := range counts {
		if c < n/6 {
			t.Errorf("%s got %d of %d", who, c, n)
		}
	}
	if len(counts) != 3 || counts["door 1"]+counts["door 2"]+counts["native"] != n {
		t.Errorf("shares: %v", counts)
	}
}

func TestWildcardsDoNotReachTheBusItself(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	everything, system := subscribe(t, b, ">", ""), subscribe(t, g.System(), ">", "")
	nc := connectNATS(t, g)
	for _, subject := range []string{"$MQTT.x", "_INBOX.y", "plain"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	if m := receive(t, everything); m.Subject != "plain" {
		t.Errorf("> got %q", m.Subject)
	}
	for _, want := range []string{"$MQTT.x", "_INBOX.y", "plain"} {
		if m := receive(t, system); m.Subject != want {
			t.Errorf("the gateway's own > got %q, want %q", m.Subject, want)
		}
	}
}

func TestWhatCannotBePublished(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.MaxMessage = 1000 })
	b := login(t, g)
	for name, c := range map[string]struct {
		m    core.Message
		want core.Code
	}{
		"no subject":            {core.Message{}, core.CodeInvalid},
		"wildcard":              {core.Message{Subject: "a.*"}, core.CodeInvalid},
		"empty token":           {core.Message{Subject: "a..b"}, core.CodeInvalid},
		"protocol injection":    {core.Message{Subject: "a\r\nPUB b 0"}, core.CodeInvalid},
		"reply injection":       {core.Message{Subject: "a", Reply: "b c"}, core.CodeInvalid},
		"control subject":       {core.Message{Subject: "$JS.API.INFO"}, core.CodePermissionDenied},
		"payload too large":     {core.Message{Subject: "a", Data: make([]byte, 1001)}, core.CodeTooLarge},
		"header counts":         {core.Message{Subject: "a", Data: make([]byte, 999), Header: core.Header{"a": {"b"}}}, core.CodeTooLarge},
		"header value of lines": {core.Message{Subject: "a", Header: core.Header{"a": {"b\r\nc: d"}}}, core.CodeInvalid},
		"header value with NUL": {core.Message{Subject: "a", Header: core.Header{"a": {"\x00"}}}, core.CodeInvalid},
		"header name":           {core.Message{Subject: "a", Header: core.Header{"a b": {"c"}}}, core.CodeInvalid},
		"header without name":   {core.Message{Subject: "a", Header: core.Header{"": {"c"}}}, core.CodeInvalid},
		"header name of lines":  {core.Message{Subject: "a", Header: core.Header{"a\r\n": {"c"}}}, core.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.Publish(t.Context(), &c.m)
			wantCode(t, "publish", err, c.want)
		})
	}
	if _, err := b.Publish(t.Context(), &core.Message{Subject: "a", Data: make([]byte, 1000)}); err != nil {
		t.Errorf("the largest message: %v", err)
	}
	big := coretest.Start(t)
	_, err := big.System().Publish(t.Context(), &core.Message{Subject: "a", Header: core.Header{"a": {strings.Repeat("x", 65<<10)}}})
	wantCode(t, "headers above JetStream's limit", err, core.CodeTooLarge)
	wantCode(t, "live publish on no subject", big.System().PublishLive(&core.Message{}), core.CodeInvalid)
}

func TestLargestMessageTravels(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	got := subscribe(t, b, "big", "")
	data := bytes.Repeat([]byte("0123456789abcdef"), g.MaxMessage()/16)
	publish(t, b, &core.Message{Subject: "big", Data: data})
	if m := receive(t, got); !bytes.Equal(m.Data, data) {
		t.Error("the payload changed on its way")
	}
}

func TestCommandHeadersAreStripped(t *testing.T) {
	g := coretest.Start(t)
	b := loginAs(t, g, "guest", "guest")
	got := subscribe(t, b, "a", "")
	sent := core.Header{
		"Nats-Rollup": {"all"}, "nats-schedule": {"x"}, "NATS-BATCH-ID": {"x"}, "Nats-Incr": {"1"}, "KV-Operation": {"DEL"}, "Nats-Trace-Dest": {"x"},
		"Nats-Marker-Reason": {"x"}, "Nats-Request-Info": {"x"}, "Portico-Origin": {"x"}, "portico-amqp": {"x"}, "Portico-Death-Count": {"1"},
		"Portico-Invented": {"x"}, "Nmqtt-Pub": {"0"},
		"Nats-Msg-Id": {"id"}, "Nats-Expected-Stream": {"s"}, "Nats-TTL": {"5"}, "Portico-Type": {"t"}, "portico-user-id": {"guest"}, "X-Mine": {"y"},
	}
	before := len(sent)
	publish(t, b, &core.Message{Subject: "a", Header: sent})
	if len(sent) != before {
		t.Error("the caller's header was changed")
	}
	m := receive(t, got)
	want := core.Header{"Nats-Msg-Id": {"id"}, "Nats-Expected-Stream": {"s"}, "Nats-TTL": {"5"}, "Portico-Type": {"t"}, "portico-user-id": {"guest"}, "X-Mine": {"y"}}
	if fmt.Sprint(m.Header) != fmt.Sprint(want) {
		t.Errorf("arrived: %v, want %v", m.Header, want)
	}
	publish(t, b, &core.Message{Subject: "a", Header: core.Header{"Portico-User-Id": {"somebody else"}}})
	if m := receive(t, got); len(m.Header) != 0 {
		t.Errorf("somebody else's name arrived: %v", m.Header)
	}
}

func BenchmarkInterest(b *testing.B) {
	g := coretest.Start(b)
	bus := login(b, g)
	for i := range 1000 {
		s, err := bus.Subscribe("orders."+strconv.Itoa(i), "", func(*core.Message) {})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Unsubscribe()
	}
	if err := bus.SetIngress([]string{"orders.>"}); err != nil {
		b.Fatal(err)
	}
	for _, subject := range []string{"orders.5", "orders.nobody", "elsewhere"} {
		b.Run(subject, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bus.Interest(subject)
			}
		})
	}
}

func BenchmarkFanout(b *testing.B) {
	for _, members := range []int{1, 100} {
		b.Run(strconv.Itoa(members), func(b *testing.B) {
			g := coretest.Start(b)
			bus := login(b, g)
			var arrived sync.WaitGroup
			for range members {
				s, err := bus.Subscribe("a", "", func(*core.Message) { arrived.Done() })
				if err != nil {
					b.Fatal(err)
				}
				defer s.Unsubscribe()
			}
			m := &core.Message{Subject: "a", Data: make([]byte, 128)}
			b.ReportAllocs()
			for b.Loop() {
				arrived.Add(members)
				if _, err := bus.Publish(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
			arrived.Wait()
		})
	}
}
