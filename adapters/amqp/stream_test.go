package amqp_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// streaming are the arguments of a stream.
func streaming(more client.Table) client.Table {
	args := client.Table{"x-queue-type": "stream"}
	for k, v := range more {
		args[k] = v
	}
	return args
}

// streamOf declares a stream with messages that are their own offsets, and returns a channel on which that was done.
func streamOf(t testing.TB, d *door, name string, args client.Table, n int) *client.Channel {
	t.Helper()
	ch := d.confirming(t)
	durable(t, ch, name, streaming(args))
	more(t, ch, name, 0, n)
	return ch
}

// more publishes messages from to to-1, each of which is a chunk of its own.
func more(t testing.TB, ch *client.Channel, name string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		confirmed(t, ch, "", name, fmt.Sprint(i))
	}
}

// reading consumes a stream from an offset (nil: none given) with a prefetch, on a channel of its own.
func reading(t testing.TB, d *door, name string, offset any, prefetch int) <-chan client.Delivery {
	t.Helper()
	ch := d.channel(t)
	must(t, ch.Qos(prefetch, 0, false))
	args := client.Table{}
	if offset != nil {
		args["x-stream-offset"] = offset
	}
	return value(ch.Consume(name, "", false, false, false, false, args))(t)
}

// wantOffsets fails unless the messages from to to-1 come next, each with its offset.
func wantOffsets(t testing.TB, ds <-chan client.Delivery, from, to int) []client.Delivery {
	t.Helper()
	var got []client.Delivery
	for i := from; i < to; i++ {
		d := next(t, ds)
		if string(d.Body) != fmt.Sprint(i) || d.Headers["x-stream-offset"] != int64(i) || d.Redelivered {
			t.Fatalf("delivery is %q with headers %v, redelivered %t; want %d", d.Body, d.Headers, d.Redelivered, i)
		}
		got = append(got, d)
	}
	return got
}

// §1.7: where a consumer begins, what it gets there, and what comes afterwards.
func TestStreamOffsets(t *testing.T) {
	d := open(t)
	p := streamOf(t, d, "s", nil, 3)
	<-time.After(1100 * time.Millisecond) // AMQP's times are whole seconds
	second := time.Now()
	more(t, p, "s", 3, 5)
	cases := map[string]struct {
		offset any
		first  int
	}{
		"none": {nil, 5}, "next": {"next", 5}, "first": {"first", 0}, "last": {"last", 4},
		"0": {int64(0), 0}, "2, another integer": {int32(2), 2}, "below 0": {int64(-7), 0}, "the end": {int64(5), 5}, "beyond the end": {int64(6), 6},
		"long ago": {time.Unix(1_000_000_000, 0), 0}, "a time between": {second, 3}, "to come": {time.Now().Add(time.Hour), 5},
		"an hour": {"1h", 0}, "years": {"40Y", 0}, "octets": {[]byte("first"), 0},
	}
	readers := map[string]<-chan client.Delivery{}
	for name, c := range cases {
		readers[name] = reading(t, d, "s", c.offset, 100)
	}
	more(t, p, "s", 5, 7)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) { wantOffsets(t, readers[name], c.first, 7) })
	}
	if n := ready(t, p, "s"); n != 7 {
		t.Errorf("%d messages are there, want 7", n)
	}
}

// §1.7: every acknowledgement, whatever it says, makes room for the next message, and nothing comes twice.
func TestStreamSettlementIsCredit(t *testing.T) {
	for name, settle := range map[string]func(client.Delivery) error{
		"ack":            func(d client.Delivery) error { return d.Ack(false) },
		"nack, requeue":  func(d client.Delivery) error { return d.Nack(false, true) },
		"nack":           func(d client.Delivery) error { return d.Nack(false, false) },
		"reject":         func(d client.Delivery) error { return d.Reject(false) },
		"reject requeue": func(d client.Delivery) error { return d.Reject(true) },
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			streamOf(t, d, "s", nil, 6)
			a, b := reading(t, d, "s", "first", 2), reading(t, d, "s", int64(3), 1)
			got := wantOffsets(t, a, 0, 2)
			wantOffsets(t, b, 3, 4)
			must(t, settle(got[1]))
			got = append(got, wantOffsets(t, a, 2, 3)...)
			must(t, settle(got[0]))
			must(t, settle(got[2]))
			wantOffsets(t, a, 3, 5)
			select {
			case x := <-b:
				t.Errorf("the other consumer got %q", x.Body)
			default:
			}
		})
	}
}

