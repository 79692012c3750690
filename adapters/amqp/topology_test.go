package amqp_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"portico/adapters/amqp"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// bindTo binds a new transient queue and returns its deliveries.
func bindTo(t testing.TB, ch *client.Channel, exchange, key string, args client.Table) <-chan client.Delivery {
	t.Helper()
	q := value(ch.QueueDeclare("", false, false, true, false, nil))(t)
	must(t, ch.QueueBind(q.Name, key, exchange, false, args))
	return value(ch.Consume(q.Name, "", true, false, false, false, nil))(t)
}

// wantNone fails if anything but the end mark comes next; the mark is published to the same queues after what should not come.
func wantNone(t testing.TB, ds <-chan client.Delivery) {
	t.Helper()
	select {
	case d := <-ds:
		t.Fatalf("unexpected delivery %q", d.Body)
	default:
	}
}

// §1.4: the four types, through the predeclared exchanges.
func TestExchangeTypes(t *testing.T) {
	ch := open(t).channel(t)
	must(t, ch.Confirm(false))
	direct := bindTo(t, ch, "amq.direct", "red", nil)
	fanout := bindTo(t, ch, "amq.fanout", "", nil)
	topic := bindTo(t, ch, "amq.topic", "a.#.b", nil)
	all := bindTo(t, ch, "amq.headers", "", client.Table{"x-match": "all", "color": "red", "n": int32(1)})
	for _, p := range [][3]string{
		{"amq.direct", "red", "d1"}, {"amq.direct", "blue", "no"}, {"amq.fanout", "any", "f1"},
		{"amq.topic", "a.b", "t1"}, {"amq.topic", "a.x.y.b", "t2"}, {"amq.topic", "a.c", "no"},
	} {
		confirmed(t, ch, p[0], p[1], p[2])
	}
	for text, h := range map[string]client.Table{"h1": {"color": "red", "n": int64(1)}, "no": {"color": "red"}} {
		must(t, ch.PublishWithContext(t.Context(), "amq.headers", "", false, false, client.Publishing{Headers: h, Body: []byte(text)}))
	}
	wantTexts(t, direct, "d1")
	wantTexts(t, fanout, "f1")
	wantTexts(t, topic, "t1", "t2")
	wantTexts(t, all, "h1")
	for _, ds := range []<-chan client.Delivery{direct, fanout, topic, all} {
		wantNone(t, ds)
	}
}

// §1.4: exchange to exchange, alternate exchange, internal, auto-delete.
func TestExchangeExtensions(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	must(t, ch.ExchangeDeclare("inner", "fanout", false, false, true, false, nil))
	must(t, ch.ExchangeDeclare("outer", "direct", false, false, false, false, client.Table{"alternate-exchange": "amq.fanout"}))
	must(t, ch.ExchangeBind("inner", "k", "outer", false, nil))
	inner, stray := bindTo(t, ch, "inner", "", nil), bindTo(t, ch, "amq.fanout", "", nil)
	confirmed(t, ch, "outer", "k", "through")
	confirmed(t, ch, "outer", "other", "alternate")
	wantTexts(t, inner, "through")
	wantTexts(t, stray, "alternate")

	must(t, ch.ExchangeUnbind("inner", "k", "outer", false, nil))
	confirmed(t, ch, "outer", "k", "unbound")
	wantTexts(t, stray, "unbound")

	must(t, ch.ExchangeDeclare("brief", "fanout", false, true, false, false, nil))
	q := declare(t, ch, "briefly")
	must(t, ch.QueueBind(q.Name, "", "brief", false, nil))
	value(ch.QueueDelete(q.Name, false, false, false))(t)
	err := d.channel(t).ExchangeDeclarePassive("brief", "fanout", false, true, false, false, nil)
	wantCode(t, err, 404, "NOT_FOUND - no exchange 'brief' in vhost '/'")

	closed := ch.NotifyClose(make(chan *client.Error, 1))
	publish(t, ch, "inner", "", "refused")
	wantCode(t, receive(t, closed, "close"), 403, "")
}

const lockedText = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. " +
	"It could be originally declared on another connection or the exclusive property value does not match that of the original declaration."

