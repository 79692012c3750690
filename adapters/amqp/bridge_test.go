package amqp_test

import (
	"fmt"
	"testing"
	"time"

	"portico/adapters/amqp"
	"portico/core"

	"github.com/nats-io/nats.go"
	client "github.com/rabbitmq/amqp091-go"
)

// listen subscribes on the bus.
func listen(t testing.TB, d *door, pattern string) <-chan *core.Message {
	t.Helper()
	c := make(chan *core.Message, 16)
	sub := value(d.gateway.System().Subscribe(pattern, "", func(m *core.Message) { c <- m }))(t)
	t.Cleanup(sub.Unsubscribe)
	return c
}

// DESIGN §3: amq.topic is the bus's subject space, another exchange lies below its name, the default exchange is not on the bus.
func TestPublishIsHeardOnTheBus(t *testing.T) {
	d := open(t)
	heard := listen(t, d, ">")
	ch := d.channel(t)
	must(t, ch.ExchangeDeclare("orders", "fanout", false, false, false, false, nil))
	must(t, ch.ExchangeDeclare("or.ders", "fanout", false, false, false, false, nil))
	declare(t, ch, "q")
	publish(t, ch, "", "q", "not heard")
	for _, c := range [][3]string{
		{"amq.topic", "a.b.c", "a.b.c"}, {"orders", "eu.created", "orders.eu.created"}, {"amq.topic", "", "%_"}, {"orders", "", "orders.%_"},
		{"amq.topic", "a..b *", "a.%_.b%20%2A"}, {"or.ders", "$x", "or%2Eders.$x"}, {"amq.topic", "$SYS.x", "%24SYS.x"},
	} {
		publish(t, ch, c[0], c[1], c[1])
		m := receive(t, heard, "message")
		if m.Subject != c[2] || string(m.Data) != c[1] {
			t.Errorf("%q/%q is heard on %q with %q, want %q", c[0], c[1], m.Subject, m.Data, c[2])
		}
	}
}

// DESIGN §3: what other doors publish is routed by the exchange its subject belongs to, and by amq.topic, and not by others.
func TestBusPublishIsRouted(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	must(t, ch.ExchangeDeclare("orders", "topic", false, false, false, false, nil))
	must(t, ch.ExchangeDeclare("other", "fanout", false, false, false, false, nil))
	must(t, ch.ExchangeDeclare("heads", "headers", false, false, false, false, nil))
	byOrders := bindTo(t, ch, "orders", "eu.*", nil)
	byTopic := bindTo(t, ch, "amq.topic", "orders.#", nil)
	byOther := bindTo(t, ch, "other", "", nil)
	byHeader := bindTo(t, ch, "heads", "", client.Table{"x-match": "any", "color": "red"})
	receipt, err := d.gateway.System().Publish(t.Context(), &core.Message{
		Subject: "orders.eu.created", Header: core.Header{"color": {"red"}, core.HeaderContentType: {"text/plain"}, core.HeaderMessageID: {"m1"}}, Data: []byte("x"),
	})
	must(t, err)
	if receipt.Queues != 2 {
		t.Errorf("%d queues, want 2", receipt.Queues)
	}
	got := next(t, byOrders)
	if got.Exchange != "orders" || got.RoutingKey != "eu.created" || got.ContentType != "text/plain" || got.MessageId != "m1" || got.Headers["color"] != "red" {
		t.Errorf("delivery %q %q %+v", got.Exchange, got.RoutingKey, got.Headers)
	}
	next(t, byTopic)
	wantNone(t, byOther)
	_, err = d.gateway.System().Publish(t.Context(), &core.Message{Subject: "heads.any", Header: core.Header{"color": {"red"}}, Data: []byte("h")})
	must(t, err)
	if got := next(t, byHeader); got.Exchange != "heads" || got.RoutingKey != "any" {
		t.Errorf("delivery %q %q", got.Exchange, got.RoutingKey)
	}
}

