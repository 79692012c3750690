package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"portico/core"
	"portico/core/queue"

	"github.com/gin-gonic/gin"
)

// ackRequest is the body of ack.
type ackRequest struct {
	Tokens []string `json:"tokens" required:"true" minItems:"1" maxItems:"1000" doc:"Of a fetch from this queue"`
}

// nackRequest is the body of nack.
type nackRequest struct {
	Tokens  []string `json:"tokens" required:"true" minItems:"1" maxItems:"1000" doc:"Of a fetch from this queue"`
	Requeue *bool    `json:"requeue" doc:"true, the default: back to its place. false: dead"`
}

// extendRequest is the body of extend.
type extendRequest struct {
	Tokens []string `json:"tokens" required:"true" minItems:"1" maxItems:"1000" doc:"Of a fetch from this queue"`
	Lease  string   `json:"lease" doc:"So long from now, 10ms to 12h; 30s by default" example:"1m"`
}

// ginQueueHandler is a handler that gets the queue that the path names.
type ginQueueHandler = func(*gin.Context, *core.Queue)

// results is the answer when all went well.
type results struct {
	Results []result `json:"results"`
}

// result says what became of one token.
type result struct {
	Token  string `json:"token"`
	OK     bool   `json:"ok"`
	Status int    `json:"status,omitempty"`
	Code   string `json:"code,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// ack: POST /v1/queues/{q}/ack: done with these.
func (a *Adapter) ack(c *gin.Context, q *core.Queue) {
	var r ackRequest
	if err := a.readTokens(c, &r, &r.Tokens); err != nil {
		a.fail(c, err)
		return
	}
	a.settle(c, q, r.Tokens, queue.Ack)
}

// nack: POST /v1/queues/{q}/nack: not done with these.
func (a *Adapter) nack(c *gin.Context, q *core.Queue) {
	var r nackRequest
	if err := a.readTokens(c, &r, &r.Tokens); err != nil {
		a.fail(c, err)
		return
	}
	o := queue.Requeue
	if r.Requeue != nil && !*r.Requeue {
		o = queue.Reject
	}
	a.settle(c, q, r.Tokens, o)
}

// settle answers when every settlement is as durable as the queue: 200, or the first problem with what became of each token.
func (a *Adapter) settle(c *gin.Context, q *core.Queue, tokens []string, o queue.Outcome) {
	settled := make([]chan error, len(tokens))
	for i, token := range tokens {
		done := make(chan error, 1)
		settled[i] = done
		h, err := a.sealer.open(q, token)
		if err != nil {
			done <- err
			continue
		}
		q.Settle(o, []queue.Handle{h}, func(err error) { done <- err })
	}
	errs := make([]error, len(tokens))
	for i, done := range settled {
		select {
		case errs[i] = <-done:
		case <-c.Request.Context().Done():
			return // nobody is there to be told
		}
	}
	if o == queue.Ack {
		a.metrics.Acks.Add(float64(successes(errs)))
	}
	a.results(c, tokens, errs)
}

// extend: POST /v1/queues/{q}/extend gives leases anew.
func (a *Adapter) extend(c *gin.Context, q *core.Queue) {
	var r extendRequest
	err := a.readTokens(c, &r, &r.Tokens)
	lease := defaultLease
	if err == nil && r.Lease != "" {
		lease, err = parseDuration("body.lease", r.Lease, minLease, maxLease)
	}
	if err != nil {
		a.fail(c, err)
		return
	}
	errs := make([]error, len(r.Tokens))
	for i, token := range r.Tokens {
		errs[i] = a.extendOne(q, token, lease)
	}
	a.results(c, r.Tokens, errs)
}

func (a *Adapter) extendOne(q *core.Queue, token string, lease time.Duration) error {
	h, err := a.sealer.open(q, token)
	if err != nil {
		return err
	}
	return q.Extend(h, lease)
}

// readTokens reads the body into into, of which tokens is a part.
func (a *Adapter) readTokens(c *gin.Context, into any, tokens *[]string) error {
	if err := a.readJSON(c, into); err != nil {
		return err
	}
	if len(*tokens) == 0 || len(*tokens) > maxFetch {
		return badField("body.tokens", fmt.Sprintf("1 to %d tokens", maxFetch), strconv.Itoa(len(*tokens)))
	}
	return nil
}

func successes(errs []error) (n int) {
	for _, err := range errs {
		if err == nil {
			n++
		}
	}
	return n
}

// results answers 200 when every token was settled. Otherwise the answer is the first failure's problem; the others were
// settled all the same, and "results" tells which.
func (a *Adapter) results(c *gin.Context, tokens []string, errs []error) {
	out := make([]result, len(tokens))
	var first error
	for i, token := range tokens {
		out[i] = result{Token: token, OK: errs[i] == nil}
		if errs[i] == nil {
			continue
		}
		p := problemOf(errs[i])
		out[i].Status, out[i].Code, out[i].Detail = p.Status, p.Code, p.Detail
		first = errors.Join(first, errs[i])
	}
	if first == nil {
		c.JSON(http.StatusOK, results{out})
		return
	}
	p := problemOf(inField(first, "body.tokens", "tokens of a fetch from this queue", ""))
	p.Results = out
	p.Detail = fmt.Sprintf("%d of %d tokens failed: %s", len(tokens)-successes(errs), len(tokens), p.Detail)
	a.problem(c, p)
}
