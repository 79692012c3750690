package websocket

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"portico/test/gateway"
)

// long tells whether the full figures are asked for: E2E=long.
func long() bool { return os.Getenv("E2E") == "long" }

// scaled is full with E2E=long, else less.
func scaled(less, full int) int {
	if long() {
		return full
	}
	return less
}

// house is a gateway in a process of its own.
type house struct {
	*gateway.Gateway
	http string // http://host:port
}

func started(t *testing.T, args ...string) *house {
	t.Helper()
	g := gateway.Start(t, args...)
	return &house{g, strings.TrimSuffix(g.Doors["HTTP"], "/")}
}

// socket is the WebSocket door's address.
func (h *house) socket() string { return h.http + "/ws" }

// metric reads one figure of /metrics.
func (h *house) metric(t *testing.T, name string) int {
	t.Helper()
	res, err := http.Get(h.http + "/metrics") //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(f)
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

// resident is what the process has in memory, or had at most (VmHWM), in bytes.
func (h *house) resident(t *testing.T, field string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.Pid()))
	if err != nil {
		t.Skip("no /proc here")
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

// live publishes on a subject, and tells whether anybody was listening.
func (h *house) live(t *testing.T, subject string) bool {
	t.Helper()
	res, err := http.Post(h.http+"/v1/publish/"+subject, "text/plain", strings.NewReader("x")) //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= http.StatusBadRequest {
		t.Fatalf("publish: %s %s %v", res.Status, text, err)
	}
	return strings.Contains(string(text), `"live":true`)
}

// eventually waits for a condition; what it returns is why not.
func eventually(t *testing.T, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(2 * patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// say sends a text frame.
func (w *octets) say(text string) error {
	_, err := io.WriteString(w, made(fin|opText, text))
	return err
}

// ask sends a frame and reads its answer, which must be ok.
func (w *octets) ask(text string) error {
	if err := w.say(text); err != nil {
		return err
	}
	for {
		f, err := w.next()
		switch {
		case err != nil:
			return err
		case f.op == opText && strings.Contains(f.text, `"op":"ok"`):
			return nil
		case f.op == opText && strings.Contains(f.text, `"op":"err"`), f.op == opClose:
			return errors.New(f.text)
		}
	}
}

// crowd does something n times, by so many at once, and gathers the errors.
func crowd(n, at int, do func(i int) error) error {
	var all sync.WaitGroup
	errs := make([]error, n)
	next := make(chan int)
	for range at {
		all.Go(func() {
			for i := range next {
				errs[i] = do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	return errors.Join(errs...)
}
