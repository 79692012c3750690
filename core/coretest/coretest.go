// Package coretest starts a real gateway for tests.
package coretest

import (
	"log/slog"
	"testing"

	"portico/core"
)

// Start runs a gateway in a directory of its own, with the NATS and MQTT doors on free ports, and closes it when the test ends. Options change its configuration before.
func Start(t testing.TB, options ...func(*core.Config)) *core.Gateway {
	t.Helper()
	cfg := core.Config{DataDir: t.TempDir(), NATSListen: "127.0.0.1:0", MQTTListen: "127.0.0.1:0", DiskFree: -1}
	for _, change := range options {
		change(&cfg)
	}
	g, err := core.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("start gateway: %v", err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Errorf("close gateway: %v", err)
		}
	})
	return g
}

// Users configures who may log in.
func Users(users ...core.User) func(*core.Config) {
	return func(c *core.Config) { c.Users = users }
}

// DataDir uses a directory that outlives the gateway, for tests that start it again.
func DataDir(dir string) func(*core.Config) {
	return func(c *core.Config) { c.DataDir = dir }
}
