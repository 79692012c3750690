package inbound

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The kinds of sources.
const (
	KindStandard = "standard-webhooks" // https://www.standardwebhooks.com, symmetric signatures (v1)
	KindGitHub   = "github"
	KindStripe   = "stripe"
	KindSlack    = "slack"
	KindHMAC     = "hmac"   // a signature as HMAC says
	KindBasic    = "basic"  // HTTP Basic; secrets are user:password
	KindBearer   = "bearer" // Authorization: Bearer; secrets are the tokens
)

// Kinds lists the kinds.
func Kinds() []string {
	return []string{KindStandard, KindGitHub, KindStripe, KindSlack, KindHMAC, KindBasic, KindBearer}
}

// Limits of a source, and what is filled in.
const (
	DefaultTolerance = 5 * time.Minute
	MaxTolerance     = time.Hour
	DefaultSubject   = "hooks.{name}.{type}"

	maxName      = 128 // bytes
	maxSecrets   = 8
	maxSecret    = 1024 // bytes
	minSecret    = 8    // bytes of one that signs, or is a token
	maxHeaders   = 32
	maxFieldName = 128 // bytes
	maxText      = 512 // bytes of a template or prefix
)

// Source describes who may send webhooks under a name, and what becomes of them. Treat it as immutable once it has been checked. Its JSON form is the
// record that is kept of it, secrets included.
type Source struct {
	Name      string        `json:"name"`                // 1 to 128 of A-Z a-z 0-9 . _ -
	Kind      string        `json:"kind"`                // one of Kinds
	Secrets   []string      `json:"secrets"`             // 1 to 8; any of them will do
	Tolerance time.Duration `json:"tolerance"`           // how far a signed time may be from now, either way; up to 1 h. 0: 5 min
	Subject   string        `json:"subject"`             // template of the subject; "": hooks.{name}.{type}. See Template
	Headers   []string      `json:"headers,omitempty"`   // request headers that the message keeps, under their lower-case names
	IDHeader  string        `json:"id_header,omitempty"` // hmac, basic, bearer: where the delivery id stands; "": none has one. For hmac see HMAC
	HMAC      HMAC          `json:"hmac,omitzero"`       // kind hmac only
	Live      bool          `json:"live,omitempty"`      // acknowledged also when nothing keeps the message
}

// HMAC is how a source of kind hmac signs. The id that Source.IDHeader names is signed only if Content has {id}. Without it whoever has seen a genuine delivery can send it again
// under another id, or under none, while its time is fresh, and for ever where no time is signed: such an id keeps a sender's own repetitions away, not replays.
type HMAC struct {
	Header          string `json:"header"`                     // where the signature stands; several, separated by commas, may be there
	Algorithm       string `json:"algorithm,omitempty"`        // "sha256" (default), "sha512"; "sha1" for those who have nothing else
	Encoding        string `json:"encoding,omitempty"`         // "hex" (default) or "base64"
	Prefix          string `json:"prefix,omitempty"`           // before the signature, such as "sha256="
	TimestampHeader string `json:"timestamp_header,omitempty"` // where the signed time stands, in seconds or milliseconds since 1970; "": none is signed
	Content         string `json:"content,omitempty"`          // what is signed, of {timestamp}, {id} and {body}; default "{body}", or "{timestamp}.{body}" with a timestamp
}

// FieldError says what is wrong with one field of a source. Secrets are never part of it.
type FieldError struct {
	Field    string // as the JSON form calls it, such as hmac.header
	Found    string // "" where it must not be shown
	Expected string
}

// Error implements error.
func (e *FieldError) Error() string {
	if e.Found == "" {
		return fmt.Sprintf("%s: expected %s", e.Field, e.Expected)
	}
	return fmt.Sprintf("%s: found %q, expected %s", e.Field, e.Found, e.Expected)
}

// Checked returns s with what was left out filled in, or every *FieldError there is, joined.
func (s Source) Checked() (Source, error) {
	s.fill()
	var all []error
	refuse := func(bad bool, field, found, expected string) {
		if bad {
			all = append(all, &FieldError{field, found, expected})
		}
	}
	refuse(!legalName(s.Name), "name", s.Name, "1 to 128 of A-Z a-z 0-9 . _ -")
	refuse(!slices.Contains(Kinds(), s.Kind), "kind", s.Kind, "one of "+strings.Join(Kinds(), ", "))
	refuse(s.Tolerance < time.Second || s.Tolerance > MaxTolerance, "tolerance", s.Tolerance.String(), "a duration from 1s to 1h")
	refuse(len(s.Headers) > maxHeaders, "headers", "", fmt.Sprintf("at most %d names", maxHeaders))
	for i, h := range s.Headers {
		refuse(!token(h), fmt.Sprintf("headers[%d]", i), h, "the name of a header")
	}
	refuse(s.IDHeader != "" && (!token(s.IDHeader) || !s.free()), "id_header", s.IDHeader, "the name of a header, for the kinds hmac, basic and bearer")
	if _, err := ParseTemplate(s.Subject); err != nil {
		all = append(all, &FieldError{"subject", s.Subject, err.Error()})
	}
	all = append(all, s.checkSecrets()...)
	all = append(all, s.checkHMAC()...)
	return s, errors.Join(all...)
}

// fill puts the defaults in.
func (s *Source) fill() {
	if s.Tolerance == 0 {
		s.Tolerance = DefaultTolerance
	}
	if s.Subject == "" {
		s.Subject = DefaultSubject
	}
	if s.Kind != KindHMAC {
		return
	}
	h := &s.HMAC
	h.Algorithm, h.Encoding = orElse(h.Algorithm, "sha256"), orElse(h.Encoding, "hex")
	if h.TimestampHeader == "" {
		h.Content = orElse(h.Content, "{body}")
	}
	h.Content = orElse(h.Content, "{timestamp}.{body}")
}

func orElse(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

// free tells whether the kind has no scheme of its own for delivery ids.
func (s *Source) free() bool {
	return s.Kind == KindHMAC || s.Kind == KindBasic || s.Kind == KindBearer
}

func (s *Source) checkSecrets() (all []error) {
	if n := len(s.Secrets); n == 0 || n > maxSecrets {
		return []error{&FieldError{Field: "secrets", Expected: fmt.Sprintf("1 to %d", maxSecrets)}}
	}
	for i, secret := range s.Secrets {
		if expected := s.unfit(secret); expected != "" {
			all = append(all, &FieldError{Field: fmt.Sprintf("secrets[%d]", i), Expected: expected})
		}
	}
	return all
}

// unfit says what a secret would have to be, "" if it is that.
func (s *Source) unfit(secret string) string {
	switch {
	case len(secret) > maxSecret:
		return fmt.Sprintf("at most %d bytes", maxSecret)
	case s.Kind == KindBasic:
		user, password, ok := strings.Cut(secret, ":")
		if !ok || user == "" || password == "" {
			return "user:password"
		}
	case s.Kind == KindStandard:
		// What base64 says is the key; eight characters of it are six bytes.
		if _, err := standardwebhooks.NewWebhook(secret); err != nil || len(strings.TrimPrefix(secret, "whsec_")) < 22 {
			return "whsec_ and at least 16 bytes in base64"
		}
	case len(secret) < minSecret:
		return fmt.Sprintf("at least %d bytes", minSecret)
	}
	return ""
}

func (s *Source) checkHMAC() (all []error) {
	h := s.HMAC
	if s.Kind != KindHMAC {
		if h != (HMAC{}) {
			all = append(all, &FieldError{Field: "hmac", Expected: "nothing: it is for the kind hmac"})
		}
		return all
	}
	refuse := func(bad bool, field, found, expected string) {
		if bad {
			all = append(all, &FieldError{"hmac." + field, found, expected})
		}
	}
	refuse(!token(h.Header), "header", h.Header, "the name of the header with the signature")
	refuse(!slices.Contains([]string{"sha1", "sha256", "sha512"}, h.Algorithm), "algorithm", h.Algorithm, "sha256, sha512 or sha1")
	refuse(h.Encoding != "hex" && h.Encoding != "base64", "encoding", h.Encoding, "hex or base64")
	refuse(len(h.Prefix) > maxText || strings.ContainsAny(h.Prefix, ",\r\n"), "prefix", "", "one line without commas")
	refuse(h.TimestampHeader != "" && !token(h.TimestampHeader), "timestamp_header", h.TimestampHeader, "the name of a header")
	if err := h.checkContent(s.IDHeader != ""); err != nil {
		refuse(true, "content", h.Content, err.Error())
	}
	return all
}

// legalName: what a path, a subject token and a header can have as it stands.
func legalName(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name, letters+digits+"._-") == "" && strings.Trim(name, ".") != ""
}

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

// token: field-name [RFC 9110 5.1].
func token(name string) bool {
	return name != "" && len(name) <= maxFieldName && strings.Trim(name, letters+digits+"!#$%&'*+-.^_`|~") == ""
}
