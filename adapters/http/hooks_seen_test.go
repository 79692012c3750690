package httpapi

import (
	"container/heap"
	"context"
	"encoding/binary"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
)

// delivery is an id for a test.
func delivery(n int) (k seenKey) {
	binary.BigEndian.PutUint64(k[:], uint64(n))
	return k
}

// TestSeenIDsLeave: old ids go off the disk as new ones come, and what is left there is read at the next start.
func TestSeenIDsLeave(t *testing.T) {
	g := coretest.Start(t)
	s := newSeenIDs(g)
	take := func(n int, until time.Time) {
		t.Helper()
		known, done, err := s.claim(t.Context(), delivery(n))
		if err != nil || known {
			t.Fatalf("claim %d: %v, %v", n, known, err)
		}
		defer done()
		if err := s.keep(t.Context(), delivery(n), until); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 6 {
		take(n, time.Now().Add(-time.Second))
	}
	for n := 6; n < 10; n++ {
		take(n, time.Now().Add(time.Hour))
	}
	table, err := s.table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := table.List(t.Context()); err != nil || len(entries) != 4 {
		t.Errorf("%d ids on disk, want 4 (%v)", len(entries), err)
	}
	again := newSeenIDs(g)
	for n, want := range map[int]bool{0: false, 5: false, 6: true, 9: true, 10: false} {
		known, done, err := again.claim(t.Context(), delivery(n))
		if err != nil || known != want {
			t.Errorf("%d: known %v, want %v (%v)", n, known, want, err)
		}
		if done != nil {
			done()
		}
	}
}

// TestSeenIDsFull: no more is remembered than there is room for, and room is made of what is old.
func TestSeenIDsFull(t *testing.T) {
	s := newSeenIDs(coretest.Start(t))
	if err := s.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range maxSeen {
		until := time.Now().Add(time.Hour)
		s.until[delivery(n)] = until
		s.oldest = append(s.oldest, seenID{until, delivery(n)})
	}
	heap.Init(&s.oldest)
	if _, _, err := s.claim(t.Context(), delivery(maxSeen)); core.AsError(err).Code != core.CodeResourceExhausted || err == nil {
		t.Errorf("one more: %v", err)
	}
	old := s.oldest[0].key
	past := time.Now().Add(-time.Second)
	s.oldest[0].until, s.until[old] = past, past
	known, done, err := s.claim(t.Context(), delivery(maxSeen))
	if err != nil || known {
		t.Fatalf("after one is old: %v, %v", known, err)
	}
	done()
}

// TestSeenIDsInTurn: of two that bring the same id the second waits for the first, and no longer than it wants to.
func TestSeenIDsInTurn(t *testing.T) {
	s := newSeenIDs(coretest.Start(t))
	_, done, err := s.claim(t.Context(), delivery(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, _, err := s.claim(ctx, delivery(1)); core.AsError(err).Code != core.CodeTimeout {
		t.Errorf("while it is busy: %v", err)
	}
	done()
	known, done, err := s.claim(t.Context(), delivery(1))
	if err != nil || known {
		t.Fatalf("the first has failed: %v, %v", known, err)
	}
	done()
}
