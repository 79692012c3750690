package amqp_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"portico/adapters/amqp/wire"
)

// raw is a method frame from its payload.
func raw(channel uint16, payload ...byte) []byte {
	return wire.AppendFrame(nil, wire.Frame{Type: wire.FrameMethod, Channel: channel, Payload: payload})
}

func method(channel uint16, m wire.Method) []byte { return wire.AppendMethod(nil, channel, m) }

// §1.13: what ends the connection. Channel 1 is open.
func TestConnectionErrors(t *testing.T) {
	d := open(t)
	publish := method(1, &wire.BasicPublish{RoutingKey: "q"})
	header := func(class uint16, size uint64) []byte { return wire.AppendHeader(nil, 1, class, size, nil) }
	weighted := wire.AppendFrame(nil, wire.Frame{Type: wire.FrameHeader, Channel: 1, Payload: []byte{0, 60, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}})
	body := wire.AppendBody(nil, 1, []byte("12345"), 4096)
	badEnd := method(1, &wire.BasicQos{})
	badEnd[len(badEnd)-1] = 0
	badTag := raw(1, 0, 50, 0, 10, 0, 0, 1, 'q', 0, 0, 0, 0, 3, 1, 'k', '?')
	for name, c := range map[string]struct {
		bytes []byte
		code  uint16
	}{
		"501 wrong frame end":               {badEnd, 501},
		"501 unknown frame type":            {[]byte{9, 0, 1, 0, 0, 0, 0, wire.FrameEnd}, 501},
		"501 frame too large":               {wire.AppendFrameStart(nil, wire.FrameBody, 1, 200000), 501},
		"501 body longer than announced":    {bytes.Join([][]byte{publish, header(60, 4), body}, nil), 501},
		"502 arguments cut short":           {raw(1, 0, 60, 0, 20, 0, 0, 5, 'q'), 502},
		"502 arguments left over":           {raw(1, 0, 90, 0, 10, 1), 502},
		"502 unknown table tag":             {badTag, 502},
		"502 malformed properties":          {append(bytes.Clone(publish), wire.AppendHeader(nil, 1, 60, 0, []byte{0x80, 0, 9, 'x'})...), 502},
		"503 server's method":               {method(1, &wire.BasicDeliver{}), 503},
		"503 channel method on 0":           {method(0, &wire.QueueDeclare{}), 503},
		"503 connection method on 1":        {method(1, &wire.ConnectionOpen{}), 503},
		"504 channel not open":              {method(2, &wire.BasicQos{}), 504},
		"504 content on a closed channel":   {wire.AppendBody(nil, 2, []byte("x"), 4096), 504},
		"504 second open":                   {method(1, &wire.ChannelOpen{}), 504},
		"504 handshake again":               {method(0, &wire.ConnectionTuneOk{}), 504},
		"505 heartbeat on a channel":        {[]byte{8, 0, 5, 0, 0, 0, 0, wire.FrameEnd}, 505},
		"505 header without publish":        {header(60, 4), 505},
		"505 body without header":           {body, 505},
		"505 body before header":            {append(bytes.Clone(publish), body...), 505},
		"505 method instead of header":      {append(bytes.Clone(publish), publish...), 505},
		"505 method instead of body":        {bytes.Join([][]byte{publish, header(60, 4), publish}, nil), 505},
		"505 header instead of body":        {bytes.Join([][]byte{publish, header(60, 4), header(60, 4)}, nil), 505},
		"505 header of another class":       {append(bytes.Clone(publish), header(50, 0)...), 505},
		"505 header with a weight":          {append(bytes.Clone(publish), weighted...), 505},
		"505 content on channel 0":          {wire.AppendBody(nil, 0, []byte("x"), 4096), 505},
		"530 channel above channel_max":     {method(3000, &wire.ChannelOpen{}), 530},
		"540 unknown method":                {raw(1, 0, 60, 0, 250), 540},
		"540 unknown class":                 {raw(1, 0, 99, 0, 10), 540},
		"540 immediate":                     {method(1, &wire.BasicPublish{Immediate: true}), 540},
		"540 prefetch_size":                 {method(1, &wire.BasicQos{PrefetchSize: 1}), 540},
		"540 recover without requeue":       {method(1, &wire.BasicRecover{}), 540},
		"540 recover-async without requeue": {method(1, &wire.BasicRecoverAsync{}), 540},
		"540 flow off":                      {method(1, &wire.ChannelFlow{}), 540},
	} {
		t.Run(name, func(t *testing.T) {
			p := d.peer(t, login{})
			p.open(1)
			p.write(c.bytes)
			p.wantClose(c.code)
		})
	}
	declare(t, d.channel(t), "still-serving")
}

