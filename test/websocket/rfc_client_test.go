package websocket

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what has to come, on a machine that is busy with other tests.
const patience = 20 * time.Second

// Opcodes [RFC 6455 5.2].
const (
	opMore   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa

	fin  = 0x80
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10
)

// octets is a WebSocket client of which every octet is ours.
type octets struct {
	net.Conn
	in    *bufio.Reader
	waits bool // it never ends its side
}

// connect opens a connection and upgrades it, with more header lines if wanted. The welcome has been read.
func connect(address string, lines ...string) (*octets, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	conn, err := net.DialTimeout("tcp", u.Host, patience)
	if err != nil {
		return nil, err
	}
	w := &octets{Conn: conn, in: bufio.NewReader(conn)}
	if err := w.upgrade(u, lines); err != nil {
		conn.Close()
		return nil, err
	}
	return w, nil
}

func (w *octets) upgrade(u *url.URL, lines []string) error {
	if err := w.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	lines = append([]string{
		"GET " + u.Path + " HTTP/1.1", "Host: " + u.Host, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, lines...)
	if _, err := io.WriteString(w, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols || res.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		return fmt.Errorf("%s %v", res.Status, res.Header)
	}
	f, err := w.next()
	if err == nil && (f.op != opText || !strings.Contains(f.text, `"welcome"`)) {
		err = fmt.Errorf("welcomed with %+v", f)
	}
	return err
}

// made is a frame's octets: first is FIN, reserved bits and opcode. The mask is none that does nothing.
func made(first byte, payload string) string {
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b := begun(first, len(payload))
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return string(b)
}

// begun is what comes before the mask of a frame that says so much.
func begun(first byte, n int) []byte {
	switch {
	case n < 126:
		return []byte{first, 0x80 | byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, 0x80 | 126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, uint64(n))
}

// got is a frame of the server.
type got struct {
	op   byte
	rsv1 bool
	text string
}

// next reads a frame. What no server may send is an error.
func (w *octets) next() (got, error) {
	var head [2]byte
	if _, err := io.ReadFull(w.in, head[:]); err != nil {
		return got{}, err
	}
	if head[0]&fin == 0 || head[0]&(rsv2|rsv3) != 0 || head[1]&0x80 != 0 {
		return got{}, fmt.Errorf("a server frame begins %x", head)
	}
	n := uint64(head[1])
	extra := map[uint64]int{126: 2, 127: 8}[n]
	if extra > 0 {
		var b [8]byte
		if _, err := io.ReadFull(w.in, b[8-extra:]); err != nil {
			return got{}, err
		}
		n = binary.BigEndian.Uint64(b[:])
	}
	body := make([]byte, n)
	_, err := io.ReadFull(w.in, body)
	return got{head[0] & 0xf, head[0]&rsv1 != 0, string(body)}, err
}

// story reads to the end, and tells what came: pongs with their payload, answers by their op, and how it ended: "1002" is a close frame and then the end of the connection; "none" one without a code.
func (w *octets) story() string {
	var all []string
	closed := ""
	for {
		f, err := w.next()
		if err != nil {
			if !errors.Is(err, io.EOF) || closed == "" {
				all = append(all, "broken: "+err.Error())
			}
			return strings.Join(all, " ")
		}
		if closed != "" {
			return strings.Join(append(all, "and something behind the close frame"), " ")
		}
		switch f.op {
		case opText:
			_, op, _ := strings.Cut(f.text, `"op":"`)
			op, _, _ = strings.Cut(op, `"`)
			all = append(all, op)
		case opPong:
			all = append(all, fmt.Sprintf("pong(%.10s)", f.text))
		case opClose:
			closed = "none"
			if len(f.text) >= 2 {
				closed = fmt.Sprint(binary.BigEndian.Uint16([]byte(f.text)))
			}
			all = append(all, closed)
			if half, ok := w.Conn.(*net.TCPConn); ok && !w.waits {
				_ = half.CloseWrite() // as a client does that has heard it; if not, the server waits a moment for it
			}
		default:
			all = append(all, fmt.Sprintf("opcode %d", f.op))
		}
	}
}

// check sends octets and compares what comes back. The server must close by itself.
func check(t *testing.T, address, send, want string, lines ...string) {
	t.Helper()
	w, err := connect(address, lines...)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	go func() { _, _ = io.WriteString(w, send) }() // what comes back tells
	if got := w.story(); got != want {
		t.Errorf("came %q, want %q", got, want)
	}
}
