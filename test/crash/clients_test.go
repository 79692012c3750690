package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	amqpQueue = "kill.amqp"
	httpQueue = "kill.http"
)

// publishAMQP publishes with confirms until the connection dies.
func publishAMQP(t *testing.T, url string, l *ledger) {
	conn, ch := open(t, url)
	defer conn.Close()
	if err := ch.Confirm(false); err != nil {
		return
	}
	window := make(chan func(), 256)
	go func() {
		for wait := range window {
			wait()
		}
	}()
	defer close(window)
	for i := 0; ; i++ {
		id := fmt.Sprintf("a%d-%d", time.Now().UnixNano(), i)
		l.send(id)
		confirmation, err := ch.PublishWithDeferredConfirmWithContext(context.Background(), "", amqpQueue, false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(id)})
		if err != nil {
			return
		}
		window <- func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if ok, err := confirmation.WaitContext(ctx); err == nil && ok && !conn.IsClosed() {
				l.confirm(id)
			}
		}
	}
}

// consumeAMQP acknowledges two of three deliveries until the connection dies; the rest stays held and comes back.
func consumeAMQP(t *testing.T, url string, l *ledger) {
	conn, ch := open(t, url)
	defer conn.Close()
	if err := ch.Qos(100, 0, false); err != nil {
		return
	}
	deliveries, err := ch.Consume(amqpQueue, "", false, false, false, false, nil)
	if err != nil {
		return
	}
	i := 0
	for d := range deliveries {
		id := string(d.Body)
		l.got(t, id)
		if i++; i%3 == 0 && i < 200 {
			continue
		}
		l.ack(id, false)
		if err := d.Ack(false); err != nil {
			return
		}
	}
}

func open(t *testing.T, url string) (*amqp.Connection, *amqp.Channel) {
	conn, err := amqp.Dial(url + "/")
	if err != nil {
		t.Errorf("dial: %v", err)
		return &amqp.Connection{}, nil
	}
	ch, err := conn.Channel()
	if err != nil {
		t.Errorf("channel: %v", err)
	}
	return conn, ch
}

// webClient is a client of the HTTP door.
type webClient struct {
	base   string
	client *http.Client
}

// call returns the status and the body, or an error when the connection died.
func (w *webClient) call(method, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequest(method, w.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

func publishHTTP(w *webClient, l *ledger) {
	for i := 0; ; i++ {
		id := fmt.Sprintf("h%d-%d", time.Now().UnixNano(), i)
		l.send(id)
		status, _, err := w.call("POST", "/v1/queues/"+httpQueue+"/messages", []byte(id))
		if err != nil {
			return
		}
		if status/100 == 2 {
			l.confirm(id)
		}
	}
}

// consumeHTTP pulls batches and acknowledges most of each.
func consumeHTTP(t *testing.T, w *webClient, l *ledger) {
	for {
		ids, tokens, err := w.fetch(20)
		if err != nil {
			return
		}
		if len(ids) == 0 {
			continue
		}
		for _, id := range ids {
			l.got(t, id)
		}
		keep := len(tokens) - len(tokens)/4
		body, err := json.Marshal(map[string]any{"tokens": tokens[:keep]})
		if err != nil {
			t.Error(err)
			return
		}
		status, _, err := w.call("POST", "/v1/queues/"+httpQueue+"/ack", body)
		for _, id := range ids[:keep] {
			if err == nil && status == http.StatusOK {
				l.ack(id, true)
			} else {
				l.ack(id, false) // it may have been settled or not: it is not lost if it does not come back
			}
		}
		if err != nil {
			return
		}
	}
}

func (w *webClient) fetch(max int) (ids, tokens []string, err error) {
	status, body, err := w.call("POST", fmt.Sprintf("/v1/queues/%s/fetch?max=%d&wait=100ms&lease=1h", httpQueue, max), nil)
	if err != nil || status != http.StatusOK {
		return nil, nil, err
	}
	var answer struct {
		Messages []struct{ Token, Data string }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, nil, err
	}
	for _, m := range answer.Messages {
		ids, tokens = append(ids, strings.TrimSpace(m.Data)), append(tokens, m.Token)
	}
	return ids, tokens, nil
}
