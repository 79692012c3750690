package inbound

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What Screen and Verify return; compare with errors.Is. Their text is meant for the sender: it says what is missing, never what would have been right.
var (
	ErrSignature = errors.New("not signed as it should be") // also: no credentials, or wrong ones
	ErrStale     = errors.New("the signed time is too far from now")
	ErrMalformed = errors.New("the webhook cannot be understood")
)

// Event is what a genuine webhook is about.
type Event struct {
	ID        string // of the delivery, the same when it is sent again; "" if the source has none. Up to 255 bytes
	Type      string // of the event, as the source calls it; may be ""
	Challenge string // Slack asks for this text back; such a webhook is to be answered with it, and is nothing else
}

// maxID is the longest delivery id in bytes: what an AMQP message-id can have.
const maxID = 255

// scheme is how one kind is checked.
type scheme interface {
	// screen checks what the headers alone show.
	screen(s *Source, h http.Header, now time.Time) error
	// verify checks the body too, in constant time; screen has been called.
	verify(s *Source, h http.Header, body []byte) error
	// event reads a genuine one.
	event(s *Source, h http.Header, body []byte) Event
}

// schemeOf is the one table of kinds.
func schemeOf(kind string) scheme {
	switch kind {
	case KindStandard:
		return standard{}
	case KindGitHub:
		return github{}
	case KindStripe:
		return stripe{}
	case KindSlack:
		return slack{}
	case KindHMAC:
		return generic{}
	case KindBasic:
		return basic{}
	case KindBearer:
		return bearer{}
	}
	return nil
}

// Screen refuses what cannot be genuine whatever its body is, so that no body is read for it. s has been Checked. ErrSignature, ErrStale, ErrMalformed.
func Screen(s *Source, h http.Header, now time.Time) error {
	scheme := schemeOf(s.Kind)
	if scheme == nil {
		return fmt.Errorf("%w: there is no kind %q", ErrMalformed, s.Kind)
	}
	return scheme.screen(s, h, now)
}

// Verify tells whether a webhook is genuine, and what it is about. body is all of it, as it came; it is not kept. s has been Checked. ErrSignature,
// ErrStale, ErrMalformed.
func Verify(s *Source, h http.Header, body []byte, now time.Time) (Event, error) {
	if err := Screen(s, h, now); err != nil {
		return Event{}, err
	}
	scheme := schemeOf(s.Kind)
	if err := scheme.verify(s, h, body); err != nil {
		return Event{}, err
	}
	e := scheme.event(s, h, body)
	if len(e.ID) > maxID || strings.ContainsAny(e.ID, "\r\n\x00") || len(e.Type) > maxID || strings.ContainsAny(e.Type, "\r\n\x00") {
		return Event{}, fmt.Errorf("%w: its id and type are one line of at most %d bytes", ErrMalformed, maxID)
	}
	return e, nil
}

// one returns the only value of a header. None or several is ErrSignature: of two different values one would be checked and another believed.
func one(h http.Header, name string) (string, error) {
	values := h.Values(name)
	switch {
	case len(values) > 1:
		return "", fmt.Errorf("%w: header %s is there %d times", ErrSignature, name, len(values))
	case len(values) == 0 || values[0] == "":
		return "", fmt.Errorf("%w: header %s is missing", ErrSignature, name)
	}
	return values[0], nil
}

// moment reads seconds since 1970 of a header's value, or milliseconds where seconds would be beyond the year 5000.
func moment(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil || n < 0 || strconv.FormatInt(n, 10) != text: // one spelling each: it is signed as a number by some
		return time.Time{}, fmt.Errorf("%w: the time is no number of seconds since 1970", ErrSignature)
	case n > 100_000_000_000:
		return time.UnixMilli(n), nil
	}
	return time.Unix(n, 0), nil
}

// fresh checks a time that is signed.
func fresh(s *Source, at, now time.Time) error {
	if d := now.Sub(at); d > s.Tolerance || d < -s.Tolerance {
		return fmt.Errorf("%w: more than %s", ErrStale, s.Tolerance)
	}
	return nil
}

// freshHeader is fresh for the value of a header.
func freshHeader(s *Source, h http.Header, name string, now time.Time) error {
	text, err := one(h, name)
	if err != nil {
		return err
	}
	at, err := moment(text)
	if err != nil {
		return err
	}
	return fresh(s, at, now)
}

// same compares in constant time, lengths included.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// anySecret tells whether try is true for one of the secrets. All are tried, so that the time does not tell which it was.
func anySecret(s *Source, try func(secret string) bool) bool {
	ok := false
	for _, secret := range s.Secrets {
		if try(secret) {
			ok = true
		}
	}
	return ok
}

// digest makes a delivery id of what was signed, in which there is a time. The header with the signature is no part of it: that can be written in many ways and is as right.
func digest(kind string, signed ...[]byte) string {
	sum := sha256.New()
	sum.Write([]byte(kind + "\n"))
	for _, part := range signed {
		sum.Write(part)
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// decode reads a signature in the encoding that a source writes; base64 with or without padding.
func decode(encoding, text string) ([]byte, bool) {
	if encoding == "hex" {
		b, err := hex.DecodeString(text)
		return b, err == nil
	}
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return b, err == nil
}
