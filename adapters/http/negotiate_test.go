package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"portico/core"

	httpapi "portico/adapters/http"

	"github.com/klauspost/compress/zstd"
)

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstded(t *testing.T, text string) string {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return string(w.EncodeAll([]byte(text), nil))
}

func unpacked(t *testing.T, a answer) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(a.body)
	switch a.header.Get("Content-Encoding") {
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = z
	case "zstd":
		z, err := zstd.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnswersArePacked(t *testing.T) {
	d := open(t, httpapi.Config{})
	large := strings.Repeat("a line of text\n", 200)
	bus := d.gateway.System()
	for subject, header := range map[string]core.Header{
		"text": {"Content-Type": {"text/plain"}}, "image": {"Content-Type": {"image/png"}}, "packed": {"Content-Type": {"text/plain"}, "Content-Encoding": {"br"}},
		"event": {"Content-Type": {"text/event-stream"}},
	} {
		s, err := bus.Subscribe("large."+subject, "", func(m *core.Message) {
			bus.PublishAsync(&core.Message{Subject: m.Reply, Header: header, Data: []byte(large)}, func(core.Receipt, error) {})
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Unsubscribe()
	}
	for name, c := range map[string]struct{ method, path, accept, coding string }{
		"nothing accepted":      {"POST", "/v1/request/large.text", "identity", ""},
		"gzip":                  {"POST", "/v1/request/large.text", "gzip", "gzip"},
		"zstd before gzip":      {"POST", "/v1/request/large.text", "gzip, zstd", "zstd"},
		"by weight":             {"POST", "/v1/request/large.text", "zstd;q=0.5, gzip;q=0.8", "gzip"},
		"all but one":           {"POST", "/v1/request/large.text", "*, zstd;q=0", "gzip"},
		"refused":               {"POST", "/v1/request/large.text", "gzip;q=0, zstd;q=0.000", ""},
		"unknown":               {"POST", "/v1/request/large.text", "br", ""},
		"image":                 {"POST", "/v1/request/large.image", "gzip", ""},
		"packed by its sender":  {"POST", "/v1/request/large.packed", "gzip", "br"},
		"of a stream's type":    {"POST", "/v1/request/large.event", "gzip", ""},
		"document":              {"GET", "/v1/openapi.json", "zstd", "zstd"},
		"small":                 {"GET", "/healthz", "gzip", ""},
		"small problem":         {"GET", "/v1/queues/none", "gzip", ""},
		"envelope of a message": {"POST", "/v1/request/large.image", "gzip", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.do(c.method, c.path, "", with("Accept-Encoding", c.accept))
			if got := a.header.Get("Content-Encoding"); got != c.coding {
				t.Errorf("coding %q, want %q", got, c.coding)
			}
			packs := c.coding == "gzip" || c.coding == "zstd"
			if packs != (a.header.Get("Vary") == "Accept-Encoding") || packs && len(a.body) > 60000 {
				t.Errorf("Vary %q, %d bytes", a.header.Get("Vary"), len(a.body))
			}
			if text := unpacked(t, a); strings.HasPrefix(c.path, "/v1/request/") && text != large {
				t.Errorf("%d bytes came", len(text))
			}
		})
	}
}

func TestPackedCommands(t *testing.T) {
	d := open(t, httpapi.Config{})
	body := `{"durable":false,"max_length":7}`
	for coding, packed := range map[string]string{"gzip": zipped(t, body), "zstd": zstded(t, body), "identity": body} {
		want[description](t, d.do("PUT", "/v1/queues/"+coding, packed, with("Content-Encoding", coding)), 201)
	}
	bomb := strings.Repeat(" ", 1<<20+1)
	for name, c := range map[string]struct {
		coding, body string
		status       int
		code         core.Code
	}{
		"not what it says":          {"gzip", body, 400, core.CodeInvalid},
		"zstd of nonsense":          {"zstd", body, 400, core.CodeInvalid},
		"cut short":                 {"gzip", zipped(t, body)[:20], 400, core.CodeInvalid},
		"unknown":                   {"br", body, 400, core.CodeInvalid},
		"large when it is unpacked": {"gzip", zipped(t, bomb), 413, core.CodeTooLarge},
		"large by zstd":             {"zstd", zstded(t, bomb), 413, core.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, d.do("PUT", "/v1/queues/n", c.body, with("Content-Encoding", c.coding)), c.status, c.code)
		})
	}
	want[receipt](t, d.do("POST", "/v1/queues/gzip/messages", "\x1fraw", with("Content-Encoding", "gzip")), 201)
	if a := d.do("POST", "/v1/queues/gzip/fetch?raw=1", "", with("Accept-Encoding", "identity")); string(a.body) != "\x1fraw" || a.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("a payload was touched: %q %v", a.body, a.header)
	}
}

