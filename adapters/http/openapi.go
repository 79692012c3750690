package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"portico/core"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

const (
	openAPIVersion = "3.1.0"
	apiVersion     = "1.0.0" // of what is below /v1; its second number rises with what is added
	problemType    = "application/problem+json"
)

// document is the OpenAPI document, in both of its forms.
type document struct{ json, yaml []byte }

// newDocument builds the document of operations and of what the extensions tell of theirs. It takes some milliseconds.
func newDocument(operations []operation, extensions map[string]Extension) (*document, error) {
	m := newMaker()
	for i := range operations {
		m.operation(&operations[i])
	}
	for _, name := range slices.Sorted(maps.Keys(extensions)) {
		if x, ok := extensions[name].(Described); ok {
			m.extension(name, x)
		}
	}
	return m.finish()
}

// maker gathers a document.
type maker struct {
	doc     *huma.OpenAPI
	schemas *schemas
}

func newMaker() *maker {
	return &maker{schemas: newSchemas(), doc: &huma.OpenAPI{
		OpenAPI: openAPIVersion,
		Info: &huma.Info{
			Title: "Portico", Version: apiVersion, License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			Description: "The HTTP door of a messaging gateway: what other clients do over AMQP, gRPC, WebSocket, NATS and MQTT, for everything that speaks HTTP.",
		},
		Servers: []*huma.Server{{URL: "/", Description: "The gateway that serves this document"}},
		Tags: []*huma.Tag{
			{Name: tagMessages, Description: "Publish, ask, listen"}, {Name: tagQueues, Description: "Queues: messages wait until somebody is done with them"},
			{Name: tagBindings, Description: "What is published goes into queues"}, {Name: tagStreams, Description: "Logs of messages that stay, and consumers that work through them"},
			{Name: tagConsumers, Description: "Of streams: who works through one, and what is lent to it"}, {Name: tagKV, Description: "Buckets of values by key, with revisions"}, {Name: tagObjects, Description: "Buckets of large values, streamed in and out"},
			{Name: tagEvents, Description: "The HTTP binding of CloudEvents 1.0"}, {Name: tagHooks, Description: "Webhooks of others come in as messages"},
			{Name: tagWebhooks, Description: "Messages go out as webhooks"}, {Name: "amqp", Description: "The AMQP door's topology, connections and policies"},
			{Name: tagSystem, Description: "Of the gateway itself"},
		},
		Components: &huma.Components{Responses: map[string]*huma.Response{}, SecuritySchemes: map[string]*huma.SecurityScheme{"basic": {Type: "http", Scheme: "basic"}}},
		Security:   []map[string][]string{{"basic": {}}, {}},
	}}
}

// operation adds one of this door's own.
func (m *maker) operation(o *operation) {
	op := &huma.Operation{
		OperationID: o.id, Method: o.method, Path: strings.ReplaceAll(o.path, "...}", "}"), Tags: []string{o.tag}, Summary: o.summary, Description: o.description,
		Responses: map[string]*huma.Response{},
	}
	if o.open {
		op.Security = []map[string][]string{{}}
	}
	if o.lenient {
		op.Extensions = map[string]any{"x-unknown-parameters": "ignored"}
	}
	for i := range o.params {
		if !knownHeader(o.params[i]) {
			op.Parameters = append(op.Parameters, paramOf(&o.params[i]))
		}
	}
	if o.request != nil {
		op.RequestBody = &huma.RequestBody{Description: o.request.text, Content: m.content(o.request, true)}
	}
	for status, a := range o.answers {
		op.Responses[strconv.Itoa(status)] = m.response(&a)
	}
	m.problems(op, o.codesOf(), o.refuses)
	m.add(op)
}

// add adds an operation; its tag gets a place in the list if it has none.
func (m *maker) add(op *huma.Operation) {
	for _, name := range op.Tags {
		if !slices.ContainsFunc(m.doc.Tags, func(t *huma.Tag) bool { return t.Name == name }) {
			m.doc.Tags = append(m.doc.Tags, &huma.Tag{Name: name})
		}
	}
	m.doc.AddOperation(op)
}

// knownHeader tells the headers that OpenAPI knows by other means: they may not be parameters.
func knownHeader(p param) bool {
	return p.in == "header" && (p.name == "Accept" || p.name == "Content-Type" || p.name == "Authorization")
}

// content is a body in the document.
func (m *maker) content(c *content, request bool) map[string]*huma.MediaType {
	out := map[string]*huma.MediaType{}
	for _, k := range append([]kind{{c.types, c.value, c.example}}, c.also...) {
		for _, t := range k.types {
			out[t] = &huma.MediaType{Schema: m.schemas.of(k.value, request), Example: k.example}
		}
	}
	return out
}

func (m *maker) response(a *answer) *huma.Response {
	r := &huma.Response{Description: a.description}
	for i := range a.headers {
		if r.Headers == nil {
			r.Headers = map[string]*huma.Param{}
		}
		h := paramOf(&a.headers[i])
		h.Name, h.In = "", "" // of a header of an answer its place tells them
		r.Headers[a.headers[i].name] = h
	}
	if a.body != nil {
		r.Content = m.content(a.body, false)
	}
	return r
}

