package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"portico/test/gateway"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	concurrency = 8  // of the endpoints that are not ordered
	goneAfter   = 40 // requests to the one that says 410
)

// kind is how a receiver behaves. The numbers are per thousand of its requests.
type kind struct {
	parallel                                  bool
	fails, stalls, redirects, cuts, throttles int
	dated                                     bool // throttles with a date
	gone, dies                                bool
}

// kinds are those of the 20 endpoints.
func kinds() []kind {
	return []kind{
		{}, {}, {}, {}, {parallel: true}, {parallel: true}, {parallel: true},
		{fails: 50}, {fails: 50}, {fails: 100, parallel: true}, {fails: 300, parallel: true},
		{stalls: 2}, {stalls: 5, parallel: true}, {redirects: 30}, {cuts: 50}, {cuts: 50, parallel: true},
		{gone: true}, {throttles: 2}, {throttles: 3, parallel: true, dated: true}, {dies: true},
	}
}

// world is what a test has: a gateway that is killed, receivers that are not.
type world struct {
	t         *testing.T
	program   string
	dir       string
	events    int
	receivers []*receiver
	repeated  map[int]bool // events whose publish was not answered: they may be there twice

	mu      sync.Mutex
	gateway *gateway.Gateway // guarded by mu, like the rest
	base    string
	next    int // event to publish next
}

// received is what came under one id.
type received struct {
	total    int
	under    context.Context // of the request that is under way, nil if none is
	accepted bool
}

// receiver is the other end of an endpoint.
type receiver struct {
	// immutable
	name    string
	kind    kind
	address string
	verify  *standardwebhooks.Webhook

	mu       sync.Mutex // guards the rest
	random   *rand.Rand
	count    int
	requests map[string]*received
	accepted map[int]map[string]bool // ids by event
	order    []int                   // events in the order in which they were accepted first
	faults   []string
	server   *http.Server
}

// open makes the receivers and their endpoints.
func (w *world) open(seed uint64) {
	w.repeated = map[int]bool{}
	for i, k := range kinds() {
		r := &receiver{
			name: fmt.Sprintf("e%02d", i), kind: k, address: "127.0.0.1:0", requests: map[string]*received{}, accepted: map[int]map[string]bool{},
			random: rand.New(rand.NewPCG(seed, uint64(i+1))),
		}
		r.listen(w.t)
		w.t.Cleanup(r.close)
		spec := map[string]any{
			"url": "http://" + r.address + "/" + r.name, "subjects": []string{"events.>"}, "timeout": 1000, "ordered": !k.parallel, "concurrency": concurrency,
			"schedule": []int{20, 50, 100, 200, 500}, "max_attempts": 50, "pause_after": 10, "pause": 200,
		}
		var made struct{ Secret string }
		w.must("PUT", "/v1/webhooks/"+r.name, spec, &made)
		var err error
		if r.verify, err = standardwebhooks.NewWebhook(made.Secret); err != nil {
			w.t.Fatal(err)
		}
		w.receivers = append(w.receivers, r)
	}
	if len(w.receivers) != endpoints {
		w.t.Fatalf("there are %d endpoints", len(w.receivers))
	}
}

// listen opens the receiver, at the address that it had before.
func (r *receiver) listen(t *testing.T) {
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		t.Error(err)
		return
	}
	r.address = l.Addr().String()
	server := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	r.mu.Lock()
	r.server = server
	r.mu.Unlock()
	go server.Serve(l) //nolint:errcheck // http.ErrServerClosed
}

func (r *receiver) close() {
	r.mu.Lock()
	server := r.server
	r.mu.Unlock()
	if server != nil {
		_ = server.Close()
	}
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the gateway was killed while it wrote
	}
	id := req.Header.Get("webhook-id")
	act := r.begin(req, id, body)
	defer r.end(req, id)
	switch act {
	case "fail":
		w.WriteHeader(500)
	case "stall":
		<-req.Context().Done()
	case "redirect":
		http.Redirect(w, req, "http://"+r.address+"/other", http.StatusTemporaryRedirect)
	case "cut":
		panic(http.ErrAbortHandler)
	case "throttle":
		after := "1"
		if r.kind.dated {
			after = time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat)
		}
		w.Header().Set("Retry-After", after)
		w.WriteHeader(429)
	case "gone":
		w.WriteHeader(410)
	default:
		r.accept(id, body)
	}
}

