package web_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	grpcapi "portico/adapters/grpc"
	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"connectrpc.com/connect"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const service = "/portico.v1.PorticoService/"

// house is a gateway whose gRPC door is served over plain HTTP.
type house struct {
	testing.TB
	url string
}

func start(t testing.TB, cfg core.Config) *house {
	t.Helper()
	cfg.DataDir = t.TempDir()
	g, err := core.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a, err := grpcapi.New(grpcapi.Config{Listen: "127.0.0.1:0"}, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx) }()
	s := httptest.NewUnstartedServer(a.Web())
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		s.Close()
		_ = g.Close()
	})
	return &house{TB: t, url: s.URL}
}

func (h *house) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	h.Cleanup(cancel)
	return ctx
}

// way is how a client speaks.
type way struct {
	http2   bool
	options []connect.ClientOption
}

var ways = map[string]way{
	"Connect":                  {false, nil},
	"Connect, JSON":            {false, []connect.ClientOption{connect.WithProtoJSON()}},
	"Connect, gzip":            {false, []connect.ClientOption{connect.WithSendGzip()}},
	"Connect over HTTP/2":      {true, nil},
	"gRPC-Web":                 {false, []connect.ClientOption{connect.WithGRPCWeb()}},
	"gRPC-Web, JSON":           {false, []connect.ClientOption{connect.WithGRPCWeb(), connect.WithProtoJSON()}},
	"gRPC-Web over HTTP/2":     {true, []connect.ClientOption{connect.WithGRPCWeb()}},
	"gRPC over HTTP/2":         {true, []connect.ClientOption{connect.WithGRPC()}},
	"gRPC, JSON, over HTTP/2":  {true, []connect.ClientOption{connect.WithGRPC(), connect.WithProtoJSON()}},
	"gRPC, gzip, over HTTP/2 ": {true, []connect.ClientOption{connect.WithGRPC(), connect.WithSendGzip()}},
}

func everyWay(t *testing.T, f func(t *testing.T, h *house, w way)) {
	for name, w := range ways {
		t.Run(name, func(t *testing.T) { f(t, start(t, core.Config{}), w) })
	}
}

// client calls one method.
func client[Req, Resp any](h *house, w way, method string) *connect.Client[Req, Resp] {
	return clientOf[Req, Resp](h, w, service+method)
}

func clientOf[Req, Resp any](h *house, w way, path string) *connect.Client[Req, Resp] {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!w.http2)
	transport.Protocols.SetUnencryptedHTTP2(w.http2)
	h.Cleanup(transport.CloseIdleConnections)
	return connect.NewClient[Req, Resp](&http.Client{Transport: transport}, h.url+path, w.options...)
}

func message(subject, text string) *porticov1.Message {
	return &porticov1.Message{Subject: subject, Data: []byte(text)}
}

func (h *house) publish(w way, subject, text string) {
	h.Helper()
	_, err := client[porticov1.PublishRequest, porticov1.PublishResponse](h, w, "Publish").CallUnary(h.ctx(), connect.NewRequest(&porticov1.PublishRequest{Message: message(subject, text)}))
	if err != nil {
		h.Fatal(err)
	}
}

// TestEveryProtocol: unary, and streams of the server.
func TestEveryProtocol(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, w way) {
		stream, err := client[porticov1.SubscribeRequest, porticov1.SubscribeResponse](h, w, "Subscribe").
			CallServerStream(h.ctx(), connect.NewRequest(&porticov1.SubscribeRequest{Subjects: []string{"a.*"}}))
		if err != nil {
			t.Fatal(err)
		}
		stream.ResponseHeader() // waits for it: what is published from now on is not missed
		for _, text := range []string{"1", "2"} {
			h.publish(w, "a.b", text)
			if !stream.Receive() {
				t.Fatal(stream.Err())
			}
			if m := stream.Msg().GetMessage(); m.GetSubject() != "a.b" || string(m.GetData()) != text {
				t.Errorf("got %v", m)
			}
		}
		_ = stream.Close()
	})
}

// TestErrorsAreWhole: code, message, details, in every protocol, before and in a stream.
func TestErrorsAreWhole(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, w way) {
		_, err := client[porticov1.PublishRequest, porticov1.PublishResponse](h, w, "Publish").CallUnary(h.ctx(), connect.NewRequest(&porticov1.PublishRequest{Message: message("a..b", "")}))
		wants(t, err, connect.CodeInvalidArgument, "invalid-argument")
		stream, err := client[porticov1.SubscribeRequest, porticov1.SubscribeResponse](h, w, "Subscribe").CallServerStream(h.ctx(), connect.NewRequest(&porticov1.SubscribeRequest{Subjects: []string{"a..b"}}))
		if err == nil {
			for stream.Receive() {
			}
			err = stream.Err()
			_ = stream.Close()
		}
		wants(t, err, connect.CodeInvalidArgument, "invalid-argument")
	})
}

