//go:build linux && !jslog_fsync

package jslog

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func TestAFailedSyncIsTheEndOfTheStore(t *testing.T) {
	dir := t.TempDir()
	srv, err := server.NewServer(&server.Options{DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	if !srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("server does not start")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	var reports atomic.Int32
	s, err := NewStore(nc, Options{Dir: dir, Sync: true, Failed: func(err error) {
		if errors.Is(err, ErrSync) {
			reports.Add(1)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Open(t.Context(), "q", nil)
	if err != nil {
		t.Fatal(err)
	}
	add := func() error {
		told := make(chan error)
		l.Append([]byte("entry"), func(_ uint64, err error) { told <- err })
		return <-told
	}
	if err := add(); err != nil {
		t.Fatal(err)
	}
	if err := s.disk.close(); err != nil { // from now on it does not sync
		t.Fatal(err)
	}
	for range 3 {
		if err := add(); !errors.Is(err, ErrSync) {
			t.Fatalf("append without sync: %v", err)
		}
		if err := s.Sync(t.Context()); !errors.Is(err, ErrSync) {
			t.Fatalf("sync without sync: %v", err)
		}
		if err := s.Probe(t.Context()); !errors.Is(err, ErrSync) {
			t.Fatalf("probe without sync: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if reports.Load() != 1 {
		t.Fatalf("reported %d times", reports.Load())
	}
}
