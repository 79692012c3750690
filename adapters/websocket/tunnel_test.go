package websocket_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"portico/adapters/websocket"
	"portico/core"

	gorilla "github.com/gorilla/websocket"
)

// tunnel is a client of another protocol: a stream of bytes both ways.
type tunnel struct {
	t    *testing.T
	ws   *gorilla.Conn
	rest []byte
}

// bore connects at a path with subprotocols.
func (d *doorway) bore(path string, protocols ...string) *tunnel {
	d.t.Helper()
	ws, res, err := d.tryBore(path, nil, protocols...)
	if err != nil {
		d.t.Fatalf("dial: %v %v", err, res)
	}
	return &tunnel{t: d.t, ws: ws}
}

func (d *doorway) tryBore(path string, h http.Header, protocols ...string) (*gorilla.Conn, *http.Response, error) {
	dialer := gorilla.Dialer{Subprotocols: protocols, HandshakeTimeout: 5 * time.Second}
	ws, res, err := dialer.DialContext(d.t.Context(), strings.TrimSuffix(d.url, "/ws")+path, h)
	if err == nil {
		d.t.Cleanup(func() { _ = ws.Close() })
	}
	return ws, res, err
}

func (u *tunnel) send(kind int, text string) {
	u.t.Helper()
	if err := u.ws.WriteMessage(kind, []byte(text)); err != nil {
		u.t.Fatal(err)
	}
}

// until reads until what has come holds want, and returns it all.
func (u *tunnel) until(want string) string {
	u.t.Helper()
	for !bytes.Contains(u.rest, []byte(want)) {
		_ = u.ws.SetReadDeadline(time.Now().Add(10 * time.Second))
		kind, b, err := u.ws.ReadMessage()
		if err != nil {
			u.t.Fatalf("waiting for %q: %v; had %q", want, err, u.rest)
		}
		if kind != gorilla.BinaryMessage {
			u.t.Errorf("a frame of kind %d, want binary", kind)
		}
		u.rest = append(u.rest, b...)
	}
	all := string(u.rest)
	u.rest = nil
	return all
}

// closed reads to the end and checks the close code.
func (u *tunnel) closed(code int) {
	u.t.Helper()
	for {
		_ = u.ws.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, _, err := u.ws.ReadMessage(); err != nil {
			if !gorilla.IsCloseError(err, code) {
				u.t.Errorf("ended with %v, want %d", err, code)
			}
			return
		}
	}
}

func TestTunnelCarriesNATS(t *testing.T) {
	d := open(t, websocket.Config{})
	for _, path := range []string{"/", "/nats", "/ws/nats"} {
		t.Run(path, func(t *testing.T) {
			u := d.bore(path)
			u.until("INFO {")
			u.send(gorilla.BinaryMessage, "CONNECT {\"verbose\":false}\r\nSUB greet.* 1\r\nPI")
			u.send(gorilla.TextMessage, "NG\r\n")
			u.until("PONG\r\n")
			if _, err := d.gateway.System().Publish(t.Context(), &core.Message{Subject: "greet.you", Data: []byte("hello")}); err != nil {
				t.Fatal(err)
			}
			u.until("MSG greet.you 1 5\r\nhello\r\n")
		})
	}
}

func TestTunnelCarriesLargeMessages(t *testing.T) {
	d := open(t, websocket.Config{})
	u := d.bore("/")
	body := strings.Repeat("0123456789", 200_000)
	u.send(gorilla.BinaryMessage, fmt.Sprintf("CONNECT {\"verbose\":false}\r\nSUB big 1\r\nPUB big %d\r\n%s\r\n", len(body), body))
	u.until("MSG big 1 2000000\r\n" + body + "\r\n")
}

func TestTunnelCarriesMQTT(t *testing.T) {
	d, id := open(t, websocket.Config{}), 'a'
	for name, c := range map[string]struct{ path, protocol string }{
		"by subprotocol": {"/ws", "mqtt"}, "by the former subprotocol": {"/ws", "mqttv3.1"}, "by path": {"/mqtt", ""}, "by both": {"/ws/mqtt", "mqtt"},
	} {
		id++ // the same twice would be the same client
		t.Run(name, func(t *testing.T) {
			var offered []string
			if c.protocol != "" {
				offered = []string{c.protocol}
			}
			u := d.bore(c.path, offered...)
			if got := u.ws.Subprotocol(); got != c.protocol {
				t.Errorf("subprotocol %q, want %q", got, c.protocol)
			}
			u.send(gorilla.BinaryMessage, "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01"+string(id))
			u.until("\x20\x02\x00\x00")
		})
	}
}

