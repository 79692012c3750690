package core

import "sync/atomic"

// underwayShare is the part of the queues' memory that may be under way to them beside what they hold.
const underwayShare = 4

// underway counts the bytes that doors have handed to queues and that no queue has answered for. A queue may make its publishers wait (a memory queue for memory, a durable one
// for its disk); a publisher that gives up meanwhile leaves its message behind, so what one publisher may have unanswered bounds nothing.
type underway struct {
	// immutable
	max int64
	// atomic
	used atomic.Int64
}

func newUnderway(cfg Config) *underway {
	return &underway{max: max(cfg.QueueMemory/underwayShare, 4*int64(cfg.MaxMessage))}
}

// enter counts n bytes in, to be counted out by leave, or returns CodeResourceExhausted.
func (u *underway) enter(n int64) error {
	if u.used.Add(n) > u.max {
		u.leave(n)
		return Errorf(CodeResourceExhausted, "too much waits for its queues: try again")
	}
	return nil
}

func (u *underway) leave(n int64) { u.used.Add(-n) }
