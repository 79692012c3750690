package e2e

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/adapters/amqp"
	grpcapi "portico/adapters/grpc"
	httpapi "portico/adapters/http"
	"portico/adapters/websocket"
	"portico/core"
	"portico/core/coretest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), // idle connections of clients
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"))
}

// patience is how long anything may take that must happen.
const patience = 10 * time.Second

// message is what a test sends and receives, in the gateway's own terms.
type message struct {
	subject string
	reply   string
	header  map[string]string
	data    []byte
}

// sample is a message with a payload that is no text, well-known properties and a header of its own.
func sample(subject string) message {
	data := make([]byte, 512)
	for i := range data {
		data[i] = byte(i)
	}
	return message{
		subject: subject,
		header: map[string]string{
			"Content-Type":           "application/x-e2e",
			"Portico-Message-Id":     "message-7",
			"Portico-Correlation-Id": "correlation-7",
			"traceparent":            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			"color":                  "dark red, almost brown",
		},
		data: data,
	}
}

// numbered is a message that says which it is.
func numbered(n string) message {
	return message{data: []byte(n), header: map[string]string{"n": n}}
}

// intact checks that got is what was sent. Other headers than those that were sent may only be the gateway's own.
func intact(t *testing.T, got, sent message, headers bool) {
	t.Helper()
	if string(got.data) != string(sent.data) {
		t.Errorf("payload of %d bytes arrived as %d: %.60q", len(sent.data), len(got.data), got.data)
	}
	if !headers {
		return
	}
	for name, value := range sent.header {
		if got.header[name] != value {
			t.Errorf("header %s: %q arrived as %q (all: %v)", name, value, got.header[name], got.header)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got.header)) {
		if _, ok := sent.header[name]; !ok && !strings.HasPrefix(name, "Portico-") {
			t.Errorf("header %s: %q came from nowhere", name, got.header[name])
		}
	}
}

// errFull is how every door's publisher hears of a queue that refuses what is above its limit.
var errFull = errors.New("the queue is full")

// errDifferent is how every door answers a declaration of a queue that exists with other properties.
var errDifferent = errors.New("the queue is different")

// errNobody is how every door's request says that nobody is there to answer.
var errNobody = errors.New("no responders")

// door is a protocol, as its clients use it. A verb that the protocol does not have is nil.
type door struct {
	name    string
	headers bool // whether messages have any
	lasting bool // whether a consumer is there between its deliveries, too

	// publish returns when the gateway has the message, as far as the protocol can tell, or errFull.
	publish func(t *testing.T, m message) error
	// subscribe returns when the subscription is in place.
	subscribe func(t *testing.T, subject string) <-chan message
	// request returns the answer, or errNobody.
	request func(t *testing.T, m message) (message, error)
	// serve answers requests until stop is called.
	serve func(t *testing.T, subject string, answer func(message) message) (stop func())
	// declare makes a queue as described, in the protocol's own words, or finds it; else errDifferent.
	declare func(t *testing.T, q core.QueueConfig) error
	// append puts a message into a queue and returns when it is kept, or errFull.
	append func(t *testing.T, queue string, m message) error
	// consume takes messages, two at a time, with a priority among consumers.
	consume func(t *testing.T, queue string, priority int) consumer
}

// consumer is a consumer of a queue.
type consumer interface {
	next() delivery
	ack(delivery)
	nack(delivery)
	reject(delivery)
	// leave returns when the gateway has said that the consumer has ended.
	leave()
	// vanish breaks the connection without a word.
	vanish()
}

type delivery struct {
	message
	redelivered bool
	attempt     int // how often it has been delivered; 0: not told
	id          any // the protocol's name for it
}

// house is a gateway with all its doors open and a client at each.
type house struct {
	gateway *core.Gateway
	bus     *core.Bus
	http    string // addresses
	grpc    string
	amqp    string
	doors   []*door
}

func open(t *testing.T) *house {
	t.Helper()
	g := coretest.Start(t)
	log := slog.New(slog.DiscardHandler)
	ws, err := websocket.New(websocket.Config{}, g, log)
	must(t, err)
	web, err := httpapi.New(httpapi.Config{Listen: "127.0.0.1:0", WebSocket: ws}, g, log)
	must(t, err)
	rpc, err := grpcapi.New(grpcapi.Config{Listen: "127.0.0.1:0"}, g, log)
	must(t, err)
	rabbit, err := amqp.New(amqp.Config{Listen: "127.0.0.1:0"}, g, log)
	must(t, err)
	g.Translate(core.FormAMQP, amqp.Translator{})

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx, ws, web, rpc, rabbit) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the gateway ended with %v", err)
		}
	})
	h := &house{gateway: g, bus: g.System(), http: web.Addr(), grpc: rpc.Addr(), amqp: rabbit.Addr()}
	h.doors = []*door{
		httpDoor(t, h.http), websocketDoor(t, h.http), grpcDoor(t, h.grpc), amqpDoor(t, h.amqp),
		natsDoor(t, g.NATSAddr()), mqttDoor(t, g.MQTTAddr()),
	}
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within is a context for something that must happen.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// until waits for a condition of the gateway.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !condition(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// receive takes from a channel what must come.
func receive[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatalf("no %s: it has ended", what)
		}
		return v
	case <-timer.C:
		t.Fatalf("no %s within %v", what, patience)
	}
	panic("unreachable")
}
