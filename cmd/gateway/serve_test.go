package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"
)

// asProgram makes the test binary be the program, so that signals and exit codes are tested on the real thing.
const asProgram = "GATEWAY_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program is a command that runs this program.
func program(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

func TestServesEveryDoor(t *testing.T) {
	g := gateway.Run(t, program())
	for door, prefix := range map[string]string{
		"page": "http://", "HTTP": "http://", "WebSocket": "ws://", "gRPC": "", "AMQP": "amqp://guest:guest@", "NATS": "nats://", "MQTT": "mqtt://", "STOMP": "stomp://",
	} {
		address, ok := strings.CutPrefix(g.Doors[door], prefix)
		if !ok || address == "" {
			t.Errorf("the %s door is told as %q, want it to begin with %q", door, g.Doors[door], prefix)
			continue
		}
		host, _, _ := strings.Cut(address, "/")
		conn, err := net.Dial("tcp", host)
		if err != nil {
			t.Errorf("the %s door is not open: %v", door, err)
			continue
		}
		_ = conn.Close()
	}
	for path, want := range map[string]string{"/": "<title>Portico</title>", "/portico.js": "portico.v1.json", "/readyz": "", "/healthz": "", "/metrics": "portico_"} {
		status, body := get(t, g.Doors["HTTP"]+path)
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s: %d, %d bytes, want 200 with %q", path, status, len(body), want)
		}
	}
}

func TestClosedDoors(t *testing.T) {
	g := gateway.Run(t, program("--amqp-listen", "off", "--nats-listen", "off", "--mqtt-listen", "off", "--stomp-listen", "off", "--grpc-listen", "off"))
	if len(g.Doors) != 3 || g.Doors["HTTP"] == "" {
		t.Errorf("open are %v, want only page, HTTP and WebSocket", g.Doors)
	}
}

// TestTermDrains: what is under way when SIGTERM comes is finished, open streams end, and the process ends well.
func TestTermDrains(t *testing.T) {
	g := gateway.Run(t, program())
	stream, err := http.Get(g.Doors["HTTP"] + "/v1/subscribe?subject=greet.>")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	late := newSlowPost(t, g.Doors["HTTP"], "/v1/publish/greet.late", "hello")
	g.Signal(t, syscall.SIGTERM)
	refused(t, g.Doors["HTTP"])
	if status := late.finish(t); !strings.Contains(status, " 200 ") && !strings.Contains(status, " 202 ") {
		t.Errorf("the publish that was under way was answered %q", status)
	}
	if state := g.Wait(t); !state.Success() {
		t.Errorf("ended with %v, want success; log:\n%s", state, g.Log())
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream was cut, not ended: %v", err)
	}
	if log := g.Log(); !strings.Contains(log, "the gateway is closed") {
		t.Errorf("the log does not tell the end:\n%s", log)
	}
}

// TestSecondSignalEnds: whoever does not want to wait for the drain sends another signal.
func TestSecondSignalEnds(t *testing.T) {
	g := gateway.Run(t, program("--drain-timeout", "1h"))
	newSlowPost(t, g.Doors["HTTP"], "/v1/publish/greet.never", "hello") // holds the drain up
	g.Signal(t, syscall.SIGTERM)
	refused(t, g.Doors["HTTP"])
	g.Signal(t, syscall.SIGTERM)
	if status := g.Wait(t).Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, want to be ended by the signal", status)
	}
}

func TestTakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, door := range []string{"http", "grpc", "amqp", "nats", "mqtt", "stomp"} {
		t.Run(door, func(t *testing.T) {
			args := []string{"--data-dir", t.TempDir()}
			for _, d := range []string{"http", "grpc", "amqp", "nats", "mqtt", "stomp"} {
				args = append(args, "--"+d+"-listen", "127.0.0.1:0")
			}
			args = append(args, "--"+door+"-listen", taken.Addr().String())
			out, err := runWithin(t, args...)
			if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
				t.Errorf("ended with %v, want an error that names %s", err, taken.Addr())
			}
			if strings.Contains(out, "Portico is open") {
				t.Errorf("it says it is open:\n%s", out)
			}
		})
	}
}

// TestOneProcessPerFolder: two gateways on one data directory would tear each other's logs.
func TestOneProcessPerFolder(t *testing.T) {
	g := gateway.Run(t, program())
	_, err := runWithin(t, "--data-dir", g.Dir, "--http-listen", "127.0.0.1:0", "--grpc-listen", "off", "--amqp-listen", "off", "--nats-listen", "off", "--mqtt-listen", "off", "--stomp-listen", "off")
	if err == nil || !strings.Contains(err.Error(), g.Dir) {
		t.Errorf("ended with %v, want an error that names the folder", err)
	}
}

func TestUsers(t *testing.T) {
	file := writeFile(t, "users: [{name: ann, password: secret, publish: ['greet.>']}]")
	g := gateway.Run(t, program("--config", file))
	for name, c := range map[string]struct {
		user, password, subject string
		want                    int
	}{
		"nobody":         {"", "", "greet.you", http.StatusUnauthorized},
		"wrong password": {"ann", "wrong", "greet.you", http.StatusUnauthorized},
		"allowed":        {"ann", "secret", "greet.you", http.StatusAccepted},
		"not allowed":    {"ann", "secret", "orders.new", http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodPost, g.Doors["HTTP"]+"/v1/publish/"+c.subject, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			if c.user != "" {
				req.SetBasicAuth(c.user, c.password)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != c.want {
				t.Errorf("status %d, want %d", resp.StatusCode, c.want)
			}
		})
	}
	if strings.Contains(g.Doors["AMQP"], "guest") {
		t.Errorf("the AMQP door is told as %s, although guest may not log in", g.Doors["AMQP"])
	}
}

