package core

import (
	"context"
	"slices"
	"time"
)

// StreamPlace says where a stream stands, for somebody who is going to follow it.
type StreamPlace struct {
	Created time.Time // tells a stream from one that was made anew under its name
	First   uint64    // number of the oldest message; Last+1 if there is none
	Last    uint64    // number of the newest message there ever was
}

// StreamPlace describes where a stream stands. It needs the permission to follow it on these subjects (none: all). CodeNotFound, CodePermissionDenied, CodeInvalid, CodeUnavailable.
func (b *Bus) StreamPlace(ctx context.Context, name string, subjects []string) (StreamPlace, error) {
	s, err := b.onStream(mayFollow, name)
	if err != nil {
		return StreamPlace{}, err
	}
	if err := b.checkReading(ctx, s, name, &ReadOptions{Subjects: subjects}); err != nil {
		return StreamPlace{}, err
	}
	info, err := s.streamInfo(ctx, name)
	if err != nil {
		return StreamPlace{}, err
	}
	return StreamPlace{Created: info.Created, First: firstOf(info), Last: info.State.LastSeq}, nil
}

// StreamStart returns the number from which on somebody has to follow a stream who wants what was stored at since or later; with a zero since, the newest message that matches subjects
// (none: all). What it needs and returns is that of StreamPlace.
func (b *Bus) StreamStart(ctx context.Context, name string, since time.Time, subjects []string) (uint64, error) {
	s, err := b.onStream(mayFollow, name)
	if err != nil {
		return 0, err
	}
	if !since.IsZero() {
		return s.placeOf(ctx, name, &ReadOptions{Since: since}, 0)
	}
	info, err := s.streamInfo(ctx, name)
	if err != nil {
		return 0, err
	}
	o := ReadOptions{Subjects: subjects, Limit: 1, MaxBytes: 1}
	r := &backReader{streams: s, name: name, o: &o, seen: b.sight(), first: firstOf(info), top: info.State.LastSeq, span: 1}
	newest, _, err := r.read(ctx)
	if err != nil || len(newest) == 0 {
		return info.State.LastSeq + 1, err
	}
	return newest[0].Sequence, nil
}

// StreamKeeping returns the name of the one stream that keeps what is published on subject, which may be a pattern. CodeNotFound when none does; CodeInvalid when several keep some of it;
// CodePermissionDenied when this identity may not subscribe to it.
func (b *Bus) StreamKeeping(subject string) (string, error) {
	if err := b.Allow(actionSubscribe, subject); err != nil {
		return "", err
	}
	found := b.tenant.streams.directory.touching(subject)
	switch len(found) {
	case 0:
		return "", Errorf(CodeNotFound, "no stream keeps %q", subject)
	case 1:
		return found[0], nil
	}
	return "", Errorf(CodeInvalid, "several streams keep some of %q: name one", subject)
}

// touching lists the streams of clients that capture something which pattern matches.
func (d *directory) touching(pattern string) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, k := range d.byName {
		if ownStream(name) || ofBucket(name) {
			continue
		}
		if slices.ContainsFunc(k.subjects, func(s string) bool { return overlap(s, pattern) }) {
			names = append(names, name)
		}
	}
	return names
}

// overlap tells whether there is a subject that both patterns match.
func overlap(a, b string) bool {
	for {
		x, xrest, xlast := cutToken(a)
		y, yrest, ylast := cutToken(b)
		switch {
		case x == ">" || y == ">":
			return true
		case x != y && x != "*" && y != "*":
			return false
		case xlast || ylast:
			return xlast && ylast
		}
		a, b = xrest, yrest
	}
}

const (
	maxBackReads  = 64 // requests that one call of ReadStreamBack makes
	backSpanGrows = 8  // times, from a stretch without enough to the next
)

// ReadStreamBack is ReadStream towards the beginning: the newest messages up to number o.From (0: the stream's last), newest first, at most o.Limit (1 to 1000) and about o.MaxBytes of them. next is
// the number to go on from, 0 when nothing older can match. o.Since: only what was stored then or earlier; not together with From.
func (b *Bus) ReadStreamBack(ctx context.Context, name string, o ReadOptions) (messages []StoredMessage, next uint64, err error) {
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
	info, err := s.streamInfo(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	top := info.State.LastSeq
	switch {
	case o.From > 0:
		top = min(top, o.From)
	case !o.Since.IsZero():
		first, err := s.placeOf(ctx, name, &ReadOptions{Since: o.Since.Add(time.Nanosecond)}, 0)
		if err != nil {
			return nil, 0, err
		}
		top = min(top, first-1)
	}
	r := &backReader{streams: s, name: name, o: &o, seen: b.sight(), first: firstOf(info), top: top, span: uint64(o.Limit)}
	return r.read(ctx)
}

// backReader reads stretches of a stream from its end on.
type backReader struct {
	streams *streams
	name    string
	o       *ReadOptions
	seen    *sight
	first   uint64 // where the stream begins
	top     uint64 // the highest number not looked at
	span    uint64 // numbers in the next stretch

	found []StoredMessage // newest first
	bytes int
	reads int
}

func (r *backReader) read(ctx context.Context) ([]StoredMessage, uint64, error) {
	for r.top >= r.first && r.top > 0 && len(r.found) < r.o.Limit && r.bytes < r.o.MaxBytes && r.reads < maxBackReads {
		if err := r.stretch(ctx); err != nil {
			return nil, 0, err
		}
	}
	next := r.top
	if next < r.first {
		next = 0
	}
	return r.found, next, nil
}

// stretch looks at the numbers below top. If more match there than are wanted, the next try looks at fewer.
func (r *backReader) stretch(ctx context.Context) error {
	low := r.first
	if r.top-r.first >= r.span {
		low = r.top - r.span + 1
	}
	want := r.o.Limit - len(r.found)
	messages, whole, err := r.between(ctx, low, r.top, want)
	if err != nil {
		return err
	}
	if !whole && low < r.top {
		r.span = max(1, (r.top-low+1)/backSpanGrows)
		return nil
	}
	for _, m := range slices.Backward(messages) {
		if len(r.found) > 0 && r.bytes+len(m.Data) > r.o.MaxBytes {
			r.top = m.Sequence
			r.bytes = r.o.MaxBytes // it is full
			return nil
		}
		if r.seen.may(m.Subject) {
			r.found = append(r.found, m)
			r.bytes += len(m.Data)
		}
	}
	r.top = low - 1
	r.span *= backSpanGrows
	return nil
}

// between reads what matches from low to high, in order. whole is false when that is more than limit messages or the bytes of one read.
func (r *backReader) between(ctx context.Context, low, high uint64, limit int) (messages []StoredMessage, whole bool, err error) {
	r.reads++
	messages, more, err := r.streams.readFrom(ctx, r.name, low, r.o.Subjects, limit+1, maxReadBytes)
	if err != nil {
		return nil, false, err
	}
	end, _ := slices.BinarySearchFunc(messages, high+1, func(m StoredMessage, to uint64) int {
		if m.Sequence < to {
			return -1
		}
		return 1
	})
	return messages[:end], end < len(messages) || !more, nil
}

// Range is a range of sequence numbers, both ends included.
type Range struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}
