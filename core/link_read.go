package core

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"time"
)

// linkLine bounds a line of the server: its INFO and the longest control line.
const linkLine = 64 << 10

// reader reads what the server sends until the connection ends, and connects again unless the link was closed.
func (l *link) reader(conn net.Conn) {
	r := bufio.NewReaderSize(conn, linkLine)
	var err error
	for err == nil {
		err = l.readOne(r)
	}
	conn.Close()
	l.lose(conn)
	for l.waitToRedial() {
		l.log.Warn("bus connection lost, connecting again", "err", err)
		if err = l.connect(); err == nil {
			return
		}
	}
}

// lose forgets the connection and whoever waits for its answers.
func (l *link) lose(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == conn {
		l.conn = nil
	}
	for _, answer := range l.pongs {
		answer <- errLinkLost
	}
	l.pongs = nil
	l.out = l.out[:0] // it may have been cut in the middle of a message
}

func (l *link) waitToRedial() bool {
	select {
	case <-l.quit:
		return false
	case <-time.After(redialDelay):
		return true
	}
}

// readOne reads one protocol message and acts on it.
func (l *link) readOne(r *bufio.Reader) error {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	line = bytes.TrimRight(line, "\r\n")
	verb, args, _ := bytes.Cut(line, []byte(" "))
	switch string(verb) {
	case "MSG":
		return l.readMessage(r, args, false)
	case "HMSG":
		return l.readMessage(r, args, true)
	case "PING":
		l.mu.Lock()
		l.out = append(l.out, "PONG\r\n"...)
		l.kick()
		l.mu.Unlock()
	case "PONG":
		l.pong()
	case "-ERR":
		l.log.Warn("the bus refused something", "err", string(args))
	}
	return nil // INFO and +OK need no answer
}

func (l *link) pong() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pongs) > 0 {
		l.pongs[0] <- nil
		l.pongs = l.pongs[1:]
	}
}

// readMessage reads "subject sid [reply] [header size] total size" and the bytes behind it, in one allocation.
func (l *link) readMessage(r *bufio.Reader, args []byte, hasHeader bool) error {
	fields := make([][]byte, 0, 5)
	fields = appendFields(fields, args)
	sizes := 1
	if hasHeader {
		sizes = 2
	}
	n := len(fields)
	if n < 2+sizes || n > 3+sizes {
		return fmt.Errorf("bus message line %q", args)
	}
	m := linkMessage{subject: string(fields[0])}
	if n == 3+sizes {
		m.reply = string(fields[2])
	}
	id, ok1 := number(fields[1])
	total, ok2 := number(fields[n-1])
	head, ok3 := uint64(0), true
	if hasHeader {
		head, ok3 = number(fields[n-2])
	}
	if !ok1 || !ok2 || !ok3 || head > total || total > largestMaxMessage+headerRoom {
		return fmt.Errorf("bus message line %q", args)
	}
	body := make([]byte, total)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	if _, err := r.Discard(len("\r\n")); err != nil {
		return err
	}
	m.header, m.data = body[:head:head], body[head:]
	l.mu.Lock()
	s := l.subs[id]
	l.mu.Unlock()
	if s != nil {
		s.deliver(m)
	}
	return nil
}

func appendFields(dst [][]byte, line []byte) [][]byte {
	for len(line) > 0 {
		field, rest, _ := bytes.Cut(line, []byte(" "))
		if len(field) > 0 {
			dst = append(dst, field)
		}
		line = rest
	}
	return dst
}

func number(digits []byte) (n uint64, ok bool) {
	for _, c := range digits {
		if c < '0' || c > '9' || n > 1<<40 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, len(digits) > 0
}
