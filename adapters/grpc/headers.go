package grpcapi

import (
	"encoding/base64"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// fromHeaders makes a core.Header. Values with types become text, with the types beside it; a more exact type that a client passes on as it came is kept. field is where the headers stand in the request.
func fromHeaders(field string, headers map[string]*porticov1.HeaderValues) (core.Header, error) {
	header := make(core.Header, len(headers))
	var typed map[string]byte
	for name, values := range headers {
		header[name] = values.GetValues()
		if values.GetTyped() == nil {
			continue
		}
		letter, value, ok := fromValue(values.GetTyped())
		if !ok {
			return nil, badField(field+"["+text(strconv.Quote(name))+"].typed", "want a finite number, a time from 1970 on, or another kind of value")
		}
		if len(values.GetValues()) == 0 { // else it is passed on as it came, readable form and all
			header[name] = []string{value}
		}
		if letter != 0 {
			if typed == nil {
				typed = map[string]byte{}
			}
			typed[name] = letter
		}
	}
	if typed == nil {
		return header, nil
	}
	marks := slices.Clone(header[core.HeaderTypes])
	known := core.TypesIn(header)
	for _, name := range slices.Sorted(maps.Keys(typed)) {
		if known[name] == 0 {
			marks = append(marks, core.TypedValue{Letter: typed[name], Name: name}.Mark())
		}
	}
	header[core.HeaderTypes] = marks
	return header, nil
}

// fromValue is a value as text, and the letter of its type, 0 for text.
func fromValue(v *porticov1.HeaderValue) (letter byte, value string, ok bool) {
	switch kind := v.GetKind().(type) {
	case *porticov1.HeaderValue_Text:
		return 0, kind.Text, true
	case *porticov1.HeaderValue_Binary:
		return 'x', base64.StdEncoding.EncodeToString(kind.Binary), true
	case *porticov1.HeaderValue_Integer:
		return 'l', strconv.FormatInt(kind.Integer, 10), true
	case *porticov1.HeaderValue_Number:
		return 'd', strconv.FormatFloat(kind.Number, 'g', -1, 64), !math.IsNaN(kind.Number) && !math.IsInf(kind.Number, 0)
	case *porticov1.HeaderValue_Truth:
		return 't', strconv.FormatBool(kind.Truth), true
	case *porticov1.HeaderValue_Time:
		return 'T', kind.Time.AsTime().Format(time.RFC3339Nano), kind.Time.CheckValid() == nil && kind.Time.GetSeconds() >= 0
	}
	return 0, "", false
}

// toValue is text under the letter of its type; nil for text, and for what is not of that type.
func toValue(letter byte, value string) *porticov1.HeaderValue {
	switch letter {
	case 'x':
		if b, err := base64.StdEncoding.DecodeString(value); err == nil {
			return &porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Binary{Binary: b}}
		}
	case 't':
		if value == "true" || value == "false" {
			return &porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Truth{Truth: value == "true"}}
		}
	case 'T':
		if t, err := time.Parse(time.RFC3339Nano, value); err == nil && timestamppb.New(t).CheckValid() == nil { // the JSON form of another cannot be made
			return &porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Time{Time: timestamppb.New(t)}}
		}
	case 'f', 'd':
		if f, err := strconv.ParseFloat(value, 64); err == nil {
			return &porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Number{Number: f}}
		}
	case 'b', 'B', 's', 'u', 'I', 'i', 'l':
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return &porticov1.HeaderValue{Kind: &porticov1.HeaderValue_Integer{Integer: n}}
		}
	}
	return nil
}

// toHeaders makes headers for a client, with the types that are known.
func toHeaders(header core.Header) map[string]*porticov1.HeaderValues {
	if len(header) == 0 {
		return nil
	}
	types := core.TypesIn(header)
	headers := make(map[string]*porticov1.HeaderValues, len(header))
	for name, values := range header {
		shown := &porticov1.HeaderValues{Values: texts(values)}
		if letter := types[name]; letter != 0 && len(values) == 1 {
			shown.Typed = toValue(letter, values[0])
		}
		headers[text(name)] = shown
	}
	return headers
}

// stored is a message that a queue has kept: its record may know types of headers that m does not say.
func (a *Adapter) stored(record []byte, m *core.Message) *porticov1.Message {
	types := a.gateway.Types(record)
	if len(types) == 0 {
		return toProto(m)
	}
	header := maps.Clone(m.Header)
	if header == nil {
		header = core.Header{}
	}
	for _, v := range types {
		if _, shown := header[v.Name]; !shown && v.Letter != 'x' {
			continue // what has no readable form
		}
		header[v.Name] = []string{v.Text}
		header[core.HeaderTypes] = append(header[core.HeaderTypes], v.Mark())
	}
	return toProto(&core.Message{Subject: m.Subject, Reply: m.Reply, Header: header, Data: m.Data})
}
