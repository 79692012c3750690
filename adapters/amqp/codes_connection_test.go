package amqp_test

import (
	"bytes"
	"testing"

	"portico/adapters/amqp/wire"

	client "github.com/rabbitmq/amqp091-go"
)

// wantHangUps fails unless each of these octets, sent when channel 1 is open, ends the connection with that code.
func wantHangUps(t *testing.T, d *door, code uint16, cases map[string][]byte) {
	t.Helper()
	for name, octets := range cases {
		t.Run(name, func(t *testing.T) {
			p := d.peer(t, login{})
			p.open(1)
			p.write(octets)
			p.wantClose(code)
		})
	}
	declare(t, d.channel(t), "still-serving")
}

// wantRefusals is wantHangUps for methods on channel 1 whose close is in these words and names the method.
func wantRefusals(t *testing.T, d *door, code uint16, cases map[string]codeCase) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := d.peer(t, login{})
			p.open(1)
			p.send(1, c.method)
			m := p.wantClose(code)
			if m.ReplyText != c.text || m.ClassID != c.method.ID().Class() || m.MethodID != c.method.ID().Method() {
				t.Errorf("text %q of method %d.%d, want %q of %s", m.ReplyText, m.ClassID, m.MethodID, c.text, c.method.Name())
			}
		})
	}
	declare(t, d.channel(t), "still-serving")
}

// join is frames one behind the other.
func join(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

// The frames of a publish on channel 1, to be put together wrongly.
func publishFrame() []byte { return method(1, &wire.BasicPublish{RoutingKey: "q"}) }
func headerFrame(class uint16, size uint64) []byte {
	return wire.AppendHeader(nil, 1, class, size, nil)
}
func bodyFrame() []byte { return wire.AppendBody(nil, 1, []byte("12345"), 4096) }

// §1.13: malformed frames, and such as are too large.
func TestCode_501_FrameError(t *testing.T) {
	badEnd := method(1, &wire.BasicQos{})
	badEnd[len(badEnd)-1] = 0
	wantHangUps(t, open(t), 501, map[string][]byte{
		"wrong frame end":            badEnd,
		"unknown frame type":         {9, 0, 1, 0, 0, 0, 0, wire.FrameEnd},
		"frame too large":            wire.AppendFrameStart(nil, wire.FrameBody, 1, 200000),
		"header too large":           join(publishFrame(), wire.AppendFrameStart(nil, wire.FrameHeader, 1, 131072+1)),
		"body longer than announced": join(publishFrame(), headerFrame(60, 4), bodyFrame()),
	})
}

// §1.13, §2: a frame's end is looked at before anybody acts on it.
func TestCode_501_BeforeActing(t *testing.T) {
	d := open(t)
	p := d.peer(t, login{})
	p.open(1)
	b := method(1, &wire.QueueDeclare{Queue: "half-said"})
	b[len(b)-1] = 'x'
	p.write(b)
	p.wantClose(501)
	_, err := d.channel(t).QueueDeclarePassive("half-said", false, false, false, false, nil)
	wantCode(t, err, 404, "")
}

// §1.13: arguments that cannot be read.
func TestCode_502_SyntaxError(t *testing.T) {
	properties := wire.AppendHeader(nil, 1, 60, 0, []byte{0x80, 0, 9, 'x'})
	nested := wire.Properties{Headers: wire.Table{"k": "v"}}
	unknown := bytes.Replace(wire.AppendHeader(nil, 1, 60, 0, nested.Append(nil)), []byte("kS"), []byte("kU"), 1)
	wantHangUps(t, open(t), 502, map[string][]byte{
		"arguments cut short":        raw(1, 0, 60, 0, 20, 0, 0, 5, 'q'),
		"arguments left over":        raw(1, 0, 90, 0, 10, 1),
		"unknown table tag":          raw(1, 0, 50, 0, 10, 0, 0, 1, 'q', 0, 0, 0, 0, 3, 1, 'k', '?'),
		"malformed properties":       join(publishFrame(), properties),
		"unknown tag in the headers": join(publishFrame(), unknown),
	})
}

// §1.13: methods that are not for this end, or not for this channel.
func TestCode_503_CommandInvalid(t *testing.T) {
	wantHangUps(t, open(t), 503, map[string][]byte{
		"server's method":        method(1, &wire.BasicDeliver{}),
		"server's answer":        method(1, &wire.BasicGetEmpty{}),
		"connection method on 1": method(1, &wire.ConnectionOpen{}),
	})
}

// §1.13: a method on a channel that is not open, a second open.
func TestCode_504_ChannelError(t *testing.T) {
	wantHangUps(t, open(t), 504, map[string][]byte{
		"channel not open":      method(2, &wire.BasicQos{}),
		"second open":           method(1, &wire.ChannelOpen{}),
		"handshake again":       method(0, &wire.ConnectionTuneOk{}),
		"connection open again": method(0, &wire.ConnectionOpen{VirtualHost: "/"}),
	})
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, &wire.ChannelClose{ReplyCode: 200}, &wire.BasicQos{})
	want[*wire.ChannelCloseOk](p, 1)
	p.wantClose(504)
}

