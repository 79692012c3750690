package core_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
	"portico/core/queue"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func connectMQTT(t testing.TB, g *core.Gateway, id string, change func(*mqtt.ClientOptions)) (mqtt.Client, error) {
	t.Helper()
	o := mqtt.NewClientOptions().AddBroker("tcp://" + g.MQTTAddr()).SetClientID(id).SetAutoReconnect(false).SetConnectTimeout(patience)
	if change != nil {
		change(o)
	}
	c := mqtt.NewClient(o)
	token := c.Connect()
	token.WaitTimeout(patience)
	if token.Error() == nil {
		t.Cleanup(func() { c.Disconnect(10) })
	}
	return c, token.Error()
}

func mustMQTT(t testing.TB, g *core.Gateway, id string) mqtt.Client {
	t.Helper()
	c, err := connectMQTT(t, g, id, nil)
	if err != nil {
		t.Fatalf("connect with MQTT: %v", err)
	}
	return c
}

func waitMQTT(t testing.TB, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("MQTT: %v", token.Error())
	}
}

func TestNativePublishReachesBoundQueues(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	nc, mc := connectNATS(t, g), mustMQTT(t, g, "sensor")
	one, two := declare(t, b, core.QueueConfig{Name: "one"}), declare(t, b, core.QueueConfig{Name: "two", Durable: true})
	bind(t, b, "a.*", "one")
	bind(t, b, "a.>", "one") // overlaps: still once
	bind(t, b, "a.b", "two")
	if err := nc.PublishMsg(&nats.Msg{Subject: "a.b", Reply: "", Header: nats.Header{"k": {"v"}, "Nats-Rollup": {"all"}}, Data: []byte("nats")}); err != nil {
		t.Fatal(err)
	}
	for _, q := range []*core.Queue{one, two} {
		if m := take(t, g, q); string(m.Data) != "nats" || m.Subject != "a.b" || fmt.Sprint(m.Header) != "map[k:[v]]" {
			t.Errorf("%s has %+v", q.Config().Name, m)
		}
	}
	for qos := range byte(3) {
		waitMQTT(t, mc.Publish("a/b", qos, false, "mqtt"+strconv.Itoa(int(qos))))
		for _, q := range []*core.Queue{one, two} {
			if m := take(t, g, q); string(m.Data) != "mqtt"+strconv.Itoa(int(qos)) || m.Subject != "a.b" || len(m.Header) != 0 {
				t.Errorf("QoS %d: %s has %+v", qos, q.Config().Name, m)
			}
		}
	}
	if n := ready(t, one) + ready(t, two); n != 0 {
		t.Errorf("%d messages too many", n)
	}
}

func TestMQTTHearsTheDoors(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	mc := mustMQTT(t, g, "display")
	got := make(chan mqtt.Message, 10)
	for qos, filter := range []string{"zero/+", "one/#"} {
		waitMQTT(t, mc.Subscribe(filter, byte(qos), func(_ mqtt.Client, m mqtt.Message) { got <- m }))
	}
	for subject, topic := range map[string]string{"zero.x": "zero/x", "one.x.y": "one/x/y"} {
		if r := publish(t, b, &core.Message{Subject: subject, Data: []byte("hi"), Header: core.Header{"k": {"v"}}}); !r.Live {
			t.Errorf("%s: nobody listens", subject)
		}
		if m := receive(t, got); m.Topic() != topic || string(m.Payload()) != "hi" {
			t.Errorf("got %s %q", m.Topic(), m.Payload())
		}
	}
	door := subscribe(t, b, "from.>", "")
	waitMQTT(t, mc.Publish("from/mqtt", 1, false, "hello"))
	if m := receive(t, door); m.Subject != "from.mqtt" || string(m.Data) != "hello" || len(m.Header) != 0 {
		t.Errorf("door got %+v", m)
	}
	nothing(t, door)
}

// TestDoorPublishComesInOnce: the live copy of what a door published must not come back as a native publish.
func TestDoorPublishComesInOnce(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "q"})
	bind(t, b, "a.>", "q")
	live := subscribe(t, b, "a.>", "")
	if r := publish(t, b, &core.Message{Subject: "a.b"}); r.Queues != 1 || !r.Live {
		t.Errorf("receipt %+v", r)
	}
	receive(t, live)
	// What a native client publishes next is behind the live copy, had that come back.
	nc := connectNATS(t, g)
	if _, err := nc.Request("a.c", nil, patience); err != nil {
		t.Fatal(err)
	}
	if n := ready(t, q); n != 2 {
		t.Errorf("the queue has %d messages, want 2", n)
	}
}

