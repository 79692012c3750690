package httpapi

import (
	"net/http"

	"portico/core"
	"portico/core/policy"

	"github.com/gin-gonic/gin"
)

// permissionTest is what a user may do, and why.
type permissionTest struct {
	Allowed bool   `json:"allowed"`
	Rule    string `json:"rule" doc:"What decided" example:"publish.allow[0] \"orders.>\""`
	Action  string `json:"action" example:"publish"`
	Name    string `json:"name" example:"orders.new"`
	Door    string `json:"door" example:"http"`
}

// reloadedShown is what a reload of the configuration has done.
type reloadedShown struct {
	Changed []string `json:"changed" doc:"Keys that are in force now"`
	Restart []string `json:"restart" doc:"Keys that have changed and will be in force after a restart"`
}

// permissionDoors are the doors that a test knows: the last two are those of the embedded server.
func permissionDoors() []string {
	return []string{"http", "websocket", "grpc", "amqp", "stomp", "nats", "mqtt"}
}

// permissionOperations are those of what users may do, for administrators.
func (a *Adapter) permissionOperations() []operation {
	name := inPath("user", "The user's name, percent-encoded", "ann").within(1, 1024)
	example := core.Permissions{Publish: policy.Lists{Allow: []string{"orders.>"}, Deny: []string{"orders.secret.>"}}, Queue: map[string]policy.Lists{"consume": {Allow: []string{"jobs-*"}}}}
	changed := forAdministrators(core.CodeNotFound, core.CodePreconditionFailed, core.CodeResourceExhausted, core.CodeTimeout)
	return []operation{
		{
			id: "getPermissions", method: http.MethodGet, path: "/v1/users/{user}/permissions", tag: tagUsers, handle: a.getPermissions, params: []param{name},
			summary: "Tell what a user may do", description: "The lists publish and subscribe of the user itself come beside.",
			answers: okJSON("The permissions", core.Permissions{}, nil), fails: forAdministrators(core.CodeNotFound),
		},
		{
			id: "putPermissions", method: http.MethodPut, path: "/v1/users/{user}/permissions", tag: tagUsers, handle: a.putPermissions, params: []param{name},
			summary: "Say what a user may do", description: "It is in force at once: what is open and allowed no longer ends.", request: jsonOf(core.Permissions{}, example),
			answers: okJSON("The permissions", core.Permissions{}, nil), fails: changed,
		},
		{
			id: "testPermission", method: http.MethodGet, path: "/v1/users/{user}/permissions/test", tag: tagUsers, handle: a.testPermission,
			params: []param{
				name, inQuery("action", "What is done", "", "publish").oneOf(policy.Actions()...).must(),
				inQuery("name", "A subject or pattern, or the name of a queue, stream, bucket or exchange; none for administer and monitor, and for the default exchange", "", "orders.new").within(0, 4000),
				inQuery("key", "The routing key, of an exchange", "", "eu.new").within(0, 4000), inQuery("door", "Where; none: http", "", "http").oneOf(permissionDoors()...),
			},
			summary: "Would a user be allowed to do this?", description: "Nothing is done. The answer names the rule that decides.",
			answers: okJSON("The decision", permissionTest{}, nil), fails: forAdministrators(core.CodeNotFound),
		},
		{
			id: "reloadConfiguration", method: http.MethodPost, path: "/v1/configuration/reload", tag: tagSystem, handle: a.reloadConfiguration,
			summary: "Read the configuration again", description: "As SIGHUP does. Users, permissions, limits and the log level are put in force, whole or after an error not at all; for other keys the answer says that they need a restart.",
			answers: okJSON("What has changed", reloadedShown{}, reloadedShown{[]string{"users"}, []string{"http.listen"}}), fails: forAdministrators(core.CodeUnimplemented, core.CodePreconditionFailed),
		},
	}
}

// getPermissions: GET /v1/users/{user}/permissions.
func (a *Adapter) getPermissions(c *gin.Context) {
	p := a.people(c)
	if p == nil {
		return
	}
	u, err := p.Get(c.Param("user"))
	if err != nil {
		a.fail(c, err)
		return
	}
	if u.Permissions == nil {
		u.Permissions = &core.Permissions{}
	}
	c.PureJSON(http.StatusOK, u.Permissions)
}

// putPermissions: PUT /v1/users/{user}/permissions.
func (a *Adapter) putPermissions(c *gin.Context) {
	p := a.people(c)
	if p == nil {
		return
	}
	var body core.Permissions
	if err := a.readJSON(c, &body); err != nil {
		a.fail(c, err)
		return
	}
	if err := p.PutPermissions(c.Request.Context(), c.Param("user"), &body); err != nil {
		a.fail(c, err)
		return
	}
	c.PureJSON(http.StatusOK, body)
}

// testPermission: GET /v1/users/{user}/permissions/test.
func (a *Adapter) testPermission(c *gin.Context) {
	p := a.people(c)
	if p == nil {
		return
	}
	name, where := c.Query("name"), c.DefaultQuery("door", door)
	action, err := policy.ParseAction(c.Query("action"))
	if err != nil {
		a.fail(c, badField("query.action", "an action", c.Query("action")))
		return
	}
	d, err := p.Explain(c.Param("user"), where, action, core.ResourceFor(action, name, c.Query("key")))
	if err != nil {
		a.fail(c, err)
		return
	}
	c.PureJSON(http.StatusOK, permissionTest{d.Allowed, d.Rule, action.String(), name, where})
}

// reloadConfiguration: POST /v1/configuration/reload.
func (a *Adapter) reloadConfiguration(c *gin.Context) {
	if !a.administers(c) {
		return
	}
	if a.reload == nil {
		a.fail(c, core.Errorf(core.CodeUnimplemented, "this gateway has no configuration that could be read again"))
		return
	}
	changed, restart, err := a.reload()
	if err != nil {
		a.fail(c, &core.Error{Code: core.CodePreconditionFailed, Detail: "the configuration stays as it was: " + err.Error(), Err: err})
		return
	}
	c.PureJSON(http.StatusOK, reloadedShown{changed, restart})
}
