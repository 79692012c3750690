package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"portico/core"
	"portico/core/queue"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/yaml"
)

// schemas makes JSON Schemas of the Go types that handlers decode and encode. What a type needs in a request and what it has in an answer differ: of a request only the
// fields that say so are required and none may be unknown; of an answer those are there that are never left out, and clients must expect more.
type schemas struct {
	answers, requests huma.Registry
	names             map[string]reflect.Type
}

const schemaPrefix = "#/components/schemas/"

func newSchemas() *schemas {
	s := &schemas{names: map[string]reflect.Type{}}
	s.answers = huma.NewMapRegistry(schemaPrefix, func(t reflect.Type, hint string) string { return s.name(t, hint, "") })
	s.requests = huma.NewMapRegistry(schemaPrefix, func(t reflect.Type, hint string) string { return s.name(t, hint, "Input") })
	for _, r := range []huma.Registry{s.answers, s.requests} {
		r.RegisterTypeAlias(reflect.TypeFor[queue.Bound](), reflect.TypeFor[boundForm]())
		r.RegisterTypeAlias(reflect.TypeFor[core.Text](), reflect.TypeFor[textForm]())
		r.RegisterTypeAlias(reflect.TypeFor[queue.Overflow](), reflect.TypeFor[overflowForm]())
		r.RegisterTypeAlias(reflect.TypeFor[core.QueueType](), reflect.TypeFor[queueTypeForm]())
	}
	return s
}

// plainNames are what the document calls types whose name says enough only where they stand.
func plainName(name string) string {
	switch name {
	case "Declaration":
		return "QueueDeclaration"
	case "Description":
		return "Queue"
	case "Event":
		return "Message"
	case "Fetched":
		return "FetchedMessage"
	}
	return name
}

// name is what a type is called: as in Go, with its package in front if another has that name, and with suffix where it is part of a request.
func (s *schemas) name(t reflect.Type, hint, suffix string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := plainName(huma.DefaultSchemaNamer(t, hint))
	if t.Kind() != reflect.Struct {
		return name
	}
	pkg := path.Base(t.PkgPath())
	if strings.Contains(t.PkgPath(), "/amqp") {
		name = "Amqp" + strings.ToUpper(name[:1]) + name[1:]
	}
	if known, ok := s.names[name]; ok && known != t && pkg != "." {
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	if suffix == "" {
		s.names[name] = t
		return name
	}
	return strings.TrimSuffix(name, "Request") + suffix
}

// of is the schema of a value's type, nil if there is no value. Of several values it may be any.
func (s *schemas) of(value any, request bool) *huma.Schema {
	switch v := value.(type) {
	case nil:
		return nil
	case []any:
		any := &huma.Schema{}
		for _, one := range v {
			any.AnyOf = append(any.AnyOf, s.of(one, request))
		}
		return any
	}
	r := s.answers
	if request {
		r = s.requests
	}
	one := r.Schema(reflect.TypeOf(value), true, "")
	tidy(one, func(*huma.Schema) {})
	return one
}

// finish returns all schemas by name.
func (s *schemas) finish() (map[string]any, error) {
	promote(s.answers, true)
	promote(s.requests, false)
	all := map[string]*huma.Schema{}
	for name, schema := range s.answers.Map() {
		tidy(schema, func(x *huma.Schema) {
			if x.Properties != nil {
				x.AdditionalProperties = nil
			}
		})
		all[name] = schema
	}
	for name, schema := range s.requests.Map() {
		tidy(schema, func(*huma.Schema) {})
		schema.Required = required(s.requests.TypeFromRef(schemaPrefix + name))
		if strings.HasPrefix(name, "Amqp") {
			schema.AdditionalProperties = nil // RabbitMQ's clients send back what they were told
		}
		all[name] = schema
	}
	for name, schema := range all {
		for property, text := range fieldTexts(name) {
			if p := schema.Properties[property]; p != nil && p.Description == "" && p.Ref == "" {
				p.Description = text
			}
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("write the schemas: %w", err)
	}
	out := map[string]any{}
	return out, json.Unmarshal(text, &out)
}

// promote adds the fields of embedded structs whose names are not exported: encoding/json has them, huma passes them over. New types may come along, so it goes on until
// there are none.
func promote(r huma.Registry, answers bool) {
	for done := map[string]bool{}; len(done) < len(r.Map()); {
		for _, name := range slices.Sorted(maps.Keys(r.Map())) {
			if done[name] {
				continue
			}
			done[name] = true
			schema := r.Map()[name]
			for _, f := range reflect.VisibleFields(r.TypeFromRef(schemaPrefix + name)) {
				tag := f.Tag.Get("json")
				field, _, _ := strings.Cut(tag, ",")
				if len(f.Index) == 1 || !f.IsExported() || f.Anonymous || field == "" || field == "-" || schema.Properties[field] != nil {
					continue
				}
				schema.Properties[field] = huma.SchemaFromField(r, f, "")
				if answers && !strings.Contains(tag, ",omit") {
					schema.Required = append(schema.Required, field)
				}
			}
		}
	}
}

// tidy corrects what reflection cannot know: our lists are never null, and a format says less than bounds do.
func tidy(s *huma.Schema, each func(*huma.Schema)) {
	switch s.Type {
	case huma.TypeArray:
		s.Nullable = false
	case huma.TypeInteger:
		s.Format = ""
	}
	each(s)
	for _, one := range s.AnyOf {
		tidy(one, each)
	}
	if s.Items != nil {
		tidy(s.Items, each)
	}
	if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		tidy(more, each)
	}
	for _, p := range s.Properties {
		tidy(p, each)
	}
}

// required lists the fields of a request that say that they are.
func required(t reflect.Type) (names []string) {
	for _, f := range reflect.VisibleFields(t) {
		if f.Tag.Get("required") == "true" {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// fieldTexts describes the fields of core's types.
func fieldTexts(schema string) map[string]string {
	texts := map[string]string{
		"max_deliveries":   "A message delivered so often dies instead of being requeued; 0: no limit",
		"message_ttl":      "Milliseconds that a message may wait",
		"expires":          "Milliseconds without use after which the queue is deleted",
		"max_length":       "Ready messages",
		"max_length_bytes": "Bytes of the payloads of ready messages",
		"max_age":          "Milliseconds that a stream keeps a message",
		"overflow":         "What happens above max_length and max_length_bytes",
	}
	if strings.HasPrefix(schema, "DeadLetter") {
		return map[string]string{
			"queue": "A queue", "subject": "A subject", "exchange": "An exchange of the AMQP door; \"\" is the default exchange",
			"routing_key": "With exchange; the message's own if it is left out",
		}
	}
	return maps.Clone(texts)
}

// The forms that types with a JSON of their own have.
type (
	boundForm     struct{}
	textForm      struct{}
	overflowForm  struct{}
	queueTypeForm struct{}
)

// Schema implements huma.SchemaProvider.
func (boundForm) Schema(huma.Registry) *huma.Schema {
	least := 0.0
	return &huma.Schema{Type: huma.TypeInteger, Nullable: true, Minimum: &least}
}

// Schema implements huma.SchemaProvider.
func (textForm) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Nullable: true}
}

// Schema implements huma.SchemaProvider.
func (overflowForm) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: []any{queue.DropHead.String(), queue.RejectPublish.String(), queue.RejectPublishDLX.String()}}
}