// TestNobodyCanPretendToBeRouted: a native client cannot keep its message out of the queues by claiming that a gateway has routed it.
func TestNobodyCanPretendToBeRouted(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "q"})
	bind(t, b, "a", "q")
	live := subscribe(t, b, "a", "")
	nc := connectNATS(t, g)
	for _, origin := range []string{"x", "portico", "true"} {
		if err := nc.PublishMsg(&nats.Msg{Subject: "a", Header: nats.Header{core.HeaderOrigin: {origin}, core.HeaderAMQP: {"x"}}}); err != nil {
			t.Fatal(err)
		}
		if m := take(t, g, q); len(m.Header) != 0 {
			t.Errorf("queue has %v", m.Header)
		}
		if m := receive(t, live); m.Header.Get(core.HeaderOrigin) != "" {
			t.Errorf("door sees %v", m.Header)
		}
	}
}

func TestJetStreamPublishIsAcknowledgedByQueues(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "q", Durable: true})
	bind(t, b, "jobs.>", "q")
	js, err := jetstream.New(connectNATS(t, g))
	if err != nil {
		t.Fatal(err)
	}
	ack, err := js.Publish(within(t, patience), "jobs.new", []byte("1"), jetstream.WithMsgID("id"), jetstream.WithExpectStream("portico"))
	if err != nil || ack.Stream != "portico" {
		t.Fatalf("ack %+v, %v", ack, err)
	}
	if m := take(t, g, q); string(m.Data) != "1" || m.Reply != "" || m.Header.Get("Nats-Msg-Id") != "id" {
		t.Errorf("queue has %+v", m)
	}
	for name, opt := range map[string]jetstream.PublishOpt{
		"another stream":  jetstream.WithExpectStream("other"),
		"a last sequence": jetstream.WithExpectLastSequence(7),
	} {
		if _, err := js.Publish(within(t, patience), "jobs.new", nil, opt); !isAPIError(err) {
			t.Errorf("expecting %s: %v", name, err)
		}
	}
	if n := ready(t, q); n != 0 {
		t.Errorf("%d refused messages were kept", n)
	}
}

func isAPIError(err error) bool {
	_, ok := errors.AsType[*jetstream.APIError](err)
	return ok
}

// fixed routes everything below a prefix to one queue, as an exchange would.
type fixed struct {
	prefix string
	queue  *core.Queue
}

// Route implements core.Router.
func (r fixed) Route(m *core.Message, dst []*core.Queue) []*core.Queue {
	if strings.HasPrefix(m.Subject, r.prefix) {
		return append(dst, r.queue)
	}
	return dst
}

// Bury implements core.Router.
func (r fixed) Bury(_ *core.Queue, _ core.DeadLetter, _ queue.Dead, done func(error)) { done(nil) }

// Rules implements core.Router.
func (r fixed) Rules(c *core.QueueConfig) core.QueueRules { return c.QueueRules }

func TestRouterGetsRequestsWithTheirReply(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "q"})
	b.SetRouter(fixed{"x.", q})
	if err := b.SetIngress([]string{"x.>"}); err != nil {
		t.Fatal(err)
	}
	nc := connectNATS(t, g)
	answered := make(chan error, 1)
	go func() {
		m, err := nc.Request("x.sum", []byte("2+2"), patience)
		if err == nil && string(m.Data) != "4" {
			err = fmt.Errorf("answer %q", m.Data)
		}
		answered <- err
	}()
	m := take(t, g, q)
	if m.Reply == "" || string(m.Data) != "2+2" {
		t.Fatalf("queue has %+v", m)
	}
	publish(t, b, &core.Message{Subject: m.Reply, Data: []byte("4")})
	if err := receive(t, answered); err != nil {
		t.Error(err)
	}
	// A JetStream publish that says so wants to know that it is kept, whoever routes it.
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if ack, err := js.Publish(within(t, patience), "x.y", nil, jetstream.WithMsgID("1")); err != nil || ack.Stream != "portico" {
		t.Errorf("ack %+v, %v", ack, err)
	}
	if m := take(t, g, q); m.Reply != "" {
		t.Errorf("queue has %+v", m)
	}
	// Queues that router and binding both name get one copy.
	bind(t, b, "x.twice", "q")
	if r := publish(t, b, &core.Message{Subject: "x.twice"}); r.Queues != 1 {
		t.Errorf("receipt %+v", r)
	}
	b.SetRouter(nil)
	if r := publish(t, b, &core.Message{Subject: "x.y"}); r.Queues != 0 {
		t.Errorf("without a router: %+v", r)
	}
}

