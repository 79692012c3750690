package httpapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	httpapi "portico/adapters/http"
)

type consumerShown struct {
	Stream, Name string
	Config       struct {
		Subjects []string
		AckWait  int64 `json:"ack_wait"`
		Deliver  string
	}
	AckPending  int `json:"ack_pending"`
	Pending     uint64
	AckFloor    uint64     `json:"ack_floor"`
	PausedUntil *time.Time `json:"paused_until"`
}

type lent struct {
	Pending uint64
	stored
}

func (d *doorway) lend(consumer, query string, options ...option) []lent {
	d.t.Helper()
	return want[struct{ Messages []lent }](d.t, d.do("POST", "/v1/streams/s/consumers/"+consumer+"/fetch?"+query, "", options...), 200).Messages
}

func texts(all []lent) string {
	var words []string
	for _, m := range all {
		words = append(words, m.text())
	}
	return strings.Join(words, " ")
}

func lentTokens(all []lent) string {
	var words []string
	for _, m := range all {
		words = append(words, `"`+m.Token+`"`)
	}
	return `{"tokens":[` + strings.Join(words, ",") + `]`
}

func (d *doorway) settled(consumer, verb, body string, options ...option) {
	d.t.Helper()
	for _, r := range want[struct{ Results []result }](d.t, d.do("POST", "/v1/streams/s/consumers/"+consumer+"/"+verb, body, options...), 200).Results {
		if !r.OK {
			d.t.Errorf("%s: %+v", verb, r)
		}
	}
}

func TestConsumers(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s", "a=1", "b=2", "a=3")
	const path = "/v1/streams/s/consumers/c"
	made := d.do("PUT", path, `{"subjects":["s.a"],"ack_wait":60000}`)
	if c := want[consumerShown](t, made, 201); c.Stream != "s" || c.Name != "c" || c.Config.AckWait != 60000 || c.Pending != 2 || made.header.Get("ETag") == "" {
		t.Errorf("created %+v", c)
	}
	want[consumerShown](t, d.do("PUT", path, `{"subjects":["s.a"],"ack_wait":60000}`), 200)
	refused(t, d.do("PUT", path, `{"subjects":["s.b"]}`), 409, core.CodePreconditionFailed)
	refused(t, d.do("PUT", path, `{"subjects":["s.a"]}`, with("If-None-Match", "*")), 412, core.CodePreconditionFailed)
	want[consumerShown](t, d.do("PUT", "/v1/streams/s/consumers/b", `{"deliver":"sequence","sequence":2}`), 201)
	list := want[struct {
		Consumers []consumerShown
		Next      string
	}](t, d.do("GET", "/v1/streams/s/consumers?limit=1", ""), 200)
	if len(list.Consumers) != 1 || list.Consumers[0].Name != "b" || list.Next == "" {
		t.Errorf("listed %+v", list)
	}
	native, err := d.natively().Consumer(t.Context(), "s", "c")
	if err != nil || native.CachedInfo().Config.AckWait != time.Minute {
		t.Errorf("as a NATS client sees it: %+v %v", native, err)
	}
	if got := texts(d.lend("b", "")); got != "2 3" {
		t.Errorf("from sequence 2: %s", got)
	}
	if a := d.do("DELETE", path, ""); a.status != 204 {
		t.Errorf("delete: %d", a.status)
	}
	refused(t, d.do("GET", path, ""), 404, core.CodeNotFound)
}

func TestConsumerIsPaused(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s", "a=1")
	want[consumerShown](t, d.do("PUT", "/v1/streams/s/consumers/c", ""), 201)
	c := want[consumerShown](t, d.do("POST", "/v1/streams/s/consumers/c/pause", `{"for":3600000}`), 200)
	if c.PausedUntil == nil || time.Until(*c.PausedUntil) < 50*time.Minute {
		t.Errorf("paused %+v", c)
	}
	if got := d.lend("c", "wait=50ms"); len(got) != 0 {
		t.Errorf("delivered meanwhile: %+v", got)
	}
	if c := want[consumerShown](t, d.do("POST", "/v1/streams/s/consumers/c/resume", ""), 200); c.PausedUntil != nil {
		t.Errorf("resumed %+v", c)
	}
	if got := texts(d.lend("c", "wait=5s")); got != "1" {
		t.Errorf("then %s", got)
	}
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	if c := want[consumerShown](t, d.do("POST", "/v1/streams/s/consumers/c/pause", `{"until":"`+until+`"}`), 200); c.PausedUntil == nil || c.PausedUntil.UTC().Format(time.RFC3339) != until {
		t.Errorf("paused %+v", c)
	}
}

