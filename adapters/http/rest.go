package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"
)

// restState is what the operations on streams, key-value buckets and objects share.
type restState struct {
	// immutable
	transfers *semaphore.Weighted // objects on their way
	changing  *semaphore.Weighted // 1: held from the check of a condition on a configuration to its change

	tickets tickets
}

func newRestState() *restState {
	return &restState{transfers: semaphore.NewWeighted(maxTransfers), changing: semaphore.NewWeighted(1)}
}

// untilDrain is the request's context, ended early when the gateway stops. Unlike a goroutine for each that waits for both it costs nothing.
func (a *Adapter) untilDrain(c *gin.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.Request.Context())
	stop := context.AfterFunc(a.stopping, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// whole reads a whole number that the operation's table has checked already; absent is fallback.
func whole(c *gin.Context, name string, fallback uint64) uint64 {
	n, err := strconv.ParseUint(c.Query(name), 10, 64)
	if err != nil {
		return fallback
	}
	return n
}

// moment reads a point in time: RFC 3339, or a duration that means so long ago. Absent is the zero time.
func moment(c *gin.Context, name string) (time.Time, error) {
	text := c.Query(name)
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago > 0 {
		return time.Now().Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, badField("query."+name, "a time such as 2026-01-02T15:04:05Z, or a duration such as 10m that means so long ago", text)
	}
	return at, nil
}

// position is a path's sequence number or revision.
func position(c *gin.Context, name string) (uint64, error) {
	n, err := strconv.ParseUint(c.Param(name), 10, 64)
	if err != nil || n == 0 {
		return 0, badField("path."+name, "a whole number from 1", c.Param(name))
	}
	return n, nil
}

// resumed is the number that a client shows as the last event it has seen, 0 if it shows none: by the header that an EventSource sends when it comes back.
func resumed(c *gin.Context) (uint64, error) {
	text := c.GetHeader("Last-Event-ID")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, badField("header.Last-Event-ID", "the id of an event of this stream", text)
	}
	return n, nil
}

const (
	maxMillis  = int64(10 * 365 * 24 * time.Hour / time.Millisecond) // ten years, the longest time in a configuration
	maxPattern = 4000                                                // bytes of a subject or pattern, as core has it
	maxText    = 4 << 10                                             // bytes of a description, as NATS has it
)

// millis is a time in a configuration, in milliseconds.
type millis int64

func (m millis) duration() time.Duration { return time.Duration(m) * time.Millisecond }

// millisOf rounds up: a short time must not become 0, which means none.
func millisOf(d time.Duration) millis { return millis((d + time.Millisecond - 1) / time.Millisecond) }

// checks gathers the first thing that is wrong with the fields of a body.
type checks struct{ err error }

func (k *checks) within(field string, n, least, most int64) {
	if k.err == nil && (n < least || n > most) {
		k.err = badField("body."+field, "a whole number from "+strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10), strconv.FormatInt(n, 10))
	}
}

func (k *checks) time(field string, m millis) { k.within(field, int64(m), 0, maxMillis) }

// word checks that text is one of the words, or empty for the first of them.
func (k *checks) word(field, text string, words ...string) {
	if k.err != nil || text == "" {
		return
	}
	list := ""
	for i, w := range words {
		if w == text {
			return
		}
		if i > 0 {
			list += ", "
		}
		list += w
	}
	k.err = badField("body."+field, "one of "+list, text)
}

func (k *checks) text(field, text string, most int) {
	if k.err == nil && (len(text) > most || !plain(text)) {
		k.err = badField("body."+field, "text without control characters of at most "+strconv.Itoa(most)+" bytes", text)
	}
}

func (k *checks) count(field string, n, most int) {
	if k.err == nil && n > most {
		k.err = badField("body."+field, "at most "+strconv.Itoa(most), strconv.Itoa(n))
	}
}