// TestIngressIsInForceWhenSet also checks that a set replaces the former, that overlapping patterns deliver once, and that interest leaves our own subscriptions out all the time.
func TestIngressIsInForceWhenSet(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "q"})
	b.SetRouter(fixed{"", q})
	nc := connectNATS(t, g)
	for round := range 50 {
		patterns := []string{"a.*", "a.>", "*.b", "a.b", "r" + strconv.Itoa(round)}
		if err := b.SetIngress(patterns[round%4:]); err != nil {
			t.Fatal(err)
		}
		for _, subject := range []string{"a.b", "r" + strconv.Itoa(round)} {
			if b.Interest(subject) {
				t.Fatalf("round %d: our own ingress counts as interest on %s", round, subject)
			}
			if err := nc.Publish(subject, nil); err != nil || nc.Flush() != nil {
				t.Fatal(err)
			}
			take(t, g, q)
		}
	}
	if err := b.ChangeIngress([]string{"more", "more"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.ChangeIngress(nil, []string{"more"}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish("more", []byte("still")); err != nil {
		t.Fatal(err)
	}
	if m := take(t, g, q); string(m.Data) != "still" {
		t.Errorf("queue has %+v", m)
	}
	if err := b.ChangeIngress(nil, []string{"more"}); err != nil {
		t.Fatal(err)
	}
	if err := b.SetIngress(nil); err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish("more", nil); err != nil || nc.Publish("a.b", nil) != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	<-time.After(moment)
	if n := ready(t, q); n != 0 {
		t.Errorf("%d messages came in without an ingress or twice", n)
	}
	wantCode(t, "a bad pattern", b.SetIngress([]string{"a..b"}), core.CodeInvalid)
	wantCode(t, "a bad pattern", b.ChangeIngress([]string{"a b"}, nil), core.CodeInvalid)
}

func TestReservedSubjectsNeverReachQueues(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	q := declare(t, b, core.QueueConfig{Name: "q"})
	b.SetRouter(fixed{"", q})
	bind(t, b, ">", "q")
	for _, pattern := range []string{"$JS.>", "_INBOX.x"} {
		wantCode(t, "bind "+pattern, b.Bind(t.Context(), core.Binding{Pattern: pattern, Queue: "q"}), core.CodeInvalid)
	}
	nc := connectNATS(t, g)
	for _, subject := range []string{"$X.y", "_INBOX.z", "plain"} {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, b, &core.Message{Subject: "_INBOX.other"})
	if m := take(t, g, q); m.Subject != "plain" {
		t.Errorf("queue has %q", m.Subject)
	}
	if n := ready(t, q); n != 0 {
		t.Errorf("%d messages too many", n)
	}
	// JetStream's own requests go their way although > is bound.
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AccountInfo(within(t, patience)); err != nil {
		t.Errorf("JetStream beside an ingress on >: %v", err)
	}
}

func TestStreamsCaptureWhatDoorsPublish(t *testing.T) {
	g := coretest.Start(t)
	b := login(t, g)
	js, err := jetstream.New(connectNATS(t, g))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "LOG", Subjects: []string{"log.>"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := publish(t, b, &core.Message{Subject: "log.a", Data: []byte("1"), Header: core.Header{"k": {"v"}}}); !r.Live {
		t.Error("a stream counts as a listener")
	}
	answer, err := b.Request(within(t, patience), &core.Message{Subject: "log.b"})
	if err != nil || !strings.Contains(string(answer.Data), `"stream":"LOG"`) {
		t.Fatalf("the stream's acknowledgement: %+v, %v", answer, err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil || m.Subject != "log.a" || string(m.Data) != "1" || m.Header.Get("k") != "v" {
		t.Errorf("stream has %+v, %v", m, err)
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 2 {
		t.Errorf("stream: %+v, %v", info, err)
	}
}

func BenchmarkNativePublishToQueue(b *testing.B) {
	g := coretest.Start(b)
	bus := login(b, g)
	q := declare(b, bus, core.QueueConfig{Name: "q"})
	bind(b, bus, "a.>", "q")
	nc := connectNATS(b, g)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := nc.Publish("a.b", []byte("0123456789abcdef")); err != nil {
			b.Fatal(err)
		}
		if n++; n%10_000 == 0 {
			if _, err := q.Purge(); err != nil || nc.Flush() != nil {
				b.Fatal(err)
			}
		}
	}
}
