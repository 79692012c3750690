//go:build !linux || jslog_fsync

package jslog

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// disk is a directory tree whose changed files are synced one by one, where there is no call for all of them.
type disk struct {
	dir  string
	seen map[string]stamp // owned by the goroutine that syncs: files and directories as they were when last synced
}

type stamp struct {
	size int64
	time time.Time
}

func openDisk(dir string) (*disk, error) {
	if _, err := os.ReadDir(dir); err != nil {
		return nil, err
	}
	return &disk{dir: dir}, nil
}

// sync returns when everything written to the tree before has reached the disk.
func (d *disk) sync() error {
	seen := make(map[string]stamp, len(d.seen))
	err := filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil {
			err = d.syncFile(path, e, seen)
		}
		if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
			return nil
		}
		return err
	})
	d.seen = seen
	return err
}

// syncFile syncs a file or directory unless it is as it was, and notes in seen how it is.
func (d *disk) syncFile(path string, e fs.DirEntry, seen map[string]stamp) error {
	if !e.IsDir() && !e.Type().IsRegular() || e.IsDir() && runtime.GOOS == "windows" {
		return nil
	}
	info, err := e.Info()
	if err != nil {
		return err
	}
	now := stamp{info.Size(), info.ModTime()}
	if d.seen[path] != now {
		if err := fsync(path, e.IsDir()); err != nil {
			return err
		}
	}
	seen[path] = now
	return nil
}

func fsync(path string, dir bool) error {
	mode := os.O_RDWR // Windows flushes only what it may write
	if dir {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d *disk) close() error { return nil }
