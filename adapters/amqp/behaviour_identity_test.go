package amqp_test

import (
	"testing"
	"time"

	"portico/adapters/amqp"
	"portico/adapters/amqp/wire"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// §2.1: clients choose what they do by product and version: RabbitMQ 3.13 unless configured otherwise; who it really is stands beside it.
func TestBehaviour01WhoAmI(t *testing.T) {
	for name, c := range map[string]struct {
		config           amqp.Config
		product, version string
	}{
		"by default": {amqp.Config{}, "RabbitMQ", "3.13.7"},
		"configured": {amqp.Config{Product: "Portico", Version: "1.2.3"}, "Portico", "1.2.3"},
	} {
		t.Run(name, func(t *testing.T) {
			p := serve(t, coretest.Start(t), c.config).dial(t).Properties
			if p["product"] != c.product || p["version"] != c.version || p["platform"] != "Portico (Go)" {
				t.Errorf("server-properties %v", p)
			}
		})
	}
}

// §2.2: integers are compared by value, whatever they are encoded as; text is none, and unknown arguments do not count.
func TestBehaviour02IntegersOfAllEncodings(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.declared(declaration("q", "x-message-ttl", int32(100)))
	for name, v := range map[string]any{
		"int8": int8(100), "uint8": uint8(100), "int16": int16(100), "uint16": uint16(100), "int32": int32(100), "uint32": uint32(100), "int64": int64(100),
	} {
		t.Run(name, func(t *testing.T) {
			p.declared(declaration("q", "x-message-ttl", v))
			p.declared(&wire.QueueDeclare{Queue: "q", Arguments: wire.Table{"x-message-ttl": v, "x-unheard": v}})
		})
	}
	const inequivalent = "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received "
	p.wantRefused(2, declaration("q", "x-message-ttl", "100"), 406, inequivalent+"'100' but current is '100'")
	p.wantRefused(2, declaration("q", "x-message-ttl", 100.0), 406, inequivalent+"'100.0' but current is '100'")
	p.wantRefused(2, declaration("q", "x-message-ttl", true), 406, inequivalent+"'true' but current is '100'")
	p.wantRefused(2, declaration("n", "x-message-ttl", "60000"), 406,
		"PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'n' in vhost '/': \"expected integer, got longstr\"")
	p.declared(declaration("off", "x-single-active-consumer", false))
	p.declared(declaration("off", "x-single-active-consumer", false))
}

// §2.3: a connection that falls silent loses its exclusive queues within the heartbeat's time, whatever becomes of its socket.
func TestBehaviour03ExclusiveDiesWithASilentConnection(t *testing.T) {
	t.Parallel()
	d := open(t)
	p := d.peer(t, login{heartbeat: 1})
	p.open(1)
	p.declared(declareExclusive("silent"))
	start := time.Now()
	eventually(t, "the queue is gone", func() bool { return d.gateway.System().Lookup("silent") == nil })
	if took := time.Since(start); took < time.Second || took > 4*time.Second {
		t.Errorf("it went after %s", took)
	}
	value(d.channel(t).QueueDeclare("silent", false, false, true, false, nil))(t)
}

// §2.4: a name that the server gave is the client's to use, not to declare; without a name a passive declaration finds nothing.
func TestBehaviour04LiteralServerNames(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	q := value(ch.QueueDeclare("", false, false, true, false, nil))(t)
	if again := value(ch.QueueDeclarePassive(q.Name, false, false, true, false, nil))(t); again.Name != q.Name {
		t.Errorf("passive finds %q", again.Name)
	}
	p := d.peer(t, login{})
	p.wantRefused(2, &wire.QueueDeclare{Queue: "amq.gen-mine"}, 403, "ACCESS_REFUSED - queue name 'amq.gen-mine' contains reserved prefix 'amq.*'")
	p.wantRefused(2, &wire.QueueDeclare{Passive: true}, 404, "NOT_FOUND - no queue '' in vhost '/'")
	_, err := ch.QueueDeclare(q.Name, false, false, true, false, nil)
	wantCode(t, err, 403, "ACCESS_REFUSED - queue name '"+q.Name+"' contains reserved prefix 'amq.*'")
}

// §2.23: a missing vhost is told after tune-ok, at connection.open, whatever the client can do.
func TestBehaviour23VhostIsToldAtOpen(t *testing.T) {
	p := open(t).connect(t)
	p.write(wire.ProtocolHeader[:])
	want[*wire.ConnectionStart](p, 0)
	p.send(0, login{}.startOk())
	tune := want[*wire.ConnectionTune](p, 0)
	p.send(0, &wire.ConnectionTuneOk{ChannelMax: tune.ChannelMax, FrameMax: tune.FrameMax}, &wire.ConnectionOpen{VirtualHost: "elsewhere"})
	if m := p.wantClose(530); m.ReplyText != "NOT_ALLOWED - vhost elsewhere not found" || m.ClassID != 10 || m.MethodID != 40 {
		t.Errorf("close %+v", m)
	}
}

// §2.22: an alternate exchange takes what its exchange alone does not route, and mandatory is content with that.
func TestBehaviour22AlternateExchanges(t *testing.T) {
	ch := open(t).confirming(t)
	exchange := func(name, kind, alternate string) {
		var args client.Table
		if alternate != "" {
			args = client.Table{"alternate-exchange": alternate}
		}
		must(t, ch.ExchangeDeclare(name, kind, false, false, false, false, args))
	}
	exchange("last", "fanout", "")
	exchange("middle", "direct", "last")
	exchange("first", "direct", "middle")
	exchange("missing", "direct", "nowhere")
	exchange("a", "direct", "b")
	exchange("b", "direct", "a")
	transient(t, ch, "stray", nil)
	transient(t, ch, "known", nil)
	must(t, ch.QueueBind("stray", "", "last", false, nil))
	must(t, ch.QueueBind("known", "known", "first", false, nil))
	returned := ch.NotifyReturn(make(chan client.Return, 1))
	for _, c := range []struct {
		exchange, key string
		returned      bool
	}{{"first", "known", false}, {"first", "unknown", false}, {"middle", "any", false}, {"missing", "any", true}, {"a", "any", true}} {
		confirm := value(ch.PublishWithDeferredConfirm(c.exchange, c.key, true, false, client.Publishing{Body: []byte(c.exchange + " " + c.key)}))(t)
		if c.returned {
			receive(t, returned, "return")
		}
		if !confirm.Wait() {
			t.Errorf("%s %s: not acked", c.exchange, c.key)
		}
	}
	drained(t, ch, "known", "first known")
	drained(t, ch, "stray", "first unknown", "middle any")
	if len(returned) > 0 {
		t.Errorf("more is returned: %+v", <-returned)
	}
}

// §2.22: an auto-delete queue lives until its first consumers have gone; an auto-delete exchange until its last binding has, also with its queue, and
// that may take others along.
func TestBehaviour22AutoDelete(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	value(ch.QueueDeclare("unused", false, true, false, false, nil))(t)
	if _, _, err := ch.Get("unused", true); err != nil { // no consumer
		t.Fatal(err)
	}
	for _, x := range []string{"outer", "inner"} {
		must(t, ch.ExchangeDeclare(x, "fanout", false, true, false, false, nil))
	}
	must(t, ch.ExchangeBind("inner", "", "outer", false, nil))
	transient(t, ch, "q", nil)
	must(t, ch.QueueBind("q", "a", "inner", false, nil))
	must(t, ch.QueueBind("q", "b", "inner", false, nil))
	must(t, ch.QueueUnbind("q", "a", "inner", nil))
	for _, x := range []string{"outer", "inner"} {
		must(t, ch.ExchangeDeclarePassive(x, "fanout", false, true, false, false, nil))
	}
	value(ch.QueueDelete("q", false, false, false))(t)
	for _, x := range []string{"outer", "inner"} {
		wantCode(t, d.channel(t).ExchangeDeclarePassive(x, "fanout", false, true, false, false, nil), 404, "NOT_FOUND - no exchange '"+x+"' in vhost '/'")
	}
	ready(t, ch, "unused")
	value(ch.Consume("unused", "c", true, false, false, false, nil))(t)
	must(t, ch.Cancel("c", false))
	_, err := ch.QueueDeclarePassive("unused", false, false, false, false, nil)
	wantCode(t, err, 404, "NOT_FOUND - no queue 'unused' in vhost '/'")
}