// §1.13, §2.6: what ends the channel alone. The connection and other channels go on, and the number can be used again.
func TestChannelErrors(t *testing.T) {
	d := open(t)
	for name, c := range map[string]struct {
		method wire.Method
		code   uint16
		text   string
	}{
		"404 consume":             {&wire.BasicConsume{Queue: "none"}, 404, "NOT_FOUND - no queue 'none' in vhost '/'"},
		"404 get":                 {&wire.BasicGet{Queue: "none"}, 404, "NOT_FOUND - no queue 'none' in vhost '/'"},
		"404 purge":               {&wire.QueuePurge{Queue: "none"}, 404, "NOT_FOUND - no queue 'none' in vhost '/'"},
		"404 passive queue":       {&wire.QueueDeclare{Queue: "none", Passive: true}, 404, "NOT_FOUND - no queue 'none' in vhost '/'"},
		"404 passive exchange":    {&wire.ExchangeDeclare{Exchange: "none", Passive: true}, 404, "NOT_FOUND - no exchange 'none' in vhost '/'"},
		"404 bind":                {&wire.QueueBind{Queue: "none", Exchange: "amq.direct"}, 404, "NOT_FOUND - no queue 'none' in vhost '/'"},
		"404 no queue declared":   {&wire.BasicConsume{}, 404, "NOT_FOUND - no previously declared queue"},
		"403 amq. queue":          {&wire.QueueDeclare{Queue: "amq.mine"}, 403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"},
		"403 amq. exchange":       {&wire.ExchangeDeclare{Exchange: "amq.mine", Type: "direct"}, 403, ""},
		"403 default exchange":    {&wire.ExchangeDelete{}, 403, ""},
		"403 delete amq.topic":    {&wire.ExchangeDelete{Exchange: "amq.topic"}, 403, ""},
		"406 exchange type":       {&wire.ExchangeDeclare{Exchange: "x", Type: "x-delayed-message"}, 406, ""},
		"406 unknown tag":         {&wire.BasicAck{DeliveryTag: 7}, 406, "PRECONDITION_FAILED - unknown delivery tag 7"},
		"406 multiple too high":   {&wire.BasicNack{DeliveryTag: 7, Multiple: true}, 406, "PRECONDITION_FAILED - unknown delivery tag 7"},
		"406 reject":              {&wire.BasicReject{DeliveryTag: 1}, 406, "PRECONDITION_FAILED - unknown delivery tag 1"},
		"406 commit without tx":   {&wire.TxCommit{}, 406, "PRECONDITION_FAILED - channel is not transactional"},
		"406 rollback without tx": {&wire.TxRollback{}, 406, "PRECONDITION_FAILED - channel is not transactional"},
		"406 quorum, not durable": {&wire.QueueDeclare{Queue: "qq", Arguments: wire.Table{"x-queue-type": "quorum"}}, 406, ""},
		"406 queue type":          {&wire.QueueDeclare{Queue: "qq", Arguments: wire.Table{"x-queue-type": "odd"}}, 406, ""},
		"406 argument of quorum":  {&wire.QueueDeclare{Queue: "qq", Arguments: wire.Table{"x-delivery-limit": int32(3)}}, 406, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := d.peer(t, login{})
			p.open(1)
			p.open(2)
			p.send(1, c.method)
			m := p.wantChannelClose(1, c.code)
			if c.text != "" && m.ReplyText != c.text {
				t.Errorf("text %q, want %q", m.ReplyText, c.text)
			}
			if m.ClassID != c.method.ID().Class() || m.MethodID != c.method.ID().Method() {
				t.Errorf("close names method %d.%d, want %s", m.ClassID, m.MethodID, c.method.Name())
			}
			p.send(1, &wire.ChannelCloseOk{})
			p.open(1)
			p.send(2, &wire.BasicQos{})
			want[*wire.BasicQosOk](p, 2)
		})
	}
}