// §1.5: if-unused and if-empty; the count is of ready messages.
func TestQueueDelete(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	declare(t, ch, "q")
	confirmed(t, ch, "", "q", "1", "2", "3")
	value(ch.Consume("q", "c", false, false, false, false, nil))(t)
	_, err := d.channel(t).QueueDelete("q", true, false, false)
	wantCode(t, err, 406, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use")
	must(t, ch.Close())
	_, err = d.channel(t).QueueDelete("q", false, true, false)
	wantCode(t, err, 406, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty")
	if _, ok, err := d.channel(t).Get("q", false); !ok || err != nil {
		t.Fatalf("get: %t, %v", ok, err)
	}
	if n := value(d.channel(t).QueueDelete("q", false, false, false))(t); n != 2 {
		t.Errorf("deleted %d ready messages, want 2: one is unacknowledged", n)
	}
}

// §1.4: if-unused, and what belongs to the server.
func TestExchangeDelete(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	must(t, ch.ExchangeDeclare("x", "fanout", false, false, false, false, nil))
	q := declare(t, ch, "q")
	must(t, ch.QueueBind(q.Name, "", "x", false, nil))
	wantCode(t, d.channel(t).ExchangeDelete("x", true, false), 406, "")
	must(t, ch.QueueUnbind(q.Name, "", "x", nil))
	must(t, ch.ExchangeDelete("x", true, false))
	wantCode(t, ch.ExchangeDeclarePassive("x", "fanout", false, false, false, false, nil), 404, "")
}

// §1.5: auto-delete goes with its last consumer, not before the first, and can be declared again at once.
func TestAutoDeleteQueue(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	for range 20 {
		value(ch.QueueDeclare("auto", false, true, false, false, nil))(t)
		must(t, ch.QueueBind("auto", "auto", "amq.direct", false, nil))
		publish(t, ch, "amq.direct", "auto", "kept so long")
		wantTexts(t, value(ch.Consume("auto", "c", true, false, false, false, nil))(t), "kept so long")
		must(t, ch.Cancel("c", false))
	}
	eventually(t, "the queue is gone", func() bool { return d.gateway.System().Lookup("auto") == nil })
}

// §1.5: CR and LF are taken out of names.
func TestNamesLoseLineEnds(t *testing.T) {
	ch := open(t).channel(t)
	if q := declare(t, ch, "two\r\nlines"); q.Name != "twolines" {
		t.Fatalf("name %q", q.Name)
	}
	must(t, ch.ExchangeDeclare("x\n", "direct", false, false, false, false, nil))
	must(t, ch.ExchangeDeclarePassive("x", "direct", false, false, false, false, nil))
}

// §1.4, §1.5: durable things and their bindings outlive the gateway, transient ones do not.
func TestTopologyOutlivesTheGateway(t *testing.T) {
	dir := t.TempDir()
	t.Run("declare", func(t *testing.T) {
		ch := serve(t, coretest.Start(t, coretest.DataDir(dir)), amqp.Config{}).channel(t)
		must(t, ch.Confirm(false))
		must(t, ch.ExchangeDeclare("kept", "topic", true, false, false, false, client.Table{"alternate-exchange": "amq.fanout"}))
		must(t, ch.ExchangeDeclare("lost", "topic", false, false, false, false, nil))
		must(t, ch.ExchangeDeclare("second", "fanout", true, false, false, false, nil))
		must(t, ch.ExchangeBind("second", "to.#", "kept", false, nil))
		value(ch.QueueDeclare("kept", true, false, false, false, client.Table{"x-queue-mode": "lazy"}))(t)
		value(ch.QueueDeclare("gone", true, false, false, false, nil))(t)
		declare(t, ch, "lost")
		for _, q := range []string{"kept", "lost", "gone"} {
			must(t, ch.QueueBind(q, "a.*", "kept", false, nil))
			must(t, ch.QueueBind(q, "", "second", false, nil))
		}
		must(t, ch.QueueUnbind("kept", "", "second", nil))
		value(ch.QueueDelete("gone", false, false, false))(t)
		must(t, ch.QueueBind("kept", "h", "amq.headers", false, client.Table{"x-match": "any", "n": int64(1)}))
		confirmed(t, ch, "kept", "a.b", "before")
	})
	d := serve(t, coretest.Start(t, coretest.DataDir(dir)), amqp.Config{})
	ch := d.channel(t)
	must(t, ch.Confirm(false))
	must(t, ch.ExchangeDeclare("kept", "topic", true, false, false, false, client.Table{"alternate-exchange": "amq.fanout"}))
	confirmed(t, ch, "kept", "a.c", "after")
	must(t, ch.PublishWithContext(t.Context(), "amq.headers", "", false, false, client.Publishing{Headers: client.Table{"n": int32(1)}, Body: []byte("by header")}))
	wantTexts(t, value(ch.Consume("kept", "", true, false, false, false, nil))(t), "before", "after", "by header")
	for _, name := range []string{"lost", "gone"} {
		if d.gateway.System().Lookup(name) != nil {
			t.Errorf("queue %s is there", name)
		}
	}
	wantCode(t, d.channel(t).ExchangeDeclarePassive("lost", "topic", false, false, false, false, nil), 404, "")
}

// Many bindings, declared one by one, take no more time each than a few.
func TestManyBindings(t *testing.T) {
	ch := open(t).channel(t)
	must(t, ch.Confirm(false))
	q := declare(t, ch, "q")
	const n = 2000
	for i := range n {
		must(t, ch.QueueBind(q.Name, fmt.Sprintf("a.%d.#", i), "amq.topic", false, nil))
	}
	texts := map[string]bool{}
	ds := value(ch.Consume("q", "", true, false, false, false, nil))(t)
	for _, i := range []int{0, n / 2, n - 1} {
		text := fmt.Sprint(i)
		confirmed(t, ch, "amq.topic", "a."+text+".x", text)
		texts[string(next(t, ds).Body)] = true
	}
	if got := slices.Sorted(maps.Keys(texts)); len(got) != 3 {
		t.Errorf("received %v", got)
	}
}
