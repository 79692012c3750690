package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/core"
	"portico/core/queue"
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
		publish: func(t *testing.T, m message) error {
			return w.take(t, "publish/"+url.PathEscape(m.subject), m, http.StatusOK, http.StatusAccepted)
		},
		subscribe: w.subscribe,
		request:   w.request,
		serve:     w.serve,
		declare:   w.declare,
		append: func(t *testing.T, queue string, m message) error {
			return w.take(t, "queues/"+url.PathEscape(queue)+"/messages", m, http.StatusCreated)
		},
		consume: func(t *testing.T, queue string, priority int) consumer { return w.consume(t, queue, priority) },
	}
}

// jsonQueue is a description as HTTP and WebSocket write it, with what is not the default.
func jsonQueue(q core.QueueConfig) fields {
	f := fields{"durable": q.Durable, "auto_delete": q.AutoDelete, "single_active_consumer": q.SingleActive}
	if q.Type != core.ClassicQueue {
		f["type"] = q.Type
	}
	for name, n := range map[string]uint32{"max_priority": uint32(q.MaxPriority), "max_deliveries": q.MaxDeliveries} {
		if n > 0 {
			f[name] = n
		}
	}
	for name, b := range map[string]queue.Bound{"message_ttl": q.TTL, "expires": q.Expires, "max_length": q.MaxLength, "max_length_bytes": q.MaxBytes} {
		if b.Set {
			f[name] = b.N
		}
	}
	if q.Overflow != queue.DropHead {
		f["overflow"] = q.Overflow.String()
	}
	switch to := q.DeadLetter; {
	case to.Queue != "":
		f["dead_letter"] = fields{"queue": to.Queue}
	case to.Subject != "":
		f["dead_letter"] = fields{"subject": to.Subject}
	case to.RoutingKey.Set:
		f["dead_letter"] = fields{"exchange": to.Exchange.V, "routing_key": to.RoutingKey.V}
	case to.Exchange.Set:
		f["dead_letter"] = fields{"exchange": to.Exchange.V}
	}
	return f
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

func (w *webClient) declare(t *testing.T, q core.QueueConfig) error {
	t.Helper()
	body, err := json.Marshal(jsonQueue(q))
	must(t, err)
	resp, answer, err := w.do(within(t), http.MethodPut, "queues/"+url.PathEscape(q.Name), message{data: body})
	must(t, err)
	switch resp.StatusCode {
	case http.StatusCreated, http.StatusOK:
		return nil
	case http.StatusConflict:
		return errDifferent
	}
	return fmt.Errorf("declare %s: %s: %s", body, resp.Status, answer)
}

// take posts a message that a queue may refuse.
func (w *webClient) take(t *testing.T, path string, m message, status ...int) error {
	t.Helper()
	body := w.post(t, path, m, append(status, http.StatusInsufficientStorage)...)
	if strings.Contains(string(body), `"resource-exhausted"`) {
		return errFull
	}
	return nil
}

// webMessage is the JSON form of a message, a fetched one too.
type webMessage struct {
	Token       string         `json:"token"`
	Attempt     int            `json:"attempt"`
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
	client   *webClient
	queue    string
	priority int
	held     []string // tokens, in the order of their messages
}

func (w *webClient) consume(t *testing.T, queue string, priority int) *pulls {
	return &pulls{T: t, client: w, queue: "queues/" + url.PathEscape(queue), priority: priority}
}

// fetch asks for one message.
func (p *pulls) fetch(wait string) []webMessage {
	p.Helper()
	var got struct {
		Messages []webMessage `json:"messages"`
	}
	query := fmt.Sprintf("/fetch?max=1&wait=%s&lease=1m&priority=%d", wait, p.priority)
	must(p.T, json.Unmarshal(p.client.post(p.T, p.queue+query, message{}, http.StatusOK), &got))
	return got.Messages
}

func (p *pulls) next() delivery {
	p.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		for _, m := range p.fetch("5s") {
			p.held = append(p.held, m.Token)
			return delivery{m.message(), m.Redelivered, m.Attempt, m.Token}
		}
	}
	p.Fatalf("nothing within %v", patience)
	return delivery{}
}

func (p *pulls) ack(d delivery)  { p.Helper(); p.settle("ack", d) }
func (p *pulls) nack(d delivery) { p.Helper(); p.settle("nack", d) }

func (p *pulls) reject(d delivery) { p.Helper(); p.settle("nack", d, fields{"requeue": false}) }

func (p *pulls) settle(verb string, d delivery, more ...fields) {
	p.Helper()
	p.held = slices.DeleteFunc(p.held, func(token string) bool { return token == d.id })
	body := fields{"tokens": []any{d.id}}
	for _, f := range more {
		maps.Copy(body, f)
	}
	p.call(verb, body)
}

func (p *pulls) call(verb string, body any) {
	p.Helper()
	data, err := json.Marshal(body)
	must(p.T, err)
	p.client.post(p.T, p.queue+"/"+verb, message{data: data}, http.StatusOK)
}

// leave: the consumer ends with each fetch; this is one that brings nothing.
func (p *pulls) leave() { p.Helper(); p.fetch("0s") }

// vanish: between fetches there is no connection that could break. What ends is the lease.
func (p *pulls) vanish() {
	p.Helper()
	if len(p.held) > 0 {
		p.call("extend", map[string]any{"tokens": p.held, "lease": "10ms"})
	}
}
