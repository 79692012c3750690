package httpapi

import (
	"net/http"
	"slices"
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
	fails       []core.Code    // beside internal, invalid, and those of login
	refuses     []int          // statuses of problems that no code has by itself, such as 412
	open        bool           // nobody has to log in
	lenient     bool           // parameters that it does not know are passed over
	handle      gin.HandlerFunc
}

// param is a parameter of an operation. Those of the path are required. A query or header parameter stands once, unless its value is a slice; one of the query that an
// operation does not have is refused, and so is one that does not have its type or is out of bounds.
type param struct {
	in          string // "path", "query", "header"
	name        string
	description string
	value       any // of the type it has, such as 0, false, "" or []string(nil); a time.Duration is text such as 2s
	example     any
	required    bool
	least, most int64    // bounds of a whole number, of a duration in nanoseconds, or of the length of text in bytes; most 0: none
	words       []string // what text may be; nil: anything
	form        form     // of text, beside its bounds
	octets      bool     // of the path: any octets but NUL, as AMQP names queues
}

// form is what text looks like.
type form struct {
	words   string // "a subject without wildcards"
	pattern string // a regular expression, in the words that Go's and JavaScript's have in common
	fits    func(string) bool
}

// content is a body: of one of the media types, with a JSON value of value's type, or any bytes if that is nil.
type content struct {
	types   []string
	value   any
	example any
	text    string // what it is, in a sentence
	also    []kind // what else it may be
}

// kind is one more form of a body.
type kind struct {
	types   []string
	value   any // as content's
	example any
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

// mount adds the routes of operations: those that are open to open, the others to group.
func (a *Adapter) mount(open, group *gin.RouterGroup, operations []operation) {
	for _, o := range operations {
		to := group
		if o.open {
			to = open
		}
		to.Handle(o.method, ginPath(o.path), a.checked(&o), o.handle)
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

// operations is the one list of what can be done at this door, the extensions of other doors left out. Those that are open are mounted without a login.
func (a *Adapter) operations() []operation {
	return slices.Concat(
		a.publishOperations(),
		a.liveOperations(),
		a.ofDefaultTenant(a.hookOperations()),
		a.ofDefaultTenant(a.webhookOperations()),
		a.eventOperations(),
		a.queueOperations(),
		a.settleOperations(),
		a.bindingOperations(),
		a.streamOperations(),
		a.kvOperations(),
		a.objectOperations(),
		a.tenantOperations(),
		a.userOperations(),
		a.permissionOperations(),
		a.systemOperations(),
	)
}

// inPath is a parameter of the path.
func inPath(name, description, example string) param {
	return param{in: "path", name: name, description: description, value: "", example: example, required: true}
}

// inQuery is a parameter of the query.
func inQuery(name, description string, value, example any) param {
	return param{in: "query", name: name, description: description, value: value, example: example}
}

// inHeader is a header, of a request or of an answer.
func inHeader(name, description string, value, example any) param {
	return param{in: "header", name: name, description: description, value: value, example: example}
}

// within bounds a parameter.
func (p param) within(least, most int64) param {
	p.least, p.most = least, most
	return p
}

// oneOf lists what a parameter may be.
func (p param) oneOf(words ...string) param {
	p.words = words
	return p
}

// of gives a parameter a form.
func (p param) of(f func() form) param {
	p.form = f()
	return p
}

// must makes a parameter required.
func (p param) must() param {
	p.required = true
	return p
}

// noContent are the answers of what has nothing to tell.
func noContent(description string) map[int]answer {
	return map[int]answer{http.StatusNoContent: {description: description}}
}

// okJSON are the answers of what tells one thing.
func okJSON(description string, value, example any) map[int]answer {
	return map[int]answer{http.StatusOK: {description: description, body: jsonOf(value, example)}}
}
