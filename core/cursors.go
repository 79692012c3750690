package core

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// Cursor is a place in a stream that a user has kept under a name.
type Cursor struct {
	Stream   string
	Name     string    // 1 to 128 bytes of letters, digits and -_.
	Sequence uint64    // the last number that is done
	Created  time.Time // of the stream, see StreamPlace
}

const (
	cursorTable     = "cursors"
	maxCursorName   = 128
	maxUserCursors  = 1000  // of one user
	maxTotalCursors = 20000 // of a tenant
	cursorTries     = 10    // while others keep the same one
)

// keptCursor is how a cursor is kept.
type keptCursor struct {
	Sequence uint64 `json:"seq"`
	Created  int64  `json:"created"` // nanoseconds since 1970
}

// Cursor returns a cursor of this user. CodeNotFound, CodeInvalid, CodePermissionDenied.
func (b *Bus) Cursor(ctx context.Context, stream, name string) (Cursor, error) {
	t, key, err := b.cursors(ctx, stream, name)
	if err != nil {
		return Cursor{}, err
	}
	c, _, err := getCursor(ctx, t, key, stream, name)
	return c, err
}

// SaveCursor keeps a cursor of this user and returns what is kept when it is on disk: a cursor never goes back, but it begins anew with a stream that was made anew. CodeResourceExhausted when
// the user has 1,000 cursors, CodeNotFound for a place in a stream that is there no longer, CodeInvalid, CodePermissionDenied, CodeUnavailable.
func (b *Bus) SaveCursor(ctx context.Context, c Cursor) (Cursor, error) {
	t, key, err := b.cursors(ctx, c.Stream, c.Name)
	if err != nil {
		return Cursor{}, err
	}
	value, err := json.Marshal(keptCursor{c.Sequence, c.Created.UnixNano()})
	if err != nil {
		return Cursor{}, err
	}
	for range cursorTries {
		there, revision, err := getCursor(ctx, t, key, c.Stream, c.Name)
		switch {
		case err == nil && there.Created.Equal(c.Created):
			if there.Sequence >= c.Sequence {
				return there, nil
			}
		case err == nil: // who has followed a stream that was there before says nothing of this one
			if err := b.isStream(ctx, c.Stream, c.Created); err != nil {
				return Cursor{}, err
			}
		case codeOf(err) != CodeNotFound:
			return Cursor{}, err
		default:
			if err := b.roomForCursor(ctx, t); err != nil {
				return Cursor{}, err
			}
		}
		if _, err = t.Update(ctx, key, value, revision); err == nil {
			return c, nil
		}
		if codeOf(err) != CodePreconditionFailed {
			return Cursor{}, err
		}
	}
	return Cursor{}, Errorf(CodeUnavailable, "cursor %q changes too quickly", c.Name)
}

// isStream returns CodeNotFound unless the stream is the one that was created then.
func (b *Bus) isStream(ctx context.Context, name string, created time.Time) error {
	s, err := b.onStream(mayFollow, name)
	if err != nil {
		return err
	}
	info, err := s.streamInfo(ctx, name)
	if err == nil && !info.Created.Equal(created) {
		err = Errorf(CodeNotFound, "stream %q was made anew", name)
	}
	return err
}

// DeleteCursor forgets a cursor of this user; it need not exist.
func (b *Bus) DeleteCursor(ctx context.Context, stream, name string) error {
	t, key, err := b.cursors(ctx, stream, name)
	if err != nil {
		return err
	}
	return t.Delete(ctx, key)
}

// cursors checks who wants what and opens the table.
func (b *Bus) cursors(ctx context.Context, stream, name string) (t *Table, key string, err error) {
	if name == "" || len(name) > maxCursorName {
		return nil, "", Errorf(CodeInvalid, "a cursor's name has 1 to %d bytes", maxCursorName)
	}
	for i := range len(name) {
		if !letter(name[i]) && strings.IndexByte("-_.", name[i]) < 0 {
			return nil, "", Errorf(CodeInvalid, "cursor %q: want letters, digits and -_.", name)
		}
	}
	if _, err := b.onStream(mayFollow, stream); err != nil {
		return nil, "", err
	}
	t, err = b.Table(ctx, cursorTable)
	return t, b.cursorPrefix() + stream + "\x00" + name, err
}

func (b *Bus) cursorPrefix() string { return b.User() + "\x00" }

// roomForCursor tells whether the user may have one more.
func (b *Bus) roomForCursor(ctx context.Context, t *Table) error {
	all, err := t.List(ctx)
	if err != nil {
		return err
	}
	own := 0
	for i := range all {
		if strings.HasPrefix(all[i].Key, b.cursorPrefix()) {
			own++
		}
	}
	if own >= maxUserCursors || len(all) >= maxTotalCursors {
		return Errorf(CodeResourceExhausted, "too many cursors are kept: forget some")
	}
	return nil
}

func getCursor(ctx context.Context, t *Table, key, stream, name string) (c Cursor, revision uint64, err error) {
	e, err := t.Get(ctx, key)
	if err != nil {
		return c, 0, err
	}
	var kept keptCursor
	if err := json.Unmarshal(e.Value, &kept); err != nil {
		return c, 0, &Error{Code: CodeInternal, Detail: "internal error", Err: err}
	}
	return Cursor{Stream: stream, Name: name, Sequence: kept.Sequence, Created: time.Unix(0, kept.Created).UTC()}, e.Revision, nil
}
