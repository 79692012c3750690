package websocket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// client is a WebSocket of the load program. It does as little as can be, so that the servers have the machine.
type client struct {
	net.Conn
	speaks protocol
	in     *bufio.Reader
	body   []byte

	mu sync.Mutex // guards writes
}

const patience = 30 * time.Second

// dial connects, says hello and subscribes; channel "" for nothing.
func (s *server) dial(from, channel string) (*client, error) {
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial("tcp", s.address)
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn, speaks: s.speaks, in: bufio.NewReaderSize(conn, 4<<10)}
	if err := c.begin(s, channel); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) begin(s *server, channel string) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	lines := []string{"GET " + s.speaks.path + " HTTP/1.1", "Host: " + s.address, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}
	if s.speaks.offers != "" {
		lines = append(lines, "Sec-WebSocket-Protocol: "+s.speaks.offers)
	}
	if _, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		return err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("upgrade: %s", res.Status)
	}
	if s.speaks.hello != "" {
		if err := c.say(s.speaks.hello); err != nil {
			return err
		}
	}
	if err := c.expect(s.speaks.welcome); err != nil {
		return err
	}
	if channel != "" {
		if err := c.say(s.speaks.sub(2, channel)); err != nil {
			return err
		}
		if err := c.expect(s.speaks.done); err != nil {
			return err
		}
	}
	return c.SetDeadline(time.Time{})
}

// say sends a text message. The mask is zero.
func (c *client) say(text string) error {
	b := make([]byte, 0, len(text)+14)
	if len(text) < 126 {
		b = append(b, 0x81, 0x80|byte(len(text)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0x80|126), uint16(len(text)))
	}
	b = append(append(b, 0, 0, 0, 0), text...)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.Write(b)
	return err
}

func (c *client) expect(part string) error {
	text, err := c.next()
	if err != nil {
		return err
	}
	if !bytes.Contains(text, []byte(part)) || bytes.Contains(text, []byte(`"error"`)) {
		return fmt.Errorf("%s instead of %s", text, part)
	}
	return nil
}

// next returns the next text message, valid until the one after. Pings are answered.
func (c *client) next() ([]byte, error) {
	for {
		opcode, err := c.frame()
		switch {
		case err != nil:
			return nil, err
		case opcode == 0x8:
			return nil, fmt.Errorf("closed: %q", c.body)
		case opcode == 0x9:
			c.mu.Lock()
			_, err = c.Write([]byte{0x8a, 0x80, 0, 0, 0, 0})
			c.mu.Unlock()
		case c.speaks.ping != "" && string(c.body) == c.speaks.ping:
			err = c.say(c.speaks.pong)
		default:
			return c.body, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// frame reads one frame to body.
func (c *client) frame() (opcode byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(c.in, head[:2]); err != nil {
		return 0, err
	}
	opcode = head[0] & 0xf
	n := uint64(head[1])
	switch n {
	case 126:
		_, err = io.ReadFull(c.in, head[:2])
		n = uint64(binary.BigEndian.Uint16(head[:]))
	case 127:
		_, err = io.ReadFull(c.in, head[:])
		n = binary.BigEndian.Uint64(head[:])
	}
	if err != nil {
		return 0, err
	}
	if uint64(cap(c.body)) < n {
		c.body = make([]byte, n)
	}
	c.body = c.body[:n]
	_, err = io.ReadFull(c.in, c.body)
	return opcode, err
}

// stamp begins the payload of every message: when it was sent, in nanoseconds since 1970.
func stamp() string { return "t=" + strconv.FormatInt(time.Now().UnixNano(), 10) }

const stampDigits = 19

// stamps finds when the messages of text were sent: servers may put several into one.
func stamps(text []byte, each func(at int64)) {
	for {
		i := bytes.Index(text, []byte("t="))
		if i < 0 || len(text) < i+2+stampDigits {
			return
		}
		if at, err := strconv.ParseInt(string(text[i+2:i+2+stampDigits]), 10, 64); err == nil {
			each(at)
			i += stampDigits
		}
		text = text[i+2:]
	}
}
