package oidc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	portico "portico/proto/portico/v1"
	"portico/test/gateway"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// client is one that has come in by a token.
type client interface {
	// publish publishes and waits for what the door says to it.
	publish(subject string) error
	// ended returns what the door said in the end, when it has ended the connection.
	ended() string
}

// doors are all of them with how a client comes in by a token, as its protocol has a place for it. What is opened is closed at the end of the test.
var doors = map[string]func(t *testing.T, g *gateway.Gateway, token string) (client, error){
	"HTTP": viaHTTP, "WebSocket": viaWebSocket, "STOMP": viaSTOMP, "gRPC": viaGRPC, "AMQP": viaAMQP, "NATS": viaNATS, "MQTT": viaMQTT,
}

// last are what the doors say at the end of a connection whose token has expired; for NATS and MQTT it is that they end it.
var last = map[string]string{
	"HTTP": "unauthenticated", "WebSocket": "4401", "STOMP": "unauthenticated", "gRPC": "Unauthenticated", "AMQP": "403", "NATS": "", "MQTT": "",
}

type httpClient struct {
	url, token string
	stream     *http.Response
}

func viaHTTP(t *testing.T, g *gateway.Gateway, token string) (client, error) {
	c := &httpClient{url: g.Doors["HTTP"], token: token}
	var err error
	c.stream, err = c.do("GET", "/v1/subscribe?subject=shop.never", "")
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { c.stream.Body.Close() })
	return c, nil
}

func (c *httpClient) do(method, path, body string) (*http.Response, error) {
	r, err := http.NewRequest(method, c.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(r)
	if err == nil && resp.StatusCode/100 != 2 {
		resp.Body.Close()
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	return resp, err
}

func (c *httpClient) publish(subject string) error {
	resp, err := c.do("POST", "/v1/publish/"+subject, "hello")
	if err == nil {
		resp.Body.Close()
	}
	return err
}

func (c *httpClient) ended() string {
	all, _ := io.ReadAll(c.stream.Body)
	return string(all)
}

type wsClient struct{ *websocket.Conn }

func viaWebSocket(t *testing.T, g *gateway.Gateway, token string) (client, error) {
	d := websocket.Dialer{Subprotocols: []string{"portico.v1.json"}}
	conn, resp, err := d.Dial(g.Doors["WebSocket"], http.Header{"Authorization": {"Bearer " + token}})
	if resp != nil {
		resp.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	c := &wsClient{conn}
	_, err = c.ask(map[string]any{"op": "ping"})
	return c, err
}

// ask sends a frame and returns the answer to it.
func (c *wsClient) ask(f map[string]any) (map[string]any, error) {
	f["id"] = "1"
	if err := c.WriteJSON(f); err != nil {
		return nil, err
	}
	for {
		var a map[string]any
		if err := c.ReadJSON(&a); err != nil {
			return nil, err
		}
		if a["id"] == "1" {
			return a, nil
		}
	}
}

func (c *wsClient) publish(subject string) error {
	a, err := c.ask(map[string]any{"op": "pub", "subject": subject, "data": "hello"})
	if err == nil && a["op"] != "ok" {
		err = fmt.Errorf("answer %v", a)
	}
	return err
}

func (c *wsClient) ended() string {
	for {
		if _, _, err := c.ReadMessage(); err != nil {
			return err.Error()
		}
	}
}

type stompClient struct {
	net.Conn
	in *bufio.Reader
}

func viaSTOMP(t *testing.T, g *gateway.Gateway, token string) (client, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.Doors["STOMP"], "stomp://"))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	c := &stompClient{conn, bufio.NewReader(conn)}
	return c, c.ask("CONNECT\naccept-version:1.2\nhost:/\nlogin:token\npasscode:"+strings.ReplaceAll(token, ":", `\c`)+"\n\n\x00", "CONNECTED")
}

// ask sends a frame, and wants one of that name back.
func (c *stompClient) ask(frame, want string) error {
	if _, err := io.WriteString(c, frame); err != nil {
		return err
	}
	a, err := c.in.ReadString(0)
	if err == nil && !strings.HasPrefix(strings.TrimLeft(a, "\n"), want+"\n") {
		err = errors.New(a)
	}
	return err
}

func (c *stompClient) publish(subject string) error {
	return c.ask("SEND\ndestination:/topic/"+subject+"\nreceipt:1\n\nhello\x00", "RECEIPT")
}

func (c *stompClient) ended() string {
	all, _ := io.ReadAll(c.in)
	return string(all)
}

type grpcClient struct {
	portico.PorticoServiceClient
	ctx    context.Context
	stream grpc.ServerStreamingClient[portico.SubscribeResponse]
}

func viaGRPC(t *testing.T, g *gateway.Gateway, token string) (client, error) {
	conn, err := grpc.NewClient(g.Doors["gRPC"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	c := &grpcClient{PorticoServiceClient: portico.NewPorticoServiceClient(conn), ctx: metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)}
	if c.stream, err = c.Subscribe(c.ctx, &portico.SubscribeRequest{Subjects: []string{"shop.never"}}); err != nil {
		return nil, err
	}
	header, err := c.stream.Header()
	if err == nil && len(header) == 0 { // there is none before an error
		_, err = c.stream.Recv()
	}
	return c, err
}

func (c *grpcClient) publish(subject string) error {
	_, err := c.Publish(c.ctx, &portico.PublishRequest{Message: &portico.Message{Subject: subject, Data: []byte("hello")}})
	return err
}

func (c *grpcClient) ended() string {
	for {
		if _, err := c.stream.Recv(); err != nil {
			return status.Code(err).String()
		}
	}
}

type amqpClient struct {
	*amqp.Connection
	closed chan *amqp.Error
}

func viaAMQP(t *testing.T, g *gateway.Gateway, token string) (client, error) {
	conn, err := amqp.DialConfig(strings.Replace(g.Doors["AMQP"], "USER:PASSWORD@", "", 1), amqp.Config{SASL: []amqp.Authentication{&amqp.PlainAuth{Username: "", Password: token}}})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	return &amqpClient{conn, conn.NotifyClose(make(chan *amqp.Error, 1))}, nil
}

func (c *amqpClient) publish(subject string) error {
	ch, err := c.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Confirm(false); err != nil {
		return err
	}
	done, err := ch.PublishWithDeferredConfirm("amq.topic", subject, false, false, amqp.Publishing{Body: []byte("hello")})
	if err != nil {
		return err
	}
	select {
	case e := <-closed:
		return e
	case <-done.Done():
		return nil
	}
}

func (c *amqpClient) ended() string {
	if e := <-c.closed; e != nil {
		return e.Error() + fmt.Sprint(" ", e.Code)
	}
	return ""
}

type natsClient struct {
	*nats.Conn
	refused chan error
	closed  chan struct{}
}

func viaNATS(t *testing.T, g *gateway.Gateway, token string) (client, error) {
	c := &natsClient{refused: make(chan error, 1), closed: make(chan struct{})}
	at := strings.Replace(g.Doors["NATS"], "USER:PASSWORD@", "", 1)
	var err error
	c.Conn, err = nats.Connect(at, nats.Token(token), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		select {
		case c.refused <- err:
		default:
		}
	}))
	if err != nil {
		return nil, err
	}
	t.Cleanup(c.Close)
	return c, nil
}