// §1.13: RabbitMQ answers 504 to what comes while a commit goes on. Here it waits its turn.
func TestCode_504_MethodDuringCommitWaits(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, &wire.TxSelect{}, &wire.QueueDeclare{Queue: "q", Durable: true})
	want[*wire.TxSelectOk](p, 1)
	wantDeclared(p)
	var b []byte
	for range 100 {
		b = append(b, publication(1, "", "q", []byte("x"), 4096)...)
	}
	p.write(append(append(b, method(1, &wire.TxCommit{})...), method(1, &wire.QueueDeclare{Queue: "q", Passive: true})...))
	want[*wire.TxCommitOk](p, 1)
	if m := wantDeclared(p); m.MessageCount != 100 {
		t.Errorf("%d ready behind the commit", m.MessageCount)
	}
}

// §1.13: frames in the wrong order.
func TestCode_505_UnexpectedFrame(t *testing.T) {
	weighted := wire.AppendFrame(nil, wire.Frame{Type: wire.FrameHeader, Channel: 1, Payload: []byte{0, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}})
	wantHangUps(t, open(t), 505, map[string][]byte{
		"heartbeat on channel 5":        {8, 0, 5, 0, 0, 0, 0, wire.FrameEnd},
		"header without publish":        headerFrame(60, 4),
		"body without header":           bodyFrame(),
		"body before header":            join(publishFrame(), bodyFrame()),
		"method instead of header":      join(publishFrame(), publishFrame()),
		"method instead of body":        join(publishFrame(), headerFrame(60, 4), publishFrame()),
		"channel.close instead of body": join(publishFrame(), headerFrame(60, 4), method(1, &wire.ChannelClose{})),
		"header instead of body":        join(publishFrame(), headerFrame(60, 4), headerFrame(60, 4)),
		"header of another class":       join(publishFrame(), headerFrame(50, 0)),
		"header with a weight":          join(publishFrame(), weighted),
		"content on channel 0":          wire.AppendBody(nil, 0, []byte("x"), 4096),
	})
}

// §1.13: a consumer tag that is taken, a channel number that is too high.
func TestCode_530_NotAllowed(t *testing.T) {
	d := open(t)
	declare(t, d.channel(t), "q")
	consume := method(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoWait: true})
	wantHangUps(t, d, 530, map[string][]byte{
		"channel above channel_max": method(3000, &wire.ChannelOpen{}),
		"duplicate consumer tag":    join(consume, consume),
	})
}

// §1.13: what is told at the end of the handshake: limits that were not offered, a vhost that is not there.
func TestCode_530_Handshake(t *testing.T) {
	d := open(t)
	for name, ok := range map[string]wire.ConnectionTuneOk{
		"frame_max above":   {ChannelMax: 2047, FrameMax: 131073},
		"frame_max 0":       {ChannelMax: 2047},
		"frame_max below":   {ChannelMax: 2047, FrameMax: 4095},
		"channel_max above": {ChannelMax: 2048, FrameMax: 131072},
		"channel_max 0":     {FrameMax: 131072},
	} {
		t.Run(name, func(t *testing.T) {
			p := d.connect(t)
			p.write(wire.ProtocolHeader[:])
			want[*wire.ConnectionStart](p, 0)
			p.send(0, login{}.startOk())
			want[*wire.ConnectionTune](p, 0)
			p.send(0, &ok)
			p.wantClose(wire.NotAllowed)
		})
	}
	t.Run("vhost", func(t *testing.T) {
		_, err := client.Dial(d.url() + "elsewhere")
		wantCode(t, err, 530, "NOT_ALLOWED - vhost elsewhere not found")
	})
}

