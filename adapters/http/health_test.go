package httpapi_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"portico/core"
	"portico/core/queue"

	httpapi "portico/adapters/http"
)

func exclusive(t *testing.T, q *core.Queue) *queue.Consumer {
	t.Helper()
	c, err := q.Consume(queue.ConsumerConfig{Deliver: func([]queue.Delivery) {}, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHealth(t *testing.T) {
	d := open(t, httpapi.Config{})
	if got := want[map[string]string](t, d.do("GET", "/healthz", ""), 200); got["status"] != "ok" {
		t.Errorf("healthz %v", got)
	}
	if got := want[map[string]string](t, d.do("GET", "/readyz", ""), 200); got["status"] != "ready" {
		t.Errorf("readyz %v", got)
	}
}

func TestNotReady(t *testing.T) {
	d := open(t, httpapi.Config{}, func(c *core.Config) { c.DiskFree = 1 << 62 })
	d.declare("q")
	eventually(t, "the disk alarm", func() bool { return d.gateway.Ready() != nil })
	p := refused(t, d.do("GET", "/readyz", ""), 503, core.CodeUnavailable)
	if len(p.Reasons) != 1 || !strings.HasPrefix(p.Reasons[0], "disk") {
		t.Errorf("reasons %q", p.Reasons)
	}
	refused(t, d.do("POST", "/v1/queues/q/messages", "x"), 507, core.CodeResourceExhausted)
	if a := d.do("GET", "/healthz", ""); a.status != 200 {
		t.Errorf("healthz %d", a.status)
	}
}

func TestMetrics(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q", "12345")
	d.settle(200, "q", "nack", tokens(d.fetch("q", ""))...)
	d.settle(200, "q", "ack", tokens(d.fetch("q", ""))...)
	a := d.do("GET", "/metrics", "")
	for _, line := range []string{
		`portico_connections{door="http"} 1`, `portico_messages_in_total{door="http"} 1`, `portico_messages_out_total{door="http"} 2`,
		`portico_acks_total{door="http"} 1`, `portico_redeliveries_total{door="http"} 1`, `portico_publish_seconds_count{door="http"} 1`,
	} {
		if !strings.Contains(string(a.body), line+"\n") {
			t.Errorf("no %s", line)
		}
	}
	if t.Failed() {
		for line := range strings.SplitSeq(string(a.body), "\n") {
			if strings.Contains(line, `door="http"`) {
				t.Log(line)
			}
		}
	}
}

func TestAssets(t *testing.T) {
	d := open(t, httpapi.Config{Web: fstest.MapFS{
		"index.html": {Data: []byte("<p>page")}, "app.js": {Data: []byte("1")}, "dir/x.css": {Data: []byte("a{}")}, "client/portico.js": {Data: []byte("2")},
	}})
	for path, body := range map[string]string{"/": "<p>page", "/app.js": "1", "/dir/x.css": "a{}", "/client/portico.js": "2"} {
		a := d.do("GET", path, "")
		importable := a.header.Get("Access-Control-Allow-Origin") == "*"
		if a.status != 200 || string(a.body) != body || !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'self'") || importable != strings.HasPrefix(path, "/client/") {
			t.Errorf("%s: %d %q %v", path, a.status, a.body, a.header)
		}
	}
	for _, path := range []string{"/dir/", "/none.js", "/../adapter.go", "/%2e%2e/adapter.go"} {
		refused(t, d.do("GET", path, ""), 404, core.CodeNotFound)
	}
	refused(t, d.do("POST", "/app.js", ""), 404, core.CodeNotFound)
}

func TestWebSocketIsMounted(t *testing.T) {
	d := open(t, httpapi.Config{WebSocket: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })})
	if a := d.do("GET", "/ws", ""); a.status != http.StatusTeapot {
		t.Errorf("status %d", a.status)
	}
	refused(t, open(t, httpapi.Config{}).do("GET", "/ws", ""), 404, core.CodeNotFound)
}

func TestTakenPortIsAnError(t *testing.T) {
	d := open(t, httpapi.Config{})
	if _, err := httpapi.New(httpapi.Config{Listen: d.door.Addr()}, d.gateway, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
}

func TestRequestInFlightEndsBeforeServeReturns(t *testing.T) {
	d := open(t, httpapi.Config{})
	arrived := make(chan *core.Message, 1)
	s, err := d.gateway.System().Subscribe("slow", "", func(m *core.Message) { arrived <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Unsubscribe()
	answered := make(chan answer, 1)
	go func() { answered <- d.do("POST", "/v1/request/slow", "x") }()
	m := <-arrived
	stopped := make(chan error, 1)
	go func() { stopped <- d.stop() }()
	eventually(t, "the door is closed", func() bool {
		_, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(d.request("GET", "/healthz", ""))
		return err != nil
	})
	select {
	case err := <-stopped:
		t.Fatalf("Serve returned with a request under way: %v", err)
	default:
	}
	if _, err := d.gateway.System().Publish(t.Context(), &core.Message{Subject: m.Reply, Data: []byte("done")}); err != nil {
		t.Fatal(err)
	}
	if a := <-answered; a.status != 200 || string(a.body) != "done" {
		t.Errorf("answer %d %q", a.status, a.body)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestRequestInFlightIsCutAfterTheDrainTimeout(t *testing.T) {
	d := open(t, httpapi.Config{}, func(c *core.Config) { c.DrainTimeout = 100 * time.Millisecond })
	arrived := make(chan struct{}, 1)
	s, err := d.gateway.System().Subscribe("never", "", func(*core.Message) { arrived <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Unsubscribe()
	ended := make(chan error, 1)
	go func() {
		_, err := d.try(d.request("POST", "/v1/request/never?timeout=1m", "x"))
		ended <- err
	}()
	<-arrived
	if err := d.stop(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the request was answered")
	}
}
