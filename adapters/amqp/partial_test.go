package amqp_test

import (
	"testing"

	"portico/adapters/amqp/wire"
)

// TestPartialBodiesAreBounded: what a connection may send of messages that it does not finish has a bound for all of its channels together.
func TestPartialBodiesAreBounded(t *testing.T) {
	p := open(t).peer(t, login{})
	const channels, announced, sent = 3, 16 << 20, 12 << 20
	chunk := wire.AppendFrame(nil, wire.Frame{Type: wire.FrameBody, Channel: 1, Payload: make([]byte, 128<<10-64)})
	for channel := uint16(1); channel <= channels; channel++ {
		p.open(channel)
		b := wire.AppendMethod(nil, channel, &wire.BasicPublish{RoutingKey: "nowhere"})
		p.write(wire.AppendHeader(b, channel, wire.ClassBasic, announced, []byte{0, 0}))
		chunk[1], chunk[2] = byte(channel>>8), byte(channel)
		for n := 0; n < sent; n += len(chunk) {
			if _, err := p.nc.Write(chunk); err != nil {
				break // the door has hung up, and has said why
			}
		}
	}
	if m := want[*wire.ConnectionClose](p, 0); m.ReplyCode != wire.ResourceError {
		t.Errorf("closed with %d %q, want 506", m.ReplyCode, m.ReplyText)
	}
}

// TestManyLargeMessages: bodies that do come whole give their place back, on whatever channel.
func TestManyLargeMessages(t *testing.T) {
	p := open(t).peer(t, login{})
	p.open(1)
	body := make([]byte, 3<<20)
	for range 14 {
		p.write(publication(1, "", "nowhere", body, p.max))
	}
	p.send(1, &wire.ConfirmSelect{})
	want[*wire.ConfirmSelectOk](p, 1)
}
