// Package http measures the HTTP door beside a bare gin handler that reads the body and answers 200, with the same load program in the same run, and the fan-out and footprint of event streams.
//
//	go test ./test/bench/http                                        a moment of each: whether it works
//	HTTPLOAD=4s go test -v -count=1 -timeout 20m ./test/bench/http   the table in docs/benchmarks.md; five minutes, on a quiet machine
//
// Gateway and bare server are processes of their own; the load program shares the machine with them.
package http

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"portico/test/gateway"

	"github.com/gin-gonic/gin"
)

const bareEnv = "PORTICO_BARE_GIN" // this process is the bare server

func TestMain(m *testing.M) {
	if os.Getenv(bareEnv) != "" {
		bare()
		return
	}
	flag.Parse()
	status := m.Run()
	if len(rows) > 0 {
		fmt.Printf("\n| what | bare gin | Portico | ratio | asked |\n| --- | --- | --- | --- | --- |\n%s\n\n", strings.Join(rows, "\n"))
	}
	os.Exit(status)
}

// rows are what has been measured so far.
var rows []string

// bare serves the handler to compare with until standard input ends.
func bare() {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.POST("/publish/:subject", func(c *gin.Context) {
		body, err := io.ReadAll(c.Request.Body)
		if err != nil || len(body) == 0 {
			c.Status(http.StatusBadRequest)
			return
		}
		c.Status(http.StatusOK)
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		l.Close()
	}()
	_ = http.Serve(l, e) //nolint:gosec // ends with the listener; only the test reaches it
}

// startBare starts the bare server and returns its address.
func startBare(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), bareEnv+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	var address [64]byte
	n, err := out.Read(address[:])
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(address[:n]))
}

// load says for how long a load runs, and how often; full tells that the targets count.
func load(t *testing.T) (length time.Duration, rounds int, full bool) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts the gateway")
	}
	text := os.Getenv("HTTPLOAD")
	if text == "" {
		return 200 * time.Millisecond, 1, false
	}
	length, err := time.ParseDuration(text)
	if err != nil || length <= 0 {
		t.Fatalf("HTTPLOAD=%s: want a duration such as 4s", text)
	}
	return length, 3, true
}

func startGateway(t *testing.T, args ...string) (g *gateway.Gateway, address string) {
	t.Helper()
	g = gateway.Start(t, append([]string{"--grpc-listen", "off", "--nats-listen", "off", "--mqtt-listen", "off", "--log-level", "warn"}, args...)...)
	return g, strings.TrimPrefix(g.Doors["HTTP"], "http://")
}

// resident is a process's memory in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Skip("needs /proc")
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