func wants(t *testing.T, err error, code connect.Code, reason string) {
	t.Helper()
	own := (*connect.Error)(nil)
	if !errors.As(err, &own) || own.Code() != code || own.Message() == "" {
		t.Fatalf("got %v, want %v", err, code)
	}
	for _, d := range own.Details() {
		if v, err := d.Value(); err == nil {
			if info, ok := v.(*errdetails.ErrorInfo); ok && info.GetReason() == reason {
				return
			}
		}
	}
	t.Errorf("no reason %q in %v: %v", reason, err, own.Details())
}

// TestBothWays: where HTTP/2 is, streams of the client and of both.
func TestBothWays(t *testing.T) {
	for name, w := range ways {
		if !w.http2 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			h := start(t, core.Config{})
			stream := client[porticov1.PublishStreamRequest, porticov1.PublishStreamResponse](h, w, "PublishStream").CallBidiStream(h.ctx())
			for i := range uint64(3) {
				if err := stream.Send(&porticov1.PublishStreamRequest{Id: i + 1, Message: message("a", "x")}); err != nil {
					t.Fatal(err)
				}
				resp, err := stream.Receive() // between two of our own
				if err != nil || resp.GetResults()[0].GetId() != i+1 {
					t.Fatalf("%v, %v", resp, err)
				}
			}
			if err := stream.CloseRequest(); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Receive(); !errors.Is(err, io.EOF) {
				t.Errorf("the end: %v", err)
			}
			_ = stream.CloseResponse()
		})
	}
}

// TestServiceEndsFirst: the service's status comes while the client still says something.
func TestServiceEndsFirst(t *testing.T) {
	h := start(t, core.Config{})
	stream := client[porticov1.ConsumeRequest, porticov1.ConsumeResponse](h, ways["gRPC over HTTP/2"], "Consume").CallBidiStream(h.ctx())
	_ = stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: &porticov1.ConsumeStart{Queue: "absent"}}})
	_, err := stream.Receive()
	wants(t, err, connect.CodeNotFound, "not-found")
	_ = stream.CloseRequest()
	_ = stream.CloseResponse()
}

// TestClientThatGoesEndsItsCall: nothing is left of a stream whose client has gone (TestMain looks for goroutines), and its subscription is no more.
func TestClientThatGoesEndsItsCall(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, w way) {
		ctx, cancel := context.WithCancel(h.ctx())
		stream, err := client[porticov1.SubscribeRequest, porticov1.SubscribeResponse](h, w, "Subscribe").CallServerStream(ctx, connect.NewRequest(&porticov1.SubscribeRequest{Subjects: []string{"a"}}))
		if err != nil {
			t.Fatal(err)
		}
		stream.ResponseHeader()
		cancel()
		_ = stream.Close()
		publish := client[porticov1.PublishRequest, porticov1.PublishResponse](h, w, "Publish")
		for live := true; live; {
			resp, err := publish.CallUnary(h.ctx(), connect.NewRequest(&porticov1.PublishRequest{Message: message("a", "")}))
			if err != nil {
				t.Fatal(err)
			}
			live = resp.Msg.GetLive()
		}
	})
}

// TestUploads: what streams from the client alone, in one go and over HTTP/2.
func TestUploads(t *testing.T) {
	everyWay(t, func(t *testing.T, h *house, w way) {
		objects := clientOf[porticov1.CreateObjectBucketRequest, porticov1.CreateObjectBucketResponse](h, w, "/portico.v1.ObjectService/CreateObjectBucket")
		if _, err := objects.CallUnary(h.ctx(), connect.NewRequest(&porticov1.CreateObjectBucketRequest{Bucket: &porticov1.ObjectBucket{Name: "b"}})); err != nil {
			t.Fatal(err)
		}
		stream := clientOf[porticov1.PutObjectRequest, porticov1.PutObjectResponse](h, w, "/portico.v1.ObjectService/PutObject").CallClientStream(h.ctx())
		_ = stream.Send(&porticov1.PutObjectRequest{Frame: &porticov1.PutObjectRequest_Start{Start: &porticov1.PutObjectStart{Bucket: "b", Name: "o"}}})
		for range 3 {
			_ = stream.Send(&porticov1.PutObjectRequest{Frame: &porticov1.PutObjectRequest_Data{Data: []byte("12345")}})
		}
		resp, err := stream.CloseAndReceive()
		if err != nil || resp.Msg.GetInfo().GetSize() != 15 {
			t.Errorf("%v, %v", resp, err)
		}
	})
}

// TestRefusedUploadIsOver: who is refused keeps no call under way by sending nothing.
func TestRefusedUploadIsOver(t *testing.T) {
	h := start(t, core.Config{Users: []core.User{{Name: "ann", Password: "secret"}}})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	silent, never := io.Pipe()
	t.Cleanup(func() { _ = never.Close() })
	req, err := http.NewRequestWithContext(h.ctx(), http.MethodPost, h.url+"/portico.v1.ObjectService/PutObject", silent)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/connect+json")
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if said, err := io.ReadAll(resp.Body); !strings.Contains(string(said), `"unauthenticated"`) {
		t.Errorf("%q, %v", said, err)
	}
}

