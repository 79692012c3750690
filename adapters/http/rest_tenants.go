package httpapi

import (
	"net/http"
	"slices"

	"portico/core"

	"github.com/gin-gonic/gin"
)

const tagTenants = "tenants"

// tenantConfig is a tenant as clients write it.
type tenantConfig struct {
	Limits  tenantLimits   `json:"limits,omitzero"`
	Exports []string       `json:"exports,omitempty" doc:"Subject patterns that other tenants may import; set once" maxItems:"64"`
	Imports []tenantImport `json:"imports,omitempty" doc:"What is heard of other tenants; set once" maxItems:"64"`
}

type tenantLimits struct {
	Connections  int     `json:"connections,omitempty" doc:"AMQP, STOMP, WebSocket, NATS and MQTT connections at once; 0 is no limit, here and below" minimum:"0"`
	Queues       int     `json:"queues,omitempty" minimum:"0"`
	Bytes        int64   `json:"bytes,omitempty" doc:"That all queues keep, and again that all streams, buckets and objects keep" minimum:"0"`
	MessageRate  float64 `json:"message_rate,omitempty" doc:"Messages a second; NATS and MQTT clients are not counted" minimum:"0"`
	MessageBytes int     `json:"message_bytes,omitempty" doc:"Of one message" minimum:"0"`
}

type tenantImport struct {
	Tenant  string `json:"tenant" doc:"Whose" example:"shop"`
	Subject string `json:"subject" doc:"A subject pattern within one of its exports" example:"orders.*.done"`
}

// tenantShown is a tenant as it is told.
type tenantShown struct {
	Name        string       `json:"name" example:"shop"`
	Config      tenantConfig `json:"config"`
	Configured  bool         `json:"configured" doc:"By the configuration file; then it cannot be changed or deleted here"`
	Queues      int          `json:"queues"`
	Messages    int          `json:"messages" doc:"In its queues"`
	Bytes       int64        `json:"bytes" doc:"That its queues keep"`
	Connections int64        `json:"connections"`
}

type tenantList struct {
	Tenants []tenantShown `json:"tenants"`
}

func tenantShownOf(t core.TenantInfo) tenantShown {
	cfg := tenantConfig{Limits: tenantLimits(t.Limits), Exports: t.Exports}
	for _, i := range t.Imports {
		cfg.Imports = append(cfg.Imports, tenantImport(i))
	}
	return tenantShown{Name: t.Name, Config: cfg, Configured: t.Configured, Queues: t.Queues, Messages: t.Messages, Bytes: t.Bytes, Connections: t.Connections}
}

func (c *tenantConfig) core(name string) core.TenantConfig {
	cfg := core.TenantConfig{Name: name, Limits: core.TenantLimits(c.Limits), Exports: c.Exports}
	for _, i := range c.Imports {
		cfg.Imports = append(cfg.Imports, core.TenantImport(i))
	}
	return cfg
}

// tenantOperations are those of tenants, for administrators.
func (a *Adapter) tenantOperations() []operation {
	name := inPath("tenant", "The tenant's name, percent-encoded: / is %2F", "shop").within(1, 100)
	example := tenantConfig{Limits: tenantLimits{Queues: 100, Bytes: 1 << 30}, Exports: []string{"orders.>"}}
	return []operation{
		{
			id: "listTenants", method: http.MethodGet, path: "/v1/tenants", tag: tagTenants, handle: a.listTenants,
			summary: "List tenants", description: "All of them, by name. For administrators.", answers: okJSON("The tenants", tenantList{}, nil), fails: forAdministrators(),
		},
		{
			id: "getTenant", method: http.MethodGet, path: "/v1/tenants/{tenant}", tag: tagTenants, handle: a.getTenant, params: []param{name},
			summary: "Describe a tenant", answers: okJSON("The tenant", tenantShown{}, nil), fails: forAdministrators(core.CodeNotFound),
		},
		{
			id: "putTenant", method: http.MethodPut, path: "/v1/tenants/{tenant}", tag: tagTenants, handle: a.putTenant, params: []param{name},
			summary: "Create a tenant, or change its limits", request: jsonOf(tenantConfig{}, example),
			description: "A tenant is a world of its own: subjects, queues, streams and buckets of one are not there in another. To AMQP clients it is a virtual host, to NATS an account.",
			answers: map[int]answer{
				http.StatusCreated: {description: "It was created", body: jsonOf(tenantShown{}, nil)}, http.StatusOK: {description: "It was there, and has these limits now", body: jsonOf(tenantShown{}, nil)},
			},
			fails: forAdministrators(core.CodePreconditionFailed, core.CodeResourceExhausted, core.CodeTimeout, core.CodeNotFound),
		},
		{
			id: "deleteTenant", method: http.MethodDelete, path: "/v1/tenants/{tenant}", tag: tagTenants, handle: a.deleteTenant, params: []param{name},
			summary: "Delete a tenant", description: "With everything in it. Connections to it are closed.", answers: noContent("It is gone"),
			fails: forAdministrators(core.CodeNotFound, core.CodePreconditionFailed, core.CodeTimeout),
		},
	}
}

