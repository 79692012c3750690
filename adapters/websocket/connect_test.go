package websocket_test

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/core"

	"portico/adapters/websocket"

	gorilla "github.com/gorilla/websocket"
)

func TestSubprotocol(t *testing.T) {
	d := open(t, websocket.Config{})
	for name, c := range map[string]struct {
		offered []string
		chosen  string
		status  int
	}{
		"ours":        {[]string{"portico.v1.json"}, "portico.v1.json", 101},
		"ours second": {[]string{"mqtt", "portico.v1.json"}, "portico.v1.json", 101},
		"none":        {nil, "", 101},
		"others only": {[]string{"graphql-ws", "wamp"}, "", 400},
	} {
		t.Run(name, func(t *testing.T) {
			_, res, _ := d.tryDial(c.offered)
			if res == nil || res.StatusCode != c.status || res.Header.Get("Sec-Websocket-Protocol") != c.chosen {
				t.Errorf("answer %+v", res)
			}
		})
	}
}

func TestNotAWebSocket(t *testing.T) {
	d := open(t, websocket.Config{})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http" + strings.TrimPrefix(d.url, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 400 || !strings.Contains(string(body), `"code":"invalid-argument"`) || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s %v", res.StatusCode, body, err)
	}
}

func TestOrigin(t *testing.T) {
	d := open(t, websocket.Config{AllowedOrigins: []string{"https://App.example/"}})
	for origin, status := range map[string]int{
		"": 101,
		"http" + d.url[2:strings.LastIndex(d.url, "/")]: 101,
		"http://localhost:3000":                         101,
		"http://[::1]:9":                                101,
		"https://app.example":                           101,
		"http://app.example":                            403,
		"https://evil.example":                          403,
		"null":                                          403,
		"http://127.0.0.1.evil.example":                 403,
	} {
		_, res, _ := d.tryDial(nil, func(h http.Header) {
			if origin != "" {
				h.Set("Origin", origin)
			}
		})
		if res == nil || res.StatusCode != status {
			t.Errorf("%q: %+v, want %d", origin, res, status)
		}
	}
	all := open(t, websocket.Config{AllowedOrigins: []string{"*"}})
	if _, res, err := all.tryDial(nil, with("Origin", "https://any.example")); err != nil {
		t.Errorf("*: %v %+v", err, res)
	}
	if _, err := websocket.New(websocket.Config{AllowedOrigins: []string{"app.example"}}, d.gateway, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an origin without scheme is taken")
	}
}

func TestConnectionLimit(t *testing.T) {
	d := open(t, websocket.Config{MaxConnections: 1})
	c := d.dial()
	if _, res, err := d.tryDial(nil); err == nil || res.StatusCode != 503 {
		t.Errorf("second: %v %+v", err, res)
	}
	c.ws.Close()
	eventually(t, "the place is free", func() bool {
		c, _, err := d.tryDial(nil)
		if err == nil {
			c.ws.Close()
		}
		return err == nil
	})
}

func users(c *core.Config) {
	c.Users = []core.User{{
		Name: "ann", Password: "secret", Publish: []string{"orders.>", "$queue.put"}, Subscribe: []string{"orders.>", "$queue.get"},
	}}
}

func TestLoginAtTheUpgrade(t *testing.T) {
	d := open(t, websocket.Config{}, users)
	c, _, err := d.tryDial(nil, as("ann", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	if w := c.next("welcome"); w["authenticated"] != true || w.str("user") != "ann" {
		t.Errorf("welcome %v", w)
	}
	c.do(frame{"op": "pub", "subject": "orders.x"})
	_, res, err := d.tryDial(nil, as("ann", "wrong"))
	if err == nil || res.StatusCode != 401 || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("wrong password: %v %+v", err, res)
	}
}

func TestLoginByFrame(t *testing.T) {
	d := open(t, websocket.Config{}, users)
	c, _, err := d.tryDial(nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := c.next("welcome"); w["authenticated"] != false {
		t.Errorf("welcome %v", w)
	}
	c.refused(frame{"op": "pub", "subject": "orders.x"}, core.CodeUnauthenticated)
	c.do(frame{"op": "ping"})
	c.do(frame{"op": "auth", "user": "ann", "password": "secret"})
	c.do(frame{"op": "sub", "sid": "s", "subject": "orders.>"})
	if again := c.do(frame{"op": "auth", "user": "ann", "password": "secret"}); again.str("user") != "ann" {
		t.Errorf("the same user again: %v", again)
	}
	c.refused(frame{"op": "auth", "user": "ann", "password": "no"}, core.CodeUnauthenticated)
	c.do(frame{"op": "ping"})

	wrong, _, err := d.tryDial(nil)
	if err != nil {
		t.Fatal(err)
	}
	wrong.refused(frame{"op": "auth", "user": "ann", "password": "no"}, core.CodeUnauthenticated)
	if e := wrong.closed(4401); e.Text != "unauthenticated" {
		t.Errorf("reason %q", e.Text)
	}
}

func TestWhoDoesNotLogInIsClosed(t *testing.T) {
	d := open(t, websocket.Config{AuthTimeout: 50 * time.Millisecond}, users)
	c, _, err := d.tryDial(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.closed(4401)
}

func TestPermissions(t *testing.T) {
	d := open(t, websocket.Config{}, users)
	for _, q := range []string{"put", "get"} {
		if _, _, err := d.gateway.System().DeclareQueue(t.Context(), core.QueueConfig{Name: q}); err != nil {
			t.Fatal(err)
		}
	}
	c := d.dial(as("ann", "secret"))
	for name, f := range map[string]frame{
		"pub":     {"op": "pub", "subject": "other"},
		"sub":     {"op": "sub", "sid": "s", "subject": ">"},
		"serve":   {"op": "serve", "sid": "s", "subject": "other"},
		"req":     {"op": "req", "subject": "other"},
		"append":  {"op": "append", "queue": "get"},
		"consume": {"op": "consume", "sid": "s", "queue": "put"},
		"purge":   {"op": "purge", "queue": "put"},
		"delete":  {"op": "delete", "queue": "put"},
		"bind":    {"op": "bind", "queue": "get", "subject": "other"},
		"declare": {"op": "declare", "queue": "put2"},
	} {
		t.Run(name, func(t *testing.T) { c.refused(f, core.CodePermissionDenied) })
	}
	c.do(frame{"op": "append", "queue": "put"})
	c.do(frame{"op": "consume", "sid": "s", "queue": "get"})
	c.do(frame{"op": "bind", "queue": "get", "subject": "orders.*"})
}

func TestFramesThatEndTheConnection(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.MaxMessage = 64 << 10 })
	for name, c := range map[string]struct {
		kind    int
		payload string
		code    int
	}{
		"binary":    {gorilla.BinaryMessage, `{"op":"ping"}`, gorilla.CloseUnsupportedData},
		"not UTF-8": {gorilla.TextMessage, "{\"op\":\"\xff\"}", gorilla.CloseInvalidFramePayloadData},
		"too large": {gorilla.TextMessage, strings.Repeat(" ", 2*64<<10+64<<10+1), gorilla.CloseMessageTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			client := d.dial()
			if err := client.ws.WriteMessage(c.kind, []byte(c.payload)); err != nil {
				t.Fatal(err)
			}
			client.closed(c.code)
		})
	}
}

