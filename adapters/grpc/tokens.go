package grpcapi

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"runtime"
	"sync"
	"weak"

	"portico/core"
	"portico/core/queue"
)

// Tokens of queues are sealed with a key of the process, because what a queue has lent is back after a restart. A stream's consumer remembers what it
// has lent: its tokens are sealed with a key that is kept in a table, and outlive the gateway.
const (
	keyTable  = "grpc-keys"
	keyName   = "stream-tokens"
	keySize   = 32
	sealSize  = 16
	maxTicket = 2048 // bytes

	tokenBody = 8 + 8 + 4 // incarnation, sequence number, attempt
)

// sealOf is the seal of some parts under a key.
func sealOf(key []byte, parts ...string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)[:sealSize:sealSize]
}

// unseal splits a token into what is sealed and tells whether the seal is the one wanted of it.
func unseal(token string, most int, want func(body string) []byte) (body string, err error) {
	if len(token) > base64.RawURLEncoding.EncodedLen(sealSize+most) {
		return "", core.Errorf(core.CodeInvalid, "not a token")
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= sealSize {
		return "", core.Errorf(core.CodeInvalid, "not a token")
	}
	body = string(b[sealSize:])
	if subtle.ConstantTimeCompare(want(body), b[:sealSize]) != 1 {
		return "", core.Errorf(core.CodePreconditionFailed, "the token is not of this consumer and user, or not of this run of the gateway")
	}
	return body, nil
}

func sealed(seal []byte, body string) string {
	return base64.RawURLEncoding.EncodeToString(append(seal, body...))
}

// tickets keeps the key of streams' tokens.
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
	table, err := system.Table(ctx, keyTable)
	if err != nil {
		return nil, err
	}
	fresh := make([]byte, keySize)
	rand.Read(fresh) // never fails
	_, err = table.Update(ctx, keyName, fresh, 0)
	if err == nil {
		t.key = fresh
		return fresh, nil
	}
	if core.AsError(err).Code != core.CodePreconditionFailed {
		return nil, err
	}
	kept, err := table.Get(ctx, keyName)
	if err != nil {
		return nil, err
	}
	if len(kept.Value) != keySize {
		return nil, core.Errorf(core.CodeInternal, "the key of the streams' tokens has %d bytes", len(kept.Value))
	}
	t.key = kept.Value
	return t.key, nil
}

// ticketSeal is whose token it is, and for what.
type ticketSeal struct {
	key                            []byte
	tenant, user, stream, consumer string
}

func (s ticketSeal) sum(ticket string) []byte {
	return sealOf(s.key, s.tenant, s.user, s.stream, s.consumer, ticket)
}

// seal makes a token of a ticket, which is no secret.
func (s ticketSeal) seal(ticket string) string { return sealed(s.sum(ticket), ticket) }

// open returns the ticket in a token. CodeInvalid if it is no token, CodePreconditionFailed if it is of another user, stream or consumer.
func (s ticketSeal) open(token string) (string, error) { return unseal(token, maxTicket, s.sum) }

// loans makes tokens for deliveries of queues and opens them. A token names one attempt at one record of one incarnation of a queue: nobody can guess
// one, and none outlives its queue or the gateway.
type loans struct {
	key []byte // immutable

	mu     sync.Mutex // guards the rest
	last   uint64     // incarnation given last
	queues map[weak.Pointer[core.Queue]]uint64
}

func newLoans() *loans {
	l := &loans{key: make([]byte, keySize), queues: map[weak.Pointer[core.Queue]]uint64{}}
	rand.Read(l.key) // never fails
	return l
}

// of returns the number of a queue among all that had its name, giving it one if it is new. It is forgotten when nobody has the queue any more.
func (l *loans) of(q *core.Queue) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := weak.Make(q)
	number, ok := l.queues[p]
	if !ok {
		l.last++
		number = l.last
		l.queues[p] = number
		runtime.AddCleanup(q, l.forget, p)
	}
	return number
}

func (l *loans) forget(p weak.Pointer[core.Queue]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.queues, p)
}

func (l *loans) sum(body string) []byte { return sealOf(l.key, body) }

// seal returns the token of a delivery.
func (l *loans) seal(incarnation uint64, h queue.Handle) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, tokenBody), incarnation)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	body := string(binary.BigEndian.AppendUint32(b, h.Attempt))
	return sealed(l.sum(body), body)
}

// open returns the delivery that a token names. CodeInvalid if it is no token, CodePreconditionFailed if it is of another queue or run.
func (l *loans) open(q *core.Queue, token string) (queue.Handle, error) {
	body, err := unseal(token, tokenBody, l.sum)
	if err != nil {
		return queue.Handle{}, err
	}
	b := []byte(body)
	if len(b) != tokenBody {
		return queue.Handle{}, core.Errorf(core.CodeInvalid, "not a token")
	}
	if binary.BigEndian.Uint64(b) != l.of(q) {
		return queue.Handle{}, core.Errorf(core.CodePreconditionFailed, "the token is not of this queue")
	}
	return queue.Handle{Seq: binary.BigEndian.Uint64(b[8:]), Attempt: binary.BigEndian.Uint32(b[16:])}, nil
}
