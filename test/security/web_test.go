package security

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// httpVisitor makes a request for each thing it does.
type httpVisitor struct {
	base   string
	client *http.Client
	shown  shown
}

func visitHTTP(t *testing.T, s *site, w shown) (visitor, error) {
	v := &httpVisitor{base: "http://" + s.at["HTTP"], shown: w, client: &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: w.tls.Clone(), ForceAttemptHTTP2: true}}}
	if w.tls != nil {
		v.base = "https://" + s.at["HTTP"]
	}
	t.Cleanup(v.close)
	status, _, err := v.call("GET", "/healthz", "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/healthz answers %d", status)
	}
	return v, err
}

func (v *httpVisitor) call(method, path, body string, header ...string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, v.base+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	authorize(r.Header, v.shown)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := v.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		return resp.StatusCode, "", nil
	}
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// authorize puts the credentials where HTTP has them.
func authorize(h http.Header, w shown) {
	r := &http.Request{Header: h}
	switch {
	case w.token != "":
		h.Set("Authorization", "Bearer "+w.token)
	case !w.nothing():
		r.SetBasicAuth(w.user, w.password)
	}
}

// ask makes a request that should be answered with 2xx.
func (v *httpVisitor) ask(method, path, body string, header ...string) error {
	status, answer, err := v.call(method, path, body, header...)
	if err != nil || status < 300 {
		return err
	}
	return problem(status, answer)
}

func problem(status int, answer string) error {
	var p struct{ Code string }
	if err := json.Unmarshal([]byte(answer), &p); err != nil {
		return fmt.Errorf("%d %.200s", status, answer)
	}
	return refusal(fmt.Sprintf("%d %s", status, p.Code))
}

func (v *httpVisitor) publish() error   { return v.ask("POST", "/v1/publish/"+subjectIn, "x") }
func (v *httpVisitor) subscribe() error { return v.ask("GET", "/v1/subscribe?subject="+subjectOut, "") }
func (v *httpVisitor) request() error   { return v.ask("POST", "/v1/request/"+subjectAsk, "x") }
func (v *httpVisitor) consume() error {
	return v.ask("POST", "/v1/queues/"+queueThere+"/fetch?max=1&wait=0s", "")
}
func (v *httpVisitor) declare() error {
	return v.ask("PUT", "/v1/queues/"+queueNew, `{"durable":true}`, "Content-Type", "application/json")
}
func (v *httpVisitor) admin() error { return v.ask("GET", "/v1/users", "") }
func (v *httpVisitor) close()       { v.client.CloseIdleConnections() }

// webVisitor speaks the gateway's own protocol over a WebSocket.
type webVisitor struct{ conn *websocket.Conn }

func visitWebSocket(t *testing.T, s *site, w shown) (visitor, error) {
	d := websocket.Dialer{Subprotocols: []string{"portico.v1.json"}, HandshakeTimeout: patience, TLSClientConfig: w.tls.Clone()}
	h := http.Header{}
	authorize(h, w)
	scheme := "ws://"
	if w.tls != nil {
		scheme = "wss://"
	}
	conn, resp, err := d.DialContext(within(t), scheme+s.at["HTTP"]+"/ws", h)
	if errors.Is(err, websocket.ErrBadHandshake) {
		answer, _ := io.ReadAll(resp.Body)
		return nil, problem(resp.StatusCode, string(answer))
	}
	if err != nil {
		return nil, err
	}
	v := &webVisitor{conn}
	t.Cleanup(v.close)
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	var welcome map[string]any
	return v, conn.ReadJSON(&welcome)
}

func (v *webVisitor) do(frame map[string]any) error {
	frame["id"] = "1"
	if err := v.conn.WriteJSON(frame); err != nil {
		return err
	}
	for {
		var got map[string]any
		err := v.conn.ReadJSON(&got)
		if e, ok := errors.AsType[*websocket.CloseError](err); ok {
			return refusal(fmt.Sprintf("close %d", e.Code))
		}
		switch {
		case err != nil:
			return err
		case got["id"] != "1":
		case got["op"] == "err":
			return refusal(fmt.Sprintf("err %s", got["code"]))
		default:
			return nil
		}
	}
}

func (v *webVisitor) publish() error {
	return v.do(map[string]any{"op": "pub", "subject": subjectIn, "data": "x"})
}
func (v *webVisitor) subscribe() error {
	return v.do(map[string]any{"op": "sub", "sid": "s", "subject": subjectOut})
}
func (v *webVisitor) request() error {
	return v.do(map[string]any{"op": "req", "subject": subjectAsk, "data": "x"})
}
func (v *webVisitor) consume() error {
	return v.do(map[string]any{"op": "consume", "sid": "c", "queue": queueThere, "credit": 1})
}
func (v *webVisitor) declare() error {
	return v.do(map[string]any{"op": "declare", "queue": queueNew, "durable": true})
}
func (v *webVisitor) admin() error { return errNotThere }
func (v *webVisitor) close()       { v.conn.Close() }

// tlsOrNot dials an address.
func tlsOrNot(t *testing.T, address string, config *tls.Config) (io.ReadWriteCloser, error) {
	if config == nil {
		return dial(address)
	}
	d := &tls.Dialer{Config: config}
	conn, err := d.DialContext(within(t), "tcp", address)
	if err == nil {
		err = conn.SetDeadline(time.Now().Add(patience))
	}
	return conn, err
}
