package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	httpapi "portico/adapters/http"

	"github.com/nats-io/nats.go/jetstream"
)

// feed reads a stream of server-sent events as an EventSource does.
type feed struct {
	t      *testing.T
	res    *http.Response
	r      *bufio.Reader
	cancel func()
	id     string // of the last event
}

type occurrence struct{ id, name, data string }

func (d *doorway) feed(path string, options ...option) *feed {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	res, err := d.client.Do(d.request("GET", path, "", options...).WithContext(ctx))
	if err != nil {
		cancel()
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		cancel()
		res.Body.Close()
	})
	if res.StatusCode != 200 {
		d.t.Fatalf("%s: %d", path, res.StatusCode)
	}
	return &feed{d.t, res, bufio.NewReader(res.Body), cancel, ""}
}

// next returns the next event; ok is false at the end of the stream.
func (f *feed) next() (o occurrence, ok bool) {
	for {
		line, err := f.r.ReadString('\n')
		if err != nil {
			return o, false
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			f.id, o.id = value, value
		case "event":
			o.name = value
		case "data":
			o.data = value
		case "":
			if line == "\n" && o.name != "" {
				return o, true
			}
		}
	}
}

// message expects a message.
func (f *feed) message() (m stored) {
	f.t.Helper()
	o, ok := f.next()
	if err := json.Unmarshal([]byte(o.data), &m); !ok || err != nil || o.name != "message" || o.id != fmt.Sprint(m.Sequence) {
		f.t.Fatalf("event %+v: %v", o, err)
	}
	return m
}

func TestFollow(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s", "a=1", "b=2", "a=3")
	js := d.natively()
	f := d.feed("/v1/streams/s/follow?from=1&subject=s.a")
	if got := f.res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("content type %q", got)
	}
	for _, text := range []string{"1", "3"} {
		if m := f.message(); m.text() != text {
			t.Errorf("message %+v, want %s", m, text)
		}
	}
	now := d.feed("/v1/streams/s/follow")
	if _, err := js.Publish(t.Context(), "s.a", []byte("4")); err != nil {
		t.Fatal(err)
	}
	if m := f.message(); m.text() != "4" || m.Sequence != 4 {
		t.Errorf("what comes: %+v", m)
	}
	if m := now.message(); m.text() != "4" {
		t.Errorf("from now on: %+v", m)
	}
	back := d.feed("/v1/streams/s/follow?from=1", with("Last-Event-ID", "3"))
	if m := back.message(); m.text() != "4" {
		t.Errorf("behind Last-Event-ID: %+v", m)
	}
	lines := d.feed("/v1/streams/s/follow?since=1h", with("Accept", "application/x-ndjson"))
	var m stored
	line, err := lines.r.ReadString('\n')
	if err != nil || json.Unmarshal([]byte(line), &m) != nil || m.text() != "1" || m.Sequence != 1 {
		t.Errorf("first line %q %v", line, err)
	}
}

// A client that loses its connection before anything came has a place to come back to all the same.
func TestFollowerKnowsItsPlaceAtOnce(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s", "a=1", "a=2")
	f := d.feed("/v1/streams/s/follow")
	for f.id == "" {
		line, err := f.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			f.id = strings.TrimSpace(id)
		}
	}
	f.cancel()
	if _, err := d.natively().Publish(t.Context(), "s.a", []byte("3")); err != nil {
		t.Fatal(err)
	}
	if m := d.feed("/v1/streams/s/follow", with("Last-Event-ID", f.id)).message(); f.id != "2" || m.text() != "3" {
		t.Errorf("place %s, then %+v", f.id, m)
	}
}