// §1.13: what RabbitMQ has not either. TestStreamRefusals has the rest of what streams do not do.
func TestCode_540_NotImplemented(t *testing.T) {
	d := open(t)
	durable(t, d.channel(t), "quorum", quorum(nil))
	durable(t, d.channel(t), "stream", client.Table{"x-queue-type": "stream"})
	const not = "NOT_IMPLEMENTED - "
	ifFlag := func(flag string) string {
		return not + "cannot delete queue 'quorum' in vhost '/'. queue.delete operations with " + flag + " flag set are not supported by quorum queues"
	}
	wantRefusals(t, d, 540, map[string]codeCase{
		"immediate":                     {nil, &wire.BasicPublish{Immediate: true}, not + "immediate=true"},
		"prefetch_size":                 {nil, &wire.BasicQos{PrefetchSize: 1}, not + "prefetch_size!=0 (1)"},
		"recover without requeue":       {nil, &wire.BasicRecover{}, not + "requeue=false"},
		"recover-async without requeue": {nil, &wire.BasicRecoverAsync{}, not + "requeue=false"},
		"flow off":                      {nil, &wire.ChannelFlow{}, not + "active=false"},
		"quorum, if-unused":             {nil, &wire.QueueDelete{Queue: "quorum", IfUnused: true}, ifFlag("if-unused")},
		"stream, get":                   {nil, &wire.BasicGet{Queue: "stream"}, not + "basic.get not supported by stream queues queue 'stream' in vhost '/'"},
		"stream, purge":                 {nil, &wire.QueuePurge{Queue: "stream"}, not + "queue.purge not supported by stream queues queue 'stream' in vhost '/'"},
		"quorum, if-empty":              {nil, &wire.QueueDelete{Queue: "quorum", IfEmpty: true}, ifFlag("if-empty")},
	})
	wantHangUps(t, d, 540, map[string][]byte{"unknown method": raw(1, 0, 60, 0, 250), "unknown class": raw(1, 0, 99, 0, 10)})
}

// §1.13: a channel-wide prefetch is nothing for a quorum queue; without one again it is consumed as others are.
func TestCode_540_GlobalQosOnQuorum(t *testing.T) {
	d := open(t)
	durable(t, d.channel(t), "quorum", quorum(nil))
	p := d.peer(t, login{})
	p.open(1)
	p.send(1, &wire.BasicQos{PrefetchCount: 5, Global: true}, &wire.BasicConsume{Queue: "quorum"})
	want[*wire.BasicQosOk](p, 1)
	if m := p.wantClose(540); m.ReplyText != "NOT_IMPLEMENTED - queue 'quorum' in vhost '/' does not support global qos" {
		t.Errorf("text %q", m.ReplyText)
	}
	p = d.peer(t, login{})
	p.open(1)
	p.send(1, &wire.BasicQos{PrefetchCount: 5, Global: true}, &wire.BasicQos{Global: true}, &wire.BasicConsume{Queue: "quorum"})
	want[*wire.BasicQosOk](p, 1)
	want[*wire.BasicQosOk](p, 1)
	want[*wire.BasicConsumeOk](p, 1)
}

// §1.13: a refused login is 403 of the connection, for those who declared that they understand it; a response that cannot be read is 502, a mechanism that
// is not offered 503.
func TestCode_403_LoginRefused(t *testing.T) {
	d := open(t)
	told := wire.Table{"authentication_failure_close": true}
	const refused = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
	for name, c := range map[string]struct {
		login login
		code  uint16
		text  string
	}{
		"wrong password":     {login{response: "\x00guest\x00no", capabilities: told}, 403, refused},
		"unknown user":       {login{response: "\x00nobody\x00guest", capabilities: told}, 403, refused},
		"malformed PLAIN":    {login{response: "guest"}, 502, ""},
		"malformed AMQPLAIN": {login{mechanism: "AMQPLAIN", response: "\x05LOGIN"}, 502, ""},
		"unknown mechanism":  {login{mechanism: "CRAM-MD5"}, 503, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := d.connect(t)
			p.write(wire.ProtocolHeader[:])
			want[*wire.ConnectionStart](p, 0)
			p.send(0, c.login.startOk())
			if m := p.wantClose(c.code); c.text != "" && m.ReplyText != c.text {
				t.Errorf("text %q, want %q", m.ReplyText, c.text)
			}
		})
	}
}
