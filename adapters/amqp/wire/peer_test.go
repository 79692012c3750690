package wire_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"portico/adapters/amqp/wire"
)

// answer is what the peer does on a method, once its content has arrived.
type answer func(p *peer, channel uint16, m wire.Method)

// peer plays the server of one conversation with this codec, and writes down
// every frame of both sides. All of it belongs to the goroutine of serve until
// done is closed.
type peer struct {
	conn     net.Conn
	frames   *wire.Reader
	frameMax uint32
	answers  map[wire.MethodID]answer
	lines    strings.Builder

	waiting   wire.Method // has content still to come
	remaining uint64

	done chan struct{}
	err  error
}

// talk runs a conversation of a real client with a peer that has these answers,
// beside those that every conversation needs, and returns the transcript.
func talk(t *testing.T, answers map[wire.MethodID]answer, client func(t *testing.T, conn *amqp.Connection)) string {
	t.Helper()
	server, dialled := net.Pipe()
	p := &peer{conn: server, frames: wire.NewReader(server, wire.FrameMinSize), frameMax: wire.FrameMinSize, answers: answers, done: make(chan struct{})}
	go p.serve()
	conn, err := amqp.Open(dialled, amqp.Config{
		SASL:       []amqp.Authentication{&amqp.PlainAuth{Username: "guest", Password: "secret"}},
		Vhost:      "/",
		Properties: amqp.Table{"product": "transcript"},
		Locale:     "en_US",
	})
	if err != nil {
		t.Fatal(err)
	}
	client(t, conn)
	if err := conn.Close(); err != nil && !errors.Is(err, amqp.ErrClosed) {
		t.Errorf("close: %v", err)
	}
	<-p.done
	if p.err != nil {
		t.Error(p.err)
	}
	return p.lines.String()
}

// golden compares a transcript with the committed one.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".trace")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("transcript differs from %s (rewrite with -update)\n%s", path, difference(got, string(want)))
	}
}

// difference is the first line where two transcripts part.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\ngot  %s\nwant %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// serve ends when the client hangs up.
func (p *peer) serve() {
	defer close(p.done)
	defer p.conn.Close()
	h, err := p.frames.ReadProtocolHeader()
	if err != nil || h != wire.ProtocolHeader {
		p.err = fmt.Errorf("protocol header %q: %w", h, err)
		return
	}
	p.send(0, &wire.ConnectionStart{
		VersionMinor:     9,
		ServerProperties: wire.Table{"product": "Portico", "capabilities": wire.Table{"basic.nack": true}},
		Mechanisms:       "PLAIN AMQPLAIN",
		Locales:          "en_US",
	})
	for p.err == nil {
		f, err := p.frames.ReadFrame()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrClosedPipe) {
				p.err = fmt.Errorf("read frame: %w", err)
			}
			return
		}
		p.write("C", f)
		p.err = p.receive(f)
	}
}

func (p *peer) write(who string, f wire.Frame) {
	fmt.Fprintf(&p.lines, "%s %s\n", who, wire.Trace(f))
}

func (p *peer) receive(f wire.Frame) error {
	switch f.Type {
	case wire.FrameMethod:
		m, err := wire.DecodeMethod(f.Payload)
		if err != nil {
			return err
		}
		if m.ID().HasContent() {
			p.waiting = m
			return nil
		}
		p.answer(f.Channel, m)
		return nil
	case wire.FrameHeader:
		class, size, raw, err := wire.DecodeHeader(f.Payload)
		if err != nil {
			return err
		}
		if class != p.waiting.ID().Class() {
			return fmt.Errorf("header of class %d after %s", class, p.waiting.Name())
		}
		if err := wire.PropertiesValid(raw); err != nil {
			return err
		}
		p.remaining = size
	case wire.FrameBody:
		p.remaining -= uint64(len(f.Payload))
	}
	if p.waiting != nil && p.remaining == 0 {
		m := p.waiting
		p.waiting = nil
		p.answer(f.Channel, m)
	}
	return nil
}

// answer takes the conversation's own answer before the usual one.
func (p *peer) answer(channel uint16, m wire.Method) {
	if a := p.answers[m.ID()]; a != nil {
		a(p, channel, m)
		return
	}
	switch m := m.(type) {
	case *wire.ConnectionStartOk:
		p.send(0, &wire.ConnectionTune{ChannelMax: 2047, FrameMax: p.frameMax})
	case *wire.ConnectionTuneOk:
		p.frames.SetMax(m.FrameMax)
	case *wire.ConnectionOpen:
		p.send(0, &wire.ConnectionOpenOk{})
	case *wire.ConnectionClose:
		p.send(0, &wire.ConnectionCloseOk{})
	case *wire.ChannelOpen:
		p.send(channel, &wire.ChannelOpenOk{})
	case *wire.ChannelClose:
		p.send(channel, &wire.ChannelCloseOk{})
	case *wire.QueueDeclare:
		p.send(channel, &wire.QueueDeclareOk{Queue: m.Queue, MessageCount: 2, ConsumerCount: 1})
	}
}

// send sends methods, each a frame.
func (p *peer) send(channel uint16, ms ...wire.Method) {
	var octets []byte
	for _, m := range ms {
		octets = wire.AppendMethod(octets, channel, m)
	}
	p.sendOctets(octets)
}

// sendContent sends a method with a message behind it.
func (p *peer) sendContent(channel uint16, m wire.Method, props wire.Properties, body []byte) {
	octets := wire.AppendMethod(nil, channel, m)
	octets = wire.AppendHeader(octets, channel, m.ID().Class(), uint64(len(body)), props.Append(nil))
	p.sendOctets(wire.AppendBody(octets, channel, body, p.frameMax))
}

// sendOctets writes whole frames, and writes them down.
func (p *peer) sendOctets(octets []byte) {
	own := wire.NewReader(strings.NewReader(string(octets)), p.frameMax)
	for own.Buffered() > 0 || len(octets) > 0 {
		f, err := own.ReadFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p.err = err
			return
		}
		p.write("S", f)
	}
	if _, err := p.conn.Write(octets); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		p.err = fmt.Errorf("write: %w", err)
	}
}

// with answers by sending these methods.
func with(ms ...wire.Method) answer {
	return func(p *peer, channel uint16, _ wire.Method) { p.send(channel, ms...) }
}