func TestFollowTellsGaps(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s", "a=1", "a=2", "a=3", "a=4")
	want[json.RawMessage](t, d.do("POST", "/v1/streams/s/purge", `{"before":3}`), 200)
	f := d.feed("/v1/streams/s/follow", with("Last-Event-ID", "1"))
	o, _ := f.next()
	if o.name != "gap" || o.data != `{"from":2,"to":2}` || o.id != "2" {
		t.Errorf("event %+v", o)
	}
	if m := f.message(); m.text() != "3" {
		t.Errorf("then %+v", m)
	}
	lines := d.feed("/v1/streams/s/follow?from=2", with("Accept", "application/x-ndjson"))
	if line, err := lines.r.ReadString('\n'); err != nil || line != `{"gap":{"from":2,"to":2}}`+"\n" {
		t.Errorf("line %q %v", line, err)
	}
}

func TestFollowEnds(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s", "a=1")
	d.stream("r", "a=1")
	gone, stopped := d.feed("/v1/streams/s/follow?from=1"), d.feed("/v1/streams/r/follow?from=1")
	gone.message()
	stopped.message()
	if a := d.do("DELETE", "/v1/streams/s", ""); a.status != 204 {
		t.Fatal(a.status)
	}
	if o, _ := gone.next(); o.name != "error" || !strings.Contains(o.data, `"code":"not-found"`) {
		t.Errorf("deleted: %+v", o)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if o, _ := stopped.next(); o.name != "error" || !strings.Contains(o.data, `"code":"unavailable"`) {
		t.Errorf("stopped: %+v", o)
	}
	if o, ok := stopped.next(); ok {
		t.Errorf("after the end: %+v", o)
	}
}

// Clients that drop at random and come back see each message once, in order.
func TestFollowersThatComeBack(t *testing.T) {
	d := open(t, httpapi.Config{})
	d.stream("s")
	const clients, messages = 8, 400
	js := d.natively()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			next, drops, path := uint64(1), 0, "/v1/streams/s/follow?from=1"
			for next <= messages {
				var options []option
				if next > 1 {
					options = []option{with("Last-Event-ID", fmt.Sprint(next-1))}
				}
				f := d.feed(path, options...)
				stay := next + uint64(17+13*i+7*drops) // somewhere in the middle of a batch
				for next < min(stay, messages+1) {
					if m := f.message(); m.Sequence != next || m.text() != fmt.Sprint(next) {
						t.Errorf("client %d after %d drops: %+v, want %d", i, drops, m, next)
						return
					}
					next++
				}
				f.cancel()
				drops++
			}
		})
	}
	for i := range messages {
		if _, err := js.PublishAsync("s.a", fmt.Append(nil, i+1), jetstream.WithStallWait(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
}

// connections is how many the door has.
func (d *doorway) connections() (n int) {
	d.t.Helper()
	const name = `portico_connections{door="http"} `
	_, rest, ok := strings.Cut(string(d.do("GET", "/metrics", "").body), name)
	if _, err := fmt.Sscan(rest, &n); !ok || err != nil {
		d.t.Fatalf("no number of connections: %v", err)
	}
	return n
}

// A follower that takes nothing is cut by the write deadline and holds nobody up.
func TestFollowerThatDoesNotRead(t *testing.T) {
	d := open(t, httpapi.Config{WriteTimeout: time.Second})
	want[streamShown](t, d.do("PUT", "/v1/streams/s", `{"subjects":["s.>"],"storage":"memory"}`), 201)
	quick := d.feed("/v1/streams/s/follow?from=1")
	quick.r = bufio.NewReaderSize(quick.r, 2<<20)
	before := d.connections()
	conn, err := net.Dial("tcp", d.door.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET /v1/streams/s/follow?from=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	if line, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q %v", line, err)
	}
	const messages = 40
	js, big := d.natively(), bytes.Repeat([]byte("x"), 512<<10)
	done := make(chan error, 1)
	go func() {
		for range messages {
			if _, err := js.Publish(context.Background(), "s.a", big); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := range messages {
		if m := quick.message(); m.Sequence != uint64(i+1) {
			t.Fatalf("message %d has %d", i, m.Sequence)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client that does not read is gone", func() bool { return d.connections() == before })
}
