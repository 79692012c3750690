package scale

import (
	"context"
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
	"syscall"
	"testing"
	"time"

	"portico/test/gateway"

	amqp "github.com/rabbitmq/amqp091-go"
)

// server is a running gateway.
type server struct {
	*gateway.Gateway
	cmd    *exec.Cmd
	socket string    // where a profiled program gives its profiles
	began  time.Time // of exec
}

func start(t *testing.T, dir string) *server {
	t.Helper()
	built.once.Do(built.build)
	must(t, built.err)
	s := &server{cmd: exec.Command(built.path)}
	if profileDir() != "" {
		s.socket = filepath.Join(t.TempDir(), "p")
		s.cmd.Env = append(os.Environ(), "SCALE_PROFILE_SOCKET="+s.socket)
	}
	s.began = time.Now()
	s.Gateway = gateway.RunIn(t, dir, s.cmd)
	return s
}

// end ends the gateway by a signal and returns how long that took.
func (s *server) end(t *testing.T, by syscall.Signal) time.Duration {
	t.Helper()
	began := time.Now()
	s.Signal(t, by)
	s.Wait(t)
	return time.Since(began)
}

func (s *server) dial(t *testing.T) (*amqp.Connection, *amqp.Channel) {
	t.Helper()
	conn, err := amqp.Dial(s.Doors["AMQP"] + "/")
	must(t, err)
	ch, err := conn.Channel()
	must(t, err)
	return conn, ch
}

// memory reads a field of the kernel's about the process, in bytes: VmRSS is what is resident, VmHWM the most that ever was.
func (s *server) memory(t *testing.T, field string) int64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + field + `:\s+(\d+) kB$`).FindStringSubmatch(s.proc(t, "status"))
	if found == nil {
		t.Fatalf("no %s", field)
	}
	n, err := strconv.ParseInt(found[1], 10, 64)
	must(t, err)
	return n << 10
}

func (s *server) proc(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", s.cmd.Process.Pid, file))
	if os.IsNotExist(err) {
		t.Skip("no /proc here")
	}
	must(t, err)
	return string(text)
}

// needFiles fails the test when the gateway, whose limit is the test's own, may not open so many files. The Go runtime raises both to the hard limit.
func (s *server) needFiles(t *testing.T, n int) {
	t.Helper()
	found := regexp.MustCompile(`Max open files\s+(\S+)`).FindStringSubmatch(s.proc(t, "limits"))
	if found == nil {
		t.Fatal("no limit of open files")
	}
	if limit, err := strconv.Atoi(found[1]); err == nil && limit < n {
		t.Fatalf("at most %d files may be open, the test needs %d: raise the hard limit (ulimit -Hn)", limit, n)
	}
}

// metric reads one metric by its whole name, labels included.
func (s *server) metric(t *testing.T, name string) float64 {
	t.Helper()
	resp, err := http.Get(s.Doors["HTTP"] + "/metrics")
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			must(t, err)
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// settled returns what is resident when the garbage made until now has been collected and the memory has gone back to the system: it waits for the end of a
// collection for at most z.collect, and then until the figure has not moved by 1 % for five seconds, for at most 30 s (a twentieth of that with a small size).
func (s *server) settled(t *testing.T, z size) int64 {
	t.Helper()
	now := float64(time.Now().UnixNano()) / 1e9
	poll(z.collect, time.Second, func() bool { return s.metric(t, "go_memstats_last_gc_time_seconds") > now })
	return s.still(t, z)
}

// still is the second half of settled.
func (s *server) still(t *testing.T, z size) int64 {
	t.Helper()
	unit := time.Second
	if z.slack > 1 {
		unit /= 20
	}
	last, quiet := s.memory(t, "VmRSS"), 0
	poll(30*unit, unit, func() bool {
		rss := s.memory(t, "VmRSS")
		if quiet++; max(rss-last, last-rss) > last/100 {
			last, quiet = rss, 0
		}
		return quiet >= 5
	})
	return s.memory(t, "VmRSS")
}

// profile leaves a heap profile and a list of goroutines in SCALE_PROFILE, if that is set.
func (s *server) profile(t *testing.T, name string) {
	t.Helper()
	if s.socket == "" {
		return
	}
	s.fetch(t, name+".heap", "heap?gc=1")
	s.fetch(t, name+".goroutines", "goroutine?debug=1")
}

// profileCPU is profile for the processor. It begins at once and lasts so many seconds; call the result to wait for its end.
func (s *server) profileCPU(t *testing.T, name string, seconds int) (wait func()) {
	t.Helper()
	done := make(chan struct{})
	if s.socket == "" {
		return func() {}
	}
	go func() {
		defer close(done)
		s.fetch(t, name+".cpu", fmt.Sprintf("profile?seconds=%d", seconds))
	}()
	return func() { <-done }
}

func (s *server) fetch(t *testing.T, name, what string) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.socket)
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	resp, err := client.Get("http://profiler/debug/pprof/" + what)
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = os.WriteFile(filepath.Join(profileDir(), name), text, 0o600)
	}
	if err != nil {
		t.Error(err)
	}
}

// poll asks until the answer is yes, at most for so long. It returns the last answer.
func poll(atMost, every time.Duration, ask func() bool) bool {
	over := time.Now().Add(atMost)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ask() {
			return true
		}
		if !time.Now().Before(over) {
			return false
		}
		<-tick.C
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
