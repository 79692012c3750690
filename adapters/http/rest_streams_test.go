package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	httpapi "portico/adapters/http"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// natively connects as a NATS client.
func (d *doorway) natively() jetstream.JetStream {
	d.t.Helper()
	nc, err := nats.Connect("nats://" + d.gateway.NATSAddr())
	if err != nil {
		d.t.Fatalf("connect with NATS: %v", err)
	}
	d.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		d.t.Fatal(err)
	}
	return js
}

type streamShown struct {
	Name   string
	Config struct {
		Description    string
		Subjects       []string
		Retention      string
		MaxAge         int64 `json:"max_age"`
		MaxMessages    int64 `json:"max_messages"`
		MaxMessageSize int32 `json:"max_message_size"`
	}
	Messages, Bytes uint64
	First           uint64 `json:"first_sequence"`
	Last            uint64 `json:"last_sequence"`
	Consumers       int
}

type stored struct {
	Sequence uint64
	Time     time.Time
	message
}

type storedList struct {
	Messages []stored
	Next     uint64
}

func (l storedList) String() string {
	var words []string
	for _, m := range l.Messages {
		words = append(words, fmt.Sprintf("%d:%s=%s", m.Sequence, m.Subject, m.text()))
	}
	return strings.Join(words, " ")
}

// stream makes a stream that keeps name.> and fills it.
func (d *doorway) stream(name string, messages ...string) {
	d.t.Helper()
	want[streamShown](d.t, d.do("PUT", "/v1/streams/"+name, `{"subjects":["`+name+`.>"]}`), 201)
	if len(messages) == 0 {
		return
	}
	js := d.natively()
	for _, m := range messages {
		subject, text, _ := strings.Cut(m, "=")
		if _, err := js.Publish(d.t.Context(), name+"."+subject, []byte(text)); err != nil {
			d.t.Fatalf("publish to %s: %v", name, err)
		}
	}
}

