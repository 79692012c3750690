package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/core"

	httpapi "portico/adapters/http"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"pgregory.net/rapid"
)

type eventAnswer struct {
	Events []struct {
		Subject   string
		Queues    int
		Live      bool
		Duplicate bool
	}
}

// eventQueue declares a memory queue that is fed by a pattern.
func (d *doorway) eventQueue(q, pattern string) {
	d.t.Helper()
	d.declare(q)
	if a := d.do("PUT", "/v1/queues/"+q+"/bindings/"+pattern, ""); a.status != 204 {
		d.t.Fatalf("bind: %d %s", a.status, a.body)
	}
}

// sdkClient is the official SDK's client, sending to the gateway's events.
func (d *doorway) sdkClient(path string) cloudevents.Client {
	d.t.Helper()
	p, err := cehttp.New(cehttp.WithTarget(d.url+path), cehttp.WithRoundTripper(d.client.Transport))
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := cloudevents.NewClient(p)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

func orderEvent(id string) event.Event {
	e := cloudevents.NewEvent()
	e.SetID(id)
	e.SetSource("/shop/orders")
	e.SetType("com.shop.order")
	e.SetSubject("7")
	e.SetTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	e.SetExtension("region", "eu")
	e.SetExtension("weight", 12)
	_ = e.SetData(cloudevents.ApplicationJSON, map[string]int{"item": 7}) // it is JSON
	return e
}

// TestEventsByTheSDK sends with the official SDK in each mode; on the bus the events are the same.
func TestEventsByTheSDK(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.eventQueue("e", "events.com.shop.*")
	c := d.sdkClient("/v1/events")
	if r := c.Send(cloudevents.WithEncodingBinary(t.Context()), orderEvent("1")); cloudevents.IsUndelivered(r) || !cloudevents.IsACK(r) {
		t.Fatalf("binary: %v", r)
	}
	if r := c.Send(cloudevents.WithEncodingStructured(t.Context()), orderEvent("2")); !cloudevents.IsACK(r) {
		t.Fatalf("structured: %v", r)
	}
	r, err := cehttp.NewHTTPRequestFromEvents(t.Context(), d.url+"/v1/events", []event.Event{orderEvent("3"), orderEvent("4")})
	if err != nil {
		t.Fatal(err)
	}
	batch, err := d.try(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := want[eventAnswer](t, batch, 200).Events; len(got) != 2 || got[0].Subject != "events.com.shop.order" || got[0].Queues != 1 {
		t.Errorf("batch: %+v", got)
	}
	got := d.fetch("e", "max=10&wait=1s")
	if len(got) != 4 {
		t.Fatalf("%d messages, want 4", len(got))
	}
	for i, m := range got {
		if m.text() != `{"item":7}` || m.Subject != "events.com.shop.order" {
			t.Errorf("message %+v", m)
		}
		for name, value := range map[string]string{
			"ce-specversion": "1.0", "ce-id": fmt.Sprint(i + 1), "ce-source": "/shop/orders", "ce-type": "com.shop.order", "ce-subject": "7", "ce-time": "2026-01-02T03:04:05Z",
			"ce-region": "eu", "ce-weight": "12", "Content-Type": "application/json",
		} {
			if m.Headers[name] != value {
				t.Errorf("event %d: header %s is %v, want %q", i+1, name, m.Headers[name], value)
			}
		}
		if m.Headers["Nats-Msg-Id"] == nil || m.Headers["Nats-Msg-Id"] == got[(i+1)%4].Headers["Nats-Msg-Id"] {
			t.Errorf("event %d: id %v", i+1, m.Headers["Nats-Msg-Id"])
		}
	}
}

func binary(options ...option) []option {
	return append([]option{with("ce-specversion", "1.0"), with("ce-id", "1"), with("ce-source", "/s"), with("ce-type", "t")}, options...)
}

// TestEventSubjects: from the path, the type, or a template.
func TestEventSubjects(t *testing.T) {
	d := open(t, httpapi.Config{})
	for path, subject := range map[string]string{
		"/v1/events":            "events.t",
		"/v1/events/orders.new": "orders.new",
		"/v1/events?template=a.%7Btype%7D.%7Bid%7D":     "a.t.1",
		"/v1/events?template=a.%7Bsource%7D":            "a./s",
		"/v1/events?template=a.%7Bsubject%7D.x":         "a.*%2E>%25 ü.x",
		"/v1/events?template=a.%7Bregion%7D.%7Bnone%7D": "a.eu%2Ewest.%_",
	} {
		a := want[eventAnswer](t, d.do("POST", path, "", binary(with("ce-subject", `*.>%25%20%C3%BC`), with("ce-region", "eu.west"))...), 202)
		if len(a.Events) != 1 {
			t.Fatalf("%s: %+v", path, a)
		}
		expected := strings.NewReplacer("*%2E>%25 ü", core.EncodeToken("*.>% ü")).Replace(subject)
		if a.Events[0].Subject != expected {
			t.Errorf("%s: subject %q, want %q", path, a.Events[0].Subject, expected)
		}
	}
}

// TestEventEncoding: attributes are percent-encoded on the bus as they are on HTTP, and plain text in JSON.
func TestEventEncoding(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.eventQueue("e", "events.>")
	for name, sent := range map[string]string{"encoded": "Euro%20%e2%82%ac%20100%25", "quoted": `"Euro %E2%82%AC 100%25"`, "bare blanks": "Euro %E2%82%AC 100%25", "raw": "Euro € 100%25"} {
		t.Run(name, func(t *testing.T) {
			want[eventAnswer](t, d.do("POST", "/v1/events", "x", append(binaryWith("ce-id", strings.ReplaceAll(name, " ", "-")), with("ce-subject", sent), with("Content-Type", "text/plain"))...), 200)
			m := d.fetch("e", "wait=1s")
			if len(m) != 1 || m[0].Headers["ce-subject"] != "Euro%20%E2%82%AC%20100%25" {
				t.Errorf("messages %+v", m)
			}
			d.do("POST", "/v1/queues/e/nack", fmt.Sprintf(`{"tokens":[%q]}`, m[0].Token))
			events := d.events("/v1/queues/e/fetch?wait=1s")
			if len(events) != 1 || events[0].Subject() != "Euro € 100%" || string(events[0].Data()) != "x" {
				t.Errorf("events %+v", events)
			}
			ack(t, d, "e", events)
		})
	}
}

// events fetches a batch as the SDK reads it.
func (d *doorway) events(path string) []event.Event {
	d.t.Helper()
	r := d.request("POST", path, "", with("Accept", "application/cloudevents-batch+json"))
	res, err := d.client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/cloudevents-batch+json" {
		d.t.Fatalf("status %d, type %q", res.StatusCode, res.Header.Get("Content-Type"))
	}
	events, err := cehttp.NewEventsFromHTTPResponse(res)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range events {
		if err := e.Validate(); err != nil {
			d.t.Errorf("event %v: %v", e, err)
		}
	}
	return events
}

// ack settles events by the tokens in them.
func ack(t *testing.T, d *doorway, q string, events []event.Event) {
	t.Helper()
	for _, e := range events {
		token, _ := e.Extensions()["porticotoken"].(string)
		if a := d.do("POST", "/v1/queues/"+q+"/ack", fmt.Sprintf(`{"tokens":[%q]}`, token)); a.status != 200 {
			t.Errorf("ack: %d %s", a.status, a.body)
		}
	}
}

// TestPlainMessagesAsEvents: what was published as no event is shown as one.
func TestPlainMessagesAsEvents(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.eventQueue("p", "plain.*")
	d.do("POST", "/v1/publish/plain.a", `{"a": 1}`, with("Content-Type", "application/json"), with("Portico-Message-Id", "m1"), with("Portico-Type", "order"), with("Portico-Timestamp", "1700000000"),
		with("Msg-Color", "red"), with("Msg-Not-Legal", "x"))
	d.do("POST", "/v1/publish/plain.b", "\xff\x00")
	d.do("POST", "/v1/publish/plain.c", "text", with("Content-Type", "text/plain"))
	d.do("POST", "/v1/publish/plain.d", "no json", with("Content-Type", "application/json"))
	d.do("POST", "/v1/publish/plain.e", "", with("Content-Type", "not a type"))
	got := d.events("/v1/queues/p/fetch?max=10&wait=1s")
	if len(got) != 5 {
		t.Fatalf("%d events", len(got))
	}
	first := got[0]
	if first.ID() != "m1" || first.Type() != "order" || first.Source() != "urn:portico:subject:plain.a" || first.Time().Unix() != 1_700_000_000 || string(first.Data()) != `{"a":1}` {
		t.Errorf("event %v", first)
	}
	if x := first.Extensions(); x["color"] != "red" || x["porticosubject"] != "plain.a" || x["porticoattempt"] != "1" {
		t.Errorf("extensions %v", x)
	}
	for i, data := range []string{1: "\xff\x00", 2: "text", 3: "no json", 4: ""} {
		if i > 0 && string(got[i].Data()) != data {
			t.Errorf("data %q, want %q", got[i].Data(), data)
		}
	}
	if got[1].Type() != "portico.message" || got[1].DataContentType() != "application/octet-stream" || got[1].ID() == "" {
		t.Errorf("event %v", got[1])
	}
}

// TestRequestAsEvent asks, and reads the answer with the SDK.
func TestRequestAsEvent(t *testing.T) {
	d := open(t, httpapi.Config{})
	bus := d.gateway.System()
	s, err := bus.Subscribe("math.double", "", func(m *core.Message) {
		h := core.Header{"ce-specversion": {"1.0"}, "ce-id": {"a"}, "ce-source": {"/math"}, "ce-type": {"doubled"}, "Content-Type": {"text/plain"}}
		bus.PublishAsync(&core.Message{Subject: m.Reply, Header: h, Data: []byte("42")}, func(core.Receipt, error) {})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Unsubscribe()
	res, err := d.client.Do(d.request("POST", "/v1/request/math.double", "21", with("Accept", "application/cloudevents+json")))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	e, err := cehttp.NewEventFromHTTPResponse(res)
	if err != nil || e.Validate() != nil || e.ID() != "a" || e.Type() != "doubled" || string(e.Data()) != "42" {
		t.Errorf("%v, %v", e, err)
	}
}

// TestSubscribeAsEvents: each frame of the stream is an event, and one line.
func TestSubscribeAsEvents(t *testing.T) {
	d := open(t, httpapi.Config{})
	for accept, prefix := range map[string]string{
		"text/event-stream, application/cloudevents+json":    "data: ",
		"application/x-ndjson, application/cloudevents+json": "{",
	} {
		r := d.request("GET", "/v1/subscribe?subject=orders.*", "", with("Accept", accept))
		res, err := d.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		a := d.do("POST", "/v1/events/orders.new", "{\n \"n\":\n1}", binary(with("Content-Type", "application/json"))...)
		if a.status != 202 {
			t.Fatalf("publish: %d %s", a.status, a.body)
		}
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() && !strings.HasPrefix(lines.Text(), prefix) {
		}
		text := strings.TrimPrefix(lines.Text(), "data: ")
		res.Body.Close()
		var e event.Event
		if err := json.Unmarshal([]byte(text), &e); err != nil || e.ID() != "1" || string(e.Data()) != `{"n":1}` || e.Extensions()["porticosubject"] != "orders.new" {
			t.Errorf("%s: %q: %v, %v", accept, text, e, err)
		}
	}
}

// TestFollowAsEvents: what a stream keeps is shown as events, each with its place.
func TestFollowAsEvents(t *testing.T) {
	d := open(t, httpapi.Config{})
	if a := d.do("PUT", "/v1/streams/log", `{"subjects":["log.*"]}`); a.status != 201 {
		t.Fatalf("stream: %d %s", a.status, a.body)
	}
	for _, id := range []string{"1", "2", "1"} {
		d.do("POST", "/v1/events/log.x", "{}", append(binaryWith("ce-id", id), with("Content-Type", "application/json"))...)
	}
	d.do("POST", "/v1/publish/log.y", "plain")
	res, err := d.client.Do(d.request("GET", "/v1/streams/log/follow?from=1", "", with("Accept", "application/x-ndjson, application/cloudevents+json")))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for place, id := range []string{1: "1", 2: "2", 3: "log:3"} {
		if place == 0 {
			continue
		}
		var e event.Event
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &e) != nil || e.ID() != id || e.Extensions()["sequence"] != fmt.Sprint(place) {
			t.Errorf("line %q: want event %s", lines.Text(), id)
		}
	}
}

// TestEventTwice: an event is named by its source and id; what comes again is kept once.
func TestEventTwice(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.eventQueue("e", "events.>")
	for i, duplicate := range []bool{false, true} {
		a := want[eventAnswer](t, d.do("POST", "/v1/events", "x", binary()...), 200)
		if len(a.Events) != 1 || a.Events[0].Duplicate != duplicate {
			t.Errorf("%d: %+v", i, a)
		}
	}
	if a := want[eventAnswer](t, d.do("POST", "/v1/events", "x", binaryWith("ce-source", "/other")...), 200); a.Events[0].Duplicate {
		t.Error("an event of another source is told to be a duplicate")
	}
	if ready := d.show("e").Ready; ready != 2 {
		t.Errorf("%d events, want 2", ready)
	}
}

func TestBadEvents(t *testing.T) {
	d := open(t, httpapi.Config{})
	const good = `"specversion":"1.0","id":"1","source":"/s","type":"t"`
	for name, c := range map[string]struct {
		contentType, body string
		options           []option
		status            int
		field             string
	}{
		"no event":           {"text/plain", "x", nil, 400, "header.ce-specversion"},
		"0.3":                {"text/plain", "x", binaryWith("ce-specversion", "0.3"), 400, "header.ce-specversion"},
		"no id":              {"text/plain", "x", []option{with("ce-specversion", "1.0"), with("ce-source", "/s"), with("ce-type", "t")}, 400, "header.ce-id"},
		"empty name":         {"text/plain", "x", binary(with("ce-", "x")), 400, "header.Ce-"},
		"name with a dash":   {"text/plain", "x", binary(with("ce-a-b", "x")), 400, "header.Ce-A-B"},
		"data as attribute":  {"text/plain", "x", binary(with("ce-data", "x")), 400, "header.Ce-Data"},
		"twice":              {"text/plain", "x", binary(with("ce-ext", "1"), with("ce-ext", "2")), 400, "header.Ce-Ext"},
		"not UTF-8":          {"text/plain", "x", binary(with("ce-ext", "%FF")), 400, "header.Ce-Ext"},
		"time":               {"text/plain", "x", binary(with("ce-time", "noon")), 400, ""},
		"data type":          {"no type at all", "x", binary(), 400, "header.ce-datacontenttype"},
		"reserved":           {"text/plain", "x", binary(with("Nats-Rollup", "all")), 400, ""},
		"other format":       {"application/cloudevents+protobuf", "x", nil, 415, "header.Content-Type"},
		"no JSON":            {"application/cloudevents+json", "x", nil, 400, "body"},
		"null":               {"application/cloudevents+json", "null", nil, 400, "body"},
		"list":               {"application/cloudevents+json", "[]", nil, 400, "body"},
		"nothing":            {"application/cloudevents+json", "", nil, 400, "body"},
		"bytes":              {"application/cloudevents+json", "{\"\xff\":1}", nil, 400, "body"},
		"no version":         {"application/cloudevents+json", `{"id":"1","source":"/s","type":"t"}`, nil, 400, "body.specversion"},
		"version 2":          {"application/cloudevents+json", `{"specversion":"2.0","id":"1","source":"/s","type":"t"}`, nil, 400, "body.specversion"},
		"no source":          {"application/cloudevents+json", `{"specversion":"1.0","id":"1","type":"t"}`, nil, 400, "body.source"},
		"id a number":        {"application/cloudevents+json", `{"specversion":"1.0","id":1,"source":"/s","type":"t"}`, nil, 400, "body.id"},
		"id true":            {"application/cloudevents+json", `{"specversion":"1.0","id":true,"source":"/s","type":"t"}`, nil, 400, "body.id"},
		"blank type":         {"application/cloudevents+json", `{"specversion":"1.0","id":"1","source":"/s","type":" "}`, nil, 400, "body.type"},
		"object attribute":   {"application/cloudevents+json", `{` + good + `,"x":{}}`, nil, 400, "body.x"},
		"float attribute":    {"application/cloudevents+json", `{` + good + `,"x":1.5}`, nil, 400, "body.x"},
		"large number":       {"application/cloudevents+json", `{` + good + `,"x":2147483648}`, nil, 400, "body.x"},
		"upper case":         {"application/cloudevents+json", `{` + good + `,"X":"1"}`, nil, 400, "body.X"},
		"both data":          {"application/cloudevents+json", `{` + good + `,"data":1,"data_base64":"AA=="}`, nil, 400, "body.data"},
		"base64 a number":    {"application/cloudevents+json", `{"data_base64":1,` + good + `}`, nil, 400, "body.data_base64"},
		"base64 null":        {"application/cloudevents+json", `{"data_base64":null,` + good + `,"data":1}`, nil, 400, "body.data"},
		"no base64":          {"application/cloudevents+json", `{` + good + `,"data_base64":"%%"}`, nil, 400, "body.data_base64"},
		"text not text":      {"application/cloudevents+json", `{` + good + `,"datacontenttype":"text/plain","data":{}}`, nil, 400, "body.data"},
		"bad time":           {"application/cloudevents+json", `{` + good + `,"time":"noon"}`, nil, 400, ""},
		"bad schema":         {"application/cloudevents+json", `{` + good + `,"dataschema":"%zz"}`, nil, 400, "body.dataschema"},
		"long attribute":     {"application/cloudevents+json", `{` + good + `,"x":"` + strings.Repeat("x", 5000) + `"}`, nil, 400, "body.x"},
		"batch is an object": {"application/cloudevents-batch+json", `{}`, nil, 400, "body"},
		"one of two":         {"application/cloudevents-batch+json", `[{` + good + `},{"specversion":"1.0"}]`, nil, 400, "body[1].id"},
		"torn batch":         {"application/cloudevents-batch+json", `[{` + good + `}`, nil, 400, "body"},
		"behind the batch":   {"application/cloudevents-batch+json", `[] []`, nil, 400, "body"},
		"too many":           {"application/cloudevents-batch+json", "[" + strings.Repeat(`{`+good+`},`, 1000) + `{` + good + `}]`, nil, 400, "body"},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.do("POST", "/v1/events/bad.events", c.body, append([]option{with("Content-Type", c.contentType)}, c.options...)...)
			p := refused(t, a, c.status, core.CodeInvalid)
			if c.field != "" && !slices.ContainsFunc(p.Errors, func(v violation) bool { return strings.EqualFold(v.Field, c.field) }) {
				t.Errorf("problem %+v, want a complaint about %s", p, c.field)
			}
		})
	}
	refused(t, d.do("POST", "/v1/events?template=%7Btype%7D", "", binary()...), 400, core.CodeInvalid)
	refused(t, d.do("POST", "/v1/events?template=a.%7BType%7D", "", binary()...), 400, core.CodeInvalid)
	want[eventAnswer](t, d.do("POST", "/v1/events", "[]", with("Content-Type", "application/cloudevents-batch+json")), 200)
}

