// Package foreign drives the gateway with command-line clients that others wrote, as Debian ships them.
package foreign

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"portico/test/gateway"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// deadline is for anything that ought to happen at once.
const deadline = 20 * time.Second

// client runs a foreign program and returns what it printed.
func client(t *testing.T, input string, args ...string) string {
	t.Helper()
	out, err := command(t, input, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, stderrOf(err))
	}
	return string(out)
}

func command(t *testing.T, input string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	return cmd
}

func stderrOf(err error) string {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(e.Stderr)
	}
	return ""
}

func amqpTools(t *testing.T) *gateway.Gateway {
	t.Helper()
	for _, tool := range []string{"amqp-publish", "amqp-consume", "amqp-get", "amqp-declare-queue", "amqp-delete-queue"} {
		gateway.Needs(t, "amqp-tools", tool)
	}
	return gateway.Start(t)
}

func TestAMQPToolsQueue(t *testing.T) {
	url := "--url=" + amqpTools(t).Doors["AMQP"]
	if got := client(t, "", "amqp-declare-queue", url, "-d", "-q", "jobs"); strings.TrimSpace(got) != "jobs" {
		t.Fatalf("declared %q, want jobs", got)
	}
	client(t, "", "amqp-publish", url, "-p", "-r", "jobs", "-b", "first")
	client(t, "second\x00 with zero", "amqp-publish", url, "-p", "-r", "jobs")
	if got := client(t, "", "amqp-get", url, "-q", "jobs"); got != "first" {
		t.Errorf("got %q, want first", got)
	}
	if got := client(t, "", "amqp-consume", url, "-q", "jobs", "-c", "1", "cat"); got != "second\x00 with zero" {
		t.Errorf("consumed %q, want second", got)
	}
	err := command(t, "", "amqp-get", url, "-q", "jobs").Run()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 2 {
		t.Errorf("get from the empty queue ended with %v, want status 2", err)
	}
	if got := client(t, "", "amqp-delete-queue", url, "-q", "jobs"); strings.TrimSpace(got) != "0" {
		t.Errorf("deleted with %q messages, want 0", got)
	}
}

// TestAMQPToolsDeadLetter: the tools have no words for a queue's arguments nor for a refusal, but what expires and what is too much goes past them.
func TestAMQPToolsDeadLetter(t *testing.T) {
	url := amqpTools(t).Doors["AMQP"]
	conn, err := amqp091.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	for queue, arguments := range map[string]amqp091.Table{
		"graves": nil,
		"short":  {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "graves", "x-message-ttl": 50},
		"small":  {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "graves", "x-max-length": 1},
	} {
		if _, err := ch.QueueDeclare(queue, false, false, false, false, arguments); err != nil {
			t.Fatal(err)
		}
	}
	client(t, "", "amqp-publish", "--url="+url, "-r", "short", "-b", "expired")
	if got := getUntil(t, url, "graves"); got != "expired" {
		t.Errorf("got %q from the dead letters, want expired", got)
	}
	client(t, "dropped\nkept\n", "amqp-publish", "--url="+url, "-r", "small", "-l")
	if got := getUntil(t, url, "graves"); got != "dropped\n" {
		t.Errorf("got %q from the dead letters, want dropped", got)
	}
	if got := client(t, "", "amqp-get", "--url="+url, "-q", "small"); got != "kept\n" {
		t.Errorf("got %q, want kept", got)
	}
}

// getUntil gets from a queue until it has something.
func getUntil(t *testing.T, url, queue string) string {
	t.Helper()
	for limit := time.Now().Add(deadline); time.Now().Before(limit); {
		out, err := command(t, "", "amqp-get", "--url="+url, "-q", queue).Output()
		if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() == 2 { // it is empty
			continue
		}
		if err != nil {
			t.Fatalf("amqp-get: %v\n%s", err, stderrOf(err))
		}
		return string(out)
	}
	t.Fatalf("nothing came into %s", queue)
	return ""
}

func TestAMQPToolsConsumeByBinding(t *testing.T) {
	g := amqpTools(t)
	url := "--url=" + g.Doors["AMQP"]
	// The queue is the server's to name and exclusive, so publish until the consumer has bound it and got one.
	cmd := command(t, "", "amqp-consume", url, "-e", "amq.topic", "-r", "orders.#", "-c", "1", "cat")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(out)
		got <- string(all)
	}()
	text := until(t, got, func() {
		post(t, g.Doors["HTTP"]+"/v1/publish/orders.eu.new", "hello")
	})
	if text != "hello" {
		t.Errorf("consumed %q, want hello", text)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("amqp-consume: %v", err)
	}
}

func TestMosquitto(t *testing.T) {
	for _, tool := range []string{"mosquitto_pub", "mosquitto_sub"} {
		gateway.Needs(t, "mosquitto-clients", tool)
	}
	g := gateway.Start(t)
	host, port, err := net.SplitHostPort(strings.TrimPrefix(g.Doors["MQTT"], "mqtt://"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ filter, topic, subject, qos string }{
		"exact, QoS 0":     {"greet/you", "greet/you", "greet.you", "0"},
		"multi level":      {"sensors/#", "sensors/hall/heat", "sensors.hall.heat", "0"},
		"one level, QoS 1": {"rooms/+/light", "rooms/7/light", "rooms.7.light", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			at := []string{"-h", host, "-p", port, "-q", c.qos}
			sub := command(t, "", append([]string{"mosquitto_sub", "-C", "2", "-N", "-t", c.filter}, at...)...)
			var out bytes.Buffer
			sub.Stdout = &out
			if err := sub.Start(); err != nil {
				t.Fatal(err)
			}
			got := make(chan string, 1)
			go func() {
				_ = sub.Wait()
				got <- out.String()
			}()
			text := until(t, got, func() {
				client(t, "", append([]string{"mosquitto_pub", "-t", c.topic, "-m", "(mqtt)"}, at...)...)
				post(t, g.Doors["HTTP"]+"/v1/publish/"+c.subject, "(http)")
			})
			if text != "(mqtt)(http)" && text != "(http)(mqtt)" { // it may have come between the two
				t.Errorf("received %q, want one message from each door", text)
			}
		})
	}
}

// until repeats send until got says something: a subscriber takes a moment to be there, and does not say when it is.
func until(t *testing.T, got <-chan string, send func()) string {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(deadline)
	for {
		select {
		case text := <-got:
			return text
		case <-limit:
			t.Fatal("received nothing")
		case <-tick.C:
			send()
		}
	}
}

func post(t *testing.T, url, body string) {
	t.Helper()
	resp, err := http.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(resp.Body)
		t.Fatalf("POST %s: %s %s", url, resp.Status, text)
	}
}