// echoes stands for the AMQP door, which this package may not know: it answers everything, and who it thinks the client is.
func echoes(told chan<- string) func(net.Conn) {
	return func(c net.Conn) {
		go func() {
			told <- c.RemoteAddr().String()
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}()
	}
}

func TestTunnelHandsAMQPOver(t *testing.T) {
	told := make(chan string, 1)
	d := open(t, websocket.Config{AMQP: echoes(told)})
	u := d.bore("/ws/amqp", "amqp")
	u.send(gorilla.BinaryMessage, "AMQP\x00\x00\x09\x01")
	u.until("AMQP\x00\x00\x09\x01")
	if got := <-told; got != u.ws.LocalAddr().String() {
		t.Errorf("the client was said to be %s, want %s", got, u.ws.LocalAddr())
	}
	if err := u.ws.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(gorilla.CloseNormalClosure, "")); err != nil {
		t.Fatal(err)
	}
	u.closed(gorilla.CloseNormalClosure)
}

func TestTunnelRefusesTextWhereItMeansNothing(t *testing.T) {
	d := open(t, websocket.Config{})
	u := d.bore("/mqtt", "mqtt")
	u.send(gorilla.TextMessage, "hello")
	u.closed(gorilla.CloseUnsupportedData)
}

func TestTunnelIsRefused(t *testing.T) {
	d := open(t, websocket.Config{}, func(c *core.Config) { c.NATSListen, c.MQTTListen = "off", "off" })
	for name, c := range map[string]struct {
		path, protocol, origin string
		status                 int
	}{
		"NATS is off":     {"/", "", "", http.StatusServiceUnavailable},
		"MQTT is off":     {"/ws", "mqtt", "", http.StatusServiceUnavailable},
		"AMQP is off":     {"/ws", "amqp", "", http.StatusServiceUnavailable},
		"foreign origin":  {"/", "", "https://evil.example", http.StatusForbidden},
		"unknown":         {"/ws", "graphql-ws", "", http.StatusBadRequest},
		"foreign, amqp":   {"/ws", "amqp", "https://evil.example", http.StatusForbidden},
		"foreign, stomp":  {"/ws", "v12.stomp", "https://evil.example", http.StatusForbidden},
		"unknown at root": {"/", "graphql-ws", "", http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if c.origin != "" {
				h.Set("Origin", c.origin)
			}
			var offered []string
			if c.protocol != "" {
				offered = []string{c.protocol}
			}
			_, res, err := d.tryBore(c.path, h, offered...)
			if err == nil || res == nil || res.StatusCode != c.status {
				t.Fatalf("%v %v, want status %d", err, res, c.status)
			}
		})
	}
}

func TestTunnelEndsWithItsFarEnd(t *testing.T) {
	d := open(t, websocket.Config{})
	u := d.bore("/")
	u.until("INFO {")
	u.send(gorilla.BinaryMessage, "CONNECT {\"verbose\":false}\r\nNONSENSE\r\n")
	u.until("-ERR 'Unknown Protocol Operation'")
	u.closed(gorilla.CloseNormalClosure)
}

func TestTunnelDrains(t *testing.T) {
	told := make(chan string, 1)
	d := open(t, websocket.Config{AMQP: echoes(told)}, func(c *core.Config) { c.DrainTimeout = 100 * time.Millisecond })
	nats, amqp := d.bore("/"), d.bore("/amqp", "amqp")
	nats.until("INFO {")
	<-told
	stopped := make(chan struct{})
	go func() { d.stop(); close(stopped) }()
	nats.closed(gorilla.CloseGoingAway)
	amqp.closed(gorilla.CloseGoingAway) // this far end does not drain by itself: it is cut when time is up
	<-stopped
	if _, res, err := d.tryBore("/", nil); err == nil {
		t.Errorf("connected after the end: %v", res)
	}
}

func TestTunnelWithoutASignOfLife(t *testing.T) {
	d := open(t, websocket.Config{PingInterval: 20 * time.Millisecond})
	u := d.bore("/")
	u.ws.SetPingHandler(func(string) error { return nil })
	u.closed(gorilla.ClosePolicyViolation)
}

func TestTunnelsCountAsConnections(t *testing.T) {
	d := open(t, websocket.Config{MaxConnections: 1})
	d.bore("/").until("INFO {")
	_, res, err := d.tryBore("/", nil)
	if err == nil || res == nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%v %v, want status 503", err, res)
	}
}
