package hostile

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"portico/adapters/amqp/wire"
)

// halfClose says that nothing more will come.
func halfClose(conn net.Conn) error { return conn.(*net.TCPConn).CloseWrite() }

// ended reads until the other side closes; false: it does not.
func ended(conn net.Conn) (said string, ok bool) {
	var b bytes.Buffer
	_, err := io.Copy(&b, io.LimitReader(conn, 1<<20))
	timeout, isNet := err.(net.Error)
	return b.String(), !isNet || !timeout.Timeout()
}

// rawFrame is a frame with any size and end.
func rawFrame(typ byte, channel uint16, size uint32, payload string, end byte) []byte {
	return append(append(wire.AppendFrameStart(nil, wire.FrameType(typ), channel, size), payload...), end)
}

func sized(typ byte, channel uint16, payload string) []byte {
	return rawFrame(typ, channel, uint32(len(payload)), payload, wire.FrameEnd)
}

// declareWith is queue.declare on channel 1 with these octets as its arguments.
func declareWith(table string) []byte {
	return sized(1, 1, "\x00\x32\x00\x0a"+"\x00\x00"+"\x01q"+"\x00"+table)
}

func long(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// nested is a table in a table and so on, or an array.
func nested(tag byte, depth int) string {
	inner := ""
	for range depth {
		if tag == 'F' {
			inner = "\x01kF" + long(uint32(len(inner))) + inner
		} else {
			inner = "A" + long(uint32(len(inner))) + inner
		}
	}
	if tag == 'A' {
		inner = "\x01k" + inner
	}
	return long(uint32(len(inner))) + inner
}

// publishHeader is basic.publish to the default exchange, and a content header with this body size and these properties.
func publishHeader(size uint64, props string) []byte {
	b := wire.AppendPublish(nil, 1, nil, []byte("nowhere"), false, false)
	return wire.AppendHeader(b, 1, wire.ClassBasic, size, []byte(props))
}

func hostileAMQP(t *testing.T, s *site) {
	for name, c := range map[string]struct {
		send []byte
		want string
	}{
		"frame of 4 GiB":          {rawFrame(1, 1, 0xFFFFFFFF, "x", 0xCE), "connection 501"},
		"frame above frame_max":   {rawFrame(1, 1, 131072+1, "", 0), "connection 501"},
		"unknown frame type":      {sized(9, 1, "xxxx"), "connection 501"},
		"wrong end octet":         {rawFrame(1, 1, 4, "\x00\x0a\x00\x0a", 0xCF), "connection 501"},
		"heartbeat with payload":  {sized(8, 0, "beat"), "connection 501"},
		"heartbeat on a channel":  {sized(8, 1, ""), "connection 505"},
		"empty method":            {sized(1, 1, ""), "connection 502"},
		"unknown class":           {sized(1, 1, "\xff\xff\x00\x01"), "connection 540"},
		"unknown method":          {sized(1, 1, "\x00\x32\xff\xff"), "connection 540"},
		"method cut short":        {sized(1, 1, "\x00\x32\x00\x0a\x00"), "connection 502"},
		"channel above the limit": {wire.AppendMethod(nil, 65535, &wire.ChannelOpen{}), "connection 530"},
		"channel opened twice":    {wire.AppendMethod(nil, 1, &wire.ChannelOpen{}), "connection 504"},
		"method on no channel":    {wire.AppendMethod(nil, 7, &wire.BasicQos{}), "connection 504"},
		"table of 4 GiB":          {declareWith(long(0xFFFFFFFF) + "x"), "connection 502"},
		"table longer than told":  {declareWith(long(3) + "\x01kS" + long(100)), "connection 502"},
		"table with unknown tag":  {declareWith(long(3) + "\x01k?"), "connection 502"},
		"10,000 tables nested":    {declareWith(nested('F', 10_000)), "connection 502"},
		"10,000 arrays nested":    {declareWith(nested('A', 10_000)), "connection 502"},
		"body of 2^63":            {publishHeader(1<<63, "\x00\x00"), "channel 406"},
		"body of 2^64-1":          {publishHeader(1<<64-1, "\x00\x00"), "channel 406"},
		"body above the limit":    {publishHeader(16<<20+1, "\x00\x00"), "channel 406"},
		"properties cut short":    {publishHeader(1, "\xff\xf8"), "connection 502"},
		"header without publish":  {wire.AppendHeader(nil, 1, wire.ClassBasic, 1, []byte("\x00\x00")), "connection 505"},
		"body without header":     {wire.AppendBody(wire.AppendPublish(nil, 1, nil, []byte("q"), false, false), 1, []byte("x"), 4096), "connection 505"},
		"body above its header":   {wire.AppendBody(publishHeader(1, "\x00\x00"), 1, []byte("xx"), 4096), "connection 501"},
		"method instead of body":  {wire.AppendMethod(publishHeader(1, "\x00\x00"), 1, &wire.BasicQos{}), "connection 505"},
		"header of another class": {wire.AppendHeader(wire.AppendPublish(nil, 1, nil, []byte("q"), false, false), 1, 10, 1, []byte("\x00\x00")), "connection 505"},
		"ack of nothing":          {wire.AppendBasicAck(nil, 1, 1<<63, false), "channel 406"},
		"server's own method":     {wire.AppendMethod(nil, 1, &wire.QueueDeclareOk{Queue: "q"}), "connection 503"},
	} {
		t.Run(name, func(t *testing.T) {
			r := dialAMQP(t, s.amqp, nil)
			r.raw(c.send)
			if got := r.verdict(); got != c.want {
				t.Errorf("answered with %s, want %s", got, c.want)
			}
			r.Close()
		})
	}
	t.Run("handshake", func(t *testing.T) { hostileHandshake(t, s) })
	t.Run("channels half way through a body", func(t *testing.T) { manyHalfBodies(t, s) })
}

func hostileHandshake(t *testing.T, s *site) {
	header := string(wire.ProtocolHeader[:])
	startOk := func(m wire.ConnectionStartOk) string { return header + string(wire.AppendMethod(nil, 0, &m)) }
	plain := startOk(wire.ConnectionStartOk{Mechanism: "PLAIN", Response: "\x00guest\x00guest", Locale: "en_US"})
	for name, c := range map[string]struct {
		send string
		code uint16 // of connection.close; 0: the protocol header comes back
	}{
		"TLS":                    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0},
		"HTTP":                   {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0},
		"AMQP 1.0":               {"AMQP\x00\x01\x00\x00", 0},
		"frame of 4 GiB":         {header + string(rawFrame(1, 0, 0xFFFFFFFF, "", 0)), wire.FrameError},
		"unknown mechanism":      {startOk(wire.ConnectionStartOk{Mechanism: "GSSAPI"}), wire.CommandInvalid},
		"malformed PLAIN":        {startOk(wire.ConnectionStartOk{Mechanism: "PLAIN", Response: "guest"}), wire.SyntaxError},
		"malformed AMQPLAIN":     {startOk(wire.ConnectionStartOk{Mechanism: "AMQPLAIN", Response: "\xffLOGIN"}), wire.SyntaxError},
		"open before tune":       {plain + string(wire.AppendMethod(nil, 0, &wire.ConnectionOpen{VirtualHost: "/"})), wire.ChannelError},
		"no frame_max":           {plain + string(wire.AppendMethod(nil, 0, &wire.ConnectionTuneOk{ChannelMax: 1})), wire.NotAllowed},
		"channels before a user": {header + string(wire.AppendMethod(nil, 1, &wire.ChannelOpen{})), wire.UnexpectedFrame},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dialRaw(t, s.amqp)
			_, _ = io.WriteString(conn, c.send)
			if c.code == 0 {
				if got := all(conn); got != header {
					t.Errorf("answered %q, want the protocol header", got)
				}
				return
			}
			r := &rabbit{Conn: conn, in: wire.NewReader(conn, 131072)}
			for {
				m, err := r.next()
				if err != nil {
					t.Fatalf("no connection.close: %v", err)
				}
				if m, ok := m.(*wire.ConnectionClose); ok {
					if m.ReplyCode != c.code || strings.ContainsAny(m.ReplyText, "\r\n") {
						t.Errorf("closed with %d %q, want %d", m.ReplyCode, m.ReplyText, c.code)
					}
					return
				}
			}
		})
	}
}

// manyHalfBodies opens many channels, announces 15 MiB on each and sends next to nothing: what is announced takes no memory.
func manyHalfBodies(t *testing.T, s *site) {
	r := dialAMQP(t, s.amqp, nil)
	var b []byte
	for id := uint16(2); id <= 2047; id++ {
		b = wire.AppendMethod(b, id, &wire.ChannelOpen{})
		b = wire.AppendPublish(b, id, nil, []byte("nowhere"), false, false)
		b = wire.AppendHeader(b, id, wire.ClassBasic, 15<<20, []byte("\x00\x00"))
		b = wire.AppendBody(b, id, []byte("x"), 4096)
	}
	go r.raw(b)
	for range 2046 {
		expect[*wire.ChannelOpenOk](t, r)
	}
	r.Close()
}
