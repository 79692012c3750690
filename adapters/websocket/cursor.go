package websocket

import (
	"context"
	"strconv"
	"time"

	"portico/core"
)

// The words of from.
const (
	startNew  = "new"
	startAll  = "all"
	startLast = "last"
)

const (
	maxCursors  = 128  // cursors and watches of a connection: each has a goroutine
	placeEvery  = 1000 // messages left out by a filter after which the client is told how far it is
	maxEpoch    = 32   // bytes
	epochDigits = 36

	followPause    = 50 * time.Millisecond // before a cursor that failed tries again, at first,
	maxFollowPause = 2 * time.Second       // and in the end
	followPatience = 5 * time.Minute       // that it may fail without getting on
)

// cursor follows a stream for a subscription. Its goroutine waits while the client is slow to read.
type cursor struct {
	// immutable
	conn   *conn
	bus    *core.Bus
	sid    string
	source *source
	filter *sharedFilter
	name   string // "" or the name its place is kept under
	place  core.StreamPlace

	// owned by the goroutine
	told uint64 // the number up to which the client knows where it is
	done uint64 // the number up to which everything was looked at
}

// epochOf names one of the streams that had a name one after the other.
func epochOf(created time.Time) string { return strconv.FormatInt(created.UnixNano(), epochDigits) }

// follow opens a cursor: sub with a stream.
func (c *conn) follow(f *frame) error {
	if f.Stream == "" || f.Group != "" || f.Op != "sub" {
		return core.Errorf(core.CodeInvalid, "a cursor has a stream and no group")
	}
	if len(f.Epoch) > maxEpoch || f.After.key != "" || f.From.named() && f.After.number != nil {
		return core.Errorf(core.CodeInvalid, "from and after exclude each other; after is a number, epoch what an ok said")
	}
	var subjects []string
	if f.Subject != "" {
		subjects = []string{f.Subject}
	}
	wanted, end, err := c.extras(f)
	if err != nil {
		return err
	}
	x := &cursor{conn: c, bus: c.bus, sid: f.SID, filter: wanted, name: f.Cursor}
	err = c.opening(f, func() (*task, error) {
		a, err := x.begin(f, subjects)
		if err == nil {
			err = c.attend(f, &end)
		}
		if err != nil {
			return nil, err
		}
		return &task{cursor: x, answer: a, end: end, run: func(ctx context.Context) error { return x.run(ctx, subjects) }}, nil
	})
	if err != nil {
		end()
	}
	return err
}

// run follows until ctx ends or there is nothing to follow any more. When the streams do not answer, because there is too much to do perhaps, it tries again from where it was, for a while.
func (x *cursor) run(ctx context.Context, subjects []string) error {
	var pause time.Duration
	var failing time.Time // since when; zero: it is not
	for {
		begun := x.done
		o := core.ReadOptions{From: x.done + 1, Subjects: subjects, Created: x.place.Created, Holes: true}
		err := x.bus.FollowStream(ctx, x.source.stream, o,
			func(batch []core.StoredMessage) error { return x.deliver(ctx, batch) },
			func(from, to uint64) error { return x.gap(ctx, from, to) })
		if ctx.Err() != nil || !passing(err) {
			return err
		}
		now := time.Now()
		if failing.IsZero() || x.done > begun {
			failing, pause = now, followPause
		}
		if now.Sub(failing) > followPatience {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, maxFollowPause)
	}
}

// passing tells whether an error may be gone when the same is tried again.
func passing(err error) bool {
	switch core.AsError(err).Code {
	case core.CodeTimeout, core.CodeUnavailable, core.CodeResourceExhausted:
		return err != nil
	}
	return false
}

// begin finds the place where the cursor begins, and what the client is told of it.
func (x *cursor) begin(f *frame, subjects []string) (a answer, err error) {
	ctx, bus := x.conn.ctx, x.bus
	if x.place, err = bus.StreamPlace(ctx, f.Stream, subjects); err != nil {
		return a, err
	}
	x.source = &source{tenant: bus.Tenant(), stream: f.Stream, created: x.place.Created}
	a = ok(f.ID)
	a.Epoch = epochOf(x.place.Created)
	after, epoch := f.After.number, f.Epoch
	if x.name != "" && after == nil {
		kept, err := bus.Cursor(ctx, f.Stream, x.name)
		switch {
		case err == nil:
			after, epoch = &kept.Sequence, epochOf(kept.Created)
		case core.AsError(err).Code != core.CodeNotFound:
			return a, err
		}
	}
	if after != nil {
		x.resume(&a, *after, epoch)
	} else if err := x.start(ctx, &a, f.From, subjects); err != nil {
		return a, err
	}
	x.told, x.done = *a.After, *a.After
	return a, nil
}

