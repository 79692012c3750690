package core

import (
	"context"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	catchUpPatience = 30 * time.Second // for one read: many who are behind read in turn
	followBatch     = 256              // messages handed over at once
	followBytes     = 1 << 20          // of about so many bytes, or one message
)

// FollowStream calls deliver with the messages that match, from o.From (or o.Since) on, in order and each once, first those that are there, then those that come, until ctx
// ends (nil), deliver returns an error (that error), or the stream is gone (CodeNotFound). o.From 0 means what comes from now on: who must know when that is asks Stream and goes on from
// one more than LastSequence. If messages behind the place have been removed meanwhile, gap is called first with the sequence numbers from and to (both included) that are missing; it may be
// nil, and is not called for what is missing before From 1 and Since. Many may follow one stream at little cost: they share what has just been stored. deliver may take its time: nobody waits
// for it. It owns the slice, but must not change the messages' headers and data. o.Limit and o.MaxBytes are not used. Messages on subjects that this identity may not see are left out, without a gap.
// With o.Holes gaps are exact: what is delivered and the gaps are together every number from the place on. With o.Subjects too, but for what matched and was removed one by one: of such nobody knows the subject.
// CodeInvalid, CodePermissionDenied, CodeUnavailable.
func (b *Bus) FollowStream(ctx context.Context, name string, o ReadOptions, deliver func([]StoredMessage) error, gap func(from, to uint64) error) error {
	s, err := b.onStream(mayFollow, name)
	if err != nil {
		return err
	}
	if err := b.checkReading(ctx, s, name, &o); err != nil {
		return err
	}
	ctx, stop := b.guarded(ctx, func() error { _, err := b.onStream(mayFollow, name); return err })
	defer stop()
	f := &follower{
		streams: s, stream: name, created: o.Created, subjects: o.Subjects, oldest: o.From == 1 || !o.Since.IsZero(), holes: o.Holes && gap != nil,
		deliver: b.sight().deliver(deliver), gap: gap,
	}
	err = f.follow(ctx, func() (uint64, error) { return s.placeOf(ctx, name, &o, 0) })
	if refused := lost(ctx); refused != nil {
		return refused
	}
	if over(ctx) {
		return nil
	}
	return err
}

// follower is somebody who follows a stream. It belongs to the goroutine that calls follow.
type follower struct {
	streams  *streams
	stream   string
	created  time.Time // of the stream; zero: whichever it is
	subjects []string
	holes    bool
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
	if !f.created.IsZero() && !f.tail.isOf(f.created) {
		return Errorf(CodeNotFound, "stream %q was made anew", f.stream)
	}
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
	if f.holes {
		return f.handExact(messages, next, f.known())
	}
	f.place, f.oldest = next, false
	if len(messages) == 0 {
		return nil
	}
	return f.deliver(messages)
}

// known is the number below which whatever was not found is certainly gone: without subjects all that was looked at, with subjects nothing, since it may not have matched.
func (f *follower) known() uint64 {
	if len(f.subjects) == 0 {
		return math.MaxUint64
	}
	return 0
}

// handExact is hand that tells each number up to next that is not among messages and below gone, in order with them.
func (f *follower) handExact(messages []StoredMessage, next, gone uint64) error {
	f.oldest = false
	told := 0 // of messages
	for i := range messages {
		from, to := f.place, min(messages[i].Sequence, gone)
		f.place = messages[i].Sequence + 1
		if to <= from {
			continue
		}
		if err := f.deliverAll(messages[told:i:i]); err != nil {
			return err
		}
		told = i
		if err := f.gap(from, to-1); err != nil {
			return err
		}
	}
	if err := f.deliverAll(messages[told:]); err != nil {
		return err
	}
	from, to := f.place, min(next, gone)
	f.place = max(f.place, next)
	if to <= from {
		return nil
	}
	return f.gap(from, to-1)
}

func (f *follower) deliverAll(messages []StoredMessage) error {
	if len(messages) == 0 {
		return nil
	}
	return f.deliver(messages)
}

// firstOf is the number of a stream's oldest message, or of the next to come if there is none.
func firstOf(info *jetstream.StreamInfo) uint64 {
	if info.State.Msgs == 0 {
		return info.State.LastSeq + 1
	}
	return info.State.FirstSeq
}

// catchUp reads from the stream what is not in the ring any more.
func (f *follower) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpPatience)
	defer cancel()
	reach := f.tail.reach() // what is stored up to here is found by the read
	messages, more, err := f.streams.readFrom(ctx, f.stream, f.place, f.subjects, followBatch, followBytes)
	if err != nil {
		return err
	}
	if !f.holes && (len(messages) == 0 || messages[0].Sequence > f.place) {
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
	if f.holes && len(f.subjects) > 0 { // the stream's beginning may have passed us while it was read
		first, err := f.tail.firstNow(ctx)
		if err != nil {
			return err
		}
		return f.handExact(messages, next, first)
	}
	return f.hand(messages, next)
}

// tellGap tells what has been removed between the place and the first of messages.
func (f *follower) tellGap(ctx context.Context, messages []StoredMessage) error {
	info, err := f.streams.streamInfo(ctx, f.stream)
	if err != nil {
		return err
	}
	first := firstOf(info)
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
