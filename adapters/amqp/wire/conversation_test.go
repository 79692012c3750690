package wire_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"portico/adapters/amqp/wire"
)

// must fails the conversation on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openChannel(t *testing.T, conn *amqp.Connection) *amqp.Channel {
	t.Helper()
	ch, err := conn.Channel()
	must(t, err)
	return ch
}

// message uses every property and every table tag the client can send.
func message(body []byte) amqp.Publishing {
	return amqp.Publishing{
		Headers: amqp.Table{
			"S": "text", "I": int32(-5), "l": int64(1 << 40), "t": true, "d": 2.5, "T": time.Unix(1700000000, 0), "A": []any{"a", int32(1)},
			"F": amqp.Table{"inner": nil}, "x": []byte{0, 1}, "s": int16(-3), "B": byte(7), "f": float32(0.5), "D": amqp.Decimal{Scale: 2, Value: 314},
		},
		ContentType: "text/plain", ContentEncoding: "identity", DeliveryMode: amqp.Persistent, Priority: 4, CorrelationId: "c-1", ReplyTo: "replies",
		Expiration: "60000", MessageId: "m-1", Timestamp: time.Unix(1700000000, 0), Type: "greeting", UserId: "guest", AppId: "test", Body: body,
	}
}

func TestConversationPublishConsume(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 500) // two frames of 4096
	var props wire.Properties
	answers := map[wire.MethodID]answer{
		wire.IDExchangeDeclare: with(&wire.ExchangeDeclareOk{}),
		wire.IDQueueBind:       with(&wire.QueueBindOk{}),
		wire.IDConfirmSelect:   with(&wire.ConfirmSelectOk{}),
		wire.IDBasicQos:        with(&wire.BasicQosOk{}),
		wire.IDBasicPublish:    with(&wire.BasicAck{DeliveryTag: 1}),
		wire.IDBasicCancel:     with(&wire.BasicCancelOk{ConsumerTag: "reader"}),
		wire.IDBasicConsume: func(p *peer, channel uint16, m wire.Method) {
			p.send(channel, &wire.BasicConsumeOk{ConsumerTag: "reader"})
			octets := wire.AppendDeliver(nil, channel, "reader", 1, false, []byte("orders"), []byte("eu.created"))
			octets = wire.AppendHeader(octets, channel, wire.ClassBasic, uint64(len(body)), props.Append(nil))
			p.sendOctets(wire.AppendBody(octets, channel, body, p.frameMax))
			p.sendContent(channel, &wire.BasicDeliver{ConsumerTag: "reader", DeliveryTag: 2, Redelivered: true, RoutingKey: "q"}, wire.Properties{}, nil)
		},
	}
	props = wire.Properties{ContentType: "text/plain", DeliveryMode: 2, Headers: wire.Table{"n": int64(1), "u": uint16(2), "i": uint32(3)}, Timestamp: time.Unix(1700000000, 0)}
	golden(t, "publish-consume", talk(t, answers, func(t *testing.T, conn *amqp.Connection) {
		ch := openChannel(t, conn)
		must(t, ch.ExchangeDeclare("orders", "topic", true, false, false, false, nil))
		q, err := ch.QueueDeclare("q", true, false, false, false, amqp.Table{"x-max-length": 10})
		if must(t, err); q.Messages != 2 || q.Consumers != 1 {
			t.Errorf("declared %+v", q)
		}
		must(t, ch.QueueBind("q", "eu.#", "orders", false, nil))
		must(t, ch.Confirm(false))
		confirm, err := ch.PublishWithDeferredConfirm("orders", "eu.created", true, false, message(body))
		if must(t, err); !confirm.Wait() {
			t.Error("publish was not acknowledged")
		}
		must(t, ch.Qos(2, 0, false))
		deliveries, err := ch.Consume("q", "reader", false, false, false, false, nil)
		must(t, err)
		d := <-deliveries
		if !bytes.Equal(d.Body, body) || d.Redelivered || d.RoutingKey != "eu.created" || d.ContentType != "text/plain" || d.Headers["u"] != uint16(2) {
			t.Errorf("delivered %+v", d)
		}
		must(t, d.Ack(false))
		if d = <-deliveries; len(d.Body) != 0 || !d.Redelivered || d.DeliveryTag != 2 {
			t.Errorf("delivered %+v", d)
		}
		must(t, d.Nack(true, true))
		must(t, d.Reject(false))
		must(t, ch.Cancel("reader", false))
		must(t, ch.Close())
	}))
}

