package security

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"
	"portico/test/gateway"

	"github.com/gorilla/websocket"
	amqp "github.com/rabbitmq/amqp091-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

const (
	payload = 128 // bytes
	window  = 256 // messages that are not acknowledged yet
	clients = 16  // at the HTTP door
	subject = "bench.one.two"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// perSecond counts what ack tells until the time is over.
func perSecond(d time.Duration, run func(over func() bool, acked func(n int))) float64 {
	var n atomic.Int64
	began := time.Now()
	run(func() bool { return time.Since(began) >= d }, func(k int) { n.Add(int64(k)) })
	return float64(n.Load()) / time.Since(began).Seconds()
}

// overAMQP publishes with confirms to an exchange that nothing is bound to, so that the disk has no part in it.
func overAMQP(t *testing.T, g *gateway.Gateway, user, password string, d time.Duration) float64 {
	c, err := amqp.Dial("amqp://" + user + ":" + password + "@" + g.Doors["AMQP"][strings.LastIndex(g.Doors["AMQP"], "@")+1:])
	must(t, err)
	defer c.Close()
	ch, err := c.Channel()
	must(t, err)
	must(t, ch.Confirm(false))
	body := bytes.Repeat([]byte("x"), payload)
	return perSecond(d, func(over func() bool, acked func(int)) {
		waiting := make([]*amqp.DeferredConfirmation, 0, window)
		for !over() {
			waiting = waiting[:0]
			for range window {
				done, err := ch.PublishWithDeferredConfirm("amq.topic", subject, false, false, amqp.Publishing{Body: body})
				must(t, err)
				waiting = append(waiting, done)
			}
			for _, done := range waiting {
				if !done.Wait() {
					t.Fatal("not confirmed")
				}
			}
			acked(len(waiting))
		}
	})
}

// overWebSocket publishes in Portico's own protocol.
func overWebSocket(t *testing.T, g *gateway.Gateway, user, password string, d time.Duration) float64 {
	header := http.Header{"Authorization": {basic(user, password)}}
	dialer := websocket.Dialer{Subprotocols: []string{"portico.v1.json"}}
	ws, _, err := dialer.Dial(g.Doors["WebSocket"], header)
	must(t, err)
	defer ws.Close()
	_, _, err = ws.ReadMessage() // welcome
	must(t, err)
	frame := fmt.Appendf(nil, `{"op":"pub","id":"1","subject":%q,"data":%q}`, subject, strings.Repeat("x", payload))
	return perSecond(d, func(over func() bool, acked func(int)) {
		for !over() {
			for range window {
				must(t, ws.WriteMessage(websocket.TextMessage, frame))
			}
			for range window {
				_, answer, err := ws.ReadMessage()
				must(t, err)
				if !bytes.Contains(answer, []byte(`"op":"ok"`)) {
					t.Fatalf("answered %s", answer)
				}
			}
			acked(window)
		}
	})
}

// overGRPC publishes by the stream of publishes.
func overGRPC(t *testing.T, g *gateway.Gateway, user, password string, d time.Duration) float64 {
	conn, err := grpc.NewClient(g.Doors["gRPC"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer conn.Close()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", basic(user, password)))
	defer cancel()
	stream, err := porticov1.NewPorticoServiceClient(conn).PublishStream(ctx)
	must(t, err)
	request := &porticov1.PublishStreamRequest{Id: 1, Message: &porticov1.Message{Subject: subject, Data: bytes.Repeat([]byte("x"), payload)}}
	return perSecond(d, func(over func() bool, acked func(int)) {
		for !over() {
			for range window {
				must(t, stream.Send(request))
			}
			for left := window; left > 0; {
				answer, err := stream.Recv()
				must(t, err)
				for _, r := range answer.GetResults() {
					if r.GetFailure() != nil {
						t.Fatalf("answered %v", r)
					}
				}
				left -= len(answer.GetResults())
			}
			acked(window)
		}
	})
}

// overHTTP publishes on some connections, each with its credentials in every request.
func overHTTP(t *testing.T, g *gateway.Gateway, user, password string, d time.Duration) float64 {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	body := strings.Repeat("x", payload)
	return perSecond(d, func(over func() bool, acked func(int)) {
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				for !over() {
					r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.Doors["HTTP"]+"/v1/publish/"+subject, strings.NewReader(body))
					if err == nil {
						r.Header.Set("Authorization", basic(user, password))
						err = answered(client.Do(r))
					}
					if err != nil {
						t.Error(err)
						return
					}
					acked(1)
				}
			})
		}
		all.Wait()
	})
}

func answered(r *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	if r.StatusCode/100 != 2 {
		return fmt.Errorf("status %d", r.StatusCode)
	}
	return nil
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}
