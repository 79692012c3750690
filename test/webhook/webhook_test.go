// Package webhook kills a gateway that delivers to webhooks, again and again, while their receivers misbehave, and holds it to what it has promised.
package webhook

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"
)

const (
	endpoints = 20
	kills     = 3
	patience  = 4 * time.Minute // for deliveries when everything is published
)

// TestKill: 20 endpoints whose receivers fail, stall, redirect, cut, answer 410 and 429 and die; events are published one after the other while the gateway is killed three
// times. Each event is delivered at least once to each endpoint but the one that said 410, in order where that is asked for, signed, under one id whatever happens, and never twice at the
// same time; and the log knows of every one of them. 500 events; 10,000 with E2E=long.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts the gateway over and over")
	}
	events := 500
	if os.Getenv("E2E") == "long" {
		events = 10_000
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := &world{t: t, program: gateway.Build(t), dir: t.TempDir(), events: events}
	w.start()
	w.open(seed)
	began := time.Now()
	var publisher sync.WaitGroup
	publisher.Go(w.publish)
	for k := range kills {
		w.reached(events * (k + 1) / (kills + 1))
		<-time.After(time.Duration(random.Int64N(int64(300 * time.Millisecond)))) // the moment of the kill is what is random here
		w.gateway.Signal(t, syscall.SIGKILL)
		w.gateway.Wait(t)
		w.start()
	}
	publisher.Wait()
	if t.Failed() {
		return
	}
	published := time.Since(began)
	for _, r := range w.receivers {
		w.drained(r)
	}
	t.Logf("%d events published in %v, delivered in %v", events, published.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	var requests, logged int
	for _, r := range w.receivers {
		n, m := w.check(r)
		requests, logged = requests+n, logged+m
	}
	t.Logf("%d requests, %d of them in the logs", requests, logged)
	if most := kills * endpoints * concurrency; requests-logged > most || logged > requests {
		t.Errorf("%d requests and %d attempts in the logs: want at most %d less, those that were under way at the kills", requests, logged, most)
	}
}

// start runs the gateway on the world's data.
func (w *world) start() {
	w.t.Helper()
	g := gateway.RunIn(w.t, w.dir, exec.Command(w.program, "--webhooks-allow-networks", "127.0.0.0/8"))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gateway, w.base = g, g.Doors["HTTP"]
}

// check compares what a receiver got with what was published and what the log says. It returns how many requests and logged attempts there were.
func (w *world) check(r *receiver) (requests, logged int) {
	t := w.t
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fault := range r.faults {
		t.Errorf("%s: %s", r.name, fault)
	}
	byID := w.log(r)
	for id, got := range r.requests {
		d := byID[id]
		requests += got.total
		if got.total-d.Count > kills || d.Count > got.total && !r.kind.dies { // to one that is dead no request comes
			t.Errorf("%s: %s was sent %d times, and the log has %d attempts", r.name, id, got.total, d.Count)
		}
		if got.accepted && d.Status != "succeeded" {
			t.Errorf("%s: %s was accepted, and the log says %q", r.name, id, d.Status)
		}
	}
	for id, d := range byID {
		logged += min(d.Count, r.total(id))
	}
	if r.kind.gone {
		w.checkGone(r)
		return requests, logged
	}
	last := -1
	for n := range w.events {
		ids := r.accepted[n]
		if len(ids) == 0 {
			t.Errorf("%s: event %d was not delivered", r.name, n)
			continue
		}
		if len(ids) > 1 && !w.repeated[n] {
			t.Errorf("%s: event %d was published once and delivered as %v", r.name, n, ids)
		}
	}
	if r.kind.parallel {
		return requests, logged
	}
	for _, n := range r.order {
		if n < last {
			t.Errorf("%s: event %d came behind event %d", r.name, n, last)
		}
		last = n
	}
	return requests, logged
}

// total is how many requests had an id. The caller holds mu.
func (r *receiver) total(id string) int {
	if got := r.requests[id]; got != nil {
		return got.total
	}
	return 0
}

// checkGone: the endpoint is disabled, and what it has not got waits in its queue.
func (w *world) checkGone(r *receiver) {
	var e struct {
		State          string
		DisabledReason string `json:"disabled_reason"`
		Ready, Waiting int
	}
	w.must("GET", "/v1/webhooks/"+r.name, nil, &e)
	if e.State != "disabled" || e.DisabledReason == "" || e.Ready == 0 {
		w.t.Errorf("%s is %+v, want it disabled with messages in its queue", r.name, e)
	}
	if got := len(r.order); got < goneAfter-1 || got > goneAfter+kills {
		w.t.Errorf("%s accepted %d events, and said 410 to number %d", r.name, got, goneAfter)
	}
}

// logged is a delivery as the log has it.
type logged struct {
	ID     string
	Status string
	Count  int
}

// log reads the whole log of an endpoint.
func (w *world) log(r *receiver) map[string]logged {
	w.t.Helper()
	all := map[string]logged{}
	for cursor := ""; ; {
		var page struct {
			Deliveries []logged
			Next       string
		}
		path := "/v1/webhooks/" + r.name + "/deliveries?limit=1000"
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		w.must("GET", path, nil, &page)
		for _, d := range page.Deliveries {
			if _, seen := all[d.ID]; !seen { // a message that was taken in again after a kill is on a later page once more, with what happened since
				all[d.ID] = d
			}
		}
		if cursor = page.Next; cursor == "" {
			return all
		}
	}
}

// drained waits until an endpoint has nothing left to deliver.
func (w *world) drained(r *receiver) {
	w.t.Helper()
	if r.kind.gone {
		return
	}
	deadline := time.Now().Add(patience)
	var q struct{ Ready, Unacked int }
	for {
		w.must("GET", "/v1/queues/webhook."+r.name, nil, &q)
		if q.Ready+q.Unacked == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s has %+v left after %v", r.name, q, patience)
		}
		<-time.After(20 * time.Millisecond)
	}
}
