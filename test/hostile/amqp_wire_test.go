package hostile

import (
	"fmt"
	"net"
	"testing"

	"portico/adapters/amqp/wire"
)

// rabbit is an AMQP connection of which every octet is ours.
type rabbit struct {
	net.Conn
	in *wire.Reader
}

// dialAMQP opens a connection, with channel 1 on it.
func dialAMQP(t testing.TB, address string, client wire.Table) *rabbit {
	t.Helper()
	r := &rabbit{Conn: dialRaw(t, address)}
	r.in = wire.NewReader(r.Conn, 131072)
	r.raw(wire.ProtocolHeader[:])
	expect[*wire.ConnectionStart](t, r)
	r.method(0, &wire.ConnectionStartOk{ClientProperties: client, Mechanism: "PLAIN", Response: "\x00guest\x00guest", Locale: "en_US"})
	expect[*wire.ConnectionTune](t, r)
	r.method(0, &wire.ConnectionTuneOk{ChannelMax: 2047, FrameMax: 131072})
	r.method(0, &wire.ConnectionOpen{VirtualHost: "/"})
	expect[*wire.ConnectionOpenOk](t, r)
	r.method(1, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOk](t, r)
	return r
}

func (r *rabbit) raw(b []byte) { _, _ = r.Write(b) } // who reads notices

func (r *rabbit) method(channel uint16, m wire.Method) {
	r.raw(wire.AppendMethod(nil, channel, m))
}

// next is the next method, whatever content there is in between.
func (r *rabbit) next() (wire.Method, error) {
	for {
		f, err := r.in.ReadFrame()
		if err != nil {
			return nil, err
		}
		if f.Type == wire.FrameMethod {
			return wire.DecodeMethod(f.Payload)
		}
	}
}

func expect[M wire.Method](t testing.TB, r *rabbit) M {
	t.Helper()
	m, err := r.next()
	must(t, err)
	got, ok := m.(M)
	if !ok {
		var want M
		t.Fatalf("got %s %+v, want %T", m.Name(), m, want)
	}
	return got
}

// verdict is the exception that the server raises next: "connection 501", "channel 406", or why there is none.
func (r *rabbit) verdict() string {
	for {
		m, err := r.next()
		if err != nil {
			return err.Error()
		}
		switch m := m.(type) {
		case *wire.ConnectionClose:
			r.method(0, &wire.ConnectionCloseOk{})
			return fmt.Sprintf("connection %d", m.ReplyCode)
		case *wire.ChannelClose:
			r.method(1, &wire.ChannelCloseOk{})
			return fmt.Sprintf("channel %d", m.ReplyCode)
		}
	}
}
