// Package grpcproxy runs grpc-go's interop programs, as they are, through the gateway's method proxy.
package grpcproxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico/adapters/grpc/relay"
	"portico/test/gateway"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
)

// cases are the standard ones of grpc-go's interop run: those of its interop_test.sh, none of which needs TLS.
var cases = []string{
	"empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong", "empty_stream", "timeout_on_sleeping_server",
	"cancel_after_begin", "cancel_after_first_response", "status_code_and_message", "special_status_message", "custom_metadata",
	"unimplemented_method", "unimplemented_service", "orca_per_rpc", "orca_oob", "rpc_soak", "channel_soak",
}

// loadReports are the cases that need grpc-go's own server, which reports its load.
var loadReports = []string{"orca_per_rpc", "orca_oob"}

// balancer makes the client read load reports.
const balancer = `{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}`

// programs finds the interop client and server: in the folder that GRPC_INTEROP names, or built from tools/interop, the module that has what they need beside grpc-go.
func programs(t *testing.T) (client, server string) {
	t.Helper()
	dir := os.Getenv("GRPC_INTEROP")
	if dir == "" {
		dir = build(t)
	}
	return filepath.Join(dir, "client"), filepath.Join(dir, "server")
}

// build builds them, once for all tests. Where Go cannot fetch their modules the tests are skipped, but never with CI=true.
func build(t *testing.T) string {
	t.Helper()
	dir, err := built()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return dir
}

// portico runs the gateway, which is built once for all tests.
func portico(t *testing.T, args ...string) *gateway.Gateway {
	t.Helper()
	return gateway.Run(t, exec.Command(command(t, "gateway"), args...))
}

// command builds a program of Portico's, if that has not been done yet.
func command(t *testing.T, name string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	program := filepath.Join(folder, name)
	if _, err := os.Stat(program); err == nil {
		return program
	}
	if out, err := exec.Command("go", "build", "-o", program, "portico/cmd/"+name).CombinedOutput(); err != nil {
		t.Fatalf("build the %s: %v\n%s", name, err, out)
	}
	return program
}

var built = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", folder+string(filepath.Separator), "google.golang.org/grpc/interop/client", "google.golang.org/grpc/interop/server")
	cmd.Dir = filepath.Join("..", "..", "tools", "interop")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the interop programs of grpc-go: %w\n%s", err, out)
	}
	return folder, nil
})

var (
	folder   string     // where programs are built; TestMain makes and removes it
	building sync.Mutex // one at a time
)

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "grpcproxy"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(folder)
	os.Exit(code)
}

// start runs the interop server on a free port and waits until it answers. The program knows no port 0: where somebody else takes the port before it does, it ends, and another port is tried.
func start(t *testing.T, program string) (address string) {
	t.Helper()
	for range 5 {
		address = free(t)
		_, port, _ := net.SplitHostPort(address)
		cmd := exec.Command(program, "--port", port)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Wait()
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-ended
		})
		if came(address, ended) {
			answers(t, address)
			return address
		}
	}
	t.Fatal("the interop server finds no free port")
	return ""
}

// free is an address that nobody listens at now.
func free(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// came waits until somebody listens at an address; false when the program has ended instead.
func came(address string, ended <-chan struct{}) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			select {
			case <-ended: // it was somebody else's
				return false
			default:
				return true
			}
		}
		select {
		case <-ended:
			return false
		case <-tick.C:
		}
	}
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
	cmd := exec.CommandContext(ctx, client, "--server_host="+host, "--server_port="+port, "--use_tls=false", "--service_config_json="+balancer, "--test_case="+name)
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
			g := portico(t, "--grpc-proxy-backends", fmt.Sprintf("[{address: '%s', services: [%s]}]", start(t, server), services))
			answers(t, g.Doors["gRPC"])
			run(t, client, g.Doors["gRPC"], cases)
		})
	}
}

// TestInteropByRelay: both programs as they are; a relay beside the server has dialled the gateway.
func TestInteropByRelay(t *testing.T) {
	client, server := programs(t)
	g := portico(t)
	lend(t, g.Doors["gRPC"], "--server", start(t, server), "--others", "--services", "grpc.testing.TestService")
	answers(t, g.Doors["gRPC"])
	run(t, client, g.Doors["gRPC"], cases)
}

// lend runs the gateway's relay command.
func lend(t *testing.T, address string, args ...string) {
	t.Helper()
	cmd := exec.Command(command(t, "gateway"), append([]string{"relay", "--gateway", address}, args...)...)
	var told bytes.Buffer
	cmd.Stderr = &told
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("relay: %v\n%s", err, told.String())
		}
	})
}

// TestInteropInProcess: the client as it is; a server without any port that has dialled the gateway.
func TestInteropInProcess(t *testing.T) {
	client, _ := programs(t)
	g := portico(t)
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
	run(t, client, g.Doors["gRPC"], slices.DeleteFunc(slices.Clone(cases), func(name string) bool { return slices.Contains(loadReports, name) }))
}
