package hostile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"portico/adapters/amqp/wire"

	porticov1 "portico/proto/portico/v1"

	amqp091 "github.com/rabbitmq/amqp091-go"
	"google.golang.org/grpc/metadata"
)

// besieged is the configuration of a gateway that others may reach: the user has a hash that is made to be slow.
const besieged = "users:\n- {name: ann, password_hash: $2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy}\n- {name: guest, password: guest}\n"

const (
	halfOpen  = 2000 // connections that begin to say something and then do not
	trickling = 70   // that say a byte now and then
	steps     = 600  // things that the normal client does, idle and under siege
	leastP99  = 20 * time.Millisecond
)

// TestSiege: half-open handshakes, slow headers, login floods, giant headers, deep tables and path tricks at once. A normal client is served throughout, not more than ten times slower
// than without (where a machine answers within 20 ms, which a busy one may not, 20 ms count), and afterwards memory, sockets and goroutines are back.
func TestSiege(t *testing.T) {
	path := filepath.Join(t.TempDir(), "portico.yaml")
	must(t, os.WriteFile(path, []byte(besieged), 0o600))
	s := start(t, "--config", path)
	normal := newNormal(t, s)
	must(t, normal.each(50)) // warm
	idle := normal.p99(t, steps)
	base, goroutines, files := s.memory(t, "VmRSS"), s.goroutines(t), s.files(t)

	ctx, end := context.WithCancel(context.Background())
	defer end()
	var siege sync.WaitGroup
	tally := map[string]*atomic.Int64{}
	for name, attack := range map[string]func(context.Context, *site) error{
		"login flood (HTTP)": floodHTTP, "login flood (AMQP)": floodAMQP, "giant headers": giantHeaders, "deep tables": deepTables, "path tricks": pathTricks,
	} {
		n := new(atomic.Int64)
		tally[name] = n
		for range 2 {
			siege.Go(func() {
				for ctx.Err() == nil {
					if err := attack(ctx, s); err != nil && ctx.Err() == nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					n.Add(1)
				}
			})
		}
	}
	closeHalf := s.halfOpen(t)
	siege.Go(func() { s.trickle(ctx) })
	under := normal.p99(t, steps)
	end()
	siege.Wait()
	for name, n := range tally {
		t.Logf("%s: %d", name, n.Load())
		if n.Load() == 0 {
			t.Errorf("%s: not once", name)
		}
	}
	t.Logf("p99 idle %v, under siege %v, with %d half-open and %d trickling connections", idle, under, halfOpen, trickling)
	if limit := 10 * max(idle, leastP99); under > limit {
		t.Errorf("under siege p99 is %v, want at most %v", under, limit)
	}
	closeHalf()
	s.settles(t, goroutines)
	eventually(t, 2*patience, func() error {
		if n := s.files(t); n > files+20 {
			return fmt.Errorf("%d open files, %d before", n, files)
		}
		if now := s.memory(t, "VmRSS"); now > base+128<<20 {
			return fmt.Errorf("%d MiB are resident, %d before", now>>20, base>>20)
		}
		return nil
	})
	must(t, normal.each(50))
}

// files counts the process's open files.
func (s *site) files(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	return len(all)
}

// normal is a client of several doors that keeps its connections.
type normal struct {
	s   *site
	web *webSocket
	rpc func() error
	mq  func() error
}

func newNormal(t *testing.T, s *site) *normal {
	t.Helper()
	w, err := dialWebAs(s.web, "guest:guest")
	must(t, err)
	t.Cleanup(func() { w.Close() })
	return &normal{s: s, web: w, rpc: s.publisherRPC(t), mq: s.publisherAMQP(t)}
}

func (s *site) publisherRPC(t *testing.T) func() error {
	t.Helper()
	client := porticov1.NewPorticoServiceClient(dialRPC(t, s.grpc))
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
		_, err := client.Publish(ctx, &porticov1.PublishRequest{Message: &porticov1.Message{Subject: "normal.grpc"}})
		return err
	}
}

func (s *site) publisherAMQP(t *testing.T) func() error {
	t.Helper()
	conn, err := amqp091.Dial("amqp://guest:guest@" + s.amqp + "/")
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	must(t, err)
	must(t, ch.Confirm(false))
	return func() error {
		confirm, err := ch.PublishWithDeferredConfirm("amq.topic", "normal.amqp", false, false, amqp091.Publishing{})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
		defer cancel()
		acked, err := confirm.WaitContext(ctx)
		if err == nil && !acked {
			err = errors.New("nacked")
		}
		return err
	}
}

