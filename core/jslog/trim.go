package jslog

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

const (
	maxTrimmers = 8
	maxTrimSeqs = 1 << 16 // per log
	trimTurn    = 32      // deletions before another log's turn
)

// trim is what a log has been asked to remove and has not yet.
type trim struct {
	below  uint64
	seqs   map[uint64]struct{}
	queued bool // in Store.trims, or a trimmer has it
}

// Trim implements queue.Log. It is remembered and done soon, one request at a time. What the server refuses is tried again with the next Trim, what is too much
// (maxTrimSeqs) is forgotten, and so is what a store has not done when it is closed. What was never answered is not removed.
func (l *streamLog) Trim(below uint64, also []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fate != nil {
		return
	}
	t := &l.trim
	t.below = max(t.below, min(below, l.acked+1)) // purging beyond the end would move the end
	if t.seqs == nil {
		t.seqs = make(map[uint64]struct{}, len(also))
	}
	for _, seq := range also {
		if seq >= t.below && seq <= l.acked && len(t.seqs) < maxTrimSeqs {
			t.seqs[seq] = struct{}{}
		}
	}
	if !t.queued && (t.below > 1 || len(t.seqs) > 0) {
		t.queued = true
		l.s.queueTrim(l)
	}
}

// awaitTrim waits until there is nothing to trim, but not for ever. mu is held.
func (l *streamLog) awaitTrim() {
	ctx, cancel := context.WithTimeout(l.s.ctx, l.s.opts.AckTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.quiet.Broadcast()
	})
	defer stop()
	for l.trim.queued && ctx.Err() == nil {
		l.quiet.Wait()
	}
}

// queueTrim puts a log in line, and starts a trimmer if there may be one more. The log's mu may be held.
func (s *Store) queueTrim(l *streamLog) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.trims = append(s.trims, l)
	if s.trimmers < maxTrimmers {
		s.trimmers++
		s.wg.Go(s.trimmer)
	}
}

// trimmer takes logs from the line until it is empty.
func (s *Store) trimmer() {
	for {
		s.mu.Lock()
		if len(s.trims) == 0 || s.closed {
			s.trimmers--
			s.mu.Unlock()
			return
		}
		l := s.trims[0]
		s.trims = slices.Delete(s.trims, 0, 1)
		s.mu.Unlock()
		l.trimTurn()
	}
}

// trimTurn does a part of what there is to trim.
func (l *streamLog) trimTurn() {
	below, seqs := l.takeTrim()
	err := l.remove(below, &seqs)
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.quiet.Broadcast()
	t := &l.trim
	if err != nil {
		l.s.opts.Logger.Debug("trim log", "log", l.name, "error", err)
		if t.queued { // else it was forgotten meanwhile
			t.queued = false
			t.below = max(t.below, below)
			for _, seq := range seqs {
				t.seqs[seq] = struct{}{}
			}
		}
		return
	}
	if t.queued = t.queued && (t.below > 0 || len(t.seqs) > 0); t.queued {
		l.s.queueTrim(l)
	}
}

// takeTrim takes the floor and a turn's worth of sequence numbers above it out of what there is to trim.
func (l *streamLog) takeTrim() (below uint64, seqs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.trim
	below, t.below = t.below, 0
	for seq := range t.seqs {
		if len(seqs) == trimTurn {
			break
		}
		delete(t.seqs, seq)
		if seq >= below {
			seqs = append(seqs, seq)
		}
	}
	return below, seqs
}

// remove purges below and deletes seqs, taking what is done out of seqs.
func (l *streamLog) remove(below uint64, seqs *[]uint64) error {
	ctx, cancel := context.WithTimeout(l.s.ctx, l.s.opts.AckTimeout)
	defer cancel()
	if below > 1 { // 1 has nothing below it, and 0 would purge everything
		if err := l.s.request(ctx, "$JS.API.STREAM.PURGE."+l.stream, fmt.Appendf(nil, `{"seq":%d}`, below)); err != nil {
			return err
		}
	}
	for len(*seqs) > 0 {
		if err := l.s.request(ctx, "$JS.API.STREAM.MSG.DELETE."+l.stream, fmt.Appendf(nil, `{"seq":%d,"no_erase":true}`, (*seqs)[0])); err != nil {
			return err
		}
		*seqs = (*seqs)[1:]
	}
	return nil
}

// request calls the JetStream API; that what is to be removed is not there is no error.
func (s *Store) request(ctx context.Context, subject string, body []byte) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	m, err := s.reads.RequestWithContext(ctx, subject, body)
	if err != nil {
		return err
	}
	err = parseError(m.Data)
	if refusal := new(apiError); errors.As(err, &refusal) && (refusal.Code == errNoMessage || refusal.Code == errNoStream) {
		return nil
	}
	return err
}