// Schema implements huma.SchemaProvider.
func (queueTypeForm) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Enum: []any{classic, string(core.QuorumQueue), string(core.StreamQueue)}}
}

// durationPattern is what time.ParseDuration reads, but for signs.
const durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$`

// paramOf is a parameter in the document.
func paramOf(p *param) *huma.Param {
	s := &huma.Schema{Type: huma.TypeString}
	switch p.value.(type) {
	case int, int32, int64, uint8, uint16, uint32, uint64:
		s.Type = huma.TypeInteger
		if p.most != 0 {
			least, most := float64(p.least), float64(p.most)
			s.Minimum, s.Maximum = &least, &most
		}
	case bool:
		s.Type = huma.TypeBoolean
	case time.Duration:
		s.Pattern = durationPattern
	default:
		if p.most != 0 {
			least, most := int(p.least), int(p.most)
			s.MinLength, s.MaxLength = &least, &most
		}
		s.Pattern = p.form.pattern
	}
	if p.in == "path" && s.Type == huma.TypeString && s.MinLength == nil {
		least := 1 // without a name it is another path
		s.MinLength = &least
	}
	for _, w := range p.words {
		s.Enum = append(s.Enum, w)
	}
	out := &huma.Param{Name: p.name, In: p.in, Description: p.description, Required: p.required, Example: p.example, Schema: s}
	if _, ok := p.value.(time.Duration); ok && p.most != 0 {
		out.Description += fmt.Sprintf("; %s to %s", time.Duration(p.least), time.Duration(p.most))
	}
	if p.repeats() {
		out.Schema = &huma.Schema{Type: huma.TypeArray, Items: s}
		if p.example != nil {
			out.Example = []any{p.example}
		}
	}
	return out
}

// yamlOf is JSON as YAML.
func yamlOf(text []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := yaml.Convert(&b, bytes.NewReader(text)); err != nil {
		return nil, fmt.Errorf("write the OpenAPI document as YAML: %w", err)
	}
	return b.Bytes(), nil
}
