package httpapi

import (
	"net/http"

	"portico/core"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// healthz: GET /healthz. The process is alive and answers.
func (a *Adapter) healthz(c *gin.Context) { c.JSON(http.StatusOK, health{"ok"}) }

// readyz: GET /readyz. 503 with the reasons when no messages can be taken now.
func (a *Adapter) readyz(c *gin.Context) {
	err := a.notReady()
	if err == nil {
		c.JSON(http.StatusOK, health{"ready"})
		return
	}
	p := problemOf(&core.Error{Code: core.CodeUnavailable, Detail: "the gateway does not take messages now", Err: err})
	p.Reasons = a.reasons(err)
	a.problem(c, p)
}

func (a *Adapter) notReady() error {
	select {
	case <-a.draining:
		return core.Errorf(core.CodeUnavailable, "draining")
	default:
		return a.gateway.Ready()
	}
}

// reasons lists the alarms, or what Ready said when there is none.
func (a *Adapter) reasons(err error) []string {
	var out []string
	for _, alarm := range a.gateway.Alarms() {
		out = append(out, alarm.Name+": "+alarm.Detail)
	}
	if len(out) == 0 {
		out = append(out, core.AsError(err).Detail)
	}
	return out
}

func (a *Adapter) promHandler() gin.HandlerFunc {
	return gin.WrapH(promhttp.HandlerFor(a.gateway.Registry(), promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
}
