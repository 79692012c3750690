package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"portico/adapters/http/webhook"
	"portico/core"

	"github.com/gin-gonic/gin"
)

// webhookRequest is the body of PUT /v1/webhooks/{name}; what is left out has the default.
type webhookRequest struct {
	webhook.Spec
	Secret string `json:"secret,omitempty" doc:"whsec_ and the base64 of 24 to 64 bytes; without it one is made"`
}

// webhookShown is a webhook as it is told to clients.
type webhookShown struct {
	webhook.Endpoint
	Secret string `json:"secret,omitempty" doc:"Only in the answer of what has made it"`
}

// webhookList is a page of webhooks.
type webhookList struct {
	Webhooks []webhook.Endpoint `json:"webhooks"`
	Next     string             `json:"next,omitempty" doc:"The next page's cursor"`
}

// webhookRotation is the body of rotate-secret; all of it may be left out.
type webhookRotation struct {
	Overlap *int64 `json:"overlap,omitempty" doc:"Milliseconds that the secret before signs too; a day by default" minimum:"0" maximum:"604800000"`
	Secret  string `json:"secret,omitempty" doc:"whsec_ and the base64 of 24 to 64 bytes; without it one is made"`
}

// webhookTested is what came of a test event.
type webhookTested struct {
	ID string `json:"id" doc:"Its webhook-id"`
	webhook.Attempt
}

// deliveryList is a page of deliveries.
type deliveryList struct {
	Deliveries []webhook.Delivery `json:"deliveries"`
	Next       string             `json:"next,omitempty" doc:"The next page's cursor"`
}

// webhookReplay is the body of replay.
type webhookReplay struct {
	Since  time.Time `json:"since" required:"true" doc:"Those that were taken in then or later"`
	Only   string    `json:"only,omitempty" doc:"failed, the default: those whose last attempt failed; all: those that succeeded too" enum:"failed,all"`
	Cursor string    `json:"cursor,omitempty" doc:"next of the replay before"`
}

// withWebhooks answers 501 where webhooks are not served.
func (a *Adapter) withWebhooks(f gin.HandlerFunc) gin.HandlerFunc {
	return func(c *gin.Context) {
		if a.webhooks == nil {
			a.fail(c, core.Errorf(core.CodeUnimplemented, "this gateway has no webhooks"))
			return
		}
		f(c)
	}
}

// failWebhook is fail for errors about fields of the body.
func (a *Adapter) failWebhook(c *gin.Context, err error) {
	if i, ok := errors.AsType[*webhook.Invalid](err); ok {
		field := "body." + i.Field
		if i.Field == "name" {
			field = "path.name"
		}
		err = inField(err, field, i.Expected, i.Found)
	}
	a.fail(c, err)
}