func TestLentMessagesAreSettled(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s", "a=1", "a=2", "a=3", "a=4")
	want[consumerShown](t, d.do("PUT", "/v1/streams/s/consumers/c", `{"ack_wait":300000}`), 201)
	first := d.lend("c", "max=1")
	if texts(first) != "1" || first[0].Attempt != 1 || first[0].Sequence != 1 || first[0].Subject != "s.a" || first[0].Pending != 3 || first[0].Time.IsZero() {
		t.Fatalf("lent %+v", first)
	}
	rest := d.lend("c", "wait=1s")
	if texts(rest) != "2 3 4" {
		t.Fatalf("lent %s", texts(rest))
	}
	d.settled("c", "ack", lentTokens(first)+"}")
	d.settled("c", "extend", lentTokens(rest)+"}")
	d.settled("c", "term", lentTokens(rest[:1])+"}")
	d.settled("c", "nack", lentTokens(rest[1:2])+"}")
	again := d.lend("c", "wait=5s")
	if texts(again) != "3" || again[0].Attempt != 2 {
		t.Fatalf("lent again %+v", again)
	}
	d.settled("c", "ack", lentTokens(again)+"}")
	d.settled("c", "nack", lentTokens(rest[2:])+`,"delay":50}`)
	raw := d.do("POST", "/v1/streams/s/consumers/c/fetch?wait=5s", "", with("Accept", "application/octet-stream"))
	if raw.status != 200 || string(raw.body) != "4" || raw.header.Get("Portico-Attempt") != "2" || raw.header.Get("Portico-Redelivered") != "true" || raw.header.Get("Portico-Sequence") != "4" {
		t.Fatalf("raw %d %q %v", raw.status, raw.body, raw.header)
	}
	d.settled("c", "ack", `{"tokens":["`+raw.header.Get("Portico-Token")+`"]}`)
	if a := d.do("POST", "/v1/streams/s/consumers/c/fetch?raw=1", ""); a.status != 204 {
		t.Errorf("nothing more: %d %s", a.status, a.body)
	}
	c := want[consumerShown](t, d.do("GET", "/v1/streams/s/consumers/c", ""), 200)
	if c.AckPending != 0 || c.Pending != 0 || c.AckFloor != 4 {
		t.Errorf("at the end %+v", c)
	}
}

func TestTokensOfStreamsAreBound(t *testing.T) {
	d := open(t, httpapi.Config{}, coretest.Users(core.User{Name: "ann", Password: "p"}, core.User{Name: "bob", Password: "p"}))
	ann, bob := as("ann", "p"), as("bob", "p")
	want[streamShown](t, d.do("PUT", "/v1/streams/s", `{"subjects":["s.>"]}`, ann), 201)
	bus := d.gateway.System()
	for i := range 2 {
		if _, err := bus.Publish(t.Context(), &core.Message{Subject: "s.a", Data: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
	want[consumerShown](t, d.do("PUT", "/v1/streams/s/consumers/c", "", ann), 201)
	want[consumerShown](t, d.do("PUT", "/v1/streams/s/consumers/d", "", ann), 201)
	got := d.lend("c", "wait=5s&max=2", ann)
	if len(got) == 0 {
		t.Fatal("nothing lent")
	}
	refused(t, d.do("POST", "/v1/streams/s/consumers/c/ack", lentTokens(got)+"}", bob), 409, core.CodePreconditionFailed)
	refused(t, d.do("POST", "/v1/streams/s/consumers/d/ack", lentTokens(got)+"}", ann), 409, core.CodePreconditionFailed)
	mixed := d.do("POST", "/v1/streams/s/consumers/c/ack", strings.Replace(lentTokens(got[:1]), "]", `,"bm8"]}`, 1), ann)
	p := refused(t, mixed, 400, core.CodeInvalid)
	if len(p.Results) != 2 || !p.Results[0].OK || p.Results[1].OK || p.Results[1].Status != 400 {
		t.Errorf("results %+v", p.Results)
	}
}

// A stream's consumer remembers over a restart what it has lent, and so do its tokens.
func TestTokensOfStreamsOutliveTheGateway(t *testing.T) {
	dir := t.TempDir()
	d := open(t, httpapi.Config{}, coretest.DataDir(dir))
	d.stream("s", "a=1")
	want[consumerShown](t, d.do("PUT", "/v1/streams/s/consumers/c", `{"ack_wait":300000}`), 201)
	got := d.lend("c", "wait=5s")
	if len(got) != 1 {
		t.Fatalf("lent %+v", got)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.gateway.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, httpapi.Config{}, coretest.DataDir(dir))
	again.settled("c", "ack", lentTokens(got)+"}")
	if c := want[consumerShown](t, again.do("GET", "/v1/streams/s/consumers/c", ""), 200); c.AckFloor != 1 || c.AckPending != 0 {
		t.Errorf("after the restart %+v", c)
	}
}

// Who goes away while it waits takes nothing with it.
func TestLentToNobody(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s")
	want[consumerShown](t, d.do("PUT", "/v1/streams/s/consumers/c", `{"ack_wait":300000}`), 201)
	js := d.natively()
	waiting := func() int {
		c, err := js.Consumer(t.Context(), "s", "c")
		if err != nil {
			t.Fatal(err)
		}
		return c.CachedInfo().NumWaiting
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := d.try(d.request("POST", "/v1/streams/s/consumers/c/fetch?wait=1m", "").WithContext(ctx))
		ended <- err
	}()
	eventually(t, "it waits", func() bool { return waiting() == 1 })
	cancel()
	if err := <-ended; err == nil {
		t.Fatal("it was answered")
	}
	eventually(t, "it waits no more", func() bool { return waiting() == 0 })
	if _, err := js.Publish(t.Context(), "s.a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if got := d.lend("c", "wait=5s"); len(got) != 1 {
		t.Errorf("lent %+v", got)
	}
}

func TestWaitingFetchEndsWhenTheGatewayStops(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s")
	want[consumerShown](t, d.do("PUT", "/v1/streams/s/consumers/c", ""), 201)
	js := d.natively()
	ended := make(chan answer, 1)
	go func() {
		a, _ := d.try(d.request("POST", "/v1/streams/s/consumers/c/fetch?wait=1m", ""))
		ended <- a
	}()
	eventually(t, "it waits", func() bool {
		c, err := js.Consumer(t.Context(), "s", "c")
		return err == nil && c.CachedInfo().NumWaiting == 1
	})
	start := time.Now()
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("stopping took %s", took)
	}
	if a := <-ended; a.status != 200 && a.status != 503 {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}
