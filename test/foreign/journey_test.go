package foreign

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"
)

// tripDeadline is for one client's whole program; each is done in a quarter of it.
const tripDeadline = 80 * time.Second

// amqplibVersion is the version of the Node client; that of the Java client is in its pom.xml, the Python ones are Debian's.
const amqplibVersion = "amqplib@2.3.1"

// journey is what the programs of all clients tell, on RabbitMQ as here: they do the same in their own ways.
func journey() []string {
	return []string{
		"confirmed 100",
		"returned 312 NO_ROUTE nobody.home",
		"prefetch 5 ready 95",
		"in order ready 0",
		"redelivered false true",
		"locked 405",
		"nacked",
		"dead bad: rejected in journey.work from '' by journey.work 1 times",
		"dead late: expired in journey.work from '' by journey.work 1 times expiration 50",
		"dead one: maxlen in journey.work from '' by journey.work 1 times",
		"retried journey.wait expired 3 journey.try rejected 3",
		"delivery counts 0 1 2",
		"dead poison: delivery_limit in journey.quorum from '' by journey.quorum 1 times",
		"cut me",
		"recovered 10 11 12 13 14 15 16 17 18 19 redelivered true ready 0",
		"done",
	}
}

func TestPika(t *testing.T) {
	python := debianPython(t, "pika", "python3-pika")
	travel(t, journey(), python, abs(t, "testdata/pika/journey.py"))
}

func TestAmqplib(t *testing.T) {
	node, npm := gateway.Needs(t, "nodejs", "node"), gateway.Needs(t, "npm", "npm")
	dir := t.TempDir() // where the program finds the module
	copyFile(t, "testdata/node/journey.mjs", dir)
	prepare(t, npm, "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", dir, amqplibVersion)
	travel(t, journey(), node, filepath.Join(dir, "journey.mjs"))
}

func TestJavaClient(t *testing.T) {
	mvn, java := gateway.Needs(t, "maven", "mvn"), gateway.Needs(t, "default-jdk-headless", "java")
	gateway.Needs(t, "default-jdk-headless", "javac")
	dir := t.TempDir()
	prepare(t, mvn, "-q", "-B", "-f", abs(t, "testdata/java/pom.xml"), "dependency:copy-dependencies", "-DoutputDirectory="+dir)
	want := journey()
	want = slices.Insert(want, len(want)-1, "the exclusive queue is back")
	travel(t, want, java, "-cp", filepath.Join(dir, "*"), abs(t, "testdata/java/Journey.java"))
}

// debianPython is the interpreter that Debian's packages are for, which need not be the first in the path, with a module that must be there.
func debianPython(t *testing.T, module, pkg string) string {
	t.Helper()
	python := gateway.Needs(t, "python3", "/usr/bin/python3")
	if err := exec.Command(python, "-c", "import "+module).Run(); err != nil {
		gateway.Needs(t, pkg, "python3 module "+module) // no program has that name
	}
	return python
}

// prepare runs what fetches a client from its registry.
func prepare(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), tripDeadline)
	defer cancel()
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// travel runs a program that takes the AMQP URL as its last argument, cuts its connection when it asks for that, and fails unless it tells what is wanted.
func travel(t *testing.T, want []string, args ...string) {
	t.Helper()
	h := newHome(t)
	got := listen(t, exec.Command(args[0], append(args[1:], h.url())...), map[string]func(){"cut me": func() { h.restart(t) }})
	for i := range got {
		got[i] = strings.NewReplacer("True", "true", "False", "false").Replace(got[i]) // Python's
	}
	if !slices.Equal(got, want) {
		t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// A home is a gateway that comes back to its address after a restart.
type home struct {
	program string
	addr    string
	running *gateway.Gateway
}

func newHome(t *testing.T) *home {
	t.Helper()
	program := gateway.Build(t)
	g := gateway.Run(t, exec.Command(program))
	return &home{program: program, addr: strings.TrimPrefix(g.Doors["AMQP"], "amqp://guest:guest@"), running: g}
}

func (h *home) url() string { return "amqp://guest:guest@" + h.addr }

// restart stops the gateway, which closes every connection, and starts it over the same data.
func (h *home) restart(t *testing.T) {
	t.Helper()
	h.running.Signal(t, syscall.SIGTERM)
	h.running.Wait(t)
	h.running = gateway.RunIn(t, h.running.Dir, exec.Command(h.program, "--amqp-listen", h.addr))
}

// listen runs a program to its end and returns the lines it prints. A line that is a key of asked is a request: the program goes on meanwhile.
func listen(t *testing.T, cmd *exec.Cmd, asked map[string]func()) (lines []string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(tripDeadline, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	for in := bufio.NewScanner(out); in.Scan(); {
		lines = append(lines, in.Text())
		if answer, ok := asked[in.Text()]; ok {
			answer()
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v after telling\n\t%s\n%s", cmd, err, strings.Join(lines, "\n\t"), stderr.String())
	}
	return lines
}

func abs(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

func copyFile(t *testing.T, path, dir string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.Base(path)), b, 0o644); err != nil {
		t.Fatal(err)
	}
}
