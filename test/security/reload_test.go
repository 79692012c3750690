package security

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	"github.com/nats-io/nats.go"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

const reloadUsers = `
  - {name: admin, password: a}
  - name: bob
    password: b
`

// Before: bob may everything but administer. After: nothing of what he has open.
const (
	mayEverything = reloadUsers + "    permissions: {roles: [none]}\n"
	mayNothing    = reloadUsers + "    permissions: {publish: {allow: [other]}, subscribe: {allow: [other]}, roles: [none]}\n"
)

// ender is something open; ended tells how it has ended, and waits for that.
type ender struct {
	name  string
	open  func(*testing.T, *site) (ended func() string)
	words string // a part of what it is told
}

// What a client has open ends, in its protocol's words, when its permissions are changed by a reload; other things stay.
func TestReloadEndsWhatIsOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "portico.yaml")
	write := func(text string) { must(t, os.WriteFile(file, []byte(text), 0o600)) }
	write("users:" + mayEverything)
	s := start(t, "", "--config", file)
	v, err := visitHTTP(t, s, shown{user: "admin", password: "a"})
	must(t, err)
	admin := v.(*httpVisitor)
	must(t, admin.ask("PUT", "/v1/queues/"+queueThere, "{}", "Content-Type", "application/json"))
	must(t, admin.ask("PUT", "/v1/streams/kept", `{"subjects":["table.kept"]}`, "Content-Type", "application/json"))
	all := []ender{
		{"AMQP consumer", openAMQP, "cancelled"},
		{"WebSocket subscription", openWeb(map[string]any{"op": "sub", "sid": "s", "subject": subjectOut}), "gone permission-denied"},
		{"WebSocket consumer", openWeb(map[string]any{"op": "consume", "sid": "s", "queue": queueThere, "credit": 1}), "gone permission-denied"},
		{"gRPC subscription", openRPC, "PERMISSION_DENIED"},
		{"event stream", openEvents("/v1/subscribe?subject=" + subjectOut), "permission-denied"},
		{"event stream of a stream", openEvents("/v1/subscribe?stream=kept&subject=table.kept"), "permission-denied"},
		{"STOMP topic", openSTOMP("id:s\ndestination:/topic/" + subjectOut + "\n"), "ERROR permission-denied"},
		{"STOMP queue", openSTOMP("id:s\nack:client\ndestination:/amq/queue/" + queueThere + "\n"), "ERROR permission-denied"},
		{"NATS client", openNATS, "disconnected"},
	}
	ended := make([]func() string, len(all))
	for i, e := range all {
		ended[i] = e.open(t, s)
	}

	// A configuration that is not sound changes nothing.
	write("users:" + mayNothing + "    nonsense: 1\n")
	if status, answer, err := admin.call("POST", "/v1/configuration/reload", ""); err != nil || status != http.StatusConflict || !strings.Contains(answer, "nonsense") {
		t.Errorf("a reload of nonsense: %d %s %v", status, answer, err)
	}
	w, err := visitHTTP(t, s, shown{user: "bob", password: "b"})
	must(t, err)
	must(t, w.publish())

	// What needs a restart is told, the rest is in force.
	write("users:" + mayNothing + "log: {level: debug}\nmax_message: 1MiB\n")
	status, answer, err := admin.call("POST", "/v1/configuration/reload", "")
	must(t, err)
	if want := `{"changed":["log.level","users"],"restart":["max_message"]}`; status != http.StatusOK || strings.TrimSpace(answer) != want {
		t.Errorf("reload answers %d %s, want %s", status, answer, want)
	}
	for i, e := range all {
		if got := ended[i](); !strings.Contains(got, e.words) {
			t.Errorf("%s: %s, want %s", e.name, got, e.words)
		}
	}
	if err := w.publish(); !refused(err) {
		t.Errorf("publishing afterwards: %v", err)
	}
	if status, answer, _ := w.(*httpVisitor).call("POST", "/v1/configuration/reload", ""); status != http.StatusForbidden {
		t.Errorf("a reload by somebody: %d %s", status, answer)
	}

	// By a signal it is the same.
	write("users:" + mayEverything)
	s.Signal(t, syscall.SIGHUP)
	for deadline := time.Now().Add(patience); ; {
		if err = w.publish(); err == nil || time.Now().After(deadline) {
			break
		}
	}
	must(t, err)
}

