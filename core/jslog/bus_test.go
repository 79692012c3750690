package jslog_test

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"portico/core/jslog"
	"portico/core/queue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bus is an embedded server and a way to get at the connections to it.
type bus struct {
	*server.Server
	dir string

	mu    sync.Mutex
	conns []*gate // in the order they were made
}

func startBus(tb testing.TB, dir string, change func(*server.Options)) *bus {
	tb.Helper()
	opts := &server.Options{
		ServerName: "test", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir,
		JetStreamMaxMemory: 1 << 20, JetStreamMaxStore: 4 << 30, MaxPayload: 2 << 20,
	}
	if change != nil {
		change(opts)
	}
	s, err := server.NewServer(opts)
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		tb.Fatal("server does not start")
	}
	b := &bus{Server: s, dir: dir}
	tb.Cleanup(b.stop)
	return b
}

func (b *bus) stop() {
	b.Shutdown()
	b.WaitForShutdown()
}

// InProcessConn makes a connection whose incoming side can be held up.
func (b *bus) InProcessConn() (net.Conn, error) {
	c, err := b.Server.InProcessConn()
	if err != nil {
		return nil, err
	}
	g := &gate{Conn: c}
	b.mu.Lock()
	b.conns = append(b.conns, g)
	b.mu.Unlock()
	return g, nil
}

// conn is the newest connection that carries appends: they are made in pairs, appends first, but reconnects are single.
func (b *bus) conn(i int) *gate {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conns[i]
}

func (b *bus) connCount() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

// gate is a connection that keeps what comes in to itself while shut.
type gate struct {
	net.Conn
	mu sync.Mutex
}

func (g *gate) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	return n, err
}

func (b *bus) connect(tb testing.TB) *nats.Conn {
	tb.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(b), nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	return nc
}

func (b *bus) store(tb testing.TB, opts jslog.Options) *jslog.Store {
	tb.Helper()
	if opts.Dir == "" {
		opts.Dir = b.dir
	}
	s, err := jslog.NewStore(b.connect(tb), opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func open(tb testing.TB, s *jslog.Store, name string) queue.Log {
	tb.Helper()
	l, err := s.Open(tb.Context(), name, map[string]string{"kind": "test"})
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

type result struct {
	n   int // which append
	seq uint64
	err error
}

// appendAll appends entries and returns what they were told, in the order in which that happened.
func appendAll(tb testing.TB, l queue.Log, entries ...[]byte) []result {
	tb.Helper()
	told := make(chan result, len(entries))
	for n, e := range entries {
		l.Append(e, func(seq uint64, err error) { told <- result{n, seq, err} })
	}
	results := make([]result, len(entries))
	for i := range results {
		select {
		case results[i] = <-told:
		case <-time.After(20 * time.Second):
			tb.Fatalf("append %d of %d was told nothing", i, len(entries))
		}
	}
	for i, r := range results {
		if r.n != i {
			tb.Fatalf("append %d was told in place %d", r.n, i)
		}
	}
	return results
}

// mustAppend appends entries and expects them from sequence number first on.
func mustAppend(tb testing.TB, l queue.Log, first uint64, entries ...[]byte) {
	tb.Helper()
	for i, r := range appendAll(tb, l, entries...) {
		if r.err != nil || r.seq != first+uint64(i) {
			tb.Fatalf("append %d: got %d, %v, want %d", i, r.seq, r.err, first+uint64(i))
		}
	}
}

// readAll reads to the end of the log.
func readAll(tb testing.TB, l queue.Log, maxBytes int) (all []queue.Entry, reads int) {
	tb.Helper()
	for from := uint64(0); ; reads++ {
		got, err := l.Read(tb.Context(), from, maxBytes)
		if err != nil {
			tb.Fatalf("read from %d: %v", from, err)
		}
		if len(got) == 0 {
			return all, reads
		}
		all = append(all, got...)
		from = got[len(got)-1].Seq + 1
	}
}

func seqs(entries []queue.Entry) []uint64 {
	var s []uint64
	for _, e := range entries {
		s = append(s, e.Seq)
	}
	return s
}

func numbered(n int) [][]byte {
	var entries [][]byte
	for i := range n {
		entries = append(entries, fmt.Appendf(nil, "entry %d", i+1))
	}
	return entries
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("never %s", what)
		}
		select {
		case <-tb.Context().Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}
