package stomp

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
)

// pipeLink is a link without a network.
type pipeLink struct{ net.Conn }

func (l pipeLink) WriteFrame(b []byte) error { _, err := l.Write(b); return err }
func (l pipeLink) Flush() error              { return nil }
func (l pipeLink) Finish(bool) error         { return l.Close() }
func (l pipeLink) Cut()                      { _ = l.Close() }

// TestConnectMustComeInTime: who says nothing, or not enough, is told and let go.
func TestConnectMustComeInTime(t *testing.T) {
	server := NewServer(coretest.Start(t), slog.New(slog.DiscardHandler))
	server.connect = 50 * time.Millisecond
	for name, begun := range map[string]string{"nothing": "", "part of it": "CONNECT\naccept-version:1.2\n", "heart-beats": "\n\n"} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			ended := make(chan struct{})
			go func() { server.Session(pipeLink{far}, Client{}).Serve(); close(ended) }()
			if _, err := io.WriteString(near, begun); err != nil {
				t.Fatal(err)
			}
			_ = near.SetReadDeadline(time.Now().Add(10 * time.Second))
			f, err := NewDecoder(near, Limits{Body: 1 << 10}).Next()
			if err != nil || f.Get("message") != core.CodeTimeout.String() {
				t.Errorf("got %v, %v, want a timeout", f, err)
			}
			<-ended
		})
	}
}

// breaking is a link that panics.
type breaking struct {
	pipeLink
	reader bool // else when something is written
}

func (l breaking) Read(b []byte) (int, error) {
	if l.reader {
		panic("read")
	}
	return l.pipeLink.Read(b)
}

func (l breaking) WriteFrame([]byte) error { panic("write") }

// TestPanic: it is the end of one session, and of nothing else.
func TestPanic(t *testing.T) {
	server := NewServer(coretest.Start(t), slog.New(slog.DiscardHandler))
	for name, reader := range map[string]bool{"reader": true, "writer": false} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			defer near.Close()
			s := server.Session(breaking{pipeLink{far}, reader}, Client{})
			ended := make(chan struct{})
			go func() { s.Serve(); close(ended) }()
			if !reader {
				if _, err := io.WriteString(near, "CONNECT\naccept-version:1.2\n\n\x00"); err != nil {
					t.Fatal(err)
				}
			}
			for _, over := range []chan struct{}{ended, s.ended} {
				select {
				case <-over:
				case <-time.After(20 * time.Second):
					t.Fatal("the session goes on")
				}
			}
		})
	}
}

// TestTransactionsGiveTheirMemoryBack: whatever becomes of them.
func TestTransactionsGiveTheirMemoryBack(t *testing.T) {
	server := NewServer(coretest.Start(t), slog.New(slog.DiscardHandler))
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() { server.Session(pipeLink{far}, Client{}).Serve(); close(ended) }()
	go func() { _, _ = io.Copy(io.Discard, near) }()
	begun := "BEGIN\ntransaction:t\n\n\x00SEND\ndestination:/topic/a\ntransaction:t\n\nbody\x00"
	for _, frames := range []string{
		"CONNECT\naccept-version:1.2\n\n\x00", begun, "COMMIT\ntransaction:t\n\n\x00", begun, "ABORT\ntransaction:t\n\n\x00", begun,
	} {
		if _, err := io.WriteString(near, frames); err != nil {
			t.Fatal(err)
		}
	}
	_ = near.Close()
	<-ended
	if !server.memory.TryAcquire(bodyMemory) {
		t.Error("memory is missing")
	}
}