// resume goes on behind the last number seen, and says whether anything is missing.
func (x *cursor) resume(a *answer, seen uint64, epoch string) {
	if epoch != "" && epoch != a.Epoch || seen > x.place.Last {
		a.Reset, seen = true, 0
	}
	recovered := !a.Reset
	if first := x.place.First; first > seen+1 {
		recovered = false
		a.Gap = &core.Range{From: seen + 1, To: first - 1}
		seen = first - 1
	}
	a.After, a.Recovered = &seen, &recovered
}

// start begins where from says.
func (x *cursor) start(ctx context.Context, a *answer, from start, subjects []string) (err error) {
	next := x.place.Last + 1
	switch {
	case from.seq > 0:
		next = from.seq
	case from.word == startAll:
		next = x.place.First
	case !from.time.IsZero() || from.word == startLast:
		next, err = x.bus.StreamStart(ctx, x.source.stream, from.time, subjects)
	}
	if err != nil {
		return err
	}
	after := max(next, 1) - 1
	a.After = &after
	return nil
}

// deliver hands messages to the client, as fast as it reads.
func (x *cursor) deliver(ctx context.Context, batch []core.StoredMessage) error {
	for i := range batch {
		m := &batch[i]
		x.done = m.Sequence
		if !x.filter.wants(&m.Message) {
			if err := x.passed(ctx, m.Sequence); err != nil {
				return err
			}
			continue
		}
		if err := x.conn.awaitRoom(ctx); err != nil {
			return err
		}
		x.told = m.Sequence
		x.conn.out.Push(item{kind: itemStored, name: x.sid, message: &m.Message, stored: m, source: x.source})
	}
	return nil
}

// passed notes a message that the filter leaves out. The client hears of it now and then, so that it does not come back to all of them.
func (x *cursor) passed(ctx context.Context, sequence uint64) error {
	if sequence < x.told+placeEvery {
		return nil
	}
	if err := x.conn.awaitRoom(ctx); err != nil {
		return err
	}
	x.told = sequence
	x.conn.send(answer{Op: "place", SID: x.sid, Seq: sequence})
	return nil
}

// gap tells what was removed before the client saw it.
func (x *cursor) gap(ctx context.Context, from, to uint64) error {
	if err := x.conn.awaitRoom(ctx); err != nil {
		return err
	}
	x.told, x.done = to, to
	x.conn.send(answer{Op: "gap", SID: x.sid, From: from, To: to})
	return nil
}

// commit keeps a cursor's place.
func (c *conn) commit(f *frame) error {
	c.mu.Lock()
	t := c.names[f.SID].task
	c.mu.Unlock()
	if t == nil || t.cursor == nil || t.cursor.name == "" {
		return core.Errorf(core.CodeNotFound, "there is no subscription %q with a cursor", f.SID)
	}
	x, id, seq := t.cursor, f.ID, f.Seq
	if seq == 0 {
		return core.Errorf(core.CodeInvalid, "commit needs a seq, the last that is done")
	}
	return c.inTurn(0, id, func(ctx context.Context) error {
		kept, err := x.bus.SaveCursor(ctx, core.Cursor{Stream: x.source.stream, Name: x.name, Sequence: seq, Created: x.place.Created})
		if err != nil {
			return err
		}
		a := ok(id)
		a.After = &kept.Sequence
		c.done(a)
		return nil
	})
}

// forget deletes a named cursor.
func (c *conn) forgetCursor(f *frame) error {
	bus, id, stream, name := c.bus, f.ID, f.Stream, f.Cursor
	return c.inTurn(0, id, func(ctx context.Context) error {
		if err := bus.DeleteCursor(ctx, stream, name); err != nil {
			return err
		}
		c.done(ok(id))
		return nil
	})
}