// TestHeadersThatAreNoMetadata: HTTP allows more than gRPC; what cannot be metadata is passed over, and the call goes on.
func TestHeadersThatAreNoMetadata(t *testing.T) {
	h := start(t, core.Config{})
	for name, header := range map[string][2]string{"a value": {"X-Name", "Zo\xeb"}, "a name": {"X!Name", "1"}} {
		t.Run(name, func(t *testing.T) {
			req := connect.NewRequest(&porticov1.PublishRequest{Message: message("a", "")})
			req.Header()[header[0]] = []string{header[1]}
			if _, err := client[porticov1.PublishRequest, porticov1.PublishResponse](h, way{}, "Publish").CallUnary(h.ctx(), req); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEveryMessageHasJSON: nobody can publish what a client that reads JSON cannot be told.
func TestEveryMessageHasJSON(t *testing.T) {
	h := start(t, core.Config{})
	w := ways["Connect, JSON"]
	stream, err := client[porticov1.SubscribeRequest, porticov1.SubscribeResponse](h, w, "Subscribe").
		CallServerStream(h.ctx(), connect.NewRequest(&porticov1.SubscribeRequest{Subjects: []string{"a"}}))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	stream.ResponseHeader()
	publish := client[porticov1.PublishRequest, porticov1.PublishResponse](h, ways["Connect"], "Publish")
	for mark, value := range map[string]string{"T:k": "0000-01-01T00:00:00Z", "d:k": "NaN", "f:k": "-Inf", "x:k": "AAA=", "l:k": "9223372036854775807"} {
		m := message("a", "")
		m.Headers = map[string]*porticov1.HeaderValues{"k": {Values: []string{value}}, "Portico-Types": {Values: []string{mark}}}
		if _, err := publish.CallUnary(h.ctx(), connect.NewRequest(&porticov1.PublishRequest{Message: m})); err != nil {
			t.Fatal(err)
		}
		if !stream.Receive() {
			t.Fatalf("%s %q: %v", mark, value, stream.Err())
		}
	}
}

func TestLoginAndMetadata(t *testing.T) {
	h := start(t, core.Config{Users: []core.User{{Name: "ann", Password: "secret", Publish: []string{"a"}, Subscribe: []string{"a"}}}})
	publish := client[porticov1.PublishRequest, porticov1.PublishResponse](h, way{}, "Publish")
	for name, c := range map[string]struct {
		user, subject string
		code          connect.Code
	}{
		"nobody":        {"", "a", connect.CodeUnauthenticated},
		"somebody else": {"bob:secret", "a", connect.CodeUnauthenticated},
		"not allowed":   {"ann:secret", "b", connect.CodePermissionDenied},
		"allowed":       {"ann:secret", "a", 0},
	} {
		t.Run(name, func(t *testing.T) {
			req := connect.NewRequest(&porticov1.PublishRequest{Message: message(c.subject, "")})
			req.Header().Set("Portico-Web-Remote", "forged")
			if c.user != "" {
				req.Header().Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.user)))
			}
			_, err := publish.CallUnary(h.ctx(), req)
			if c.code == 0 && err != nil || c.code != 0 && connect.CodeOf(err) != c.code {
				t.Errorf("got %v, want %v", err, c.code)
			}
		})
	}
}

// TestBadRequests: by plain HTTP, as no client of the protocols would send them.
func TestBadRequests(t *testing.T) {
	h := start(t, core.Config{MaxMessage: 1 << 10})
	one := &http.Transport{}
	t.Cleanup(one.CloseIdleConnections)
	for name, c := range map[string]struct {
		method, path, kind, body string
		status                   int
		says                     string
	}{
		"JSON":                {"POST", service + "Publish", "application/json", `{"message":{"subject":"a"}}`, 200, ``},
		"no JSON":             {"POST", service + "Publish", "application/json", `{"message":`, 400, `"invalid_argument"`},
		"an unknown field":    {"POST", service + "Publish", "application/json", `{"massage":{}}`, 400, `"invalid_argument"`},
		"no protobuf":         {"POST", service + "Publish", "application/proto", "\xff\xff", 400, `"invalid_argument"`},
		"too large":           {"POST", service + "Publish", "application/json", `{"message":{"data":"` + strings.Repeat("A", 200<<10) + `"}}`, 429, `"resource_exhausted"`},
		"another kind":        {"POST", service + "Publish", "text/plain", "x", 415, ""},
		"GET":                 {"GET", service + "Publish", "", "", 405, ""},
		"no such method":      {"POST", service + "Nothing", "application/json", "{}", 404, ""},
		"no such service":     {"POST", "/portico.v1.Nothing/Publish", "application/json", "{}", 404, ""},
		"both ways, HTTP/1.1": {"POST", service + "Consume", "application/connect+json", "", 505, ""},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(h.ctx(), c.method, h.url+c.path, bytes.NewReader([]byte(c.body)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", c.kind)
			resp, err := (&http.Client{Transport: one}).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			said, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !strings.Contains(string(said), c.says) {
				t.Errorf("%s: %s, want %d with %s", resp.Status, said, c.status, c.says)
			}
		})
	}
}
