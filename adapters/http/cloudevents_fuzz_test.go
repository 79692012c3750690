package httpapi

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"portico/adapters/http/inbound"
	"portico/core"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
)

// FuzzStructuredEvent: whatever is taken as an event can be published, and comes out as an event that the SDK reads, with the same data.
func FuzzStructuredEvent(f *testing.F) {
	const good = `"specversion":"1.0","id":"1","source":"/s","type":"t"`
	for _, seed := range []string{
		`{` + good + `}`, `{` + good + `,"data":{"a": [1, "x"]}}`, `{"data_base64":"AAH/",` + good + `,"datacontenttype":"image/png"}`, `{` + good + `,"datacontenttype":"text/plain","data":"é\n"}`,
		`{` + good + `,"time":"2026-01-02T03:04:05.000000001+02:00","x":true,"y":-7,"z":null,"dataschema":"http://a/b","subject":"\u20ac"}`, `{"data_base64":1,` + good + `}`, `null`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	route, err := inbound.ParseTemplate("e.{type}.{source}.{id}")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		e, err := structuredEvent(document, "body")
		if err != nil {
			if core.AsError(err).Code != core.CodeInvalid {
				t.Fatalf("%q: %v", document, err)
			}
			return
		}
		m, err := e.message(core.Header{}, route)
		if err != nil {
			if core.AsError(err).Code != core.CodeInvalid {
				t.Fatalf("%q: %v", document, err)
			}
			return
		}
		if !tokens(m.Subject, false) && len(m.Subject) <= maxSubject {
			t.Fatalf("%q: subject %q", document, m.Subject)
		}
		out, err := structured(m, "", nil)
		if err != nil || !utf8.Valid(out) || bytes.ContainsAny(out, "\n\r") {
			t.Fatalf("%q: %q, %v", document, out, err)
		}
		again, err := structuredEvent(out, "body")
		if err != nil {
			t.Fatalf("%q came out as %q: %v", document, out, err)
		}
		if !bytes.Equal(again.data, e.data) && !sameJSON(again.data, e.data) {
			t.Fatalf("%q: data %q came out as %q", document, e.data, again.data)
		}
		var read cloudevents.Event
		if !isJSON(again.attributes.DataContentType()) || again.attributes.DataContentType() == "application/json" {
			if err := json.Unmarshal(out, &read); err != nil {
				t.Fatalf("%q came out as %q, which the SDK does not read: %v", document, out, err)
			}
		}
	})
}

func sameJSON(a, b []byte) bool {
	var x, y bytes.Buffer
	return json.Compact(&x, a) == nil && json.Compact(&y, b) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}

// FuzzBinaryEvent: attributes in headers never do worse than to be refused.
func FuzzBinaryEvent(f *testing.F) {
	f.Add("Ce-", "x", "text/plain")
	f.Add("Ce-Subject", `"a\"b"`, "")
	f.Add("Ce-Time", "2026-01-02T03:04:05Z", "application/json; charset=\"x")
	f.Add("ce-dataschema", "%zz%41%", "a/b")
	f.Fuzz(func(t *testing.T, name, value, contentType string) {
		e, err := binaryEvent(map[string][]string{
			"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/s"}, "Ce-Type": {"t"}, name: {value}, "Content-Type": {contentType},
		})
		if err != nil {
			if core.AsError(err).Code != core.CodeInvalid {
				t.Fatal(err)
			}
			return
		}
		h, err := e.header()
		if err != nil {
			return
		}
		for name, values := range h {
			if !legalName(name) || !carriable(values[0]) && name != core.HeaderContentType {
				t.Errorf("header %q: %q", name, values)
			}
		}
	})
}