// ensure creates or changes what a PUT names, C being its configuration, I what core tells of it, and S what clients see of that. The first of the conditions that is not met is 412; what is there with other properties is changed,
// or 409 where nothing can be changed.
type ensure[C, I, S any] struct {
	create func(context.Context, C) (I, bool, error)
	update func(context.Context, C) (I, error) // nil: nothing can be changed
	find   func(context.Context) (I, error)
	tag    func(I) string
	show   func(I) S
}

// put answers 201 when something was created, else 200, with the configuration's entity tag.
func put[C, I, S any](a *Adapter, c *gin.Context, cfg C, e ensure[C, I, S]) {
	info, created, err := e.apply(a, c, cfg)
	if err != nil {
		a.fail(c, err)
		return
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	c.Header("ETag", e.tag(info))
	c.PureJSON(status, e.show(info))
}

func (e ensure[C, I, S]) apply(a *Adapter, c *gin.Context, cfg C) (info I, created bool, err error) {
	when, err := conditionsOf(c)
	if err != nil {
		return info, false, err
	}
	ctx := c.Request.Context()
	if err := a.rest.changing.Acquire(ctx, 1); err != nil {
		return info, false, err
	}
	defer a.rest.changing.Release(1)
	if err := holds(ctx, when, e.find, e.tag); err != nil {
		return info, false, err
	}
	info, created, err = e.create(ctx, cfg)
	if err == nil || e.update == nil || core.AsError(err).Code != core.CodePreconditionFailed {
		return info, created, err
	}
	changed, changeErr := e.update(ctx, cfg)
	if changeErr != nil && core.AsError(changeErr).Code == core.CodeNotFound {
		return info, false, err // it is another one that is in the way
	}
	return changed, false, changeErr
}

// holds looks whether the conditions for a change of a configuration are met; a.rest.changing is held.
func holds[I any](ctx context.Context, when conditions, find func(context.Context) (I, error), tag func(I) string) error {
	if !when.given() {
		return nil
	}
	present, err := find(ctx)
	exists := err == nil
	switch {
	case err != nil && core.AsError(err).Code != core.CodeNotFound:
		return err
	case !when.hold(exists, func() string { return tag(present) }):
		return conditionFailed(core.Errorf(core.CodePreconditionFailed, "its configuration is not the one that the condition names"))
	}
	return nil
}

// drop deletes what find finds, if the conditions are met.
func drop[I any](a *Adapter, c *gin.Context, find func(context.Context) (I, error), tag func(I) string, remove func(context.Context) error) {
	when, err := conditionsOf(c)
	if err == nil {
		ctx := c.Request.Context()
		if err = a.rest.changing.Acquire(ctx, 1); err == nil {
			defer a.rest.changing.Release(1)
			err = holds(ctx, when, find, tag)
		}
		if err == nil {
			err = remove(ctx)
		}
	}
	a.done(c, err)
}

// showOne answers with one thing and the entity tag of its configuration.
func showOne[I, S any](a *Adapter, c *gin.Context, info I, err error, tag func(I) string, show func(I) S) {
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Header("ETag", tag(info))
	c.PureJSON(http.StatusOK, show(info))
}

// list reads one page: ask returns the items behind after, at most limit. Ok false: the answer is a problem already.
func list[I, S any](a *Adapter, c *gin.Context, name func(I) string, show func(I) S, ask func(ctx context.Context, after string, limit int) ([]I, error)) (page []S, next string, ok bool) {
	p, err := readPaging(c)
	if err != nil {
		a.fail(c, err)
		return nil, "", false
	}
	items, err := ask(c.Request.Context(), p.after, min(p.limit+1, maxPage)) // core gives no more at a time
	if err != nil {
		a.fail(c, err)
		return nil, "", false
	}
	if len(items) > p.limit || len(items) == maxPage {
		items = items[:p.limit]
		next = p.next(c, name(items[p.limit-1]))
	}
	page = make([]S, 0, len(items))
	for _, item := range items {
		page = append(page, show(item))
	}
	return page, next, true
}
