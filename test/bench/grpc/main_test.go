// Package grpc measures the gRPC door beside a bare grpc-go server of the same service, with the same load program in the same run: streaming publish, fan-out to subscribers, and what a proxied unary call adds.
//
//	go test ./test/bench/grpc                                        a moment of each: whether it works
//	GRPCLOAD=4s go test -v -count=1 -timeout 20m ./test/bench/grpc   the table in docs/benchmarks.md; two minutes, on a quiet machine
//
// Gateway and bare server are processes of their own; the load program shares the machine with them. With GRPCLOAD a ratio below what is asked fails the test.
package grpc

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"
	"portico/test/gateway"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	testing_pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection"
)

const bareEnv = "PORTICO_BARE_GRPC" // this process is the bare server

func TestMain(m *testing.M) {
	if os.Getenv(bareEnv) != "" {
		if err := serveBare(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	status := m.Run()
	if len(rows) > 0 {
		fmt.Printf("\n| what | bare grpc-go | Portico | | asked |\n| --- | --- | --- | --- | --- |\n%s\n\n", strings.Join(rows, "\n"))
	}
	os.Exit(status)
}

// rows are what has been measured so far.
var rows []string

// length is how long each load runs.
func length(t *testing.T) (d time.Duration, judged bool) {
	t.Helper()
	text := os.Getenv("GRPCLOAD")
	if text == "" {
		return 200 * time.Millisecond, false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d, true
}

// ratio writes a row and judges it.
func ratio(t *testing.T, what string, bare, portico, asked float64) {
	t.Helper()
	_, judged := length(t)
	rows = append(rows, fmt.Sprintf("| %s | %.0f/s | %.0f/s | %.0f %% | %.0f %% |", what, bare, portico, 100*portico/bare, 100*asked))
	t.Log(rows[len(rows)-1])
	if judged && portico < asked*bare {
		t.Errorf("%s: %.0f %% of the bare server's rate, %.0f %% are asked", what, 100*portico/bare, 100*asked)
	}
}

// serveBare serves what the gateway is compared with until standard input ends.
func serveBare() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.MaxConcurrentStreams(1000))
	porticov1.RegisterPorticoServiceServer(s, bareService{})
	testing_pb.RegisterTestServiceServer(s, bareCalls{})
	reflection.Register(s)
	fmt.Println(l.Addr())
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		s.Stop()
	}()
	return s.Serve(l)
}

// startBare runs this program as the bare server.
func startBare(t *testing.T) (address string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), bareEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// program builds the gateway once.
func program(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("GRPCLOAD_GATEWAY"); path != "" {
		return path
	}
	return gateway.Build(t)
}

func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
