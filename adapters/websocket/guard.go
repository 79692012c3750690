package websocket

import (
	"encoding/binary"
	"errors"
	"net"

	"github.com/gorilla/websocket"
)

// guard looks at the frames of a client before the library does, and finds the breaches of RFC 6455 that the library lets pass: reserved bits where no extension can have put them (5.2),
// lengths that are longer written than they need be or have the highest bit set (5.2), and a close frame with half a code (5.5.1). The zero value begins before the first frame.
type guard struct {
	head [10]byte // the frame's first octets: what has come of them
	have int
	skip uint64 // octets until the next frame: mask and payload
	err  error  // the breach
}

// errFrame is a breach that the guard has found: close code 1002.
var errFrame = errors.New("broken framing")

// read reads from conn, up to a breach; that is the error of the next call.
func (g *guard) read(conn net.Conn, p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := conn.Read(p)
	good := g.check(p[:n])
	if good == 0 && g.err != nil {
		return 0, g.err
	}
	return good, err
}

// check tells how many octets of p come before a breach.
func (g *guard) check(p []byte) int {
	for i := 0; i < len(p); {
		if g.skip > 0 {
			step := min(g.skip, uint64(len(p)-i))
			g.skip -= step
			i += int(step)
			continue
		}
		g.head[g.have] = p[i]
		g.have++
		if g.have == g.needs() && !g.begins() {
			g.err = errFrame
			return i
		}
		i++
	}
	return len(p)
}

// needs is how many octets the frame's beginning has, as far as can be seen.
func (g *guard) needs() int {
	if g.have < 2 {
		return 2
	}
	switch g.head[1] & 0x7f {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// begins looks at a frame's beginning, which is complete; false: it is none.
func (g *guard) begins() bool {
	opcode, n := g.head[0]&0xf, uint64(g.head[1]&0x7f)
	const rsv1, masked = 0x40, 0x80
	if g.head[0]&rsv1 != 0 && opcode != websocket.TextMessage && opcode != websocket.BinaryMessage {
		return false
	}
	switch g.have {
	case 4:
		if n = uint64(binary.BigEndian.Uint16(g.head[2:])); n < 126 {
			return false
		}
	case 10:
		if n = binary.BigEndian.Uint64(g.head[2:]); n < 1<<16 || n>>63 != 0 {
			return false
		}
	}
	if opcode == websocket.CloseMessage && n == 1 {
		return false
	}
	if g.head[1]&masked != 0 {
		n += 4
	}
	g.have, g.skip = 0, n
	return true
}

// guarded is a connection whose reader sees no frame that the guard refuses.
type guarded struct {
	net.Conn
	guard guard
}

// Read implements net.Conn.
func (c *guarded) Read(p []byte) (int, error) { return c.guard.read(c.Conn, p) }
