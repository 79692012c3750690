package proxy_test

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/adapters/grpc/proxy"
	"portico/adapters/grpc/relay"
	"portico/core"

	"github.com/nats-io/nats.go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// connect starts a gateway with a NATS port and a relay, and connects a NATS client to it.
func connect(t *testing.T) (*house, *server, *nats.Conn) {
	t.Helper()
	h := startWith(t, core.Config{NATSListen: "127.0.0.1:0"}, proxy.Config{RequestTimeout: time.Second})
	s, _ := relayed(h, h.address, relay.Options{})
	nc, err := nats.Connect("nats://" + h.gateway.NATSAddr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return h, s, nc
}

const method = "grpc." + service + "."

// request asks over NATS as any client may, with protobuf bytes.
func request(t *testing.T, nc *nats.Conn, name string, m proto.Message, header nats.Header) *nats.Msg {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := nc.RequestMsg(&nats.Msg{Subject: method + name, Data: raw, Header: header}, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func TestUnaryCallByNATS(t *testing.T) {
	_, _, nc := connect(t)
	header := nats.Header{"X-Grpc-Test-Echo-Initial": {"hello"}, echoTrailing: {"qwD/"}, "grpc-timeout": {"5S"}}
	reply := request(t, nc, "UnaryCall", &testing_pb.SimpleRequest{ResponseSize: 100}, header)
	var resp testing_pb.SimpleResponse
	if err := proto.Unmarshal(reply.Data, &resp); err != nil || len(resp.GetPayload().GetBody()) != 100 {
		t.Errorf("%v, %v", reply, err)
	}
	for name, want := range map[string]string{"grpc-status": "0", echoInitial: "hello", "grpc-trailer-" + echoTrailing: "qwD/"} {
		if got := reply.Header.Get(name); got != want {
			t.Errorf("header %s: %q, want %q", name, got, want)
		}
	}
	reply = request(t, nc, "UnaryCall", &testing_pb.SimpleRequest{ResponseStatus: &testing_pb.EchoStatus{Code: 10, Message: "no\nway"}}, nil)
	if s, m := reply.Header.Get("grpc-status"), reply.Header.Get("grpc-message"); s != "10" || m != "no%0Away" || reply.Header.Get("grpc-status-details-bin") == "" {
		t.Errorf("a status: %v", reply.Header)
	}
}

func TestBadRequestsByNATS(t *testing.T) {
	_, _, nc := connect(t)
	for name, c := range map[string]struct {
		method string
		header nats.Header
		data   string
		code   codes.Code
	}{
		"timeout without unit":    {"UnaryCall", nats.Header{"grpc-timeout": {"10"}}, "", codes.InvalidArgument},
		"timeout of nine digits":  {"UnaryCall", nats.Header{"grpc-timeout": {"123456789S"}}, "", codes.InvalidArgument},
		"timeout that is over":    {"UnaryCall", nats.Header{"grpc-timeout": {"0m"}, sleep: {"1"}}, "", codes.DeadlineExceeded},
		"no timeout":              {"UnaryCall", nats.Header{sleep: {"1"}}, "", codes.DeadlineExceeded},
		"bytes that are no proto": {"UnaryCall", nil, "\xff\xff", codes.Internal},
		"session without credit":  {"FullDuplexCall", nats.Header{"grpc-session": {"1"}}, "", codes.InvalidArgument},
		"session of the future":   {"FullDuplexCall", nats.Header{"grpc-session": {"2"}, "grpc-credit": {"1"}}, "", codes.InvalidArgument},
		"credit that is less":     {"FullDuplexCall", nats.Header{"grpc-session": {"1"}, "grpc-credit": {"-1"}}, "", codes.InvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			reply, err := nc.RequestMsg(&nats.Msg{Subject: method + c.method, Header: c.header, Data: []byte(c.data)}, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if got := reply.Header.Get("grpc-status"); got != strconv.Itoa(int(c.code)) {
				t.Errorf("status %q (%s), want %d", got, reply.Header.Get("grpc-message"), c.code)
			}
		})
	}
}

// TestPlainResponder: whoever answers requests serves a unary method.
func TestPlainResponder(t *testing.T) {
	h, _, nc := connect(t)
	answers := map[string]func(*nats.Msg) *nats.Msg{
		"Plain": func(m *nats.Msg) *nats.Msg {
			return &nats.Msg{Data: m.Data, Header: nats.Header{echoInitial: m.Header.Values(echoInitial)}}
		},
		"Fails": func(*nats.Msg) *nats.Msg {
			return &nats.Msg{Header: nats.Header{"grpc-status": {"5"}, "grpc-message": {"no such order"}}}
		},
		"Nonsense": func(*nats.Msg) *nats.Msg { return &nats.Msg{Header: nats.Header{"grpc-status": {"none"}}} },
		"Silent":   func(*nats.Msg) *nats.Msg { return nil },
	}
	for name, answer := range answers {
		if _, err := nc.QueueSubscribe("grpc.plain.Orders."+name, "g", func(m *nats.Msg) {
			if reply := answer(m); reply != nil {
				_ = m.RespondMsg(reply)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var header metadata.MD
	var resp testing_pb.SimpleRequest
	req := &testing_pb.SimpleRequest{ResponseSize: 7}
	ctx := metadata.AppendToOutgoingContext(h.ctx(), echoInitial, "hello")
	if err := h.conn.Invoke(ctx, "/plain.Orders/Plain", req, &resp, grpc.Header(&header)); err != nil || resp.GetResponseSize() != 7 || len(header.Get(echoInitial)) != 1 {
		t.Errorf("%v, %v, %v", &resp, header, err)
	}
	for name, code := range map[string]codes.Code{"Fails": codes.NotFound, "Nonsense": codes.Unknown, "Silent": codes.DeadlineExceeded, "Nobody": codes.Unavailable} {
		err := h.conn.Invoke(h.ctx(), "/plain.Orders/"+name, req, &resp)
		if statusOf(err).Code() != code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// natsSession is a client of a streaming method written for this test from the description in docs/grpc-proxy.md.
type natsSession struct {
	*testing.T
	nc    *nats.Conn
	in    *nats.Subscription
	peer  string
	sent  int
	heard int
}

func openSession(t *testing.T, nc *nats.Conn, name string, credit int) *natsSession {
	t.Helper()
	inbox := nats.NewInbox()
	in, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	header := nats.Header{"grpc-session": {"1"}, "grpc-credit": {strconv.Itoa(credit)}, "grpc-timeout": {"1M"}}
	if err := nc.PublishMsg(&nats.Msg{Subject: method + name, Reply: inbox, Header: header}); err != nil {
		t.Fatal(err)
	}
	s := &natsSession{T: t, nc: nc, in: in}
	accept := s.next("accept")
	s.peer = accept.Reply
	if n, err := strconv.Atoi(accept.Header.Get("grpc-credit")); err != nil || n < 1 {
		t.Fatalf("accept: %v", accept.Header)
	}
	return s
}

// next reads the next frame, which must be of that kind and have the next number.
func (s *natsSession) next(kind string) *nats.Msg {
	s.Helper()
	m, err := s.in.NextMsg(10 * time.Second)
	if err != nil {
		s.Fatalf("waiting for %s: %v", kind, err)
	}
	s.heard++
	if got, want := m.Header.Get("grpc-frame"), fmt.Sprint(kind, " ", s.heard); got != want {
		s.Fatalf("frame %q (%v), want %q", got, m.Header, want)
	}
	return m
}

func (s *natsSession) send(kind string, header nats.Header, m proto.Message) {
	s.Helper()
	var raw []byte
	if m != nil {
		var err error
		if raw, err = proto.Marshal(m); err != nil {
			s.Fatal(err)
		}
	}
	s.sent++
	if header == nil {
		header = nats.Header{}
	}
	header["grpc-frame"] = []string{fmt.Sprint(kind, " ", s.sent)}
	if err := s.nc.PublishMsg(&nats.Msg{Subject: s.peer, Header: header, Data: raw}); err != nil {
		s.Fatal(err)
	}
}

func TestStreamingCallByNATS(t *testing.T) {
	_, _, nc := connect(t)
	s := openSession(t, nc, "FullDuplexCall", 1)
	s.next("headers")
	question := &testing_pb.StreamingOutputCallRequest{Payload: payloadOf(10)}
	s.send("data", nil, question)
	s.send("ping", nil, nil)
	s.send("data", nil, question)
	s.next("data") // credit of 1 lets one message through, and not another
	if m, err := s.in.NextMsg(50 * time.Millisecond); err == nil {
		t.Fatalf("more than the credit allows: %v", m.Header)
	}
	s.send("credit", nats.Header{"grpc-credit": {"10000"}}, nil)
	s.next("data")
	s.send("end", nil, nil)
	if end := s.next("end"); end.Header.Get("grpc-status") != "0" {
		t.Errorf("end: %v", end.Header)
	}
}

func TestSessionsThatGoWrong(t *testing.T) {
	_, server, nc := connect(t)
	for name, spoil := range map[string]func(s *natsSession){
		"a gap": func(s *natsSession) {
			s.sent++
			s.send("data", nil, &testing_pb.StreamingOutputCallRequest{})
		},
		"an unknown kind": func(s *natsSession) { s.send("shout", nil, nil) },
		"no number": func(s *natsSession) {
			_ = s.nc.PublishMsg(&nats.Msg{Subject: s.peer, Header: nats.Header{"grpc-frame": {"data"}}})
		},
		"no header":         func(s *natsSession) { _ = s.nc.Publish(s.peer, []byte("x")) },
		"credit of nothing": func(s *natsSession) { s.send("credit", nil, nil) },
		"cancel":            func(s *natsSession) { s.send("cancel", nil, nil) },
		"more than allowed": func(s *natsSession) {
			for range 100 { // nobody reads the answers: credit runs out both ways
				s.send("data", nil, &testing_pb.StreamingOutputCallRequest{Payload: payloadOf(64 << 10)})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSession(t, nc, "FullDuplexCall", 1)
			ctx := <-server.streams
			spoil(s)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
				t.Error("the server does not hear of it")
			}
		})
	}
}

// TestFramesThatAreLost: a frame that does not arrive ends the call, it is not passed over.
func TestFramesThatAreLost(t *testing.T) {
	h, _, _ := connect(t)
	bus := h.bus
	inbox := "_INBOX.lossy"
	got := make(chan *core.Message, 10)
	subscription, err := bus.Subscribe("grpc.lossy.Service.Talk", "", func(m *core.Message) { got <- m })
	if err != nil {
		t.Fatal(err)
	}
	defer subscription.Unsubscribe()
	mark, err := bus.Subscribe("_INBOX.portico-grpc.streams.lossy.Service.Talk", "", func(*core.Message) {})
	if err != nil {
		t.Fatal(err)
	}
	defer mark.Unsubscribe()
	stream, err := h.conn.NewStream(h.ctx(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/lossy.Service/Talk")
	if err != nil {
		t.Fatal(err)
	}
	open := <-got
	for _, frame := range []string{"accept 1", "headers 2", "data 4"} {
		m := &core.Message{Subject: open.Reply, Reply: inbox, Header: core.Header{"grpc-frame": {frame}, "grpc-credit": {"1000"}}}
		if err := bus.PublishLive(m); err != nil {
			t.Fatal(err)
		}
	}
	var m testing_pb.Empty
	err = stream.RecvMsg(&m)
	want(t, err, codes.Unavailable, "unavailable")
	if err == io.EOF || !strings.Contains(fmt.Sprint(err), "lost") {
		t.Errorf("got %v", err)
	}
}
