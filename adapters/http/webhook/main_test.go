package webhook

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a gateway with a courier, and a receiver.
type site struct {
	t        *testing.T
	gateway  *core.Gateway
	courier  *Courier
	bus      *core.Bus
	receiver *receiver
	stop     func()
	lines    *lines
}

// lines counts what is logged, by its message.
type lines struct {
	slog.Handler

	mu    sync.Mutex
	count map[string]int
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[r.Message]++
	return nil
}

// logged waits until the courier has logged a message.
func (s *site) logged(message string) {
	s.t.Helper()
	eventually(s.t, message, func() bool {
		s.lines.mu.Lock()
		defer s.lines.mu.Unlock()
		return s.lines.count[message] > 0
	})
}

// turn returns when the endpoint called hook has done what it had to do before.
func (s *site) turn() {
	s.t.Helper()
	s.courier.mu.Lock()
	e := s.courier.endpoints["hook"]
	s.courier.mu.Unlock()
	done := make(chan struct{})
	e.post(func() { close(done) })
	<-done
}

// open starts a gateway whose courier may send to loopback.
func open(t *testing.T, options ...func(*core.Config)) *site {
	t.Helper()
	g := coretest.Start(t, append([]func(*core.Config){func(c *core.Config) { c.DrainTimeout = 2 * time.Second }}, options...)...)
	s := &site{t: t, gateway: g, bus: g.System(), receiver: receive(t), lines: &lines{Handler: slog.DiscardHandler, count: map[string]int{}}}
	s.serve()
	return s
}

// serve starts a courier on the site's gateway; stop ends it.
func (s *site) serve() {
	s.t.Helper()
	c, err := New(Config{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, s.gateway, slog.New(s.lines))
	if err != nil {
		s.t.Fatal(err)
	}
	s.courier = c
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Serve(ctx) }()
	eventually(s.t, "the courier serves", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.ctx != nil
	})
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				s.t.Error(err)
			}
		})
	}
	s.t.Cleanup(s.stop)
}

// spec is an endpoint at the receiver with a quick schedule.
func (s *site) spec() Spec {
	spec := Defaults()
	spec.URL, spec.Subjects, spec.Schedule, spec.PauseAfter = s.receiver.URL, []string{"orders.>"}, []int64{10, 20, 40}, 0
	return spec
}

// put creates or changes the endpoint called hook, and returns its secret.
func (s *site) put(spec Spec) string {
	s.t.Helper()
	_, key, _, err := s.courier.Put(s.t.Context(), s.bus, "hook", spec, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return key
}

func (s *site) publish(subject string, header core.Header, bodies ...string) {
	s.t.Helper()
	for _, body := range bodies {
		r, err := s.bus.Publish(s.t.Context(), &core.Message{Subject: subject, Header: header, Data: []byte(body)})
		if err != nil {
			s.t.Fatal(err)
		}
		if r.Queues == 0 {
			s.t.Fatal("no queue keeps it")
		}
	}
}

func (s *site) endpoint() Endpoint {
	s.t.Helper()
	e, err := s.courier.Endpoint(s.bus, "hook")
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

func (s *site) deliveries(status Status) []Delivery {
	s.t.Helper()
	page, _, err := s.courier.Deliveries(s.t.Context(), s.bus, "hook", Query{Status: status, Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return page
}

// idle waits until the endpoint's queue is empty.
func (s *site) idle() {
	s.t.Helper()
	q := s.gateway.System().Lookup(queueOf("hook"))
	eventually(s.t, "the queue is empty", func() bool {
		stats, err := q.Stats()
		return err == nil && stats.Ready+stats.Unacked == 0
	})
}

// call is a request that the receiver got.
type call struct {
	id      string
	subject string
	body    string
	header  http.Header
	at      time.Time
}

// receiver is an endpoint that does what it is told.
type receiver struct {
	*httptest.Server

	mu     sync.Mutex
	calls  []call
	answer func(n int, w http.ResponseWriter, r *http.Request) // n counts from 1; nil: 200
}

func receive(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.calls = append(r.calls, call{req.Header.Get("webhook-id"), req.Header.Get("portico-subject"), string(body), req.Header.Clone(), time.Now()})
		n, answer := len(r.calls), r.answer
		r.mu.Unlock()
		if answer != nil {
			answer(n, w, req)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// answers says what the receiver does from now on.
func (r *receiver) answers(f func(n int, w http.ResponseWriter, req *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *receiver) got() []call {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]call(nil), r.calls...)
}

// wait waits until the receiver has got n requests, and returns them.
func (r *receiver) wait(t *testing.T, n int) []call {
	t.Helper()
	eventually(t, "the requests are there", func() bool { return len(r.got()) >= n })
	return r.got()
}

func says(code int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// verify checks a request by the library of Standard Webhooks.
func verify(t *testing.T, key string, c call) {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := wh.Verify([]byte(c.body), c.header); err != nil {
		t.Errorf("the signature does not verify: %v", err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10 s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}
