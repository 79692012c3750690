package security

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestConnectionsOfAnAddress: who has all the connections an address may have gets no other at any door, is told so where the protocol has words for it, and gets some again when
// others have gone.
func TestConnectionsOfAnAddress(t *testing.T) {
	audit := filepath.Join(t.TempDir(), "audit.log")
	s := start(t, "users:\n- {name: bob, password: battery-staple}\nlimits: {connections_per_address: 5}\n", "--audit-file", audit)
	var held []net.Conn
	for range 5 {
		conn, err := dial(s.at["AMQP"])
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, "AMQP\x00\x00\x09\x01")
		must(t, err)
		_, err = conn.Read(make([]byte, 1)) // it has been counted
		must(t, err)
		held = append(held, conn)
	}
	for door, want := range map[string]string{"HTTP": "HTTP/1.1 429 ", "STOMP": "ERROR\nmessage:resource-exhausted\n", "AMQP": "", "gRPC": ""} {
		conn, err := dial(s.at[door])
		must(t, err)
		got, _ := io.ReadAll(conn) // a reset is an end, too
		conn.Close()
		if !strings.HasPrefix(string(got), want) || want == "" && len(got) > 0 {
			t.Errorf("%s: %q, want it to begin with %q", door, got, want)
		}
	}
	w := shown{user: "bob", password: "battery-staple"}
	for _, door := range []string{"NATS", "MQTT"} {
		err := enter(t, s, doorNamed(t, door), w)
		if _, said := errors.AsType[refusal](err); !said {
			t.Errorf("%s: %v, want a refusal", door, err)
		}
	}
	if raw, err := os.ReadFile(audit); err != nil || !strings.Contains(string(raw), `"msg":"limited","remote":"127.0.0.1:`) {
		t.Errorf("the audit log says %s, %v", raw, err)
	}
	for _, conn := range held {
		conn.Close()
	}
	for _, door := range doors {
		await(t, func() error { return enter(t, s, door.visit, w) })
	}
}

func doorNamed(t *testing.T, name string) func(*testing.T, *site, shown) (visitor, error) {
	t.Helper()
	for _, door := range doors {
		if door.name == name {
			return door.visit
		}
	}
	t.Fatalf("no door %s", name)
	return nil
}

// TestConnectionsOfAUser: the second connection of a user is refused where there may be one, whatever the door, until the first has gone. Others come in.
func TestConnectionsOfAUser(t *testing.T) {
	s := start(t, "users:\n- {name: bob, password: battery-staple}\n- {name: ann, password: correct-horse}\nlimits: {connections_per_user: 1}\n")
	bob, ann := shown{user: "bob", password: "battery-staple"}, shown{user: "ann", password: "correct-horse"}
	for _, name := range []string{"AMQP", "STOMP", "WebSocket", "NATS", "MQTT"} {
		door := doorNamed(t, name)
		var first visitor
		await(t, func() (err error) { first, err = door(t, s, bob); return err })
		err := enter(t, s, door, bob)
		if _, said := errors.AsType[refusal](err); !said {
			t.Errorf("%s: a second connection: %v, want a refusal", name, err)
		}
		await(t, func() error { return enter(t, s, door, ann) })
		if err := first.publish(); err != nil {
			t.Errorf("%s: the first cannot publish any more: %v", name, err)
		}
		first.close()
	}
}

// TestConnectRate: an address that comes too fast is refused.
func TestConnectRate(t *testing.T) {
	s := start(t, "", "--limits-connect-rate", "1")
	refused := 0
	for range 5 { // of which two may come at once; the others would have to take a second each
		conn, err := dial(s.at["STOMP"])
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
		if got, _ := io.ReadAll(conn); strings.Contains(string(got), "too fast") {
			refused++
		}
		conn.Close()
	}
	if refused == 0 {
		t.Error("nobody was refused")
	}
}

// TestMessageRate: a user that publishes faster than it may is held up, and refused when several do so at once. Others are not.
func TestMessageRate(t *testing.T) {
	s := start(t, "users:\n- {name: bob, password: battery-staple}\n- {name: ann, password: correct-horse}\n", "--limits-message-rate", "1")
	answers := make(chan string, 12)
	for range cap(answers) {
		v, err := visitHTTP(t, s, shown{user: "bob", password: "battery-staple"})
		must(t, err)
		go func() { answers <- fmt.Sprint(v.publish()) }()
	}
	got := map[string]int{}
	for range cap(answers) {
		got[<-answers]++
	}
	if got["<nil>"] < 2 || got["429 resource-exhausted"] == 0 || len(got) != 2 {
		t.Errorf("answers %v", got)
	}
	if err := enter(t, s, visitHTTP, shown{user: "ann", password: "correct-horse"}); err != nil {
		t.Errorf("another user: %v", err)
	}
}

// TestRebinding: while there are no users, a name that may be anybody's is not the gateway's.
func TestRebinding(t *testing.T) {
	for name, config := range map[string]string{"open": "", "with users": "users:\n- {name: bob, password: battery-staple}\n"} {
		s := start(t, config)
		for host, own := range map[string]bool{"evil.example": false, "evil.example:8080": false, "localhost:8080": true, "127.0.0.1": true, "[::1]:80": true, "portico": true, "127.0.0.1.evil.example": false} {
			for _, path := range []string{"/healthz", "/ws"} {
				r, err := http.NewRequestWithContext(within(t), "GET", "http://"+s.at["HTTP"]+path, nil)
				must(t, err)
				r.Host = host
				resp, err := http.DefaultClient.Do(r)
				must(t, err)
				resp.Body.Close()
				if refused := resp.StatusCode == http.StatusMisdirectedRequest; refused != (!own && config == "") {
					t.Errorf("%s: %s of %s answers %d", name, path, host, resp.StatusCode)
				}
			}
		}
	}
}

// TestHeaders: what browsers are told.
func TestHeaders(t *testing.T) {
	p := newPKI(t)
	s := start(t, p.config("none"))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: p.client(p.none)}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/", "/healthz", "/v1/queues", "/nothing"} {
		resp, err := client.Get("https://" + s.at["HTTP"] + path)
		must(t, err)
		resp.Body.Close()
		for header, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Strict-Transport-Security": "max-age=", "Content-Security-Policy": "default-src '",
		} {
			if got := resp.Header.Get(header); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s is %q, want %q", path, header, got, want)
			}
		}
	}
}
