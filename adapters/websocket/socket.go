package websocket

import (
	"bufio"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	idleRead = 320      // bytes of an idle connection's read buffer
	busyRead = 16 << 10 // bytes read at once from a client that has much to say
)

// socket is the connection below a WebSocket of Portico's own subprotocol. The library reads from it and answers the handshake. From then on only the connection's writer writes:
// a close frame that the library wants to send becomes the writer's last.
type socket struct {
	net.Conn
	guard guard
	pool  *sync.Pool // of *[]byte, busyRead long

	// owned by the reader
	ended func(code int, reason string) // nil until the handshake is over
	buf   *[]byte                       // borrowed from pool, nil for none
	rest  []byte                        // of buf: not asked for yet
	much  bool                          // the client filled what it was given

	until time.Time // the write deadline; owned by whoever writes
}

// Read implements net.Conn. A client that fills what it is given gets a large buffer, until it has less to say; an idle one has none.
func (s *socket) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if !s.much {
			n, err := s.guard.read(s.Conn, p)
			s.much = n == len(p) && n < busyRead
			return n, err
		}
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	if s.rest = s.rest[n:]; len(s.rest) == 0 && !s.much {
		s.giveBack()
	}
	return n, nil
}

// fill reads into a large buffer.
func (s *socket) fill() error {
	if s.buf == nil {
		b, ok := s.pool.Get().(*[]byte)
		if !ok {
			fresh := make([]byte, busyRead)
			b = &fresh
		}
		s.buf = b
	}
	n, err := s.guard.read(s.Conn, *s.buf)
	s.rest, s.much = (*s.buf)[:n], n == len(*s.buf)
	if n > 0 {
		return nil // TLS tells the end together with the last octets, and again
	}
	if err != nil {
		s.giveBack()
	}
	return err
}

func (s *socket) giveBack() {
	if s.buf != nil {
		s.pool.Put(s.buf)
		s.buf, s.rest = nil, nil
	}
}

// Write implements net.Conn for the library: the answer to the handshake goes out, a close frame is told to the writer. The library sends nothing else by itself.
func (s *socket) Write(p []byte) (int, error) {
	if s.ended == nil {
		return len(p), s.send(p)
	}
	if len(p) >= 2 && p[0]&0xf == websocket.CloseMessage {
		code, reason := websocket.CloseNoStatusReceived, ""
		if body := p[2:]; len(body) >= 2 {
			code, reason = int(binary.BigEndian.Uint16(body)), string(body[2:])
		}
		if strings.HasSuffix(reason, "utf8 payload in close frame") {
			code = websocket.CloseInvalidFramePayloadData // RFC 6455 8.1; the library says 1002
		}
		s.ended(code, reason)
	}
	return len(p), nil
}

// SetWriteDeadline implements net.Conn: send has its own.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }

// send writes p. A client that takes nothing for writeTimeout, half as long again at most, is gone. The deadline is moved now and then only, since that costs more than it should.
func (s *socket) send(p []byte) error {
	now := time.Now()
	if s.until.Sub(now) < writeTimeout {
		s.until = now.Add(writeTimeout + writeTimeout/2)
		if err := s.Conn.SetWriteDeadline(s.until); err != nil {
			return err
		}
	}
	_, err := s.Conn.Write(p)
	return err
}

// hijacker hands the upgrade a connection of our own instead of the bare one, and with reader a buffer of our own, in which we can see whether something waits.
type hijacker struct {
	http.ResponseWriter
	wrap   func(net.Conn) net.Conn
	reader *bufio.Reader // nil: the library makes one
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if h.reader == nil {
		return h.wrap(conn), rw, nil
	}
	if rw.Reader.Buffered() > 0 {
		conn.Close()
		return nil, nil, errEarly
	}
	return h.wrap(conn), bufio.NewReadWriter(h.reader, rw.Writer), nil
}

// errEarly is a client that does not wait for the answer to its handshake.
var errEarly = errors.New("data before the handshake is complete")

// gathered is a connection below a WebSocket that carries another protocol: writes are gathered until flush. Each write to the network has its own deadline.
type gathered struct {
	guarded

	mu  sync.Mutex // guards buf: the library answers a breach of framing from the reader's goroutine
	buf *bufio.Writer
}

func newGathered(conn net.Conn) *gathered {
	return &gathered{guarded: guarded{Conn: conn}, buf: bufio.NewWriterSize(patient{conn}, 16<<10)}
}

// Write implements net.Conn.
func (s *gathered) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

// SetWriteDeadline implements net.Conn: patient sets them.
func (s *gathered) SetWriteDeadline(time.Time) error { return nil }

func (s *gathered) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Flush()
}

// patient gives every write writeTimeout.
type patient struct{ net.Conn }

// Write implements io.Writer.
func (p patient) Write(b []byte) (int, error) {
	if err := p.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return p.Conn.Write(b)
}
