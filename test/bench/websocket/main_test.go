// Package websocket measures the WebSocket door beside Centrifugo, with the same load program in the same run: what one publisher brings to many subscribers, how long that takes at
// half the rate, and what an idle connection costs.
//
//	go test ./test/bench/websocket                                                          a moment of each: whether it works
//	WSLOAD=10s CENTRIFUGO=/path/to/centrifugo go test -v -count=1 -timeout 30m ./test/bench/websocket   the table in docs/benchmarks.md, on a quiet machine
//
// Servers are processes of their own; the load program shares the machine with them. Without Centrifugo (v6) Portico is measured alone.
package websocket

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"
)

func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	if len(rows) > 0 {
		fmt.Printf("\n| what | %s |\n| --- | --- |\n%s\n\n", "server: figure", strings.Join(rows, "\n"))
	}
	os.Exit(status)
}

// rows are what has been measured so far.
var rows []string

func tell(t *testing.T, s *server, what, figure string) {
	t.Helper()
	t.Logf("%s: %s: %s", s.name, what, figure)
	rows = append(rows, fmt.Sprintf("| %s | %s: %s |", what, s.name, figure))
}

// load is how long each measurement takes; quick: only whether it works.
func load(t *testing.T) (d time.Duration, quick bool) {
	t.Helper()
	text := os.Getenv("WSLOAD")
	if text == "" {
		return 200 * time.Millisecond, true
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d, false
}

// sized is a number of the environment, or full, or less where it is only to be seen whether it works.
func sized(t *testing.T, name string, less, full int) int {
	t.Helper()
	if text := os.Getenv(name); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, quick := load(t); quick {
		return less
	}
	return full
}

// server is one of those that are compared.
type server struct {
	name    string
	address string // host:port
	pid     int
	speaks  protocol
}

// protocol is what a server wants to hear.
type protocol struct {
	path, offers string // of the upgrade; offers: the subprotocol
	hello        string // sent first; "" for nothing
	welcome      string // what the answer to hello, or the server's first message, has in it
	sub          func(id int, channel string) string
	pub          func(id int, channel, data string) string
	done         string // what a good answer has in it
	ping, pong   string // a message of the server that wants an answer; "" for none
}

var portico = protocol{
	path: "/ws", offers: "portico.v1.json", welcome: `"welcome"`, done: `"op":"ok"`,
	sub: func(id int, channel string) string {
		return fmt.Sprintf(`{"op":"sub","id":"%d","sid":"s1","subject":"%s"}`, id, channel)
	},
	pub: func(id int, channel, data string) string {
		return fmt.Sprintf(`{"op":"pub","id":"%d","subject":"%s","data":"%s"}`, id, channel, data)
	},
}

var centrifugo = protocol{
	path: "/connection/websocket", hello: `{"id":1,"connect":{}}`, welcome: `"connect":`, done: `"id":`, ping: "{}", pong: "{}",
	sub: func(id int, channel string) string {
		return fmt.Sprintf(`{"id":%d,"subscribe":{"channel":"%s"}}`, id, channel)
	},
	pub: func(id int, channel, data string) string {
		return fmt.Sprintf(`{"id":%d,"publish":{"channel":"%s","data":"%s"}}`, id, channel, data)
	},
}

// servers starts each anew for a measurement, one after the other.
func servers(t *testing.T, measure func(t *testing.T, s *server)) {
	t.Helper()
	t.Run("Portico", func(t *testing.T) { measure(t, startPortico(t)) })
	t.Run("Centrifugo", func(t *testing.T) { measure(t, startCentrifugo(t)) })
}

func startPortico(t *testing.T) *server {
	t.Helper()
	program := os.Getenv("GATEWAY")
	if program == "" {
		program = gateway.Build(t)
	}
	g := gateway.Run(t, exec.Command(program, "--websocket-max-connections", "100000"))
	return &server{"Portico", strings.TrimPrefix(g.Doors["HTTP"], "http://"), g.Pid(), portico}
}

// startCentrifugo runs it with its memory engine, and with what it does by default but for who may do what: everybody everything, as Portico without users.
func startCentrifugo(t *testing.T) *server {
	t.Helper()
	program := os.Getenv("CENTRIFUGO")
	if program == "" {
		found, err := exec.LookPath("centrifugo")
		if err != nil {
			t.Skip("Centrifugo is a package nowhere: name the program by CENTRIFUGO") // in CI, too
		}
		program = found
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	config := filepath.Join(t.TempDir(), "config.json")
	text := fmt.Sprintf(`{"http_server":{"address":"127.0.0.1","port":%q},"client":{"insecure":true,"allowed_origins":["*"],"connection_limit":0},"log":{"level":"error"},"usage_stats":{"disabled":true},"health":{"enabled":true}}`, port)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--config", config)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; {
		res, err := http.Get("http://" + address + "/health") //nolint:noctx // loopback
		if err == nil {
			res.Body.Close()
			return &server{"Centrifugo", address, cmd.Process.Pid, centrifugo}
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// resident is what the server has in memory, in bytes.
func (s *server) resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// busy is the processor time that the server has used.
func (s *server) busy(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
