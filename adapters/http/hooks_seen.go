package httpapi

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"portico/core"
)

// The ids of webhooks that were taken are remembered in memory, and in a Table so that a restart does not forget them. A Table lies in the gateway's own
// account: a bucket with a
// time to live in the tenant's account would do the same, but its clients could read it, and make the gateway take a replay, or drop what is new, by
// deleting or writing a key.
const (
	seenTable = "hook-ids"
	maxSeen   = 200_000 // ids of all sources; about 150 bytes each. When full, webhooks are refused (507) until ids are old enough to be forgotten
	sweepOne  = 2       // old ids that go for each new one: more than come
	sweepFull = 64      // when there is no room
)

// seenKey is a delivery of a source.
type seenKey [16]byte

func seenKeyOf(source, id string) (k seenKey) {
	sum := sha256.Sum256([]byte(source + "\x00" + id)) // a name has no NUL
	copy(k[:], sum[:])
	return k
}

// seenID is when an id may be forgotten.
type seenID struct {
	until time.Time
	key   seenKey
}

// seenIDs remembers deliveries.
type seenIDs struct {
	// immutable
	gateway *core.Gateway
	loading chan struct{} // capacity 1: held while the table is read

	loaded bool // guarded by loading

	mu     sync.Mutex // guards the rest
	until  map[seenKey]time.Time
	oldest seenHeap
	busy   map[seenKey]chan struct{} // being taken now; closed when that is over
}

func newSeenIDs(g *core.Gateway) *seenIDs {
	return &seenIDs{gateway: g, loading: make(chan struct{}, 1), until: map[seenKey]time.Time{}, busy: map[seenKey]chan struct{}{}}
}

// claim tells whether id was taken before. If not it is the caller's until done: others that bring the same one wait. CodeResourceExhausted.
func (s *seenIDs) claim(ctx context.Context, id seenKey) (known bool, done func(), err error) {
	if err := s.load(ctx); err != nil {
		return false, nil, err
	}
	for swept := false; ; {
		known, wait, full := s.try(id)
		switch {
		case known:
			return true, nil, nil
		case full && swept:
			return false, nil, core.Errorf(core.CodeResourceExhausted, "%d webhooks are remembered", maxSeen)
		case full:
			s.sweep(ctx, sweepFull)
			swept = true
			continue
		case wait == nil:
			return false, func() { s.release(id) }, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return false, nil, core.AsError(ctx.Err())
		}
	}
}

// try makes id the caller's, or says why not: known, to be waited for, or no room.
func (s *seenIDs) try(id seenKey) (known bool, wait <-chan struct{}, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if until, ok := s.until[id]; ok && time.Now().Before(until) {
		return true, nil, false
	}
	if wait, ok := s.busy[id]; ok {
		return false, wait, false
	}
	if len(s.until)+len(s.busy) >= maxSeen {
		return false, nil, true
	}
	s.busy[id] = make(chan struct{})
	return false, nil, false
}

func (s *seenIDs) release(id seenKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.busy[id])
	delete(s.busy, id)
}

// keep remembers an id until then. It returns when that is on disk.
func (s *seenIDs) keep(ctx context.Context, id seenKey, until time.Time) error {
	t, err := s.table(ctx)
	if err != nil {
		return err
	}
	var swept sync.WaitGroup
	swept.Go(func() { s.sweep(ctx, sweepOne) }) // beside it: both wait for the same sync
	defer swept.Wait()
	if _, err := t.Put(ctx, string(id[:]), binary.BigEndian.AppendUint64(nil, uint64(until.UnixMilli()))); err != nil {
		return err
	}
	s.remember(id, until)
	return nil
}

func (s *seenIDs) remember(id seenKey, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until[id] = until
	heap.Push(&s.oldest, seenID{until, id})
}

// sweep forgets up to n ids that are old enough. One that cannot be taken off the disk now goes after the next start.
func (s *seenIDs) sweep(ctx context.Context, n int) {
	t, err := s.table(ctx)
	if err != nil {
		return
	}
	failed := false
	for _, id := range s.expired(n) {
		if !failed {
			failed = t.Delete(ctx, string(id[:])) != nil
		}
		s.release(id)
	}
}

// expired takes up to n old ids out of memory; they are the caller's until it releases them, so that none is deleted that has come again.
func (s *seenIDs) expired(n int) (ids []seenKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(ids) < n && len(s.oldest) > 0 && s.oldest[0].until.Before(now) {
		old := heap.Pop(&s.oldest).(seenID)
		if s.until[old.key].After(old.until) {
			continue // it came again, and is kept for longer
		}
		delete(s.until, old.key)
		if s.busy[old.key] == nil { // else it comes again just now, and will be kept anew
			s.busy[old.key] = make(chan struct{})
			ids = append(ids, old.key)
		}
	}
	return ids
}

// load reads the table once.
func (s *seenIDs) load(ctx context.Context) error {
	select {
	case s.loading <- struct{}{}:
		defer func() { <-s.loading }()
	case <-ctx.Done():
		return core.AsError(ctx.Err())
	}
	if s.loaded {
		return nil
	}
	t, err := s.table(ctx)
	if err != nil {
		return err
	}
	entries, err := t.List(ctx)
	if err != nil {
		return err
	}
	for _, e := range entries {
		var id seenKey
		if len(e.Key) == len(id) && len(e.Value) == 8 {
			copy(id[:], e.Key)
			s.remember(id, time.UnixMilli(int64(binary.BigEndian.Uint64(e.Value))))
		}
	}
	s.loaded = true
	return nil
}

func (s *seenIDs) table(ctx context.Context) (*core.Table, error) {
	return s.gateway.System().Table(ctx, seenTable)
}

// seenHeap has the id that goes first at its root.
type seenHeap []seenID

func (h seenHeap) Len() int           { return len(h) }
func (h seenHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h seenHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *seenHeap) Push(x any) { *h = append(*h, x.(seenID)) }

// Pop implements heap.Interface.
func (h *seenHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
