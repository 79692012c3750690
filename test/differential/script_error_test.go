package differential

import (
	"bytes"
	"encoding/binary"
	"strings"

	"portico/adapters/amqp/wire"
)

// errorScript: one operation for every kind of error that a channel survives its connection with, and the channel's number used again after each.
func errorScript(s *session) {
	c, d, p := s.open("c1"), s.open("d1"), s.open("p1")
	p.confirm()
	c.queue("error.q", "")
	for _, queue := range []string{"error.none", ""} {
		c.bind(queue, "amq.direct", "k")
		c.bind(queue, "error.nox", "k")
		c.consume(queue, "t", "")
		c.get(queue, "")
		c.purge(queue)
		c.count(queue)
		c.deleteQueue(queue, "")
		c.unbind(queue, "amq.direct", "k")
	}
	c.bind("error.q", "error.nox", "k")
	c.unbind("error.q", "error.nox", "k")
	c.exchange("error.nox", "direct", "passive")
	c.deleteExchange("error.nox", "if-unused")
	p.publish("error.nox", "k", msg{body: "x"})
	errorLate(c, d)
	errorNumbers(s)
	c.tell("channel.flow off", &wire.ChannelFlow{})
	d.get("error.q", "")
}

// errorLate: what is still on its way to a channel that is being closed is swallowed.
func errorLate(c, d *channel) {
	c.do("an error with more behind it", func() string {
		c.conn.send(c.id, &wire.QueueDeclare{Queue: "error.late", Passive: true})
		c.sendMessage("", "error.q", msg{body: "swallowed"})
		c.conn.send(c.id, &wire.BasicAck{DeliveryTag: 77})
		c.sendMessage("", "error.q", msg{body: strings.Repeat("swallowed, too ", 20000)})
		return c.barrier()
	})
	c.get("error.q", "noack")
	d.get("error.q", "noack")
}

// errorNumbers: channels of all numbers, and two of them interleaved.
func errorNumbers(s *session) {
	c := s.conn("n")
	for _, id := range []uint16{2047, 1024, 7} {
		ch := &channel{conn: c, id: id}
		c.channels[id] = ch
		ch.count("error.q")
		ch.count("error.none")
		ch.count("error.q")
		ch.close()
	}
	a, b := s.open("n1"), s.open("n2")
	a.ready()
	b.ready()
	a.do("publish in two parts, with another channel's in between", func() string {
		first := frames(1, "interleaved", 5)
		second := frames(2, "interleaved", 5)
		for i := range first {
			c.write(first[i])
			c.write(second[i])
		}
		return a.barrier() + b.barrier()
	})
	a.get("error.q", "noack")
	a.get("error.q", "noack")
}

// frames is a publish to error.q as frames, the body in n of them.
func frames(channel uint16, body string, n int) [][]byte {
	all := [][]byte{
		wire.AppendMethod(nil, channel, &wire.BasicPublish{RoutingKey: "error.q"}),
		wire.AppendHeader(nil, channel, wire.ClassBasic, uint64(len(body)*n), nil),
	}
	for range n {
		all = append(all, frame(wire.FrameBody, channel, []byte(body)))
	}
	return all
}

func frame(t wire.FrameType, channel uint16, payload []byte) []byte {
	return wire.AppendFrame(nil, wire.Frame{Type: t, Channel: channel, Payload: payload})
}

func method(channel uint16, m wire.Method) []byte { return wire.AppendMethod(nil, channel, m) }

// rawMethod is a method frame of any ids and arguments.
func rawMethod(channel, class, id uint16, args ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, class)
	b = binary.BigEndian.AppendUint16(b, id)
	return frame(wire.FrameMethod, channel, append(b, args...))
}

