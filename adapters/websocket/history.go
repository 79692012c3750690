package websocket

import (
	"context"
	"slices"
	"time"

	"portico/core"
)

const (
	defaultHistory = 100
	maxHistory     = 1000    // messages of an answer
	historyBytes   = 4 << 20 // of an answer, about
)

// page is one answer to history.
type page struct {
	messages []core.StoredMessage
	next     uint64 // where the next one begins
	more     bool   // it is not empty
}

// history reads a stream, without staying there.
func (c *conn) history(f *frame) error {
	last := f.Last > 0
	switch {
	case f.ID == "":
		return core.Errorf(core.CodeInvalid, "history needs an id for its messages")
	case f.Last < 0 || f.Last > maxHistory || f.Limit < 0 || f.Limit > maxHistory:
		return core.Errorf(core.CodeInvalid, "limit and last: 1 to %d", maxHistory)
	case last && (f.Limit > 0 || f.Reverse || f.From.named()), f.From.word != "" && f.From.word != startAll, f.Reverse && f.From.word != "":
		return core.Errorf(core.CodeInvalid, `from is "all", a seq or a time, for reverse a seq or a time; last stands alone`)
	case f.Stream == "" && f.Subject == "":
		return core.Errorf(core.CodeInvalid, "history needs a stream or a subject")
	}
	o := core.ReadOptions{From: f.From.seq, Since: f.From.time, Limit: defaultHistory, MaxBytes: historyBytes}
	if n := f.Limit + f.Last; n > 0 {
		o.Limit = n
	}
	if f.Subject != "" {
		o.Subjects = []string{f.Subject}
	}
	h := &historian{conn: c, bus: c.bus, id: f.ID, stream: f.Stream, subject: f.Subject, options: o}
	read := h.forward
	switch {
	case last:
		read = h.newest
	case f.Reverse:
		read = h.back
	}
	return c.beside(historyBytes, f.ID, func(ctx context.Context) error { return h.answer(ctx, read) })
}

// historian answers one history.
type historian struct {
	conn            *conn
	bus             *core.Bus
	id              string
	stream, subject string
	options         core.ReadOptions
}

func (h *historian) answer(ctx context.Context, read func(context.Context) (page, error)) (err error) {
	if h.stream == "" {
		if h.stream, err = h.bus.StreamKeeping(h.subject); err != nil {
			return err
		}
	}
	a := ok(h.id)
	a.Stream = h.stream
	place, err := h.bus.StreamPlace(ctx, h.stream, h.options.Subjects)
	switch {
	case err == nil:
		a.Epoch = epochOf(place.Created)
	case core.AsError(err).Code != core.CodePermissionDenied: // it may read and not follow: then it needs no epoch
		return err
	}
	p, err := read(ctx)
	if err != nil {
		return err
	}
	from := &source{stream: h.stream, asked: true}
	for i := range p.messages {
		if err := h.conn.awaitRoom(ctx); err != nil {
			return err
		}
		m := &p.messages[i]
		h.conn.out.Push(item{kind: itemStored, name: h.id, message: &m.Message, stored: m, source: from})
	}
	n := len(p.messages)
	a.Count, a.Next, a.More = &n, p.next, &p.more
	h.conn.send(a)
	return nil
}

// forward reads from older to newer.
func (h *historian) forward(ctx context.Context) (p page, err error) {
	if p.messages, p.next, err = h.bus.ReadStream(ctx, h.stream, h.options); err != nil || len(p.messages) == 0 {
		return p, err
	}
	ahead := h.options
	ahead.From, ahead.Limit, ahead.MaxBytes = p.next, 1, 1
	ahead.Since = time.Time{}
	rest, _, err := h.bus.ReadStream(ctx, h.stream, ahead)
	p.more = len(rest) > 0
	return p, err
}

// back reads from newer to older.
func (h *historian) back(ctx context.Context) (p page, err error) {
	if p.messages, p.next, err = h.bus.ReadStreamBack(ctx, h.stream, h.options); err != nil || p.next == 0 {
		return p, err
	}
	behind := h.options
	behind.From, behind.Limit, behind.MaxBytes = p.next, 1, 1
	behind.Since = time.Time{}
	rest, next, err := h.bus.ReadStreamBack(ctx, h.stream, behind)
	p.more = len(rest) > 0 || next > 0
	return p, err
}

// newest reads the newest, oldest first.
func (h *historian) newest(ctx context.Context) (page, error) {
	p, err := h.back(ctx)
	slices.Reverse(p.messages)
	return p, err
}
