package proxy

import (
	"sync"

	"portico/core"
)

// calls counts what is under way, up to a greatest number, and tells when all is over.
type calls struct {
	// immutable
	most int
	idle chan struct{} // closed when nothing is under way and nothing may begin

	// guarded by mu
	mu     sync.Mutex
	n      int
	closed bool
}

func newCalls(most int) *calls { return &calls{most: most, idle: make(chan struct{})} }

// enter counts one in. CodeResourceExhausted, CodeUnavailable after close.
func (c *calls) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return errDraining
	case c.n >= c.most:
		return core.Errorf(core.CodeResourceExhausted, "%d calls are under way", c.most)
	}
	c.n++
	return nil
}

func (c *calls) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.closed && c.n == 0 {
		close(c.idle)
	}
}

// also runs f in a goroutine that counts too. The caller must be counted itself.
func (c *calls) also(f func()) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	go func() {
		defer c.leave()
		f()
	}()
}

// close lets nothing begin any more.
func (c *calls) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	if c.n == 0 {
		close(c.idle)
	}
}
