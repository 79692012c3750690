package differential

import (
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"portico/adapters/amqp/wire"
)

// An outcome is one operation of a script and what came of it, as a line of text that is the same for servers that behave the same.
type outcome struct{ op, got string }

// A session is one run of a script against one server. One goroutine uses it.
type session struct {
	addr      string
	conns     map[string]*conn
	queues    map[string]bool // declared: removed at the end
	exchanges map[string]bool
	outcomes  []outcome
	seen      map[string]int // operations by label, to tell repetitions apart
}

// run runs a script against the server at addr and returns what it noted. It leaves no objects behind.
func run(addr string, script func(*session)) []outcome {
	s := &session{addr: addr, conns: map[string]*conn{}, queues: map[string]bool{}, exchanges: map[string]bool{}, seen: map[string]int{}}
	script(s)
	s.cleanUp()
	return s.outcomes
}

// note adds an outcome. An operation that was there before gets a number.
func (s *session) note(op, got string) {
	op = normal(op)
	s.seen[op]++
	if n := s.seen[op]; n > 1 {
		op = fmt.Sprintf("%s (%d)", op, n)
	}
	s.outcomes = append(s.outcomes, outcome{op: op, got: normal(got)})
}

// open gives a channel by its connection's letter and its number, such as a1.
func (s *session) open(name string) *channel {
	c := s.conn(name[:1])
	id := uint16(name[1] - '0')
	if c.channels[id] == nil {
		c.channels[id] = &channel{conn: c, id: id}
	}
	return c.channels[id]
}

func (s *session) conn(name string) *conn {
	if s.conns[name] == nil {
		s.conns[name] = &conn{s: s, name: name, ended: "not yet open", channels: map[uint16]*channel{}}
	}
	return s.conns[name]
}

// A trial is something that has a connection to itself.
type trial struct {
	what string
	run  func() string
}

// together runs trials at the same time, since servers let some of them wait, and notes their outcomes in order.
func (s *session) together(trials []trial) {
	got := make([]string, len(trials))
	var wg sync.WaitGroup
	for i, t := range trials {
		wg.Go(func() { got[i] = t.run() })
	}
	wg.Wait()
	for i, t := range trials {
		s.note(t.what, got[i])
	}
}

// login tells how far a handshake comes.
func (s *session) login(l login) string {
	c := &conn{s: s, channels: map[uint16]*channel{}}
	c.dial(l)
	defer c.hangUp()
	if c.ended != "" {
		return c.ended
	}
	return "open"
}

// octets tells what a fresh connection with channel 1 open answers to octets that should end it.
func (s *session) octets(octets []byte) string {
	c := &conn{s: s, ended: "not yet open", channels: map[uint16]*channel{}}
	ch, witness := &channel{conn: c, id: 1}, &channel{conn: c, id: 77}
	c.channels[1], c.channels[77] = ch, witness
	ch.ready()
	defer c.hangUp()
	c.write(octets)
	witness.ready() // when it opens the server has read everything
	for limit := time.Now().Add(3 * quiet); ch.closed == "" && c.read(limit); {
	}
	switch {
	case c.ended != "":
		return c.ended
	case ch.closed != "":
		return ch.closed
	}
	return "still open"
}

// header tells what eight octets that are no protocol header are answered with.
func (s *session) header(octets string) string {
	sock, err := net.Dial("tcp", s.addr)
	if err != nil {
		return err.Error()
	}
	defer sock.Close()
	_ = sock.SetDeadline(time.Now().Add(patience))
	_, _ = sock.Write([]byte(octets))
	answer, _ := io.ReadAll(sock)
	return quote(string(answer))
}

// tune notes what the server offers, and what it says of itself that clients act upon.
func (s *session) tune() {
	c := &conn{s: s, channels: map[uint16]*channel{}}
	c.dial(login{tune: func(ok *wire.ConnectionTuneOk) {
		s.note("connection.tune", fmt.Sprintf("channel_max=%d frame_max=%d", ok.ChannelMax, ok.FrameMax))
	}, greeted: func(m *wire.ConnectionStart) {
		s.note("connection.start", fmt.Sprintf("%d-%d %q %q %v %s", m.VersionMajor, m.VersionMinor, slices.Sorted(strings.FieldsSeq(m.Mechanisms)), m.Locales,
			m.ServerProperties["product"], value(m.ServerProperties["capabilities"])))
	}})
	c.hangUp()
}

// close says goodbye and waits for the answer.
func (c *conn) close() {
	c.send(0, &wire.ConnectionClose{ReplyCode: wire.ReplySuccess, ReplyText: "bye"})
	got := "ok"
	if c.controlMethod(wire.IDConnectionCloseOk) == nil {
		got = c.ended
	}
	c.s.note(c.name+" connection.close", got)
	c.hangUp()
}

// cut ends the connection without a word.
func (c *conn) cut() {
	c.s.note(c.name+" cut", "ok")
	c.hangUp()
}

func (c *conn) hangUp() {
	if c.sock != nil {
		if tcp, ok := c.sock.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		c.end("hung up")
	}
}

func (s *session) cleanUp() {
	for _, c := range s.conns {
		c.hangUp()
	}
	c := &conn{s: &session{}, ended: "not yet open", channels: map[uint16]*channel{}}
	c.s.addr = s.addr
	ch := &channel{conn: c, id: 1}
	c.channels[1] = ch
	for _, q := range slices.Sorted(maps.Keys(s.queues)) {
		ch.ready()
		ch.roundTrip(&wire.QueueDelete{Queue: q})
	}
	for _, x := range slices.Sorted(maps.Keys(s.exchanges)) {
		if x != "" && !strings.HasPrefix(x, "amq.") {
			ch.ready()
			ch.roundTrip(&wire.ExchangeDelete{Exchange: x})
		}
	}
	c.hangUp()
}
