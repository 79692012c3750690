package core

import "context"

// firstTurn is one question where the stream begins, for all who wanted to know before it was asked.
type firstTurn struct {
	done  chan struct{} // closed when the rest is valid
	first uint64
	err   error
}

// firstNow returns the number of the stream's oldest message (see firstOf) at some time after the call. Many followers who are behind want to know at once: at most one question is under way, and the next is
// for all who have come meanwhile.
func (t *tail) firstNow(ctx context.Context) (uint64, error) {
	t.mu.Lock()
	turn := t.nextFirst
	begins := turn == nil
	if begins {
		turn = &firstTurn{done: make(chan struct{})}
		t.nextFirst = turn
	}
	t.mu.Unlock()
	if begins && !t.streams.tails.begin(func() { t.askFirst(turn) }) { // not the caller's alone: others wait for it when he has gone
		return 0, Errorf(CodeUnavailable, "the gateway is stopping")
	}
	select {
	case <-turn.done:
		return turn.first, turn.err
	case <-ctx.Done():
		return 0, busError(ctx.Err())
	case <-t.streams.ctx.Done():
		return 0, Errorf(CodeUnavailable, "the gateway is stopping")
	}
}

// begin starts work for the followed streams, unless nothing is begun any more.
func (ts *tails) begin(work func()) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if !ts.closed {
		ts.streams.over.Go(work)
	}
	return !ts.closed
}

func (t *tail) askFirst(turn *firstTurn) {
	t.asking.Lock()
	defer t.asking.Unlock()
	t.mu.Lock()
	t.nextFirst = nil
	t.mu.Unlock()
	info, err := t.streams.streamInfo(t.streams.ctx, t.stream)
	if err == nil {
		turn.first = firstOf(info)
	}
	turn.err = err
	close(turn.done)
}
