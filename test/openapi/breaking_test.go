package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

type object = map[string]any

// comparison finds what clients of the document before would miss in the one after.
type comparison struct {
	before, after object
	seen          map[string]bool // pairs of schemas that are compared or being compared
	found         []string
}

// breaking lists what a client of before cannot rely on any more: paths, methods, parameters, fields, statuses and media types that have gone, types that are others, and
// what has become required.
func breaking(before, after object) []string {
	c := &comparison{before: before, after: after, seen: map[string]bool{}}
	paths, now := child(before, "paths"), child(after, "paths")
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for method, old := range child(paths, path) {
			where := strings.ToUpper(method) + " " + path
			if op := child(now, path, method); op != nil {
				c.operation(where, old.(object), op)
			} else {
				c.tell("%s has gone", where)
			}
		}
	}
	slices.Sort(c.found)
	return slices.Compact(c.found)
}

func (c *comparison) tell(format string, args ...any) {
	c.found = append(c.found, fmt.Sprintf(format, args...))
}

// child is what is at a path of objects, nil if there is none.
func child(o object, path ...string) object {
	for _, name := range path {
		o, _ = o[name].(object)
	}
	return o
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}

func (c *comparison) operation(where string, before, after object) {
	c.parameters(where, before, after)
	if old := child(before, "requestBody"); old != nil {
		c.content(where+": body", child(old, "content"), child(after, "requestBody", "content"), false)
	}
	if after["requestBody"] != nil && child(after, "requestBody")["required"] == true && child(before, "requestBody")["required"] != true {
		c.tell("%s: the body has become required", where)
	}
	answers := child(after, "responses")
	for status, old := range child(before, "responses") {
		at := where + ": " + status
		if answers[status] == nil {
			c.tell("%s has gone", at)
			continue
		}
		told, now := shared(c.before, old), shared(c.after, answers[status])
		c.content(at, child(told, "content"), child(now, "content"), true)
		for name := range child(told, "headers") {
			if child(now, "headers")[name] == nil {
				c.tell("%s: header %s has gone", at, name)
			}
		}
	}
}

func (c *comparison) parameters(where string, before, after object) {
	there := map[string]object{}
	for _, p := range list(before["parameters"]) {
		there[p.(object)["in"].(string)+" "+p.(object)["name"].(string)] = p.(object)
	}
	now := map[string]object{}
	for _, p := range list(after["parameters"]) {
		name := p.(object)["in"].(string) + " " + p.(object)["name"].(string)
		now[name] = p.(object)
		if old := there[name]; p.(object)["required"] == true && (old == nil || old["required"] != true) {
			c.tell("%s: %s has become required", where, name)
		}
	}
	for name, old := range there {
		if now[name] == nil {
			c.tell("%s: %s has gone", where, name)
			continue
		}
		c.schema(where+": "+name, old["schema"], now[name]["schema"], false)
	}
}

func (c *comparison) content(where string, before, after object, answer bool) {
	for mediaType, old := range before {
		if after[mediaType] == nil {
			c.tell("%s: %s has gone", where, mediaType)
			continue
		}
		c.schema(where, old.(object)["schema"], child(after, mediaType)["schema"], answer)
	}
}

// shared follows a reference to an answer that operations share.
func shared(doc object, answer any) object {
	o, _ := answer.(object)
	ref, _ := o["$ref"].(string)
	if name, ok := strings.CutPrefix(ref, "#/components/responses/"); ok {
		return child(doc, "components", "responses", name)
	}
	return o
}

// resolved follows a reference; name is that of the schema, or "".
func resolved(doc object, schema any) (s object, name string) {
	s, _ = schema.(object)
	ref, _ := s["$ref"].(string)
	if name, ok := strings.CutPrefix(ref, "#/components/schemas/"); ok {
		return child(doc, "components", "schemas", name), name
	}
	return s, ""
}

func (c *comparison) schema(where string, before, after any, answer bool) {
	old, oldName := resolved(c.before, before)
	now, nowName := resolved(c.after, after)
	if old == nil {
		return
	}
	if oldName != "" {
		pair := fmt.Sprint(oldName, " ", nowName, " ", answer)
		if c.seen[pair] {
			return
		}
		c.seen[pair] = true
	}
	if !allows(old["type"], now["type"], answer) {
		c.tell("%s: was %v, is %v", where, old["type"], now["type"])
	}
	if old["enum"] != nil && now["enum"] != nil && !answer {
		for _, word := range list(old["enum"]) {
			if !slices.Contains(list(now["enum"]), word) {
				c.tell("%s: may not be %v any more", where, word)
			}
		}
	}
	c.fields(where, old, now, answer)
	if old["items"] != nil {
		c.schema(where+"[]", old["items"], now["items"], answer)
	}
	for i, one := range list(old["anyOf"]) {
		if more := list(now["anyOf"]); i < len(more) {
			c.schema(where, one, more[i], answer)
		} else {
			c.tell("%s: one of its forms has gone", where)
		}
	}
}