func openAMQP(t *testing.T, s *site) func() string {
	v, err := visitAMQP(t, s, shown{user: "bob", password: "b"})
	must(t, err)
	ch, err := v.(*amqpVisitor).conn.Channel()
	must(t, err)
	cancelled := ch.NotifyCancel(make(chan string, 1))
	_, err = ch.Consume(queueThere, "tag", false, false, false, false, nil)
	must(t, err)
	closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
	return func() string {
		select {
		case tag := <-cancelled:
			return "cancelled " + tag
		case err := <-closed:
			return fmt.Sprint("closed ", err)
		case <-time.After(patience):
			return "nothing"
		}
	}
}

func openWeb(frame map[string]any) func(*testing.T, *site) func() string {
	return func(t *testing.T, s *site) func() string {
		v, err := visitWebSocket(t, s, shown{user: "bob", password: "b"})
		must(t, err)
		conn := v.(*webVisitor).conn
		must(t, v.(*webVisitor).do(frame))
		return func() string {
			var got map[string]any
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			if err := conn.ReadJSON(&got); err != nil {
				return err.Error()
			}
			return fmt.Sprint(got["op"], " ", got["code"])
		}
	}
}

func openRPC(t *testing.T, s *site) func() string {
	v, err := visitGRPC(t, s, shown{user: "bob", password: "b"})
	must(t, err)
	stream, err := v.(*rpcVisitor).client.Subscribe(v.(*rpcVisitor).ctx, &porticov1.SubscribeRequest{Subjects: []string{subjectOut}})
	must(t, err)
	_, err = stream.Header()
	must(t, err)
	return func() string {
		_, err := stream.Recv()
		return fmt.Sprint(coded(err))
	}
}

func openEvents(path string) func(*testing.T, *site) func() string {
	return func(t *testing.T, s *site) func() string {
		ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
		t.Cleanup(cancel)
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.at["HTTP"]+path, nil)
		must(t, err)
		r.SetBasicAuth("bob", "b")
		client := &http.Client{Transport: &http.Transport{}}
		resp, err := client.Do(r)
		must(t, err)
		t.Cleanup(func() { resp.Body.Close(); client.CloseIdleConnections() })
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", path, resp.Status)
		}
		return func() string {
			all := ""
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				all += lines.Text() + "\n"
			}
			return all
		}
	}
}

func openSTOMP(headers string) func(*testing.T, *site) func() string {
	return func(t *testing.T, s *site) func() string {
		v, err := visitSTOMP(t, s, shown{user: "bob", password: "b"})
		must(t, err)
		must(t, v.(*stompVisitor).receipt("SUBSCRIBE", headers, ""))
		return func() string {
			frame, err := v.(*stompVisitor).in.ReadString(0)
			_, message, _ := strings.Cut(frame, "message:")
			return fmt.Sprint(strings.Fields(frame + " -")[0], " ", message, err)
		}
	}
}

func openNATS(t *testing.T, s *site) func() string {
	gone := make(chan string, 1)
	nc, err := nats.Connect("nats://"+s.at["NATS"], nats.UserInfo("bob", "b"), nats.NoReconnect(), nats.Timeout(patience),
		nats.ClosedHandler(func(*nats.Conn) { gone <- "disconnected" }))
	must(t, err)
	t.Cleanup(nc.Close)
	return func() string {
		select {
		case word := <-gone:
			return word
		case <-time.After(patience):
			return "nothing"
		}
	}
}
