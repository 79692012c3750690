package httpapi

import (
	"net"
	"net/http"
	"strconv"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// health is the answer of /healthz and /readyz.
type health struct {
	Status string `json:"status" example:"ok"`
}

// systemOperations are those of the gateway itself. Nobody logs in for them.
func (a *Adapter) systemOperations() []operation {
	text := func(mediaType string) map[int]answer {
		return map[int]answer{http.StatusOK: {description: "It is here", body: &content{types: []string{mediaType}}}}
	}
	all := []operation{
		{
			id: "healthz", path: "/healthz", summary: "Is the process alive?", answers: okJSON("It answers", health{}, health{"ok"}), handle: a.healthz,
		},
		{
			id: "readyz", path: "/readyz", summary: "Does the gateway take messages now?", answers: okJSON("It does", health{}, health{"ready"}),
			fails: []core.Code{core.CodeUnavailable}, handle: a.readyz,
		},
		{id: "metrics", path: "/metrics", summary: "Metrics for Prometheus", answers: text("text/plain"), fails: []core.Code{core.CodeUnavailable}, handle: a.promHandler()},
		{id: "openAPI", path: "/v1/openapi.json", summary: "This document", answers: text("application/json"), handle: a.openAPIJSON},
		{id: "openAPIYAML", path: "/v1/openapi.yaml", summary: "This document as YAML", answers: text("application/yaml"), handle: a.openAPIYAML},
		{
			id: "discover", path: "/.well-known/portico", summary: "What this gateway is, where its doors are and what its limits are",
			answers: okJSON("This gateway", discovery{}, nil), handle: a.discover,
		},
	}
	for i := range all {
		all[i].method, all[i].tag, all[i].open, all[i].lenient = http.MethodGet, tagSystem, true, true
	}
	return all
}

// discovery is what a client can know of a gateway without a login.
type discovery struct {
	Name      string         `json:"name" example:"portico"`
	Versions  []string       `json:"versions" doc:"Of the HTTP API, as they stand in paths"`
	OpenAPI   string         `json:"openapi" doc:"Path of the OpenAPI document"`
	Reference string         `json:"reference" doc:"Path of the page that shows it"`
	WebSocket string         `json:"websocket,omitempty" doc:"Path of the WebSocket door"`
	Ports     map[string]int `json:"ports" doc:"TCP port of each door that is open"`
	Limits    limits         `json:"limits"`
}

// limits are what clients have to keep to.
type limits struct {
	Message     int64 `json:"max_message" doc:"Bytes of a message, payload and headers together"`
	Headers     int   `json:"max_http_headers" doc:"Bytes of a request's headers"`
	Batch       int   `json:"max_batch" doc:"Messages of one batch"`
	Fetch       int   `json:"max_fetch" doc:"Messages of one fetch"`
	Page        int   `json:"max_page" doc:"Items of one page of a list"`
	Wait        int   `json:"max_wait_seconds" doc:"How long a request may wait for something"`
	Connections int   `json:"max_connections" doc:"Connections of this door at once"`
}

// discover: GET /.well-known/portico.
func (a *Adapter) discover(c *gin.Context) {
	d := discovery{
		Name: "portico", Versions: []string{"v1"}, OpenAPI: "/v1/openapi.json", Reference: "/reference/", Ports: map[string]int{door: portOf(a.Addr())},
		Limits: limits{a.maxBody, maxHeaderBytes, maxBatch, maxFetch, maxPage, int(maxWait.Seconds()), a.maxConnections},
	}
	if a.websocket != nil {
		d.WebSocket = "/ws"
	}
	if a.doors != nil {
		for name, address := range a.doors() {
			if port := portOf(address); port > 0 {
				d.Ports[name] = port
			}
		}
	}
	for name, address := range map[string]string{"nats": a.gateway.NATSAddr(), "mqtt": a.gateway.MQTTAddr()} {
		if port := portOf(address); port > 0 {
			d.Ports[name] = port
		}
	}
	c.JSON(http.StatusOK, d)
}

// portOf is the port of an address, 0 if it has none.
func portOf(address string) int {
	_, text, err := net.SplitHostPort(address)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return port
}
