package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/adapters/amqp"
	"portico/core"
	"portico/core/coretest"

	client "github.com/rabbitmq/amqp091-go"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// site is a gateway in this process with the doors of HTTP and AMQP open, as the program opens them.
type site struct {
	t    *testing.T
	http string
	amqp string // host:port; "" when off
	stop func()
}

// openSite opens a gateway; args are flags, options change what core is told.
func openSite(t *testing.T, args []string, options ...func(*core.Config)) *site {
	t.Helper()
	preset := []string{"--http-listen", "127.0.0.1:0", "--amqp-listen", "127.0.0.1:0", "--grpc-listen", "off"}
	cfg, err := given{args: append(preset, args...)}.load(t)
	if err != nil {
		t.Fatal(err)
	}
	g := coretest.Start(t, append([]func(*core.Config){func(c *core.Config) { c.DrainTimeout = 2 * time.Second }}, options...)...)
	g.Translate(core.FormAMQP, amqp.Translator{})
	d, err := openDoors(cfg, g, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx, d.adapters...) }()
	s := &site{t: t}
	for _, sign := range d.signs {
		if sign.door == "HTTP" {
			s.http = sign.address
		}
	}
	if d.amqp != nil {
		s.amqp = d.amqp.Addr()
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		http.DefaultClient.CloseIdleConnections()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// answer is a response of /v1/amqp that has been read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// do asks /v1/amqp/path; options change the request.
func (s *site) do(method, path, body string, options ...func(*http.Request)) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.http+"/v1/amqp/"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, o := range options {
		o(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// must is do for what answers with status, and returns the answer's JSON if it has any.
func (s *site) must(status int, method, path, body string) any {
	s.t.Helper()
	a := s.do(method, path, body)
	if a.status != status {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.body, status)
	}
	if a.body == "" {
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		s.t.Fatalf("%s %s: %v in %q", method, path, err, a.body)
	}
	return v
}

// object is what GET path answers.
func (s *site) object(path string) map[string]any {
	s.t.Helper()
	return s.must(http.StatusOK, http.MethodGet, path, "").(map[string]any)
}

// list is what GET path answers.
func (s *site) list(path string) (all []map[string]any) {
	s.t.Helper()
	for _, item := range s.must(http.StatusOK, http.MethodGet, path, "").([]any) {
		all = append(all, item.(map[string]any))
	}
	return all
}

// named is the item of that name in what GET path lists, nil if it is not there.
func (s *site) named(path, name string) map[string]any {
	s.t.Helper()
	for _, item := range s.list(path) {
		if item["name"] == name {
			return item
		}
	}
	return nil
}

// refused fails unless the answer is a problem with that status and code whose detail holds a text.
func (s *site) refused(a answer, status int, code, detail string) {
	s.t.Helper()
	var p struct {
		Code, Detail string
		Status       int
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		s.t.Fatalf("%d %q is no problem", a.status, a.body)
	}
	if a.status != status || p.Status != status || p.Code != code || !strings.Contains(p.Detail, detail) {
		s.t.Errorf("%d %+v, want %d %s with %q", a.status, p, status, code, detail)
	}
}

// dial opens a connection of an AMQP client.
func (s *site) dial(properties client.Table) *client.Connection {
	s.t.Helper()
	c, err := client.DialConfig("amqp://guest:guest@"+s.amqp+"/", client.Config{Properties: properties, Heartbeat: 10 * time.Second})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// channel opens a connection and a channel on it, in confirm mode.
func (s *site) channel() *client.Channel {
	s.t.Helper()
	return s.channelOf(s.dial(nil))
}

func (s *site) channelOf(c *client.Connection) *client.Channel {
	s.t.Helper()
	ch, err := c.Channel()
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return ch
}

// declare declares a queue.
func (s *site) declare(ch *client.Channel, name string, durable bool, args client.Table) {
	s.t.Helper()
	if _, err := ch.QueueDeclare(name, durable, false, false, false, args); err != nil {
		s.t.Fatal(err)
	}
}

// publish publishes texts and waits for their confirms.
func (s *site) publish(ch *client.Channel, exchange, key string, texts ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for _, text := range texts {
		c, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, client.Publishing{Body: []byte(text)})
		if err != nil {
			s.t.Fatal(err)
		}
		if acked, err := c.WaitContext(ctx); err != nil || !acked {
			s.t.Fatalf("publish %q: acked %t, %v", text, acked, err)
		}
	}
}

// get takes the next message of a queue, which must be there soon.
func (s *site) get(ch *client.Channel, queue string) client.Delivery {
	s.t.Helper()
	var d client.Delivery
	s.eventually("a message in "+queue, func() bool {
		got, ok, err := ch.Get(queue, true)
		if err != nil {
			s.t.Fatal(err)
		}
		d = got
		return ok
	})
	return d
}

// ready is how many messages GET queues/queue tells as ready.
func (s *site) ready(queue string) int {
	s.t.Helper()
	return int(s.object("queues/" + url.PathEscape(queue))["messages_ready"].(float64))
}

// eventually waits for a condition.
func (s *site) eventually(what string, condition func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !condition(); {
		if time.Now().After(end) {
			s.t.Fatalf("%s: not within %s", what, patience)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// wantClosed fails unless the connection was closed by the server with that code and text.
func (s *site) wantClosed(closed <-chan *client.Error, code int, text string) {
	s.t.Helper()
	select {
	case err := <-closed:
		var e *client.Error
		if !errors.As(err, &e) || e.Code != code || e.Reason != text {
			s.t.Errorf("closed with %v, want %d %q", err, code, text)
		}
	case <-time.After(patience):
		s.t.Error("the connection is still open")
	}
}
