package core

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// dataDir is the gateway's directory, held by this process alone until release.
//
//	lock       held with flock while a gateway runs
//	name       the stable server name
//	jetstream  the embedded server's store
type dataDir struct {
	path string
	lock *os.File
}

var errLocked = errors.New("in use by another gateway")

// openDataDir creates the directory if it is missing and takes its lock. A lock of a process that died is free again.
func openDataDir(path string) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of data directory: %w", err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("data directory %s: %w", path, err)
	}
	return &dataDir{path: path, lock: f}, nil
}

// release gives the directory up.
func (d *dataDir) release() error { return d.lock.Close() }

// store is the folder that the embedded server puts its "jetstream" folder into.
func (d *dataDir) store() string { return d.path }

// jetstream is the folder that holds every stream.
func (d *dataDir) jetstream() string { return filepath.Join(d.path, "jetstream") }

// serverName returns the name kept in the directory, making one the first time. MQTT sessions and, later, clusters know the server by it.
func (d *dataDir) serverName() (string, error) {
	file := filepath.Join(d.path, "name")
	b, err := os.ReadFile(file)
	if name := strings.TrimSpace(string(b)); err == nil && name != "" {
		return name, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read server name: %w", err)
	}
	name := "portico-" + strings.ToLower(rand.Text()[:8])
	if err := os.WriteFile(file, []byte(name+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("write server name: %w", err)
	}
	return name, nil
}