func header(channel, class uint16, size uint64, props ...byte) []byte {
	return wire.AppendHeader(nil, channel, class, size, props)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// frameScript: octets that no client library sends, each on a connection of its own.
func frameScript(s *session) {
	publish := method(1, &wire.BasicPublish{RoutingKey: "frame.none"})
	badEnd := method(1, &wire.ChannelFlow{Active: true})
	badEnd[len(badEnd)-1] = 0
	all := []struct {
		what   string
		octets []byte
	}{
		{"frame of an unknown type", []byte{9, 0, 1, 0, 0, 0, 0, wire.FrameEnd}},
		{"frame with a wrong end", badEnd},
		{"frame above frame_max", frame(wire.FrameBody, 1, make([]byte, frameMax+1))},
		{"heartbeat on a channel", []byte{8, 0, 1, 0, 0, 0, 0, wire.FrameEnd}},
		{"header without a method", header(1, wire.ClassBasic, 5)},
		{"body without a method", frame(wire.FrameBody, 1, []byte("x"))},
		{"method where a header is due", join(publish, method(1, &wire.ChannelFlow{Active: true}))},
		{"body where a header is due", join(publish, frame(wire.FrameBody, 1, []byte("x")))},
		{"header where a body is due", join(publish, header(1, wire.ClassBasic, 5), header(1, wire.ClassBasic, 5))},
		{"method where a body is due", join(publish, header(1, wire.ClassBasic, 5), method(1, &wire.ChannelFlow{Active: true}))},
		{"header of another class", join(publish, header(1, wire.ClassChannel, 5))},
		{"body longer than announced", join(publish, header(1, wire.ClassBasic, 1), frame(wire.FrameBody, 1, []byte("xx")))},
		{"body of unearthly size", join(publish, header(1, wire.ClassBasic, 1<<40))},
		{"channel.open twice", method(1, &wire.ChannelOpen{})},
		{"method on a channel that is not open", method(2, &wire.QueueDeclare{Queue: "frame.q"})},
		{"content on a channel that is not open", frame(wire.FrameBody, 2, []byte("x"))},
		{"channel above channel_max", method(2048, &wire.ChannelOpen{})},
		{"channel.open on channel 0", method(0, &wire.ChannelOpen{})},
		{"queue.declare on channel 0", method(0, &wire.QueueDeclare{Queue: "frame.q"})},
		{"connection.open on a channel", method(1, &wire.ConnectionOpen{VirtualHost: "/"})},
		{"connection.open twice", method(0, &wire.ConnectionOpen{VirtualHost: "/"})},
		{"close-ok unasked on channel 0", method(0, &wire.ConnectionCloseOk{})},
		{"the server's method", method(1, &wire.BasicDeliver{ConsumerTag: "x"})},
		{"basic.get-empty from a client", method(1, &wire.BasicGetEmpty{})},
		{"basic.recover requeue=false", method(1, &wire.BasicRecover{})},
		{"basic.recover-async requeue=false", method(1, &wire.BasicRecoverAsync{})},
		{"channel.flow off", method(1, &wire.ChannelFlow{})},
		{"immediate", join(method(1, &wire.BasicPublish{RoutingKey: "frame.none", Immediate: true}), header(1, wire.ClassBasic, 0))},
		{"unknown class", rawMethod(1, 99, 10)},
		{"unknown method", rawMethod(1, 60, 99)},
		{"arguments cut short", rawMethod(1, 50, 10, 0, 0, 10, 'q')},
		{"unknown table tag", rawMethod(1, 50, 10, 0, 0, 1, 'q', 0, 0, 0, 0, 3, 1, 'k', 'Z')},
		{"the end of a channel in the midst of a publish", join(publish, header(1, wire.ClassBasic, 5), method(1, &wire.ChannelClose{ReplyCode: 200}))},
		{"method frame without a method", frame(wire.FrameMethod, 1, []byte{0, 60})},
	}
	var trials []trial
	for _, c := range all {
		trials = append(trials, trial{what: c.what, run: func() string { return s.octets(c.octets) }})
	}
	s.together(trials)
}

// handshakeScript: who is let in, and what the others hear.
func handshakeScript(s *session) {
	var trials []trial
	try := func(what string, l login) {
		trials = append(trials, trial{what: "login " + what, run: func() string { return s.login(l) }})
	}
	try("as guest", login{})
	try("with header 0-9", login{header: []byte{'A', 'M', 'Q', 'P', 1, 1, 0, 9}})
	try("AMQPLAIN", login{mechanism: "AMQPLAIN", response: amqplain("guest", "guest")})
	try("with a wrong password", login{response: "\x00guest\x00wrong"})
	try("with an unknown user", login{response: "\x00nobody\x00guest"})
	try("AMQPLAIN with a wrong password", login{mechanism: "AMQPLAIN", response: amqplain("guest", "wrong")})
	try("with a wrong password, incapable", login{response: "\x00guest\x00wrong", incapable: true})
	try("with an unknown mechanism", login{mechanism: "SCRAM-SHA-256"})
	try("with a malformed response", login{response: "guest"})
	try("to an unknown vhost", login{vhost: "/nowhere"})
	try("with more channels than offered", login{tune: func(t *wire.ConnectionTuneOk) { t.ChannelMax++ }})
	try("with no limit to channels", login{tune: func(t *wire.ConnectionTuneOk) { t.ChannelMax = 0 }})
	try("with larger frames than offered", login{tune: func(t *wire.ConnectionTuneOk) { t.FrameMax++ }})
	try("with no limit to frames", login{tune: func(t *wire.ConnectionTuneOk) { t.FrameMax = 0 }})
	try("with frames that are too small", login{tune: func(t *wire.ConnectionTuneOk) { t.FrameMax = 4095 }})
	try("with the smallest frames", login{tune: func(t *wire.ConnectionTuneOk) { t.FrameMax = 4096 }})
	try("with one channel", login{tune: func(t *wire.ConnectionTuneOk) { t.ChannelMax = 1 }})
	try("with heartbeats", login{tune: func(t *wire.ConnectionTuneOk) { t.Heartbeat = 30 }})
	for _, h := range []string{"HELO\r\n\r\n", "AMQP\x00\x01\x00\x00", "AMQP\x00\x00\x09\x00", "AMQP\x01\x01\x00\x0a"} {
		trials = append(trials, trial{what: "header " + quote(h), run: func() string { return s.header(h) }})
	}
	s.together(trials)
	s.tune()
}

// amqplain is a login as a table without its length.
func amqplain(user, password string) string {
	table, err := wire.AppendTable(nil, wire.Table{"LOGIN": user, "PASSWORD": password})
	if err != nil {
		return err.Error()
	}
	return string(table[4:])
}
