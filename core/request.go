package core

import (
	"context"
	"crypto/rand"
	"math/big"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
)

// maxRequests bounds the requests of a tenant that wait for their answers on this node.
const maxRequests = 1 << 16

// ownInboxes begins the inboxes of the gateway itself.
const ownInboxes = inboxes + "portico-"

// requests are the doors' requests that wait for an answer. All share one inbox subscription; an answer is found by the number
// behind the inbox's prefix, which is random, so that only whoever got the request knows where the answer goes.
type requests struct {
	prefix string
	acks   acks // streams' acknowledgements come the same way

	// guarded by mu
	mu      sync.Mutex
	waiting map[uint64]chan<- *Message // each with room for one answer
}

func newRequests() *requests {
	name, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &requests{prefix: ownInboxes + name.Text(36) + ".", waiting: map[uint64]chan<- *Message{}}
}

// expect returns a new inbox and its number; what is published there comes once, to answer.
func (r *requests) expect(answer chan<- *Message) (inbox string, number uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) >= maxRequests {
		return "", 0, Errorf(CodeResourceExhausted, "%d requests wait for answers", maxRequests)
	}
	for number = mathrand.Uint64(); r.waiting[number] != nil; number++ {
	}
	r.waiting[number] = answer
	return r.prefix + strconv.FormatUint(number, 36), number, nil
}

// take returns who waits under a number, and forgets it.
func (r *requests) take(number uint64) chan<- *Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := r.waiting[number]
	delete(r.waiting, number)
	return answer
}

// answer hands m to the request that waits for it on this node, without a way through the server. ours is false when m is not for one of our inboxes; taken is false when the request is over: then nobody else
// wants m either. Where a stream acknowledges nobody else has anything to say.
func (r *requests) answer(m *Message) (ours, taken bool) {
	tail, ours := strings.CutPrefix(m.Subject, r.prefix)
	if !ours || strings.HasPrefix(tail, ackMark) {
		return ours, false
	}
	return true, r.settle(tail, m)
}

// settle tells whether somebody waited.
func (r *requests) settle(tail string, m *Message) bool {
	number, err := strconv.ParseUint(tail, 36, 64)
	if err != nil {
		return false
	}
	answer := r.take(number)
	if answer != nil {
		answer <- m
	}
	return answer != nil
}

// arrived takes answers of native clients, and acknowledgements of streams. It runs on the link's reading goroutine.
func (r *requests) arrived(lm linkMessage) {
	tail, ours := strings.CutPrefix(lm.subject, r.prefix)
	if number, ack := strings.CutPrefix(tail, ackMark); ours && ack {
		r.acks.arrived(number, lm.data)
	} else if ours {
		r.settle(tail, lm.open())
	}
}

// Request publishes m with an inbox of its own as Reply and returns the first answer, which is the caller's. m.Reply is ignored. CodeNoResponders at once when nobody
// takes it (neither a subscriber nor a queue), CodeTimeout at ctx's deadline; the errors of Publish.
func (b *Bus) Request(ctx context.Context, m *Message) (*Message, error) {
	answer := make(chan *Message, 1)
	inbox, number, err := b.tenant.requests.expect(answer)
	if err != nil {
		return nil, err
	}
	defer b.tenant.requests.take(number)
	receipt, err := b.Publish(ctx, &Message{Subject: m.Subject, Reply: inbox, Header: m.Header, Data: m.Data})
	if err != nil {
		return nil, AsError(err)
	}
	if receipt.Queues == 0 && !receipt.Live {
		return nil, nobody(m.Subject)
	}
	select {
	case got := <-answer:
		return got, nil
	case <-ctx.Done():
		return nil, AsError(ctx.Err())
	}
}

func nobody(subject string) error {
	return Errorf(CodeNoResponders, "nobody takes messages on %q", subject)
}