func TestConversationErrors(t *testing.T) {
	missing := wire.ChanErrorf(wire.NotFound, "no queue 'absent' in vhost '/'").At(wire.IDQueueDeclare)
	answers := map[wire.MethodID]answer{
		wire.IDQueueDeclare: with(&wire.ChannelClose{ReplyCode: missing.Code, ReplyText: missing.ReplyText(), ClassID: missing.ClassID, MethodID: missing.MethodID}),
		wire.IDBasicPublish: func(p *peer, _ uint16, m wire.Method) {
			refused := wire.ConnErrorf(wire.NotImplemented, "immediate=true").At(m.ID())
			p.send(0, &wire.ConnectionClose{ReplyCode: refused.Code, ReplyText: refused.ReplyText(), ClassID: refused.ClassID, MethodID: refused.MethodID})
		},
	}
	golden(t, "errors", talk(t, answers, func(t *testing.T, conn *amqp.Connection) {
		ch := openChannel(t, conn)
		_, err := ch.QueueDeclarePassive("absent", false, true, true, false, nil)
		wantClose(t, err, amqp.NotFound, "NOT_FOUND - no queue 'absent' in vhost '/'")

		ch = openChannel(t, conn)
		closed := conn.NotifyClose(make(chan *amqp.Error, 1))
		must(t, ch.Publish("", "q", false, true, amqp.Publishing{}))
		wantClose(t, <-closed, amqp.NotImplemented, "NOT_IMPLEMENTED - immediate=true")
	}))
}

func wantClose(t *testing.T, err error, code int, reason string) {
	t.Helper()
	var ae *amqp.Error
	if !errors.As(err, &ae) || ae.Code != code || ae.Reason != reason {
		t.Errorf("error %v, want %d %q", err, code, reason)
	}
}

func TestConversationTopologyGetAndTx(t *testing.T) {
	gets := 0
	answers := map[wire.MethodID]answer{
		wire.IDExchangeDeclare: with(), // no-wait has no answer
		wire.IDExchangeBind:    with(&wire.ExchangeBindOk{}),
		wire.IDExchangeUnbind:  with(&wire.ExchangeUnbindOk{}),
		wire.IDExchangeDelete:  with(&wire.ExchangeDeleteOk{}),
		wire.IDQueueUnbind:     with(&wire.QueueUnbindOk{}),
		wire.IDQueuePurge:      with(&wire.QueuePurgeOk{MessageCount: 3}),
		wire.IDQueueDelete:     with(&wire.QueueDeleteOk{MessageCount: 4}),
		wire.IDBasicRecover:    with(&wire.BasicRecoverOk{}),
		wire.IDTxSelect:        with(&wire.TxSelectOk{}),
		wire.IDTxCommit:        with(&wire.TxCommitOk{}),
		wire.IDTxRollback:      with(&wire.TxRollbackOk{}),
		wire.IDBasicGet: func(p *peer, channel uint16, _ wire.Method) {
			if gets++; gets > 1 {
				p.send(channel, &wire.BasicGetEmpty{})
				return
			}
			octets := wire.AppendGetOk(nil, channel, 7, true, []byte("x"), []byte("k"), 5)
			octets = wire.AppendHeader(octets, channel, wire.ClassBasic, 2, nil)
			p.sendOctets(wire.AppendBody(octets, channel, []byte("hi"), p.frameMax))
		},
	}
	golden(t, "topology-get-tx", talk(t, answers, func(t *testing.T, conn *amqp.Connection) {
		ch := openChannel(t, conn)
		must(t, ch.ExchangeDeclarePassive("x", "fanout", false, true, true, true, amqp.Table{"alternate-exchange": "y"}))
		must(t, ch.ExchangeBind("d", "k", "x", false, amqp.Table{"x-match": "any"}))
		must(t, ch.ExchangeUnbind("d", "k", "x", false, nil))
		must(t, ch.ExchangeDelete("x", true, false))
		must(t, ch.QueueUnbind("q", "k", "x", nil))
		n, err := ch.QueuePurge("q", false)
		if must(t, err); n != 3 {
			t.Errorf("%d purged", n)
		}
		d, ok, err := ch.Get("q", false)
		if must(t, err); !ok || string(d.Body) != "hi" || !d.Redelivered || d.DeliveryTag != 7 || d.MessageCount != 5 {
			t.Errorf("got %+v %v", d, ok)
		}
		if _, ok, err = ch.Get("q", true); err != nil || ok {
			t.Errorf("got from an empty queue: %v %v", ok, err)
		}
		must(t, ch.Recover(true))
		must(t, ch.Tx())
		must(t, ch.TxCommit())
		must(t, ch.TxRollback())
		n, err = ch.QueueDelete("q", true, true, false)
		if must(t, err); n != 4 {
			t.Errorf("%d deleted", n)
		}
	}))
}

