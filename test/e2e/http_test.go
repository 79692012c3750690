package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// webClient speaks HTTP to the gateway.
type webClient struct {
	base   string
	client *http.Client
}

func httpDoor(t *testing.T, address string) *door {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	w := &webClient{base: "http://" + address + "/v1/", client: &http.Client{Transport: transport}}
	return &door{
		name: "HTTP", headers: true,
		publish:   func(t *testing.T, m message) { w.publish(t, m) },
		subscribe: w.subscribe,
		request:   w.request,
		serve:     w.serve,
		append: func(t *testing.T, queue string, m message) {
			w.post(t, "queues/"+url.PathEscape(queue)+"/messages", m, http.StatusCreated)
		},
		consume: func(t *testing.T, queue string) consumer { return w.consume(t, queue) },
	}
}

// put writes a message's headers as HTTP has them.
func put(h http.Header, m message) {
	for name, value := range m.header {
		if name == "Content-Type" || name == "traceparent" || strings.HasPrefix(name, "Portico-") {
			h.Set(name, value)
		} else {
			h.Set("Msg-"+name, value)
		}
	}
}

// do sends a request and returns the answer's status, header and body.
func (w *webClient) do(ctx context.Context, method, path string, m message) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.base+path, bytes.NewReader(m.data))
	if err != nil {
		return nil, nil, err
	}
	put(req.Header, m)
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

func (w *webClient) post(t *testing.T, path string, m message, status ...int) []byte {
	t.Helper()
	resp, body, err := w.do(within(t), http.MethodPost, path, m)
	must(t, err)
	for _, s := range status {
		if resp.StatusCode == s {
			return body
		}
	}
	t.Fatalf("POST %s: %s: %s", path, resp.Status, body)
	return nil
}

func (w *webClient) publish(t *testing.T, m message) {
	t.Helper()
	w.post(t, "publish/"+url.PathEscape(m.subject), m, http.StatusOK, http.StatusAccepted)
}

// webMessage is the JSON form of a message, a fetched one too.
type webMessage struct {
	Token       string         `json:"token"`
	Redelivered bool           `json:"redelivered"`
	Subject     string         `json:"subject"`
	Reply       string         `json:"reply"`
	Headers     map[string]any `json:"headers"`
	Data        string         `json:"data"`
	DataBase64  []byte         `json:"data_base64"`
}

func (m webMessage) message() message {
	out := message{subject: m.Subject, reply: m.Reply, header: make(map[string]string), data: m.DataBase64}
	if out.data == nil {
		out.data = []byte(m.Data)
	}
	for name, value := range m.Headers {
		out.header[name] = fmt.Sprint(value)
	}
	return out
}

func (w *webClient) subscribe(t *testing.T, subject string) <-chan message {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	arrived := w.events(t, ctx, subject)
	t.Cleanup(cancel)
	return arrived
}

// events are server-sent events, until ctx ends.
func (w *webClient) events(t *testing.T, ctx context.Context, subject string) <-chan message {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+"subscribe?subject="+url.QueryEscape(subject), nil)
	must(t, err)
	resp, err := w.client.Do(req)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("subscribe: %s", resp.Status)
	}
	arrived := make(chan message, 16)
	go func() {
		defer resp.Body.Close()
		defer close(arrived)
		lines := bufio.NewReader(resp.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			var m webMessage
			if data, ok := strings.CutPrefix(line, "data: "); ok && json.Unmarshal([]byte(data), &m) == nil && m.Subject != "" {
				arrived <- m.message()
			}
		}
	}()
	return arrived
}

func (w *webClient) request(t *testing.T, m message) (message, error) {
	t.Helper()
	resp, body, err := w.do(within(t), http.MethodPost, "request/"+url.PathEscape(m.subject)+"?timeout=10s", m)
	if err != nil {
		return message{}, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return message{header: taken(resp.Header), data: body}, nil
	case http.StatusServiceUnavailable:
		if strings.Contains(string(body), "no-responders") {
			return message{}, errNobody
		}
	}
	return message{}, fmt.Errorf("request: %s: %s", resp.Status, body)
}

// taken are a message's headers in an HTTP answer.
func taken(h http.Header) map[string]string {
	out := make(map[string]string)
	for name, values := range h {
		lower := strings.ToLower(name)
		switch user, ok := strings.CutPrefix(lower, "msg-"); {
		case ok:
			out[user] = values[0]
		case lower == "traceparent":
			out[lower] = values[0]
		case name == "Content-Type" || strings.HasPrefix(name, "Portico-"):
			out[name] = values[0]
		}
	}
	return out
}

func (w *webClient) serve(t *testing.T, subject string, answer func(message) message) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	calls := w.events(t, ctx, subject)
	go func() {
		for m := range calls {
			reply := answer(m)
			if _, _, err := w.do(ctx, http.MethodPost, "publish/"+url.PathEscape(m.reply), reply); err != nil {
				return
			}
		}
	}()
	return cancel
}

// pulls consumes by fetching with a lease.
type pulls struct {
	*testing.T
	client *webClient
	queue  string
	held   []string // tokens, in the order of their messages
}

func (w *webClient) consume(t *testing.T, queue string) *pulls {
	return &pulls{T: t, client: w, queue: "queues/" + url.PathEscape(queue)}
}

func (p *pulls) next() delivery {
	p.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		var got struct {
			Messages []webMessage `json:"messages"`
		}
		body := p.client.post(p.T, p.queue+"/fetch?max=1&wait=5s&lease=1m", message{}, http.StatusOK)
		must(p.T, json.Unmarshal(body, &got))
		for _, m := range got.Messages {
			p.held = append(p.held, m.Token)
			return delivery{m.message(), m.Redelivered, m.Token}
		}
	}
	p.Fatalf("nothing within %v", patience)
	return delivery{}
}

func (p *pulls) ack(d delivery)  { p.Helper(); p.settle("ack", d) }
func (p *pulls) nack(d delivery) { p.Helper(); p.settle("nack", d) }

func (p *pulls) settle(verb string, d delivery) {
	p.Helper()
	p.held = slices.DeleteFunc(p.held, func(token string) bool { return token == d.id })
	p.call(verb, map[string]any{"tokens": []any{d.id}})
}

func (p *pulls) call(verb string, body any) {
	p.Helper()
	data, err := json.Marshal(body)
	must(p.T, err)
	p.client.post(p.T, p.queue+"/"+verb, message{data: data}, http.StatusOK)
}

// vanish: between fetches there is no connection that could break. What ends is the lease.
func (p *pulls) vanish() {
	p.Helper()
	if len(p.held) > 0 {
		p.call("extend", map[string]any{"tokens": p.held, "lease": "10ms"})
	}
}
