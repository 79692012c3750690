package httpapi_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	httpapi "portico/adapters/http"
)

// told is an operation as the document tells it.
type told struct {
	method, path string
	id           string
	names        []string // of the path
	query        []string // parameters that stand once
	headers      []string // likewise
	body         bool
	lenient      bool
}

// everyOperation reads the document.
func everyOperation(t *testing.T, d *doorway) (all []told) {
	t.Helper()
	type parameter struct {
		Name, In string
		Required bool
		Schema   struct{ Type string }
	}
	doc := want[struct {
		Paths map[string]map[string]struct {
			OperationID string
			Parameters  []parameter
			RequestBody json.RawMessage
			Unknown     string `json:"x-unknown-parameters"`
		}
	}](t, d.do("GET", "/v1/openapi.json", ""), 200)
	for path, item := range doc.Paths {
		for method, op := range item {
			o := told{method: strings.ToUpper(method), path: path, id: op.OperationID, body: op.RequestBody != nil, lenient: op.Unknown == "ignored"}
			for _, p := range op.Parameters {
				switch {
				case p.In == "path":
					o.names = append(o.names, p.Name)
				case p.Schema.Type == "array":
				case p.In == "query":
					o.query = append(o.query, p.Name)
				case p.In == "header":
					o.headers = append(o.headers, p.Name)
				}
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b told) int { return strings.Compare(a.id, b.id) })
	return all
}

// at is the operation's path with name as value, any other name as something harmless.
func (o told) at(name, value string) string {
	path := o.path
	for _, n := range o.names {
		with := "1"
		if n == name {
			with = value
		}
		path = strings.ReplaceAll(path, "{"+n+"}", with)
	}
	return path
}

// blames checks that an answer is a 400 that names a field. An answer to HEAD has no body to say so.
func blames(t *testing.T, o told, what string, a answer, field string) {
	t.Helper()
	if a.status != http.StatusBadRequest {
		t.Errorf("%s, %s: %d %.200s", o.id, what, a.status, a.body)
		return
	}
	if o.method == http.MethodHead {
		return
	}
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil || p.Type != "urn:portico:problem:invalid-argument" || p.Code != "invalid-argument" || p.Detail == "" || p.Title == "" {
		t.Errorf("%s, %s: not the problem it should be: %s", o.id, what, a.body)
	}
	if len(p.Errors) != 1 || !strings.EqualFold(p.Errors[0].Field, field) || p.Errors[0].Expected == "" {
		t.Errorf("%s, %s: blames %+v, want %s", o.id, what, p.Errors, field)
	}
}

func TestHostilePaths(t *testing.T) {
	d := open(t, httpapi.Config{})
	for _, o := range everyOperation(t, d) {
		for _, name := range o.names {
			for _, token := range []string{"..", ".", "%2E%2E", "%00", "a%0Ab", "a%0D%0AX-Evil:%201", "%7F", "%FF", "a%C3%28b"} {
				if name == "q" && slices.Contains([]string{"a%0Ab", "a%0D%0AX-Evil:%201", "%7F", "%FF", "a%C3%28b"}, token) {
					continue // a queue may be called so: AMQP's names are any octets, see test/hostile
				}
				blames(t, o, token, d.do(o.method, o.at(name, token), ""), "path."+name)
			}
			if name == o.names[len(o.names)-1] && strings.HasSuffix(o.path, "{"+name+"}") && len(o.names) > 1 {
				continue // an empty last name is the path of the list above, or the rest of nothing
			}
			if a := d.do(o.method, o.at(name, ""), ""); a.status != 404 && a.status != 405 && a.status != 400 {
				t.Errorf("%s: no %s is answered %d", o.id, name, a.status)
			}
		}
	}
}

// TestHostileNames: names that are legal or not, but never a way to another place or a fault of ours.
func TestHostileNames(t *testing.T) {
	d := open(t, httpapi.Config{})
	for _, o := range everyOperation(t, d) {
		for _, name := range o.names {
			for _, token := range []string{"%2F", "a%2F..%2Fb", "..%2F..%2Fhealthz", "a..b", ".a", "%20", "%25", "%2A", "$SYS", "%3E", strings.Repeat("n", 5000)} {
				a := d.do(o.method, o.at(name, token), "")
				if a.status >= 500 && a.status != 501 && a.status != 503 && a.status != 507 || a.status >= 300 && a.status < 400 {
					t.Errorf("%s, %.40s: %d %.200s", o.id, token, a.status, a.body)
				}
				if a.status >= 400 && o.method != http.MethodHead {
					if got := a.header.Get("Content-Type"); got != "application/problem+json" {
						t.Errorf("%s, %.40s: %d as %s", o.id, token, a.status, got)
					}
				}
			}
		}
	}
}

func TestHostileQueries(t *testing.T) {
	d := open(t, httpapi.Config{})
	for _, o := range everyOperation(t, d) {
		if o.lenient {
			continue
		}
		path := o.at("", "")
		blames(t, o, "unknown parameter", d.do(o.method, path+"?bogus=1", ""), "query.bogus")
		blames(t, o, "unreadable query", d.do(o.method, path+"?a=%zz", ""), "query")
		blames(t, o, "semicolons", d.do(o.method, path+"?a;b", ""), "query")
		for _, q := range o.query {
			blames(t, o, q+" twice", d.do(o.method, path+"?"+q+"=1&"+q+"=1", ""), "query."+q)
			for _, value := range []string{"%00", "%0A", "%FF", "%C3%28"} {
				blames(t, o, q+"="+value, d.do(o.method, path+"?"+q+"="+value, ""), "query."+q)
			}
		}
	}
}

func TestHostileHeaders(t *testing.T) {
	d := open(t, httpapi.Config{})
	for _, o := range everyOperation(t, d) {
		if !o.lenient {
			twice := d.do(o.method, o.at("", ""), "", as("guest", "guest"), with("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q="))
			blames(t, o, "two logins", twice, "header.Authorization")
		}
		for _, name := range o.headers {
			if strings.EqualFold(name, "Last-Event-ID") {
				continue // a browser's; twice it is refused, too, but by its value
			}
			blames(t, o, name+" twice", d.do(o.method, o.at("", ""), "", with(name, "1"), with(name, "1")), "header."+name)
		}
	}
}

// speak sends bytes and returns the answer; the connection is closed.
func speak(t *testing.T, d *doorway, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", d.door.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.80q: %v", request, err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestHeaderInjection(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("q")
	for name, lines := range map[string]string{
		"bare carriage return":  "Msg-A: x\rNats-Rollup: all",
		"null":                  "Msg-A: x\x00y",
		"space before colon":    "Msg-A : x",
		"folded":                "Msg-A: x\r\n Nats-Rollup: all\x01",
		"no colon":              "Msg-A",
		"blank name":            " : x",
		"control in name":       "Msg\x01A: x",
		"two lengths":           "Content-Length: 3\r\nContent-Length: 4",
		"length and chunks":     "Content-Length: -1\r\nTransfer-Encoding: chunked",
		"strange coding":        "Transfer-Encoding: chunked, identity",
		"line feed percent":     "Msg-A%0ANats-Rollup: x",
		"return percent":        "Msg-A%0D%0AEvil: x",
		"command":               "nAtS-rOLLUP: all",
		"key of two lines":      "Idempotency-Key: a\r\nIdempotency-Key: b",
		"key too long":          "Idempotency-Key: " + strings.Repeat("k", 256),
		"key of nothing":        "Idempotency-Key: ",
		"unknown packing":       "Content-Encoding: a\r\nContent-Encoding: b",
		"two kinds":             "Content-Type: text/plain\r\nContent-Type: text/html",
		"host twice":            "Host: other",
		"priority out of range": "Portico-Priority: 256",
	} {
		t.Run(name, func(t *testing.T) {
			res := speak(t, d, "POST /v1/queues/q/messages HTTP/1.1\r\nHost: x\r\n"+lines+"\r\nConnection: close\r\n\r\n")
			if res.StatusCode != http.StatusBadRequest && res.StatusCode != http.StatusNotImplemented {
				t.Errorf("answered %d", res.StatusCode)
			}
		})
	}
	if q := d.show("q"); q.Ready != 0 {
		t.Errorf("%d of the messages were kept", q.Ready)
	}
}

// TestBodiesAboveTheLimit: the answer comes before a single byte of a body that is announced too large, also to who asks whether to send it.
func TestBodiesAboveTheLimit(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.declare("1")
	for _, o := range everyOperation(t, d) {
		if !o.body {
			continue
		}
		for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
			path, _ := strings.CutPrefix(d.url, "http://")
			res := speak(t, d, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n", o.method, o.at("", ""), path, int64(1)<<50, expect))
			switch res.StatusCode {
			case http.StatusRequestEntityTooLarge:
			case http.StatusNotFound, http.StatusBadRequest, http.StatusNotImplemented: // it was refused before, for something else
			default:
				t.Errorf("%s %s: %d", o.id, expect, res.StatusCode)
			}
		}
	}
}

func TestSlowBodies(t *testing.T) {
	d := open(t, httpapi.Config{BodyTimeout: 50 * time.Millisecond, MaxBody: 1000})
	d.declare("q")
	for _, path := range []string{"/v1/publish/a", "/v1/publish", "/v1/request/a", "/v1/queues/q/messages", "/v1/queues/q/ack", "/v1/queues/q/fetch"} {
		res := speak(t, d, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
		if res.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

// TestWhatIsFoundIsShown: the wrong value comes back in the problem, bounded and readable.
func TestWhatIsFoundIsShown(t *testing.T) {
	d := open(t, httpapi.Config{})
	p := want[problem](t, d.do("POST", "/v1/queues/q/fetch?max=0", ""), 400)
	if len(p.Errors) != 1 || p.Errors[0] != (violation{"query.max", "a whole number from 1 to 1000", "0"}) {
		t.Errorf("%+v", p.Errors)
	}
	p = want[problem](t, d.do("POST", "/v1/queues/q/fetch?max="+url.QueryEscape(strings.Repeat("é", 1000)), ""), 400)
	if len(p.Errors) != 1 || len(p.Errors[0].Found) > 110 {
		t.Errorf("%+v", p.Errors)
	}
}
