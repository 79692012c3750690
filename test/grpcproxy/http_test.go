package grpcproxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"portico/adapters/grpc/relay"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
)

// TestUnaryMethodByHTTP: protobuf or JSON in, the same out, the status in a header.
func TestUnaryMethodByHTTP(t *testing.T) {
	g := portico(t)
	conn, err := grpc.NewClient(g.Doors["gRPC"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	testing_pb.RegisterTestServiceServer(server, &service{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- relay.Serve(ctx, conn, server) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("relay: %v", err)
		}
		_ = conn.Close()
	})
	answers(t, g.Doors["gRPC"])
	want, err := proto.Marshal(&testing_pb.SimpleResponse{Payload: body(3)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ kind, request, reply, status string }{
		"an answer":            {"application/octet-stream", "\x10\x03", string(want), "0"},
		"another status":       {"application/octet-stream", "\x3a\x06\x08\x0a\x12\x02no", "", "10"},
		"JSON":                 {"application/json", `{"responseSize":3}`, `{"payload":{"body":"AAAA"}}`, "0"},
		"JSON, another status": {"application/json; charset=utf-8", `{"response_status":{"code":10,"message":"no"}}`, "", "10"},
		"JSON without message": {"application/json", "", `{"payload":{}}`, "0"},
		"JSON of another kind": {"application/json", `{"size":3}`, "", "3"},
		"JSON that is none":    {"application/json", `{`, "", "3"},
	} {
		t.Run(name, func(t *testing.T) {
			resp, err := http.Post(g.Doors["HTTP"]+"/v1/request/grpc.grpc.testing.TestService.UnaryCall", c.kind, strings.NewReader(c.request))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(c.kind, "application/json") {
				got = bytes.ReplaceAll(got, []byte(" "), nil) // protobuf's JSON has blanks by chance
			}
			if string(got) != c.reply || resp.Header.Get("Msg-Grpc-Status") != c.status {
				t.Errorf("%s %v: %q, want %q and status %s", resp.Status, resp.Header, got, c.reply, c.status)
			}
		})
	}
}
