package main

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strings"
)

// spec is what of the XML matters here.
type spec struct {
	Constants []constant `xml:"constant"`
	Domains   []domain   `xml:"domain"`
	Classes   []class    `xml:"class"`
}

type constant struct {
	Name  string `xml:"name,attr"`
	Value uint16 `xml:"value,attr"`
	Class string `xml:"class,attr"` // soft-error, hard-error or nothing
}

type domain struct {
	Name string `xml:"name,attr"`
	Type string `xml:"type,attr"`
}

type class struct {
	Name    string   `xml:"name,attr"`
	Index   uint16   `xml:"index,attr"`
	Methods []method `xml:"method"`
}

type method struct {
	Name        string    `xml:"name,attr"`
	Index       uint16    `xml:"index,attr"`
	Synchronous bool      `xml:"synchronous,attr"`
	Content     bool      `xml:"content,attr"`
	Chassis     []chassis `xml:"chassis"`
	Fields      []field   `xml:"field"`

	class class
}

// chassis says who has to understand a method.
type chassis struct {
	Name string `xml:"name,attr"`
}

type field struct {
	Name     string `xml:"name,attr"`
	Domain   string `xml:"domain,attr"`
	Type     string `xml:"type,attr"`
	Reserved bool   `xml:"reserved,attr"`
}

// accessClass is class 30, which 0-9-1 dropped and old clients still send.
func accessClass() class {
	bits := func(names ...string) (fs []field) {
		for _, n := range names {
			fs = append(fs, field{Name: n, Type: "bit"})
		}
		return fs
	}
	server, client := []chassis{{Name: "server"}}, []chassis{{Name: "client"}}
	return class{Name: "access", Index: 30, Methods: []method{
		{
			Name: "request", Index: 10, Synchronous: true, Chassis: server,
			Fields: append([]field{{Name: "realm", Type: "shortstr"}},
				bits("exclusive", "passive", "active", "write", "read")...),
		},
		{
			Name: "request-ok", Index: 11, Synchronous: true, Chassis: client,
			Fields: []field{{Name: "ticket", Type: "short"}},
		},
	}}
}

// parse reads the XML, adds class 30, resolves domains and orders by index.
func parse(doc []byte) (*spec, error) {
	var s spec
	if err := xml.Unmarshal(doc, &s); err != nil {
		return nil, fmt.Errorf("parse specification: %w", err)
	}
	s.Classes = append(s.Classes, accessClass())
	slices.SortFunc(s.Classes, func(a, b class) int { return int(a.Index) - int(b.Index) })
	for _, c := range s.Classes {
		slices.SortFunc(c.Methods, func(a, b method) int { return int(a.Index) - int(b.Index) })
		for i := range c.Methods {
			c.Methods[i].class = c
			if err := s.resolve(c.Methods[i].Fields); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", c.Name, c.Methods[i].Name, err)
			}
		}
	}
	return &s, nil
}

// resolve gives every field its elementary type.
func (s *spec) resolve(fields []field) error {
	for i, f := range fields {
		if f.Type == "" {
			at := slices.IndexFunc(s.Domains, func(d domain) bool { return d.Name == f.Domain })
			if at < 0 {
				return fmt.Errorf("field %s has unknown domain %q", f.Name, f.Domain)
			}
			fields[i].Type = s.Domains[at].Type
		}
		if _, ok := elementary(fields[i].Type); !ok {
			return fmt.Errorf("field %s has unknown type %q", f.Name, fields[i].Type)
		}
	}
	return nil
}

func (s *spec) methods() (ms []method) {
	for _, c := range s.Classes {
		ms = append(ms, c.Methods...)
	}
	return ms
}

// wireName is "queue.declare-ok".
func (m method) wireName() string { return m.class.Name + "." + m.Name }

// goName is "QueueDeclareOk".
func (m method) goName() string { return camel(m.class.Name) + camel(m.Name) }

// receivers is who gets the method, for its comment.
func (m method) receivers() string {
	var names []string
	for _, c := range m.Chassis {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " or ")
}

func (f field) goName() string {
	if f.Name == "nowait" { // confirm.select spells it so
		return "NoWait"
	}
	return camel(f.Name)
}

// camel turns "delivery-tag" into "DeliveryTag".
func camel(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		if word == "id" {
			b.WriteString("ID")
			continue
		}
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
