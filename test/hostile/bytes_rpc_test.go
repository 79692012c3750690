package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	porticov1 "portico/proto/portico/v1"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
)

// octets is a codec that sends what it is given.
type octets struct{}

func (octets) Marshal(v any) ([]byte, error)      { return v.([]byte), nil }
func (octets) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (octets) Name() string                       { return "proto" }

func dialRPC(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func hostileGRPC(t *testing.T, s *site) {
	conn := dialRPC(t, s.grpc)
	for name, c := range map[string]struct {
		method  string
		send    []byte
		options []grpc.CallOption
		want    []codes.Code
	}{
		"no protobuf":        {"Publish", []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), nil, []codes.Code{codes.Internal, codes.InvalidArgument}},
		"field of 2^63":      {"Publish", []byte("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), nil, []codes.Code{codes.Internal, codes.InvalidArgument}},
		"nothing":            {"Publish", nil, nil, []codes.Code{codes.InvalidArgument}},
		"17 MiB":             {"Publish", make([]byte, 17<<20), nil, []codes.Code{codes.ResourceExhausted}},
		"1 GiB in a few KiB": {"Publish", make([]byte, 256<<20), []grpc.CallOption{grpc.UseCompressor(gzip.Name)}, []codes.Code{codes.ResourceExhausted}},
		"unknown method":     {"Nonsense", nil, nil, []codes.Code{codes.Unimplemented}},
	} {
		t.Run(name, func(t *testing.T) {
			var answer []byte
			err := conn.Invoke(within(t, 2*patience), "/portico.v1.PorticoService/"+c.method, c.send, &answer, append(c.options, grpc.ForceCodec(octets{}))...)
			if got := status.Code(err); !containsCode(c.want, got) {
				t.Errorf("answered %v, want %v", err, c.want)
			}
		})
	}
	t.Run("streams", func(t *testing.T) { manyStreams(t, s) })
	t.Run("rapid reset", func(t *testing.T) { rapidReset(t, conn) })
	t.Run("nonsense in streams", func(t *testing.T) { nonsenseInStreams(t, conn) })
}

func containsCode(all []codes.Code, c codes.Code) bool {
	for _, x := range all {
		if x == c {
			return true
		}
	}
	return false
}

// manyStreams opens as many as the door lets, on several connections, and more.
func manyStreams(t *testing.T, s *site) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var opened sync.WaitGroup
	for range 3 {
		c := porticov1.NewPorticoServiceClient(dialRPC(t, s.grpc))
		for range 1000 {
			opened.Go(func() {
				stream, err := c.Subscribe(ctx, &porticov1.SubscribeRequest{Subjects: []string{"streams.>"}})
				if err == nil {
					_, err = stream.Header()
				}
				if err != nil {
					t.Errorf("subscribe: %v", err)
				}
			})
		}
		opened.Wait()
		one := within(t, patience/15)
		if _, err := c.Publish(one, &porticov1.PublishRequest{Message: &porticov1.Message{Subject: "streams.x"}}); status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("call 1,001 of a connection: %v, want to wait", err)
		}
	}
	s.serves(t)
}