// §1.7: basic.recover gives all credit back, and what it would return stays where it was.
func TestStreamRecover(t *testing.T) {
	d := open(t)
	streamOf(t, d, "s", nil, 5)
	ch := d.channel(t)
	must(t, ch.Qos(2, 0, false))
	ds := value(ch.Consume("s", "", false, false, false, false, client.Table{"x-stream-offset": "first"}))(t)
	wantOffsets(t, ds, 0, 2)
	must(t, ch.Recover(true))
	wantOffsets(t, ds, 2, 4)
}

// The end of a channel takes nothing from others and returns nothing; a cancelled consumer can be acknowledged, and another begins anew.
func TestStreamConsumersComeAndGo(t *testing.T) {
	d := open(t)
	p := streamOf(t, d, "s", nil, 3)
	ch := d.channel(t)
	must(t, ch.Qos(1, 0, false))
	exclusive := value(ch.Consume("s", "x", false, true, false, false, client.Table{"x-stream-offset": "first"}))(t)
	other := reading(t, d, "s", "first", 10) // in a stream there is room beside an exclusive consumer
	wantOffsets(t, other, 0, 3)
	held := wantOffsets(t, exclusive, 0, 1)
	must(t, ch.Cancel("x", false))
	must(t, held[0].Ack(false))
	again := value(ch.Consume("s", "x", false, false, false, false, client.Table{"x-stream-offset": int64(1)}))(t)
	wantOffsets(t, again, 1, 2)
	must(t, ch.Close())
	more(t, p, "s", 3, 4)
	wantOffsets(t, other, 3, 4)
	if n := value(p.QueueDeclarePassive("s", true, false, false, false, nil))(t).Consumers; n != 1 {
		t.Errorf("%d consumers, want 1", n)
	}
}

// A restart moves no offset, and a message can be read as often as one likes.
func TestStreamOutlivesTheGateway(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	streamOf(t, d, "s", nil, 20)
	d = d.restart(t, dir)
	p := d.confirming(t)
	durable(t, p, "s", streaming(nil))
	more(t, p, "s", 20, 22)
	wantOffsets(t, reading(t, d, "s", "first", 100), 0, 22)
	wantOffsets(t, reading(t, d, "s", int64(19), 100), 19, 22)
	d = d.restart(t, dir)
	wantOffsets(t, reading(t, d, "s", int64(5), 100), 5, 22)
}

// §1.5: the oldest messages go when there are too many octets, and offsets go on.
func TestStreamMaxLengthBytes(t *testing.T) {
	dir := t.TempDir()
	d := open(t, coretest.DataDir(dir))
	ch := d.confirming(t)
	durable(t, ch, "s", streaming(client.Table{"x-max-length-bytes": int64(50_000)}))
	for i := range 20 {
		confirmed(t, ch, "", "s", fmt.Sprintf("%d%s", i, strings.Repeat(" ", 9_000)))
	}
	if n := ready(t, ch, "s"); n != 5 {
		t.Errorf("%d messages are there, want 5", n)
	}
	check := func() {
		t.Helper()
		ds := reading(t, d, "s", int64(3), 100)
		for i := 15; i < 20; i++ {
			if x := next(t, ds); x.Headers["x-stream-offset"] != int64(i) || !strings.HasPrefix(string(x.Body), fmt.Sprintf("%d ", i)) {
				t.Fatalf("offset %v, body %.5q, want %d", x.Headers["x-stream-offset"], x.Body, i)
			}
		}
	}
	check()
	d = d.restart(t, dir)
	check()
}

