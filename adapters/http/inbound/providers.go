package inbound

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// maxSignatures bounds the signatures of one webhook that are looked at.
const maxSignatures = 16

// signedBy tells whether mac is the HMAC-SHA256 of parts, one behind the other, under secret.
func signedBy(secret string, mac []byte, parts ...[]byte) bool {
	sum := hmac.New(sha256.New, []byte(secret))
	for _, p := range parts {
		sum.Write(p)
	}
	return hmac.Equal(mac, sum.Sum(nil))
}

// standard is Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature over id.timestamp.body.
type standard struct{}

func (standard) screen(s *Source, h http.Header, now time.Time) error {
	id, err := one(h, standardwebhooks.HeaderWebhookID)
	if err != nil {
		return err
	}
	// The dot ends the id in what is signed: with one inside, another cut of the same text would be as well signed.
	if strings.Contains(id, ".") {
		return fmt.Errorf("%w: header webhook-id has a dot", ErrSignature)
	}
	signatures, err := one(h, standardwebhooks.HeaderWebhookSignature)
	if err != nil {
		return err
	}
	if strings.Count(signatures, " ") >= maxSignatures {
		return fmt.Errorf("%w: more than %d signatures", ErrSignature, maxSignatures)
	}
	return freshHeader(s, h, standardwebhooks.HeaderWebhookTimestamp, now)
}

func (standard) verify(s *Source, h http.Header, body []byte) error {
	// The library's own check of the time knows neither our clock nor our tolerance: screen has done it.
	ok := anySecret(s, func(secret string) bool {
		w, err := standardwebhooks.NewWebhook(secret)
		return err == nil && w.VerifyIgnoringTimestamp(body, h) == nil
	})
	if !ok {
		return fmt.Errorf("%w: no signature in webhook-signature is right", ErrSignature)
	}
	return nil
}

func (standard) event(_ *Source, h http.Header, body []byte) Event {
	return Event{ID: h.Get(standardwebhooks.HeaderWebhookID), Type: Field(body, "type")}
}

// github: X-Hub-Signature-256 over the body. Neither time nor delivery id are signed.
type github struct{}

const githubSignature = "X-Hub-Signature-256"

func (github) screen(_ *Source, h http.Header, _ time.Time) error {
	_, err := one(h, githubSignature)
	return err
}

func (github) verify(s *Source, h http.Header, body []byte) error {
	text, ok := strings.CutPrefix(h.Get(githubSignature), "sha256=")
	mac, err := hex.DecodeString(text)
	if !ok || err != nil || !anySecret(s, func(secret string) bool { return signedBy(secret, mac, body) }) {
		return fmt.Errorf("%w: %s is not right", ErrSignature, githubSignature)
	}
	return nil
}

func (github) event(_ *Source, h http.Header, _ []byte) Event {
	return Event{ID: h.Get("X-GitHub-Delivery"), Type: h.Get("X-GitHub-Event")}
}

// stripe: Stripe-Signature is t=seconds,v1=hex[,v1=hex…], each v1 over t.body. The secret is used as it is written, whsec_ included.
type stripe struct{}

const stripeSignature = "Stripe-Signature"

// cut returns the time as it was signed and the v1 signatures.
func (stripe) cut(h http.Header) (t string, macs [][]byte, err error) {
	text, err := one(h, stripeSignature)
	if err != nil {
		return "", nil, err
	}
	for item := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		switch {
		case key == "t" && t != "":
			return "", nil, fmt.Errorf("%w: %s has two times", ErrSignature, stripeSignature)
		case key == "t":
			t = value
		case key == "v1" && len(macs) < maxSignatures:
			if mac, err := hex.DecodeString(value); err == nil {
				macs = append(macs, mac)
			}
		}
	}
	if t == "" || len(macs) == 0 {
		return "", nil, fmt.Errorf("%w: %s has no t or no v1", ErrSignature, stripeSignature)
	}
	return t, macs, nil
}

func (x stripe) screen(s *Source, h http.Header, now time.Time) error {
	t, _, err := x.cut(h)
	if err != nil {
		return err
	}
	at, err := moment(t)
	if err != nil {
		return err
	}
	return fresh(s, at, now)
}

func (x stripe) verify(s *Source, h http.Header, body []byte) error {
	t, macs, err := x.cut(h)
	if err != nil {
		return err
	}
	ok := anySecret(s, func(secret string) bool {
		found := false
		for _, mac := range macs {
			found = signedBy(secret, mac, []byte(t+"."), body) || found
		}
		return found
	})
	if !ok {
		return fmt.Errorf("%w: no v1 in %s is right", ErrSignature, stripeSignature)
	}
	return nil
}

func (x stripe) event(_ *Source, h http.Header, body []byte) Event {
	id := Field(body, "id")
	if t, _, err := x.cut(h); id == "" && err == nil {
		id = digest(KindStripe, []byte(t+"."), body)
	}
	return Event{ID: id, Type: Field(body, "type")}
}

// slack: X-Slack-Signature is v0=hex over v0:X-Slack-Request-Timestamp:body.
type slack struct{}

const (
	slackSignature = "X-Slack-Signature"
	slackTime      = "X-Slack-Request-Timestamp"
)

func (slack) screen(s *Source, h http.Header, now time.Time) error {
	if _, err := one(h, slackSignature); err != nil {
		return err
	}
	return freshHeader(s, h, slackTime, now)
}

// slackBefore is what is signed before the body.
func slackBefore(h http.Header) []byte { return []byte("v0:" + h.Get(slackTime) + ":") }

func (slack) verify(s *Source, h http.Header, body []byte) error {
	text, ok := strings.CutPrefix(h.Get(slackSignature), "v0=")
	mac, err := hex.DecodeString(text)
	signed := func(secret string) bool { return signedBy(secret, mac, slackBefore(h), body) }
	if !ok || err != nil || !anySecret(s, signed) {
		return fmt.Errorf("%w: %s is not right", ErrSignature, slackSignature)
	}
	return nil
}

// event: Events API is JSON with an event_id that stays when it is sent again; slash commands and interactions are forms.
func (slack) event(_ *Source, h http.Header, body []byte) Event {
	e := Event{ID: Field(body, "event_id"), Type: Field(body, "event.type")}
	if e.Type == "" {
		e.Type = Field(body, "type")
	}
	if e.Type == "url_verification" {
		e.Challenge = Field(body, "challenge")
	}
	if e.Type == "" && !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		e.Type = slackForm(string(body))
	}
	if e.ID == "" {
		e.ID = digest(KindSlack, slackBefore(h), body)
	}
	return e
}

// slackForm is the type of a form: what its payload says, or that it is a command.
func slackForm(body string) string {
	form, err := url.ParseQuery(body)
	switch {
	case err != nil:
		return ""
	case form.Get("payload") != "":
		return Field([]byte(form.Get("payload")), "type")
	case form.Get("command") != "":
		return "slash_command"
	}
	return ""
}
