package jslog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"portico/core/queue"
)

const (
	probeStream = "LOGPROBE" // and its subject
	maxSpare    = 4096       // outcomes a batch may have to be used again
)

// outcome is what somebody is to be told, in its turn, and after a sync if it is good news.
type outcome struct {
	log  *streamLog // nil: nobody's append
	done func(seq uint64, err error)
	seq  uint64
	err  error
}

// finish queues an outcome. The caller may hold a log's mu and calls tell afterwards.
func (s *Store) finish(o outcome) {
	s.mu.Lock()
	s.outcomes = append(s.outcomes, o)
	s.mu.Unlock()
}

// tell sees to it that the outcomes queued so far reach their owners: in this goroutine if inline is set and no disk is waited for, else in
// another. Without inline it may be called while a log's mu is held.
func (s *Store) tell(inline bool) {
	s.mu.Lock()
	start := !s.draining && len(s.outcomes) > 0
	s.draining = s.draining || start
	s.mu.Unlock()
	switch {
	case !start:
	case inline && !s.opts.Sync:
		s.drain()
	default:
		go s.drain() // Close waits for draining to end
	}
}

// drain is the committer: it takes what has been answered, syncs once, tells, and again, until nothing is left. One runs at a time.
func (s *Store) drain() {
	for {
		s.mu.Lock()
		if len(s.outcomes) == 0 {
			s.draining = false
			s.drained.Broadcast()
			s.mu.Unlock()
			return
		}
		batch := s.outcomes
		s.outcomes, s.spare = s.spare, nil
		s.mu.Unlock()
		err := s.commit(batch)
		for i := range batch {
			batch[i].tell(err)
		}
		clear(batch)
		if cap(batch) <= maxSpare {
			s.spare = batch[:0]
		}
	}
}

func (o *outcome) tell(syncErr error) {
	if o.err == nil && syncErr != nil {
		o.seq, o.err = 0, syncErr
	}
	o.done(o.seq, o.err)
	if o.log != nil {
		o.log.told()
	}
}

// commit puts on disk what the batch's good news promise. The first error is the last word: the kernel reports it once and forgets.
func (s *Store) commit(batch []outcome) error {
	if err := s.failure(); err != nil || !s.opts.Sync {
		return err
	}
	good := false
	for i := range batch {
		good = good || batch[i].err == nil
	}
	if !good {
		return nil
	}
	if err := s.disk.sync(); err != nil {
		err = fmt.Errorf("%w: %w", ErrSync, err)
		s.broken.Store(&err)
		s.report(err)
		return err
	}
	return nil
}

// failure is the sync error that ended the store's usefulness, or nil.
func (s *Store) failure() error {
	if err := s.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// report tells Options.Failed, in turn with the outcomes. The caller may hold a log's mu.
func (s *Store) report(err error) {
	if s.opts.Failed == nil {
		return
	}
	s.finish(outcome{done: func(uint64, error) { s.opts.Failed(err) }, err: err})
	s.tell(false)
}

// Sync returns when everything that was written before the call, by the store or by others to the same directory, is on disk. It joins the group commit. With
// Options.Sync false there is nothing to wait for.
func (s *Store) Sync(ctx context.Context) error {
	if !s.opts.Sync {
		return nil
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return queue.ErrClosed
	}
	synced := make(chan error, 1)
	s.outcomes = append(s.outcomes, outcome{done: func(_ uint64, err error) { synced <- err }})
	s.mu.Unlock()
	s.tell(false)
	select {
	case err := <-synced:
		return err
	case <-ctx.Done():
		return fmt.Errorf("sync log store: %w", ctx.Err())
	}
}

// Probe writes and syncs a small entry in a stream of its own, which keeps one: nil means that the store is writable. After ErrSync it never is again.
func (s *Store) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.AckTimeout)
	defer cancel()
	if err := s.failure(); err != nil {
		return err
	}
	if err := s.probe(ctx); err != nil {
		return fmt.Errorf("probe log store: %w", err)
	}
	return s.Sync(ctx)
}

func (s *Store) probe(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	_, err := s.js.Stream(ctx, probeStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{Name: probeStream, Subjects: []string{probeStream}, Storage: jetstream.FileStorage, MaxMsgs: 1})
	}
	if err != nil {
		return err
	}
	_, err = s.js.Publish(ctx, probeStream, []byte("probe"))
	if refusal := new(jetstream.APIError); err != nil && !errors.As(err, &refusal) && s.ctx.Err() == nil {
		// A stream that could not write once stays silent. The next probe gets a fresh one.
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.AckTimeout)
		defer cancel()
		_ = s.js.DeleteStream(ctx, probeStream)
	}
	return err
}
