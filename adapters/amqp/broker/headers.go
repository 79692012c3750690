package broker

import (
	"slices"
	"strings"

	"portico/adapters/amqp/wire"
)

const matchArg = "x-match"

// headers matches the headers of a message with the arguments of bindings [0-9-1
// 3.1.3.4, RMQ x-match]. Values are compared as [Equivalent] does; a void argument
// asks for presence only.
//
// Bindings are filed under what they ask for, so that a message looks up its own
// headers rather than try every binding: one that wants all of its conditions
// under the one of them that fewest others are filed under, one that wants any
// under each.
type headers struct {
	specs pmap[*headerSpec]       // by spec.id
	files pmap[pmap[*headerSpec]] // by condition.token, then spec.id
	every pmap[*headerSpec]       // those without conditions that match everything
}

// headerSpec is a compiled binding, immutable.
type headerSpec struct {
	id     string
	to     destination
	any    bool
	wanted []condition
	filed  []string // under these tokens
}

// condition is a header that a binding asks for: its token is the one that a
// message's header of that name and value has.
type condition struct {
	name, token string
	presence    bool
}

func (m headers) add(k bindingKey, arguments wire.Table) matcher {
	s := compile(k, arguments)
	s.filed = m.choose(s)
	m.specs = m.specs.set(s.id, s)
	if len(s.wanted) == 0 && !s.any {
		m.every = m.every.set(s.id, s)
	}
	for _, token := range s.filed {
		file, _ := m.files.get(token)
		m.files = m.files.set(token, file.set(s.id, s))
	}
	return m
}

func (m headers) remove(k bindingKey) matcher {
	s, ok := m.specs.get(specID(k))
	if !ok {
		return m
	}
	m.specs = m.specs.without(s.id)
	m.every = m.every.without(s.id)
	for _, token := range s.filed {
		file, _ := m.files.get(token)
		if file = file.without(s.id); file.len() == 0 {
			m.files = m.files.without(token)
		} else {
			m.files = m.files.set(token, file)
		}
	}
	return m
}

// choose says under which tokens s is to be filed.
func (m headers) choose(s *headerSpec) []string {
	tokens := make([]string, 0, len(s.wanted))
	for _, c := range s.wanted {
		tokens = append(tokens, c.token)
	}
	if s.any || len(tokens) == 0 {
		return tokens
	}
	return []string{slices.MinFunc(tokens, func(a, b string) int {
		x, _ := m.files.get(a)
		y, _ := m.files.get(b)
		return x.len() - y.len()
	})}
}

// compile reads the arguments of a binding. Names that begin with x- count only
// for the x-match values all-with-x and any-with-x, x-match itself never.
func compile(k bindingKey, arguments wire.Table) *headerSpec {
	mode, _ := arguments[matchArg].(string)
	s := &headerSpec{id: specID(k), to: k.destination, any: strings.HasPrefix(mode, "any")}
	withX := strings.HasSuffix(mode, "-with-x")
	for name, v := range arguments {
		if name == matchArg || !withX && strings.HasPrefix(name, "x-") {
			continue
		}
		c := condition{name: name, presence: v == nil}
		if c.presence {
			c.token = string(appendPresence(nil, name))
		} else {
			c.token = string(appendToken(nil, name, v))
		}
		s.wanted = append(s.wanted, c)
	}
	slices.SortFunc(s.wanted, func(a, b condition) int { return strings.Compare(a.token, b.token) })
	return s
}

func specID(k bindingKey) string {
	id := appendString([]byte{boolByte(k.toExchange)}, k.name)
	return string(append(appendString(id, k.key), k.args...))
}

func appendToken(dst []byte, name string, v any) []byte {
	return appendValue(appendString(append(dst, 'v'), name), v)
}

func appendPresence(dst []byte, name string) []byte {
	return appendString(append(dst, 'p'), name)
}

// checkMatchArg is the 406 for an x-match that is none [RMQ].
func checkMatchArg(arguments wire.Table) error {
	v, given := arguments[matchArg]
	if !given {
		return nil
	}
	mode, ok := v.(string)
	if !ok {
		return wire.ChanErrorf(wire.PreconditionFailed,
			"Invalid x-match field type %s (value %s); expected longstr", TypeName(v), term(v))
	}
	switch mode {
	case "all", "any", "all-with-x", "any-with-x":
		return nil
	}
	return wire.ChanErrorf(wire.PreconditionFailed,
		"Invalid x-match field value %s; expected all, any, all-with-x, or any-with-x", term(mode))
}

func (m headers) match(r *route, _ []string) {
	if m.specs.len() == 0 {
		return
	}
	m.every.each(func(_ string, s *headerSpec) { r.reachOne(s.to) })
	if m.files.len() == 0 {
		return
	}
	table := r.properties().Headers
	for name, v := range table {
		r.token = appendPresence(r.token[:0], name)
		m.try(r, table)
		r.token = appendToken(r.token[:0], name, v)
		m.try(r, table)
	}
}

// try tells r of the bindings filed under r.token that table satisfies.
func (m headers) try(r *route, table wire.Table) {
	file, _ := m.files.get(string(r.token))
	file.each(func(_ string, s *headerSpec) {
		if s.any || s.satisfied(r, table) {
			r.reachOne(s.to)
		}
	})
}

// satisfied says whether table meets every condition.
func (s *headerSpec) satisfied(r *route, table wire.Table) bool {
	for _, c := range s.wanted {
		v, ok := table[c.name]
		if !ok {
			return false
		}
		if c.presence {
			continue
		}
		if r.value = appendToken(r.value[:0], c.name, v); string(r.value) != c.token {
			return false
		}
	}
	return true
}
