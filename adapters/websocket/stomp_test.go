package websocket_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/adapters/websocket"
	"portico/adapters/websocket/stomp"
	"portico/core"
	"portico/core/coretest"

	gorilla "github.com/gorilla/websocket"
)

// openSTOMP opens the STOMP door on TCP for a gateway.
func openSTOMP(t *testing.T, g *core.Gateway, cfg websocket.STOMPConfig) (address string, stop func()) {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	door, err := websocket.NewSTOMP(cfg, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- door.Serve(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve does not return")
		}
	}
	t.Cleanup(stop)
	return door.Addr(), stop
}

// talker is a STOMP client that leaves everything to the test.
type talker struct {
	t    *testing.T
	conn net.Conn
	in   *stomp.Decoder
}

func talk(t *testing.T, conn net.Conn) *talker {
	t.Cleanup(func() { _ = conn.Close() })
	return &talker{t: t, conn: conn, in: stomp.NewDecoder(conn, stomp.Limits{Body: 64 << 20})}
}

func call(t *testing.T, address string) *talker {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return talk(t, conn)
}

// overWebSocket calls by a WebSocket.
func (d *doorway) overWebSocket() *talker {
	d.t.Helper()
	u := d.bore("/ws", "v10.stomp", "v11.stomp", "v12.stomp")
	if got := u.ws.Subprotocol(); got != "v12.stomp" {
		d.t.Errorf("subprotocol %q", got)
	}
	return talk(d.t, &frames{Conn: u.ws.NetConn(), ws: u.ws})
}

// frames makes a stream of a WebSocket.
type frames struct {
	net.Conn
	ws *gorilla.Conn
	r  io.Reader
}

