//go:build linux && !jslog_fsync

package jslog

import (
	"os"

	"golang.org/x/sys/unix"
)

// disk is the file system the store's directory is on. It stays open, so that the kernel reports every write error since to us.
type disk struct{ dir *os.File }

func openDisk(dir string) (*disk, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return &disk{f}, nil
}

// sync returns when everything written to the file system before has reached the disk.
func (d *disk) sync() error { return os.NewSyscallError("syncfs", unix.Syncfs(int(d.dir.Fd()))) }

func (d *disk) close() error { return d.dir.Close() }
