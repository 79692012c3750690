package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// logBridge hands what the embedded server logs to slog. Notices of the server are details of an embedded part, so they become
// debug lines. A fatal error must not end the process: it is kept, and start reports it.
type logBridge struct {
	// immutable
	log    *slog.Logger
	failed func(error) // told when a stream could not be written: the server tells nobody else

	// guarded by mu
	mu    sync.Mutex
	fatal error
}

func (b *logBridge) write(level slog.Level, format string, args []any) {
	if !b.log.Enabled(context.Background(), level) {
		return
	}
	b.log.Log(context.Background(), level, fmt.Sprintf(format, args...), "part", "nats-server")
}

// Noticef implements server.Logger.
func (b *logBridge) Noticef(format string, args ...any) { b.write(slog.LevelDebug, format, args) }

// Warnf implements server.Logger. That large payloads are discouraged is known, and chosen with MaxMessage.
func (b *logBridge) Warnf(format string, args ...any) {
	level := slog.LevelWarn
	if strings.HasPrefix(format, "Maximum payloads over") {
		level = slog.LevelDebug
	}
	b.write(level, format, args)
}

// Errorf implements server.Logger. What is wrong with a client's bytes is the client's fault, and clients must not fill the log with errors.
func (b *logBridge) Errorf(format string, args ...any) {
	level := slog.LevelError
	switch text := fmt.Sprintf(format, args...); {
	case clientFault(text):
		level = slog.LevelInfo
	case b.failed != nil && strings.Contains(format, "critical write error"):
		b.failed(errors.New(text))
	}
	b.write(level, format, args)
}

// clientFault tells whether a line is about one client's connection: "127.0.0.1:4711 - cid:7 - …", or mid: over MQTT.
func clientFault(text string) bool {
	address, rest, _ := strings.Cut(text, " - ")
	if !strings.Contains(address, ":") {
		return false // a connection of our own
	}
	return strings.HasPrefix(rest, "cid:") || strings.HasPrefix(rest, "mid:")
}

// Debugf implements server.Logger.
func (b *logBridge) Debugf(format string, args ...any) { b.write(slog.LevelDebug, format, args) }

// Tracef implements server.Logger.
func (b *logBridge) Tracef(format string, args ...any) { b.write(slog.LevelDebug, format, args) }

// Fatalf implements server.Logger. The first fatal error is the one that failure returns.
func (b *logBridge) Fatalf(format string, args ...any) {
	b.write(slog.LevelError, format, args)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fatal == nil {
		b.fatal = fmt.Errorf(format, args...)
	}
}

func (b *logBridge) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fatal
}
