package foreign

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"
)

// TestCelery gives tasks to Celery's own worker processes: kombu and py-amqp lie between.
func TestCelery(t *testing.T) {
	python := debianPython(t, "celery", "python3-celery")
	url := gateway.Start(t).Doors["AMQP"] + "//"
	program := func(args ...string) *exec.Cmd {
		cmd := exec.Command(python, args...)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "BROKER="+url, "PYTHONPATH="+abs(t, "testdata/celery"), "PYTHONDONTWRITEBYTECODE=1")
		return cmd
	}
	start := func(name string) *worker {
		return startWorker(t, program("-m", "celery", "-A", "tasks", "worker", "--concurrency", "2", "--loglevel", "WARNING", "-n", name))
	}
	var first *worker
	got := listen(t, program(abs(t, "testdata/celery/drive.py")), map[string]func(){
		"start a worker": func() { first = start("first@here") },
		"kill the worker": func() {
			first.end(syscall.SIGKILL)
			start("second@here")
		},
	})
	want := []string{
		"start a worker",
		"added 39800",
		"retried 3",
		"waited",
		"overtook kept",
		"workers 1",
		"consumes celery",
		"kill the worker",
		"run again, redelivered True",
		"done",
	}
	if !slices.Equal(got, want) {
		t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// A worker is a running worker process. The processes that it has for its tasks end after it.
type worker struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// startWorker starts a worker, which is stopped at the end of the test and must not have been told of an error.
func startWorker(t *testing.T, cmd *exec.Cmd) *worker {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = stopDeadline // its children hold the pipes
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &worker{cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(w.ended)
	}()
	t.Cleanup(func() {
		w.end(syscall.SIGTERM)
		if text := said.String(); t.Failed() || strings.Contains(text, "Traceback") || strings.Contains(text, "CRITICAL") {
			t.Errorf("the worker's log:\n%s", text)
		}
	})
	return w
}

// stopDeadline is for a worker that is asked to stop.
const stopDeadline = 10 * time.Second

// end sends a signal and waits until the worker is gone, which it is before long.
func (w *worker) end(s syscall.Signal) {
	_ = w.cmd.Process.Signal(s)
	late := time.AfterFunc(stopDeadline, func() { _ = w.cmd.Process.Kill() })
	defer late.Stop()
	<-w.ended
}
