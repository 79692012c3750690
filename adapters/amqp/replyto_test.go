package amqp_test

import (
	"context"
	"strings"
	"testing"

	"portico/adapters/amqp/wire"
	"portico/core"

	client "github.com/rabbitmq/amqp091-go"
)

const replyQueue = "amq.rabbitmq.reply-to"

// echo answers what comes to a queue, as AMQP responders do.
func echo(t testing.TB, ch *client.Channel, queue string) {
	t.Helper()
	ds := value(ch.Consume(queue, "", true, false, false, false, nil))(t)
	go func() {
		for d := range ds {
			_ = ch.PublishWithContext(context.Background(), "", d.ReplyTo, false, false, client.Publishing{
				CorrelationId: d.CorrelationId, ContentType: d.ContentType, Body: append([]byte("re: "), d.Body...),
			})
		}
	}()
}

// ask publishes a request with direct reply-to.
func ask(t testing.TB, ch *client.Channel, exchange, key, id, text string) {
	t.Helper()
	must(t, ch.PublishWithContext(t.Context(), exchange, key, false, false, client.Publishing{
		ReplyTo: replyQueue, CorrelationId: id, ContentType: "text/plain", Body: []byte(text),
	}))
}

// §1.9: request and answer between AMQP clients.
func TestDirectReplyTo(t *testing.T) {
	d := open(t)
	server := d.channel(t)
	declare(t, server, "rpc")
	echo(t, server, "rpc")
	ch := d.channel(t)
	answers := value(ch.Consume(replyQueue, "", true, false, false, false, nil))(t)
	for _, id := range []string{"1", "2", "3"} {
		ask(t, ch, "", "rpc", id, id)
		got := next(t, answers)
		if string(got.Body) != "re: "+id || got.CorrelationId != id || got.Exchange != "" || !strings.HasPrefix(got.RoutingKey, replyQueue+".") {
			t.Fatalf("answer %q, id %q, key %q", got.Body, got.CorrelationId, got.RoutingKey)
		}
	}
}

// §1.9: what is refused.
func TestDirectReplyToRefusals(t *testing.T) {
	d := open(t)
	for name, c := range map[string]struct {
		use  func(*client.Channel) error
		code int
		text string
	}{
		"with acks": {func(ch *client.Channel) error {
			_, err := ch.Consume(replyQueue, "", false, false, false, false, nil)
			return err
		},
			406, "PRECONDITION_FAILED - reply consumer cannot acknowledge"},
		"twice": {func(ch *client.Channel) error {
			if _, err := ch.Consume(replyQueue, "a", true, false, false, false, nil); err != nil {
				return err
			}
			_, err := ch.Consume(replyQueue, "b", true, false, false, false, nil)
			return err
		}, 406, "PRECONDITION_FAILED - reply consumer already set"},
		"without a consumer": {func(ch *client.Channel) error {
			closed := ch.NotifyClose(make(chan *client.Error, 1))
			if err := ch.PublishWithContext(context.Background(), "", "q", false, false, client.Publishing{ReplyTo: replyQueue}); err != nil {
				return err
			}
			return <-closed
		}, 406, "PRECONDITION_FAILED - fast reply consumer does not exist"},
		"bind": {func(ch *client.Channel) error { return ch.QueueBind(replyQueue, "k", "amq.direct", false, nil) },
			404, "NOT_FOUND - no queue 'amq.rabbitmq.reply-to' in vhost '/'"},
		"dead token": {func(ch *client.Channel) error {
			_, err := ch.QueueDeclarePassive(replyQueue+".made-up", false, false, false, false, nil)
			return err
		}, 404, ""},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, c.use(d.channel(t)), c.code, c.text) })
	}
}

// §1.9: passive declare tells whether the requester is still there; an answer to one that has gone is returned if mandatory.
func TestDirectReplyToLiveness(t *testing.T) {
	d := open(t)
	server := d.channel(t)
	declare(t, server, "rpc")
	requests := value(server.Consume("rpc", "", true, false, false, false, nil))(t)
	ch := d.channel(t)
	value(ch.Consume(replyQueue, "", true, false, false, false, nil))(t)
	ask(t, ch, "", "rpc", "1", "there?")
	address := next(t, requests).ReplyTo
	if q := value(server.QueueDeclarePassive(address, false, false, false, false, nil))(t); q.Consumers != 1 || q.Messages != 0 {
		t.Errorf("declared %+v", q)
	}
	must(t, ch.Close())
	returned := server.NotifyReturn(make(chan client.Return, 1))
	must(t, server.PublishWithContext(t.Context(), "", address, true, false, client.Publishing{Body: []byte("too late")}))
	if r := receive(t, returned, "return"); r.ReplyCode != 312 {
		t.Errorf("return %+v", r)
	}
	_, err := server.QueueDeclarePassive(address, false, false, false, false, nil)
	wantCode(t, err, 404, "")
}

