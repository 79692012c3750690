// Package gateway starts the real program for tests, as a process of its own on free ports.
package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 30 * time.Second // on a machine that is busy with other tests
	stopTimeout  = 30 * time.Second
)

// Gateway is a running gateway.
type Gateway struct {
	Doors map[string]string // address by door, as the gateway told it: "HTTP" is http://127.0.0.1:…
	Try   map[string]string // by door, the command line that the gateway told to try it
	Dir   string            // its data directory

	process *exec.Cmd
	ended   chan struct{} // closed when the process has ended
	err     error         // of the process; valid when ended is closed
	stderr  lockedBuffer
}

// Start builds the gateway and runs it on free ports in a folder of its own, with more arguments if wanted. It is stopped at the end of the test.
func Start(t testing.TB, args ...string) *Gateway {
	t.Helper()
	return Run(t, exec.Command(Build(t), args...))
}

// Build builds the gateway and returns the program's path.
func Build(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-o", program, "portico/cmd/gateway").CombinedOutput(); err != nil {
		t.Fatalf("build the gateway: %v\n%s", err, out)
	}
	return program
}

// Run is Start for a program that has been built already. Its command line gets a data directory and free ports, before what it has, so that this wins.
func Run(t testing.TB, cmd *exec.Cmd) *Gateway {
	t.Helper()
	return RunIn(t, t.TempDir(), cmd)
}

// RunIn is Run with a data directory that may have been used before.
func RunIn(t testing.TB, dir string, cmd *exec.Cmd) *Gateway {
	t.Helper()
	g := &Gateway{Dir: dir, process: cmd, ended: make(chan struct{})}
	ours := []string{"--data-dir", g.Dir}
	for _, door := range []string{"http", "grpc", "amqp", "nats", "mqtt", "stomp"} {
		ours = append(ours, "--"+door+"-listen", "127.0.0.1:0")
	}
	cmd.Args = slices.Insert(cmd.Args, 1, ours...)
	cmd.Dir = g.Dir
	cmd.Stderr = &g.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	told := make(chan struct{})
	go func() {
		doors, try := readSigns(stdout)
		g.Doors, g.Try = doors, try
		close(told)
		_, _ = io.Copy(io.Discard, stdout)
		g.err = cmd.Wait()
		close(g.ended)
	}()
	t.Cleanup(func() { g.cleanUp(t) })
	select {
	case <-told:
	case <-time.After(startTimeout):
		t.Fatalf("the gateway did not open in %v:\n%s", startTimeout, g.Log())
	}
	if len(g.Doors) == 0 {
		t.Fatalf("the gateway did not open:\n%s", g.Log())
	}
	return g
}

// readSigns reads what the gateway tells on start: a line, then between empty lines one line for each door.
func readSigns(r io.Reader) (doors, try map[string]string) {
	doors, try = map[string]string{}, map[string]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 0 && len(doors) > 0:
			return doors, try
		case len(fields) > 2 && strings.HasPrefix(lines.Text(), "  "):
			doors[fields[0]] = fields[1]
			try[fields[0]] = strings.Join(fields[2:], " ")
		}
	}
	return doors, try
}

// Signal sends a signal to the process.
func (g *Gateway) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := g.process.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Wait waits until the process has ended by itself or by a signal, and returns how.
func (g *Gateway) Wait(t testing.TB) *os.ProcessState {
	t.Helper()
	select {
	case <-g.ended:
		return g.process.ProcessState
	case <-time.After(stopTimeout):
		t.Fatalf("the gateway did not end:\n%s", g.Log())
		return nil
	}
}

// Pid is the process's id.
func (g *Gateway) Pid() int { return g.process.Process.Pid }

// Log is what the gateway has logged so far.
func (g *Gateway) Log() string { return g.stderr.String() }

func (g *Gateway) cleanUp(t testing.TB) {
	select {
	case <-g.ended:
	default:
		if err := g.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		select {
		case <-g.ended:
		case <-time.After(stopTimeout):
			_ = g.process.Process.Kill()
			<-g.ended
			t.Error("the gateway did not stop and was killed")
		}
	}
	if t.Failed() {
		t.Logf("the gateway's log:\n%s", g.Log())
	}
}

// Needs returns the path of a program of the machine. Without it the test is skipped; with CI=true it fails, so that
// nothing goes unproved there.
func Needs(t testing.TB, pkg string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("none of %v is installed (Debian: apt-get install %s)", names, pkg)
	}
	t.Skipf("none of %v is installed (Debian: apt-get install %s)", names, pkg)
	return ""
}

// lockedBuffer is a buffer that one goroutine writes while others read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
