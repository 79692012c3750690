package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/queue"

	httpapi "portico/adapters/http"
)

func TestQueueLife(t *testing.T) {
	d := open(t, httpapi.Config{})
	body := `{"max_deliveries":3,"dead_letter":{"queue":"dead"}}`
	q := want[description](t, d.do("PUT", "/v1/queues/jobs", body), 201)
	if q.Name != "jobs" || !q.Durable || q.AutoDelete || q.MaxDeliveries != 3 {
		t.Errorf("created %+v", q)
	}
	want[description](t, d.do("PUT", "/v1/queues/jobs", body), 200)
	refused(t, d.do("PUT", "/v1/queues/jobs", "{}"), 409, core.CodePreconditionFailed)
	for i := range 3 {
		want[receipt](t, d.do("POST", "/v1/queues/jobs/messages", fmt.Sprint(i)), 201)
	}
	if q := d.show("jobs"); q.Ready != 3 || q.Unacked != 0 {
		t.Errorf("filled %+v", q)
	}
	list := want[struct{ Queues []description }](t, d.do("GET", "/v1/queues", ""), 200)
	if len(list.Queues) != 1 || list.Queues[0].Ready != 3 {
		t.Errorf("list %+v", list)
	}
	if got := want[struct{ Purged int }](t, d.do("DELETE", "/v1/queues/jobs/messages", ""), 200); got.Purged != 3 {
		t.Errorf("purged %+v", got)
	}
	if got := want[struct{ Ready int }](t, d.do("DELETE", "/v1/queues/jobs", ""), 200); got.Ready != 0 {
		t.Errorf("deleted %+v", got)
	}
	for _, method := range []string{"GET", "DELETE"} {
		refused(t, d.do(method, "/v1/queues/jobs", ""), 404, core.CodeNotFound)
	}
	for _, verb := range []string{"messages", "fetch", "ack", "nack", "extend"} {
		refused(t, d.do("POST", "/v1/queues/jobs/"+verb, ""), 404, core.CodeNotFound)
	}
}

func TestBindings(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q")
	for _, p := range []string{"orders.%2A", "logs.%3E", "orders.%2A"} {
		if a := d.do("PUT", "/v1/queues/q/bindings/"+p, ""); a.status != 204 {
			t.Fatalf("bind %s: %d %s", p, a.status, a.body)
		}
	}
	if got := want[struct{ Bindings []string }](t, d.do("GET", "/v1/queues/q/bindings", ""), 200); strings.Join(got.Bindings, " ") != "logs.> orders.*" {
		t.Errorf("bindings %q", got)
	}
	if got := want[map[string]string](t, d.do("GET", "/v1/queues/q/bindings/orders.*", ""), 200); got["pattern"] != "orders.*" || got["queue"] != "q" {
		t.Errorf("binding %q", got)
	}
	for range 2 {
		if a := d.do("DELETE", "/v1/queues/q/bindings/orders.*", ""); a.status != 204 {
			t.Errorf("unbind: %d %s", a.status, a.body)
		}
	}
	refused(t, d.do("GET", "/v1/queues/q/bindings/orders.*", ""), 404, core.CodeNotFound)
	refused(t, d.do("PUT", "/v1/queues/q/bindings/a..b", ""), 400, core.CodeInvalid)
	refused(t, d.do("PUT", "/v1/queues/none/bindings/a", ""), 404, core.CodeNotFound)
}

