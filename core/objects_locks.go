package core

import (
	"context"
	"sync"
)

// objectLocks let one at a time replace an object, and keep the chunks of a version that was replaced as long as somebody of this node reads them. What the gateway does not come to remove
// before it stops stays until the bucket goes.
type objectLocks struct {
	// guarded by mu
	mu      sync.Mutex
	locks   map[string]*objectLock
	readers map[version]*readers
}

type objectLock struct {
	held chan struct{}
	want int // who holds it or waits for it
}

// version is an object as it was put.
type version struct{ bucket, id string }

type readers struct {
	count   int
	retired bool // the chunks go with the last reader
}

func newObjectLocks() *objectLocks {
	return &objectLocks{locks: map[string]*objectLock{}, readers: map[version]*readers{}}
}

// lock waits for its turn with key.
func (l *objectLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	l.mu.Lock()
	k := l.locks[key]
	if k == nil {
		k = &objectLock{held: make(chan struct{}, 1)}
		l.locks[key] = k
	}
	k.want++
	l.mu.Unlock()
	select {
	case k.held <- struct{}{}:
		return func() { <-k.held; l.leave(key, k) }, nil
	case <-ctx.Done():
		l.leave(key, k)
		return nil, busError(ctx.Err())
	}
}

func (l *objectLocks) leave(key string, k *objectLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.want--; k.want == 0 {
		delete(l.locks, key)
	}
}

// read counts a reader of a version in, done counts it out.
func (l *objectLocks) read(o *object, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := version{o.bucket, id}
	if l.readers[v] == nil {
		l.readers[v] = &readers{}
	}
	l.readers[v].count++
}

func (l *objectLocks) done(o *object, id string) {
	l.mu.Lock()
	v := version{o.bucket, id}
	r := l.readers[v]
	r.count--
	last := r.count == 0
	if last {
		delete(l.readers, v)
	}
	l.mu.Unlock()
	if last && r.retired {
		o.remove(id)
	}
}

// retire has the chunks of a version removed: now, or when its last reader is done.
func (l *objectLocks) retire(o *object, id string) {
	l.mu.Lock()
	r := l.readers[version{o.bucket, id}]
	if r != nil {
		r.retired = true
	}
	l.mu.Unlock()
	if r == nil {
		o.remove(id)
	}
}

// remove removes a version's chunks.
func (o *object) remove(id string) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanPatience)
	defer cancel()
	o.dropChunks(ctx, id)
}
