package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"portico/core"
	"portico/core/policy"

	"github.com/gin-gonic/gin"
)

func patterns(bus *core.Bus, name string) []string {
	out := make([]string, 0)
	for _, b := range bus.Bindings(name) {
		out = append(out, b.Pattern)
	}
	slices.Sort(out)
	return out
}

// declare: PUT /v1/queues/{q}. 201 when it was created, 200 when it was there with the same properties, else 409.
func (a *Adapter) declare(c *gin.Context) {
	var d declaration
	if err := a.readJSON(c, &d); err != nil {
		a.fail(c, err)
		return
	}
	if err := busOf(c).May(policy.Declare, c.Param("q")); err != nil {
		a.fail(c, err)
		return
	}
	q, created, err := busOf(c).DeclareQueue(c.Request.Context(), d.config(c.Param("q")))
	err = inField(err, "body", "properties that a queue can have", "")
	if err == nil && q.Config().Owner != "" {
		err = core.Errorf(core.CodeLocked, "queue %q belongs to one connection alone", q.Name())
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	a.described(c, status, q)
}

func (a *Adapter) described(c *gin.Context, status int, q *core.Queue) {
	d, err := describe(busOf(c), q)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.JSON(status, d)
}

// withQueue hands the queue that the path names to f, or answers 403 or 404.
func (a *Adapter) withQueue(action policy.Action, f func(*gin.Context, *core.Queue)) gin.HandlerFunc {
	return func(c *gin.Context) {
		if err := busOf(c).May(action, c.Param("q")); err != nil {
			a.fail(c, err)
			return
		}
		q, err := busOf(c).Queue(c.Param("q"))
		if err != nil {
			a.fail(c, err)
			return
		}
		f(c, q)
	}
}

// show: GET /v1/queues/{q}.
func (a *Adapter) show(c *gin.Context, q *core.Queue) { a.described(c, http.StatusOK, q) }

// queueList is a page of the queues.
type queueList struct {
	Queues []description `json:"queues"`
	Next   string        `json:"next,omitempty" doc:"The cursor of the next page, if there is one"`
}

// list: GET /v1/queues?limit=&cursor=. What this identity may not consume is left out, and so is a queue that goes away meanwhile.
func (a *Adapter) list(c *gin.Context) {
	p, err := readPaging(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	all := busOf(c).Queues()
	all = slices.DeleteFunc(all, func(q *core.Queue) bool { return busOf(c).May(policy.Consume, q.Name()) != nil })
	l := queueList{Queues: make([]description, 0, min(len(all), p.limit))}
	all, l.Next = pageOf(c, p, all, (*core.Queue).Name)
	for _, q := range all {
		if d, err := describe(busOf(c), q); err == nil {
			l.Queues = append(l.Queues, d)
		}
	}
	c.JSON(http.StatusOK, l)
}

// remove: DELETE /v1/queues/{q}, with everything it holds.
func (a *Adapter) remove(c *gin.Context, q *core.Queue) {
	ready, err := busOf(c).DeleteQueue(c.Request.Context(), q.Config().Name)
	if err != nil {
		a.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, removed{ready})
}

// purge: DELETE /v1/queues/{q}/messages removes what is ready; what is held stays.
func (a *Adapter) purge(c *gin.Context, q *core.Queue) {
	n, err := q.Purge()
	if err != nil {
		a.fail(c, err)
		return
	}
	c.JSON(http.StatusOK, purged{n})
}

// appendMessage: POST /v1/queues/{q}/messages, answered 201 when the queue keeps it.
func (a *Adapter) appendMessage(c *gin.Context, q *core.Queue) {
	m, release, err := a.keyed(c, "")
	if err != nil {
		a.fail(c, err)
		return
	}
	defer release()
	start := time.Now()
	told, err := a.keep(c, q, m)
	if err != nil {
		a.fail(c, err)
		return
	}
	a.took(m, start)
	c.JSON(http.StatusCreated, receiptOf(told))
}

// keep appends m and waits until the queue has it as durably as it promises, keepPatience at most.
func (a *Adapter) keep(c *gin.Context, q *core.Queue, m *core.Message) (core.Receipt, error) {
	type outcome struct {
		receipt core.Receipt
		err     error
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), keepPatience)
	defer cancel()
	kept := make(chan outcome, 1)
	busOf(c).Append(q, m, func(r core.Receipt, err error) { kept <- outcome{r, err} })
	select {
	case o := <-kept:
		return o.receipt, o.err
	case <-ctx.Done():
		return core.Receipt{}, core.AsError(ctx.Err())
	}
}

// bindingList is a page of a queue's bindings.
type bindingList struct {
	Bindings []string `json:"bindings" doc:"Subject patterns"`
	Next     string   `json:"next,omitempty" doc:"The cursor of the next page, if there is one"`
}

// bound is one binding.
type bound struct {
	Queue   string `json:"queue"`
	Pattern string `json:"pattern"`
}

// bindings: GET /v1/queues/{q}/bindings?limit=&cursor=.
func (a *Adapter) bindings(c *gin.Context, q *core.Queue) {
	p, err := readPaging(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	var l bindingList
	l.Bindings, l.Next = pageOf(c, p, patterns(busOf(c), q.Config().Name), func(pattern string) string { return pattern })
	c.JSON(http.StatusOK, l)
}

// binding: GET /v1/queues/{q}/bindings/{pattern}.
func (a *Adapter) binding(c *gin.Context, q *core.Queue) {
	pattern := c.Param("pattern")
	if !slices.Contains(patterns(busOf(c), q.Config().Name), pattern) {
		a.fail(c, core.Errorf(core.CodeNotFound, "no such binding"))
		return
	}
	c.JSON(http.StatusOK, bound{q.Config().Name, pattern})
}

// bind: PUT /v1/queues/{q}/bindings/{pattern}. 204, also when it was there.
func (a *Adapter) bind(c *gin.Context, q *core.Queue) {
	err := busOf(c).Bind(c.Request.Context(), core.Binding{Pattern: c.Param("pattern"), Queue: q.Config().Name})
	a.done(c, inField(err, "path.pattern", "a pattern of subjects that are not the bus's own", c.Param("pattern")))
}

// unbind: DELETE /v1/queues/{q}/bindings/{pattern}. 204, also when it was not there.
func (a *Adapter) unbind(c *gin.Context, q *core.Queue) {
	err := busOf(c).Unbind(c.Request.Context(), core.Binding{Pattern: c.Param("pattern"), Queue: q.Config().Name})
	a.done(c, err)
}

func (a *Adapter) done(c *gin.Context, err error) {
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
	c.Writer.WriteHeaderNow()
}
