package websocket_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	"portico/adapters/websocket"

	gorilla "github.com/gorilla/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// doorway is a gateway with its WebSocket door open.
type doorway struct {
	t       *testing.T
	gateway *core.Gateway
	url     string
	stop    func()
}

func open(t *testing.T, cfg websocket.Config, options ...func(*core.Config)) *doorway {
	t.Helper()
	g := coretest.Start(t, append([]func(*core.Config){func(c *core.Config) { c.DrainTimeout = 2 * time.Second }}, options...)...)
	door, err := websocket.New(cfg, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("open door: %v", err)
	}
	server := httptest.NewServer(door)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx) }()
	d := &doorway{t: t, gateway: g, url: "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"}
	stopped := false
	d.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve does not return")
		}
		server.Close()
	}
	t.Cleanup(d.stop)
	return d
}

// frame is any frame, as a client sees it.
type frame map[string]any

func (f frame) str(name string) string {
	s, _ := f[name].(string)
	return s
}

func (f frame) num(name string) int {
	n, _ := f[name].(float64)
	return int(n)
}

// client is one connection.
type client struct {
	t    *testing.T
	ws   *gorilla.Conn
	back []frame // read while something else was waited for
}

// dial connects and takes the welcome.
func (d *doorway) dial(options ...func(http.Header)) *client {
	d.t.Helper()
	c, res, err := d.tryDial([]string{websocket.Protocol}, options...)
	if err != nil {
		d.t.Fatalf("dial: %v %v", err, res)
	}
	if w := c.next("welcome"); w.str("protocol") != websocket.Protocol {
		d.t.Fatalf("welcome %v", w)
	}
	return c
}

func (d *doorway) tryDial(protocols []string, options ...func(http.Header)) (*client, *http.Response, error) {
	h := http.Header{}
	for _, o := range options {
		o(h)
	}
	dialer := gorilla.Dialer{Subprotocols: protocols, HandshakeTimeout: 20 * time.Second}
	ws, res, err := dialer.DialContext(d.t.Context(), d.url, h)
	if err != nil {
		return nil, res, err
	}
	c := &client{t: d.t, ws: ws}
	d.t.Cleanup(func() { ws.Close() })
	return c, res, nil
}

func as(user, password string) func(http.Header) {
	return func(h http.Header) {
		r := http.Request{Header: h}
		r.SetBasicAuth(user, password)
	}
}

func with(name, value string) func(http.Header) {
	return func(h http.Header) { h.Set(name, value) }
}

// send sends a frame given as JSON.
func (c *client) send(text string) {
	c.t.Helper()
	if err := c.ws.WriteMessage(gorilla.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) read() (frame, error) {
	if err := c.ws.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	_, b, err := c.ws.ReadMessage()
	if err != nil {
		return nil, err
	}
	var f frame
	return f, json.Unmarshal(b, &f)
}

// next returns the next frame with this op; others are kept for later.
func (c *client) next(op string) frame {
	c.t.Helper()
	return c.await(op, func(f frame) bool { return f.str("op") == op })
}

func (c *client) await(what string, wanted func(frame) bool) frame {
	c.t.Helper()
	for i, f := range c.back {
		if wanted(f) {
			c.back = slices.Delete(c.back, i, i+1)
			return f
		}
	}
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("waiting for %s: %v (had %v)", what, err, c.back)
		}
		if wanted(f) {
			return f
		}
		c.back = append(c.back, f)
	}
}

// answer returns the answer to an id.
func (c *client) answer(id string) frame {
	c.t.Helper()
	return c.await("the answer to "+id, func(f frame) bool { return f.str("id") == id && f.str("op") != "msg" && f.str("op") != "entry" })
}

// ask sends a frame with an id and returns its answer.
func (c *client) ask(f frame) frame {
	c.t.Helper()
	f = maps.Clone(f)
	f["id"] = "ask"
	b, err := json.Marshal(f)
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(string(b))
	return c.answer("ask")
}

// do is ask, and the answer must be ok.
func (c *client) do(f frame) frame {
	c.t.Helper()
	a := c.ask(f)
	if op := a.str("op"); op != "ok" && op != "res" && op != "pong" {
		c.t.Fatalf("%v: %v", f, a)
	}
	return a
}

// refused is ask, and the answer must be an error with this code.
func (c *client) refused(f frame, code core.Code) frame {
	c.t.Helper()
	a := c.ask(f)
	if a.str("op") != "err" || a.str("code") != code.String() {
		c.t.Errorf("%v: %v, want %s", f, a, code)
	}
	return a
}

// closed reads to the end and checks the close code.
func (c *client) closed(code int) *gorilla.CloseError {
	c.t.Helper()
	for {
		_, err := c.read()
		if err == nil {
			continue
		}
		e, ok := err.(*gorilla.CloseError)
		if !ok || e.Code != code {
			c.t.Fatalf("ended with %v, want %d", err, code)
		}
		return e
	}
}

// quiet checks that nothing but the answer to a ping comes.
func (c *client) quiet() {
	c.t.Helper()
	c.do(frame{"op": "ping"})
	if len(c.back) > 0 {
		c.t.Errorf("unexpected %v", c.back)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
