package httpapi

import (
	"net/http"

	"portico/core"
)

const tagHooks = "inbound webhooks"

// hookOperations are those of inbound webhooks: how sources are kept, and where they send.
func (a *Adapter) hookOperations() []operation {
	name := inPath("name", "The hook's name: 1 to 128 of A-Z a-z 0-9 . _ -", "github")
	shown := hookDescription{Name: "github", URL: "/hooks/github", Kind: "github", Secrets: 1, Tolerance: "5m0s", Subject: "hooks.{name}.{type}"}
	return []operation{
		{
			id: "listHooks", method: http.MethodGet, path: "/v1/hooks", tag: tagHooks, handle: a.listHooks,
			summary: "List the sources of webhooks", params: pageParams(), answers: pageAnswer(hookList{}),
			description: "Those that this user may have to do with: who may publish on every subject that the hook's template can name.",
		},
		{
			id: "putHook", method: http.MethodPut, path: "/v1/hooks/{name}", tag: tagHooks, handle: a.putHook,
			summary:     "Create or replace a source of webhooks",
			description: "Needs the permission to publish on every subject that the template can name, and that the template of the hook it replaces could.",
			params:      []param{name, jsonEncoding()},
			request:     jsonOf(hookConfig{}, hookConfig{Kind: "github", Secrets: []string{"It's a Secret to Everybody"}}),
			answers: map[int]answer{
				http.StatusOK:      {description: "Replaced", body: jsonOf(hookDescription{}, shown)},
				http.StatusCreated: {description: "Created", body: jsonOf(hookDescription{}, shown)},
			},
			fails: []core.Code{core.CodeLocked, core.CodePreconditionFailed, core.CodeResourceExhausted, core.CodeTimeout},
		},
		{
			id: "getHook", method: http.MethodGet, path: "/v1/hooks/{name}", tag: tagHooks, handle: a.getHook,
			summary: "Describe a source of webhooks", description: "Without its secrets: they never come back out.", params: []param{name},
			answers: okJSON("The hook", hookDescription{}, shown),
			fails:   []core.Code{core.CodeNotFound, core.CodeTimeout},
		},
		{
			id: "deleteHook", method: http.MethodDelete, path: "/v1/hooks/{name}", tag: tagHooks, handle: a.deleteHook,
			summary: "Delete a source of webhooks", params: []param{name}, answers: noContent("It is gone"),
			fails: []core.Code{core.CodeNotFound, core.CodeLocked, core.CodeTimeout},
		},
		a.receiveOperation(name),
		{
			id: "greetHook", method: http.MethodOptions, path: "/hooks/{name}", tag: tagHooks, handle: a.greetHook, open: true, lenient: true,
			summary: "Ask for the permission to send (CloudEvents webhooks)", params: append([]param{name}, handshakeParams()...), answers: handshakeAnswers(),
			fails: []core.Code{core.CodeNotFound, core.CodeInvalid, core.CodeTimeout, core.CodeUnavailable},
		},
	}
}

func (a *Adapter) receiveOperation(name param) operation {
	return operation{
		id: "receiveHook", method: http.MethodPost, path: "/hooks/{name}", tag: tagHooks, handle: a.receiveHook, open: true, lenient: true,
		summary: "Send a webhook",
		description: "Needs no login: the signature is the credential. It is checked over the body as it came; what has been taken before is not taken again, " +
			"and what is taken is kept when the answer comes. A signed time that is too far from now is a problem of type `urn:portico:problem:stale-timestamp`.",
		params:  []param{name},
		request: rawBody("Whatever the source sends; it becomes the payload as it is"),
		answers: okJSON("It is kept", received{}, received{}),
		fails: []core.Code{
			core.CodeUnauthenticated, core.CodePermissionDenied, core.CodeNotFound, core.CodeNoResponders, core.CodeUnavailable, core.CodePreconditionFailed, core.CodeResourceExhausted,
		},
	}
}