// rapidReset begins calls and gives them up at once.
func rapidReset(t *testing.T, conn *grpc.ClientConn) {
	c := porticov1.NewPorticoServiceClient(conn)
	for range 5000 {
		ctx, cancel := context.WithCancel(context.Background())
		if _, err := c.Subscribe(ctx, &porticov1.SubscribeRequest{Subjects: []string{"reset"}}); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}

// nonsenseInStreams: a stream whose frames make no sense ends with INVALID_ARGUMENT.
func nonsenseInStreams(t *testing.T, conn *grpc.ClientConn) {
	c := porticov1.NewPorticoServiceClient(conn)
	for name, f := range map[string]*porticov1.ConsumeRequest{
		"empty frame":    {},
		"ack, no start":  {Frame: &porticov1.ConsumeRequest_Ack{Ack: &porticov1.ConsumeAck{Ids: []uint64{1}}}},
		"no such queue":  {Frame: &porticov1.ConsumeRequest_Start{Start: &porticov1.ConsumeStart{Queue: "none"}}},
		"name too long":  {Frame: &porticov1.ConsumeRequest_Start{Start: &porticov1.ConsumeStart{Queue: strings.Repeat("x", 1000)}}},
		"queue of NULs":  {Frame: &porticov1.ConsumeRequest_Start{Start: &porticov1.ConsumeStart{Queue: "\x00\x00"}}},
		"no queue named": {Frame: &porticov1.ConsumeRequest_Start{Start: &porticov1.ConsumeStart{}}},
	} {
		stream, err := c.Consume(within(t, patience))
		must(t, err)
		must(t, stream.Send(f))
		_, err = stream.Recv()
		if got := status.Code(err); got != codes.InvalidArgument && got != codes.NotFound || errors.Is(err, io.EOF) {
			t.Errorf("%s: ended with %v", name, err)
		}
	}
}

// publishAMQP puts a message with headers into a queue.
func publishAMQP(t *testing.T, s *site, queue string, headers map[string]any) {
	t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + s.amqp + "/")
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	must(t, ch.Confirm(false))
	confirm, err := ch.PublishWithDeferredConfirm("", queue, false, false, amqp091.Publishing{Headers: headers, Body: []byte("x")})
	must(t, err)
	if acked, err := confirm.WaitContext(within(t, patience)); err != nil || !acked {
		t.Fatal(fmt.Errorf("acked %v: %w", acked, err))
	}
}

func hostileNATS(t *testing.T, s *site) {
	for name, c := range map[string]struct{ send, want string }{
		"nonsense":                {"NONSENSE\r\n", "-ERR"},
		"payload above the limit": {"CONNECT {}\r\nPUB a 999999999\r\n", "-ERR 'Maximum Payload Violation'"},
		"payload of 2^70":         {"CONNECT {}\r\nPUB a 1180591620717411303424\r\n", ""},
		"payload below zero":      {"CONNECT {}\r\nPUB a -1\r\n", ""},
		"line without end":        {"CONNECT {}\r\nPUB " + strings.Repeat("a", 64<<10), "-ERR 'maximum control line exceeded'"},
		"connect to no JSON":      {"CONNECT {{{{\r\n", ""},
		"another's password":      {"CONNECT {\"user\":\"_portico.INTERNAL\",\"pass\":\"guess\"}\r\nPING\r\n", "-ERR 'Authorization Violation'"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dialRaw(t, s.nats)
			go func() { _, _ = io.WriteString(conn, c.send) }()
			said, ok := ended(conn)
			if !ok || !strings.Contains(strings.ToLower(said), strings.ToLower(c.want)) {
				t.Errorf("closed: %v, told %q, want %s", ok, said[strings.Index(said, "\r\n")+1:], c.want)
			}
		})
	}
}

func hostileMQTT(t *testing.T, s *site) {
	for name, send := range map[string]string{
		"packet of 256 MiB":      mqttConnect + "\x30\xff\xff\xff\x7f",
		"length of five octets":  mqttConnect + "\x30\xff\xff\xff\xff\x7f",
		"publish before connect": "\x30\x05\x00\x01ax",
		"second connect":         mqttConnect + mqttConnect,
		"topic with wildcard":    mqttConnect + "\x30\x04\x00\x01#x",
		"reserved packet":        mqttConnect + "\xf0\x00",
		"topic above packet":     mqttConnect + "\x30\x04\xff\xffab",
		"MQTT 9":                 "\x10\x11\x00\x04MQTT\x09\x02\x00\x3c\x00\x05alive",
	} {
		t.Run(name, func(t *testing.T) {
			conn := dialRaw(t, s.mqtt)
			_, _ = io.WriteString(conn, send)
			if said, ok := ended(conn); !ok {
				t.Errorf("the connection is open still; told % x", said)
			}
		})
	}
}
