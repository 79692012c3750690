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
