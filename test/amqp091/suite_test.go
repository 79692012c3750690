// Package amqp091 runs the integration tests that ship with the amqp091-go client against a gateway: whoever passes them on RabbitMQ should not notice a difference here.
package amqp091

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"portico/adapters/amqp"
	"portico/core"
	"portico/core/coretest"
)

// needsManagement begins the names of the tests that drop connections over RabbitMQ's management port; they are not run.
const needsManagement = "TestConnectionRecovery"

func TestClientSuite(t *testing.T) {
	if testing.Short() {
		t.Skip("runs another module's tests, half a minute or more")
	}
	dir := copyModule(t, "github.com/rabbitmq/amqp091-go")
	results := runSuite(t, dir, openDoor(t))
	for _, name := range slices.Sorted(maps.Keys(results)) {
		switch r := results[name]; r.action {
		case "fail":
			t.Errorf("%s:\n%s", name, r.output.String())
		case "skip":
			t.Logf("%s: skipped by itself", name)
		}
	}
	if n := len(results); n < 60 {
		t.Errorf("only %d tests ran", n)
	}
}

// openDoor starts a gateway with an AMQP door and returns its URL.
func openDoor(t *testing.T) string {
	t.Helper()
	g := coretest.Start(t)
	g.Translate(core.FormAMQP, amqp.Translator{})
	a, err := amqp.New(amqp.Config{Listen: "127.0.0.1:0"}, g, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "amqp://guest:guest@" + a.Addr() + "/"
}

// copyModule copies a module out of the read-only cache and returns where it is.
func copyModule(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("find %s: %v", module, err)
	}
	dir := t.TempDir()
	src := os.DirFS(strings.TrimSpace(string(out)))
	err = fs.WalkDir(src, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() && path != "." && strings.HasPrefix(e.Name(), "_") {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(dir, path), 0o755)
		}
		b, err := fs.ReadFile(src, path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path), b, 0o644)
	})
	if err != nil {
		t.Fatalf("copy %s: %v", module, err)
	}
	return dir
}

type result struct {
	action string
	output bytes.Buffer
}

// runSuite runs the tests in dir and returns their results by name, without subtests.
func runSuite(t *testing.T, dir, url string) map[string]*result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-tags", "integration", "-count=1", "-timeout=4m", "-skip", "^"+needsManagement, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AMQP_URL="+url, "GOFLAGS=-mod=mod")
	var all bytes.Buffer
	cmd.Stdout, cmd.Stderr = &all, &all
	runErr := cmd.Run()
	results := map[string]*result{}
	lines := bufio.NewScanner(bytes.NewReader(all.Bytes()))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Test == "" || strings.Contains(e.Test, "/") {
			continue
		}
		r := results[e.Test]
		if r == nil {
			r = &result{}
			results[e.Test] = r
		}
		switch e.Action {
		case "pass", "fail", "skip":
			r.action = e.Action
		case "output":
			r.output.WriteString(e.Output)
		}
	}
	for name, r := range results {
		if r.action == "" {
			t.Errorf("%s did not end:\n%s", name, r.output.String())
		}
	}
	if len(results) == 0 {
		t.Fatalf("the suite did not run: %v\n%s", runErr, all.String())
	}
	return results
}