const messageType = "application/vnd.portico.message+json"

func TestEnvelopes(t *testing.T) {
	d := open(t, httpapi.Config{})
	bus := d.gateway.System()
	s, err := bus.Subscribe("ask", "", func(m *core.Message) {
		bus.PublishAsync(&core.Message{Subject: m.Reply, Header: core.Header{"color": {"red"}}, Data: []byte("\xff")}, func(core.Receipt, error) {})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Unsubscribe()
	a := d.do("POST", "/v1/request/ask", "x", with("Accept", "text/html, "+messageType+";q=0.5"))
	if m := want[message](t, a, 200); a.header.Get("Content-Type") != messageType || string(m.DataBase64) != "\xff" || m.Headers["color"] != "red" {
		t.Errorf("%v %s", a.header, a.body)
	}
	d.declare("q", "one", "two")
	if m := want[message](t, d.do("POST", "/v1/queues/q/fetch?max=5", "", with("Accept", messageType)), 200); m.text() != "one" || m.Token == "" || m.Attempt != 1 {
		t.Errorf("%+v", m)
	}
	if a := d.do("POST", "/v1/queues/q/fetch", "", with("Accept", messageType+";q=0")); !bytes.HasPrefix(a.body, []byte(`{"messages":[`)) {
		t.Errorf("%s", a.body)
	}
	if a := d.do("POST", "/v1/queues/q/fetch", "", with("Accept", messageType)); a.status != 204 {
		t.Errorf("nothing there: %d", a.status)
	}
}

type batchResult struct {
	OK      bool
	Status  int
	Code    string
	Detail  string
	Receipt *receipt
	Errors  []violation
}

func TestBatch(t *testing.T) {
	items := []string{
		`{"subject":"orders.1","data":"first","headers":{"Color":["red","blue"],"Content-Type":"text/plain"},"reply":"answers"}`,
		`{"subject":"orders.2","data_base64":"/wA="}`,
		`{"subject":"elsewhere"}`,
		`{"subject":"orders.*","data":"x"}`,
		`{"subject":"$SYS.x","data":"x"}`,
		`{"subject":"orders.3","data":"x","headers":{"Nats-Rollup":"all"}}`,
		`{"subject":"orders.3","data":"x","headers":{"n":1}}`,
		`{"subject":"orders.3","data":"x","data_base64":"eA=="}`,
		`{"subject":"orders.3","data":"x","id":"` + strings.Repeat("i", 256) + `"}`,
		`{"subject":"orders.4","data":"last"}`,
	}
	statuses := []int{200, 200, 202, 400, 403, 400, 400, 400, 400, 200}
	for name, c := range map[string]struct {
		body    string
		options []option
	}{
		"array": {"[" + strings.Join(items, ",") + "]", []option{with("Content-Type", "application/json")}},
		"lines": {strings.Join(items, "\n") + "\n", []option{with("Content-Type", "application/x-ndjson")}},
		"gzip":  {zipped(t, strings.Join(items, "\n")), []option{with("Content-Encoding", "gzip")}},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, httpapi.Config{})
			d.declare("q")
			if a := d.do("PUT", "/v1/queues/q/bindings/orders.*", ""); a.status != 204 {
				t.Fatal(a.status)
			}
			got := want[struct{ Results []batchResult }](t, d.do("POST", "/v1/publish", c.body, c.options...), 200).Results
			var status []int
			for _, r := range got {
				status = append(status, r.Status)
				if r.OK != (r.Status < 300) || r.OK != (r.Receipt != nil) || !r.OK && (r.Code == "" || r.Detail == "") {
					t.Errorf("%+v", r)
				}
			}
			if !slices.Equal(status, statuses) {
				t.Errorf("results %v, want %v", status, statuses)
			}
			ms := d.fetch("q", "wait=5s")
			if len(ms) != 3 || ms[0].text() != "first" || ms[0].Reply != "answers" || fmt.Sprint(ms[0].Headers["Color"]) != "[red blue]" || ms[0].Headers["Content-Type"] != "text/plain" ||
				ms[1].text() != "\xff\x00" || ms[2].text() != "last" {
				t.Errorf("kept %+v", ms)
			}
		})
	}
}

