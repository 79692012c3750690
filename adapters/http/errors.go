package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"portico/core"
	gate "portico/core/limits"

	"github.com/gin-gonic/gin"
)

// problem is the answer to a request that failed, as RFC 9457 has it; Code is the gateway's own, the same on every door.
type problem struct {
	Type    string      `json:"type" doc:"Stable name of this kind of problem: urn:portico:problem: and the code" example:"urn:portico:problem:not-found"`
	Title   string      `json:"title" example:"Not found"`
	Status  int         `json:"status" example:"404"`
	Detail  string      `json:"detail,omitempty" doc:"What happened, for people" example:"there is no queue \"jobs\""`
	Code    string      `json:"code" doc:"The same on every door" example:"not-found"`
	Errors  []violation `json:"errors,omitempty" doc:"The arguments that are not as they have to be"`
	Reasons []string    `json:"reasons,omitempty" doc:"Why the gateway is not ready"`
	Results []result    `json:"results,omitempty" doc:"What became of each token"`
}

// violation is one argument that is not as it has to be.
type violation struct {
	Field    string `json:"field" doc:"Where it stands: path., query., header. or body. and its name" example:"query.max"`
	Expected string `json:"expected" example:"a whole number from 1 to 1000"`
	Found    string `json:"found,omitempty" example:"0"`
}

// status is how a code looks on HTTP.
type status struct {
	number int
	title  string
}

// statuses is the one table from the gateway's codes to HTTP.
var statuses = map[core.Code]status{
	core.CodeInternal:           {http.StatusInternalServerError, "Internal error"},
	core.CodeInvalid:            {http.StatusBadRequest, "Invalid request"},
	core.CodeUnauthenticated:    {http.StatusUnauthorized, "Login required"},
	core.CodePermissionDenied:   {http.StatusForbidden, "Permission denied"},
	core.CodeNotFound:           {http.StatusNotFound, "Not found"},
	core.CodeLocked:             {http.StatusConflict, "Resource locked"},
	core.CodePreconditionFailed: {http.StatusConflict, "Precondition failed"},
	core.CodeTooLarge:           {http.StatusRequestEntityTooLarge, "Too large"},
	core.CodeNoResponders:       {http.StatusServiceUnavailable, "No responders"},
	core.CodeTimeout:            {http.StatusGatewayTimeout, "Timeout"},
	core.CodeResourceExhausted:  {http.StatusInsufficientStorage, "Resource exhausted"},
	core.CodeUnavailable:        {http.StatusServiceUnavailable, "Unavailable"},
	core.CodeSlowConsumer:       {http.StatusServiceUnavailable, "Slow consumer"},
	core.CodeUnimplemented:      {http.StatusNotImplemented, "Not implemented"},
}

// A refusal is an error that knows more than its code: the fields it is about, or a status of its own (0: that of its code).
type refusal struct {
	err    *core.Error
	fields []violation
	status int
}

// Error implements error.
func (r *refusal) Error() string { return r.err.Error() }

// Unwrap returns what other doors would show.
func (r *refusal) Unwrap() error { return r.err }

// maxFound is how much of a wrong value is told, in bytes.
const maxFound = 100

// badField says that an argument is not what is expected: CodeInvalid. field is such as "query.max", "path.subject", "header.Prefer", "body.max_length"; expected is
// such as "a whole number from 1 to 1000"; found is what was there, "" if nothing is to be shown of it.
func badField(field, expected, found string) error {
	_, name, ok := strings.Cut(field, ".")
	if !ok {
		name = field
	}
	if len(found) > maxFound {
		found = found[:maxFound] + "…"
	}
	found = strings.ToValidUTF8(found, "\uFFFD")
	detail := name + ": " + expected + " is expected"
	if found != "" {
		detail = fmt.Sprintf("%s: %q is found, %s is expected", name, found, expected)
	}
	return &refusal{err: core.Errorf(core.CodeInvalid, "%s", detail), fields: []violation{{field, expected, found}}}
}

// unknown says that there is no such field or parameter: kind is that word, expected what there is.
func unknown(field, kind, expected string) error {
	_, name, _ := strings.Cut(field, ".")
	return &refusal{err: core.Errorf(core.CodeInvalid, "there is no %s %q: %s is expected", kind, name, expected), fields: []violation{{field, expected, ""}}}
}

// inField adds the field to an error that says only that something is invalid; any other error stays as it is.
func inField(err error, field, expected, found string) error {
	if err == nil || core.AsError(err).Code != core.CodeInvalid {
		return err
	}
	if r, ok := errors.AsType[*refusal](err); ok && len(r.fields) > 0 {
		return err
	}
	if len(found) > maxFound {
		found = found[:maxFound] + "…"
	}
	return &refusal{err: core.AsError(err), fields: []violation{{field, expected, strings.ToValidUTF8(found, "\uFFFD")}}}
}

// withStatus gives an error a status that is not its code's, such as 412 where a client has made a condition.
func withStatus(err error, status int) error {
	r := &refusal{err: core.AsError(err), status: status}
	if known, ok := errors.AsType[*refusal](err); ok {
		r.fields = known.fields
	}
	return r
}

// conditionFailed makes a failed precondition 412 instead of 409: for a request with If-Match or If-None-Match.
func conditionFailed(err error) error {
	if err == nil || core.AsError(err).Code != core.CodePreconditionFailed {
		return err
	}
	return withStatus(err, http.StatusPreconditionFailed)
}

// problemOf turns an error into what a client may see of it.
func problemOf(err error) problem {
	e := core.AsError(err)
	row, ok := statuses[e.Code]
	if !ok {
		row = statuses[core.CodeInternal]
	}
	detail := e.Detail
	if e.Code == core.CodeInternal {
		detail = "" // nothing internal leaves
	}
	if errors.Is(err, gate.ErrMessageRate) {
		row = status{http.StatusTooManyRequests, "Too many requests"}
	}
	p := problem{Type: "urn:portico:problem:" + e.Code.String(), Title: row.title, Status: row.number, Detail: detail, Code: e.Code.String()}
	if r, ok := errors.AsType[*refusal](err); ok {
		p.Errors = r.fields
		if r.status != 0 {
			p.Status, p.Title = r.status, http.StatusText(r.status)
		}
	}
	return p
}

// fail answers the request with err's problem and logs what only the operator may know.
func (a *Adapter) fail(c *gin.Context, err error) {
	p := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		a.log.Error("request failed", "door", door, "remote", c.Request.RemoteAddr, "method", c.Request.Method, "path", c.Request.URL.Path, "err", err)
	}
	a.problem(c, p)
}

// problem writes p, unless the answer has begun already.
func (a *Adapter) problem(c *gin.Context, p problem) {
	c.Abort()
	if c.Writer.Written() {
		return
	}
	switch p.Status {
	case http.StatusUnauthorized:
		c.Header("WWW-Authenticate", `Basic realm="portico", charset="UTF-8"`)
		c.Writer.Header().Add("WWW-Authenticate", `Bearer realm="portico"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		if c.Writer.Header().Get("Retry-After") == "" {
			c.Header("Retry-After", "1")
		}
	}
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"type":"about:blank"}`)
	}
	c.Data(p.Status, "application/problem+json", append(body, '\n'))
}