// What the server says unasked: flow, blocked, return, nack, cancel.
func TestConversationServerSpeaks(t *testing.T) {
	answers := map[wire.MethodID]answer{
		wire.IDConfirmSelect:          with(&wire.ConfirmSelectOk{}),
		wire.IDConnectionUpdateSecret: with(&wire.ConnectionUpdateSecretOk{}),
		wire.IDBasicConsume: func(p *peer, channel uint16, _ wire.Method) {
			p.send(channel, &wire.BasicConsumeOk{ConsumerTag: "c"}, &wire.BasicCancel{ConsumerTag: "c", NoWait: true})
		},
		wire.IDBasicPublish: func(p *peer, channel uint16, m wire.Method) {
			publish := m.(*wire.BasicPublish)
			p.send(0, &wire.ConnectionBlocked{Reason: "low on memory"}, &wire.ConnectionUnblocked{})
			p.sendContent(channel, &wire.BasicReturn{ReplyCode: wire.NoRoute, ReplyText: wire.ReplyName(wire.NoRoute), Exchange: publish.Exchange, RoutingKey: publish.RoutingKey},
				wire.Properties{Flags: wire.FlagContentType | wire.FlagHeaders}, []byte("back"))
			p.sendOctets(wire.AppendHeartbeat(wire.AppendBasicNack(nil, channel, 1, false, false)))
		},
	}
	golden(t, "server-speaks", talk(t, answers, func(t *testing.T, conn *amqp.Connection) {
		blocked := conn.NotifyBlocked(make(chan amqp.Blocking, 2))
		ch := openChannel(t, conn)
		returns, cancels := ch.NotifyReturn(make(chan amqp.Return, 1)), ch.NotifyCancel(make(chan string, 1))
		must(t, ch.Confirm(false))
		confirm, err := ch.PublishWithDeferredConfirm("x", "\xff octets", true, false, amqp.Publishing{Body: []byte("back")})
		if must(t, err); confirm.Wait() {
			t.Error("a nack is taken for an ack")
		}
		if r := <-returns; r.ReplyCode != amqp.NoRoute || r.RoutingKey != "\xff octets" || string(r.Body) != "back" {
			t.Errorf("returned %+v", r)
		}
		if b := <-blocked; !b.Active || b.Reason != "low on memory" {
			t.Errorf("blocking %+v", b)
		}
		must(t, conn.UpdateSecret("token", "expired"))
		_, err = ch.Consume("q", "c", true, true, false, false, nil)
		if must(t, err); <-cancels != "c" {
			t.Error("another consumer was cancelled")
		}
	}))
}