// §2.7: after an error the channel swallows whatever is still on its way, publishes with their bodies included, until close-ok.
func TestLateFramesOnAClosingChannel(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, &wire.BasicAck{DeliveryTag: 9})
	for range 10 {
		p.write(publication(1, "nowhere", "key", make([]byte, 10000), 4096))
	}
	p.send(1, &wire.QueueDeclare{Queue: "late"}, &wire.BasicAck{DeliveryTag: 10})
	p.wantChannelClose(1, 406)
	p.send(1, &wire.ChannelCloseOk{})
	p.open(1)
	p.send(1, &wire.QueueDeclare{Queue: "late", Passive: true})
	p.wantChannelClose(1, 404)
}

// §2.7: both ends close the channel at once.
func TestCrossingChannelClose(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, &wire.BasicAck{DeliveryTag: 9}, &wire.ChannelClose{ReplyCode: 200})
	p.wantChannelClose(1, 406)
	want[*wire.ChannelCloseOk](p, 1)
	p.send(1, &wire.ChannelCloseOk{})
	p.open(1)
}

// §1.1: a channel's number may be used again as soon as close-ok is there.
func TestChannelNumberIsReused(t *testing.T) {
	p := open(t).peer(t, login{})
	for range 100 {
		p.send(7, &wire.ChannelOpen{}, &wire.ChannelClose{ReplyCode: 200})
		want[*wire.ChannelOpenOk](p, 7)
		want[*wire.ChannelCloseOk](p, 7)
	}
}

// §2: a publish that is cut off by the end of the connection leaves nothing behind.
func TestHalfReceivedPublish(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "half")
	p := d.peer(t, login{})
	p.open(1)
	whole := publication(1, "", "half", make([]byte, 10000), 4096)
	p.write(whole[:len(whole)/2])
	p.send0Close()
	q := d.peer(t, login{})
	q.open(1)
	q.write(append(publication(1, "", "half", []byte("whole"), 4096), method(1, &wire.QueueDeclare{Queue: "half", Passive: true})...))
	if m := want[*wire.QueueDeclareOk](q, 1); m.MessageCount != 1 {
		t.Fatalf("%d messages, want the whole one", m.MessageCount)
	}
}

// send0Close cuts the connection.
func (p *peer) send0Close() { _ = p.nc.Close() }

// §2: two channels publish with their frames mixed.
func TestInterleavedChannels(t *testing.T) {
	d := open(t)
	ch := d.channel(t)
	declare(t, ch, "mixed")
	p := d.peer(t, login{frameMax: 4096})
	p.open(1)
	p.open(2)
	a, b := bytes.Repeat([]byte("a"), 20000), bytes.Repeat([]byte("b"), 20000)
	one, two := frames(t, publication(1, "", "mixed", a, 4096)), frames(t, publication(2, "", "mixed", b, 4096))
	var mixed []byte
	for i := range one {
		mixed = append(append(mixed, one[i]...), two[i]...)
	}
	p.write(mixed)
	ds := value(ch.Consume("mixed", "", true, false, false, false, nil))(t)
	for _, want := range [][]byte{a, b} {
		if got := next(t, ds); !bytes.Equal(got.Body, want) {
			t.Fatalf("body of %d octets beginning %q", len(got.Body), got.Body[:1])
		}
	}
}

// frames cuts a byte string at its frames.
func frames(t testing.TB, b []byte) [][]byte {
	t.Helper()
	var all [][]byte
	r := wire.NewReader(bytes.NewReader(b), 131072)
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return all
		}
		all = append(all, wire.AppendFrame(nil, f))
	}
}

// §2.19: bodies around the frame size, to and from connections with different ones. The peer fails on a frame above what it negotiated.
func TestFrameMaxIsKept(t *testing.T) {
	d := open(t)
	for name, max := range map[string][2]uint32{"least to most": {4096, 131072}, "most to least": {131072, 4096}} {
		t.Run(name, func(t *testing.T) {
			from, to := d.peer(t, login{frameMax: max[0]}), d.peer(t, login{frameMax: max[1]})
			from.open(1)
			to.open(1)
			to.send(1, &wire.QueueDeclare{Exclusive: true})
			q := want[*wire.QueueDeclareOk](to, 1).Queue
			to.send(1, &wire.BasicConsume{NoAck: true})
			want[*wire.BasicConsumeOk](to, 1)
			for _, size := range []int{0, 1, 4087, 4088, 4089, 2 * 4088, 3*4088 + 1, 131064, 131065, 2 * 131064, 300000} {
				body := bytes.Repeat([]byte{byte(size)}, size)
				from.write(publication(1, "", q, body, max[0]))
				if m := want[*wire.BasicDeliver](to, 1); m.RoutingKey != q || m.Exchange != "" || m.Redelivered {
					t.Fatalf("deliver %+v", m)
				}
				if _, got := to.content(1); !bytes.Equal(got, body) {
					t.Fatalf("body of %d octets came as %d", size, len(got))
				}
			}
		})
	}
}

