package core

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestServerLogGoesToSlog(t *testing.T) {
	var out bytes.Buffer
	b := &logBridge{log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))}
	b.Noticef("notice %d", 1)
	b.Debugf("debug %d", 1)
	b.Tracef("trace %d", 1)
	b.Warnf("Maximum payloads over %v are discouraged", 8)
	if out.Len() != 0 {
		t.Errorf("details of the embedded server at level info: %s", out.String())
	}
	b.Warnf("warning %d", 1)
	b.Errorf("error %d", 1)
	b.Fatalf("fatal %d", 1)
	b.Fatalf("fatal %d", 2)
	for _, want := range []string{`level=WARN msg="warning 1" part=nats-server`, `level=ERROR msg="error 1"`, `level=ERROR msg="fatal 1"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log lacks %s:\n%s", want, out.String())
		}
	}
	if err := b.failure(); err == nil || err.Error() != "fatal 1" {
		t.Errorf("failure: %v", err)
	}
}

func TestServerLogTellsFaultsApart(t *testing.T) {
	var out bytes.Buffer
	var failures []error
	b := &logBridge{
		log:    slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})),
		failed: func(err error) { failures = append(failures, err) },
	}
	b.Errorf("%s - %s", "127.0.0.1:4711 - cid:7", "maximum payload exceeded: critical write error")
	b.Errorf("127.0.0.1:4711 - mid:8 - \"x\" - malformed variable int")
	if out.Len() != 0 || len(failures) != 0 {
		t.Errorf("clients' faults at level warn: %s, told as failures: %v", out.String(), failures)
	}
	b.Errorf("JetStream stream '%s > %s' critical write error: %v", "A", "S", "no space left on device")
	if len(failures) != 1 || !strings.Contains(failures[0].Error(), "'A > S'") || !strings.Contains(out.String(), "level=ERROR") {
		t.Errorf("a failed write was told as %v and logged as %s", failures, out.String())
	}
}
