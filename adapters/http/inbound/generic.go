package inbound

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // only for sources that ask for it by name; HMAC-SHA1 is weak in age, not broken
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strings"
	"time"
)

// generic is a signature as the source's HMAC says.
type generic struct{}

func (generic) screen(s *Source, h http.Header, now time.Time) error {
	if _, err := one(h, s.HMAC.Header); err != nil {
		return err
	}
	if strings.Contains(s.HMAC.Content, "{id}") {
		if _, err := one(h, s.IDHeader); err != nil {
			return err
		}
	}
	if s.HMAC.TimestampHeader == "" {
		return nil
	}
	return freshHeader(s, h, s.HMAC.TimestampHeader, now)
}

func (generic) verify(s *Source, h http.Header, body []byte) error {
	var macs [][]byte
	for text := range strings.SplitSeq(h.Get(s.HMAC.Header), ",") {
		text, ok := strings.CutPrefix(strings.TrimSpace(text), s.HMAC.Prefix)
		mac, legal := decode(s.HMAC.Encoding, text)
		if ok && legal && len(macs) < maxSignatures {
			macs = append(macs, mac)
		}
	}
	ok := anySecret(s, func(secret string) bool {
		sum, found := s.HMAC.sum(secret, h, s.IDHeader, body), false
		for _, mac := range macs {
			found = hmac.Equal(mac, sum) || found
		}
		return found
	})
	if !ok {
		return fmt.Errorf("%w: %s is not right", ErrSignature, s.HMAC.Header)
	}
	return nil
}

// event: without an id of its own a delivery whose time is signed is named by what is signed; one without a time has none, because equal bodies may be
// different events.
func (generic) event(s *Source, h http.Header, body []byte) Event {
	e := plain(s, h, body)
	if e.ID == "" && s.HMAC.TimestampHeader != "" {
		before, after := s.HMAC.around(h, s.IDHeader)
		e.ID = digest(KindHMAC, before, body, after)
	}
	return e
}

// plain is the event of a source without a scheme of its own.
func plain(s *Source, h http.Header, body []byte) Event {
	e := Event{Type: Field(body, "type")}
	if s.IDHeader != "" {
		e.ID = h.Get(s.IDHeader)
	}
	return e
}

// checkContent says what is wrong with the template of what is signed.
func (h HMAC) checkContent(hasID bool) error {
	rest := strings.NewReplacer("{body}", "", "{timestamp}", "", "{id}", "").Replace(h.Content)
	switch {
	case len(h.Content) > maxText || strings.ContainsAny(rest, "{}"):
		return errors.New("text with the fields {timestamp}, {id} and {body}")
	case strings.Count(h.Content, "{body}") != 1:
		return errors.New("{body} in it, once")
	case (h.TimestampHeader != "") != strings.Contains(h.Content, "{timestamp}"):
		return errors.New("{timestamp} in it exactly if there is a timestamp_header: what is not signed proves nothing")
	case strings.Contains(h.Content, "{id}") && !hasID:
		return errors.New("an id_header, for {id}")
	}
	return nil
}

// sum is the signature as it should be. The body is hashed where it lies.
func (h HMAC) sum(secret string, header http.Header, idHeader string, body []byte) []byte {
	before, after := h.around(header, idHeader)
	mac := hmac.New(h.hash(), []byte(secret))
	mac.Write(before)
	mac.Write(body)
	mac.Write(after)
	return mac.Sum(nil)
}

// around is what is signed before and behind the body.
func (h HMAC) around(header http.Header, idHeader string) (before, after []byte) {
	fields := strings.NewReplacer("{timestamp}", header.Get(h.TimestampHeader), "{id}", header.Get(idHeader))
	left, right, _ := strings.Cut(h.Content, "{body}")
	return []byte(fields.Replace(left)), []byte(fields.Replace(right))
}

func (h HMAC) hash() func() hash.Hash {
	switch h.Algorithm {
	case "sha1":
		return sha1.New
	case "sha512":
		return sha512.New
	}
	return sha256.New
}

// basic: HTTP Basic. Nothing is signed.
type basic struct{}

func (basic) screen(s *Source, h http.Header, _ time.Time) error {
	shown, ok := credentials(h, "Basic")
	plain, err := base64.StdEncoding.DecodeString(shown)
	if !ok || err != nil || !anySecret(s, func(secret string) bool { return same(secret, string(plain)) }) {
		return fmt.Errorf("%w: Basic credentials are missing or wrong", ErrSignature)
	}
	return nil
}

func (basic) verify(*Source, http.Header, []byte) error { return nil } // screen has

func (basic) event(s *Source, h http.Header, body []byte) Event { return plain(s, h, body) }

// bearer: a token. Nothing is signed.
type bearer struct{}

func (bearer) screen(s *Source, h http.Header, _ time.Time) error {
	shown, ok := credentials(h, "Bearer")
	if !ok || !anySecret(s, func(secret string) bool { return same(secret, shown) }) {
		return fmt.Errorf("%w: the bearer token is missing or wrong", ErrSignature)
	}
	return nil
}

func (bearer) verify(*Source, http.Header, []byte) error { return nil } // screen has

func (bearer) event(s *Source, h http.Header, body []byte) Event { return plain(s, h, body) }

// credentials returns what follows the scheme in Authorization.
func credentials(h http.Header, scheme string) (string, bool) {
	text, err := one(h, "Authorization")
	if err != nil {
		return "", false
	}
	name, rest, ok := strings.Cut(text, " ")
	return strings.TrimSpace(rest), ok && strings.EqualFold(name, scheme)
}
