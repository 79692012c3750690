package inbound

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// Field returns what a JSON document has at path, names (or, in arrays, numbers) between dots: text as it is, a number or truth value as it is written,
// "" for anything else
// and for what is not there. Only the way there is unpacked, level by level.
func Field(document []byte, path string) string {
	for name := range strings.SplitSeq(path, ".") {
		if document = member(document, name); document == nil {
			return ""
		}
	}
	document = bytes.TrimSpace(document)
	var text string
	switch {
	case len(document) == 0 || document[0] == '{' || document[0] == '[' || string(document) == "null":
		return ""
	case document[0] != '"':
		return string(document)
	case json.Unmarshal(document, &text) != nil:
		return ""
	}
	return text
}

// member is the value of one member, nil if there is none.
func member(document []byte, name string) []byte {
	switch document = bytes.TrimSpace(document); {
	case bytes.HasPrefix(document, []byte("{")):
		var object map[string]json.RawMessage
		if json.Unmarshal(document, &object) != nil {
			return nil
		}
		return object[name]
	case bytes.HasPrefix(document, []byte("[")):
		var list []json.RawMessage
		i, err := strconv.Atoi(name)
		if err != nil || json.Unmarshal(document, &list) != nil || i < 0 || i >= len(list) {
			return nil
		}
		return list[i]
	}
	return nil
}

// Template is a subject with fields in braces, such as hooks.{name}.{type}. A field is {name} and {type}, {header.X-Shop-Region}, or
// {body.order.country} for what the JSON body has at
// that path. What Expand is given decides which are there.
type Template struct {
	parts []part
}

// part is text, or a field if name is not empty.
type part struct{ text, name string }

// ParseTemplate reads a template. The first word has no field, and belongs to nobody else ($…, _INBOX): whoever sends chooses among the subjects below
// it, no others.
func ParseTemplate(text string) (Template, error) {
	var t Template
	first, _, _ := strings.Cut(text, ".")
	if text == "" || len(text) > maxText || strings.HasPrefix(first, "$") || first == "_INBOX" || strings.ContainsAny(first, "{}") {
		return t, errors.New("a subject whose first word is a plain one, such as hooks.{name}.{type}")
	}
	if !words(text) {
		return t, errors.New("words between dots, without blanks and wildcards")
	}
	for rest := text; rest != ""; {
		before, after, found := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return t, errors.New("braces in pairs")
		}
		if before != "" {
			t.parts = append(t.parts, part{text: before})
		}
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || !legalField(name) {
			return t, errors.New("fields such as {type}, {header.X-Name} or {body.path.to.it}")
		}
		t.parts = append(t.parts, part{name: name})
		rest = tail
	}
	return t, nil
}

// words checks the subject around the fields; dots inside braces separate nothing.
func words(text string) bool {
	var b strings.Builder
	depth := 0
	for _, c := range text {
		switch {
		case c == '{':
			depth++
			b.WriteByte('x')
		case c == '}':
			depth--
		case depth == 0:
			b.WriteRune(c)
		}
	}
	outside := b.String()
	if strings.ContainsAny(outside, " *>") || strings.ContainsFunc(outside, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return false
	}
	for word := range strings.SplitSeq(outside, ".") {
		if word == "" {
			return false
		}
	}
	return true
}

func legalField(name string) bool {
	return name != "" && !strings.ContainsAny(name, "{} \t\r\n")
}

// Expand returns the subject, each field replaced by what value says. An error of value is returned as it is.
func (t Template) Expand(value func(field string) (string, error)) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		if p.name == "" {
			b.WriteString(p.text)
			continue
		}
		v, err := value(p.name)
		if err != nil {
			return "", err
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// Fields lists the fields in their order.
func (t Template) Fields() (names []string) {
	for _, p := range t.parts {
		if p.name != "" {
			names = append(names, p.name)
		}
	}
	return names
}

// PlainTemplate is a template without fields: the subject as it stands.
func PlainTemplate(subject string) Template { return Template{parts: []part{{text: subject}}} }