// DESIGN §3: an AMQP publish to one exchange does not leak into queues bound to another, and core's bindings get it, each queue once.
func TestPublishDoesNotLeak(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	must(t, ch.ExchangeDeclare("orders", "fanout", false, false, false, false, nil))
	leak := bindTo(t, ch, "amq.topic", "#", nil)
	declare(t, ch, "bound")
	declare(t, ch, "both")
	must(t, ch.QueueBind("both", "", "orders", false, nil))
	for _, q := range []string{"bound", "both"} {
		must(t, d.gateway.System().Bind(t.Context(), core.Binding{Pattern: "orders.>", Queue: q}))
	}
	confirmed(t, ch, "orders", "k", "x")
	for _, q := range []string{"bound", "both"} {
		if n := ready(t, ch, q); n != 1 {
			t.Errorf("%d in %q, want 1", n, q)
		}
	}
	wantNone(t, leak)
	must(t, d.gateway.System().Bind(t.Context(), core.Binding{Pattern: "amq%2Efanout.k", Queue: "bound"}))
	confirmed(t, ch, "amq.fanout", "k", "by a binding of core")
	if n := ready(t, ch, "bound"); n != 2 {
		t.Errorf("%d in the bound queue, want 2", n)
	}
}

// DESIGN §3: what native clients publish after bind-ok arrives, once; after unbind it does not.
func TestNativePublishIsRouted(t *testing.T) {
	d := open(t)
	nc := value(nats.Connect("nats://" + d.gateway.NATSAddr()))(t)
	defer nc.Close()
	ch := d.channel(t)
	must(t, ch.ExchangeDeclare("x", "direct", false, false, false, false, nil))
	declare(t, ch, "q")
	for i, key := range []string{"a", "b.c", "d.*.e", "f.#.g", "h.#"} {
		must(t, ch.QueueBind("q", key, "amq.topic", false, nil))
		subject := []string{"a", "b.c", "d.x.e", "f.g", "h"}[i]
		must(t, nc.Publish(subject, []byte(subject)))
		eventually(t, subject+" is in the queue", func() bool { return ready(t, ch, "q") == i+1 })
	}
	must(t, ch.QueueBind("q", "k", "x", false, nil))
	m := nats.NewMsg("x.k")
	m.Header.Set("Color", "red")
	m.Data = []byte("by exchange")
	must(t, nc.PublishMsg(m))
	eventually(t, "x.k is in the queue", func() bool { return ready(t, ch, "q") == 6 })
	value(ch.QueuePurge("q", false))(t)
	must(t, ch.QueueUnbind("q", "a", "amq.topic", nil))
	must(t, nc.Publish("a", nil))
	must(t, nc.Publish("b.c", nil))
	eventually(t, "what is bound comes", func() bool { return ready(t, ch, "q") > 0 })
	if n := ready(t, ch, "q"); n != 1 {
		t.Errorf("%d ready, want 1", n)
	}
	_, err := nc.Request("x.unbound", nil, patience)
	if err == nil {
		t.Error("a request that nobody takes was answered")
	}
}

// A message that came by another door without a subject is the queue's.
func TestAppendedToTheQueue(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "q")
	q := value(d.gateway.System().Queue("q"))(t)
	q.AppendFunc(core.SealRecord(&core.Message{Header: core.Header{core.HeaderPriority: {"300"}, "many": {"a", "b"}}, Data: []byte("x")}), nil)
	got := next(t, value(ch.Consume("q", "", true, false, false, false, nil))(t))
	if got.Exchange != "" || got.RoutingKey != "q" || got.Headers[core.HeaderPriority] != "300" || fmt.Sprint(got.Headers["many"]) != "[a b]" {
		t.Errorf("delivery %q %q %v", got.Exchange, got.RoutingKey, got.Headers)
	}
}