func TestStreams(t *testing.T) {
	d := open(t, httpapi.Config{})
	made := d.do("PUT", "/v1/streams/orders", `{"subjects":["orders.>"],"max_age":3600000,"description":"all of them"}`)
	s := want[streamShown](t, made, 201)
	if s.Name != "orders" || len(s.Config.Subjects) != 1 || s.Config.MaxAge != 3600000 || s.Config.Description != "all of them" || s.Messages != 0 {
		t.Errorf("created %+v", s)
	}
	native, err := d.natively().Stream(t.Context(), "orders")
	if err != nil || native.CachedInfo().Config.MaxAge != time.Hour || native.CachedInfo().Config.Subjects[0] != "orders.>" {
		t.Fatalf("as a NATS client sees it: %+v %v", native, err)
	}
	tag := made.header.Get("ETag")
	again := d.do("PUT", "/v1/streams/orders", `{"subjects":["orders.>"],"max_age":3600000,"description":"all of them"}`)
	want[streamShown](t, again, 200)
	if tag == "" || again.header.Get("ETag") != tag || d.do("GET", "/v1/streams/orders", "").header.Get("ETag") != tag {
		t.Errorf("entity tags %s and %s", tag, again.header.Get("ETag"))
	}
	changed := d.do("PUT", "/v1/streams/orders", `{"subjects":["orders.>"],"max_messages":10}`)
	if s := want[streamShown](t, changed, 200); s.Config.MaxMessages != 10 || s.Config.MaxAge != 0 || changed.header.Get("ETag") == tag {
		t.Errorf("changed %+v %s", s, changed.header.Get("ETag"))
	}
	if a := d.do("DELETE", "/v1/streams/orders", ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	refused(t, d.do("GET", "/v1/streams/orders", ""), 404, core.CodeNotFound)
	refused(t, d.do("DELETE", "/v1/streams/orders", ""), 404, core.CodeNotFound)
}

func TestStreamConditions(t *testing.T) {
	d := open(t, httpapi.Config{})
	const path, body = "/v1/streams/s", `{"subjects":["s.>"],"max_messages":1}`
	refused(t, d.do("PUT", path, body, with("If-Match", "*")), 412, core.CodePreconditionFailed)
	made := d.do("PUT", path, body, with("If-None-Match", "*"))
	want[streamShown](t, made, 201)
	refused(t, d.do("PUT", path, body, with("If-None-Match", "*")), 412, core.CodePreconditionFailed)
	refused(t, d.do("PUT", path, body, with("If-Match", `"other"`)), 412, core.CodePreconditionFailed)
	refused(t, d.do("PUT", path, body, with("If-Match", `other`)), 400, core.CodeInvalid)
	changed := d.do("PUT", path, `{"subjects":["s.>"],"max_messages":2}`, with("If-Match", made.header.Get("ETag")))
	want[streamShown](t, changed, 200)
	refused(t, d.do("PUT", path, body, with("If-Match", made.header.Get("ETag"))), 412, core.CodePreconditionFailed)
	last := d.do("PUT", path, `{"subjects":["s.>"],"max_messages":3}`, with("If-Match", "*"))
	want[streamShown](t, last, 200)
	refused(t, d.do("DELETE", path, "", with("If-Match", changed.header.Get("ETag"))), 412, core.CodePreconditionFailed)
	if a := d.do("DELETE", path, "", with("If-Match", last.header.Get("ETag"))); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
}

func TestStreamsThatOverlap(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("one")
	refused(t, d.do("PUT", "/v1/streams/two", `{"subjects":["one.x"]}`), 409, core.CodePreconditionFailed)
	refused(t, d.do("GET", "/v1/streams/two", ""), 404, core.CodeNotFound)
}

func TestStreamsAreListedInPages(t *testing.T) {
	d := open(t, httpapi.Config{})
	for _, name := range []string{"b", "d", "a", "c", "e"} {
		d.stream(name)
	}
	want[json.RawMessage](t, d.do("PUT", "/v1/kv/hidden", ""), 201)
	var names []string
	path := "/v1/streams?limit=2"
	for range 3 {
		a := d.do("GET", path, "")
		page := want[struct {
			Streams []streamShown
			Next    string
		}](t, a, 200)
		for _, s := range page.Streams {
			names = append(names, s.Name)
		}
		if (page.Next == "") != (a.header.Get("Link") == "") {
			t.Errorf("next %q, Link %q", page.Next, a.header.Get("Link"))
		}
		path = "/v1/streams?limit=2&cursor=" + page.Next
	}
	if got := strings.Join(names, " "); got != "a b c d e" {
		t.Errorf("listed %s", got)
	}
}

func TestStreamMessages(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s", "a=1", "b=2", "a=3", "b=4", "a=\xff")
	read := func(query string) string {
		t.Helper()
		return want[storedList](t, d.do("GET", "/v1/streams/s/messages?"+query, ""), 200).String()
	}
	for query, all := range map[string]string{
		"":                           "1:s.a=1 2:s.b=2 3:s.a=3 4:s.b=4 5:s.a=\xff",
		"from=4":                     "4:s.b=4 5:s.a=\xff",
		"from=9":                     "",
		"limit=2":                    "1:s.a=1 2:s.b=2",
		"subject=s.b":                "2:s.b=2 4:s.b=4",
		"subject=s.b&subject=s.a":    "1:s.a=1 2:s.b=2 3:s.a=3 4:s.b=4 5:s.a=\xff",
		"since=1h":                   "1:s.a=1 2:s.b=2 3:s.a=3 4:s.b=4 5:s.a=\xff",
		"since=2200-01-01T00:00:00Z": "",
		"last_for=s.b":               "4:s.b=4",
	} {
		if got := read(query); got != all {
			t.Errorf("%s: %q, want %q", query, got, all)
		}
	}
	page := want[storedList](t, d.do("GET", "/v1/streams/s/messages?limit=3", ""), 200)
	if got := read(fmt.Sprintf("from=%d", page.Next)); got != "4:s.b=4 5:s.a=\xff" {
		t.Errorf("the next page is %s", got)
	}
	lines := d.do("GET", "/v1/streams/s/messages?limit=2", "", with("Accept", "application/x-ndjson"))
	if n := strings.Count(string(lines.body), "\n"); n != 2 || lines.header.Get("Portico-Next") != "3" || lines.header.Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("%d lines %s %v", n, lines.body, lines.header)
	}
	raw := d.do("GET", "/v1/streams/s/messages?last_for=s.a", "", with("Accept", "application/octet-stream"))
	if string(raw.body) != "\xff" || raw.header.Get("Portico-Sequence") != "5" || raw.header.Get("Portico-Subject") != "s.a" {
		t.Errorf("raw %q %v", raw.body, raw.header)
	}
}