func TestBatchOrder(t *testing.T) {
	d := open(t, httpapi.Config{})
	want[description](t, d.do("PUT", "/v1/queues/q", ""), 201)
	if a := d.do("PUT", "/v1/queues/q/bindings/n", ""); a.status != 204 {
		t.Fatal(a.status)
	}
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lines, `{"subject":"n","data":"%d"}`+"\n", i)
	}
	if got := want[struct{ Results []batchResult }](t, d.do("POST", "/v1/publish", lines.String()), 200); len(got.Results) != 1000 || !got.Results[999].OK {
		t.Fatalf("%d results", len(got.Results))
	}
	for i, m := range d.fetch("q", "max=1000&wait=5s") {
		if m.text() != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, m.text())
		}
	}
}

func TestBatchRefuses(t *testing.T) {
	d := open(t, httpapi.Config{MaxBody: 1000})
	for name, c := range map[string]struct {
		path, body string
		status     int
		code       core.Code
		field      string
	}{
		"nothing":           {"", "", 400, core.CodeInvalid, "body"},
		"empty array":       {"", "[]", 400, core.CodeInvalid, "body"},
		"unknown field":     {"", `{"subject":"a"}` + "\n" + `{"subjetc":"a"}`, 400, core.CodeInvalid, "body[1].subjetc"},
		"wrong type":        {"", `[{"subject":1}]`, 400, core.CodeInvalid, "body[0].subject"},
		"array cut short":   {"", `[{"subject":"a"}`, 400, core.CodeInvalid, "body"},
		"line cut short":    {"", `{"subject":"a"}` + "\n" + `{"subj`, 400, core.CodeInvalid, "body[1]"},
		"behind the array":  {"", `[{"subject":"a"}] x`, 400, core.CodeInvalid, "body"},
		"no object":         {"", `7`, 400, core.CodeInvalid, "body[0]"},
		"too large":         {"", strings.Repeat(" ", 4001), 413, core.CodeTooLarge, ""},
		"atomic":            {"?atomic=true", `[{"subject":"a"}]`, 501, core.CodeUnimplemented, ""},
		"atomic in words":   {"?atomic=yes", `[{"subject":"a"}]`, 400, core.CodeInvalid, "query.atomic"},
		"base64 of nothing": {"", `[{"subject":"a","data_base64":"*"}]`, 400, core.CodeInvalid, "body[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			p := refused(t, d.do("POST", "/v1/publish"+c.path, c.body), c.status, c.code)
			if c.field != "" && (len(p.Errors) != 1 || p.Errors[0].Field != c.field) {
				t.Errorf("blames %+v, want %s", p.Errors, c.field)
			}
		})
	}
	many := open(t, httpapi.Config{})
	refused(t, many.do("POST", "/v1/publish", strings.Repeat(`{"subject":"a"}`+"\n", 1001)), 400, core.CodeInvalid)
}

