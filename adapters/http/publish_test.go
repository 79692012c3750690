package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/core"

	httpapi "portico/adapters/http"
)

func TestPublishReachesSubscribers(t *testing.T) {
	d := open(t, httpapi.Config{})
	got := make(chan *core.Message, 1)
	s, err := d.gateway.System().Subscribe("orders.>", "", func(m *core.Message) { got <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Unsubscribe()
	r := want[receipt](t, d.do("POST", "/v1/publish/orders.new?reply=orders.answer", "\x00\xffbytes",
		with("Content-Type", "application/x-thing"), with("Content-Encoding", "br"), with("Msg-Color", "red"), with("Msg-Color", "blue"),
		with("Msg-With%2Fslash", "x"), with("Portico-Message-Id", "m1"), with("Portico-Priority", "7"), with("Traceparent", "00-1-2-01"), with("Ce-Type", "t"),
		with("X-Other", "stays outside")), http.StatusAccepted)
	if !r.Live || r.Queues != 0 {
		t.Errorf("receipt %+v", r)
	}
	m := <-got
	if m.Subject != "orders.new" || m.Reply != "orders.answer" || string(m.Data) != "\x00\xffbytes" {
		t.Errorf("message %+v", m)
	}
	for name, values := range map[string][]string{
		"Content-Type": {"application/x-thing"}, "Content-Encoding": {"br"}, "color": {"red", "blue"}, "with/slash": {"x"},
		"Portico-Message-Id": {"m1"}, "Portico-Priority": {"7"}, "traceparent": {"00-1-2-01"}, "ce-type": {"t"},
	} {
		if !slices.Equal(m.Header[name], values) {
			t.Errorf("header %s is %q, want %q (all: %v)", name, m.Header[name], values, m.Header)
		}
	}
	if m.Header.Get("X-Other") != "" || m.Header.Get("User-Agent") != "" {
		t.Errorf("headers of HTTP came along: %v", m.Header)
	}
}

func TestPublishCountsQueues(t *testing.T) {
	d := open(t, httpapi.Config{})
	if r := want[receipt](t, d.do("POST", "/v1/publish/nobody.there", "x"), http.StatusAccepted); r.Queues != 0 || r.Live {
		t.Errorf("receipt %+v", r)
	}
	d.declare("a")
	d.declare("b")
	for _, q := range []string{"a", "b"} {
		if a := d.do("PUT", "/v1/queues/"+q+"/bindings/orders.*", ""); a.status != http.StatusNoContent {
			t.Fatalf("bind: %d %s", a.status, a.body)
		}
	}
	if r := want[receipt](t, d.do("POST", "/v1/publish/orders.x", "kept"), http.StatusOK); r.Queues != 2 {
		t.Errorf("receipt %+v", r)
	}
	m := d.fetch("a", "wait=5s")
	if len(m) != 1 || m[0].Subject != "orders.x" || m[0].text() != "kept" {
		t.Errorf("fetched %+v", m)
	}
}

func TestPublishRefuses(t *testing.T) {
	d := open(t, httpapi.Config{MaxBody: 1000})
	cases := map[string]struct {
		path, body string
		options    []option
		status     int
		code       core.Code
	}{
		"wildcard subject":      {path: "/v1/publish/a.*", status: 400, code: core.CodeInvalid},
		"subject of the bus":    {path: "/v1/publish/$SYS.x", status: 403, code: core.CodePermissionDenied},
		"empty token":           {path: "/v1/publish/a..b", status: 400, code: core.CodeInvalid},
		"bad escape in subject": {path: "/v1/publish/a%00b", status: 400, code: core.CodeInvalid},
		"too large":             {path: "/v1/publish/a", body: strings.Repeat("x", 1001), status: 413, code: core.CodeTooLarge},
		"forged origin":         {path: "/v1/publish/a", options: []option{with("Portico-Origin", "x")}, status: 400, code: core.CodeInvalid},
		"forged amqp":           {path: "/v1/publish/a", options: []option{with("Portico-Amqp", "x")}, status: 400, code: core.CodeInvalid},
		"command header":        {path: "/v1/publish/a", options: []option{with("Nats-Rollup", "all")}, status: 400, code: core.CodeInvalid},
		"command as user":       {path: "/v1/publish/a", options: []option{with("Msg-Nats-Rollup", "all")}, status: 400, code: core.CodeInvalid},
		"property as user":      {path: "/v1/publish/a", options: []option{with("Msg-Content-Type", "x")}, status: 400, code: core.CodeInvalid},
		"user header unnamed":   {path: "/v1/publish/a", options: []option{with("Msg-", "x")}, status: 400, code: core.CodeInvalid},
		"space in name":         {path: "/v1/publish/a", options: []option{with("Msg-a%20b", "x")}, status: 400, code: core.CodeInvalid},
		"line feed in name":     {path: "/v1/publish/a", options: []option{with("Msg-a%0Ab", "x")}, status: 400, code: core.CodeInvalid},
		"priority above 255":    {path: "/v1/publish/a", options: []option{with("Portico-Priority", "256")}, status: 400, code: core.CodeInvalid},
		"delivery mode 3":       {path: "/v1/publish/a", options: []option{with("Portico-Delivery-Mode", "3")}, status: 400, code: core.CodeInvalid},
		"expiration in words":   {path: "/v1/publish/a", options: []option{with("Portico-Expiration", "soon")}, status: 400, code: core.CodeInvalid},
		"two message ids":       {path: "/v1/publish/a", options: []option{with("Portico-Message-Id", "1"), with("Portico-Message-Id", "2")}, status: 400, code: core.CodeInvalid},
		"value not UTF-8":       {path: "/v1/publish/a", options: []option{with("Msg-A", "\xff")}, status: 400, code: core.CodeInvalid},
		"timeout in words":      {path: "/v1/request/a?timeout=soon", status: 400, code: core.CodeInvalid},
		"timeout too long":      {path: "/v1/request/a?timeout=6m", status: 400, code: core.CodeInvalid},
		"wait of no number":     {path: "/v1/request/a", options: []option{with("Prefer", "wait=x")}, status: 400, code: core.CodeInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			refused(t, d.do("POST", c.path, c.body, c.options...), c.status, c.code)
		})
	}
}

func TestBodyAboveTheLimitIsNotRead(t *testing.T) {
	d := open(t, httpapi.Config{MaxBody: 1000})
	conn, err := net.Dial("tcp", d.door.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /v1/publish/a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer before the body: %v", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestBodyOfUnknownLength(t *testing.T) {
	d := open(t, httpapi.Config{MaxBody: 1000})
	for size, status := range map[int]int{1000: 202, 1001: 413} {
		r := d.request("POST", "/v1/publish/a", "")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", size))), -1
		a, err := d.try(r)
		if err != nil || a.status != status {
			t.Errorf("%d bytes: status %d, err %v, want %d", size, a.status, err, status)
		}
	}
}

func TestBodyCutShort(t *testing.T) {
	d := open(t, httpapi.Config{})
	conn, err := net.Dial("tcp", d.door.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /v1/publish/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestRequest(t *testing.T) {
	d := open(t, httpapi.Config{})
	bus := d.gateway.System()
	s, err := bus.Subscribe("math.double", "", func(m *core.Message) {
		answer := &core.Message{Subject: m.Reply, Data: append(m.Data, m.Data...), Header: core.Header{
			"Content-Type": {"text/plain; charset=x"}, "n": {"1", "2"}, "strange/name": {"v"}, "bad": {"a\x01b"}, "Set-Cookie": {"no"}, "ce-id": {"7"},
			core.HeaderCorrelationID: {"c"}, core.HeaderAMQP: {"secret"},
		}}
		bus.PublishAsync(answer, func(core.Receipt, error) {})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Unsubscribe()
	a := d.do("POST", "/v1/request/math.double", "ab", with("Prefer", "respond-async, wait=3"))
	if a.status != 200 || string(a.body) != "abab" {
		t.Fatalf("answer %d %q", a.status, a.body)
	}
	for name, values := range map[string][]string{
		"Content-Type": {"text/plain; charset=x"}, "Msg-N": {"1", "2"}, "Msg-Strange%2fname": {"v"}, "Msg-Set-Cookie": {"no"}, "Ce-Id": {"7"},
		"Portico-Correlation-Id": {"c"}, "Preference-Applied": {"wait=3"}, "X-Content-Type-Options": {"nosniff"},
		"Msg-Bad": nil, "Portico-Amqp": nil, "Msg-Portico-Amqp": nil, "Set-Cookie": nil,
	} {
		if !slices.Equal(a.header.Values(name), values) {
			t.Errorf("header %s: %q, want %q (all: %v)", name, a.header.Values(name), values, a.header)
		}
	}
}

func TestRequestWithoutAnswer(t *testing.T) {
	d := open(t, httpapi.Config{})
	a := d.do("POST", "/v1/request/nobody", "x")
	refused(t, a, http.StatusServiceUnavailable, core.CodeNoResponders)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s, err := d.gateway.System().Subscribe("silent", "", func(*core.Message) {})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Unsubscribe()
	refused(t, d.do("POST", "/v1/request/silent?timeout=50ms", "x"), http.StatusGatewayTimeout, core.CodeTimeout)
}

func TestNamesInPaths(t *testing.T) {
	d := open(t, httpapi.Config{})
	for _, escaped := range []string{"a%2Fb", "a+b", "a%20b", "a%25b", "%C3%A4"} {
		d.declare(escaped)
		if a := d.do("DELETE", "/v1/queues/"+escaped, ""); a.status != 200 {
			t.Errorf("%s: %d %s", escaped, a.status, a.body)
		}
	}
	want[description](t, d.do("PUT", "/v1/queues/a%2Fb%2Bc+d", ""), 201)
	if got := d.show("a%2Fb%2Bc%2Bd").Name; got != "a/b+c+d" {
		t.Errorf("name %q", got)
	}
}

func TestRoutes(t *testing.T) {
	d := open(t, httpapi.Config{})
	refused(t, d.do("GET", "/nothing", ""), 404, core.CodeNotFound)
	refused(t, d.do("GET", "/v1/nothing", ""), 404, core.CodeNotFound)
	refused(t, d.do("GET", "/v1/queues/", ""), 404, core.CodeNotFound)
	a := d.do("DELETE", "/v1/publish/x", "")
	refused(t, a, 405, core.CodeInvalid)
	if a.header.Get("Allow") != "POST" {
		t.Errorf("Allow %q", a.header.Get("Allow"))
	}
}

func TestLogin(t *testing.T) {
	d := open(t, httpapi.Config{}, func(c *core.Config) {
		c.Users = []core.User{{Name: "ann", Password: "secret", Publish: []string{"orders.>", "$queue.mine"}, Subscribe: []string{"orders.>", "$queue.mine"}}}
	})
	for name, options := range map[string][]option{
		"nothing shown":  nil,
		"wrong password": {as("ann", "wrong")},
		"unknown user":   {as("bob", "secret")},
		"bearer":         {with("Authorization", "Bearer x")},
	} {
		t.Run(name, func(t *testing.T) {
			a := d.do("POST", "/v1/publish/orders.x", "x", options...)
			refused(t, a, 401, core.CodeUnauthenticated)
			if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("WWW-Authenticate %q", a.header.Get("WWW-Authenticate"))
			}
		})
	}
	ann := as("ann", "secret")
	for range 3 { // the connection remembers her, and forgets her for another
		want[receipt](t, d.do("POST", "/v1/publish/orders.x", "x", ann), 202)
		refused(t, d.do("POST", "/v1/publish/orders.x", "x", as("ann", "no")), 401, core.CodeUnauthenticated)
	}
	refused(t, d.do("POST", "/v1/publish/other", "x", ann), 403, core.CodePermissionDenied)
	refused(t, d.do("GET", "/v1/subscribe?subject=other", "", ann), 403, core.CodePermissionDenied)
	refused(t, d.do("PUT", "/v1/queues/other", "", ann), 403, core.CodePermissionDenied)
	want[description](t, d.do("PUT", "/v1/queues/mine", "", ann), 201)
	if _, _, err := d.gateway.System().DeclareQueue(t.Context(), core.QueueConfig{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	refused(t, d.do("POST", "/v1/queues/other/messages", "x", ann), 403, core.CodePermissionDenied)
	refused(t, d.do("POST", "/v1/queues/other/fetch", "", ann), 403, core.CodePermissionDenied)
	list := want[struct{ Queues []description }](t, d.do("GET", "/v1/queues", "", ann), 200)
	if len(list.Queues) != 1 || list.Queues[0].Name != "mine" {
		t.Errorf("list %+v", list)
	}
	if a := d.do("GET", "/healthz", ""); a.status != 200 {
		t.Errorf("healthz %d", a.status)
	}
}

func TestOtherOriginsAreRefused(t *testing.T) {
	d := open(t, httpapi.Config{})
	refused(t, d.do("POST", "/v1/publish/x", "x", with("Sec-Fetch-Site", "cross-site")), 403, core.CodePermissionDenied)
	refused(t, d.do("POST", "/v1/publish/x", "x", with("Origin", "https://evil.example")), 403, core.CodePermissionDenied)
	want[receipt](t, d.do("POST", "/v1/publish/x", "x", with("Origin", d.url)), 202)
}

func TestConnectionLimit(t *testing.T) {
	d := open(t, httpapi.Config{MaxConnections: 1})
	if a := d.do("GET", "/healthz", ""); a.status != 200 {
		t.Fatal(a.status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	second := &http.Client{Transport: &http.Transport{}}
	_, err := second.Do(d.request("GET", "/healthz", "").WithContext(ctx))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the second connection was served: %v", err)
	}
	d.client.CloseIdleConnections()
	a, err := second.Do(d.request("GET", "/healthz", ""))
	if err != nil || a.StatusCode != 200 {
		t.Fatalf("after the first has gone: %v %v", a, err)
	}
	a.Body.Close()
	second.CloseIdleConnections()
}
