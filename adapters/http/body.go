package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"
)

const (
	bodyMemory   = 512 << 20        // bytes of bodies that are being read or handled at once, over all connections; when full, 507
	bodyStep     = 256 << 10        // a body takes its memory in steps from here, as it comes
	bodyPatience = 30 * time.Second // a body must come within this, plus the time it takes at bodyPace
	bodyPace     = 64 << 10         // bytes a second
	maxControl   = 1 << 20          // bytes of a JSON body that is a command, not a message
)

// readBody reads the whole body: the limit is checked before anything is read where the length is told, and before memory
// is taken where it is not. The caller must call release when it needs the bytes no more; err nil only.
func (a *Adapter) readBody(c *gin.Context, limit int64) (body []byte, release func(), err error) {
	return a.readInto(c, limit, a.bodies)
}

// readInto is readBody with the memory of this semaphore.
func (a *Adapter) readInto(c *gin.Context, limit int64, memory *semaphore.Weighted) (body []byte, release func(), err error) {
	length := c.Request.ContentLength
	if length > limit {
		return nil, nil, tooLarge(limit)
	}
	rc := http.NewResponseController(c.Writer)
	patience := a.patience + time.Duration(max(length, 0)/bodyPace)*time.Second
	if length < 0 {
		patience += time.Duration(limit/bodyPace) * time.Second
	}
	if err := rc.SetReadDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, nil, core.AsError(err)
	}
	b := bodyReader{from: c.Request.Body, memory: memory}
	if err := b.read(length, limit); err != nil {
		b.release()
		return nil, nil, err
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		b.release()
		return nil, nil, core.AsError(err)
	}
	return b.body, b.release, nil
}

// bodyReader reads a body into memory that it takes as the bytes come: who only announces much, or sends slowly, keeps
// nothing from others.
type bodyReader struct {
	from   io.Reader
	memory *semaphore.Weighted
	body   []byte
	taken  int64
}

// read reads to the end; length is what was announced, or below zero.
func (b *bodyReader) read(length, limit int64) error {
	most := length
	if length < 0 {
		most = limit + 1 // one more tells that it is too large
	}
	for int64(len(b.body)) < most {
		if len(b.body) == cap(b.body) {
			if err := b.grow(min(max(2*int64(cap(b.body)), bodyStep), most)); err != nil {
				return err
			}
		}
		n, err := b.from.Read(b.body[len(b.body):cap(b.body)])
		b.body = b.body[:len(b.body)+n]
		switch {
		case errors.Is(err, io.EOF) && length < 0 && int64(len(b.body)) <= limit:
			return nil
		case err != nil && int64(len(b.body)) < most:
			return unreadable(err)
		}
	}
	if length < 0 {
		return tooLarge(limit)
	}
	return nil
}

func (b *bodyReader) grow(size int64) error {
	more := size - int64(cap(b.body))
	if !b.memory.TryAcquire(more) {
		return core.Errorf(core.CodeResourceExhausted, "too much is being sent at once: try again")
	}
	b.taken += more
	grown := make([]byte, len(b.body), size)
	copy(grown, b.body)
	b.body = grown
	return nil
}

func (b *bodyReader) release() {
	b.memory.Release(b.taken)
	b.taken = 0
}

func unreadable(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &core.Error{Code: core.CodeTimeout, Detail: "the body did not come in time", Err: err}
	}
	return &core.Error{Code: core.CodeInvalid, Detail: "the body could not be read to its end", Err: err}
}

func tooLarge(limit int64) error {
	return core.Errorf(core.CodeTooLarge, "the body is above the limit of %d bytes", limit)
}
