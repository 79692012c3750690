package core

import "context"

const (
	followBatch = 256     // messages handed over at once
	followBytes = 1 << 20 // of about so many bytes, or one message
)

// FollowStream calls deliver with the messages that match, from o.From (or o.Since) on, in order and each once, first those that are there, then those that come, until ctx
// ends (nil), deliver returns an error (that error), or the stream is gone (CodeNotFound). o.From 0 means what comes from now on: who must know when that is asks Stream and goes on from
// one more than LastSequence. If messages behind the place have been removed meanwhile, gap is called first with the sequence numbers from and to (both included) that are missing; it may be
// nil, and is not called for what is missing before From 1 and Since. Many may follow one stream at little cost: they share what has just been stored. deliver may take its time: nobody waits
// for it. It owns the slice, but must not change the messages' headers and data. o.Limit and o.MaxBytes are not used. Messages on subjects that this identity may not see are left out, without a gap.
// CodeInvalid, CodePermissionDenied, CodeUnavailable.
func (b *Bus) FollowStream(ctx context.Context, name string, o ReadOptions, deliver func([]StoredMessage) error, gap func(from, to uint64) error) error {
	s, err := b.onStream(mayFollow, name)
	if err != nil {
		return err
	}
	if err := b.checkReading(ctx, s, name, &o); err != nil {
		return err
	}
	f := &follower{streams: s, stream: name, subjects: o.Subjects, oldest: o.From == 1 || !o.Since.IsZero(), deliver: b.sight().deliver(deliver), gap: gap}
	err = f.follow(ctx, func() (uint64, error) { return s.placeOf(ctx, name, &o, 0) })
	if over(ctx) {
		return nil
	}
	return err
}

// follower is somebody who follows a stream. It belongs to the goroutine that calls follow.
type follower struct {
	streams  *streams
	stream   string
	subjects []string
	deliver  func([]StoredMessage) error
	gap      func(from, to uint64) error // nil: not told

	tail   *tail
	place  uint64 // the next sequence number to look at
	oldest bool   // nothing was delivered yet, and the start is wherever the stream begins

	reached func() error // nil or called once, when the place is behind until
	until   uint64
}

// follow delivers what comes from start's place on.
func (f *follower) follow(ctx context.Context, start func() (uint64, error)) (err error) {
	if f.tail, err = f.streams.tails.join(ctx, f.stream); err != nil {
		return err
	}
	defer f.streams.tails.leave(f.tail)
	if f.place, err = start(); err != nil {
		return err
	}
	wanted := matches(f.subjects)
	for ctx.Err() == nil {
		if err := f.arrive(); err != nil {
			return err
		}
		v, err := f.tail.at(f.place, wanted, followBatch, followBytes)
		switch {
		case err != nil:
			return err
		case v.behind:
			err = f.catchUp(ctx)
		case v.wait != nil:
			select {
			case <-v.wait:
			case <-ctx.Done():
			}
		default:
			err = f.hand(v.messages, v.next)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// arrive tells that the place is behind until.
func (f *follower) arrive() error {
	if f.reached == nil || f.place <= f.until {
		return nil
	}
	reached := f.reached
	f.reached = nil
	return reached()
}

// hand delivers messages; next is the place behind them.
func (f *follower) hand(messages []StoredMessage, next uint64) error {
	f.place, f.oldest = next, false
	if len(messages) == 0 {
		return nil
	}
	return f.deliver(messages)
}

// catchUp reads from the stream what is not in the ring any more.
func (f *follower) catchUp(ctx context.Context) error {
	reach := f.tail.reach() // what is stored up to here is found by the read
	messages, more, err := f.streams.readFrom(ctx, f.stream, f.place, f.subjects, followBatch, followBytes)
	if err != nil {
		return err
	}
	if len(messages) == 0 || messages[0].Sequence > f.place {
		if err := f.tellGap(ctx, messages); err != nil {
			return err
		}
	}
	next := f.place
	if n := len(messages); n > 0 {
		next = messages[n-1].Sequence + 1
	}
	if !more {
		next = max(next, reach+1)
	}
	return f.hand(messages, next)
}

// tellGap tells what has been removed between the place and the first of messages.
func (f *follower) tellGap(ctx context.Context, messages []StoredMessage) error {
	info, err := f.streams.streamInfo(ctx, f.stream)
	if err != nil {
		return err
	}
	first := info.State.FirstSeq
	if info.State.Msgs == 0 {
		first = info.State.LastSeq + 1
	}
	if len(messages) > 0 {
		first = min(first, messages[0].Sequence)
	}
	from := f.place
	if first <= from {
		return nil
	}
	f.place = first
	if f.oldest || f.gap == nil {
		return nil
	}
	return f.gap(from, first-1)
}

// over tells whether ctx has ended.
func over(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}