func TestOneStreamMessage(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s")
	if a := d.do("POST", "/v1/publish/s.x", "<é>", with("Content-Type", "text/plain"), with("Msg-Color", "red")); a.status >= 300 {
		t.Fatalf("publish: %d %s", a.status, a.body)
	}
	eventually(t, "the stream has it", func() bool { return want[streamShown](t, d.do("GET", "/v1/streams/s", ""), 200).Last == 1 })
	m := want[stored](t, d.do("GET", "/v1/streams/s/messages/1", ""), 200)
	if m.Sequence != 1 || m.Subject != "s.x" || m.text() != "<é>" || m.Headers["color"] != "red" || time.Since(m.Time) > time.Minute {
		t.Errorf("%+v", m)
	}
	raw := d.do("GET", "/v1/streams/s/messages/1", "", with("Accept", "application/octet-stream"))
	if raw.status != 200 || string(raw.body) != "<é>" || raw.header.Get("Msg-Color") != "red" || raw.header.Get("Content-Type") != "text/plain" || raw.header.Get("Portico-Sequence") != "1" {
		t.Errorf("raw %d %q %v", raw.status, raw.body, raw.header)
	}
	if a := d.do("DELETE", "/v1/streams/s/messages/1", ""); a.status != 204 {
		t.Errorf("delete: %d %s", a.status, a.body)
	}
	refused(t, d.do("GET", "/v1/streams/s/messages/1", ""), 404, core.CodeNotFound)
	refused(t, d.do("DELETE", "/v1/streams/s/messages/1", ""), 404, core.CodeNotFound)
	refused(t, d.do("GET", "/v1/streams/s/messages?last_for=s.x", ""), 404, core.CodeNotFound)
}

func TestPurgeStream(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s", "a=1", "b=2", "a=3", "b=4", "a=5", "a=6")
	purge := func(body string) uint64 {
		t.Helper()
		return want[struct{ Purged uint64 }](t, d.do("POST", "/v1/streams/s/purge", body), 200).Purged
	}
	if n := purge(`{"before":2}`); n != 1 {
		t.Errorf("before: %d", n)
	}
	if n := purge(`{"subject":"s.a","keep":1}`); n != 2 {
		t.Errorf("keep: %d", n)
	}
	if n := purge(`{"subject":"s.b"}`); n != 2 {
		t.Errorf("subject: %d", n)
	}
	if n := purge(""); n != 1 {
		t.Errorf("the rest: %d", n)
	}
}