// DESIGN §3: a request from another door is answered by an AMQP client.
func TestAMQPResponder(t *testing.T) {
	d := open(t)
	server := d.channel(t)
	declare(t, server, "rpc")
	must(t, server.QueueBind("rpc", "ask.*", "amq.topic", false, nil))
	echo(t, server, "rpc")
	got, err := d.gateway.System().Request(t.Context(), &core.Message{Subject: "ask.me", Header: core.Header{core.HeaderCorrelationID: {"7"}}, Data: []byte("hello")})
	must(t, err)
	if string(got.Data) != "re: hello" || got.Header.Get(core.HeaderCorrelationID) != "7" {
		t.Fatalf("answer %q %v", got.Data, got.Header)
	}
}

// DESIGN §3: an AMQP client's request is answered by another door, which need not know of correlation ids; nobody there is 312 at once.
func TestAMQPRequester(t *testing.T) {
	d := open(t)
	bus := d.gateway.System()
	sub := value(bus.Subscribe("ask.>", "", func(m *core.Message) {
		go func() { _ = bus.PublishLive(&core.Message{Subject: m.Reply, Data: append([]byte("re: "), m.Data...)}) }()
	}))(t)
	defer sub.Unsubscribe()
	conn := d.dial(t)
	ch := channelOf(t, conn)
	returned := ch.NotifyReturn(make(chan client.Return, 1))
	answers := value(ch.Consume(replyQueue, "", true, false, false, false, nil))(t)
	ask(t, ch, "amq.topic", "ask.you", "id-1", "hello")
	if got := next(t, answers); string(got.Body) != "re: hello" || got.CorrelationId != "id-1" {
		t.Fatalf("answer %q, id %q", got.Body, got.CorrelationId)
	}
	must(t, ch.PublishWithContext(t.Context(), "amq.topic", "nobody.there", true, false, client.Publishing{ReplyTo: replyQueue}))
	if r := receive(t, returned, "return"); r.ReplyCode != 312 {
		t.Errorf("return %+v", r)
	}

	q := value(ch.QueueDeclare("", false, false, true, false, nil))(t) // the older way: a queue for the answers
	mine := value(ch.Consume(q.Name, "", true, false, false, false, nil))(t)
	must(t, ch.PublishWithContext(t.Context(), "amq.topic", "ask.you", false, false, client.Publishing{
		ReplyTo: q.Name, CorrelationId: "id-2", Body: []byte("again"),
	}))
	if got := next(t, mine); string(got.Body) != "re: again" || got.CorrelationId != "id-2" {
		t.Fatalf("answer %q, id %q", got.Body, got.CorrelationId)
	}
}

// §1.9: the rewritten reply_to leaves all other properties as they were.
func TestReplyToIsTheOnlyChange(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, declareExclusive("q"), &wire.BasicConsume{Queue: replyQueue, NoAck: true})
	wantDeclared(p)
	want[*wire.BasicConsumeOk](p, 1)
	sent := wire.Properties{
		ContentType: replyQueue, ContentEncoding: "e", Headers: wire.Table{"k": int16(1)}, DeliveryMode: 1, Priority: 2, CorrelationID: replyQueue,
		ReplyTo: replyQueue, Expiration: "1000", MessageID: "m", Type: "t", AppID: "a", ClusterID: "c",
	}
	b := method(1, &wire.BasicPublish{RoutingKey: "q"})
	p.write(wire.AppendHeader(b, 1, wire.ClassBasic, 0, sent.Append(nil)))
	p.send(1, &wire.BasicGet{Queue: "q", NoAck: true})
	want[*wire.BasicGetOk](p, 1)
	raw, _ := p.content(1)
	got, err := wire.DecodeProperties(raw)
	must(t, err)
	if !strings.HasPrefix(got.ReplyTo, replyQueue+".") {
		t.Errorf("reply_to %q", got.ReplyTo)
	}
	got.ReplyTo = replyQueue
	if string(got.Append(nil)) != string(sent.Append(nil)) {
		t.Errorf("properties %+v, want %+v", got, sent)
	}
}