func TestCommands(t *testing.T) {
	good := writeFile(t, "durability: os\nusers: [{name: ann, password: hunter2}]")
	for name, c := range map[string]struct {
		args []string
		out  []string
		err  string
	}{
		"version":          {[]string{"version"}, []string{"portico ", "go1."}, ""},
		"check":            {[]string{"config", "check", "--config", good}, []string{"sound"}, ""},
		"check fails":      {[]string{"config", "check", "--durability", "maybe"}, nil, "--durability: found"},
		"print":            {[]string{"config", "print", "--config", good}, []string{"durability: os # " + good + ":1", "password: '[redacted]'", "max_message: 16MiB # default"}, ""},
		"help":             {[]string{"--help"}, []string{"--http-listen", "config", "version"}, ""},
		"unknown command":  {[]string{"sevre"}, nil, `unknown command "sevre"`},
		"unknown flag":     {[]string{"--htp-listen", "x"}, nil, "did you mean --http-listen?"},
		"argument":         {[]string{"serve", "now"}, nil, "now"},
		"no file":          {[]string{"--config", filepath.Join(t.TempDir(), "none.yaml")}, nil, "none.yaml"},
		"public":           {[]string{"--mqtt-listen", "0.0.0.0:0"}, nil, "mqtt.listen: found"},
		"public by serve":  {[]string{"serve", "--http-listen", ":0"}, nil, "http.listen: found"},
		"bad folder":       {[]string{"--data-dir", filepath.Join(good, "below")}, nil, "not a directory"},
		"config from flag": {[]string{"config", "check", "--config", writeFile(t, "x: 1")}, nil, "x: unknown key"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runWithin(t, c.args...)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("ended with %v, want %q", err, c.err)
			}
			for _, want := range c.out {
				if !strings.Contains(out, want) {
					t.Errorf("printed\n%s\nwithout %q", out, want)
				}
			}
			if strings.Contains(out, "hunter2") {
				t.Errorf("printed a password:\n%s", out)
			}
		})
	}
}

// TestPrintIsAFile: what config print prints can be given to --config.
func TestPrintIsAFile(t *testing.T) {
	args := []string{"config", "print", "--disk-free", "off", "--max-message", "70000", "--websocket-allowed-origins", "https://a.example", "--drain-timeout", "90s",
		"--amqp-heartbeat", "off", "--amqp-consumer-timeout", "36h", "--amqp-frame-max", "70000", "--amqp-channel-max", "3"}
	first, err := runWithin(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	second, err := runWithin(t, "config", "print", "--config", writeFile(t, first))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := withoutComments(first), withoutComments(second); a != b {
		t.Errorf("printed\n%s\nand from that\n%s", a, b)
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), []string{"config", "print"}, []string{"PORTICO_CONFIG=" + writeFile(t, "durability: os")}, &out, io.Discard)
	if err != nil || !strings.Contains(out.String(), "durability: os") {
		t.Errorf("printed %s, %v", &out, err)
	}
}

// runWithin runs the program in this process, without environment, and returns what it printed.
func runWithin(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, args, nil, &out, io.Discard)
	if ctx.Err() != nil {
		t.Errorf("%v did not end by itself", args)
	}
	return out.String(), err
}

func withoutComments(yaml string) string {
	var b strings.Builder
	for line := range strings.Lines(yaml) {
		text, _, _ := strings.Cut(line, "# ")
		if text = strings.TrimRight(text, " \n"); text != "" {
			fmt.Fprintln(&b, text)
		}
	}
	return b.String()
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "portico.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// refused waits until a door takes no more connections.
func refused(t *testing.T, door string) {
	t.Helper()
	_, address, _ := strings.Cut(door, "://")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for limit := time.After(10 * time.Second); ; {
		conn, err := net.Dial("tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			_ = conn.Close()
		}
		select {
		case <-limit:
			t.Fatalf("%s still takes connections", door)
		case <-tick.C:
		}
	}
}

// slowPost is a request whose body is only half there.
type slowPost struct {
	conn net.Conn
	rest string
}

// newSlowPost sends the head of a request and waits until the server reads the body, which it says by 100 Continue.
func newSlowPost(t *testing.T, door, path, body string) *slowPost {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(door, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", path, len(body))
	if line := readLine(t, conn); !strings.Contains(line, " 100 ") {
		t.Fatalf("the server answers %q before the body", line)
	}
	return &slowPost{conn: conn, rest: body}
}

// finish sends the body and returns the status line.
func (p *slowPost) finish(t *testing.T) string {
	t.Helper()
	if _, err := io.WriteString(p.conn, p.rest); err != nil {
		t.Fatal(err)
	}
	return readLine(t, p.conn)
}

// readLine reads a line, and with it an empty one before it.
func readLine(t *testing.T, conn net.Conn) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReaderSize(oneByte{conn}, 16)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
}

// oneByte reads byte by byte, so that nothing behind a line is lost.
type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }
