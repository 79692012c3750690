package inbound_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"portico/adapters/http/inbound"
)

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func TestRefusedSources(t *testing.T) {
	good := func(change func(*inbound.Source)) inbound.Source {
		s := inbound.Source{Name: "shop", Kind: inbound.KindHMAC, Secrets: []string{"long enough"}, HMAC: inbound.HMAC{Header: "X-Sig"}}
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		source inbound.Source
		field  string
	}{
		"no name":             {good(func(s *inbound.Source) { s.Name = "" }), "name"},
		"slash":               {good(func(s *inbound.Source) { s.Name = "a/b" }), "name"},
		"dots":                {good(func(s *inbound.Source) { s.Name = ".." }), "name"},
		"long name":           {good(func(s *inbound.Source) { s.Name = strings.Repeat("x", 129) }), "name"},
		"kind":                {good(func(s *inbound.Source) { s.Kind, s.HMAC = "gitlab", inbound.HMAC{} }), "kind"},
		"no secret":           {good(func(s *inbound.Source) { s.Secrets = nil }), "secrets"},
		"nine secrets":        {good(func(s *inbound.Source) { s.Secrets = make([]string, 9) }), "secrets"},
		"short secret":        {good(func(s *inbound.Source) { s.Secrets = []string{"hunter2"} }), "secrets[0]"},
		"long secret":         {good(func(s *inbound.Source) { s.Secrets = []string{strings.Repeat("x", 1025)} }), "secrets[0]"},
		"basic secret":        {inbound.Source{Name: "b", Kind: inbound.KindBasic, Secrets: []string{"no colon in it"}}, "secrets[0]"},
		"standard secret":     {inbound.Source{Name: "b", Kind: inbound.KindStandard, Secrets: []string{"whsec_not base64!"}}, "secrets[0]"},
		"short standard":      {inbound.Source{Name: "b", Kind: inbound.KindStandard, Secrets: []string{"whsec_AAAA"}}, "secrets[0]"},
		"tolerance":           {good(func(s *inbound.Source) { s.Tolerance = 2 * time.Hour }), "tolerance"},
		"negative tolerance":  {good(func(s *inbound.Source) { s.Tolerance = -time.Minute }), "tolerance"},
		"header name":         {good(func(s *inbound.Source) { s.Headers = []string{"X-Ok", "not ok"} }), "headers[1]"},
		"many headers":        {good(func(s *inbound.Source) { s.Headers = make([]string, 33) }), "headers"},
		"id header":           {good(func(s *inbound.Source) { s.IDHeader = "a b" }), "id_header"},
		"id header of github": {inbound.Source{Name: "g", Kind: inbound.KindGitHub, Secrets: []string{"long enough"}, IDHeader: "X-Id"}, "id_header"},
		"hmac of github":      {inbound.Source{Name: "g", Kind: inbound.KindGitHub, Secrets: []string{"long enough"}, HMAC: inbound.HMAC{Header: "X"}}, "hmac"},
		"no header":           {good(func(s *inbound.Source) { s.HMAC.Header = "" }), "hmac.header"},
		"md5":                 {good(func(s *inbound.Source) { s.HMAC.Algorithm = "md5" }), "hmac.algorithm"},
		"base32":              {good(func(s *inbound.Source) { s.HMAC.Encoding = "base32" }), "hmac.encoding"},
		"no body":             {good(func(s *inbound.Source) { s.HMAC.Content = "constant" }), "hmac.content"},
		"unsigned time":       {good(func(s *inbound.Source) { s.HMAC.TimestampHeader, s.HMAC.Content = "X-T", "{body}" }), "hmac.content"},
		"time from nowhere":   {good(func(s *inbound.Source) { s.HMAC.Content = "{timestamp}.{body}" }), "hmac.content"},
		"id from nowhere":     {good(func(s *inbound.Source) { s.HMAC.Content = "{id}.{body}" }), "hmac.content"},
		"unknown field":       {good(func(s *inbound.Source) { s.HMAC.Content = "{url}{body}" }), "hmac.content"},
		"prefix":              {good(func(s *inbound.Source) { s.HMAC.Prefix = "a,b" }), "hmac.prefix"},
		"any first word":      {good(func(s *inbound.Source) { s.Subject = "{type}.x" }), "subject"},
		"bus's own":           {good(func(s *inbound.Source) { s.Subject = "$JS.API.{type}" }), "subject"},
		"inbox":               {good(func(s *inbound.Source) { s.Subject = "_INBOX.{type}" }), "subject"},
		"wildcard":            {good(func(s *inbound.Source) { s.Subject = "a.*.{type}" }), "subject"},
		"empty word":          {good(func(s *inbound.Source) { s.Subject = "a..{type}" }), "subject"},
		"blank":               {good(func(s *inbound.Source) { s.Subject = "a. .{type}" }), "subject"},
		"open brace":          {good(func(s *inbound.Source) { s.Subject = "a.{type" }), "subject"},
		"closed brace":        {good(func(s *inbound.Source) { s.Subject = "a.type}" }), "subject"},
		"nested":              {good(func(s *inbound.Source) { s.Subject = "a.{b{c}}" }), "subject"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.source.Checked()
			field, ok := errors.AsType[*inbound.FieldError](err)
			if !ok || field.Field != c.field {
				t.Fatalf("%v, want a complaint about %s", err, c.field)
			}
			for _, secret := range c.source.Secrets {
				if secret != "" && strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		})
	}
}

func TestTemplate(t *testing.T) {
	for text, want := range map[string]string{
		"hooks.{name}.{type}":   "hooks.<name>.<type>",
		"plain":                 "plain",
		"a.b-{x.y.0}-c.{z}{z}":  "a.b-<x.y.0>-c.<z><z>",
		"hooks.{header.X-A}.on": "hooks.<header.X-A>.on",
	} {
		parsed, err := inbound.ParseTemplate(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got, err := parsed.Expand(func(field string) (string, error) { return "<" + field + ">", nil })
		if err != nil || got != want {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

func TestField(t *testing.T) {
	const document = `{"a":{"b":[1,{"c":"x"},null,true]},"n":12345678901234567890,"s":"\u00e9 \"q\"","o":{}}`
	for path, want := range map[string]string{
		"a.b.0": "1", "a.b.1.c": "x", "a.b.2": "", "a.b.3": "true", "a.b.9": "", "a.b.-1": "", "a.b.x": "", "n": "12345678901234567890", "s": `é "q"`, "o": "", "a": "", "": "", "s.t": "",
	} {
		if got := inbound.Field([]byte(document), path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for _, document := range []string{"", "null", "[", `{"a":`, "no json", "\xff"} {
		if got := inbound.Field([]byte(document), "a"); got != "" {
			t.Errorf("%q: %q", document, got)
		}
	}
}