func (f *frames) Read(p []byte) (int, error) {
	for {
		if f.r == nil {
			_, r, err := f.ws.NextReader()
			if gorilla.IsCloseError(err, gorilla.CloseNormalClosure, gorilla.CloseGoingAway) {
				err = io.EOF
			}
			if err != nil {
				return 0, err
			}
			f.r = r
		}
		n, err := f.r.Read(p)
		if err == io.EOF {
			f.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (f *frames) Write(p []byte) (int, error) {
	return len(p), f.ws.WriteMessage(gorilla.TextMessage, p)
}

func (c *talker) send(raw string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *talker) next() (*stomp.Frame, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	return c.in.Next()
}

// must returns the next frame, which must be this.
func (c *talker) must(command string) *stomp.Frame {
	c.t.Helper()
	f, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for %s: %v", command, err)
	}
	if f.Command != command {
		c.t.Fatalf("got %q, want %s", f, command)
	}
	return f
}

// login connects with a version and returns c.
func (c *talker) login(version string, more ...string) *talker {
	c.t.Helper()
	c.send("CONNECT\naccept-version:" + version + "\n" + strings.Join(more, "") + "\n\x00")
	c.must("CONNECTED")
	c.in.Speak(versions()[version])
	return c
}

// refused checks for the ERROR with this code, and that nothing comes behind it.
func (c *talker) refused(code core.Code) *stomp.Frame {
	c.t.Helper()
	f := c.must("ERROR")
	if got := f.Get("message"); got != code.String() {
		c.t.Errorf("ERROR %q %q, want %s", got, f.Body, code)
	}
	if more, err := c.next(); err != io.EOF {
		c.t.Errorf("behind the ERROR: %v, %v", more, err)
	}
	return f
}

// conversation is a golden file: ">>> COMMAND" begins a frame of the client, "<<< COMMAND" one of the server, "<<< END" the end. Headers, an empty line and the body follow. Expected headers
// must be there with their value; * is any value, {{name}} remembers it, or inserts it in what is sent.
type turn struct {
	client  bool
	command string
	headers []string
	body    string
}

func readConversation(t *testing.T, path string) (turns []turn) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	body := false
	for line := range strings.SplitSeq(strings.TrimSpace(string(raw)), "\n") {
		mark, rest, _ := strings.Cut(line, " ")
		switch last := len(turns) - 1; {
		case mark == ">>>" || mark == "<<<":
			turns, body = append(turns, turn{client: mark == ">>>", command: rest}), false
		case last < 0:
		case body:
			turns[last].body += line
		case line == "":
			body = true
		default:
			turns[last].headers = append(turns[last].headers, line)
		}
	}
	return turns
}

// play holds a conversation. Frames of the server may come in another order than they are expected in.
func (c *talker) play(turns []turn) {
	c.t.Helper()
	known, back := map[string]string{}, []*stomp.Frame(nil)
	for i, x := range turns {
		switch {
		case x.client:
			head := strings.Join(append([]string{x.command}, x.headers...), "\n")
			for name, value := range known {
				head = strings.ReplaceAll(head, "{{"+name+"}}", value)
			}
			c.send(head + "\n\n" + x.body + "\x00")
		case x.command == "END":
			if f, err := c.next(); err != io.EOF || len(back) > 0 {
				c.t.Fatalf("turn %d: %q, %v, and before it %s, want the end", i, f, err, shown(back))
			}
		default:
			back = c.expect(i, x, back, known)
		}
	}
}

// expect waits for a frame that is as x has it; those that are not are added to back.
func (c *talker) expect(i int, x turn, back []*stomp.Frame, known map[string]string) []*stomp.Frame {
	c.t.Helper()
	for at := 0; ; at++ {
		if at == len(back) {
			f, err := c.next()
			if err != nil {
				c.t.Fatalf("turn %d, waiting for %v: %v; came %s", i, x, err, shown(back))
			}
			if f.Command == "CONNECTED" {
				c.in.Speak(versions()[f.Get("version")])
			}
			back = append(back, f)
		}
		if x.matches(back[at]) {
			for _, h := range x.headers {
				if name, value, _ := strings.Cut(h, ":"); strings.HasPrefix(value, "{{") {
					known[strings.Trim(value, "{}")] = back[at].Get(name)
				}
			}
			return slices.Delete(back, at, at+1)
		}
	}
}

func shown(all []*stomp.Frame) string {
	var b []byte
	for _, f := range all {
		b = append(stomp.AppendFrame(b, stomp.V12, f), '\n')
	}
	return string(b)
}

func (x turn) matches(f *stomp.Frame) bool {
	if f.Command != x.command || x.command != "ERROR" && string(f.Body) != x.body {
		return false
	}
	unescape := strings.NewReplacer(`\\`, `\`, `\c`, ":")
	for _, want := range x.headers {
		name, value, _ := strings.Cut(want, ":")
		got, there := f.Lookup(name)
		if !there || value != "*" && !strings.HasPrefix(value, "{{") && got != value && got != unescape.Replace(value) {
			return false
		}
	}
	return true
}

func versions() map[string]stomp.Version {
	return map[string]stomp.Version{"1.0": stomp.V10, "1.1": stomp.V11, "1.2": stomp.V12}
}

func TestSTOMPConversations(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "stomp", "*.txt"))
	if err != nil || len(files) < 5 {
		t.Fatalf("conversations: %v, %v", files, err)
	}
	for _, file := range files {
		turns := readConversation(t, file)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/tcp", func(t *testing.T) {
			address, _ := openSTOMP(t, coretest.Start(t), websocket.STOMPConfig{})
			call(t, address).play(turns)
		})
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/websocket", func(t *testing.T) {
			open(t, websocket.Config{}).overWebSocket().play(turns)
		})
	}
}

// TestSTOMPRefusals: what breaks a rule is answered by an ERROR that says which kind of rule, and the end.
func TestSTOMPRefusals(t *testing.T) {
	address, _ := openSTOMP(t, coretest.Start(t), websocket.STOMPConfig{})
	for name, c := range map[string]struct {
		version, send string
		code          core.Code
	}{
		"before CONNECT":                      {"", "SEND\ndestination:/queue/a\n\n\x00", core.CodeInvalid},
		"unknown version":                     {"", "CONNECT\naccept-version:2.0\n\n\x00", core.CodeInvalid},
		"bad heart-beat":                      {"", "CONNECT\naccept-version:1.2\nheart-beat:1\n\n\x00", core.CodeInvalid},
		"wrong password":                      {"", "CONNECT\naccept-version:1.2\nlogin:guest\npasscode:no\n\n\x00", core.CodeUnauthenticated},
		"CONNECT twice":                       {"1.2", "CONNECT\naccept-version:1.2\n\n\x00", core.CodeInvalid},
		"a server's frame":                    {"1.2", "MESSAGE\n\n\x00", core.CodeInvalid},
		"no frame":                            {"1.2", "HELLO\n\n\x00", core.CodeInvalid},
		"no destination":                      {"1.2", "SEND\n\n\x00", core.CodeInvalid},
		"foreign destination":                 {"1.2", "SEND\ndestination:/jobs\n\n\x00", core.CodeInvalid},
		"too many slashes":                    {"1.2", "SEND\ndestination:/queue/a/b\n\n\x00", core.CodeInvalid},
		"SEND to a temporary queue":           {"1.2", "SEND\ndestination:/temp-queue/a\n\n\x00", core.CodeInvalid},
		"SEND to a queue that is not there":   {"1.2", "SEND\ndestination:/amq/queue/missing\n\n\x00", core.CodeNotFound},
		"SEND with a wildcard":                {"1.2", "SEND\ndestination:/topic/a.b\npriority:many\n\n\x00", core.CodeInvalid},
		"SEND to the bus's own":               {"1.2", "SEND\ndestination:/reply-queue/_INBOX.*\n\n\x00", core.CodeInvalid},
		"header that cannot travel":           {"1.2", "SEND\ndestination:/topic/a\nx y:1\n\n\x00", core.CodeInvalid},
		"value of two lines":                  {"1.2", "SEND\ndestination:/topic/a\nx:1\\n2\n\n\x00", core.CodeInvalid},
		"no id":                               {"1.1", "SUBSCRIBE\ndestination:/queue/a\n\n\x00", core.CodeInvalid},
		"id twice":                            {"1.2", strings.Repeat("SUBSCRIBE\nid:1\ndestination:/queue/a\n\n\x00", 2), core.CodePreconditionFailed},
		"selector":                            {"1.2", "SUBSCRIBE\nid:1\ndestination:/queue/a\nselector:a = 1\n\n\x00", core.CodeUnimplemented},
		"unknown ack":                         {"1.2", "SUBSCRIBE\nid:1\ndestination:/queue/a\nack:maybe\n\n\x00", core.CodeInvalid},
		"prefetch-count":                      {"1.2", "SUBSCRIBE\nid:1\ndestination:/queue/a\nprefetch-count:-1\n\n\x00", core.CodeInvalid},
		"flag":                                {"1.2", "SUBSCRIBE\nid:1\ndestination:/queue/a\ndurable:yes\n\n\x00", core.CodeInvalid},
		"SUBSCRIBE to a temporary queue":      {"1.2", "SUBSCRIBE\nid:1\ndestination:/temp-queue/a\n\n\x00", core.CodeInvalid},
		"SUBSCRIBE to one that is not there":  {"1.2", "SUBSCRIBE\nid:1\ndestination:/amq/queue/missing\n\n\x00", core.CodeNotFound},
		"other arguments":                     {"1.2", "SEND\ndestination:/queue/o\n\n\x00SEND\ndestination:/queue/o\nx-max-length:3\n\n\x00", core.CodePreconditionFailed},
		"unknown queue type":                  {"1.2", "SEND\ndestination:/queue/u\nx-queue-type:magic\n\n\x00", core.CodeInvalid},
		"UNSUBSCRIBE of nothing":              {"1.2", "UNSUBSCRIBE\nid:9\n\n\x00", core.CodeNotFound},
		"ACK without id":                      {"1.2", "ACK\nmessage-id:1\n\n\x00", core.CodeInvalid},
		"ACK without message-id":              {"1.1", "ACK\nid:1\n\n\x00", core.CodeInvalid},
		"ACK of another session":              {"1.2", "ACK\nid:OTHERSESSION-1\n\n\x00", core.CodeNotFound},
		"NACK in 1.0":                         {"1.0", "NACK\nmessage-id:1\n\n\x00", core.CodeInvalid},
		"COMMIT of nothing":                   {"1.2", "COMMIT\ntransaction:t\n\n\x00", core.CodeNotFound},
		"ABORT without name":                  {"1.2", "ABORT\n\n\x00", core.CodeInvalid},
		"BEGIN twice":                         {"1.2", strings.Repeat("BEGIN\ntransaction:t\n\n\x00", 2), core.CodePreconditionFailed},
		"SEND in a transaction that is not":   {"1.2", "SEND\ndestination:/queue/a\ntransaction:t\n\n\x00", core.CodeNotFound},
		"escape that is none":                 {"1.2", "SEND\ndestination:/queue/a\nx:\\t\n\n\x00", core.CodeInvalid},
		"carriage return as an escape in 1.1": {"1.1", "SEND\ndestination:/queue/a\nx:\\r\n\n\x00", core.CodeInvalid},
		"too large":                           {"1.2", "SEND\ndestination:/queue/a\ncontent-length:99999999\n\n", core.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			x := call(t, address)
			if c.version != "" {
				x.login(c.version)
			}
			x.send(c.send)
			x.refused(c.code)
		})
	}
}

func TestSTOMPErrorNamesTheReceipt(t *testing.T) {
	address, _ := openSTOMP(t, coretest.Start(t), websocket.STOMPConfig{})
	c := call(t, address).login("1.2")
	c.send("SEND\ndestination:/amq/queue/missing\nreceipt:r7\n\n\x00")
	f := c.refused(core.CodeNotFound)
	if f.Get("receipt-id") != "r7" || !bytes.Contains(f.Body, []byte("missing")) {
		t.Errorf("ERROR %q", f)
	}
}

func TestSTOMPPermissions(t *testing.T) {
	g := coretest.Start(t, coretest.Users(core.User{Name: "ann", Password: "secret", Publish: []string{"orders.>", "$queue.in"}, Subscribe: []string{"orders.>", "$queue.out"}}))
	address, _ := openSTOMP(t, g, websocket.STOMPConfig{})
	if _, _, err := g.System().DeclareQueue(t.Context(), core.QueueConfig{Name: "in"}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		send string
		code core.Code
		ok   bool
	}{
		"publish":               {"SEND\ndestination:/topic/orders.new\nreceipt:1\n\n\x00", 0, true},
		"publish elsewhere":     {"SEND\ndestination:/topic/secret\nreceipt:1\n\n\x00", core.CodePermissionDenied, false},
		"listen":                {"SUBSCRIBE\nid:1\ndestination:/topic/orders.#\nreceipt:1\n\n\x00", 0, false},
		"listen below":          {"SUBSCRIBE\nid:1\ndestination:/exchange/orders/eu.*\nreceipt:1\n\n\x00", 0, true},
		"listen elsewhere":      {"SUBSCRIBE\nid:1\ndestination:/topic/secret\nreceipt:1\n\n\x00", core.CodePermissionDenied, false},
		"listen by a queue":     {"SUBSCRIBE\nid:1\ndestination:/topic/orders.a\nx-queue-name:mine\nreceipt:1\n\n\x00", core.CodePermissionDenied, false},
		"append":                {"SEND\ndestination:/queue/in\nreceipt:1\n\n\x00", 0, true},
		"append elsewhere":      {"SEND\ndestination:/queue/out\nreceipt:1\n\n\x00", core.CodePermissionDenied, false},
		"consume":               {"SUBSCRIBE\nid:1\ndestination:/queue/out\nreceipt:1\n\n\x00", 0, true},
		"consume elsewhere":     {"SUBSCRIBE\nid:1\ndestination:/queue/in\nreceipt:1\n\n\x00", core.CodePermissionDenied, false},
		"the bus's own subject": {"SEND\ndestination:/reply-queue/_INBOX\nreceipt:1\n\n\x00", core.CodePermissionDenied, false},
	} {
		t.Run(name, func(t *testing.T) {
			x := call(t, address).login("1.2", "login:ann\n", "passcode:secret\n")
			x.send(c.send)
			switch {
			case c.ok:
				x.must("RECEIPT")
			case c.code != 0:
				x.refused(c.code)
			default:
				x.refused(core.CodePermissionDenied) // orders itself is matched, too, and not allowed
			}
		})
	}
	x := call(t, address)
	x.send("CONNECT\naccept-version:1.2\n\n\x00")
	x.refused(core.CodeUnauthenticated)
}

// TestSTOMPReturnsWhatIsNotAcknowledged: a connection that is lost gives everything back, in order.
func TestSTOMPReturnsWhatIsNotAcknowledged(t *testing.T) {
	address, _ := openSTOMP(t, coretest.Start(t), websocket.STOMPConfig{})
	a := call(t, address).login("1.2")
	for i := range 5 {
		a.send(fmt.Sprintf("SEND\ndestination:/queue/r\n\n%d\x00", i))
	}
	a.send("SUBSCRIBE\nid:1\ndestination:/queue/r\nack:client\nprefetch-count:3\n\n\x00")
	for range 3 {
		a.must("MESSAGE")
	}
	_ = a.conn.Close()
	b := call(t, address).login("1.2")
	b.send("SUBSCRIBE\nid:1\ndestination:/queue/r\nack:client\nprefetch-count:10\n\n\x00")
	got := map[string]string{}
	order := ""
	for len(got) < 5 {
		f := b.must("MESSAGE")
		got[string(f.Body)] = f.Get("redelivered")
		order += string(f.Body)
	}
	want := map[string]string{"0": "true", "1": "true", "2": "true", "3": "false", "4": "false"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("redelivered: %v, want %v (came as %s)", got, want, order)
	}
}

func TestSTOMPHeartBeats(t *testing.T) {
	address, _ := openSTOMP(t, coretest.Start(t), websocket.STOMPConfig{})
	c := call(t, address)
	c.send("CONNECT\naccept-version:1.2\nheart-beat:1000,100\n\n\x00")
	c.must("CONNECTED")
	_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	began := time.Now()
	one := make([]byte, 1)
	if _, err := io.ReadFull(c.conn, one); err != nil || one[0] != '\n' || time.Since(began) > 10*time.Second {
		t.Errorf("heard %q after %s, %v, want a line end, in about a second", one, time.Since(began), err)
	}
	c.refused(core.CodeTimeout) // we are silent
	if d := time.Since(began); d < 1500*time.Millisecond || d > 20*time.Second {
		t.Errorf("taken for dead after %s, want about 2 s", d)
	}
}

// TestSTOMPDrains: what is under way is answered, then an ERROR says that the gateway stops.
func TestSTOMPDrains(t *testing.T) {
	g := coretest.Start(t)
	address, stop := openSTOMP(t, g, websocket.STOMPConfig{})
	d := open(t, websocket.Config{})
	for name, c := range map[string]struct {
		client *talker
		stop   func()
	}{"tcp": {call(t, address), stop}, "websocket": {d.overWebSocket(), d.stop}} {
		t.Run(name, func(t *testing.T) {
			x := c.client.login("1.2")
			x.send("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client\nreceipt:1\n\n\x00")
			x.must("RECEIPT")
			ended := make(chan struct{})
			go func() { c.stop(); close(ended) }()
			x.refused(core.CodeUnavailable)
			<-ended
		})
	}
}

// TestSTOMPSlowSubscriber: a client that reads nothing costs no more than its bound and holds nobody up.
func TestSTOMPSlowSubscriber(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.QueueMemory = 64 << 20 })
	address, _ := openSTOMP(t, g, websocket.STOMPConfig{})
	slow := call(t, address).login("1.2")
	slow.send("SUBSCRIBE\nid:1\ndestination:/topic/fast.#\nreceipt:1\n\n\x00")
	slow.must("RECEIPT")
	body := strings.Repeat("x", 100_000)
	c := call(t, address).login("1.2")
	for range 600 { // 60 MB: more than everything that may wait
		c.send("SEND\ndestination:/topic/fast.a\n\n" + body + "\x00")
	}
	c.send("DISCONNECT\nreceipt:done\n\n\x00")
	c.must("RECEIPT")
	var waiting int64
	for _, q := range g.System().Queues() {
		stats, err := q.Stats()
		if err != nil {
			t.Fatal(err)
		}
		waiting += stats.Bytes
	}
	if waiting > 17<<20 {
		t.Errorf("%d bytes wait for one slow subscriber", waiting)
	}
}

// TestSTOMPTemporaryQueuesGo: nothing is left of a subscription to subjects when its session ends.
func TestSTOMPTemporaryQueuesGo(t *testing.T) {
	g := coretest.Start(t)
	address, _ := openSTOMP(t, g, websocket.STOMPConfig{})
	c := call(t, address).login("1.2")
	for i := range 20 {
		c.send(fmt.Sprintf("SUBSCRIBE\nid:%d\ndestination:/topic/t.%d\nreceipt:1\n\n\x00", i, i))
		c.must("RECEIPT")
	}
	if n := len(g.System().Queues()); n != 20 {
		t.Errorf("%d queues, want 20", n)
	}
	c.send("UNSUBSCRIBE\nid:0\nreceipt:u\n\n\x00")
	c.must("RECEIPT")
	if n := len(g.System().Queues()); n != 19 {
		t.Errorf("%d queues after UNSUBSCRIBE, want 19", n)
	}
	_ = c.conn.Close()
	eventually(t, "the queues go", func() bool { return len(g.System().Queues()) == 0 })
}

// TestSTOMPDurableTopic: a subscription by a named durable queue misses nothing while its client is away.
func TestSTOMPDurableTopic(t *testing.T) {
	g := coretest.Start(t)
	address, _ := openSTOMP(t, g, websocket.STOMPConfig{})
	subscribe := "SUBSCRIBE\nid:d\ndestination:/topic/news.*\ndurable:true\nauto-delete:false\nack:client-individual\nreceipt:1\n\n\x00"
	a := call(t, address).login("1.2")
	a.send(subscribe)
	a.must("RECEIPT")
	_ = a.conn.Close()
	b := call(t, address).login("1.2")
	b.send("SEND\ndestination:/topic/news.today\nreceipt:2\n\nwhile away\x00")
	b.must("RECEIPT")
	b.send(subscribe)
	b.must("RECEIPT")
	if f := b.must("MESSAGE"); string(f.Body) != "while away" {
		t.Errorf("got %q", f)
	}
	b.send("UNSUBSCRIBE\nid:d\ndurable:true\nreceipt:3\n\n\x00")
	b.must("RECEIPT")
	if left := g.System().Queues(); len(left) > 0 {
		t.Errorf("%d queues are left", len(left))
	}
}

// TestSTOMPWebSocketKinds: frames of the client may be cut as it likes; each of the server's is a message of its own, text if it can be.
func TestSTOMPWebSocketKinds(t *testing.T) {
	d := open(t, websocket.Config{})
	u := d.bore("/stomp")
	u.send(gorilla.TextMessage, "CONN")
	u.send(gorilla.BinaryMessage, "ECT\naccept-version:1.2\n\n\x00")
	u.send(gorilla.TextMessage, "SUBSCRIBE\nid:1\ndestination:/queue/k\n\n\x00SEND\ndestination:/queue/k\n\ntext\x00")
	u.send(gorilla.BinaryMessage, "SEND\ndestination:/queue/k\ncontent-length:2\n\n\xff\x00\x00")
	for i, want := range []int{gorilla.TextMessage, gorilla.TextMessage, gorilla.BinaryMessage} {
		_ = u.ws.SetReadDeadline(time.Now().Add(10 * time.Second))
		kind, b, err := u.ws.ReadMessage()
		if err != nil || kind != want || bytes.Count(b, []byte("\n\n")) != 1 {
			t.Errorf("message %d: kind %d, %q, %v, want one frame of kind %d", i, kind, b, err, want)
		}
	}
}

// TestSTOMPRefusedSubscriptionLeavesNothing: the queue of a subscription that does not come to be is not left behind.
func TestSTOMPRefusedSubscriptionLeavesNothing(t *testing.T) {
	g := coretest.Start(t)
	address, _ := openSTOMP(t, g, websocket.STOMPConfig{})
	for name, header := range map[string]string{"offset": "x-stream-offset:soon", "priority": "x-priority:high", "auto ack of a stream": "durable:true\nauto-delete:false\nx-queue-type:stream"} {
		t.Run(name, func(t *testing.T) {
			c := call(t, address).login("1.2")
			c.send("SUBSCRIBE\nid:1\ndestination:/topic/a\n" + header + "\n\n\x00")
			c.must("ERROR")
			for _, q := range g.System().Queues() {
				if !q.Config().Durable {
					t.Errorf("%s is left", q.Name())
				}
			}
		})
	}
}

// TestSTOMPStream: a stream is read from where the client says, as often as it likes.
func TestSTOMPStream(t *testing.T) {
	address, _ := openSTOMP(t, coretest.Start(t), websocket.STOMPConfig{})
	c := call(t, address).login("1.2")
	for i := range 3 {
		c.send(fmt.Sprintf("SEND\ndestination:/queue/log\nx-queue-type:stream\nreceipt:%d\n\n%d\x00", i, i))
		c.must("RECEIPT")
	}
	for id, want := range map[string][]string{"first": {"0", "1", "2"}, "offset=1": {"1", "2"}} {
		c.send("SUBSCRIBE\nid:" + strings.ReplaceAll(id, "=", "-") + "\ndestination:/queue/log\nack:client\nprefetch-count:10\nx-stream-offset:" + id + "\n\n\x00")
		for _, body := range want {
			f := c.must("MESSAGE")
			if string(f.Body) != body {
				t.Errorf("from %s: got %q, want %q", id, f.Body, body)
			}
			c.send("ACK\nid:" + f.Get("ack") + "\n\n\x00")
		}
	}
}

// TestSTOMPInexactPattern: the bus knows no # in the middle, so its pattern brings more than the client asked for; that is settled and not shown.
func TestSTOMPInexactPattern(t *testing.T) {
	g := coretest.Start(t)
	address, _ := openSTOMP(t, g, websocket.STOMPConfig{})
	c := call(t, address).login("1.2")
	c.send("SUBSCRIBE\nid:1\ndestination:/topic/a.#.z\nack:client\nprefetch-count:2\nreceipt:1\n\n\x00")
	c.must("RECEIPT")
	for _, key := range []string{"a.1", "a.2", "a.3", "a.4", "a.x.z"} {
		c.send("SEND\ndestination:/topic/" + key + "\n\n" + key + "\x00")
	}
	if f := c.must("MESSAGE"); string(f.Body) != "a.x.z" {
		t.Errorf("got %q", f.Body)
	}
}

// TestSTOMPQueueGoes: a subscriber whose queue is deleted is told.
func TestSTOMPQueueGoes(t *testing.T) {
	g := coretest.Start(t)
	address, _ := openSTOMP(t, g, websocket.STOMPConfig{})
	c := call(t, address).login("1.2")
	c.send("SUBSCRIBE\nid:1\ndestination:/queue/q\nreceipt:1\n\n\x00")
	c.must("RECEIPT")
	if _, err := g.System().DeleteQueue(t.Context(), "q"); err != nil {
		t.Fatal(err)
	}
	c.refused(core.CodeNotFound)
}

// TestSTOMPBasicLogin: over WebSocket the request's credentials count where CONNECT has none.
func TestSTOMPBasicLogin(t *testing.T) {
	d := open(t, websocket.Config{}, coretest.Users(core.User{Name: "ann", Password: "secret"}))
	for name, c := range map[string]struct {
		password, connect string
		welcome           bool
	}{
		"by the request": {"secret", "", true}, "wrong": {"no", "", false}, "CONNECT counts": {"secret", "login:ann\npasscode:no\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			as("ann", c.password)(h)
			ws, res, err := d.tryBore("/ws", h, "v12.stomp")
			if err != nil {
				t.Fatalf("%v %v", err, res)
			}
			x := talk(t, &frames{Conn: ws.NetConn(), ws: ws})
			x.send("CONNECT\naccept-version:1.2\n" + c.connect + "\n\x00")
			if c.welcome {
				x.must("CONNECTED")
			} else {
				x.refused(core.CodeUnauthenticated)
			}
		})
	}
}

// TestSTOMPSlowAnswers: answers that nobody reads end the session that asked for them, when its bound is reached.
func TestSTOMPSlowAnswers(t *testing.T) {
	g := coretest.Start(t)
	address, _ := openSTOMP(t, g, websocket.STOMPConfig{})
	inbox := make(chan string, 1)
	sub, err := g.System().Subscribe("ask", "", func(m *core.Message) { inbox <- m.Reply })
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	c := call(t, address).login("1.2")
	c.send("SEND\ndestination:/topic/ask\nreply-to:/temp-queue/a\n\n\x00")
	to, body := <-inbox, bytes.Repeat([]byte("x"), 1<<20)
	for range 40 {
		if _, err := g.System().Publish(t.Context(), &core.Message{Subject: to, Data: body}); err != nil && core.AsError(err).Code != core.CodeNoResponders {
			t.Fatal(err)
		}
	}
	for n := 0; ; n++ {
		f, err := c.next()
		switch {
		case err != nil:
			t.Fatalf("after %d answers: %v", n, err)
		case f.Command == "MESSAGE" && n < 40:
			continue
		case f.Command != "ERROR" || f.Get("message") != core.CodeSlowConsumer.String():
			t.Fatalf("after %d answers %s %q", n, f.Command, f.Get("message"))
		}
		return
	}
}

// TestSTOMPNothingIsLost: consumers that come and go, cut in the middle of anything, see to it together that every message is done, and none is done twice.
func TestSTOMPNothingIsLost(t *testing.T) {
	const messages, workers = 1500, 6
	g := coretest.Start(t)
	address, _ := openSTOMP(t, g, websocket.STOMPConfig{})
	var mu sync.Mutex
	done := map[string]int{}
	var all sync.WaitGroup
	for w := range workers {
		over := func() bool { mu.Lock(); defer mu.Unlock(); return len(done) == messages }
		did := func(body string) { mu.Lock(); defer mu.Unlock(); done[body]++ }
		all.Go(func() { toil(t, address, rand.New(rand.NewPCG(7, uint64(w))), over, did) })
	}
	p := call(t, address).login("1.2")
	for i := range messages {
		p.send(fmt.Sprintf("SEND\ndestination:/queue/toil\n\n%d\x00", i))
	}
	p.send("DISCONNECT\nreceipt:all\n\n\x00")
	p.must("RECEIPT")
	all.Wait()
	if len(done) != messages {
		t.Errorf("%d of %d messages were done", len(done), messages)
	}
	for body, n := range done {
		if n != 1 {
			t.Errorf("%s was done %d times", body, n)
		}
	}
	if q := g.System().Lookup("toil"); q != nil {
		eventually(t, "nothing is left", func() bool { s, err := q.Stats(); return err == nil && s.Ready == 0 && s.Unacked == 0 })
	}
}

// toil works until over: each session settles some messages and is cut with others in hand, when it has a receipt for each that it settled.
func toil(t *testing.T, address string, r *rand.Rand, over func() bool, did func(string)) {
	for limit := time.Now().Add(60 * time.Second); !over() && time.Now().Before(limit); {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "CONNECT\naccept-version:1.2\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/toil\nack:client-individual\nprefetch-count:20\n\n\x00")
		shift(t, conn, r, did)
		_ = conn.Close()
	}
}

// shift is one session of toil.
func shift(t *testing.T, conn net.Conn, r *rand.Rand, did func(string)) {
	in := stomp.NewDecoder(conn, stomp.Limits{Body: 1 << 20})
	settled := map[string]string{} // bodies by receipt; "" for what was refused
	for left := 20 + r.IntN(150); left > 0 || len(settled) > 0; {
		patience := time.Second // there may be no more messages
		if len(settled) > 0 {
			patience = 20 * time.Second // but there must be receipts
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		f, err := in.Next()
		if err != nil && len(settled) > 0 {
			t.Errorf("no receipt for %v: %v", settled, err)
		}
		if err != nil {
			return
		}
		id := f.Get("ack")
		switch {
		case f.Command == "CONNECTED":
			in.Speak(stomp.V12)
		case f.Command == "MESSAGE" && left > 0:
			left--
			verb, body := "ACK", string(f.Body)
			if r.IntN(10) == 0 {
				verb, body = "NACK", ""
			}
			settled[id] = body
			_, _ = fmt.Fprintf(conn, "%s\nid:%s\nreceipt:%s\n\n\x00", verb, id, id)
		case f.Command == "RECEIPT":
			id = f.Get("receipt-id")
			if settled[id] != "" {
				did(settled[id])
			}
			delete(settled, id)
		case f.Command != "MESSAGE":
			t.Errorf("got %s %q", f.Command, f.Body)
		}
	}
}