func TestIdempotencyKeyTravels(t *testing.T) {
	d := open(t, httpapi.Config{})
	got := make(chan *core.Message, 3)
	s, err := d.gateway.System().Subscribe("keyed", "", func(m *core.Message) { got <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Unsubscribe()
	want[receipt](t, d.do("POST", "/v1/publish/keyed", "x", with("Idempotency-Key", "order-7")), 202)
	if m := <-got; m.Header.Get("Nats-Msg-Id") != "order-7" {
		t.Errorf("headers %v", m.Header)
	}
	if a := d.do("POST", "/v1/publish", `{"subject":"keyed","id":"order-8"}`); a.status != 200 {
		t.Fatal(a.status)
	}
	if m := <-got; m.Header.Get("Nats-Msg-Id") != "order-8" {
		t.Errorf("headers %v", m.Header)
	}
}

func TestTheSameKeyIsKeptOnce(t *testing.T) {
	d := open(t, httpapi.Config{})
	want[description](t, d.do("PUT", "/v1/queues/q", ""), 201)
	if a := d.do("PUT", "/v1/queues/q/bindings/orders.*", ""); a.status != 204 {
		t.Fatal(a.status)
	}
	for name, publish := range map[string]func() (int, receipt){
		"publish": func() (int, receipt) {
			a := d.do("POST", "/v1/publish/orders.new", "published", with("Idempotency-Key", "p"))
			return a.status, want[receipt](t, a, a.status)
		},
		"append": func() (int, receipt) {
			a := d.do("POST", "/v1/queues/q/messages", "appended", with("Idempotency-Key", "a"))
			return a.status, want[receipt](t, a, a.status)
		},
		"batch": func() (int, receipt) {
			got := want[struct{ Results []batchResult }](t, d.do("POST", "/v1/publish", `{"subject":"orders.new","data":"of many","id":"b"}`), 200).Results[0]
			return got.Status, *got.Receipt
		},
	} {
		t.Run(name, func(t *testing.T) {
			status, first := publish()
			again, second := publish()
			if first.Duplicate || !second.Duplicate || status != again || first.Queues != 1 || second.Queues != 1 {
				t.Errorf("%d %+v, then %d %+v", status, first, again, second)
			}
		})
	}
	if ms := d.fetch("q", "wait=5s"); len(ms) != 3 {
		t.Errorf("%d messages were kept, want 3", len(ms))
	}
}

func TestAStreamIsNamedInTheReceipt(t *testing.T) {
	d := open(t, httpapi.Config{})
	if a := d.do("PUT", "/v1/streams/LOGS", `{"subjects":["logs.>"]}`); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for i := range 2 {
		if r := want[receipt](t, d.do("POST", "/v1/publish/logs.app", "line"), 200); r.Stream != "LOGS" || r.Sequence != uint64(i+1) || r.Queues != 0 {
			t.Errorf("%+v", r)
		}
	}
}

func TestPages(t *testing.T) {
	d := open(t, httpapi.Config{})
	var names []string
	for i := range 25 {
		names = append(names, fmt.Sprintf("q%02d", i))
		d.declare(names[i])
		if a := d.do("PUT", fmt.Sprintf("/v1/queues/q00/bindings/s.%02d", i), ""); a.status != 204 {
			t.Fatal(a.status)
		}
	}
	for list, field := range map[string]string{"/v1/queues": "queues", "/v1/queues/q00/bindings": "bindings"} {
		t.Run(field, func(t *testing.T) {
			var got []string
			address, pages := list+"?limit=10", 0
			for address != "" {
				a := d.do("GET", address, "")
				page := want[map[string]json.RawMessage](t, a, 200)
				var items []any
				if err := json.Unmarshal(page[field], &items); err != nil {
					t.Fatal(err)
				}
				for _, item := range items {
					if o, ok := item.(object); ok {
						item = o["name"]
					}
					got = append(got, item.(string))
				}
				address, pages = "", pages+1
				if link := a.header.Get("Link"); link != "" {
					address = strings.TrimSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
				}
				if (address != "") != (page["next"] != nil) || address != "" && !strings.Contains(address, "limit=10") {
					t.Errorf("Link %q, next %s", address, page["next"])
				}
			}
			if pages != 3 || len(got) != 25 || !slices.IsSorted(got) {
				t.Errorf("%d pages: %v", pages, got)
			}
		})
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "limit=1e3", "cursor=", "cursor=*", "cursor=a"} {
		p := refused(t, d.do("GET", "/v1/queues?"+query, ""), 400, core.CodeInvalid)
		if name, _, _ := strings.Cut(query, "="); len(p.Errors) != 1 || p.Errors[0].Field != "query."+name {
			t.Errorf("%s: %+v", query, p.Errors)
		}
	}
	first := want[struct{ Next string }](t, d.do("GET", "/v1/queues?limit=10", ""), 200)
	if a := d.do("DELETE", "/v1/queues/q09", ""); a.status != 200 { // the last of the page: its place stays
		t.Fatal(a.status)
	}
	rest := want[struct{ Queues []description }](t, d.do("GET", "/v1/queues?cursor="+first.Next, ""), 200)
	if len(rest.Queues) != 15 || rest.Queues[0].Name != "q10" {
		t.Errorf("behind a queue that went: %d, first %s", len(rest.Queues), rest.Queues[0].Name)
	}
}

func TestOriginsThatAreAllowed(t *testing.T) {
	const page = "https://app.example.com"
	d := open(t, httpapi.Config{AllowedOrigins: []string{page + "/"}})
	preflight := func(origin, method string) answer {
		return d.do("OPTIONS", "/v1/publish/x", "", with("Origin", origin), with("Access-Control-Request-Method", method),
			with("Access-Control-Request-Headers", "content-type,msg-color"))
	}
	if a := preflight(page, "POST"); a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != page || a.header.Get("Access-Control-Allow-Credentials") != "true" ||
		!strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "msg-color") || a.header.Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	for name, a := range map[string]answer{"another page": preflight("https://evil.example", "POST"), "its http form": preflight("http://app.example.com", "POST"), "another method": preflight(page, "TRACE")} {
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", name, a.header)
		}
	}
	a := d.do("POST", "/v1/publish/x", "x", with("Origin", page), with("Sec-Fetch-Site", "cross-site"))
	want[receipt](t, a, 202)
	if a.header.Get("Access-Control-Allow-Origin") != page || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Portico-Token") || a.header.Get("Vary") != "Origin" {
		t.Errorf("answer %v", a.header)
	}
	evil := d.do("POST", "/v1/publish/x", "x", with("Origin", "https://evil.example"), with("Sec-Fetch-Site", "cross-site"))
	refused(t, evil, 403, core.CodePermissionDenied)
	if evil.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another page: %v", evil.header)
	}
	for _, bad := range []string{"*", "https://*.example.com", "app.example.com", "https://a.example/path", "https://user@a.example", "ftp://a.example", ""} {
		if _, err := httpapi.New(httpapi.Config{Listen: "127.0.0.1:0", AllowedOrigins: []string{bad}}, d.gateway, nil); err == nil {
			t.Errorf("%q is taken for an origin", bad)
		}
	}
}

// Without any allowed origin a preflight is an unknown method, as before.
func TestNoOriginsAllowed(t *testing.T) {
	d := open(t, httpapi.Config{})
	a := d.do("OPTIONS", "/v1/publish/x", "", with("Origin", "https://a.example"), with("Access-Control-Request-Method", "POST"))
	if a.status != http.StatusMethodNotAllowed || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
}
