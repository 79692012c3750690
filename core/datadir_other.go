//go:build !unix

package core

import (
	"math"
	"os"
)

// lockFile does nothing here: this system has no flock, so two gateways on one directory are not noticed.
func lockFile(*os.File) error { return nil }

// freeBytes knows nothing here: the disk alarm is never raised, a failing write raises the store alarm.
func freeBytes(string) (int64, error) { return math.MaxInt64, nil }