func TestBrokenFraming(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	if _, err := c.ws.NetConn().Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	c.closed(gorilla.CloseProtocolError)
	d.dial().do(frame{"op": "ping"})
}

func TestClientCloses(t *testing.T) {
	d := open(t, websocket.Config{})
	c := d.dial()
	if err := c.ws.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(4000, "bye"), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	c.closed(4000)
}

func TestPings(t *testing.T) {
	d := open(t, websocket.Config{PingInterval: time.Second})
	c := d.dial()
	pings := 0
	c.ws.SetPingHandler(func(string) error {
		pings++
		if pings == 2 {
			return c.ws.WriteControl(gorilla.PingMessage, []byte("mine"), time.Now().Add(time.Second))
		}
		return c.ws.WriteControl(gorilla.PongMessage, nil, time.Now().Add(time.Second))
	})
	pong := make(chan string, 1)
	c.ws.SetPongHandler(func(payload string) error {
		pong <- payload
		return c.ws.WriteMessage(gorilla.TextMessage, []byte(`{"op":"ping","id":"x"}`))
	})
	if f := c.next("pong"); f.str("id") != "x" || <-pong != "mine" {
		t.Errorf("pong %v", f)
	}
}

func TestDeadClientIsNoticed(t *testing.T) {
	d := open(t, websocket.Config{PingInterval: time.Second}) // less, and a busy machine is taken for a dead client
	c := d.dial()
	c.do(frame{"op": "sub", "sid": "s", "subject": "here"})
	eventually(t, "the connection that answers no ping is ended", func() bool { return !d.gateway.System().Interest("here") })
	c.ws.SetPingHandler(func(string) error { return nil })
	if e := c.closed(gorilla.ClosePolicyViolation); e.Text != "no sign of life" {
		t.Errorf("reason %q", e.Text)
	}
}

func TestDrain(t *testing.T) {
	d := open(t, websocket.Config{})
	idle, busy := d.dial(), d.dial()
	server := d.dial()
	server.do(frame{"op": "serve", "sid": "v", "subject": "slow"})
	busy.send(`{"op":"req","id":"r","subject":"slow"}`)
	request := server.next("msg")
	stopped := make(chan struct{})
	go func() { d.stop(); close(stopped) }()
	if e := idle.closed(gorilla.CloseGoingAway); e.Text != "draining" {
		t.Errorf("reason %q", e.Text)
	}
	if _, err := d.gateway.System().Publish(t.Context(), &core.Message{Subject: request.str("reply"), Data: []byte("done")}); err != nil {
		t.Fatal(err)
	}
	if res := busy.answer("r"); res.str("data") != "done" {
		t.Errorf("answer %v", res)
	}
	busy.closed(gorilla.CloseGoingAway)
	<-stopped
	if _, _, err := d.tryDial(nil); err == nil {
		t.Error("a connection is taken after the end")
	}
}

func TestDrainEndsInTime(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.DrainTimeout = 100 * time.Millisecond })
	server, c := d.dial(), d.dial()
	server.do(frame{"op": "serve", "sid": "v", "subject": "never"})
	c.send(`{"op":"req","id":"r","subject":"never","timeout":"5m"}`)
	server.next("msg")
	start := time.Now()
	d.stop()
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("took %s", took)
	}
	c.closed(gorilla.CloseGoingAway)
}

func TestDrainCutsWhoDoesNotListen(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.DrainTimeout = 100 * time.Millisecond })
	c, filler := d.dial(), d.dial()
	filler.do(frame{"op": "declare", "queue": "q", "durable": false})
	c.do(frame{"op": "consume", "sid": "c", "queue": "q", "credit": 1000})
	for range 40 {
		filler.do(frame{"op": "append", "queue": "q", "data": strings.Repeat("x", 512<<10)})
	}
	start := time.Now()
	d.stop()
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("took %s", took)
	}
}
