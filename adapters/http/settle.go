package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"portico/core"
	"portico/core/queue"

	"github.com/gin-gonic/gin"
)

// settlement is the body of ack, nack and extend.
type settlement struct {
	Tokens  []string `json:"tokens"`
	Requeue *bool    `json:"requeue"` // nack: back to its place (default), or dead
	Lease   string   `json:"lease"`   // extend: so long from now
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
	a.settle(c, q, func(settlement) queue.Outcome { return queue.Ack })
}

// nack: POST /v1/queues/{q}/nack: not done with these.
func (a *Adapter) nack(c *gin.Context, q *core.Queue) {
	a.settle(c, q, func(s settlement) queue.Outcome {
		if s.Requeue == nil || *s.Requeue {
			return queue.Requeue
		}
		return queue.Reject
	})
}

// settle answers when every settlement is as durable as the queue: 200, or the first problem with what became of each token.
func (a *Adapter) settle(c *gin.Context, q *core.Queue, outcome func(settlement) queue.Outcome) {
	s, err := a.readSettlement(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	o := outcome(s)
	settled := make([]chan error, len(s.Tokens))
	for i, token := range s.Tokens {
		done := make(chan error, 1)
		settled[i] = done
		h, err := a.sealer.open(q, token)
		if err != nil {
			done <- err
			continue
		}
		q.Settle(o, []queue.Handle{h}, func(err error) { done <- err })
	}
	errs := make([]error, len(s.Tokens))
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
	a.results(c, s.Tokens, errs)
}

// extend: POST /v1/queues/{q}/extend gives leases anew.
func (a *Adapter) extend(c *gin.Context, q *core.Queue) {
	s, err := a.readSettlement(c)
	if err != nil {
		a.fail(c, err)
		return
	}
	lease := defaultLease
	if s.Lease != "" {
		if lease, err = parseDuration("lease", s.Lease, minLease, maxLease); err != nil {
			a.fail(c, err)
			return
		}
	}
	errs := make([]error, len(s.Tokens))
	for i, token := range s.Tokens {
		errs[i] = a.extendOne(q, token, lease)
	}
	a.results(c, s.Tokens, errs)
}

func (a *Adapter) extendOne(q *core.Queue, token string, lease time.Duration) error {
	h, err := a.sealer.open(q, token)
	if err != nil {
		return err
	}
	return q.Extend(h, lease)
}

func (a *Adapter) readSettlement(c *gin.Context) (settlement, error) {
	var s settlement
	if err := a.readJSON(c, &s); err != nil {
		return s, err
	}
	if len(s.Tokens) == 0 || len(s.Tokens) > maxFetch {
		return s, core.Errorf(core.CodeInvalid, "tokens: 1 to %d are expected", maxFetch)
	}
	return s, nil
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
		c.JSON(http.StatusOK, gin.H{"results": out})
		return
	}
	p := problemOf(first)
	p.Results = out
	p.Detail = fmt.Sprintf("%d of %d tokens failed: %s", len(tokens)-successes(errs), len(tokens), p.Detail)
	a.problem(c, p)
}
