package main

import (
	"fmt"
	"strings"
)

// method writes the struct of one method and its four functions.
func (s *source) method(m method) {
	s.structure(m)
	name := m.goName()
	s.line("// ID is ID%s.\nfunc (m *%s) ID() MethodID { return ID%s }\n", name, name, name)
	s.line("// Name is %q.\nfunc (m *%s) Name() string { return %q }\n", m.wireName(), name, m.wireName())
	s.line("// Append appends the arguments; see [Method].")
	if !hasArguments(m) {
		s.line("func (m *%s) Append(dst []byte) []byte { return dst }\n", name)
		s.line("func (m *%s) appendTrace(dst []byte) []byte { return dst }\n", name)
		return
	}
	s.line("func (m *%s) Append(dst []byte) []byte {", name)
	eachRun(m.Fields, s.appendField, s.appendBits)
	s.line("return dst\n}\n")
	s.line("func (m *%s) decode(d *decoder) {", name)
	eachRun(m.Fields, func(f field) { s.decodeField(m, f) }, s.decodeBits)
	s.line("}\n")
	s.line("func (m *%s) appendTrace(dst []byte) []byte {", name)
	for _, f := range m.Fields {
		s.traceField(f)
	}
	s.line("return dst\n}\n")
}

// structure writes the type. Reserved fields have no place in it: they are
// zero on the way out and skipped on the way in.
func (s *source) structure(m method) {
	s.line("// %s is %s, class %d method %d, received by the %s.",
		m.goName(), m.wireName(), m.class.Index, m.Index, m.receivers())
	s.line("type %s struct {", m.goName())
	for _, f := range m.Fields {
		if !f.Reserved {
			k, _ := elementary(f.Type)
			s.line("%s %s", f.goName(), k.goType)
		}
	}
	s.line("}\n")
}

// eachRun calls one for each field, and bits for each run of adjacent bits,
// eight at most, which share an octet.
func eachRun(fields []field, one func(field), bits func([]field)) {
	for i := 0; i < len(fields); {
		n := 0
		for n < 8 && i+n < len(fields) && fields[i+n].Type == "bit" {
			n++
		}
		if n == 0 {
			one(fields[i])
			i++
			continue
		}
		bits(fields[i : i+n])
		i += n
	}
}

func (s *source) appendField(f field) {
	k, _ := elementary(f.Type)
	value := "m." + f.goName()
	if f.Reserved {
		value = k.zero
	}
	s.line("dst = "+k.write, value)
}

func (s *source) appendBits(fields []field) {
	var terms []string
	for i, f := range fields {
		if !f.Reserved {
			terms = append(terms, fmt.Sprintf("bit(m.%s)<<%d", f.goName(), i))
		}
	}
	if len(terms) == 0 {
		terms = []string{"0"}
	}
	s.line("dst = append(dst, %s)", strings.ReplaceAll(strings.Join(terms, "|"), "<<0", ""))
}

func (s *source) decodeField(m method, f field) {
	k, _ := elementary(f.Type)
	read := k.read
	if f.Type == "shortstr" && m.Content {
		read = "shortString()" // routing keys are any octets
	}
	if f.Reserved {
		s.line("d.%s", read)
		return
	}
	s.line("m.%s = d.%s", f.goName(), read)
}

func (s *source) decodeBits(fields []field) {
	if len(fields) == 1 && fields[0].Reserved {
		s.line("d.octet()")
		return
	}
	s.line("flags := d.octet()")
	for i, f := range fields {
		if !f.Reserved {
			s.line("m.%s = flags&%d != 0", f.goName(), 1<<i)
		}
	}
}

// traceField leaves reserved fields out, and shows of secrets only the length.
func (s *source) traceField(f field) {
	if f.Reserved {
		return
	}
	k, _ := elementary(f.Type)
	trace, value := k.trace, "m."+f.goName()
	switch f.Name {
	case "response", "challenge", "new-secret":
		trace = "traceSecret"
	}
	if trace == "traceUint" {
		value = "uint64(" + value + ")"
	}
	s.line("dst = %s(dst, %q, %s)", trace, f.Name, value)
}
