package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// rotating is a file that gives its name to a new one when it is full. It is used by one goroutine at a time.
type rotating struct {
	path string
	most int64
	keep int
	file *os.File
	size int64
}

func openRotating(path string, most int64, keep int) (*rotating, error) {
	r := &rotating{path: path, most: most, keep: keep}
	return r, r.open()
}

func (r *rotating) open() error {
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.file, r.size = f, info.Size()
	return nil
}

// Write implements io.Writer. A line is never cut between two files.
func (r *rotating) Write(b []byte) (int, error) {
	if r.file == nil || r.size > 0 && r.size+int64(len(b)) > r.most {
		if err := r.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := r.file.Write(b)
	r.size += int64(n)
	return n, err
}

// rotate moves every file one further; the oldest goes. After an error the next Write tries again.
func (r *rotating) rotate() error {
	if r.file != nil {
		err := r.file.Close()
		if r.file = nil; err != nil {
			return err
		}
	}
	if r.size > 0 {
		for i := r.keep; i > 0; i-- {
			if err := os.Rename(r.name(i-1), r.name(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return r.open()
}

// name is what the i-th file is called; the one that is written is 0.
func (r *rotating) name(i int) string {
	if i == 0 {
		return r.path
	}
	return fmt.Sprintf("%s.%d", r.path, i)
}

// Close implements io.Closer.
func (r *rotating) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
