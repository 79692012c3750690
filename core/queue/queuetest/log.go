package queuetest

import (
	"context"
	"errors"
	"sync"

	"portico/core/queue"
)

// ErrTorn is what a torn log answers when it is abandoned.
var ErrTorn = errors.New("torn by the test")

// Log implements queue.Log on a Disk. Appends are answered by a goroutine of its own, in order.
type Log struct {
	// immutable
	disk   *Disk
	owner  int
	inline bool
	done   chan struct{}

	// guarded by mu
	mu        sync.Mutex
	more      sync.Cond
	queued    []pending
	hold      bool
	released  int // appends to answer although they are held
	torn      bool
	abandoned bool
	closed    bool
}

type pending struct {
	data []byte
	done func(uint64, error)
}

// Append implements queue.Log.
func (l *Log) Append(entry []byte, done func(uint64, error)) {
	if l.inline {
		done(l.disk.write(l.owner, entry))
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queued = append(l.queued, pending{entry, done})
	l.more.Signal()
}

// Hold keeps appends unanswered (and unwritten) until it is called with false.
func (l *Log) Hold(hold bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = hold
	l.more.Signal()
}

// Release answers n appends although they are held.
func (l *Log) Release(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.released += n
	l.more.Signal()
}

// Pending returns how many appends wait for their answer.
func (l *Log) Pending() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queued)
}

// Tear ends the log as a dying process does: what has not been written never will be, and nothing is answered any more, until Abandon.
func (l *Log) Tear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.torn = true
	l.more.Signal()
}

// Abandon answers what a torn log has not answered, so that its queue can be closed and leaves nothing behind.
func (l *Log) Abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.torn, l.abandoned = true, true
	l.more.Signal()
}

func (l *Log) answer() {
	defer close(l.done)
	for {
		p, ok := l.take()
		if !ok {
			return
		}
		p.done(l.write(p.data))
	}
}

// take returns the next append to answer; false: there will be none.
func (l *Log) take() (pending, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queued) == 0 || !l.abandoned && (l.torn || l.hold && l.released == 0) {
		if len(l.queued) == 0 && l.closed {
			return pending{}, false
		}
		l.more.Wait()
	}
	if l.hold && l.released > 0 {
		l.released--
	}
	p := l.queued[0]
	l.queued = l.queued[1:]
	return p, true
}

func (l *Log) write(data []byte) (uint64, error) {
	l.mu.Lock()
	torn := l.torn
	l.mu.Unlock()
	if torn {
		return 0, ErrTorn
	}
	return l.disk.write(l.owner, data)
}

// Read implements queue.Log.
func (l *Log) Read(ctx context.Context, from uint64, maxBytes int) ([]queue.Entry, error) {
	for {
		got, wait, err := l.disk.read(from, maxBytes)
		if wait == nil {
			return got, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Trim implements queue.Log.
func (l *Log) Trim(below uint64, also []uint64) {
	l.mu.Lock()
	torn := l.torn
	l.mu.Unlock()
	if !torn {
		l.disk.trim(l.owner, below, also)
	}
}

// Close implements queue.Log.
func (l *Log) Close(drop bool) error {
	l.mu.Lock()
	l.closed = true
	l.more.Signal()
	l.mu.Unlock()
	<-l.done
	if drop {
		l.disk.clear()
	}
	return nil
}
