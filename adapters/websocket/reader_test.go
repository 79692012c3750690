package websocket

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
	"portico/core/queue"

	"github.com/fxamacker/cbor/v2"
	"github.com/gorilla/websocket"
)

// TestFramesShareNothing: the buffer that a frame was read into is somebody else's as soon as the frame is handled.
func TestFramesShareNothing(t *testing.T) {
	binary, err := newCBOR()
	if err != nil {
		t.Fatal(err)
	}
	text := `{"op":"sub","id":"1","sid":"s","subject":"a","user":"ann","headers":{"k":["v","w"]},"info":{"name":"Ann"},"token":"t","filter":{"all":[{"header":"h","equal":"e"}]},"epoch":"x","after":"key"}`
	packed := map[string]any{
		"op": "pub", "id": "1", "sid": "s", "subject": "a", "headers": map[string]any{"k": []string{"v", "w"}}, "info": map[string]any{"name": "Ann"}, "token": "t", "data": []byte("payload"),
		"filter": map[string]any{"all": []any{map[string]any{"header": "h", "equal": "e"}}},
	}
	one, err := cbor.Marshal(packed)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		wire wire
		b    []byte
	}{
		"json": {jsonWire{}, []byte(text)}, "json payload": {jsonWire{}, []byte(`{"op":"pub","subject":"a","data":"payload"}`)}, "base64": {jsonWire{}, []byte(`{"op":"pub","data_base64":"AAEC"}`)},
		"cbor": {binary, one},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := test.wire.decode([]byte(string(test.b)))
			if err != nil {
				t.Fatal(err)
			}
			got, err := test.wire.decode(test.b)
			for i := range test.b {
				test.b[i] = 'X'
			}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, want %+v, %v", got, want, err)
			}
		})
	}
}

// lastWords is a connection that tells its end together with its last octets, as TLS does.
type lastWords struct {
	net.Conn
	rest string
}

// Read implements net.Conn.
func (c *lastWords) Read(p []byte) (int, error) {
	n := copy(p, c.rest)
	if c.rest = c.rest[n:]; c.rest == "" {
		return n, io.EOF
	}
	return n, nil
}

func TestLastOctetsAreRead(t *testing.T) {
	frame := "\x82\xfe\x20\x00mask" + strings.Repeat("x", 0x2000)
	for _, frames := range []int{1, 2, 3, 5} {
		s := &socket{Conn: &lastWords{rest: strings.Repeat(frame, frames)}, pool: new(sync.Pool)}
		got, part := 0, make([]byte, idleRead)
		for {
			n, err := s.Read(part)
			got += n
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if want := frames * len(frame); got != want {
			t.Errorf("%d octets of %d", got, want)
		}
	}
}

// TestHeadersAreCounted: what waits for a slow client is bounded by its headers, too.
func TestHeadersAreCounted(t *testing.T) {
	m := &core.Message{Header: core.Header{"a": {strings.Repeat("x", 1000), strings.Repeat("y", 1000)}}, Data: []byte("data")}
	var s shares
	for name, i := range map[string]item{"of a subject": {message: m, shared: s.of(m)}, "of a stream": {message: m}} {
		if i.Size() < 2000 {
			t.Errorf("%s: a message with headers of 2,000 bytes counts %d", name, i.Size())
		}
	}
}

// fragile is a protocol that cannot stand one frame, or one answer.
type fragile struct{ jsonWire }

func (fragile) decode(b []byte) (frame, error) {
	if string(b) == "boom" {
		panic("boom")
	}
	return decodeFrame(b)
}

func (fragile) answer(dst []byte, a *answer) []byte {
	if a.ID == "boom" {
		panic("boom")
	}
	return jsonWire{}.answer(dst, a)
}

// TestPanic: a connection whose reader or writer breaks keeps nothing: its subscriptions end, and what it held is back in the queue.
func TestPanic(t *testing.T) {
	for name, last := range map[string]string{"reader": "boom", "writer": `{"op":"ping","id":"boom"}`} {
		t.Run(name, func(t *testing.T) { breaks(t, last) })
	}
}

// breaks is a connection's life up to its last frame.
func breaks(t *testing.T, last string) {
	g := coretest.Start(t)
	door, err := New(Config{}, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := newConn(door, r, g.System())
		c.wire = fragile{}
		if !door.admit(w, c, r.RemoteAddr) {
			return
		}
		u := door.upgrader
		ws, err := u.Upgrade(&hijacker{w, c.attach, c.unread}, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c.ws = ws
		c.run()
	}))
	defer server.Close()
	ws, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	defer ws.Close()
	bus, ctx := g.System(), t.Context()
	if _, _, err := bus.DeclareQueue(ctx, core.QueueConfig{Name: "jobs"}); err != nil {
		t.Fatal(err)
	}
	q, err := bus.Queue("jobs")
	if err != nil {
		t.Fatal(err)
	}
	appended := make(chan error, 1)
	bus.Append(q, &core.Message{Data: []byte("job")}, func(_ core.Receipt, err error) { appended <- err })
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{`{"op":"sub","sid":"s","subject":"news"}`, `{"op":"consume","sid":"q","queue":"jobs"}`} {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(f)); err != nil {
			t.Fatal(err)
		}
	}
	for delivered := false; !delivered; {
		_, b, err := ws.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		delivered = strings.Contains(string(b), `"delivery"`)
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(last)); err != nil {
		t.Fatal(err)
	}
	again := make(chan queue.Delivery, 1)
	x, err := bus.Consume(q, queue.ConsumerConfig{Deliver: func(all []queue.Delivery) { again <- all[0] }}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	x.Grant(1)
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	select {
	case d := <-again:
		if !d.Redelivered {
			t.Error("not redelivered")
		}
	case <-ctx.Done():
		t.Fatal("what the connection held has not come back")
	}
	door.active.Wait()
	if err := bus.Flush(ctx); err != nil { // the server knows now who has left
		t.Fatal(err)
	}
	if r, err := bus.Publish(ctx, &core.Message{Subject: "news"}); err != nil || r.Live {
		t.Errorf("somebody listens still: %+v, %v", r, err)
	}
}
