package proxy

import (
	"crypto/rand"
	"encoding/hex"
	"math/bits"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"

	"portico/core"
)

// inboxes begins the subjects that answers and frames come to. Whoever may use the bus at all may publish to inboxes; the names are random, so only
// whoever got one can.
const inboxes = "_INBOX.portico-grpc"

// cancels is where the reply subject of a unary call is published when its caller has gone.
const cancels = inboxes + ".cancel"

// receiver takes what comes to one inbox. It must not block.
type receiver interface{ take(m *core.Message) }

// answer is the receiver of a unary call: it keeps the first message.
type answer chan *core.Message

func (a answer) take(m *core.Message) {
	select {
	case a <- m:
	default:
	}
}

// inbox gives each call a subject of its own below a prefix of which there is one subscription.
type inbox struct {
	// immutable
	prefix string

	// guarded by mu
	mu  sync.Mutex
	who map[uint64]receiver
}

func newInbox() *inbox {
	var name [16]byte
	if _, err := rand.Read(name[:]); err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &inbox{prefix: inboxes + "-" + hex.EncodeToString(name[:]) + ".", who: map[uint64]receiver{}}
}

// add gives r a subject. Callers are bounded by calls.
func (b *inbox) add(r receiver) (subject string, number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for number = mathrand.Uint64(); b.who[number] != nil; number = bits.RotateLeft64(number, 1) + 1 {
	}
	b.who[number] = r
	return b.prefix + strconv.FormatUint(number, 36), number
}

func (b *inbox) remove(number uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.who, number)
}

// local tells whether a subject is one of ours.
func (b *inbox) local(subject string) bool { return strings.HasPrefix(subject, b.prefix) }

// deliver hands m to the one it is for. What nobody waits for is dropped: the call is over.
func (b *inbox) deliver(m *core.Message) {
	number, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, b.prefix), 36, 64)
	if err != nil {
		return
	}
	b.mu.Lock()
	r := b.who[number]
	b.mu.Unlock()
	if r != nil {
		r.take(m)
	}
}

// sessions are the sessions that are open.
func (b *inbox) sessions() (all []*session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.who {
		if s, ok := r.(*session); ok {
			all = append(all, s)
		}
	}
	return all
}