// listWebhooks: GET /v1/webhooks.
func (a *Adapter) listWebhooks(c *gin.Context) {
	page, err := readPaging(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	all := a.webhooks.Endpoints(busOf(c), page.after, page.limit+1)
	out := webhookList{Webhooks: all}
	if len(all) > page.limit {
		out.Webhooks = all[:page.limit]
		out.Next = page.next(c, all[page.limit-1].Name)
	}
	c.JSON(http.StatusOK, out)
}

// putWebhook: PUT /v1/webhooks/{name}. 201 when it was created, 200 when it was there.
func (a *Adapter) putWebhook(c *gin.Context) {
	r := webhookRequest{Spec: webhook.Defaults()}
	if err := a.readJSON(c, &r); err != nil {
		a.fail(c, err)
		return
	}
	e, secret, created, err := a.webhooks.Put(c.Request.Context(), busOf(c), c.Param("name"), r.Spec, r.Secret)
	if err != nil {
		a.failWebhook(c, err)
		return
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	c.JSON(status, webhookShown{e, secret})
}

// getWebhook: GET /v1/webhooks/{name}.
func (a *Adapter) getWebhook(c *gin.Context) {
	e, err := a.webhooks.Endpoint(busOf(c), c.Param("name"))
	a.showWebhook(c, e, "", err)
}

func (a *Adapter) showWebhook(c *gin.Context, e webhook.Endpoint, secret string, err error) {
	if err != nil {
		a.failWebhook(c, err)
		return
	}
	c.JSON(http.StatusOK, webhookShown{e, secret})
}

// deleteWebhook: DELETE /v1/webhooks/{name}.
func (a *Adapter) deleteWebhook(c *gin.Context) {
	if err := a.webhooks.Delete(c.Request.Context(), busOf(c), c.Param("name")); err != nil {
		a.failWebhook(c, err)
		return
	}
	a.done(c, nil)
}

// enableWebhook: POST /v1/webhooks/{name}/enable and disable.
func (a *Adapter) enableWebhook(enable bool) gin.HandlerFunc {
	return func(c *gin.Context) {
		e, err := a.webhooks.Enable(c.Request.Context(), busOf(c), c.Param("name"), enable)
		a.showWebhook(c, e, "", err)
	}
}

// rotateWebhook: POST /v1/webhooks/{name}/rotate-secret.
func (a *Adapter) rotateWebhook(c *gin.Context) {
	var r webhookRotation
	if err := a.readJSON(c, &r); err != nil {
		a.fail(c, err)
		return
	}
	overlap := webhook.DefaultOverlap
	if r.Overlap != nil {
		if *r.Overlap < 0 || *r.Overlap > webhook.MaxOverlap.Milliseconds() {
			a.fail(c, badField("body.overlap", "milliseconds from 0 to 604800000", ""))
			return
		}
		overlap = time.Duration(*r.Overlap) * time.Millisecond
	}
	e, secret, err := a.webhooks.Rotate(c.Request.Context(), busOf(c), c.Param("name"), r.Secret, overlap)
	a.showWebhook(c, e, secret, err)
}

// testWebhook: POST /v1/webhooks/{name}/test.
func (a *Adapter) testWebhook(c *gin.Context) {
	id, attempt, err := a.webhooks.Test(c.Request.Context(), busOf(c), c.Param("name"))
	if err != nil {
		a.failWebhook(c, err)
		return
	}
	c.JSON(http.StatusOK, webhookTested{id, attempt})
}

// lookTimeout bounds what reads a webhook's log.
const lookTimeout = 2 * time.Minute

// listDeliveries: GET /v1/webhooks/{name}/deliveries.
func (a *Adapter) listDeliveries(c *gin.Context) {
	page, err := readPaging(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	since, err := moment(c, "since")
	if err != nil {
		a.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), lookTimeout)
	defer cancel()
	found, next, err := a.webhooks.Deliveries(ctx, busOf(c), c.Param("name"), webhook.Query{
		Status: webhook.Status(c.Query("status")), Since: since, Cursor: page.after, Limit: page.limit,
	})
	if i, ok := errors.AsType[*webhook.Invalid](err); ok && i.Field == "cursor" {
		err = badField("query.cursor", i.Expected, c.Query("cursor"))
	}
	if err != nil {
		a.failWebhook(c, err)
		return
	}
	out := deliveryList{Deliveries: found}
	if next != "" {
		out.Next = page.next(c, next)
	}
	c.JSON(http.StatusOK, out)
}

// getDelivery: GET /v1/webhooks/{name}/deliveries/{id}.
func (a *Adapter) getDelivery(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), lookTimeout)
	defer cancel()
	d, err := a.webhooks.Delivery(ctx, busOf(c), c.Param("name"), c.Param("id"))
	a.tellDelivery(c, http.StatusOK, d, err)
}

// retryDelivery: POST /v1/webhooks/{name}/deliveries/{id}/retry.
func (a *Adapter) retryDelivery(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), lookTimeout)
	defer cancel()
	d, err := a.webhooks.Retry(ctx, busOf(c), c.Param("name"), c.Param("id"))
	a.tellDelivery(c, http.StatusAccepted, d, err)
}

func (a *Adapter) tellDelivery(c *gin.Context, status int, d webhook.Delivery, err error) {
	if err != nil {
		a.failWebhook(c, err)
		return
	}
	c.JSON(status, d)
}

// replayWebhook: POST /v1/webhooks/{name}/replay.
func (a *Adapter) replayWebhook(c *gin.Context) {
	var r webhookReplay
	if err := a.readJSON(c, &r); err != nil {
		a.fail(c, err)
		return
	}
	switch {
	case r.Since.IsZero():
		a.fail(c, badField("body.since", "a time such as 2026-01-02T15:04:05Z", ""))
		return
	case r.Only != "" && r.Only != "failed" && r.Only != "all":
		a.fail(c, badField("body.only", "failed or all", r.Only))
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), lookTimeout)
	defer cancel()
	done, err := a.webhooks.Replay(ctx, busOf(c), c.Param("name"), r.Since, r.Only == "all", r.Cursor)
	if err != nil {
		a.failWebhook(c, err)
		return
	}
	c.JSON(http.StatusAccepted, done)
}
