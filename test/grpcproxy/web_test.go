package grpcproxy

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// descriptors writes the files that declare Portico's services, each behind those that it imports.
func descriptors(t *testing.T) string {
	t.Helper()
	set, seen := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	add(porticov1.File_portico_v1_portico_proto)
	raw, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "descriptors")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBrowserLibrary: what pages use calls the gateway's services on its HTTP port.
func TestBrowserLibrary(t *testing.T) {
	program, modules := node(t), cached(t, "connect-web", "node_modules")
	g := portico(t)
	got := output(t, []string{"MODULES=" + filepath.Dir(modules)}, program, "testdata/browser/test.js", g.Doors["HTTP"], descriptors(t))
	var want strings.Builder
	for _, name := range []string{"Connect", "Connect, binary", "gRPC-Web"} {
		want.WriteString(name + ": live true, received hello\n" + name + ": Unavailable, with details\n")
	}
	if got != want.String() {
		t.Errorf("it said\n%s\nwant\n%s", got, want.String())
	}
}

// TestOriginsOfCalls: a page of another origin may call if it is listed, as with the rest of the HTTP port.
func TestOriginsOfCalls(t *testing.T) {
	g := portico(t, "--http-allowed-origins", "https://app.example")
	path := g.Doors["HTTP"] + "/portico.v1.PorticoService/Publish"
	for name, c := range map[string]struct {
		origin  string
		allowed bool
	}{"listed": {"https://app.example", true}, "not listed": {"https://evil.example", false}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			asked := ask(ctx, t, http.MethodOptions, path, "", map[string]string{
				"Origin": c.origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "connect-protocol-version,content-type,x-grpc-web",
			})
			if got := asked.Header.Get("Access-Control-Allow-Origin") == c.origin; got != c.allowed {
				t.Errorf("asked before: %v", asked.Header)
			}
			called := ask(ctx, t, http.MethodPost, path, `{"message":{"subject":"a"}}`, map[string]string{"Origin": c.origin, "Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"})
			if got := called.StatusCode == http.StatusOK; got != c.allowed {
				t.Errorf("called: %s", called.Status)
			}
			exposed := strings.Split(strings.ToLower(called.Header.Get("Access-Control-Expose-Headers")), ", ")
			if c.allowed && !slices.Contains(exposed, "grpc-status") {
				t.Errorf("exposed: %q", exposed)
			}
		})
	}
}

func ask(ctx context.Context, t *testing.T, method, url, body string, header map[string]string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

// TestCallsOnTheHTTPPort: connect's client by gRPC, whose streams go both ways, on the same port as the page.
func TestCallsOnTheHTTPPort(t *testing.T) {
	g := portico(t)
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream := connect.NewClient[porticov1.PublishStreamRequest, porticov1.PublishStreamResponse](&http.Client{Transport: transport},
		g.Doors["HTTP"]+"/portico.v1.PorticoService/PublishStream", connect.WithGRPC()).CallBidiStream(ctx)
	for i := range uint64(100) {
		if err := stream.Send(&porticov1.PublishStreamRequest{Id: i + 1, Message: &porticov1.Message{Subject: "a"}}); err != nil {
			t.Fatal(err)
		}
		resp, err := stream.Receive()
		if err != nil || resp.GetResults()[0].GetId() != i+1 {
			t.Fatalf("%v, %v", resp, err)
		}
	}
	_ = stream.CloseRequest()
	_ = stream.CloseResponse()
}
