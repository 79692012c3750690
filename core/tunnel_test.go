package core_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
)

func dialled(t *testing.T, c net.Conn) *bufio.Reader {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(c)
}

func TestDialNATSSpeaksTheProtocol(t *testing.T) {
	conn, err := coretest.Start(t).DialNATS()
	if err != nil {
		t.Fatal(err)
	}
	r := dialled(t, conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "INFO {") {
		t.Fatalf("greeted with %q, %v", line, err)
	}
	if _, err := fmt.Fprint(conn, "CONNECT {\"verbose\":false}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "MSG a 1 2\r\n" {
		t.Errorf("got %q, %v, want the message", line, err)
	}
}

func TestDialNATSAsksForALogin(t *testing.T) {
	conn, err := coretest.Start(t, coretest.Users(core.User{Name: "a", Password: "secret"})).DialNATS()
	if err != nil {
		t.Fatal(err)
	}
	r := dialled(t, conn)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(conn, "CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"wrong\"}\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, _ := r.ReadString('\n'); !strings.Contains(line, "Authorization Violation") {
		t.Errorf("got %q, want a refusal", line)
	}
}

func TestDialMQTTSpeaksTheProtocol(t *testing.T) {
	conn, err := coretest.Start(t).DialMQTT(t.Context(), "192.0.2.1:1")
	if err != nil {
		t.Fatal(err)
	}
	r := dialled(t, conn)
	connect := []byte{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 1, 'c'}
	if _, err := conn.Write(connect); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4)
	if _, err := r.Read(answer); err != nil || string(answer) != "\x20\x02\x00\x00" {
		t.Errorf("answered %x, %v, want an accepted CONNACK", answer, err)
	}
}

// TestTunnelsAreFar: whoever comes to the NATS and MQTT doors by another one is locked out as others are, and is not on the gateway's own machine.
func TestTunnelsAreFar(t *testing.T) {
	g := coretest.Start(t, coretest.Users(core.User{Name: "a", Password: "s"}, core.User{Name: "guest", Password: "guest"}), func(c *core.Config) { c.Auth.Lockout = 2 })
	nats := func(user, password string) bool {
		t.Helper()
		conn, err := g.DialNATS()
		if err != nil {
			t.Fatal(err)
		}
		r := dialled(t, conn)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"user\":%q,\"pass\":%q}\r\nPING\r\n", user, password); err != nil {
			t.Fatal(err)
		}
		line, _ := r.ReadString('\n')
		return line == "PONG\r\n"
	}
	mqtt := func(user, password string) bool {
		t.Helper()
		conn, err := g.DialMQTT(t.Context(), "192.0.2.1:1")
		if err != nil {
			t.Fatal(err)
		}
		r := dialled(t, conn)
		body := append([]byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0xc2, 0, 60, 0, 1, 'c', 0, byte(len(user))}, user...)
		body = append(append(body, 0, byte(len(password))), password...)
		if _, err := conn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 4)
		_, err = io.ReadFull(r, answer)
		return err == nil && answer[3] == 0
	}
	for name, login := range map[string]func(user, password string) bool{"NATS": nats, "MQTT": mqtt} {
		t.Run(name, func(t *testing.T) {
			if !login("a", "s") {
				t.Fatal("the right password is refused")
			}
			if login("guest", "guest") {
				t.Error("who may come in from the gateway's own machine only was let in")
			}
			login("a", "wrong")
			login("a", "wrong")
			if login("a", "s") {
				t.Error("nobody is ever locked out")
			}
		})
	}
}

func TestDialIsRefusedWhenTheDoorIsClosed(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.NATSListen, c.MQTTListen = "off", "off" })
	for name, dial := range map[string]func() (net.Conn, error){
		"NATS": g.DialNATS,
		"MQTT": func() (net.Conn, error) { return g.DialMQTT(t.Context(), "192.0.2.1:1") },
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := dial()
			if err == nil {
				_ = conn.Close()
				t.Fatal("connected to a closed door")
			}
			if e := core.AsError(err); e.Code != core.CodeUnavailable {
				t.Errorf("refused with %v, want unavailable", err)
			}
		})
	}
}
