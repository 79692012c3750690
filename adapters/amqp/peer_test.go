package amqp_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"portico/adapters/amqp/wire"
)

// peer is a client made of the codec alone: it can say what no client library would.
type peer struct {
	t   testing.TB
	nc  net.Conn
	in  *wire.Reader
	max uint32
}

// connect opens a TCP connection and sends nothing.
func (d *door) connect(t testing.TB) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", d.addr)
	must(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	must(t, nc.SetDeadline(time.Now().Add(patience)))
	return &peer{t: t, nc: nc, in: wire.NewReader(nc, 131072), max: 131072}
}

// login is a handshake's parameters; the zero value logs in as guest with the offered limits and no heartbeat.
type login struct {
	mechanism, response string
	capabilities        wire.Table
	frameMax            uint32
	channelMax          uint16
	heartbeat           uint16
	vhost               string
}

func (l login) startOk() *wire.ConnectionStartOk {
	if l.mechanism == "" {
		l.mechanism = "PLAIN"
	}
	if l.response == "" {
		l.response = "\x00guest\x00guest"
	}
	return &wire.ConnectionStartOk{
		ClientProperties: wire.Table{"capabilities": l.capabilities}, Mechanism: l.mechanism, Response: l.response, Locale: "en_US",
	}
}

// peer opens a connection and goes through the handshake.
func (d *door) peer(t testing.TB, l login) *peer {
	t.Helper()
	p := d.connect(t)
	p.write(wire.ProtocolHeader[:])
	want[*wire.ConnectionStart](p, 0)
	p.send(0, l.startOk())
	offer := want[*wire.ConnectionTune](p, 0)
	ok := &wire.ConnectionTuneOk{ChannelMax: offer.ChannelMax, FrameMax: offer.FrameMax, Heartbeat: l.heartbeat}
	if l.frameMax != 0 {
		ok.FrameMax, p.max = l.frameMax, l.frameMax
	}
	if l.channelMax != 0 {
		ok.ChannelMax = l.channelMax
	}
	p.send(0, ok)
	if l.vhost == "" {
		l.vhost = "/"
	}
	p.send(0, &wire.ConnectionOpen{VirtualHost: l.vhost})
	want[*wire.ConnectionOpenOk](p, 0)
	return p
}

// open opens a channel.
func (p *peer) open(channel uint16) {
	p.t.Helper()
	p.send(channel, &wire.ChannelOpen{})
	want[*wire.ChannelOpenOk](p, channel)
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.nc.Write(b); err != nil {
		p.t.Fatalf("write: %v", err)
	}
}

func (p *peer) send(channel uint16, ms ...wire.Method) {
	p.t.Helper()
	var b []byte
	for _, m := range ms {
		b = wire.AppendMethod(b, channel, m)
	}
	p.write(b)
}

// publication is a whole publish in frames of at most frameMax.
func publication(channel uint16, exchange, key string, body []byte, frameMax uint32) []byte {
	b := wire.AppendMethod(nil, channel, &wire.BasicPublish{Exchange: exchange, RoutingKey: key})
	b = wire.AppendHeader(b, channel, wire.ClassBasic, uint64(len(body)), nil)
	return wire.AppendBody(b, channel, body, frameMax)
}

// frame returns the next frame that is no heartbeat. Its payload is a copy.
func (p *peer) frame() wire.Frame {
	p.t.Helper()
	for {
		f, err := p.in.ReadFrame()
		if err != nil {
			p.t.Fatalf("read: %v", err)
		}
		if size := uint32(len(f.Payload)) + wire.FrameOverhead; size > p.max {
			p.t.Fatalf("frame of %d octets, negotiated were %d", size, p.max)
		}
		if f.Type != wire.FrameHeartbeat {
			f.Payload = append([]byte(nil), f.Payload...)
			return f
		}
	}
}

// want returns the next frame's method, which must be an M on that channel.
func want[M wire.Method](p *peer, channel uint16) M {
	p.t.Helper()
	f := p.frame()
	if f.Type != wire.FrameMethod || f.Channel != channel {
		p.t.Fatalf("frame is %s, want %T on channel %d", wire.Trace(f), *new(M), channel)
	}
	m, err := wire.DecodeMethod(f.Payload)
	must(p.t, err)
	got, ok := m.(M)
	if !ok {
		p.t.Fatalf("method is %s, want %T", wire.Trace(f), *new(M))
	}
	return got
}

// content reads a header and its body frames.
func (p *peer) content(channel uint16) (raw, body []byte) {
	p.t.Helper()
	f := p.frame()
	if f.Type != wire.FrameHeader || f.Channel != channel {
		p.t.Fatalf("frame is %s, want a header on channel %d", wire.Trace(f), channel)
	}
	_, size, raw, err := wire.DecodeHeader(f.Payload)
	must(p.t, err)
	for uint64(len(body)) < size {
		f := p.frame()
		if f.Type != wire.FrameBody || f.Channel != channel {
			p.t.Fatalf("frame is %s, want a body on channel %d", wire.Trace(f), channel)
		}
		body = append(body, f.Payload...)
	}
	return raw, body
}

// wantClose fails unless the server closes the connection with code; it answers close-ok and sees the socket end.
func (p *peer) wantClose(code uint16) *wire.ConnectionClose {
	p.t.Helper()
	m := want[*wire.ConnectionClose](p, 0)
	if m.ReplyCode != code {
		p.t.Fatalf("connection closed with %d %q, want %d", m.ReplyCode, m.ReplyText, code)
	}
	p.send(0, &wire.ConnectionCloseOk{})
	p.wantEnd()
	return m
}

// wantChannelClose fails unless the server closes the channel with code; close-ok is not sent.
func (p *peer) wantChannelClose(channel, code uint16) *wire.ChannelClose {
	p.t.Helper()
	m := want[*wire.ChannelClose](p, channel)
	if m.ReplyCode != code {
		p.t.Fatalf("channel closed with %d %q, want %d", m.ReplyCode, m.ReplyText, code)
	}
	return m
}

// wantEnd fails unless the socket ends without another frame.
func (p *peer) wantEnd() {
	p.t.Helper()
	f, err := p.in.ReadFrame()
	if err == nil {
		p.t.Fatalf("frame %s, want the end", wire.Trace(f))
	}
	var timeout net.Error
	if !errors.Is(err, io.EOF) && errors.As(err, &timeout) && timeout.Timeout() {
		p.t.Fatalf("the socket is still open: %v", err)
	}
}

func declareExclusive(name string) *wire.QueueDeclare {
	return &wire.QueueDeclare{Queue: name, Exclusive: true}
}

// wantDeclared reads queue.declare-ok on channel 1.
func wantDeclared(p *peer) *wire.QueueDeclareOk {
	p.t.Helper()
	return want[*wire.QueueDeclareOk](p, 1)
}
