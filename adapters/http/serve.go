package httpapi

import (
	"net/http"
	"time"

	"portico/core"

	"github.com/gin-gonic/gin"
)

const (
	defaultPoll   = 30 * time.Second
	headerSession = "Portico-Session"
	headerRequest = "Portico-Request"
)

// serve: POST /v1/serve?subject=math.double&group=g&wait=30s&session=…, the long poll of a responder that speaks HTTP. The request that comes is the answer, as it is; what answers it goes to
// serveAnswer, with the token in Portico-Request. Between two polls the session in Portico-Session keeps the subscription; if it has ended, or none is named, there is a new one. 204 when nothing
// came in time.
func (a *Adapter) serve(c *gin.Context) {
	wait, err := duration(c, "wait", defaultPoll, 0, maxWait)
	if err != nil {
		a.fail(c, err)
		return
	}
	if _, release, err := a.readBody(c, maxControl); err != nil { // only behind the body net/http notices that the client has gone
		a.fail(c, err)
		return
	} else {
		release()
	}
	r, err := a.serving.enter(busOf(c), c.Query("subject"), c.Query("group"), c.Query("session"))
	if err != nil {
		a.fail(c, err)
		return
	}
	defer r.leave()
	c.Header(headerSession, r.id)
	m, err := a.nextRequest(c, r, wait)
	switch {
	case err != nil:
		a.fail(c, err)
	case m == nil:
		c.Status(http.StatusNoContent)
	default:
		c.Header("Portico-Subject", m.Subject)
		if m.Reply != "" {
			c.Header(headerRequest, a.serving.token(busOf(c)).seal(m.Reply))
		}
		a.answerWith(c, m)
	}
}

// nextRequest waits for a request; nil when none came in time or the client has gone.
func (a *Adapter) nextRequest(c *gin.Context, r *responder, wait time.Duration) (*core.Message, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		m, err := r.take()
		if m != nil || err != nil {
			return m, err
		}
		select {
		case <-r.wake:
		case <-timer.C:
			return r.take()
		case <-c.Request.Context().Done():
			return nil, nil //nolint:nilnil // nobody is there who could get either
		case <-a.draining:
			return nil, core.Errorf(core.CodeUnavailable, "the gateway stops")
		}
	}
}

// serveAnswer: POST /v1/serve/answers/{request}. The body and headers are the answer. live is false when the one who asked has gone.
func (a *Adapter) serveAnswer(c *gin.Context) {
	reply, err := a.serving.token(busOf(c)).open(c.Param("request"))
	if err != nil {
		if core.AsError(err).Code == core.CodePreconditionFailed {
			err = core.Errorf(core.CodePreconditionFailed, "the request is not of this user, or of an earlier run of the gateway")
		}
		a.fail(c, err)
		return
	}
	m, release, err := a.message(c, reply)
	if err != nil {
		a.fail(c, err)
		return
	}
	defer release()
	start := time.Now()
	receipt, err := busOf(c).Publish(c.Request.Context(), m)
	if err != nil {
		a.fail(c, err)
		return
	}
	a.took(m, start)
	c.JSON(http.StatusOK, answered{receipt.Live})
}

// answered is what becomes of an answer.
type answered struct {
	Live bool `json:"live" doc:"Somebody waited for it"`
}

// endServing: DELETE /v1/serve/sessions/{session}. What waits in it is lost, as it is when a responder dies.
func (a *Adapter) endServing(c *gin.Context) {
	if !a.serving.end(busOf(c), c.Param("session")) {
		a.fail(c, core.Errorf(core.CodeNotFound, "there is no such session, or it has ended"))
		return
	}
	c.Status(http.StatusNoContent)
}
