package webhook

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	secretPrefix = "whsec_"
	secretBytes  = 32
	leastSecret  = 24 // bytes, as Standard Webhooks has it
	mostSecret   = 64

	// DefaultOverlap is how long the secret before signs beside the new one.
	DefaultOverlap = 24 * time.Hour
	// MaxOverlap is the longest that it may.
	MaxOverlap = 7 * 24 * time.Hour
	maxSecrets = 5 // that sign at once
)

// secret is a key that signs.
type secret struct {
	Key   string    `json:"key"`            // whsec_…
	Until time.Time `json:"until,omitzero"` // zero: it has not been replaced
}

func newSecret() string {
	key := make([]byte, secretBytes)
	_, _ = rand.Read(key) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

func checkSecret(text string) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil || !strings.HasPrefix(text, secretPrefix) || len(key) < leastSecret || len(key) > mostSecret {
		return invalid("secret", nil, "whsec_ and the base64 of %d to %d bytes", leastSecret, mostSecret)
	}
	return nil
}

// living are the secrets that sign at now, the newest first.
func living(all []secret, now time.Time) []secret {
	var kept []secret
	for _, s := range all {
		if s.Until.IsZero() || s.Until.After(now) {
			kept = append(kept, s)
		}
	}
	return kept
}

// signature is the value of webhook-signature: one for each living secret.
func signature(secrets []secret, id string, now time.Time, payload []byte) (string, error) {
	var all []string
	for _, s := range living(secrets, now) {
		wh, err := standardwebhooks.NewWebhook(s.Key)
		if err != nil {
			return "", fmt.Errorf("sign: %w", err)
		}
		one, err := wh.Sign(id, now, payload)
		if err != nil {
			return "", fmt.Errorf("sign: %w", err)
		}
		all = append(all, one)
	}
	return strings.Join(all, " "), nil
}
