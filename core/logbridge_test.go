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
