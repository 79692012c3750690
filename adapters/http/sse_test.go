package httpapi

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
)

// line is a client's end of an event stream.
type line struct {
	header http.Header

	mu     sync.Mutex // guards the rest
	status int
	got    bytes.Buffer
	broken error
}

func (l *line) Header() http.Header              { return l.header }
func (l *line) SetWriteDeadline(time.Time) error { return nil }
func (l *line) Flush()                           {}

func (l *line) WriteHeader(status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = status
}

func (l *line) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return 0, l.broken
	}
	return l.got.Write(b)
}

// take returns what has come since the last call.
func (l *line) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.got.Reset()
	return l.got.String()
}

// answered is the status of the header that has come, 0 if none has.
func (l *line) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// breaks makes writes fail, or with nil succeed.
func (l *line) breaks(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
}

func newLine(t *testing.T, accept string) (*line, *eventStream) {
	t.Helper()
	gin.SetMode(gin.ReleaseMode)
	l := &line{header: http.Header{}}
	c, _ := gin.CreateTestContext(l)
	c.Request = httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	c.Request.Header.Set("Accept", accept)
	s := (&Adapter{writeTimeout: time.Second}).newEventStream(c, "message")
	t.Cleanup(s.close)
	return l, s
}

func TestEventStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := newLine(t, "text/event-stream")
		if err := s.place("6"); err != nil || l.answered() != 0 {
			t.Fatalf("the header is out too early: %d %v", l.answered(), err)
		}
		time.Sleep(headerDelay)
		synctest.Wait()
		if got := l.take(); got != "retry: 2000\n\nid: 6\n\n" || l.answered() != 200 || l.header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("%d %q", l.answered(), got)
		}
		time.Sleep(10 * time.Second)
		if err := errors.Join(s.event("7", "message", "<a>"), s.flush()); err != nil {
			t.Fatal(err)
		}
		if got := l.take(); got != "id: 7\nevent: message\ndata: \"<a>\"\n\n" {
			t.Errorf("%q", got)
		}
		time.Sleep(10 * time.Second) // 20 s after the header, 10 s after the event
		synctest.Wait()
		if got := l.take(); got != "" {
			t.Errorf("a comment too early: %q", got)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := l.take(); got != ": keep-alive\n\n" {
			t.Errorf("%q", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(l.take(), ": keep-alive"); n != 4 {
			t.Errorf("%d comments in a minute", n)
		}
		if told := s.end(errors.New("x")); !told {
			t.Error("the end is not told")
		}
		if got := l.take(); !strings.HasPrefix(got, "event: error\ndata: {") {
			t.Errorf("at the end %q", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if err := s.event("8", "message", 1); err == nil || l.take() != "" {
			t.Error("something comes behind the end")
		}
	})
}

func TestEventStreamAsLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := newLine(t, "application/x-ndjson")
		if err := errors.Join(s.place("6"), s.event("7", "message", 7), s.event("8", "gap", 8), s.flush()); err != nil {
			t.Fatal(err)
		}
		if got := l.take(); got != "7\n{\"gap\":8}\n" || l.header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%q", got)
		}
		time.Sleep(keepAlive)
		synctest.Wait()
		if got := l.take(); got != "\n" {
			t.Errorf("%q", got)
		}
	})
}

func TestEventStreamThatFailsBeforeItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := newLine(t, "")
		if s.end(errors.New("x")) || l.answered() != 0 {
			t.Error("it should be answered as a problem")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if l.take() != "" || l.answered() != 0 {
			t.Error("something came all the same")
		}
	})
}

func TestEventStreamWithoutClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, s := newLine(t, "")
		gone := errors.New("gone")
		l.breaks(gone)
		if err := s.event("1", "message", 1); err != nil {
			t.Fatal(err)
		}
		if err := s.flush(); !errors.Is(err, gone) {
			t.Errorf("flush: %v", err)
		}
		l.breaks(nil)
		if err := s.event("2", "message", 2); err == nil {
			t.Error("it goes on")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := l.take(); got != "" {
			t.Errorf("%q", got)
		}
	})
}
