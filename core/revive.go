package core

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// After one failed write (the disk was full) JetStream never writes to that stream again, nor answers who publishes to it, until the stream is opened anew: the error sticks
// to the stream in memory. It has no way to open a single one, so JetStream as a whole is started again inside the process, once the disk takes writes: what was answered
// is on disk and comes back, logs find out where their streams stand, and nobody's connection is lost.

// stuck counts the streams that JetStream has given up.
func (e *embedded) stuck() (n int) {
	for _, problem := range e.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if problem.Type == server.HealthzErrorStream {
			n++
		}
	}
	return n
}

// revive starts JetStream again with the configuration it had.
func (e *embedded) revive() error {
	if err := e.ShutdownJetStream(); err != nil {
		return fmt.Errorf("stop JetStream: %w", err)
	}
	cfg := e.jetstream
	cfg.StoreDir = filepath.Dir(cfg.StoreDir) // the server adds its own folder
	if err := e.EnableJetStream(&cfg); err != nil {
		return fmt.Errorf("start JetStream again: %w", err)
	}
	return e.enableAccounts()
}

// enableAccounts gives the accounts that keep something their JetStream.
func (e *embedded) enableAccounts() error {
	for _, name := range e.keepers.all() {
		account, err := e.LookupAccount(name)
		if err != nil {
			return fmt.Errorf("account %s: %w", name, err)
		}
		if account.JetStreamEnabled() {
			continue
		}
		if err := account.EnableJetStream(nil, nil); err != nil {
			return fmt.Errorf("enable JetStream for %s: %w", name, err)
		}
	}
	return nil
}

// mend makes the store work again after it has failed, if that can be: nil when it does.
func (g *Gateway) mend(ctx context.Context) error {
	if g.server.JetStreamEnabled() {
		if err := g.store.Probe(ctx); err != nil {
			return err
		}
		n := g.server.stuck()
		if n == 0 {
			return nil
		}
		g.log.Warn("JetStream has given up streams after failed writes and is started again", "streams", n)
	}
	if err := g.server.revive(); err != nil {
		return err
	}
	return g.store.Probe(ctx)
}
