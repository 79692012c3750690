package httpapi

import (
	"encoding/json"
	"net/http"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// problem is the answer to a request that failed, as RFC 9457 has it; Code is the gateway's own, the same on every door.
type problem struct {
	Type    string   `json:"type"`
	Title   string   `json:"title"`
	Status  int      `json:"status"`
	Detail  string   `json:"detail,omitempty"`
	Code    string   `json:"code"`
	Reasons []string `json:"reasons,omitempty"` // why the gateway is not ready
	Results []result `json:"results,omitempty"` // what became of each token
}

// statuses is the one table from the gateway's codes to HTTP.
var statuses = map[core.Code]struct {
	status int
	title  string
}{
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
	return problem{Type: "urn:portico:problem:" + e.Code.String(), Title: row.title, Status: row.status, Detail: detail, Code: e.Code.String()}
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
	case http.StatusServiceUnavailable:
		c.Header("Retry-After", "1")
	}
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{"type":"about:blank"}`)
	}
	c.Data(p.Status, "application/problem+json", append(body, '\n'))
}
