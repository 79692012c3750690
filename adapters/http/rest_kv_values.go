package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// entry is a value of a key, as the JSON forms show it.
type entry struct {
	Key         string    `json:"key" example:"mail.sender"`
	Revision    uint64    `json:"revision" doc:"Grows with every change of the bucket"`
	Created     time.Time `json:"created"`
	Operation   string    `json:"operation" enum:"put,delete,purge"`
	Value       *string   `json:"value,omitempty" doc:"Of a put, when it is UTF-8"`
	ValueBase64 []byte    `json:"value_base64,omitempty" doc:"Of a put, when it is not"`
}

func entryOf(e *core.KVEntry) entry {
	out := entry{Key: e.Key, Revision: e.Revision, Created: e.Created, Operation: e.Operation}
	switch text := string(e.Value); {
	case e.Operation != "put":
	case utf8.ValidString(text):
		out.Value = &text
	default:
		out.ValueBase64 = e.Value
	}
	return out
}

// entryList is what a bucket has kept of a key.
type entryList struct {
	History []entry `json:"history" doc:"Oldest first"`
}

// written is the answer to a change of a key.
type written struct {
	Key      string `json:"key" example:"mail.sender"`
	Revision uint64 `json:"revision" doc:"The new one"`
}

// conflict is the problem of a condition that does not hold.
type conflict struct {
	problem
	Revision uint64 `json:"revision,omitempty" doc:"The present one, if there is a value"`
}

func revisionTag(revision uint64) string { return quoted(strconv.FormatUint(revision, 10)) }

