package webhook

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"portico/core"
)

// headerID carries a delivery's id, with its proof, through the queue when it is sent once more.
const headerID = "Portico-Webhook-Id"

// sealer makes entries that only this gateway can read and write.
type sealer struct {
	// immutable
	aead cipher.AEAD
	mac  []byte
}

const (
	sealKeyBytes = 32
	keyTable     = "webhook-keys"
	keyName      = "log"
)

// openSealer takes the key from its table, and makes one on first use.
func openSealer(ctx context.Context, system *core.Bus) (*sealer, error) {
	table, err := system.Table(ctx, keyTable)
	if err != nil {
		return nil, err
	}
	e, err := table.Get(ctx, keyName)
	if core.AsError(err).Code == core.CodeNotFound {
		key := make([]byte, sealKeyBytes)
		_, _ = rand.Read(key) // never fails
		e.Value = key
		_, err = table.Update(ctx, keyName, key, 0)
	}
	if err != nil {
		return nil, err
	}
	return newSealer(e.Value)
}

func newSealer(key []byte) (*sealer, error) {
	if len(key) != sealKeyBytes {
		return nil, fmt.Errorf("the key of the webhooks' log has %d bytes, want %d", len(key), sealKeyBytes)
	}
	block, err := aes.NewCipher(derive(key, "entries"))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead: aead, mac: derive(key, "ids")}, nil
}

func derive(key []byte, purpose string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose))
	return h.Sum(nil)
}

var errSeal = errors.New("not an entry of this log")

// seal closes an entry of the log of the endpoint that owner names.
func (s *sealer) seal(owner string, e *entry, payload []byte) ([]byte, error) {
	plain, err := e.encode(payload)
	if err != nil {
		return nil, err
	}
	return s.aead.Seal(make([]byte, 0, len(plain)+s.aead.Overhead()), nil, plain, []byte(owner)), nil
}

// open reads an entry; payload is the message's, for an entry that keeps it.
func (s *sealer) open(owner string, sealed []byte) (e *entry, payload []byte, err error) {
	plain, err := s.aead.Open(nil, nil, sealed, []byte(owner))
	if err != nil {
		return nil, nil, errSeal
	}
	return decodeEntry(plain)
}

// prove is the value of headerID.
func (s *sealer) prove(owner, id string) string { return id + " " + s.proof(owner, id) }

func (s *sealer) proof(owner, id string) string {
	h := hmac.New(sha256.New, s.mac)
	h.Write([]byte(owner + "\x00" + id))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// proved returns the id of a value that prove made for this endpoint, "" for any other.
func (s *sealer) proved(owner, value string) string {
	id, proof, ok := strings.Cut(value, " ")
	if !ok || !hmac.Equal([]byte(proof), []byte(s.proof(owner, id))) {
		return ""
	}
	return id
}

// newID is the id of a delivery: when it was taken in, and 80 random bits.
func newID(prefix string, now time.Time) string {
	var random [10]byte
	_, _ = rand.Read(random[:]) // never fails
	return fmt.Sprintf("%s%012x%s", prefix, uint64(now.UnixMilli())&(1<<48-1), hex.EncodeToString(random[:]))
}

// newOwner tells an endpoint from an earlier one of the same name.
func newOwner() string {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(random[:])
}
