package certs

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"
)

// soon is when the end of a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

// Reload reads the files again. If anything is wrong with one of them the error says so and all stays as it was. Connections that are open go on; those that
// come are served by the new files.
func (s *Store) Reload() (changed bool, err error) {
	next, err := read(s.cfg)
	if err != nil {
		return false, fmt.Errorf("tls: %w", err)
	}
	if before := s.current.Load(); before != nil && slices.EqualFunc(before.files, next.files, bytes.Equal) {
		return false, nil
	}
	s.current.Store(next)
	if left := time.Until(next.cert.Leaf.NotAfter); left < soon {
		s.log.Warn("the TLS certificate expires soon", "file", s.cfg.Cert, "expires", next.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return true, nil
}

// Watch reloads the files when they change, until ctx ends. It looks at their content every so often, so that it does not matter how they are replaced: written,
// renamed, or by a symbolic link of a folder above. Files that are bad are told once and change nothing.
func (s *Store) Watch(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		changed, err := s.Reload()
		switch {
		case err != nil && err.Error() != told:
			told = err.Error()
			s.log.Error("new TLS files are refused; those that were read before stay in use", "error", err)
		case err == nil:
			told = ""
		}
		if changed {
			s.log.Info("new TLS files are in use", "expires", s.current.Load().cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
		}
	}
}