func TestQueueRequestsRefused(t *testing.T) {
	d := open(t, httpapi.Config{MaxBody: 100})
	d.declare("q")
	if _, _, err := d.gateway.System().DeclareQueue(t.Context(), core.QueueConfig{Name: "owned", Owner: "somebody"}); err != nil {
		t.Fatal(err)
	}
	many, err := json.Marshal(map[string]any{"tokens": make([]string, 1001)})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		method, path, body string
		status             int
		code               core.Code
	}{
		"no JSON":               {"PUT", "/v1/queues/n", "x", 400, core.CodeInvalid},
		"unknown field":         {"PUT", "/v1/queues/n", `{"durabel":true}`, 400, core.CodeInvalid},
		"wrong type":            {"PUT", "/v1/queues/n", `{"durable":1}`, 400, core.CodeInvalid},
		"something behind":      {"PUT", "/v1/queues/n", `{} {}`, 400, core.CodeInvalid},
		"name too long":         {"PUT", "/v1/queues/" + strings.Repeat("n", 256), "", 400, core.CodeInvalid},
		"two dead letters":      {"PUT", "/v1/queues/n", `{"dead_letter":{"queue":"a","subject":"b"}}`, 400, core.CodeInvalid},
		"command too large":     {"PUT", "/v1/queues/n", strings.Repeat(" ", 1<<20+1), 413, core.CodeTooLarge},
		"message too large":     {"POST", "/v1/queues/q/messages", strings.Repeat(" ", 101), 413, core.CodeTooLarge},
		"owned by a connection": {"POST", "/v1/queues/owned/messages", "x", 409, core.CodeLocked},
		"max of no number":      {"POST", "/v1/queues/q/fetch?max=x", "", 400, core.CodeInvalid},
		"max too large":         {"POST", "/v1/queues/q/fetch?max=1001", "", 400, core.CodeInvalid},
		"wait too long":         {"POST", "/v1/queues/q/fetch?wait=1h", "", 400, core.CodeInvalid},
		"lease too short":       {"POST", "/v1/queues/q/fetch?lease=1ms", "", 400, core.CodeInvalid},
		"lease too long":        {"POST", "/v1/queues/q/fetch?lease=13h", "", 400, core.CodeInvalid},
		"no tokens":             {"POST", "/v1/queues/q/ack", `{}`, 400, core.CodeInvalid},
		"too many tokens":       {"POST", "/v1/queues/q/nack", string(many), 400, core.CodeInvalid},
		"bad extension":         {"POST", "/v1/queues/q/extend", `{"tokens":["x"],"lease":"long"}`, 400, core.CodeInvalid},
		"no token":              {"POST", "/v1/queues/q/ack", `{"tokens":["x"]}`, 400, core.CodeInvalid},
		"forged token":          {"POST", "/v1/queues/q/ack", `{"tokens":["` + strings.Repeat("A", 48) + `"]}`, 409, core.CodePreconditionFailed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			refused(t, d.do(c.method, c.path, c.body), c.status, c.code)
		})
	}
}

func TestFetch(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q")
	want[receipt](t, d.do("POST", "/v1/queues/q/messages", "zero", with("Content-Type", "text/plain"), with("Msg-Color", "red")), 201)
	for i := range 15 {
		want[receipt](t, d.do("POST", "/v1/queues/q/messages", fmt.Sprint(i+1)), 201)
	}
	first := d.fetch("q", "")
	if len(first) != 10 || first[0].text() != "zero" || first[0].Headers["Content-Type"] != "text/plain" || first[0].Headers["color"] != "red" ||
		first[0].Attempt != 1 || first[0].Redelivered || first[9].text() != "9" {
		t.Errorf("first fetch %+v", first)
	}
	if rest := d.fetch("q", "max=1000"); len(rest) != 6 || rest[5].text() != "15" {
		t.Errorf("rest %+v", rest)
	}
	start := time.Now()
	if none := d.fetch("q", ""); len(none) != 0 || time.Since(start) > time.Second {
		t.Errorf("empty queue: %+v after %s", none, time.Since(start))
	}
	if q := d.show("q"); q.Ready != 0 || q.Unacked != 16 || q.Consumers != 0 {
		t.Errorf("queue %+v", q)
	}
}

func TestFetchWaits(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q")
	fetched := make(chan []message, 1)
	go func() { fetched <- d.fetch("q", "wait=20s&max=5") }()
	eventually(t, "the fetch waits", func() bool { return d.show("q").Consumers == 1 })
	want[receipt](t, d.do("POST", "/v1/queues/q/messages", "late"), 201)
	if m := <-fetched; len(m) != 1 || m[0].text() != "late" {
		t.Errorf("fetched %+v", m)
	}
	start := time.Now()
	if m := d.fetch("q", "wait=50ms"); len(m) != 0 || time.Since(start) < 50*time.Millisecond {
		t.Errorf("fetched %+v after %s", m, time.Since(start))
	}
}

