package audit_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"portico/core/audit"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, cfg audit.Config) *audit.Log {
	t.Helper()
	l, err := audit.Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func lines(t *testing.T, path string) (all []map[string]any) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		var one map[string]any
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

// TestRepeats: what is the same but for the port is told once, and how often it came in the end.
func TestRepeats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := open(t, audit.Config{File: path, Gather: time.Hour})
	for port := range 1000 {
		l.Record(audit.Event{Kind: audit.Refused, Door: "http", Remote: fmt.Sprintf("192.0.2.1:%d", port), User: "ann", Reason: "wrong password"})
	}
	l.Record(audit.Event{Kind: audit.Refused, Door: "http", Remote: "192.0.2.2:1", User: "ann", Reason: "wrong password"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := lines(t, path)
	if len(got) != 3 || got[0]["msg"] != "refused" || got[0]["remote"] != "192.0.2.1:0" || got[1]["remote"] != "192.0.2.2:1" || got[2]["repeated"] != 999.0 {
		t.Errorf("got %v", got)
	}
	if _, there := got[0]["level"]; there || got[0]["time"] == nil {
		t.Errorf("got %v, want a time and no level", got[0])
	}
	l.Record(audit.Event{Kind: audit.Login}) // is lost, and does no harm
}

// TestBounded: a flood of events that all differ fills so many files of such a size, and lines are whole.
func TestBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	l := open(t, audit.Config{File: path, MaxSize: 10 << 10, Keep: 2, Gather: time.Hour})
	for i := range 6000 {
		l.Record(audit.Event{Kind: audit.Denied, User: fmt.Sprint(i), Target: strings.Repeat("x", 1000)})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%d files, %v; want 3", len(entries), err)
	}
	for _, e := range entries {
		info, _ := e.Info()
		if info.Size() > 10<<10 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has %d bytes and mode %v", e.Name(), info.Size(), info.Mode())
		}
		lines(t, filepath.Join(dir, e.Name()))
	}
	if last := lines(t, path); last[len(last)-1]["user"] != "5999" {
		t.Errorf("the last line is %v", last[len(last)-1])
	}
}

// TestAppends: what a run before has written stays.
func TestAppends(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for range 2 {
		l := open(t, audit.Config{File: path})
		l.Record(audit.Event{Kind: audit.Login, User: "ann"})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := lines(t, path); len(got) != 2 {
		t.Errorf("got %v", got)
	}
}

func TestNone(t *testing.T) {
	l := open(t, audit.Config{})
	l.Record(audit.Event{Kind: audit.Login})
	if l != nil {
		t.Error("there is a log without a file")
	}
	if _, err := audit.Open(audit.Config{File: filepath.Join(t.TempDir(), "no", "folder")}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that cannot be made is no error")
	}
}
