package identity

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a busy machine may take for what should take no time.
const patience = 20 * time.Second

func closes(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatalf("%s: not closed", what)
	}
}

func open1(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
		t.Fatalf("%s: closed", what)
	default:
	}
}

func TestWhatEndsWithWhat(t *testing.T) {
	root := newLive(nil, &Identity{Name: "ann"}, time.Time{})
	one, other := newLive(root, nil, time.Time{}), newLive(root, nil, time.Time{})
	leaf := newLive(one, nil, time.Time{})
	open1(t, "leaf", leaf.Ended())
	open1(t, "other", other.Ended())
	if leaf.Identity().Name != "ann" {
		t.Errorf("identity %+v", leaf.Identity())
	}
	one.end(ErrChanged)
	closes(t, "leaf", leaf.Ended())
	if !errors.Is(leaf.Err(), ErrChanged) || other.Err() != nil || root.Err() != nil {
		t.Errorf("leaf %v, other %v, root %v", leaf.Err(), other.Err(), root.Err())
	}
	root.end(ErrGone)
	closes(t, "other", other.Ended())
	if !errors.Is(other.Err(), ErrGone) || !errors.Is(leaf.Err(), ErrChanged) {
		t.Errorf("other %v, leaf %v", other.Err(), leaf.Err())
	}
}

// TestUntilIsShared: who waits in a tenant and leaves again leaves nothing behind there.
func TestUntilIsShared(t *testing.T) {
	tenant, gone := context.WithCancel(t.Context())
	expires := time.Now().Add(time.Hour)
	root := newLive(nil, &Identity{}, expires)
	first := root.Until(tenant)
	first.AfterEnd(func() {})()
	if again := root.Until(tenant); again != first {
		t.Error("every login makes another one, which waits forever")
	}
	if !first.Expires().Equal(expires) {
		t.Errorf("it ends at %v", first.Expires())
	}
	other := root.Until(t.Context())
	gone()
	closes(t, "first", first.Ended())
	if !errors.Is(first.Err(), ErrTenant) || other.Err() != nil {
		t.Errorf("first %v, other %v", first.Err(), other.Err())
	}
	if late := root.Until(tenant); !errors.Is(late.Err(), ErrTenant) {
		t.Errorf("late: %v", late.Err())
	}
	_ = root.Until(t.Context())
	anew, end := context.WithCancel(t.Context())
	defer end()
	_ = root.Until(anew)
	if n := len(root.children); n != 2 {
		t.Errorf("%d are remembered, of which two are good", n)
	}
	root.end(ErrGone)
	closes(t, "other", other.Ended())
}

func TestWhoNeverWaitedKnowsTheEndToo(t *testing.T) {
	root := newLive(nil, &Identity{}, time.Time{})
	leaf := newLive(newLive(root, nil, time.Time{}), nil, time.Time{})
	root.end(ErrGone)
	if !errors.Is(leaf.Err(), ErrGone) {
		t.Errorf("%v", leaf.Err())
	}
}

func TestExpiry(t *testing.T) {
	root := newLive(nil, &Identity{}, time.Time{})
	soon := newLive(root, nil, time.Now().Add(20*time.Millisecond))
	closes(t, "expired", soon.Ended())
	if !errors.Is(soon.Err(), ErrExpired) || root.Err() != nil {
		t.Errorf("%v, root %v", soon.Err(), root.Err())
	}
	past := newLive(root, nil, time.Now().Add(-time.Second))
	if !errors.Is(past.Err(), ErrExpired) {
		t.Errorf("%v", past.Err())
	}
	closes(t, "past", past.Ended())
}

func TestAChangeIsToldToAll(t *testing.T) {
	root := newLive(nil, &Identity{Name: "a"}, time.Time{})
	leaf := newLive(root, nil, time.Time{})
	first := leaf.Changed()
	root.become(&Identity{Name: "b"})
	closes(t, "changed", first)
	open1(t, "the next change", leaf.Changed())
	if leaf.Identity().Name != "b" {
		t.Errorf("identity %+v", leaf.Identity())
	}
}