func TestFetchIsBoundedInBytes(t *testing.T) {
	d := open(t, httpapi.Config{})
	big := strings.Repeat("x", 1<<20)
	d.declare("q")
	for range 20 {
		want[receipt](t, d.do("POST", "/v1/queues/q/messages", big), 201)
	}
	if n := len(d.fetch("q", "max=1000&wait=2s")); n < 8 || n > 10 {
		t.Errorf("%d messages of 1 MiB in one fetch", n)
	}
}

func TestFetchRaw(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q")
	if a := d.do("POST", "/v1/queues/q/fetch?raw=1", ""); a.status != 204 {
		t.Errorf("empty: %d", a.status)
	}
	want[receipt](t, d.do("POST", "/v1/queues/q/messages", "\x00\xff", with("Content-Type", "image/x"), with("Msg-N", "1")), 201)
	a := d.do("POST", "/v1/queues/q/fetch", "", with("Accept", "application/octet-stream"))
	if a.status != 200 || string(a.body) != "\x00\xff" || a.header.Get("Content-Type") != "image/x" || a.header.Get("Msg-N") != "1" ||
		a.header.Get("Portico-Attempt") != "1" || a.header.Get("Portico-Redelivered") != "false" {
		t.Errorf("raw %d %q %v", a.status, a.body, a.header)
	}
	d.settle(200, "q", "ack", a.header.Get("Portico-Token"))
	if q := d.show("q"); q.Unacked != 0 {
		t.Errorf("queue %+v", q)
	}
}

// settle settles tokens; more is further JSON, such as ,"requeue":false
func (d *doorway) settle(status int, q, verb string, tokens ...string) answer {
	d.t.Helper()
	return d.settleWith(status, q, verb, "", tokens...)
}

func (d *doorway) settleWith(status int, q, verb, more string, tokens ...string) answer {
	d.t.Helper()
	body, err := json.Marshal(tokens)
	if err != nil {
		d.t.Fatal(err)
	}
	a := d.do("POST", "/v1/queues/"+q+"/"+verb, `{"tokens":`+string(body)+more+`}`)
	if a.status != status {
		d.t.Fatalf("%s: %d %s, want %d", verb, a.status, a.body, status)
	}
	return a
}

func tokens(ms []message) []string {
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = m.Token
	}
	return out
}

func TestSettle(t *testing.T) {
	for name, durable := range map[string]string{"memory": "false", "durable": "true"} {
		t.Run(name, func(t *testing.T) {
			d := open(t, httpapi.Config{})
			want[description](t, d.do("PUT", "/v1/queues/dead", `{"durable":`+durable+`}`), 201)
			want[description](t, d.do("PUT", "/v1/queues/q", `{"durable":`+durable+`,"dead_letter":{"queue":"dead"}}`), 201)
			for _, m := range []string{"a", "b", "c", "d"} {
				want[receipt](t, d.do("POST", "/v1/queues/q/messages", m), 201)
			}
			ms := d.fetch("q", "wait=2s")
			if len(ms) != 4 {
				t.Fatalf("fetched %+v", ms)
			}
			d.settle(200, "q", "ack", ms[0].Token)
			d.settle(200, "q", "nack", ms[2].Token, ms[1].Token)
			d.settleWith(200, "q", "nack", `,"requeue":false`, ms[3].Token)
			again := d.fetch("q", "wait=2s")
			if len(again) != 2 || again[0].text() != "b" || again[1].text() != "c" || !again[0].Redelivered || again[0].Attempt != 2 {
				t.Errorf("again %+v", again)
			}
			if dead := d.fetch("dead", "wait=5s"); len(dead) != 1 || dead[0].text() != "d" || dead[0].Headers["Portico-Death-Queue"] != "q" {
				t.Errorf("dead %+v", dead)
			}
			p := refused(t, d.settle(409, "q", "ack", ms[0].Token, again[0].Token, ms[1].Token), 409, core.CodePreconditionFailed)
			if len(p.Results) != 3 || p.Results[0].OK || !p.Results[1].OK || p.Results[2].OK || p.Results[0].Status != 409 {
				t.Errorf("results %+v", p.Results)
			}
			d.settle(200, "q", "ack", again[1].Token)
			if q := d.show("q"); q.Ready != 0 || q.Unacked != 0 {
				t.Errorf("queue %+v", q)
			}
		})
	}
}

