package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"portico/core"

	httpapi "portico/adapters/http"
)

// events reads a stream of server-sent events.
type events struct {
	t      *testing.T
	r      *bufio.Reader
	body   io.Closer
	cancel func()
}

func (d *doorway) subscribe(query string) *events {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	d.t.Cleanup(cancel)
	res, err := d.client.Do(d.request("GET", "/v1/subscribe?"+query, "").WithContext(ctx))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		d.t.Fatalf("subscribe: %d %v", res.StatusCode, res.Header)
	}
	return &events{d.t, bufio.NewReader(res.Body), res.Body, cancel}
}

// next returns the next event, comments and the retry line passed over.
func (e *events) next() (name, data string) {
	e.t.Helper()
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			e.t.Fatalf("stream: %v", err)
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" && name != "":
			return name, data
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		}
	}
}

func (e *events) message() message {
	e.t.Helper()
	name, data := e.next()
	var m message
	if err := json.Unmarshal([]byte(data), &m); err != nil || name != "message" {
		e.t.Fatalf("event %s %s: %v", name, data, err)
	}
	return m
}

// ended checks that the stream ends with an error event of this code.
func (e *events) ended(code core.Code) {
	e.t.Helper()
	name, data := e.next()
	for name == "message" {
		name, data = e.next()
	}
	if name != "error" || !strings.Contains(data, `"code":"`+code.String()+`"`) {
		e.t.Errorf("event %s %s, want an error %s", name, data, code)
	}
	if rest, err := io.ReadAll(e.r); err != nil || len(rest) > 0 {
		e.t.Errorf("after the error: %q %v", rest, err)
	}
}

func TestSubscribe(t *testing.T) {
	d := open(t, httpapi.Config{})
	e := d.subscribe("subject=a.>&subject=b")
	d.do("POST", "/v1/publish/a.1?reply=r", `<"é"&`+"\n", with("Msg-Color", "red"), with("Msg-N", "1"), with("Msg-N", "2"))
	d.do("POST", "/v1/publish/c", "not this")
	d.do("POST", "/v1/publish/b", "\xff\x00")
	m := e.message()
	if m.Subject != "a.1" || m.Reply != "r" || m.text() != `<"é"&`+"\n" || m.Headers["color"] != "red" || fmt.Sprint(m.Headers["n"]) != "[1 2]" {
		t.Errorf("first %+v %q", m, m.text())
	}
	m = e.message()
	if m.Subject != "b" || m.Data != nil || string(m.DataBase64) != "\xff\x00" {
		t.Errorf("second %+v", m)
	}
}

func TestSubscribeGroup(t *testing.T) {
	d := open(t, httpapi.Config{})
	one, two, all := d.subscribe("subject=g&group=x"), d.subscribe("subject=g&group=x"), d.subscribe("subject=g")
	const n = 20
	for i := range n {
		d.do("POST", "/v1/publish/g", fmt.Sprint(i))
	}
	for i := range n {
		if got := all.message().text(); got != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, got)
		}
	}
	eventually(t, "all are written", func() bool {
		return strings.Contains(string(d.do("GET", "/metrics", "").body), fmt.Sprintf("portico_messages_out_total{door=\"http\"} %d\n", 2*n))
	})
	d.stop()
	count := func(e *events) (got int) {
		for name, _ := e.next(); name == "message"; name, _ = e.next() {
			got++
		}
		return got
	}
	if a, b := count(one), count(two); a+b != n {
		t.Errorf("the group got %d + %d of %d", a, b, n)
	}
}

func TestSubscribeRefuses(t *testing.T) {
	d := open(t, httpapi.Config{})
	refused(t, d.do("GET", "/v1/subscribe", ""), 400, core.CodeInvalid)
	refused(t, d.do("GET", "/v1/subscribe?subject=a..b", ""), 400, core.CodeInvalid)
	refused(t, d.do("GET", "/v1/subscribe?"+strings.Repeat("subject=a&", 65), ""), 400, core.CodeInvalid)
}

func TestSubscriptionEndsWithItsClient(t *testing.T) {
	d := open(t, httpapi.Config{})
	e := d.subscribe("subject=here")
	if !d.gateway.System().Interest("here") {
		t.Fatal("not subscribed when the answer began")
	}
	e.cancel()
	eventually(t, "interest ends", func() bool { return !d.gateway.System().Interest("here") })
}

func TestSubscriptionsEndWhenTheGatewayStops(t *testing.T) {
	d := open(t, httpapi.Config{})
	e := d.subscribe("subject=x")
	start := time.Now()
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("stopping took %s", took)
	}
	e.ended(core.CodeUnavailable)
}

func TestSlowSubscriberIsClosed(t *testing.T) {
	d := open(t, httpapi.Config{WriteTimeout: 200 * time.Millisecond})
	conn, err := net.Dial("tcp", d.door.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /v1/subscribe?subject=flood HTTP/1.1\r\nHost: x\r\n\r\n")
	r := bufio.NewReaderSize(conn, 16)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q %v", line, err)
	}
	bus := d.gateway.System()
	big := make([]byte, 1<<20)
	for range 32 { // more than its queue and the sockets' buffers hold
		if _, err := bus.Publish(t.Context(), &core.Message{Subject: "flood", Data: big}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the client that does not read is gone", func() bool { return !bus.Interest("flood") })
}

func TestSlowSubscriberIsTold(t *testing.T) {
	d := open(t, httpapi.Config{})
	e := d.subscribe("subject=flood")
	bus := d.gateway.System()
	one := make([]byte, 4<<20)
	// More than the queue and the sockets' buffers hold, before the first byte is read.
	for range 16 {
		if _, err := bus.Publish(t.Context(), &core.Message{Subject: "flood", Data: one}); err != nil {
			t.Fatal(err)
		}
	}
	e.r = bufio.NewReaderSize(e.r, 8<<20)
	e.ended(core.CodeSlowConsumer)
}