// each does everything so many times.
func (n *normal) each(times int) error {
	for range times {
		for _, step := range n.steps() {
			if err := step(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *normal) steps() []func() error { return []func() error{n.http, n.webSocket, n.rpc, n.mq} }

func (n *normal) http() error {
	status, body, err := n.s.try("POST", "/v1/publish/normal.http", "x", "Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
	if err == nil && status != http.StatusAccepted {
		err = fmt.Errorf("%d %s", status, body)
	}
	return err
}

func (n *normal) webSocket() error {
	if err := n.web.SetDeadline(time.Now().Add(2 * patience)); err != nil {
		return err
	}
	n.web.send(opText, `{"op":"pub","id":"n","subject":"normal.ws","data":"x"}`)
	for {
		op, text, err := n.web.read()
		switch {
		case err != nil:
			return err
		case op == opPing:
			n.web.send(opPong, text)
		case strings.Contains(text, `"op":"ok"`):
			return nil
		default:
			return errors.New(text)
		}
	}
}

// p99 does so many things at all doors in turn and returns how long the slowest in a hundred take.
func (n *normal) p99(t *testing.T, times int) time.Duration {
	t.Helper()
	var took []time.Duration
	all := n.steps()
	for i := range times {
		began := time.Now()
		must(t, all[i%len(all)]())
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// halfOpen opens connections at all doors that begin a handshake and do not go on.
func (s *site) halfOpen(t *testing.T) (closeAll func()) {
	t.Helper()
	begun := []struct{ at, say string }{
		{s.web, "GET /v1/que"}, {s.web, "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConn"}, {s.grpc, "PRI * HTTP/2.0\r\n\r\nS"}, {s.amqp, "AMQP\x00\x00"},
		{s.nats, "CONN"}, {s.mqtt, "\x10\x7f\x00"}, {s.stomp, "CONNECT\naccept-v"}, {s.amqp, ""}, {s.web, ""}, {s.stomp, ""},
	}
	var all []net.Conn
	for i := range halfOpen {
		b := begun[i%len(begun)]
		conn, err := net.DialTimeout("tcp", b.at, patience)
		must(t, err)
		_, _ = io.WriteString(conn, b.say) // it may have been closed already
		all = append(all, conn)
	}
	return func() {
		for _, conn := range all {
			conn.Close()
		}
	}
}

// trickle keeps connections that say one byte of a header after the other.
func (s *site) trickle(ctx context.Context) {
	var all sync.WaitGroup
	for i := range trickling {
		at := []string{s.web, s.amqp, s.stomp, s.mqtt, s.nats, s.grpc, s.web}[i%7]
		all.Go(func() {
			conn, err := net.DialTimeout("tcp", at, patience)
			if err != nil {
				return
			}
			defer conn.Close()
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for _, b := range []byte("GET / HTTP/1.1\r\nX-Slow: " + strings.Repeat("s", 10000)) {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
			}
		})
	}
	all.Wait()
}

// floodHTTP tries a wrong password on a new connection.
func floodHTTP(_ context.Context, s *site) error {
	return s.expectHTTP("GET /v1/queues HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic YW5uOndyb25n\r\n\r\n", "401", "503")
}

// expectHTTP sends bytes on a new connection and wants one of these statuses, or none: whoever is cut has been refused too.
func (s *site) expectHTTP(bytes string, statuses ...string) error {
	conn, err := dial(s.web)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, bytes) // the answer may come before everything is sent
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return nil //nolint:nilerr // cut
	}
	for _, status := range statuses {
		if strings.HasPrefix(line, "HTTP/1.1 "+status) {
			return nil
		}
	}
	return fmt.Errorf("answered %q, want one of %v", line, statuses)
}

// floodAMQP tries a wrong password on a new connection.
func floodAMQP(_ context.Context, s *site) error {
	conn, err := dial(s.amqp)
	if err != nil {
		return err
	}
	defer conn.Close()
	return startOK(conn, nil, "\x00ann\x00wrong")
}

// startOK says hello with these properties and waits until it is refused.
func startOK(conn net.Conn, properties wire.Table, response string) error {
	if _, err := conn.Write(wire.ProtocolHeader[:]); err != nil {
		return err
	}
	frame := wire.AppendMethod(nil, 0, &wire.ConnectionStartOk{ClientProperties: properties, Mechanism: "PLAIN", Response: response, Locale: "en_US"})
	return sayAndLeave(conn, frame)
}

// deepTables sends tables in tables, deeper than anybody needs.
func deepTables(_ context.Context, s *site) error {
	conn, err := dial(s.amqp)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write(wire.ProtocolHeader[:]); err != nil {
		return err
	}
	return sayAndLeave(conn, deepStartOK(500))
}

// sayAndLeave sends bytes and listens for a moment only: there is more to attack.
func sayAndLeave(conn net.Conn, bytes []byte) error {
	_, _ = conn.Write(bytes) // it may have been cut
	err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1<<20)) // likewise
	return err
}

// deepStartOK is a connection.start-ok whose properties are so deep: too deep for our own encoder.
func deepStartOK(depth int) []byte {
	table := []byte{0, 0, 0, 0}
	for range depth {
		inner := append([]byte{1, 'a', 'F'}, table...)
		table = append([]byte{byte(len(inner) >> 24), byte(len(inner) >> 16), byte(len(inner) >> 8), byte(len(inner))}, inner...)
	}
	payload := append([]byte{0, 10, 0, 11}, table...)
	payload = append(payload, "\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US"...)
	n := len(payload)
	frame := append([]byte{1, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, payload...)
	return append(frame, 0xce)
}

// giantHeaders sends more header than there may be.
func giantHeaders(_ context.Context, s *site) error {
	return s.expectHTTP("GET / HTTP/1.1\r\nHost: x\r\nX-Giant: "+strings.Repeat("g", 1<<20)+"\r\n\r\n", "431", "400")
}

// tricks are paths that lead elsewhere in other places.
var tricks = [...]string{"/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd", "/portico.js/../../etc/passwd", "/%00", "/%5c..%5c..", "/./././.", "/%ff%fe", "/etc/passwd%00.html"}

// pathTricks asks for files that are none of its business.
func pathTricks(_ context.Context, s *site) error {
	for _, path := range tricks {
		if err := s.expectHTTP("GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "400", "404", "401", "30"); err != nil && path != "/./././." {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}
