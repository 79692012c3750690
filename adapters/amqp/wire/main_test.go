package wire_test

import (
	"errors"
	"flag"
	"testing"

	"go.uber.org/goleak"

	"portico/adapters/amqp/wire"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wantCode fails unless err is a connection error with the reply code.
func wantCode(t *testing.T, err error, code uint16) {
	t.Helper()
	var ce *wire.ConnError
	if !errors.As(err, &ce) {
		t.Fatalf("error %v (%T), want a connection error %d", err, err, code)
	}
	if ce.Code != code {
		t.Fatalf("error %v has code %d, want %d", err, ce.Code, code)
	}
}

// allocates fails when f allocates more than limit times a run.
func allocates(t *testing.T, limit float64, f func()) {
	t.Helper()
	if got := testing.AllocsPerRun(200, f); got > limit {
		t.Errorf("%v allocations a run, want at most %v", got, limit)
	}
}
