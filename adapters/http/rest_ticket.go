package httpapi

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"sync"

	"portico/core"
)

// Tokens of queues are sealed with a key of the process (token.go), because what a queue has lent is back after a restart. A stream's consumer remembers what it has lent: its tokens are sealed with a
// key that is kept in a table, and outlive the gateway.
const (
	ticketTable = "http-keys"
	ticketKey   = "stream-tokens"
	keySize     = 32
	sealSize    = 16
	maxTicket   = 2048 // bytes
)

// tickets seals and opens the tokens of streams' messages.
type tickets struct {
	mu  sync.Mutex // guards key
	key []byte     // nil: not read yet
}

// sealing returns the key; the first gateway that needs it makes it.
func (t *tickets) sealing(ctx context.Context, system *core.Bus) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.key != nil {
		return t.key, nil
	}
	table, err := system.Table(ctx, ticketTable)
	if err != nil {
		return nil, err
	}
	fresh := make([]byte, keySize)
	rand.Read(fresh) // never fails
	if _, err := table.Update(ctx, ticketKey, fresh, 0); err == nil {
		t.key = fresh
		return fresh, nil
	} else if core.AsError(err).Code != core.CodePreconditionFailed {
		return nil, err
	}
	kept, err := table.Get(ctx, ticketKey)
	if err == nil && len(kept.Value) != keySize {
		err = core.Errorf(core.CodeInternal, "the key of the streams' tokens has %d bytes", len(kept.Value))
	}
	if err != nil {
		return nil, err
	}
	t.key = kept.Value
	return t.key, nil
}

// lease is whose token it is, and for what.
type lease struct {
	key                            []byte
	tenant, user, stream, consumer string
}

// seal makes a token of a ticket: the seal, then the ticket, which is no secret.
func (l lease) seal(ticket string) string {
	return base64.RawURLEncoding.EncodeToString(append(l.sum(ticket), ticket...))
}

func (l lease) sum(ticket string) []byte {
	mac := hmac.New(sha256.New, l.key)
	for _, part := range []string{l.tenant, l.user, l.stream, l.consumer, ticket} {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)[:sealSize:sealSize]
}

// open returns the ticket in a token. CodeInvalid if it is no token, CodePreconditionFailed if it is of another user, stream or consumer.
func (l lease) open(token string) (string, error) {
	if len(token) > base64.RawURLEncoding.EncodedLen(sealSize+maxTicket) {
		return "", core.Errorf(core.CodeInvalid, "not a token")
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= sealSize {
		return "", core.Errorf(core.CodeInvalid, "not a token")
	}
	ticket := string(b[sealSize:])
	if subtle.ConstantTimeCompare(l.sum(ticket), b[:sealSize]) != 1 {
		return "", core.Errorf(core.CodePreconditionFailed, "the token is not of this consumer and user")
	}
	return ticket, nil
}