// ofDefaultTenant makes operations answer 501 in other tenants: what they manage is only there in that one.
func (a *Adapter) ofDefaultTenant(all []operation) []operation {
	for i := range all {
		o := &all[i]
		if o.open {
			continue
		}
		handle := o.handle
		if !slices.Contains(o.fails, core.CodeUnimplemented) {
			o.fails = append(slices.Clip(o.fails), core.CodeUnimplemented)
		}
		o.handle = func(c *gin.Context) {
			if at := busOf(c).Tenant(); at != core.DefaultTenant {
				a.fail(c, core.Errorf(core.CodeUnimplemented, "webhooks are not there in tenant %q", at))
				return
			}
			handle(c)
		}
	}
	return all
}

func forAdministrators(more ...core.Code) []core.Code {
	return append([]core.Code{core.CodePermissionDenied}, more...)
}

// administers answers 403 unless an administrator asks.
func (a *Adapter) administers(c *gin.Context) bool {
	if err := busOf(c).Administrator(); err != nil {
		a.fail(c, err)
		return false
	}
	return true
}

// listTenants: GET /v1/tenants.
func (a *Adapter) listTenants(c *gin.Context) {
	if !a.administers(c) {
		return
	}
	all := []tenantShown{}
	for _, t := range a.gateway.Tenants() {
		all = append(all, tenantShownOf(t))
	}
	c.PureJSON(http.StatusOK, tenantList{all})
}

// getTenant: GET /v1/tenants/{tenant}.
func (a *Adapter) getTenant(c *gin.Context) {
	if a.administers(c) {
		a.showTenant(c, http.StatusOK)
	}
}

func (a *Adapter) showTenant(c *gin.Context, status int) {
	for _, t := range a.gateway.Tenants() {
		if t.Name == c.Param("tenant") {
			c.PureJSON(status, tenantShownOf(t))
			return
		}
	}
	a.fail(c, core.Errorf(core.CodeNotFound, "there is no tenant %q", c.Param("tenant")))
}

// putTenant: PUT /v1/tenants/{tenant}.
func (a *Adapter) putTenant(c *gin.Context) {
	var body tenantConfig
	if !a.administers(c) {
		return
	}
	if err := a.readJSON(c, &body); err != nil {
		a.fail(c, err)
		return
	}
	created, err := a.gateway.PutTenant(c.Request.Context(), body.core(c.Param("tenant")))
	switch {
	case err != nil:
		a.fail(c, err)
	case created:
		a.showTenant(c, http.StatusCreated)
	default:
		a.showTenant(c, http.StatusOK)
	}
}

// deleteTenant: DELETE /v1/tenants/{tenant}.
func (a *Adapter) deleteTenant(c *gin.Context) {
	if !a.administers(c) {
		return
	}
	if err := a.gateway.DeleteTenant(c.Request.Context(), c.Param("tenant")); err != nil {
		a.fail(c, err)
		return
	}
	c.Status(http.StatusNoContent)
}