// fields compares properties and which of them are required.
func (c *comparison) fields(where string, old, now object, answer bool) {
	for name, field := range child(old, "properties") {
		if child(now, "properties")[name] == nil {
			c.tell("%s: field %s has gone", where, name)
			continue
		}
		c.schema(where+"."+name, field, child(now, "properties")[name], answer)
		before, after := slices.Contains(list(old["required"]), any(name)), slices.Contains(list(now["required"]), any(name))
		if answer && before && !after {
			c.tell("%s: field %s may be left out now", where, name)
		}
	}
	for _, name := range list(now["required"]) {
		if !answer && !slices.Contains(list(old["required"]), name) {
			c.tell("%s: field %s has become required", where, name)
		}
	}
}

// allows tells whether whoever knows the type before can live with the one after: a request may be more, an answer less.
func allows(before, after any, answer bool) bool {
	old, now := types(before), types(after)
	if len(old) == 0 || len(now) == 0 {
		return len(old) == len(now) || answer == (len(old) == 0)
	}
	if answer {
		old, now = now, old
	}
	for _, t := range old {
		if !slices.Contains(now, t) {
			return false
		}
	}
	return true
}

func types(v any) (names []any) {
	if l, ok := v.([]any); ok {
		return l
	}
	if v != nil {
		names = append(names, v)
	}
	return names
}

const sample = `{"paths":{"/a/{x}":{"get":{"parameters":[{"in":"path","name":"x","required":true,"schema":{"type":"string"}},{"in":"query","name":"q","schema":{"type":"string","enum":["one","two"]}}],
"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/In"}}}},
"responses":{"200":{"headers":{"Link":{}},"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Out"}}}},"404":{"content":{}}}}}},
"components":{"schemas":{"In":{"type":"object","required":["must"],"properties":{"must":{"type":"string"},"may":{"type":["integer","null"]},"more":{"$ref":"#/components/schemas/In"}}},
"Out":{"type":"object","required":["always"],"properties":{"always":{"type":"string"},"often":{"type":"array","items":{"type":"integer"}}}}}}}`

func TestBreakingChanges(t *testing.T) {
	const nothing = ""
	for name, c := range map[string]struct{ old, new, want string }{
		"nothing":                     {`"get"`, `"get"`, nothing},
		"a new method":                {`"paths":{"/a/{x}":{`, `"paths":{"/b":{"get":{"responses":{}}},"/a/{x}":{`, nothing},
		"a path that went":            {`"/a/{x}"`, `"/b/{x}"`, "GET /a/{x} has gone"},
		"a method that went":          {`"get"`, `"put"`, "GET /a/{x} has gone"},
		"a parameter that went":       {`"name":"q"`, `"name":"r"`, "GET /a/{x}: query q has gone"},
		"a required parameter":        {`"name":"q",`, `"name":"q","required":true,`, "GET /a/{x}: query q has become required"},
		"a word that went":            {`"one","two"`, `"one"`, "GET /a/{x}: query q: may not be two any more"},
		"a new word":                  {`"one","two"`, `"one","two","three"`, nothing},
		"a status that went":          {`"404"`, `"410"`, "GET /a/{x}: 404 has gone"},
		"a header that went":          {`"Link"`, `"Next"`, "GET /a/{x}: 200: header Link has gone"},
		"a field of a request went":   {`"may"`, `"might"`, "GET /a/{x}: body: field may has gone"},
		"a field became required":     {`"required":["must"]`, `"required":["must","may"]`, "GET /a/{x}: body: field may has become required"},
		"a field is optional now":     {`"required":["must"]`, `"required":[]`, nothing},
		"a request may be less":       {`["integer","null"]`, `"integer"`, "GET /a/{x}: body.may: was [integer null], is integer"},
		"a request may be more":       {`"must":{"type":"string"}`, `"must":{"type":["string","null"]}`, nothing},
		"an answer's field went":      {`"often"`, `"seldom"`, "GET /a/{x}: 200: field often has gone"},
		"an answer's field is new":    {`"often":`, `"seldom":{},"often":`, nothing},
		"an answer's field may lack":  {`"required":["always"]`, `"required":[]`, "GET /a/{x}: 200: field always may be left out now"},
		"an answer may be more":       {`"always":{"type":"string"}`, `"always":{"type":["string","null"]}`, "GET /a/{x}: 200.always: was string, is [string null]"},
		"items of an answer differ":   {`"items":{"type":"integer"}`, `"items":{"type":"string"}`, "GET /a/{x}: 200.often[]: was integer, is string"},
		"a media type of the answers": {`"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Out"}}}`, `"content":{}`, "GET /a/{x}: 200: application/json has gone"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(sample, c.old, c.new, 1)
			var before, after object
			if err := json.Unmarshal([]byte(sample), &before); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(changed), &after); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(breaking(before, after), "; "); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}
