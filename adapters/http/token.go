package httpapi

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"sync"

	"portico/core"
	"portico/core/queue"
)

const (
	tokenBody = 8 + 8 + 4 // incarnation, sequence number, attempt
	tokenSize = tokenBody + 16
)

// sealer makes tokens for deliveries and opens them. A token names one attempt at one record of one incarnation of a
// queue, under a key that is made anew with each process: nobody can guess one, and none outlives its queue or the gateway.
type sealer struct {
	// immutable
	key [32]byte

	mu     sync.Mutex            // guards the rest
	last   uint64                // incarnation given last
	queues map[place]incarnation // only of queues that exist
}

// place is where a queue is.
type place struct{ tenant, name string }

func placeOf(q *core.Queue) place { return place{q.Tenant(), q.Name()} }

type incarnation struct {
	queue *core.Queue
	id    uint64
}

func newSealer() *sealer {
	s := &sealer{queues: make(map[place]incarnation)}
	rand.Read(s.key[:]) // never fails
	return s
}

// incarnation returns q's number, giving it one if it is new.
func (s *sealer) incarnation(q *core.Queue) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := placeOf(q)
	known, ok := s.queues[at]
	if !ok || known.queue != q {
		s.last++
		known = incarnation{q, s.last}
		s.queues[at] = known
	}
	return known.id
}

// forget drops a queue of bus's tenant that went, unless another has its name already.
func (s *sealer) forget(bus *core.Bus, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := place{bus.Tenant(), name}
	if known, ok := s.queues[at]; ok && bus.Lookup(name) != known.queue {
		delete(s.queues, at)
	}
}

// TenantOpened implements core.TenantWatcher.
func (s *sealer) TenantOpened(bus *core.Bus) error {
	bus.OnQueueDeleted(func(name string) { s.forget(bus, name) })
	return nil
}

// TenantClosed implements core.TenantWatcher.
func (s *sealer) TenantClosed(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.queues, func(at place, _ incarnation) bool { return at.tenant == name })
}

// seal returns the token of a delivery.
func (s *sealer) seal(incarnation uint64, h queue.Handle) string {
	b := make([]byte, 0, tokenBody+sha256.Size)
	b = binary.BigEndian.AppendUint64(b, incarnation)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	b = binary.BigEndian.AppendUint32(b, h.Attempt)
	return base64.RawURLEncoding.EncodeToString(s.sum(b)[:tokenSize])
}

// sum appends the seal of the first tokenBody bytes of b.
func (s *sealer) sum(b []byte) []byte {
	mac := hmac.New(sha256.New, s.key[:])
	mac.Write(b[:tokenBody])
	return mac.Sum(b[:tokenBody:tokenBody])
}

// open returns the delivery that a token names. CodeInvalid if it was never one of ours, CodePreconditionFailed if it is
// for another queue than q, or for an earlier one of that name.
func (s *sealer) open(q *core.Queue, token string) (queue.Handle, error) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenSize {
		return queue.Handle{}, core.Errorf(core.CodeInvalid, "not a token")
	}
	if subtle.ConstantTimeCompare(s.sum(b)[:tokenSize], b) != 1 {
		return queue.Handle{}, core.Errorf(core.CodePreconditionFailed, "the token is not of this run of the gateway")
	}
	if binary.BigEndian.Uint64(b) != s.incarnation(q) {
		return queue.Handle{}, core.Errorf(core.CodePreconditionFailed, "the token is not of this queue")
	}
	return queue.Handle{Seq: binary.BigEndian.Uint64(b[8:]), Attempt: binary.BigEndian.Uint32(b[16:])}, nil
}
