package jslog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"portico/core/queue"
)

// maxBatch bounds the entries of one read.
const maxBatch = 4096

// fetched is an entry as it came from the server.
type fetched struct {
	queue.Entry
	id string
}

// Read implements queue.Log. It reads at most maxRead bytes (and one entry) however many are asked for, waits while other reads are under way, and ends with ctx or
// Options.AckTimeout. queue.ErrCorrupt: there are entries from from on, and the server cannot read them.
func (l *streamLog) Read(ctx context.Context, from uint64, maxBytes int) ([]queue.Entry, error) {
	from = max(from, 1)
	l.mu.Lock()
	nothing := l.phase == live && from > l.next
	l.mu.Unlock()
	if nothing {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.s.opts.AckTimeout)
	defer cancel()
	var entries []queue.Entry
	collect := func(e fetched) error {
		entries = append(entries, e.Entry)
		return nil
	}
	var err error
	for range 3 { // an append may come between a fetch that finds nothing and the look at the stream's state
		var n int
		if n, err = l.s.fetch(ctx, l.stream, from, maxBytes, collect); err == nil && n == 0 {
			err = l.s.exhausted(ctx, l.stream, from)
		}
		if !errors.Is(err, queue.ErrCorrupt) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read log %q: %w", l.name, err)
	}
	return entries, nil
}

// fetch reads a batch by direct get, hands its entries to each, and returns how many there were. None says only that the server found none.
func (s *Store) fetch(ctx context.Context, stream string, from uint64, maxBytes int, each func(fetched) error) (int, error) {
	maxBytes = min(max(maxBytes, 1), maxRead)
	weight := min(int64(maxBytes+s.opts.MaxEntry), maxReads)
	if err := s.budget.Acquire(ctx, weight); err != nil {
		return 0, err
	}
	defer s.budget.Release(weight)
	inbox := s.reads.NewInbox()
	sub, err := s.reads.SubscribeSync(inbox)
	if err != nil {
		return 0, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	req := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d}`, from, maxBatch, maxBytes)
	if err := s.reads.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, req); err != nil {
		return 0, err
	}
	var last uint64
	for n := 0; ; n++ {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return n, err
		}
		if status := m.Header.Get("Status"); status != "" {
			return n, endOfBatch(m, status, n, last)
		}
		e, err := entryOf(m, last)
		if err == nil {
			err = each(e)
		}
		if err != nil {
			return n, err
		}
		last = e.Seq
	}
}

// entryOf reads one message of a batch that follows the one with sequence number last.
func entryOf(m *nats.Msg, last uint64) (fetched, error) {
	seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil || seq <= last || m.Header.Get("Nats-Last-Sequence") != strconv.FormatUint(last, 10) {
		return fetched{}, fmt.Errorf("%w: %q follows %d in a batch", ErrUnavailable, m.Header.Get("Nats-Sequence"), last)
	}
	return fetched{queue.Entry{Seq: seq, Data: m.Data}, m.Header.Get(entryID)}, nil
}

// endOfBatch judges the status that ends a batch of n entries.
func endOfBatch(m *nats.Msg, status string, n int, last uint64) error {
	switch {
	case status == "404" && n == 0:
		return nil
	case status == "204" && m.Header.Get("Nats-Last-Sequence") == strconv.FormatUint(last, 10):
		return nil
	}
	return fmt.Errorf("%w: batch of %d ended with status %s %s", ErrUnavailable, n, status, m.Header.Get("Description"))
}

// exhausted returns nil if the stream really has nothing from from on: the server also says "not found" when it cannot read what it has.
func (s *Store) exhausted(ctx context.Context, stream string, from uint64) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	str, err := s.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	state := str.CachedInfo().State
	if state.Msgs == 0 || from > state.LastSeq {
		return nil
	}
	if from > state.FirstSeq { // perhaps all of them were deleted one by one
		info, err := str.Info(ctx, jetstream.WithDeletedDetails(true))
		if err != nil {
			return err
		}
		state = info.State
		at, _ := slices.BinarySearch(state.Deleted, from)
		if uint64(len(state.Deleted)-at) >= state.LastSeq-from+1 {
			return nil
		}
	}
	return fmt.Errorf("%w: from %d of %d", queue.ErrCorrupt, from, state.LastSeq)
}
