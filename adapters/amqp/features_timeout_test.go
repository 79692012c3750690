package amqp_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/adapters/amqp"
	"portico/adapters/amqp/wire"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// §1.7: a delivery that is not acknowledged in time closes its channel, and only that; what it held is ready again. Whoever acknowledges goes on, and
// no_ack has nothing to acknowledge.
func TestConsumerTimeout(t *testing.T) {
	t.Parallel()
	d := serve(t, coretest.Start(t), amqp.Config{ConsumerTimeout: 300 * time.Millisecond})
	ch := filled(t, d, "q", "late", "in time", "no matter")
	conn := d.dial(t)
	late, diligent, careless := channelOf(t, conn), channelOf(t, conn), channelOf(t, conn)
	must(t, late.Qos(1, 0, false))
	delivered := time.Now()
	wantTexts(t, value(late.Consume("q", "late", false, false, false, false, nil))(t), "late")
	closed := late.NotifyClose(make(chan *client.Error, 1))
	must(t, hold(t, diligent, "q").Ack(false))
	get(t, careless, "q")
	wantCode(t, receive(t, closed, "close"), 406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 300 ms. "+
		"This timeout value can be configured, see consumers doc guide to learn more")
	if took := time.Since(delivered); took < 299*time.Millisecond {
		t.Errorf("closed after %s", took)
	}
	awaitReady(t, ch, "q", 1)
	awaitReady(t, diligent, "q", 1)
	awaitReady(t, careless, "q", 1)
	if got := drained(t, ch, "q", "late")[0]; !got.Redelivered {
		t.Error("it is not redelivered")
	}
}

// §1.7: what basic.get took counts, too.
func TestConsumerTimeoutOfAGet(t *testing.T) {
	t.Parallel()
	d := serve(t, coretest.Start(t), amqp.Config{ConsumerTimeout: 100 * time.Millisecond})
	ch := filled(t, d, "q", "taken")
	other := d.channel(t)
	closed := other.NotifyClose(make(chan *client.Error, 1))
	hold(t, other, "q")
	wantCode(t, receive(t, closed, "close"), 406, "")
	awaitReady(t, ch, "q", 1)
}

// §1.7, §2: a queue's own x-consumer-timeout goes before the configuration, longer or shorter. The text tells which it was.
func TestConsumerTimeoutOfTheQueue(t *testing.T) {
	t.Parallel()
	const configured = 400 * time.Millisecond
	for name, c := range map[string]struct{ argument, told string }{
		"longer than configured": {"60000", ""}, "shorter than configured": {"60", "60 ms"}, "not said": {"", "400 ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := serve(t, coretest.Start(t), amqp.Config{ConsumerTimeout: configured})
			p := d.peer(t, login{})
			p.open(1)
			declare := declareExclusive("q")
			if n, err := strconv.Atoi(c.argument); err == nil {
				declare.Arguments = wire.Table{"x-consumer-timeout": int32(n)}
			}
			p.declared(declare)
			p.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
			want[*wire.BasicConsumeOk](p, 1)
			p.write(publication(1, "", "q", []byte("held"), 4096))
			want[*wire.BasicDeliver](p, 1)
			p.content(1)
			if c.told != "" {
				if m := p.wantChannelClose(1, 406); !strings.Contains(m.ReplyText, "Timeout value used: "+c.told) {
					t.Errorf("text %q", m.ReplyText)
				}
				return
			}
			sinceThen(2*configured, func() {
				p.send(1, &wire.BasicQos{})
				want[*wire.BasicQosOk](p, 1)
			})
		})
	}
}
