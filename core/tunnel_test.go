package core_test

import (
	"bufio"
	"fmt"
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
	conn, err := coretest.Start(t).DialMQTT(t.Context())
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

func TestDialIsRefusedWhenTheDoorIsClosed(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.NATSListen, c.MQTTListen = "off", "off" })
	for name, dial := range map[string]func() (net.Conn, error){
		"NATS": g.DialNATS,
		"MQTT": func() (net.Conn, error) { return g.DialMQTT(t.Context()) },
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
