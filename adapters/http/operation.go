package httpapi

import (
	"net/http"
	"strings"

	"portico/core"

	"github.com/gin-gonic/gin"
)

// operation is one thing that can be done at this door: its route, its handler and what the OpenAPI document says of it. The one list of them (operations) makes both.
type operation struct {
	id          string // in the document, such as "publish"
	method      string
	path        string // as OpenAPI writes it: /v1/queues/{queue}/messages. {name...} takes the rest, slashes included.
	tag         string
	summary     string
	description string
	params      []param
	request     *content       // nil: no body is read
	answers     map[int]answer // by status; those of errors are in fails
	fails       []core.Code    // beside internal, and those of login
	handle      gin.HandlerFunc
}

// param is a parameter of an operation. Those of the path are required.
type param struct {
	in          string // "path", "query", "header"
	name        string
	description string
	value       any // of the type it has, such as 0, "" or []string(nil)
	example     any
	required    bool
}

// content is a body: of one of the media types, with a JSON value of value's type, or any bytes if that is nil.
type content struct {
	types   []string
	value   any
	example any
	text    string // what it is, in a sentence
}

// answer is an answer of a status.
type answer struct {
	description string
	headers     []param
	body        *content // nil: none
}

// jsonOf is a JSON body of value's type.
func jsonOf(value, example any) *content {
	return &content{types: []string{"application/json"}, value: value, example: example}
}

// rawBody is any bytes of any type.
func rawBody(text string) *content { return &content{types: []string{"*/*"}, text: text} }

// mount adds the routes of operations, whose path begins with prefix, to group.
func mount(group *gin.RouterGroup, prefix string, operations []operation) {
	for _, o := range operations {
		path, ok := strings.CutPrefix(o.path, prefix)
		if !ok {
			continue
		}
		group.Handle(o.method, ginPath(path), o.handle)
	}
}

// ginPath is a path as gin writes it: {name} is :name, {name...} is *name.
func ginPath(path string) string {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if name, ok := strings.CutSuffix(p, "...}"); ok {
			parts[i] = "*" + name[1:]
		} else if strings.HasPrefix(p, "{") {
			parts[i] = ":" + strings.Trim(p, "{}")
		}
	}
	return strings.Join(parts, "/")
}

// operations is the one list of what can be done below /v1, the extensions of other doors left out.
func (a *Adapter) operations() []operation {
	return []operation{
		{id: "publish", method: http.MethodPost, path: "/v1/publish/{subject}", handle: a.publish},
		{id: "request", method: http.MethodPost, path: "/v1/request/{subject}", handle: a.request},
		{id: "subscribe", method: http.MethodGet, path: "/v1/subscribe", handle: a.subscribe},

		{id: "listQueues", method: http.MethodGet, path: "/v1/queues", handle: a.list},
		{id: "declareQueue", method: http.MethodPut, path: "/v1/queues/{q}", handle: a.declare},
		{id: "getQueue", method: http.MethodGet, path: "/v1/queues/{q}", handle: a.withQueue(consuming, a.show)},
		{id: "deleteQueue", method: http.MethodDelete, path: "/v1/queues/{q}", handle: a.withQueue(consuming, a.remove)},
		{id: "appendMessage", method: http.MethodPost, path: "/v1/queues/{q}/messages", handle: a.withQueue(appending, a.appendMessage)},
		{id: "purgeQueue", method: http.MethodDelete, path: "/v1/queues/{q}/messages", handle: a.withQueue(consuming, a.purge)},
		{id: "fetch", method: http.MethodPost, path: "/v1/queues/{q}/fetch", handle: a.withQueue(consuming, a.fetch)},
		{id: "ack", method: http.MethodPost, path: "/v1/queues/{q}/ack", handle: a.withQueue(consuming, a.ack)},
		{id: "nack", method: http.MethodPost, path: "/v1/queues/{q}/nack", handle: a.withQueue(consuming, a.nack)},
		{id: "extend", method: http.MethodPost, path: "/v1/queues/{q}/extend", handle: a.withQueue(consuming, a.extend)},
		{id: "listBindings", method: http.MethodGet, path: "/v1/queues/{q}/bindings", handle: a.withQueue(consuming, a.bindings)},
		{id: "getBinding", method: http.MethodGet, path: "/v1/queues/{q}/bindings/{pattern}", handle: a.withQueue(consuming, a.binding)},
		{id: "bind", method: http.MethodPut, path: "/v1/queues/{q}/bindings/{pattern}", handle: a.withQueue(consuming, a.bind)},
		{id: "unbind", method: http.MethodDelete, path: "/v1/queues/{q}/bindings/{pattern}", handle: a.withQueue(consuming, a.unbind)},
	}
}