// §2.19: a header that does not fit into a frame of the consumer comes without its table.
func TestLargeHeadersToASmallFrame(t *testing.T) {
	d := open(t)
	from, to := d.peer(t, login{}), d.peer(t, login{frameMax: 4096})
	from.open(1)
	to.open(1)
	to.send(1, &wire.QueueDeclare{Exclusive: true})
	q := want[*wire.QueueDeclareOk](to, 1).Queue
	p := wire.Properties{ContentType: "text/plain", Headers: wire.Table{"large": string(make([]byte, 10000))}}
	b := method(1, &wire.BasicPublish{RoutingKey: q})
	from.write(wire.AppendHeader(b, 1, wire.ClassBasic, 0, p.Append(nil)))
	to.send(1, &wire.BasicConsume{NoAck: true})
	want[*wire.BasicConsumeOk](to, 1)
	want[*wire.BasicDeliver](to, 1)
	got, _ := to.content(1)
	back, err := wire.DecodeProperties(got)
	must(t, err)
	if back.ContentType != "text/plain" || len(back.Headers) != 0 {
		t.Fatalf("properties %+v", back)
	}
}

// §1.6: above the limit the channel ends, the body is swallowed, the connection goes on.
func TestMessageAboveTheLimit(t *testing.T) {
	d := open(t)
	p := d.peer(t, login{})
	p.open(1)
	b := method(1, &wire.BasicPublish{RoutingKey: "q"})
	p.write(wire.AppendHeader(b, 1, wire.ClassBasic, uint64(d.gateway.MaxMessage())+1, nil))
	p.write(wire.AppendBody(nil, 1, make([]byte, 500000), 131072))
	p.wantChannelClose(1, 406)
	p.send(1, &wire.ChannelCloseOk{})
	p.open(1)
}

// Bad input: whatever comes, the connection ends and the gateway goes on.
func TestHostileBytes(t *testing.T) {
	d := open(t)
	random := rand.NewChaCha8([32]byte{1})
	for range 50 {
		p := d.peer(t, login{})
		p.open(1)
		junk := make([]byte, 64)
		_, _ = random.Read(junk)
		for i, b := range [][]byte{junk, raw(1, junk...), raw(0, junk[:9]...), raw(1, append([]byte{0, 50, 0, 10}, junk...)...)} {
			if i == int(junk[0])%4 {
				p.write(b)
			}
		}
		_ = p.nc.(interface{ CloseWrite() error }).CloseWrite()
		must(t, p.nc.SetReadDeadline(time.Now().Add(patience)))
		for {
			if _, err := p.in.ReadFrame(); err != nil {
				break
			}
		}
		_ = p.nc.Close()
	}
	declare(t, d.channel(t), "unharmed")
}

// §1.1: access.request, channel.flow on.
func TestSmallAnswers(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	p.send(1, &wire.AccessRequest{Realm: "/data"})
	if m := want[*wire.AccessRequestOk](p, 1); m.Ticket != 1 {
		t.Errorf("ticket %d", m.Ticket)
	}
	p.send(1, &wire.ChannelFlow{Active: true})
	if m := want[*wire.ChannelFlowOk](p, 1); !m.Active {
		t.Error("flow is off")
	}
}

// §1.1: connection.update-secret logs in again.
func TestUpdateSecret(t *testing.T) {
	d := open(t)
	p := d.peer(t, login{})
	p.send(0, &wire.ConnectionUpdateSecret{NewSecret: "guest"})
	want[*wire.ConnectionUpdateSecretOk](p, 0)
	p.send(0, &wire.ConnectionUpdateSecret{NewSecret: "wrong"})
	p.wantClose(wire.NotAllowed)
}