// problems adds the answers of codes and statuses. Several codes may share a status.
func (m *maker) problems(op *huma.Operation, codes []core.Code, also []int) {
	titles := map[int][]string{}
	for _, code := range codes {
		s := statuses[code]
		titles[s.number] = append(titles[s.number], "`"+code.String()+"`")
		if code == core.CodeResourceExhausted { // of a user that is too fast
			titles[http.StatusTooManyRequests] = append(titles[http.StatusTooManyRequests], "`"+code.String()+"`")
		}
	}
	for _, status := range also {
		titles[status] = append(titles[status], http.StatusText(status))
	}
	for status, words := range titles {
		if _, there := op.Responses[strconv.Itoa(status)]; !there {
			op.Responses[strconv.Itoa(status)] = &huma.Response{Ref: "#/components/responses/" + m.problem(status, words)}
		}
	}
}

// problem returns the name of the answer with a status and these codes, which operations share.
func (m *maker) problem(status int, words []string) string {
	name := "Problem" + strconv.Itoa(status)
	for part := range strings.FieldsFuncSeq(strings.Join(words, " "), func(r rune) bool { return strings.ContainsRune("` -", r) }) {
		name += strings.ToUpper(part[:1]) + part[1:]
	}
	r := &huma.Response{
		Description: strings.Join(words, ", "),
		Content:     map[string]*huma.MediaType{problemType: {Schema: m.schemas.of(problem{}, false)}},
	}
	switch status {
	case http.StatusUnauthorized:
		r.Headers = map[string]*huma.Param{"WWW-Authenticate": {Description: "How to log in", Schema: &huma.Schema{Type: huma.TypeString}}}
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		r.Headers = map[string]*huma.Param{"Retry-After": {Description: "Seconds to wait", Schema: &huma.Schema{Type: huma.TypeInteger}}}
	}
	m.doc.Components.Responses[name] = r
	return name
}

// extension adds what another door tells.
func (m *maker) extension(name string, x Described) {
	codes := (&operation{request: &content{}, fails: []core.Code{core.CodeNotFound, core.CodeLocked, core.CodePreconditionFailed, core.CodeUnimplemented}}).codesOf()
	x.Describe(func(method, path, summary string, query map[string]any, request, answer any, success ...int) {
		op := &huma.Operation{
			OperationID: name + operationName(method, path), Method: method, Path: "/v1/" + name + "/" + path, Tags: []string{name}, Summary: summary,
			Responses: map[string]*huma.Response{},
		}
		for part := range strings.SplitSeq(path, "/") {
			if strings.HasPrefix(part, "{") {
				op.Parameters = append(op.Parameters, paramOf(&param{in: "path", name: strings.Trim(part, "{}"), value: "", required: true}))
			}
		}
		for _, p := range slices.Sorted(maps.Keys(query)) {
			op.Parameters = append(op.Parameters, paramOf(&param{in: "query", name: p, value: query[p]}))
		}
		if request != nil {
			op.RequestBody = &huma.RequestBody{Content: m.content(jsonOf(request, nil), true)}
		}
		for _, status := range success {
			r := &huma.Response{Description: http.StatusText(status)}
			if answer != nil && status != http.StatusNoContent {
				r.Content = m.content(jsonOf(answer, nil), false)
			}
			op.Responses[strconv.Itoa(status)] = r
		}
		m.problems(op, codes, nil)
		m.add(op)
	})
}

// operationName makes a name of a method and a path: PutExchangesX of PUT exchanges/{x}.
func operationName(method, path string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(strings.ToLower(method)+"/"+path, func(r rune) bool { return strings.ContainsRune("/{}-_", r) }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// finish writes the document down.
func (m *maker) finish() (*document, error) {
	components, err := m.schemas.finish()
	if err != nil {
		return nil, err
	}
	m.doc.Extensions = map[string]any{}
	whole, err := json.Marshal(m.doc)
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(whole, &tree); err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	parts, _ := tree["components"].(map[string]any)
	parts["schemas"] = components
	text, err := json.MarshalIndent(tree, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	yaml, err := yamlOf(text)
	return &document{append(text, '\n'), yaml}, err
}

// openAPIJSON: GET /v1/openapi.json.
func (a *Adapter) openAPIJSON(c *gin.Context) {
	a.openAPI(c, "application/json", func(d *document) []byte { return d.json })
}

// openAPIYAML: GET /v1/openapi.yaml.
func (a *Adapter) openAPIYAML(c *gin.Context) {
	a.openAPI(c, "application/yaml", func(d *document) []byte { return d.yaml })
}

// openAPI answers with the document, which is made when somebody asks for it first.
func (a *Adapter) openAPI(c *gin.Context, mediaType string, form func(*document) []byte) {
	d, err := a.document()
	if err != nil {
		a.fail(c, err)
		return
	}
	c.Header("Cache-Control", "no-cache")
	c.Data(http.StatusOK, mediaType, form(d))
}
