// Package audit writes down who came in, who was refused what, and who changed how the gateway is run: one JSON object a line, in a file of its own that is
// bounded. What repeats is counted, so that a flood of failed logins cannot push out what came before.
package audit

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Config says where and how much is kept.
type Config struct {
	File    string        // "": nothing is written
	MaxSize int64         // bytes of the file at which the next is begun; 0: 16 MiB
	Keep    int           // full files beside the one that is written, called File.1 (the newest) and so on; 0: 4
	Gather  time.Duration // repetitions are counted for so long, then told in one line; 0: 10 s
}

// The kinds of events.
const (
	Login   = "login"   // somebody came in
	Refused = "refused" // somebody did not
	Denied  = "denied"  // somebody who is in may not do that
	Changed = "changed" // users, tokens, permissions, configuration, policies
	Limited = "limited" // too many connections, too fast
)

// Event is one thing that happened. There is no field for a secret.
type Event struct {
	Kind   string
	Door   string
	Remote string // the client's address, host:port
	User   string // who it is, or says it is
	Action string // what was wanted or done
	Target string // with what
	Reason string
}

const (
	maxText    = 256  // bytes of a field that are written
	maxRepeats = 4096 // kinds of repetitions that are counted at a time; when there are more all are told at once
)

// Log is the audit log. A nil Log writes nothing. Its methods may be called from any goroutine.
type Log struct {
	file   io.WriteCloser
	lines  *slog.Logger
	log    *slog.Logger
	gather time.Duration
	over   chan struct{}
	work   sync.WaitGroup

	mu      sync.Mutex // guards the rest
	repeats map[Event]int
	failed  bool
	closed  bool
}

// Open begins to write. With no file in the configuration it returns nil.
func Open(cfg Config, log *slog.Logger) (*Log, error) {
	if cfg.File == "" {
		return nil, nil
	}
	if cfg.MaxSize <= 0 {
		cfg.MaxSize = 16 << 20
	}
	if cfg.Keep <= 0 {
		cfg.Keep = 4
	}
	if cfg.Gather <= 0 {
		cfg.Gather = 10 * time.Second
	}
	f, err := openRotating(cfg.File, cfg.MaxSize, cfg.Keep)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	l := &Log{file: f, log: log, gather: cfg.Gather, over: make(chan struct{}), repeats: map[Event]int{}}
	l.lines = slog.New(slog.NewJSONHandler(reporting{l}, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}}))
	l.work.Go(l.flushLoop)
	return l, nil
}

// Record writes an event, or counts it if the same happened within the last seconds: the same from the same host. It does not fail; what the disk does not
// take is told in the gateway's log.
func (l *Log) Record(e Event) {
	if l == nil {
		return
	}
	key := e.key()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if n, there := l.repeats[key]; there {
		l.repeats[key] = n + 1
		return
	}
	if len(l.repeats) >= maxRepeats {
		l.tellRepeats()
	}
	l.repeats[key] = 0
	l.write(e, 0)
}

// key is what makes two events the same.
func (e Event) key() Event {
	if host, _, err := net.SplitHostPort(e.Remote); err == nil {
		e.Remote = host
	}
	for _, field := range []*string{&e.User, &e.Action, &e.Target, &e.Reason} {
		*field = (*field)[:min(len(*field), maxText)]
	}
	return e
}

// write writes a line. l.mu is held.
func (l *Log) write(e Event, times int) {
	attrs := make([]slog.Attr, 0, 8)
	for _, f := range []struct{ name, value string }{
		{"door", e.Door}, {"remote", e.Remote}, {"user", e.User}, {"action", e.Action}, {"target", e.Target}, {"reason", e.Reason},
	} {
		if f.value != "" {
			attrs = append(attrs, slog.String(f.name, f.value[:min(len(f.value), maxText)]))
		}
	}
	if times > 0 {
		attrs = append(attrs, slog.Int("repeated", times))
	}
	l.lines.LogAttrs(context.Background(), slog.LevelInfo, e.Kind, attrs...)
}

// tellRepeats writes what was counted, and forgets it. l.mu is held.
func (l *Log) tellRepeats() {
	for e, n := range l.repeats {
		if n > 0 {
			l.write(e, n)
		}
	}
	clear(l.repeats)
}

func (l *Log) flushLoop() {
	tick := time.NewTicker(l.gather)
	defer tick.Stop()
	for {
		select {
		case <-l.over:
			return
		case <-tick.C:
			l.mu.Lock()
			l.tellRepeats()
			l.mu.Unlock()
		}
	}
}

// Close writes what was counted and closes the file. It may be called twice.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.tellRepeats()
	l.closed = true
	close(l.over)
	l.mu.Unlock()
	l.work.Wait()
	return l.file.Close()
}

// reporting tells the gateway's log when the file cannot be written, once until it can again. l.mu is held when it is used.
type reporting struct{ *Log }

// Write implements io.Writer.
func (r reporting) Write(b []byte) (int, error) {
	n, err := r.file.Write(b)
	if err != nil && !r.failed {
		r.log.Error("the audit log cannot be written", "error", err)
	}
	r.failed = err != nil
	return n, err
}
