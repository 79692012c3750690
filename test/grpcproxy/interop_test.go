// Package grpcproxy runs grpc-go's interop programs, as they are, through the gateway's method proxy.
package grpcproxy

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/adapters/grpc/relay"
	"portico/test/gateway"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
)

// cases are those of the interop client that need neither TLS nor a cloud.
var cases = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server",
	"cancel_after_begin", "cancel_after_first_response", "status_code_and_message", "special_status_message", "custom_metadata",
	"unimplemented_method", "unimplemented_service",
}

// extras need more of the server than every version of grpc-go's has: a name of its own, load reports. They are tried through the gateway if they pass without it.
var extras = []string{"pick_first_unary", "orca_per_rpc", "orca_oob"}

// programs finds the interop client and server: in the folder that GRPC_INTEROP names, or built from the module's grpc-go, for which Go may have to fetch what those programs
// need and Portico does not.
func programs(t *testing.T) (client, server string) {
	t.Helper()
	dir := os.Getenv("GRPC_INTEROP")
	switch {
	case dir != "":
	case os.Getenv("E2E") == "long":
		dir = build(t)
	default:
		t.Skip("needs grpc-go's interop client and server: E2E=long builds them, GRPC_INTEROP names a folder that has them")
	}
	return filepath.Join(dir, "client"), filepath.Join(dir, "server")
}

func build(t *testing.T) string {
	t.Helper()
	source, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/grpc").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=readonly", "-o", dir, "./interop/client", "./interop/server")
	cmd.Dir = strings.TrimSpace(string(source))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the interop programs: %v\n%s", err, out)
	}
	return dir
}

// start runs the interop server on a free port and waits until it answers.
func start(t *testing.T, program string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	listener.Close() // the program knows no port 0
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(program, "--port", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	answers(t, address)
	return address
}

// answers waits until the service answers at an address.
func answers(t *testing.T, address string) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client := testing_pb.NewTestServiceClient(conn)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := client.EmptyCall(ctx, &testing_pb.Empty{}, grpc.WaitForReady(true))
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("nobody answers at %s: %v", address, err)
		}
	}
}

// run runs cases of the interop client against an address.
func run(t *testing.T, client, address string, cases []string) {
	t.Helper()
	for _, name := range cases {
		t.Run(name, func(t *testing.T) {
			if err := try(t, client, address, name); err != nil {
				t.Error(err)
			}
		})
	}
}

// try runs one case. The error has the last lines that the client wrote.
func try(t *testing.T, client, address, name string) error {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, client, "--server_host="+host, "--server_port="+port, "--use_tls=false", "--test_case="+name)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, last(string(out), 5))
	}
	return nil
}

func last(text string, n int) string {
	var lines []string
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		lines = append(lines, s.Text())
	}
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// TestInteropByConfiguration: both programs as they are; the gateway is told the server's address.
func TestInteropByConfiguration(t *testing.T) {
	client, server := programs(t)
	for name, services := range map[string]string{
		"services by name": "grpc.testing.TestService, grpc.testing.UnimplementedService, xds.service.orca.v3.OpenRcaService",
		"all there are":    "'*'",
	} {
		t.Run(name, func(t *testing.T) {
			g := gateway.Start(t, "--grpc-proxy-backends", fmt.Sprintf("[{address: '%s', services: [%s]}]", start(t, server), services))
			answers(t, g.Doors["gRPC"])
			run(t, client, g.Doors["gRPC"], cases)
		})
	}
}

func TestInteropExtras(t *testing.T) {
	client, server := programs(t)
	address := start(t, server)
	g := gateway.Start(t, "--grpc-proxy-backends", fmt.Sprintf("[{address: '%s', services: ['*']}]", address))
	answers(t, g.Doors["gRPC"])
	for _, name := range extras {
		t.Run(name, func(t *testing.T) {
			if err := try(t, client, address, name); err != nil {
				t.Skipf("does not pass without the gateway either: %v", err)
			}
			if err := try(t, client, g.Doors["gRPC"], name); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestInteropByRelay: the client as it is; a server without a port that has dialled the gateway.
func TestInteropByRelay(t *testing.T) {
	client, _ := programs(t)
	g := gateway.Start(t)
	conn, err := grpc.NewClient(g.Doors["gRPC"], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	testing_pb.RegisterTestServiceServer(server, &service{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- relay.ServeWith(ctx, conn, server, relay.Options{Others: true}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("relay: %v", err)
		}
		server.Stop()
		_ = conn.Close()
	})
	answers(t, g.Doors["gRPC"])
	run(t, client, g.Doors["gRPC"], cases)
}
