package core

import "strings"

// TypedValue is a header value that is not text where it came from.
type TypedValue struct {
	Letter byte   // of its type, as AMQP tables have them: t bool, b B s u I i l integers, f d floating point, T time, x bytes
	Name   string // of the header
	Text   string // readable: decimal, true or false, RFC 3339; base64 of bytes
}

// Mark is how the value's type is written down in HeaderTypes.
func (v TypedValue) Mark() string { return string(rune(v.Letter)) + ":" + v.Name }

// TypesIn reads HeaderTypes, in that spelling: letters by header name. What is no mark is passed over.
func TypesIn(h Header) map[string]byte {
	marks := h[HeaderTypes]
	if len(marks) == 0 {
		return nil
	}
	types := make(map[string]byte, len(marks))
	for _, mark := range marks {
		if letter, name, ok := strings.Cut(mark, ":"); ok && len(letter) == 1 && name != "" {
			types[name] = letter[0]
		}
	}
	return types
}

// TypeTranslator is what a Translator may implement besides: Types are the values of a property list that are not text and have a readable form.
type TypeTranslator interface {
	Types(props []byte) []TypedValue
}

// Types returns what of a record's headers is not text where it came from; none for a record in the text form, whose HeaderTypes says it.
func (g *Gateway) Types(record []byte) []TypedValue {
	if len(record) == 0 || Form(record[0]) == FormText {
		return nil
	}
	e, err := OpenEnvelope(record)
	if err != nil {
		return nil
	}
	if t, ok := g.translators.of(e.Form).(TypeTranslator); ok {
		return t.Types(e.Props)
	}
	return nil
}
