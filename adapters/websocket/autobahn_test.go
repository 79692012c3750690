package websocket

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/core/coretest"

	"github.com/gorilla/websocket"
)

// echo is the door with another reader behind its framing: what comes goes back.
type echo struct{ *Adapter }

// ServeHTTP implements http.Handler.
func (e echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := newConn(e.Adapter, r, nil)
	if !e.admit(w, c, r.RemoteAddr) {
		return
	}
	defer e.dismiss(c, r.RemoteAddr)
	u := e.upgrader
	u.Subprotocols = nil
	c.deflate = offersDeflate(r.Header)
	u.EnableCompression = c.deflate
	ws, err := u.Upgrade(&hijacker{w, c.attach, c.unread}, r, nil)
	if err != nil {
		return
	}
	c.ws, c.wire = ws, &echoWire{}
	c.open()
	go c.write()
	c.end(c.repeat())
}

// repeat sends back what comes, of either kind.
func (c *conn) repeat() error {
	for {
		if err := c.out.Room(c.ctx); err != nil {
			return err
		}
		kind, in, release, err := c.next()
		if err != nil {
			return err
		}
		op := map[int]string{websocket.TextMessage: "text", websocket.BinaryMessage: "binary"}[kind]
		c.send(answer{Op: op, payload: bytes.Clone(in.Bytes())})
		release()
	}
}

// echoWire writes payloads as they are. The writer owns it.
type echoWire struct {
	jsonWire
	is int
}

func (w *echoWire) kind() int { return w.is }

func (w *echoWire) answer(dst []byte, a *answer) []byte {
	w.is = map[string]int{"text": websocket.TextMessage, "binary": websocket.BinaryMessage}[a.Op]
	return append(dst, a.payload...)
}

// TestAutobahn plays the Autobahn suite, a client that breaks every rule of RFC 6455 in turn, against the door's framing. Without E2E=long the groups that take long (9: large messages,
// 12 and 13: compression at length) are represented by a few.
func TestAutobahn(t *testing.T) {
	program, err := exec.LookPath("wstest")
	if err != nil {
		t.Skip("there is no wstest: what PyPI has (autobahntestsuite 25.10.1) is for a Python 2 that Debian no longer has, so that it is not asked for in CI either")
	}
	a, err := New(Config{Compression: true}, coretest.Start(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(echo{a})
	defer server.Close()
	dir, limit := t.TempDir(), 100*time.Second
	cases := []string{"1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.2.1", "9.3.1", "9.5.1", "9.7.1", "10.*", "12.1.1", "12.2.3", "13.1.1"}
	if os.Getenv("E2E") == "long" {
		cases, limit = []string{"*"}, 30*time.Minute
	}
	spec, err := json.Marshal(map[string]any{
		"outdir": filepath.Join(dir, "out"), "servers": []any{map[string]any{"agent": "portico", "url": "ws" + strings.TrimPrefix(server.URL, "http")}},
		"cases": cases, "exclude-cases": []string{}, "exclude-agent-cases": map[string]any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "spec.json")
	if err := os.WriteFile(file, spec, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-m", "fuzzingclient", "-s", file)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out[max(0, len(out)-2000):])
	}
	judge(t, filepath.Join(dir, "out", "index.json"))
}

// judge reads the suite's report.
func judge(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report map[string]map[string]struct{ Behavior, BehaviorClose string }
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	groups, n := map[string]map[string]int{}, 0
	for name, c := range report["portico"] {
		group, _, _ := strings.Cut(name, ".")
		if groups[group] == nil {
			groups[group] = map[string]int{}
		}
		groups[group][c.Behavior]++
		n++
		for _, got := range []string{c.Behavior, c.BehaviorClose} {
			if got != "OK" && got != "INFORMATIONAL" && got != "NON-STRICT" {
				t.Errorf("case %s: %s, closing %s", name, c.Behavior, c.BehaviorClose)
			}
		}
	}
	if n < 200 {
		t.Errorf("%d cases were played", n)
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		t.Log(fmt.Sprintf("group %s: ", group), groups[group])
	}
}
