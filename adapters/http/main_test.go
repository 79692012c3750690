package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	httpapi "portico/adapters/http"
)

// doorway is a gateway with its HTTP door open, and a client of its own.
type doorway struct {
	t       *testing.T
	gateway *core.Gateway
	door    *httpapi.Adapter
	url     string
	client  *http.Client
	stop    func() error
}

func open(t *testing.T, cfg httpapi.Config, options ...func(*core.Config)) *doorway {
	t.Helper()
	g := coretest.Start(t, append([]func(*core.Config){func(c *core.Config) { c.DrainTimeout = 2 * time.Second }}, options...)...)
	cfg.Listen = "127.0.0.1:0"
	door, err := httpapi.New(cfg, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("open door: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx) }()
	transport := &http.Transport{}
	d := &doorway{t: t, gateway: g, door: door, url: "http://" + door.Addr()}
	d.client = &http.Client{Transport: watched{transport, d.url}}
	var result error
	stopped := false
	d.stop = func() error {
		if !stopped {
			stopped = true
			cancel()
			select {
			case result = <-ended:
			case <-time.After(20 * time.Second):
				t.Fatal("Serve does not return")
			}
		}
		return result
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := d.stop(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return d
}

// openPlain is open without anything special, but for the address of another door.
func openPlain(t *testing.T) *doorway {
	t.Helper()
	return open(t, httpapi.Config{Doors: func() map[string]string { return map[string]string{"amqp": "127.0.0.1:1"} }})
}

// answer is a response that has been read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

type option func(*http.Request)

func with(name, value string) option {
	return func(r *http.Request) { r.Header.Add(name, value) }
}

func as(user, password string) option {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func (d *doorway) request(method, path, body string, options ...option) *http.Request {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, o := range options {
		o(r)
	}
	return r
}

func (d *doorway) do(method, path, body string, options ...option) answer {
	d.t.Helper()
	a, err := d.try(d.request(method, path, body, options...))
	if err != nil {
		d.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (d *doorway) try(r *http.Request) (answer, error) {
	res, err := d.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, b}, err
}

// want checks the status and decodes the JSON body into a T.
func want[T any](t *testing.T, a answer, status int) T {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("body %q: %v", a.body, err)
	}
	return v
}

type problem struct {
	Type, Title, Detail, Code string
	Status                    int
	Reasons                   []string
	Results                   []result
	Errors                    []violation
}

type violation struct{ Field, Expected, Found string }

type result struct {
	Token, Code string
	OK          bool
	Status      int
}

// refused checks that a is a problem with this status and code.
func refused(t *testing.T, a answer, status int, code core.Code) problem {
	t.Helper()
	p := want[problem](t, a, status)
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	if p.Code != code.String() || p.Status != status || p.Title == "" || p.Type != "urn:portico:problem:"+p.Code {
		t.Errorf("problem %+v, want code %s", p, code)
	}
	return p
}

type receipt struct {
	Queues    int
	Live      bool
	Stream    string
	Sequence  uint64
	Duplicate bool
}

type message struct {
	Token       string
	Attempt     int
	Redelivered bool
	Subject     string
	Reply       string
	Headers     map[string]any
	Data        *string
	DataBase64  []byte `json:"data_base64"`
}

func (m message) text() string {
	if m.Data == nil {
		return string(m.DataBase64)
	}
	return *m.Data
}

type description struct {
	Name                      string
	Durable                   bool
	AutoDelete                bool `json:"auto_delete"`
	MaxDeliveries             int  `json:"max_deliveries"`
	DeadLetter                core.DeadLetter
	Ready, Unacked, Consumers int
	Bindings                  []string
}

// fetch pulls messages; query is what follows the question mark.
func (d *doorway) fetch(q, query string) []message {
	d.t.Helper()
	return want[struct{ Messages []message }](d.t, d.do("POST", "/v1/queues/"+q+"/fetch?"+query, ""), 200).Messages
}

// declare makes a memory queue and fills it.
func (d *doorway) declare(q string, messages ...string) {
	d.t.Helper()
	want[description](d.t, d.do("PUT", "/v1/queues/"+q, `{"durable":false}`), 201)
	for _, m := range messages {
		want[receipt](d.t, d.do("POST", "/v1/queues/"+q+"/messages", m), 201)
	}
}

func (d *doorway) show(q string) description {
	d.t.Helper()
	return want[description](d.t, d.do("GET", "/v1/queues/"+q, ""), 200)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