// getValue: GET and HEAD /v1/kv/{bucket}/keys/{key}.
func (a *Adapter) getValue(c *gin.Context) {
	when, err := conditionsOf(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	e, err := busOf(c).Get(c.Request.Context(), c.Param("bucket"), c.Param("key"), whole(c, "revision", 0))
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Header("ETag", revisionTag(e.Revision))
	c.Header("Portico-Revision", strconv.FormatUint(e.Revision, 10))
	c.Header("Last-Modified", e.Created.UTC().Format(http.TimeFormat))
	c.Header("Cache-Control", "no-cache")
	switch when.unread(revisionTag(e.Revision)) {
	case http.StatusNotModified:
		c.Status(http.StatusNotModified)
		c.Writer.WriteHeaderNow()
		return
	case http.StatusPreconditionFailed:
		a.conflict(c, e.Revision)
		return
	}
	a.metrics.Out.Inc()
	a.metrics.BytesOut.Add(float64(len(e.Value)))
	c.Header("Content-Length", strconv.Itoa(len(e.Value)))
	c.Data(http.StatusOK, "application/octet-stream", e.Value)
}

// putValue: PUT /v1/kv/{bucket}/keys/{key}.
func (a *Adapter) putValue(c *gin.Context) {
	conditions, err := conditionsOf(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	value, release, err := a.readBody(c, a.maxBody)
	if err != nil {
		a.fail(c, err)
		return
	}
	defer release()
	when, ok := a.condition(c, conditions)
	if !ok {
		return
	}
	start := time.Now()
	key := c.Param("key")
	revision, err := busOf(c).Put(c.Request.Context(), c.Param("bucket"), key, value, when)
	if err != nil {
		a.unwritten(c, conditions, err)
		return
	}
	a.took(&core.Message{Data: value}, start)
	status := http.StatusOK
	if when.Absent {
		status = http.StatusCreated
	}
	c.Header("ETag", revisionTag(revision))
	c.Header("Portico-Revision", strconv.FormatUint(revision, 10))
	c.PureJSON(status, written{key, revision})
}

// deleteValue: DELETE /v1/kv/{bucket}/keys/{key}.
func (a *Adapter) deleteValue(c *gin.Context) {
	conditions, err := conditionsOf(c)
	if err == nil && conditions.noneMatch.given() {
		err = badField("header.If-None-Match", "none: If-Match is understood here", c.GetHeader("If-None-Match"))
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	when, ok := a.condition(c, conditions)
	if !ok {
		return
	}
	if err := busOf(c).DeleteKey(c.Request.Context(), c.Param("bucket"), c.Param("key"), c.Query("purge") == "true", when); err != nil {
		a.unwritten(c, conditions, err)
		return
	}
	a.done(c, nil)
}

// condition is what core has to hold a change against. What one revision cannot say is looked up, and the change then made only if that is still the present one. Ok false: the condition does not hold,
// and the answer says so.
func (a *Adapter) condition(c *gin.Context, w conditions) (when core.PutCondition, ok bool) {
	if !w.given() {
		return when, true
	}
	if w.noneMatch.any && !w.match.given() {
		return core.PutCondition{Absent: true}, true
	}
	if len(w.match.tags) == 1 && !w.noneMatch.given() && !w.match.tags[0].weak {
		if revision, err := strconv.ParseUint(w.match.tags[0].opaque, 10, 64); err == nil && revision > 0 && revisionTag(revision) == quoted(w.match.tags[0].opaque) {
			return core.PutCondition{Revision: revision}, true
		}
	}
	present, err := a.present(c)
	switch {
	case err != nil:
		a.fail(c, err)
		return when, false
	case !w.hold(present > 0, func() string { return revisionTag(present) }):
		a.conflict(c, present)
		return when, false
	}
	return core.PutCondition{Absent: present == 0, Revision: present}, true
}

// present is the key's revision, 0 if it has no value.
func (a *Adapter) present(c *gin.Context) (uint64, error) {
	e, err := busOf(c).Get(c.Request.Context(), c.Param("bucket"), c.Param("key"), 0)
	if err == nil {
		return e.Revision, nil
	}
	if core.AsError(err).Code != core.CodeNotFound {
		return 0, err
	}
	_, err = busOf(c).Bucket(c.Request.Context(), c.Param("bucket")) // or is it the bucket that is not there?
	return 0, err
}

// unwritten answers a change that failed.
func (a *Adapter) unwritten(c *gin.Context, w conditions, err error) {
	if !w.given() || core.AsError(err).Code != core.CodePreconditionFailed {
		a.fail(c, err)
		return
	}
	if found, ok := errors.AsType[*core.Conflict](err); ok {
		a.conflict(c, found.Revision)
		return
	}
	a.fail(c, conditionFailed(err))
}

// conflict answers 412 with the present revision, 0 if there is no value.
func (a *Adapter) conflict(c *gin.Context, revision uint64) {
	p := conflict{problem: problemOf(withStatus(core.Errorf(core.CodePreconditionFailed, "the key has no value"), http.StatusPreconditionFailed)), Revision: revision}
	if revision > 0 {
		p.Detail = "the key's value has revision " + strconv.FormatUint(revision, 10)
		c.Header("ETag", revisionTag(revision))
		c.Header("Portico-Revision", strconv.FormatUint(revision, 10))
	}
	c.Abort()
	c.Header("Content-Type", "application/problem+json")
	c.PureJSON(p.Status, p)
}

// history: GET /v1/kv/{bucket}/keys/{key}/history.
func (a *Adapter) history(c *gin.Context) {
	all, err := busOf(c).History(c.Request.Context(), c.Param("bucket"), c.Param("key"))
	if err != nil {
		a.fail(c, err)
		return
	}
	a.cut(c, writeArray(c, "history", len(all), func(i int) any { return entryOf(&all[i]) }, ""))
}

// watch: GET /v1/kv/{bucket}/watch. Who comes back with Last-Event-ID gets what has changed since; of a key that has changed several times perhaps only the newest value.
func (a *Adapter) watch(c *gin.Context) {
	from := whole(c, "from", 0)
	seen, err := resumed(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	if seen > 0 {
		from = seen
	}
	s := a.newEventStream(c, "change")
	bus, bucket, keys := busOf(c), c.Param("bucket"), pattern(c)
	live := from > 0 // until then the present values go out in batches
	told := func(e *core.KVEntry) error {
		if e == nil {
			live = true
			if err := s.event("", "ready", struct{}{}); err != nil {
				return err
			}
			return s.flush()
		}
		a.metrics.Out.Inc()
		a.metrics.BytesOut.Add(float64(len(e.Value)))
		if err := s.event(sequenceID(e.Revision), "change", entryOf(e)); err != nil || !live {
			return err
		}
		return s.flush()
	}
	a.run(c, s, func(ctx context.Context) error { return bus.Watch(ctx, bucket, keys, from, told) })
}