func TestLease(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q", "a", "b")
	ms := d.fetch("q", "lease=100ms")
	if len(ms) != 2 {
		t.Fatalf("fetched %+v", ms)
	}
	d.settleWith(200, "q", "extend", `,"lease":"30s"`, ms[1].Token)
	again := d.fetch("q", "wait=5s")
	if len(again) != 1 || again[0].text() != "a" || again[0].Attempt != 2 {
		t.Fatalf("after the lease: %+v", again)
	}
	d.settle(409, "q", "ack", ms[0].Token)
	d.settleWith(409, "q", "extend", "", ms[0].Token)
	d.settle(200, "q", "ack", ms[1].Token)
}

func TestTokensDieWithTheirQueue(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q", "old")
	old := d.fetch("q", "")
	if a := d.do("DELETE", "/v1/queues/q", ""); a.status != 200 {
		t.Fatal(a.status)
	}
	d.declare("q", "new")
	fresh := d.fetch("q", "")
	d.settle(409, "q", "ack", tokens(old)...)
	d.settle(200, "q", "ack", tokens(fresh)...)
	d.declare("other", "x")
	other := d.fetch("other", "")
	d.settle(409, "q", "ack", tokens(other)...)
}

func TestClientGoneWhileFetching(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := d.try(d.request("POST", "/v1/queues/q/fetch?wait=1m&max=5", "").WithContext(ctx))
		ended <- err
	}()
	eventually(t, "the fetch waits", func() bool { return d.show("q").Consumers == 1 })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	eventually(t, "the fetch ends", func() bool { return d.show("q").Consumers == 0 })
	want[receipt](t, d.do("POST", "/v1/queues/q/messages", "m"), 201)
	if m := d.fetch("q", "wait=5s"); len(m) != 1 || m[0].Attempt != 1 {
		t.Errorf("fetched %+v", m)
	}
}

func TestWaitingFetchEndsWithItsQueueAndWithTheGateway(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q")
	fetched := make(chan answer, 1)
	wait := func() {
		t.Helper()
		go func() { fetched <- d.do("POST", "/v1/queues/q/fetch?wait=1m", "") }()
		eventually(t, "the fetch waits", func() bool { return d.show("q").Consumers == 1 })
	}
	wait()
	if a := d.do("DELETE", "/v1/queues/q", ""); a.status != 200 {
		t.Fatal(a.status)
	}
	refused(t, <-fetched, 404, core.CodeNotFound)
	d.declare("q")
	wait()
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if ms := want[struct{ Messages []message }](t, <-fetched, 200); len(ms.Messages) != 0 {
		t.Errorf("fetched %+v", ms)
	}
}

func TestExclusivelyConsumedQueueCannotBeFetched(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q")
	q, err := d.gateway.System().Queue("q")
	if err != nil {
		t.Fatal(err)
	}
	c := exclusive(t, q)
	defer c.Close()
	refused(t, d.do("POST", "/v1/queues/q/fetch", ""), 409, core.CodeLocked)
}

func TestUnreadableRecordIsRejected(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q")
	q, err := d.gateway.System().Queue("q")
	if err != nil {
		t.Fatal(err)
	}
	kept := make(chan error, 1)
	q.AppendFunc(queue.Record{Data: []byte{99}}, func(err error) { kept <- err })
	if err := <-kept; err != nil {
		t.Fatal(err)
	}
	want[receipt](t, d.do("POST", "/v1/queues/q/messages", "good"), 201)
	if ms := d.fetch("q", "wait=5s"); len(ms) != 1 || ms[0].text() != "good" {
		t.Errorf("fetched %+v", ms)
	}
	eventually(t, "the bad one is gone", func() bool { return d.show("q").Unacked == 1 })
}
