package core

import (
	"cmp"
	"context"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// ReadStream reads messages in order, without a consumer and without waiting: fewer than the limit (1 to 1000) when there are no more now, or when MaxBytes (at most 4 MiB) are reached. Fewer
// does not mean that there are no more: none does. next is the sequence number to go on from. Messages on subjects that this identity may not see are left out, whatever the stream has them from.
// CodeNotFound, CodeInvalid, CodePermissionDenied.
func (b *Bus) ReadStream(ctx context.Context, name string, o ReadOptions) (messages []StoredMessage, next uint64, err error) {
	s, err := b.onStream(mayReadStream, name)
	if err != nil {
		return nil, 0, err
	}
	if err := checkLimit(o.Limit); err != nil {
		return nil, 0, err
	}
	if err := b.checkReading(ctx, s, name, &o); err != nil {
		return nil, 0, err
	}
	place, err := s.placeOf(ctx, name, &o, 1)
	if err != nil {
		return nil, 0, err
	}
	seen := b.sight()
	for {
		all, _, err := s.readFrom(ctx, name, place, o.Subjects, o.Limit, o.MaxBytes)
		if err != nil {
			return nil, 0, err
		}
		n := len(all)
		if n > 0 {
			place = all[n-1].Sequence + 1
		}
		if all = seen.filter(all); n == 0 || len(all) > 0 {
			return all, place, nil
		}
	}
}

// checkReading checks what is to be read, and that it may be seen.
func (b *Bus) checkReading(ctx context.Context, s *streams, name string, o *ReadOptions) error {
	if o.From > 0 && !o.Since.IsZero() {
		return Errorf(CodeInvalid, "from and since exclude each other")
	}
	if err := checkFilters(o.Subjects); err != nil {
		return err
	}
	k, err := s.lookup(ctx, name)
	if err != nil {
		return err
	}
	wanted := o.Subjects
	switch {
	case len(wanted) > 0:
	case len(k.subjects) > 0:
		wanted = k.subjects
	default: // a mirror, or one with sources: anything
		wanted = []string{">"}
	}
	return b.maySeeAll(wanted)
}

// placeOf is the sequence number at which o begins; without any it is fallback, or the next message to come if that is 0.
func (s *streams) placeOf(ctx context.Context, name string, o *ReadOptions, fallback uint64) (uint64, error) {
	switch {
	case o.From > 0:
		return o.From, nil
	case o.Since.IsZero() && fallback > 0:
		return fallback, nil
	}
	info, err := s.streamInfo(ctx, name)
	if err != nil || o.Since.IsZero() {
		return endOf(info), err
	}
	since := o.Since.UTC()
	first, err := s.read(ctx, name, getRequest{Since: &since, Batch: 1})
	if err != nil || len(first.messages) == 0 {
		return endOf(info), err
	}
	return first.messages[0].Sequence, nil
}

// readFrom reads from a place on what matches any of the subjects (none: all), in order; more: there may be more behind it.
func (s *streams) readFrom(ctx context.Context, name string, place uint64, subjects []string, limit, maxBytes int) (messages []StoredMessage, more bool, err error) {
	if len(subjects) < 2 {
		request := getRequest{Sequence: place, Batch: limit, MaxBytes: maxBytes}
		if len(subjects) == 1 {
			request.NextOf = subjects[0]
		}
		b, err := s.read(ctx, name, request)
		return b.messages, b.pending > 0, err
	}
	return s.merge(ctx, name, place, subjects, limit, maxBytes)
}

// merge reads each subject by itself and puts the messages in order, up to where all have been read and to what was there before.
func (s *streams) merge(ctx context.Context, name string, place uint64, subjects []string, limit, maxBytes int) (messages []StoredMessage, more bool, err error) {
	info, err := s.streamInfo(ctx, name)
	if err != nil {
		return nil, false, err
	}
	horizon := info.State.LastSeq
	for _, subject := range subjects {
		b, err := s.read(ctx, name, getRequest{Sequence: place, NextOf: subject, Batch: limit, MaxBytes: maxBytes / len(subjects)})
		if err != nil {
			return nil, false, err
		}
		messages = append(messages, b.messages...)
		if n := len(b.messages); n > 0 && b.pending > 0 {
			horizon, more = min(horizon, b.messages[n-1].Sequence), true
		}
	}
	slices.SortFunc(messages, func(a, b StoredMessage) int { return cmp.Compare(a.Sequence, b.Sequence) })
	messages = slices.CompactFunc(messages, func(a, b StoredMessage) bool { return a.Sequence == b.Sequence })
	end, _ := slices.BinarySearchFunc(messages, horizon, func(m StoredMessage, to uint64) int {
		if m.Sequence > to {
			return 1
		}
		return -1
	})
	if end = min(end, limit); end < len(messages) {
		more = true
	}
	return messages[:end], more, nil
}

// endOf is the sequence number of the next message to come.
func endOf(info *jetstream.StreamInfo) uint64 {
	if info == nil {
		return 0
	}
	return info.State.LastSeq + 1
}
