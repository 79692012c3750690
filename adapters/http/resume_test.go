package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/core"

	httpapi "portico/adapters/http"
)

// source is an EventSource as browsers have it, that loses its connection now and then and comes back with the id of the last event that it saw.
type source struct {
	url    string
	client *http.Client
	rnd    *rand.Rand

	last  string // Last-Event-ID
	next  int    // the message that has to come
	drops int
}

// follow reads until n messages have come, each once and in order.
func (s *source) follow(ctx context.Context, n int) error {
	for s.next < n {
		if err := s.visit(ctx, n); err != nil {
			return fmt.Errorf("message %d, after %d drops, last id %q: %w", s.next, s.drops, s.last, err)
		}
		s.drops++
	}
	return nil
}

// visit is one connection. It ends in the middle of whatever is on its way.
func (s *source) visit(ctx context.Context, n int) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return err
	}
	if s.last != "" {
		r.Header.Set("Last-Event-ID", s.last)
	}
	res, err := s.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return s.read(bufio.NewReader(res.Body), n, s.rnd.IntN(2000))
}

// read takes events as the specification of server-sent events has it: an id counts when its event is complete.
func (s *source) read(r *bufio.Reader, n, life int) error {
	var id, name, data string
	for life > 0 && s.next < n {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if id != "" {
				s.last = id
			}
			if data == "" {
				continue
			}
			if err := s.take(name, data); err != nil {
				return err
			}
			life, data = life-1, ""
		}
	}
	return nil
}

func (s *source) take(name, data string) error {
	var m message
	if err := json.Unmarshal([]byte(data), &m); err != nil || name != "message" || m.text() != fmt.Sprint(s.next) {
		return fmt.Errorf("event %s %s: want message %d: %w", name, data, s.next, err)
	}
	s.next++
	return nil
}

// TestSubscribersResume has 50 clients that drop at random while 10,000 messages go through a stream.
func TestSubscribersResume(t *testing.T) {
	d := open(t, httpapi.Config{})
	if a := d.do("PUT", "/v1/streams/ticks", `{"subjects":["tick.>"]}`); a.status != 201 {
		t.Fatalf("stream: %d %s", a.status, a.body)
	}
	clients, n := 50, 10_000
	if underRace {
		n = 1_000
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i := range clients {
		all.Go(func() {
			s := source{url: d.url + "/v1/subscribe?subject=tick.>&stream=ticks&from=1", client: &http.Client{Transport: transport}, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
			if err := s.follow(ctx, n); err != nil {
				t.Errorf("client %d: %v", i, err)
				cancel()
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i += 200 {
		publishTicks(t, d, i, 200)
	}
	all.Wait()
}

// publishTicks publishes a batch of numbers.
func publishTicks(t *testing.T, d *doorway, from, n int) {
	t.Helper()
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"subject":"tick.%d","data":"%d"}`+"\n", i%7, from+i)
	}
	a := d.do("POST", "/v1/publish", lines.String(), with("Content-Type", "application/x-ndjson"))
	if a.status != 200 || strings.Contains(string(a.body), `"code"`) {
		t.Fatalf("publish: %d %s", a.status, a.body)
	}
}

func TestSubscribeAsLines(t *testing.T) {
	d := open(t, httpapi.Config{})
	res, err := d.client.Do(d.request("GET", "/v1/subscribe?subject=a", "", with("Accept", "application/x-ndjson")))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got := res.Header.Get("Content-Type"); got != "application/x-ndjson" {
		t.Fatalf("content type %q", got)
	}
	d.do("POST", "/v1/publish/a", "one\n")
	d.do("POST", "/v1/publish/a", "two")
	dec := json.NewDecoder(res.Body)
	for _, want := range []string{"one\n", "two"} {
		var m message
		if err := dec.Decode(&m); err != nil || m.text() != want {
			t.Fatalf("line %+v %v, want %q", m, err, want)
		}
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(io.MultiReader(dec.Buffered(), res.Body))
	if err != nil || !strings.Contains(string(rest), `{"error":{`) {
		t.Errorf("the last line is %q %v", rest, err)
	}
}

// TestSlowSubscriberMisses has clients that would rather miss messages than be closed.
func TestSlowSubscriberMisses(t *testing.T) {
	for _, slow := range []string{"drop-oldest", "drop-newest"} {
		t.Run(slow, func(t *testing.T) {
			d := open(t, httpapi.Config{WriteTimeout: 30 * time.Second})
			e := d.subscribe("subject=flood&slow=" + slow)
			const n = 64
			for i := range n { // much more than the queue and the sockets' buffers hold
				d.do("POST", "/v1/publish/flood", fmt.Sprintf("%d %s", i, strings.Repeat("x", 1<<20)))
			}
			d.do("POST", "/v1/publish/flood", "end") // small: it fits in again only when something has left
			seen, missed := 0, 0
			var texts []string
			for seen+missed < n+1 {
				kind, data := e.next()
				switch kind {
				case "message":
					var m message
					if err := json.Unmarshal([]byte(data), &m); err != nil {
						t.Fatal(err)
					}
					number, _, _ := strings.Cut(m.text(), " ")
					texts = append(texts, number)
					seen++
				case "dropped":
					var gone struct{ Messages int }
					if err := json.Unmarshal([]byte(data), &gone); err != nil {
						t.Fatal(err)
					}
					missed += gone.Messages
				default:
					t.Fatalf("event %s %s", kind, data)
				}
			}
			last := texts[len(texts)-1]
			if missed == 0 || slow == "drop-oldest" && last != "end" || slow == "drop-newest" && texts[0] != "0" {
				t.Errorf("missed %d, saw %v", missed, texts)
			}
		})
	}
}

// TestFollowLiveAsEvents: messages that come after the header, to a stream that has taken its connection, as CloudEvents.
func TestFollowLiveAsEvents(t *testing.T) {
	d := open(t, httpapi.Config{})
	if a := d.do("PUT", "/v1/streams/ticks", `{"subjects":["tick.>"]}`); a.status != 201 {
		t.Fatalf("stream: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/v1/streams/ticks/follow", "/v1/subscribe?stream=ticks&subject=tick.>"} {
		f := d.feed(path, with("Accept", "text/event-stream, application/cloudevents+json"))
		for i := range 3 {
			publishTicks(t, d, i, 1)
			o, ok := f.next()
			for ok && o.data == "" { // where it begins
				o, ok = f.next()
			}
			if !ok || !strings.Contains(o.data, `"specversion":"1.0"`) || !strings.Contains(o.data, `"source":"urn:portico:subject:tick.0"`) {
				t.Fatalf("%s: event %+v %v", path, o, ok)
			}
		}
		f.cancel()
	}
}

// TestStuckStreamIsCut: a client that takes nothing does not hold the gateway up when it stops.
func TestStuckStreamIsCut(t *testing.T) {
	d := open(t, httpapi.Config{WriteTimeout: time.Minute}, func(c *core.Config) { c.DrainTimeout = 300 * time.Millisecond })
	conn, err := net.Dial("tcp", d.door.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /v1/subscribe?subject=flood&slow=drop-newest HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, "subscribed", func() bool { return d.gateway.System().Interest("flood") })
	for range 24 {
		if _, err := d.gateway.System().Publish(t.Context(), &core.Message{Subject: "flood", Data: make([]byte, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	if err := d.stop(); err != nil {
		t.Logf("stop: %v", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("stopping took %s", took)
	}
}
