package security

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// stompVisitor speaks STOMP 1.2 over TCP. After an ERROR the session is over, so that each thing is done by a session of its own.
type stompVisitor struct {
	conn io.ReadWriteCloser
	in   *bufio.Reader
	last int
	wait time.Duration // for an answer
	seen map[string]bool
}

func dial(address string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	return conn, err
}

func visitSTOMP(t *testing.T, s *site, w shown) (visitor, error) {
	conn, err := tlsOrNot(t, s.at["STOMP"], w.tls)
	if err != nil {
		return nil, err
	}
	v := &stompVisitor{conn: conn, in: bufio.NewReader(conn), wait: patience, seen: map[string]bool{}}
	if w.alone {
		v.wait = time.Second
	}
	t.Cleanup(v.close)
	login := ""
	if !w.nothing() {
		login = fmt.Sprintf("login:%s\npasscode:%s\n", w.user, w.secret())
	}
	return v, v.say("CONNECT", "accept-version:1.2\n"+login, "", "CONNECTED")
}

// say sends a frame and waits for one of this kind.
func (v *stompVisitor) say(command, headers, body, want string) error {
	if _, err := fmt.Fprintf(v.conn, "%s\n%s\n%s\x00", command, headers, body); err != nil {
		return err
	}
	return v.await(want)
}

// await waits for a frame of this kind. Of the answer to a request it passes over nothing: a RECEIPT and a MESSAGE may come in either order.
func (v *stompVisitor) await(want string) error {
	if v.seen[want] {
		delete(v.seen, want)
		return nil
	}
	for {
		frame, err := v.in.ReadString(0)
		if err != nil {
			return err
		}
		kind, rest, _ := strings.Cut(strings.TrimLeft(frame, "\n"), "\n")
		switch kind {
		case want:
			return nil
		case "MESSAGE", "RECEIPT":
			v.seen[kind] = true
		case "ERROR":
			_, message, _ := strings.Cut(rest, "message:")
			message, _, _ = strings.Cut(message, "\n")
			return refusal("ERROR " + message)
		}
	}
}

func (v *stompVisitor) receipt(command, headers, body string) error {
	v.last++
	return v.say(command, fmt.Sprintf("%sreceipt:%d\n", headers, v.last), body, "RECEIPT")
}

func (v *stompVisitor) publish() error {
	return v.receipt("SEND", "destination:/topic/"+subjectIn+"\n", "x")
}
func (v *stompVisitor) subscribe() error {
	return v.receipt("SUBSCRIBE", "id:s\ndestination:/topic/"+subjectOut+"\n", "")
}
func (v *stompVisitor) request() error {
	if err := v.receipt("SEND", "destination:/topic/"+subjectAsk+"\nreply-to:/temp-queue/answers\nx:y\n", "x"); err != nil {
		return err
	}
	conn, ok := v.conn.(net.Conn)
	if !ok || v.wait == patience {
		return v.await("MESSAGE")
	}
	if err := conn.SetReadDeadline(time.Now().Add(v.wait)); err != nil {
		return err
	}
	if err := v.await("MESSAGE"); !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return refusal("no answer")
}
func (v *stompVisitor) consume() error {
	return v.receipt("SUBSCRIBE", "id:c\nack:client\ndestination:/amq/queue/"+queueThere+"\n", "")
}
func (v *stompVisitor) declare() error {
	return v.receipt("SUBSCRIBE", "id:d\nack:client\ndestination:/queue/"+queueNew+"\n", "")
}
func (v *stompVisitor) admin() error { return errNotThere }
func (v *stompVisitor) close()       { v.conn.Close() }