// begin notes a request and says what to do with it.
func (r *receiver) begin(req *http.Request, id string, body []byte) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.verify != nil {
		if err := r.verify.Verify(body, req.Header); err != nil {
			r.faults = append(r.faults, "signature: "+err.Error())
		}
	}
	if req.URL.Path != "/"+r.name {
		r.faults = append(r.faults, "a redirect was followed")
	}
	got := r.requests[id]
	if got == nil {
		got = &received{}
		r.requests[id] = got
	}
	if got.under != nil && got.under.Err() == nil {
		r.faults = append(r.faults, id+" came twice at the same time")
	}
	got.total++
	got.under = req.Context()
	r.count++
	if r.kind.gone {
		if r.count >= goneAfter {
			return "gone"
		}
		return ""
	}
	dice := r.random.IntN(1000)
	for _, x := range []struct {
		act  string
		rate int
	}{{"fail", r.kind.fails}, {"stall", r.kind.stalls}, {"redirect", r.kind.redirects}, {"cut", r.kind.cuts}, {"throttle", r.kind.throttles}} {
		if dice -= x.rate; dice < 0 {
			return x.act
		}
	}
	return ""
}

func (r *receiver) end(req *http.Request, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.requests[id]; got.under == req.Context() {
		got.under = nil
	}
}

// accept notes that an event has been delivered.
func (r *receiver) accept(id string, body []byte) {
	var event struct{ N int }
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := json.Unmarshal(body, &event); err != nil {
		r.faults = append(r.faults, fmt.Sprintf("the body is %q", body))
		return
	}
	r.requests[id].accepted = true
	ids := r.accepted[event.N]
	if ids == nil {
		ids = map[string]bool{}
		r.accepted[event.N] = ids
		r.order = append(r.order, event.N)
	}
	ids[id] = true
}

// publish publishes the events one after the other, each until it is acknowledged, over all kills. The receivers that die do so meanwhile.
func (w *world) publish() {
	for n := range w.events {
		body := fmt.Appendf(nil, `{"n":%d}`, n)
		for try := 0; ; try++ {
			status, _, err := w.call("POST", "/v1/publish/events."+strconv.Itoa(n%7), body)
			if err == nil && status == http.StatusOK {
				break
			}
			w.repeated[n] = true
			if try > 3000 || w.t.Failed() {
				w.t.Errorf("event %d could not be published: %d %v", n, status, err)
				return
			}
			<-time.After(20 * time.Millisecond)
		}
		w.mu.Lock()
		w.next = n + 1
		w.mu.Unlock()
		for _, r := range w.receivers {
			switch {
			case r.kind.dies && n == w.events*3/10:
				r.close()
			case r.kind.dies && n == w.events*45/100:
				r.listen(w.t)
			}
		}
	}
}

// reached waits until so many events are published.
func (w *world) reached(n int) {
	deadline := time.Now().Add(patience)
	for {
		w.mu.Lock()
		next := w.next
		w.mu.Unlock()
		if next >= n {
			return
		}
		if time.Now().After(deadline) || w.t.Failed() {
			w.t.Fatalf("%d events are published after %v", next, patience)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// call makes a request to the gateway, whichever that is now.
func (w *world) call(method, path string, body []byte) (int, []byte, error) {
	w.mu.Lock()
	base := w.base
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// must makes a request that has to succeed, and decodes the answer.
func (w *world) must(method, path string, body, into any) {
	w.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			w.t.Fatal(err)
		}
	}
	status, answer, err := w.call(method, path, text)
	if err != nil || status/100 != 2 {
		w.t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		w.t.Fatalf("%s %s: %s: %v", method, path, answer, err)
	}
}
