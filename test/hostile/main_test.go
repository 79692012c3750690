// Package hostile treats the gateway badly from outside, through real sockets of the real program: bytes that no client would send, disks that
// fill up, clients that never read, names nobody would choose. Whatever they do, the gateway goes on, and says what is wrong in the protocol's words.
package hostile

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/test/gateway"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	porticov1 "portico/proto/portico/v1"
)

// patience is how long anything may take that must happen.
const patience = 15 * time.Second

// builtProgram is the gateway, built once for all tests. HOSTILE_GATEWAY names one that has been built already, with the race detector perhaps.
type builtProgram struct {
	once sync.Once
	dir  string
	path string
	err  error
}

func (b *builtProgram) build() {
	if b.path = os.Getenv("HOSTILE_GATEWAY"); b.path != "" {
		return
	}
	if b.dir, b.err = os.MkdirTemp("", "portico-hostile-"); b.err != nil {
		return
	}
	b.path = filepath.Join(b.dir, "gateway")
	if out, err := exec.Command("go", "build", "-o", b.path, "portico/cmd/gateway").CombinedOutput(); err != nil {
		b.err = fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
}

var built builtProgram

func TestMain(m *testing.M) {
	flag.Parse()
	status := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// site is a running gateway as its neighbours see it.
type site struct {
	*gateway.Gateway
	cmd     *exec.Cmd
	web     string // host:port of HTTP and WebSocket
	grpc    string
	amqp    string
	nats    string
	mqtt    string
	stomp   string
	started time.Duration // from exec to the doors being told
}

// start runs the gateway in a folder of its own.
func start(t *testing.T, args ...string) *site { return startIn(t, t.TempDir(), args...) }

func startIn(t *testing.T, dir string, args ...string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("starts the gateway")
	}
	built.once.Do(built.build)
	must(t, built.err)
	cmd := exec.Command(built.path, args...)
	began := time.Now()
	s := &site{Gateway: gateway.RunIn(t, dir, cmd), cmd: cmd}
	s.started = time.Since(began)
	s.web = strings.TrimPrefix(s.Doors["HTTP"], "http://")
	s.grpc = s.Doors["gRPC"]
	_, s.amqp, _ = strings.Cut(s.Doors["AMQP"], "@")
	s.nats = strings.TrimPrefix(strings.TrimPrefix(s.Doors["NATS"], "nats://"), "USER:PASSWORD@")
	s.stomp = strings.TrimPrefix(s.Doors["STOMP"], "stomp://")
	s.mqtt = strings.TrimPrefix(s.Doors["MQTT"], "mqtt://")
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits until check returns nil.
func eventually(t testing.TB, within time.Duration, check func() error) {
	t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	over := time.After(within)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("not within %v: %v", within, err)
		}
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// call makes an HTTP request and returns status and body.
func (s *site) call(t testing.TB, method, path, body string, header ...string) (int, string) {
	t.Helper()
	status, answer, err := s.try(method, path, body, header...)
	must(t, err)
	return status, answer
}

func (s *site) try(method, path, body string, header ...string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.web+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// metric reads one metric without labels.
func (s *site) metric(t testing.TB, name string) float64 {
	t.Helper()
	_, text := s.call(t, "GET", "/metrics", "")
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no metric %s", name)
	}
	v, err := strconv.ParseFloat(found[1], 64)
	must(t, err)
	return v
}

func (s *site) goroutines(t testing.TB) int { return int(s.metric(t, "go_goroutines")) }

// memory reads a field of the kernel's about the process, such as VmRSS or VmHWM (the most there was), in bytes.
func (s *site) memory(t testing.TB, field string) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			must(t, err)
			return kb << 10
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

// bounded checks that the process never had more than so much above its base.
func (s *site) bounded(t testing.TB, base, most int64) {
	t.Helper()
	peak := s.memory(t, "VmHWM")
	t.Logf("memory: %d MiB before, %d MiB at most, %d MiB now", base>>20, peak>>20, s.memory(t, "VmRSS")>>20)
	if peak > base+most {
		t.Errorf("resident memory grew by %d MiB, want at most %d", (peak-base)>>20, most>>20)
	}
}

// settles waits until the goroutines are back near what they were.
func (s *site) settles(t testing.TB, before int) {
	t.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	eventually(t, 2*patience, func() error {
		if n := s.goroutines(t); n > before+20 {
			return fmt.Errorf("%d goroutines, %d before", n, before)
		}
		return nil
	})
}

// serves checks that every door does its work.
func (s *site) serves(t testing.TB) {
	t.Helper()
	for door, check := range map[string]func() error{
		"HTTP": s.servesHTTP, "WebSocket": s.servesWebSocket, "gRPC": s.servesGRPC, "AMQP": s.servesAMQP, "NATS": s.servesNATS, "MQTT": s.servesMQTT,
	} {
		if err := check(); err != nil {
			t.Errorf("the %s door does not serve any more: %v", door, err)
		}
	}
}

func (s *site) servesHTTP() error {
	status, body, err := s.try("POST", "/v1/publish/alive.http", "x")
	if err == nil && status != http.StatusAccepted {
		err = fmt.Errorf("%d %s", status, body)
	}
	return err
}

func (s *site) servesWebSocket() error {
	w, err := dialWeb(s.web)
	if err != nil {
		return err
	}
	defer w.Close()
	w.send(opText, `{"op":"pub","id":"1","subject":"alive.ws","data":"x"}`)
	for {
		op, text, err := w.read()
		if err != nil {
			return err
		}
		if op == opText && strings.Contains(text, `"id":"1"`) {
			if strings.Contains(text, `"op":"ok"`) {
				return nil
			}
			return errors.New(text)
		}
	}
}

func (s *site) servesGRPC() error {
	conn, err := grpc.NewClient(s.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = porticov1.NewPorticoServiceClient(conn).Publish(ctx, &porticov1.PublishRequest{Message: &porticov1.Message{Subject: "alive.grpc"}})
	return err
}

func (s *site) servesAMQP() error {
	conn, err := amqp091.Dial("amqp://guest:guest@" + s.amqp + "/")
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	confirm, err := ch.PublishWithDeferredConfirm("amq.topic", "alive.amqp", false, false, amqp091.Publishing{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	acked, err := confirm.WaitContext(ctx)
	if err == nil && !acked {
		err = errors.New("nacked")
	}
	return err
}

func (s *site) servesNATS() error {
	conn, err := dial(s.nats)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "CONNECT {\"verbose\":false}\r\nPUB alive.nats 1\r\nx\r\nPING\r\n"); err != nil {
		return err
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if lines.Text() == "PONG" {
			return nil
		}
		if strings.HasPrefix(lines.Text(), "-ERR") {
			return errors.New(lines.Text())
		}
	}
	return fmt.Errorf("no PONG: %w", lines.Err())
}

// mqttConnect is a CONNECT packet of MQTT 3.1.1 with a clean session.
const mqttConnect = "\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05alive"

func (s *site) servesMQTT() error {
	conn, err := dial(s.mqtt)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, mqttConnect+"\x30\x0d\x00\x0aalive/mqttx"+"\xc0\x00"); err != nil {
		return err
	}
	answer := make([]byte, 6)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("no CONNACK and PINGRESP: %w", err)
	}
	if want := []byte{0x20, 2, 0, 0, 0xd0, 0}; !bytes.Equal(answer, want) {
		return fmt.Errorf("answered % x, want % x", answer, want)
	}
	return nil
}

// dial opens a socket that fails when nothing happens on it for too long.
func dial(address string) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(2 * patience))
}

func dialRaw(t testing.TB, address string) net.Conn {
	t.Helper()
	conn, err := dial(address)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// all reads to the end, at most a few KiB; a reset is an end, too.
func all(conn net.Conn) string {
	b, _ := io.ReadAll(io.LimitReader(conn, 64<<10))
	return string(b)
}

// receive takes what must come.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatalf("no %s: the channel was closed", what)
		}
		return v
	case <-time.After(2 * patience):
		t.Fatalf("no %s within %v", what, 2*patience)
		panic("unreachable")
	}
}