// §1.5, §1.10: messages go by age, and a policy changes the limits of a stream that is there, before what it was declared with.
func TestStreamMaxAgeAndPolicies(t *testing.T) {
	d := open(t)
	p := streamOf(t, d, "s", client.Table{"x-max-age": "1s"}, 3)
	eventually(t, "all but the last have gone", func() bool { return ready(t, p, "s") == 1 })
	more(t, p, "s", 3, 4)
	eventually(t, "again all but the last have gone", func() bool { return ready(t, p, "s") == 1 })
	wantOffsets(t, reading(t, d, "s", "first", 10), 3, 4)

	streamOf(t, d, "p", client.Table{"x-max-length-bytes": int64(1)}, 3)
	policy := func(definition string) {
		t.Helper()
		_, _, err := d.api(t.Context(), d.gateway.System(), http.MethodPut, "policies/x", `{"pattern":"^p$","apply-to":"streams","definition":`+definition+`}`)
		must(t, err)
	}
	if n := ready(t, p, "p"); n != 1 {
		t.Errorf("%d messages are there, want the last", n)
	}
	policy(`{"max-length-bytes":100000}`)
	more(t, p, "p", 3, 8)
	wantOffsets(t, reading(t, d, "p", "first", 10), 2, 8)
	policy(`{"max-age":"1s"}`)
	eventually(t, "a policy's age counts", func() bool { return ready(t, p, "p") == 1 })
	if _, _, err := d.api(t.Context(), d.gateway.System(), http.MethodDelete, "policies/x", ""); err != nil {
		t.Fatal(err)
	}
	more(t, p, "p", 8, 10)
	wantOffsets(t, reading(t, d, "p", "first", 10), 9, 10)
}

// §1.13: what streams do not do, in RabbitMQ's words.
func TestStreamRefusals(t *testing.T) {
	d := open(t)
	streamOf(t, d, "s", nil, 2)
	const (
		s       = "queue 's' in vhost '/'"
		failed  = "PRECONDITION_FAILED - "
		missing = "NOT_IMPLEMENTED - "
		offset  = failed + "invalid arg 'x-stream-offset' for " + s + ": {invalid_stream_offset_arg,"
		foreign = " for " + s + " of queue type rabbit_stream_queue"
	)
	qos := func(n uint16, global bool) []wire.Method {
		return []wire.Method{&wire.BasicQos{PrefetchCount: n, Global: global}}
	}
	with := func(arg string, v any) *wire.BasicConsume { return consumption("s", arg, v) }
	for name, c := range map[string]struct {
		before []wire.Method
		method wire.Method
		code   uint16
		text   string
	}{
		"no prefetch":        {nil, &wire.BasicConsume{Queue: "s"}, 406, failed + "consumer prefetch count is not set for 'queue 's' in vhost '/''"},
		"global qos alone":   {qos(5, true), &wire.BasicConsume{Queue: "s"}, 406, failed + "consumer prefetch count is not set for 'queue 's' in vhost '/''"},
		"global qos beside":  {append(qos(5, true), qos(5, false)...), &wire.BasicConsume{Queue: "s"}, 540, missing + s + " does not support global qos"},
		"no_ack":             {qos(5, false), &wire.BasicConsume{Queue: "s", NoAck: true}, 540, missing + "automatic acknowledgement not supported by stream queues " + s},
		"filter":             {qos(5, false), with("x-stream-filter", "x"), 540, missing + "x-stream-filter not supported by stream queues " + s},
		"get":                {nil, &wire.BasicGet{Queue: "s"}, 540, missing + "basic.get not supported by stream queues " + s},
		"purge":              {nil, &wire.QueuePurge{Queue: "s"}, 540, missing + "queue.purge not supported by stream queues " + s},
		"offset a word":      {qos(5, false), with("x-stream-offset", "middle"), 406, offset + `{longstr,<<"middle">>}}`},
		"offset an age of 0": {qos(5, false), with("x-stream-offset", "0h"), 406, offset + `{longstr,<<"0h">>}}`},
		"offset a boolean":   {nil, with("x-stream-offset", true), 406, offset + "{bool,true}}"},
		"priority":           {qos(5, false), with("x-priority", int32(1)), 406, failed + "invalid arg 'x-priority'" + foreign},
		"ha failover":        {qos(5, false), with("x-cancel-on-ha-failover", true), 406, failed + "invalid arg 'x-cancel-on-ha-failover'" + foreign},
	} {
		t.Run(name, func(t *testing.T) {
			p := d.peer(t, login{})
			p.open(1)
			for _, m := range c.before {
				p.send(1, m)
				want[*wire.BasicQosOk](p, 1)
			}
			p.send(1, c.method)
			text := ""
			if c.code == 540 {
				text = p.wantClose(c.code).ReplyText
			} else {
				text = p.wantChannelClose(1, c.code).ReplyText
			}
			if text != c.text {
				t.Errorf("text %q, want %q", text, c.text)
			}
		})
	}
}

// §1.7: an offset is an argument of streams alone.
func TestStreamOffsetOfAQueue(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "c")
	durable(t, ch, "q", quorum(nil))
	p := d.peer(t, login{})
	for queue, kind := range map[string]string{"c": "classic", "q": "quorum"} {
		p.wantRefused(1, consumption(queue, "x-stream-offset", "first"), 406,
			"PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue '"+queue+"' in vhost '/' of queue type rabbit_"+kind+"_queue")
	}
}

// §1.5: what a stream can be declared with, and what it takes to find it again.
func TestStreamDeclaration(t *testing.T) {
	d := open(t)
	p := d.peer(t, login{})
	stream := func(name, arg string, v any) *wire.QueueDeclare {
		return &wire.QueueDeclare{Queue: name, Durable: true, Arguments: wire.Table{"x-queue-type": "stream", arg: v}}
	}
	p.wantRefused(2, stream("", "x-max-age", "1h"), 406, "PRECONDITION_FAILED - Cannot declare a server-named queue for type rabbit_stream_queue")
	for arg, v := range map[string]any{
		"x-message-ttl": int32(5), "x-dead-letter-exchange": "", "x-max-length": int32(5), "x-single-active-consumer": true, "x-overflow": "drop-head",
		"x-expires": int32(5), "x-max-priority": int32(5), "x-delivery-limit": int32(5),
	} {
		p.wantRefused(2, stream("s", arg, v), 406, "PRECONDITION_FAILED - invalid arg '"+arg+"' for queue 's' in vhost '/' of queue type rabbit_stream_queue")
	}
	p.wantRefused(2, stream("s", "x-max-age", "1x"), 406, "PRECONDITION_FAILED - invalid arg 'x-max-age' for queue 's' in vhost '/': invalid_max_age")
	p.open(1)
	first := stream("s", "x-max-age", "1h")
	first.Arguments["x-stream-max-segment-size-bytes"], first.Arguments["x-initial-cluster-size"] = int64(1_000_000), int32(1)
	p.declared(first)
	p.declared(first)
	p.wantRefused(2, &wire.QueueDeclare{Queue: "s", Durable: true, Arguments: wire.Table{"x-queue-type": "stream"}}, 406,
		"PRECONDITION_FAILED - inequivalent arg 'x-max-age' for queue 's' in vhost '/': received none but current is the value '1h' of type 'longstr'")
	p.wantRefused(2, &wire.QueueDeclare{Queue: "s", Durable: true}, 406,
		"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 's' in vhost '/': received none but current is the value 'stream' of type 'longstr'")
}

// §1.13: queue.delete takes no notice of its flags, tells its consumers, and has no messages to count.
func TestStreamDelete(t *testing.T) {
	d := open(t)
	ch := streamOf(t, d, "s", nil, 3)
	ds := reading(t, d, "s", "first", 10)
	wantOffsets(t, ds, 0, 3)
	n, err := ch.QueueDelete("s", true, true, false)
	if n != 0 || err != nil {
		t.Errorf("deleted with %d messages, %v", n, err)
	}
	select {
	case _, open := <-ds:
		if open {
			t.Error("a delivery of a stream that is deleted")
		}
	case <-time.After(patience):
		t.Error("the consumer is not told")
	}
	durable(t, ch, "s", streaming(nil))
	more(t, ch, "s", 0, 1)
	wantOffsets(t, reading(t, d, "s", "first", 10), 0, 1)
}

