package amqp_test

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"portico/adapters/amqp"
	"portico/adapters/amqp/wire"
	"portico/core/coretest"
)

// §1.1: any other header is answered with the one that is spoken here.
func TestHandshakeAnswersABadHeader(t *testing.T) {
	d := open(t)
	for name, header := range map[string]string{
		"probe": "HELO\r\n\r\n", "1.0": "AMQP\x00\x01\x00\x00", "sasl 1.0": "AMQP\x03\x01\x00\x00", "http": "GET / HT", "tls": "\x16\x03\x01\x02\x00\x01\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			p := d.connect(t)
			p.write([]byte(header))
			got, err := io.ReadAll(p.nc)
			must(t, err)
			if string(got) != string(wire.ProtocolHeader[:]) {
				t.Fatalf("answer is %q", got)
			}
		})
	}
}

// §1.1: 0-9 is spoken, too.
func TestHandshakeTakesHeader09(t *testing.T) {
	p := open(t).connect(t)
	p.write([]byte{'A', 'M', 'Q', 'P', 1, 1, 0, 9})
	if m := want[*wire.ConnectionStart](p, 0); m.VersionMajor != 0 || m.VersionMinor != 9 {
		t.Fatalf("version %d-%d", m.VersionMajor, m.VersionMinor)
	}
}

// §1.3: clients choose their behaviour by these.
func TestHandshakeServerProperties(t *testing.T) {
	p := open(t).connect(t)
	p.write(wire.ProtocolHeader[:])
	m := want[*wire.ConnectionStart](p, 0)
	if m.ServerProperties["product"] != "RabbitMQ" || m.ServerProperties["version"] != "3.13.7" {
		t.Errorf("product %v %v", m.ServerProperties["product"], m.ServerProperties["version"])
	}
	if s, _ := m.ServerProperties["platform"].(string); !strings.Contains(s, "Portico") {
		t.Errorf("platform %q does not say who this is", s)
	}
	capabilities, _ := m.ServerProperties["capabilities"].(wire.Table)
	for _, name := range []string{
		"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify", "connection.blocked",
		"authentication_failure_close", "consumer_priorities", "per_consumer_qos", "direct_reply_to",
	} {
		if capabilities[name] != true {
			t.Errorf("capability %s is missing", name)
		}
	}
	if m.Mechanisms != "PLAIN AMQPLAIN" || m.Locales != "en_US" {
		t.Errorf("mechanisms %q, locales %q", m.Mechanisms, m.Locales)
	}
}

// §1.2: PLAIN and AMQPLAIN.
func TestHandshakeMechanisms(t *testing.T) {
	d := open(t)
	amqplain, err := wire.AppendTable(nil, wire.Table{"LOGIN": "guest", "PASSWORD": "guest"})
	must(t, err)
	for name, l := range map[string]login{
		"PLAIN":    {},
		"AMQPLAIN": {mechanism: "AMQPLAIN", response: string(amqplain[4:])},
	} {
		t.Run(name, func(t *testing.T) { d.peer(t, l).open(1) })
	}
}

// §1.1: methods out of turn, and frames above the least frame-max before tune-ok.
func TestHandshakeOutOfTurn(t *testing.T) {
	d := open(t)
	for name, c := range map[string]struct {
		bytes []byte
		code  uint16
	}{
		"open before start-ok": {wire.AppendMethod(nil, 0, &wire.ConnectionOpen{VirtualHost: "/"}), 504},
		"channel method":       {wire.AppendMethod(nil, 1, &wire.ChannelOpen{}), 505},
		"large frame":          {wire.AppendFrameStart(nil, wire.FrameMethod, 0, 5000), 501},
		"unknown method":       {wire.AppendFrame(nil, wire.Frame{Type: wire.FrameMethod, Payload: []byte{0, 10, 0, 99}}), 540},
	} {
		t.Run(name, func(t *testing.T) {
			p := d.connect(t)
			p.write(append(wire.ProtocolHeader[:], c.bytes...))
			want[*wire.ConnectionStart](p, 0)
			p.wantClose(c.code)
		})
	}
}

// §1.1: handshake_timeout.
func TestHandshakeTimeout(t *testing.T) {
	t.Parallel()
	d := serve(t, coretest.Start(t), amqp.Config{HandshakeTimeout: 50 * time.Millisecond})
	p := d.connect(t)
	p.write(wire.ProtocolHeader[:])
	want[*wire.ConnectionStart](p, 0)
	p.wantEnd()
}

// §1.1: the server sends heartbeats, and drops a client that sends nothing for two intervals.
func TestHeartbeats(t *testing.T) {
	t.Parallel()
	d := open(t)
	p := d.peer(t, login{heartbeat: 1})
	beats := 0
	for {
		f, err := p.in.ReadFrame()
		if err != nil {
			break
		}
		if f.Type != wire.FrameHeartbeat || f.Channel != 0 {
			t.Fatalf("frame %s", wire.Trace(f))
		}
		beats++
	}
	if beats < 1 || beats > 5 {
		t.Errorf("%d heartbeats in two seconds", beats)
	}
}

// §1.1: a client that sends heartbeats, or anything, lives on.
func TestHeartbeatsKeepAlive(t *testing.T) {
	t.Parallel()
	d := open(t)
	p := d.peer(t, login{heartbeat: 1})
	p.open(1)
	for range 6 {
		<-time.After(500 * time.Millisecond)
		p.write(wire.AppendHeartbeat(nil))
	}
	p.send(1, &wire.BasicQos{PrefetchCount: 1})
	want[*wire.BasicQosOk](p, 1)
}

// Config: wrong values are errors before anything is opened.
func TestConfigIsChecked(t *testing.T) {
	g := coretest.Start(t)
	for name, cfg := range map[string]amqp.Config{
		"frame_max": {Listen: "127.0.0.1:0", FrameMax: 100},
		"heartbeat": {Listen: "127.0.0.1:0", Heartbeat: 100000 * time.Second},
		"listen":    {Listen: "127.0.0.1:-5"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := amqp.New(cfg, g, nil)
			if err == nil {
				_ = a.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(fmt.Sprint(err), "amqp") {
				t.Errorf("error %q does not name the door", err)
			}
		})
	}
}