// Other doors read what AMQP clients put into a queue.
func TestOtherDoorsReadTheQueue(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "q")
	must(t, ch.QueueBind("q", "a.b", "amq.topic", false, nil))
	must(t, ch.PublishWithContext(t.Context(), "amq.topic", "a.b", false, false, client.Publishing{
		ContentType: "text/plain", ContentEncoding: "identity", DeliveryMode: 2, Priority: 4, CorrelationId: "c", ReplyTo: "answers", Expiration: "5000", MessageId: "m",
		Timestamp: time.Unix(1700000000, 0), Type: "t", UserId: "guest", AppId: "app", Body: []byte("x"),
		Headers: client.Table{"n": int32(5), "yes": true, "list": []any{"a", "b"}, "table": client.Table{"a": "b"}, "Nats-Rollup": "all", "two\nlines": "x", "value": "two\nlines"},
	}))
	q := value(d.gateway.System().Queue("q"))(t)
	eventually(t, "the message is there", func() bool { return ready(t, ch, "q") == 1 })
	got, _, err := q.Get(true, nil)
	must(t, err)
	m := value(d.gateway.Message(got.Record))(t)
	if m.Subject != "a.b" || string(m.Data) != "x" || m.Reply == "" {
		t.Errorf("message on %q with reply %q: %q", m.Subject, m.Reply, m.Data)
	}
	for name, want := range map[string]string{
		core.HeaderContentType: "text/plain", core.HeaderContentEncoding: "identity", core.HeaderDeliveryMode: "2", core.HeaderPriority: "4",
		core.HeaderCorrelationID: "c", core.HeaderReplyTo: "answers", core.HeaderExpiration: "5000", core.HeaderMessageID: "m", core.HeaderTimestamp: "1700000000",
		core.HeaderType: "t", core.HeaderUserID: "guest", core.HeaderAppID: "app", "n": "5", "yes": "true",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if list := m.Header.Values("list"); fmt.Sprint(list) != "[a b]" {
		t.Errorf("list %v", list)
	}
	if len(m.Header) != 15 {
		t.Errorf("%d headers: %v", len(m.Header), m.Header)
	}
}

// A message that dies in a queue of another door tells AMQP consumers why.
func TestDeathIsNoted(t *testing.T) {
	d := open(t)
	bus := d.gateway.System()
	value2(bus.DeclareQueue(t.Context(), core.QueueConfig{Name: "grave"}))(t)
	value2(bus.DeclareQueue(t.Context(), core.QueueConfig{Name: "q", QueueRules: core.QueueRules{DeadLetter: core.DeadLetter{Queue: "grave"}}}))(t)
	ch := d.channel(t)
	must(t, ch.PublishWithContext(t.Context(), "", "q", false, false, client.Publishing{Headers: client.Table{"n": int8(1)}, Body: []byte("x")}))
	got := next(t, value(ch.Consume("q", "", false, false, false, false, nil))(t))
	must(t, got.Reject(false))
	dead := next(t, value(ch.Consume("grave", "", true, false, false, false, nil))(t))
	deaths, _ := dead.Headers["x-death"].([]any)
	if len(deaths) != 1 || dead.Headers["n"] != int8(1) || dead.Headers["x-first-death-queue"] != "q" {
		t.Fatalf("headers %v", dead.Headers)
	}
	death, _ := deaths[0].(client.Table)
	if death["queue"] != "q" || death["reason"] != "rejected" || death["count"] != int64(1) || fmt.Sprint(death["routing-keys"]) != "[q]" {
		t.Errorf("death %v", death)
	}
}

// value2 is value for DeclareQueue.
func value2[T any](v T, _ bool, err error) func(testing.TB) T { return value(v, err) }

// The door can be opened again on a gateway that goes on.
func TestDoorIsOpenedAgain(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	value(ch.QueueDeclare("q", true, false, false, false, nil))(t)
	must(t, ch.QueueBind("q", "a.#", "amq.topic", false, nil))
	must(t, d.stop())
	again := serve(t, d.gateway, amqp.Config{})
	_, err := d.gateway.System().Publish(t.Context(), &core.Message{Subject: "a.b", Data: []byte("x")})
	must(t, err)
	if n := value(again.channel(t).QueueDeclarePassive("q", true, false, false, false, nil))(t).Messages; n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}