// binaryWith is binary with one header changed.
func binaryWith(name, value string) []option {
	return append(binary(), func(r *http.Request) { r.Header.Set(name, value) })
}

func TestLargeEvents(t *testing.T) {
	d := open(t, httpapi.Config{MaxBody: 1 << 10})
	refused(t, d.do("POST", "/v1/events", strings.Repeat("x", 2<<10), binary()...), 413, core.CodeTooLarge)
	refused(t, d.do("POST", "/v1/events", strings.Repeat(" ", 2<<20), with("Content-Type", "application/cloudevents+json")), 413, core.CodeTooLarge)
	refused(t, d.do("POST", "/v1/events", strings.Repeat(" ", 5<<10), with("Content-Type", "application/cloudevents-batch+json")), 413, core.CodeTooLarge)
}

// TestEventRoundTrip: attributes and data of any event come out as they went in.
func TestEventRoundTrip(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.eventQueue("r", "round.trip")
	text := rapid.StringMatching(`[!-~€]|[!-~€][ -~äöü€\x{1F600}]{0,20}[!-~€]`) // the SDK takes blanks around them off
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++ // an event that comes again is kept once
		in := map[string]any{
			"specversion": "1.0", "id": fmt.Sprint(text.Draw(t, "id"), n), "source": "urn:x:" + rapid.StringMatching(`[a-z0-9]{1,8}`).Draw(t, "source"), "type": text.Draw(t, "type"),
		}
		for _, name := range []string{"exta", "ext9"} {
			if rapid.Bool().Draw(t, "has "+name) {
				in[name] = text.Draw(t, name)
			}
		}
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		in["datacontenttype"], in["data_base64"] = "application/octet-stream", data
		document, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if a := d.do("POST", "/v1/events/round.trip", string(document), with("Content-Type", "application/cloudevents+json")); a.status != 200 {
			t.Fatalf("%s: %d %s", document, a.status, a.body)
		}
		got := d.events("/v1/queues/r/fetch?wait=1s")
		if len(got) != 1 {
			t.Fatalf("%d events for %s", len(got), document)
		}
		e := got[0]
		if e.ID() != in["id"] || e.Source() != in["source"] || e.Type() != in["type"] || !bytes.Equal(e.Data(), data) {
			t.Fatalf("%s came out as %v", document, e)
		}
		for _, name := range []string{"exta", "ext9"} {
			if e.Extensions()[name] != in[name] {
				t.Fatalf("%s: %v became %v", name, in[name], e.Extensions()[name])
			}
		}
	})
}