// Each field is told by its name.
func TestStreamBadInput(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s", "a=1")
	want[json.RawMessage](t, d.do("PUT", "/v1/streams/s/consumers/c", ""), 201)
	for name, c := range map[string]struct{ method, path, body, field string }{
		"negative limit":       {"PUT", "/v1/streams/x", `{"max_messages":-1}`, "body.max_messages"},
		"age of a century":     {"PUT", "/v1/streams/x", `{"max_age":3153600000000}`, "body.max_age"},
		"unknown retention":    {"PUT", "/v1/streams/x", `{"retention":"some"}`, "body.retention"},
		"unknown field":        {"PUT", "/v1/streams/x", `{"max_mesages":1}`, "body.max_mesages"},
		"wrong type":           {"PUT", "/v1/streams/x", `{"subjects":"a"}`, "body.subjects"},
		"too many replicas":    {"PUT", "/v1/streams/x", `{"replicas":6}`, "body.replicas"},
		"before and keep":      {"POST", "/v1/streams/s/purge", `{"before":1,"keep":1}`, "body.keep"},
		"from nothing":         {"GET", "/v1/streams/s/messages?from=0", "", "query.from"},
		"from and since":       {"GET", "/v1/streams/s/messages?from=1&since=1h", "", "query.since"},
		"since whenever":       {"GET", "/v1/streams/s/messages?since=yesterday", "", "query.since"},
		"too many messages":    {"GET", "/v1/streams/s/messages?limit=1001", "", "query.limit"},
		"a pattern with a gap": {"GET", "/v1/streams/s/messages?subject=a..b", "", "query.subject"},
		"last and from":        {"GET", "/v1/streams/s/messages?last_for=s.a&from=1", "", "query.from"},
		"last for a pattern":   {"GET", "/v1/streams/s/messages?last_for=s.*", "", "query.last_for"},
		"sequence zero":        {"GET", "/v1/streams/s/messages/0", "", "path.sequence"},
		"sequence of letters":  {"DELETE", "/v1/streams/s/messages/one", "", "path.sequence"},
		"typo":                 {"GET", "/v1/streams?limt=1", "", "query.limt"},
		"cursor of nobody":     {"GET", "/v1/streams?cursor=%21", "", "query.cursor"},
		"follow from a word":   {"GET", "/v1/streams/s/follow?from=now", "", "query.from"},
		"deliver somehow":      {"PUT", "/v1/streams/s/consumers/x", `{"deliver":"some"}`, "body.deliver"},
		"sequence without":     {"PUT", "/v1/streams/s/consumers/x", `{"deliver":"sequence"}`, "body.sequence"},
		"time without":         {"PUT", "/v1/streams/s/consumers/x", `{"deliver":"time"}`, "body.time"},
		"time with another":    {"PUT", "/v1/streams/s/consumers/x", `{"time":"2026-01-01T00:00:00Z"}`, "body.time"},
		"negative ack wait":    {"PUT", "/v1/streams/s/consumers/x", `{"ack_wait":-1}`, "body.ack_wait"},
		"pause for nothing":    {"POST", "/v1/streams/s/consumers/c/pause", `{}`, "body.until"},
		"pause twice":          {"POST", "/v1/streams/s/consumers/c/pause", `{"for":1000,"until":"2100-01-01T00:00:00Z"}`, "body.until"},
		"pause in the past":    {"POST", "/v1/streams/s/consumers/c/pause", `{"until":"2020-01-01T00:00:00Z"}`, "body.until"},
		"fetch none":           {"POST", "/v1/streams/s/consumers/c/fetch?max=0", "", "query.max"},
		"fetch for hours":      {"POST", "/v1/streams/s/consumers/c/fetch?wait=2h", "", "query.wait"},
		"ack nothing":          {"POST", "/v1/streams/s/consumers/c/ack", `{"tokens":[]}`, "body.tokens"},
		"ack with a delay":     {"POST", "/v1/streams/s/consumers/c/ack", `{"tokens":["x"],"delay":1}`, "body.delay"},
		"nack in the past":     {"POST", "/v1/streams/s/consumers/c/nack", `{"tokens":["x"],"delay":-1}`, "body.delay"},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.do(c.method, c.path, c.body)
			refused(t, a, 400, core.CodeInvalid)
			p := want[struct {
				Errors []struct{ Field, Expected string }
			}](t, a, 400)
			if len(p.Errors) != 1 || p.Errors[0].Field != c.field || p.Errors[0].Expected == "" {
				t.Errorf("errors %+v, want %s: %s", p.Errors, c.field, a.body)
			}
		})
	}
	refused(t, d.do("GET", "/v1/streams/none/messages", ""), 404, core.CodeNotFound)
	refused(t, d.do("GET", "/v1/streams/none/follow", ""), 404, core.CodeNotFound)
	refused(t, d.do("GET", "/v1/streams/none/consumers", ""), 404, core.CodeNotFound)
	refused(t, d.do("POST", "/v1/streams/s/consumers/none/fetch", ""), 404, core.CodeNotFound)
}

func TestStreamPermissions(t *testing.T) {
	d := open(t, httpapi.Config{}, coretest.Users(
		core.User{Name: "all", Password: "p"}, core.User{Name: "few", Password: "p", Publish: []string{"a.>"}, Subscribe: []string{"a.>"}}))
	all, few := as("all", "p"), as("few", "p")
	want[streamShown](t, d.do("PUT", "/v1/streams/s", `{"subjects":["s.>"]}`, all), 201)
	for name, c := range map[string]struct{ method, path, body string }{
		"create": {"PUT", "/v1/streams/x", `{"subjects":["x"]}`},
		"show":   {"GET", "/v1/streams/s", ""},
		"delete": {"DELETE", "/v1/streams/s", ""},
		"read":   {"GET", "/v1/streams/s/messages", ""},
		"follow": {"GET", "/v1/streams/s/follow?from=1", ""},
		"put":    {"PUT", "/v1/kv/b", ""},
	} {
		t.Run(name, func(t *testing.T) { refused(t, d.do(c.method, c.path, c.body, few), 403, core.CodePermissionDenied) })
	}
}