func (c *natsClient) publish(subject string) error {
	if err := errors.Join(c.Publish(subject, []byte("hello")), c.FlushTimeout(patience)); err != nil {
		return err
	}
	if err := c.LastError(); errors.Is(err, nats.ErrPermissionViolation) { // told before the answer to the flush
		return err
	}
	return nil
}

func (c *natsClient) ended() string { <-c.closed; return "" }

type mqttClient struct {
	mqtt.Client
	lost chan error
}

func viaMQTT(t *testing.T, g *gateway.Gateway, token string) (client, error) {
	c := &mqttClient{lost: make(chan error, 1)}
	o := mqtt.NewClientOptions().AddBroker(strings.Replace(g.Doors["MQTT"], "mqtt://", "tcp://", 1)).SetClientID("oidc").SetUsername("token").SetPassword(token).SetAutoReconnect(false)
	o.SetConnectionLostHandler(func(_ mqtt.Client, err error) { c.lost <- err })
	c.Client = mqtt.NewClient(o)
	done := c.Connect()
	if !done.WaitTimeout(patience) {
		return nil, errors.New("no answer")
	}
	t.Cleanup(func() { c.Disconnect(0) })
	return c, done.Error()
}

func (c *mqttClient) publish(subject string) error {
	done := c.Publish(strings.ReplaceAll(subject, ".", "/"), 1, false, "hello")
	if !done.WaitTimeout(patience) {
		return errors.New("no answer")
	}
	return done.Error()
}

func (c *mqttClient) ended() string { return (<-c.lost).Error() }

// patience is how long a busy machine may take.
const patience = 20 * time.Second
