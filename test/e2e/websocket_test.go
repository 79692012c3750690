package e2e

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"portico/core"

	"github.com/gorilla/websocket"
)

// socket is a WebSocket connection. Answers are told by their id, messages and deliveries by their sid.
type socket struct {
	conn *websocket.Conn

	mu      sync.Mutex // guards the rest, and writing
	last    int
	waiting map[string]chan socketFrame
}

// socketFrame has the fields of all frames that we use.
type socketFrame struct {
	Op  string `json:"op"`
	ID  string `json:"id,omitempty"`
	SID string `json:"sid,omitempty"`
	webMessage
	Queue   string `json:"queue,omitempty"`
	Credit  int    `json:"credit,omitempty"`
	Timeout string `json:"timeout,omitempty"`
	Tag     uint64 `json:"tag,omitempty"`
	Code    string `json:"code,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// fields is a frame to the server: unlike socketFrame it has only what is set.
type fields map[string]any

func dialSocket(t *testing.T, address string) *socket {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"portico.v1.json"}, HandshakeTimeout: patience}
	conn, _, err := dialer.DialContext(within(t), "ws://"+address+"/ws", nil)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	s := &socket{conn: conn, waiting: make(map[string]chan socketFrame)}
	go s.read()
	return s
}

func (s *socket) read() {
	defer s.end()
	for {
		var f socketFrame
		if err := s.conn.ReadJSON(&f); err != nil {
			return
		}
		key := f.ID
		if f.SID != "" && f.ID == "" {
			key = f.SID
		}
		s.mu.Lock()
		c := s.waiting[key]
		s.mu.Unlock()
		if c != nil {
			c <- f
		}
	}
}

func (s *socket) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.waiting {
		close(c)
	}
	s.waiting = nil
}

// wait makes a name and the channel of what comes under it.
func (s *socket) wait(prefix string) (string, <-chan socketFrame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	name := prefix + strconv.Itoa(s.last)
	c := make(chan socketFrame, 64)
	if s.waiting != nil {
		s.waiting[name] = c
	}
	return name, c
}

func (s *socket) send(f fields) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.WriteJSON(f)
}

// ask sends a frame and returns its answer.
func (s *socket) ask(t *testing.T, f fields) socketFrame {
	t.Helper()
	id, answers := s.wait("i")
	f["id"] = id
	must(t, s.send(f))
	return receive(t, answers, fmt.Sprintf("answer to %v", f["op"]))
}

func (s *socket) ok(t *testing.T, f fields) {
	t.Helper()
	if answer := s.ask(t, f); answer.Op != "ok" {
		t.Fatalf("%v: %s: %s", f["op"], answer.Code, answer.Detail)
	}
}

// take sends what a queue may refuse.
func (s *socket) take(t *testing.T, f fields) error {
	t.Helper()
	switch answer := s.ask(t, f); {
	case answer.Op == "ok":
		return nil
	case answer.Code == "resource-exhausted":
		return errFull
	case answer.Code == "precondition-failed":
		return errDifferent
	default:
		return fmt.Errorf("%v: %s: %s", f["op"], answer.Code, answer.Detail)
	}
}

// with adds a message to a frame.
func (f fields) with(m message) fields {
	f["data_base64"] = m.data
	if len(m.header) > 0 {
		f["headers"] = m.header
	}
	return f
}

func websocketDoor(t *testing.T, address string) *door {
	t.Helper()
	s := dialSocket(t, address)
	return &door{
		name: "WebSocket", headers: true, lasting: true,
		publish: func(t *testing.T, m message) error {
			return s.take(t, fields{"op": "pub", "subject": m.subject}.with(m))
		},
		subscribe: func(t *testing.T, subject string) <-chan message {
			arrived, stop := s.listen(t, "sub", subject)
			t.Cleanup(stop)
			return arrived
		},
		request: s.request,
		serve:   s.serve,
		declare: func(t *testing.T, q core.QueueConfig) error {
			f := jsonQueue(q)
			f["op"], f["queue"] = "declare", q.Name
			return s.take(t, f)
		},
		append: func(t *testing.T, queue string, m message) error {
			return s.take(t, fields{"op": "append", "queue": queue}.with(m))
		},
		consume: func(t *testing.T, queue string, priority int) consumer {
			return consumeSocket(t, address, queue, priority)
		},
	}
}

// listen opens a subscription or a service.
func (s *socket) listen(t *testing.T, op, subject string) (<-chan message, func()) {
	t.Helper()
	sid, frames := s.wait("s")
	s.ok(t, fields{"op": op, "sid": sid, "subject": subject})
	arrived := make(chan message, 64)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(arrived)
		for {
			select {
			case f, ok := <-frames:
				if !ok {
					return
				}
				arrived <- f.message()
			case <-ctx.Done():
				return
			}
		}
	}()
	return arrived, func() {
		cancel()
		_ = s.send(fields{"op": "unsub", "sid": sid})
	}
}

func (s *socket) request(t *testing.T, m message) (message, error) {
	t.Helper()
	answer := s.ask(t, fields{"op": "req", "subject": m.subject, "timeout": "10s"}.with(m))
	switch {
	case answer.Op == "res":
		return answer.message(), nil
	case answer.Code == "no-responders":
		return message{}, errNobody
	}
	return message{}, fmt.Errorf("%s: %s", answer.Code, answer.Detail)
}

func (s *socket) serve(t *testing.T, subject string, answer func(message) message) (stop func()) {
	t.Helper()
	calls, stop := s.listen(t, "serve", subject)
	t.Cleanup(stop)
	go func() {
		for m := range calls {
			if err := s.send(fields{"op": "reply", "reply": m.reply}.with(answer(m))); err != nil {
				return
			}
		}
	}()
	return stop
}

// socketConsumer has a connection of its own, so that it can vanish.
type socketConsumer struct {
	*testing.T
	socket     *socket
	sid        string
	deliveries <-chan socketFrame
}

func consumeSocket(t *testing.T, address, queue string, priority int) *socketConsumer {
	t.Helper()
	s := dialSocket(t, address)
	sid, deliveries := s.wait("c")
	s.ok(t, fields{"op": "consume", "sid": sid, "queue": queue, "credit": 2, "priority": priority})
	return &socketConsumer{t, s, sid, deliveries}
}

func (c *socketConsumer) next() delivery {
	c.Helper()
	f := receive(c.T, c.deliveries, "delivery")
	return delivery{f.message(), f.Redelivered, f.Attempt, f.Tag}
}

func (c *socketConsumer) ack(d delivery) {
	c.Helper()
	c.socket.ok(c.T, fields{"op": "ack", "tag": d.id})
}

func (c *socketConsumer) nack(d delivery) {
	c.Helper()
	c.socket.ok(c.T, fields{"op": "nack", "tag": d.id})
}

func (c *socketConsumer) reject(d delivery) {
	c.Helper()
	c.socket.ok(c.T, fields{"op": "nack", "tag": d.id, "requeue": false})
}

func (c *socketConsumer) leave() {
	c.Helper()
	c.socket.ok(c.T, fields{"op": "cancel", "sid": c.sid})
}

func (c *socketConsumer) vanish() {
	_ = c.socket.conn.NetConn().SetDeadline(time.Now())
	_ = c.socket.conn.NetConn().Close()
}
