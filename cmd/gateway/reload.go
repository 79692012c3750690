package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"

	"portico/core"
	"portico/core/limits"
)

// reader reads the configuration again, from the same places.
type reader func() (*Config, map[string]settled, error)

// reloader puts the configuration in force again without a restart, as far as keys can change so: users and their permissions, the log level, limits. It is whole or not at all: everything is
// checked before anything changes. What it is made of is immutable but for now.
type reloader struct {
	read  reader
	log   *slog.Logger
	users func(*Config) error // checks before it changes anything, and then cannot fail
	apply []func(*Config)     // cannot fail

	mu  sync.Mutex
	now map[string]settled // guarded by mu: the values in force, or as they were at the start where a restart is needed
}

// newReloader makes one of a running gateway. values are those in force.
func newReloader(g *core.Gateway, gate *limits.Gate, level *slog.LevelVar, values map[string]settled, read reader, log *slog.Logger) *reloader {
	return &reloader{
		read: read, log: log, now: maps.Clone(values),
		users: func(cfg *Config) error { return g.Reload(cfg.core()) },
		apply: []func(*Config){
			func(cfg *Config) { level.Set(cfg.Log.level()) },
			func(cfg *Config) { gate.Set(cfg.gate()) },
		},
	}
}

// reloaded says what a reload has done.
type reloaded struct {
	Changed []string // keys that are in force now
	Restart []string // keys that have changed but are in force after a restart only
}

// live tells whether a key is in force without a restart.
func live(key string) bool {
	return key == "users" || key == "log.level" || strings.HasPrefix(key, "auth.") || strings.HasPrefix(key, "limits.")
}

// reload reads the configuration and puts it in force. After an error nothing has changed.
func (r *reloader) reload() (*reloaded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	cfg, values, err := r.read()
	if err != nil {
		return nil, err
	}
	out := &reloaded{Changed: []string{}, Restart: []string{}}
	for key, v := range values {
		switch {
		case reflect.DeepEqual(v.value, r.now[key].value):
		case live(key):
			out.Changed = append(out.Changed, key)
		default:
			out.Restart = append(out.Restart, key)
		}
	}
	slices.Sort(out.Changed)
	slices.Sort(out.Restart)
	if err := r.users(cfg); err != nil {
		return nil, fmt.Errorf("reload the configuration: %w", err)
	}
	for _, f := range r.apply {
		f(cfg)
	}
	for _, key := range out.Changed {
		r.now[key] = values[key]
	}
	r.log.Info("the configuration was read again", "changed", out.Changed, "needs_restart", out.Restart)
	return out, nil
}

// forDoor is reload as the HTTP door has it; nil if there is nothing to reload.
func (r *reloader) forDoor() func() (changed, restart []string, err error) {
	if r == nil {
		return nil
	}
	return func() (changed, restart []string, err error) {
		out, err := r.reload()
		if err != nil {
			return nil, nil, err
		}
		return out.Changed, out.Restart, nil
	}
}

// onHangup reloads at every SIGHUP until ctx ends.
func (r *reloader) onHangup(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-hangups:
			if _, err := r.reload(); err != nil {
				r.log.Error("the configuration stays as it was", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