// A delivery's properties are the message's, with its offset: whatever they are, and also when it comes from another stream, or another door.
func TestStreamProperties(t *testing.T) {
	d := open(t)
	ch := streamOf(t, d, "s", nil, 0)
	sent := []client.Publishing{
		{Body: []byte("bare")},
		{Body: []byte("headers"), Headers: client.Table{"a": "b", "n": int32(7)}},
		{Body: []byte("offset"), Headers: client.Table{"x-stream-offset": int64(1000), "a": "b"}},
		{Body: []byte("named"), Headers: client.Table{"note": "no x-stream-offset"}, ContentType: "t/p"},
		{
			Body: []byte("all"), ContentType: "text/plain", ContentEncoding: "gzip", DeliveryMode: 2, Priority: 3, CorrelationId: "c", ReplyTo: "r", Expiration: "0",
			MessageId: "m", Timestamp: time.Unix(1_600_000_000, 0), Type: "t", UserId: "guest", AppId: "a", Headers: client.Table{"list": []any{"x", int64(1)}},
		},
	}
	for _, p := range sent {
		if !put(t, ch, "", "s", p) {
			t.Fatal("nacked")
		}
	}
	ds := reading(t, d, "s", "first", 10)
	for i, p := range sent {
		got := next(t, ds)
		headers := client.Table{}
		for k, v := range p.Headers {
			headers[k] = v
		}
		headers["x-stream-offset"] = int64(i)
		if fmt.Sprint(got.Headers) != fmt.Sprint(headers) {
			t.Errorf("%s has headers %v, want %v", p.Body, got.Headers, headers)
		}
		same := []bool{
			string(got.Body) == string(p.Body), got.ContentType == p.ContentType, got.ContentEncoding == p.ContentEncoding, got.DeliveryMode == p.DeliveryMode,
			got.Priority == p.Priority, got.CorrelationId == p.CorrelationId, got.ReplyTo == p.ReplyTo, got.Expiration == p.Expiration, got.MessageId == p.MessageId,
			got.Timestamp.Equal(p.Timestamp), got.Type == p.Type, got.UserId == p.UserId, got.AppId == p.AppId,
		}
		if slices.Contains(same, false) {
			t.Errorf("got %+v, sent %+v", got, p)
		}
	}
}

// A transaction's settlements are answered, and give credit.
func TestStreamInATransaction(t *testing.T) {
	d := open(t)
	streamOf(t, d, "s", nil, 3)
	ch := d.channel(t)
	must(t, ch.Tx())
	must(t, ch.Qos(1, 0, false))
	ds := value(ch.Consume("s", "", false, false, false, false, client.Table{"x-stream-offset": "first"}))(t)
	must(t, wantOffsets(t, ds, 0, 1)[0].Ack(false))
	must(t, ch.TxCommit())
	must(t, wantOffsets(t, ds, 1, 2)[0].Ack(false))
	must(t, ch.TxCommit())
	wantOffsets(t, ds, 2, 3)
}

// A stream is a queue to exchanges and dead letters as any other.
func TestStreamTakesDeadLetters(t *testing.T) {
	d := open(t)
	ch := streamOf(t, d, "s", nil, 0)
	must(t, ch.QueueBind("s", "dead", "amq.direct", false, nil))
	transient(t, ch, "q", client.Table{"x-dead-letter-exchange": "amq.direct", "x-dead-letter-routing-key": "dead"})
	confirmed(t, ch, "", "q", "0")
	must(t, hold(t, ch, "q").Reject(false))
	got := wantOffsets(t, reading(t, d, "s", "first", 1), 0, 1)
	wantDeath(t, got[0], "q", "rejected", 1)
}
