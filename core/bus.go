package core

import (
	"context"
	"strings"
	"sync/atomic"

	"portico/core/identity"
	"portico/core/queue"

	"github.com/nats-io/nats-server/v2/server"
)

// Bus is the bus as one identity may use it: it follows the identity's changes (Changed, Ended), is safe for use by many goroutines. It needs no closing.
type Bus struct {
	tenant *tenant
	live   *identity.Live // nil: the gateway itself
	system bool           // the gateway itself
}

// Receipt says where a message went.
type Receipt struct {
	Queues int  // queues that keep it
	Live   bool // somebody was listening, a stream perhaps; false for a duplicate that was not shown to them again

	// Stream is the stream that keeps it, on disk if it is one on disk, and Sequence its number there. Both are empty for a message that has a Reply of its own: then the stream's
	// acknowledgement goes there, as it does over NATS, and whether it is kept only who listens there will know.
	Stream   string
	Sequence uint64

	// Duplicate says that it had been published before under the same Nats-Msg-Id, and that every queue and stream that keeps it had it already.
	Duplicate bool
}

// Queue is a queue of the engine with its description.
type Queue struct {
	*queue.Queue
	// immutable
	config QueueConfig
	tenant *tenant

	rules atomic.Pointer[QueueRules] // in force
}

// Interest tells whether a message on subject would reach a live subscriber (native, door, or a JetStream stream), the gateway's
// own ingress not counted. It asks the server's subscription table every time, because native clients come and go unannounced.
func (b *Bus) Interest(subject string) bool { return b.tenant.interest(subject) }

func (t *tenant) interest(subject string) bool { return t.audience.SubscriptionInterest(subject) }

// PublishLive publishes one live copy to subscribers only; queues do not get it. It is for adapters that route by themselves: permissions and headers are
// theirs to check. m must not be changed afterwards. It may wait while the bus is busy, so it must not be called from a deliver function. Errors: CodeInvalid, CodeTooLarge, CodeUnavailable.
func (b *Bus) PublishLive(m *Message) error {
	if err := checkSubject(m.Subject); err != nil {
		return err
	}
	size, err := checkHeader(m.Header)
	if err != nil {
		return err
	}
	if err := b.tenant.checkSize(size + len(m.Data)); err != nil {
		return err
	}
	if ours, _ := b.tenant.requests.answer(m); ours {
		return nil
	}
	return b.tenant.publishLive(m, true)
}

// publishLive hands the live copy to the server. mayWait is false where nothing may block; the copy is dropped then if the bus is far behind.
func (t *tenant) publishLive(m *Message, mayWait bool) error {
	if m.Reply != "" {
		if err := checkSubject(m.Reply); err != nil {
			return err
		}
	}
	return t.publishCopy(m, m.Reply, mayWait)
}

// publishCopy hands m to the server with a reply subject that may be another than its own.
func (t *tenant) publishCopy(m *Message, reply string, mayWait bool) error {
	var block [256]byte
	err := t.live.publish(m.Subject, reply, appendBusHeader(block[:0], m.Header), m.Data, mayWait)
	if err != nil {
		return &Error{Code: CodeUnavailable, Detail: "the bus does not take messages", Err: err}
	}
	return nil
}

func (t *tenant) checkSize(size int) error {
	if limit := t.maxMessage(); size > limit {
		return Errorf(CodeTooLarge, "message of %d bytes: at most %d", size, limit)
	}
	return nil
}

// tenant is everything that belongs to one tenant of the node. It has a connection to each of its accounts (see accountTenant): live publishes,
// doors carries the doors' subscriptions and the inboxes, natives brings in what NATS and MQTT clients publish.
type tenant struct {
	// immutable
	name     string
	accounts accounts
	gateway  *Gateway
	server   *embedded
	audience *server.Account // who listens to what doors publish
	live     *link
	doors    *link
	natives  *link
	fans     *fanout
	ingress  *ingress
	requests *requests
	routes   *routes
	queues   *registry
	streams  *streams

	// set by restore
	definitions *Table // durable queues
	bindings    *Table // their bindings

	// set by SetRouter
	router atomic.Pointer[Router]

	quota  quota
	gone   context.Context // ends when it is being deleted
	depart context.CancelFunc

	ingesting struct{ messages, bytes atomic.Int64 } // from native clients and not kept yet

	publishing publishing
	synced     syncs

	generation atomic.Uint64
}

// Router knows what lies between subjects and queues beside core bindings: exchanges, and the policies of queues.
type Router interface {
	// Route appends the queues for m, which came from the bus (any door but the router's own, NATS and MQTT clients). It must not block and must not keep or change m.
	Route(m *Message, dst []*Queue) []*Queue
	// Bury passes a dead message of q on to the exchange that to names, and calls done when those who get it have it: from any goroutine, perhaps before Bury returns.
	// After an error it is asked again. It must not block.
	Bury(q *Queue, to DeadLetter, d queue.Dead, done func(error))
	// Rules returns the rules for a queue: those it was declared with, and what policies add. It must not block.
	Rules(c *QueueConfig) QueueRules
}

// SetRouter installs the tenant's router (the AMQP adapter); nil takes it out.
func (b *Bus) SetRouter(r Router) {
	if r == nil {
		b.tenant.router.Store(nil)
		return
	}
	b.tenant.router.Store(&r)
}

func (t *tenant) currentRouter() Router {
	if r := t.router.Load(); r != nil {
		return *r
	}
	return nil
}

// Generation changes whenever bindings or queues have changed: callers may cache Bound and Lookup results under it. What Interest says is not covered.
func (b *Bus) Generation() uint64 { return b.tenant.generation.Load() }

// Bound appends to dst the queues that core bindings feed from subject (not the router's), each once, and returns it.
func (b *Bus) Bound(subject string, dst []*Queue) []*Queue { return b.tenant.bound(subject, dst) }

func (t *tenant) bound(subject string, dst []*Queue) []*Queue {
	if reserved(subject) {
		return dst
	}
	before := len(dst)
	dst = t.routes.match(subject, dst)
	return append(dst[:before], unique(dst[before:])...)
}

// route appends the queues that m reaches, each once; byRouter is how many of them only the router named.
func (t *tenant) route(m *Message, dst []*Queue) (queues []*Queue, byRouter int) {
	if reserved(m.Subject) {
		return dst, 0
	}
	dst = t.bound(m.Subject, dst)
	bound := len(dst)
	if r := t.currentRouter(); r != nil {
		dst = unique(r.Route(m, dst))
	}
	return dst, len(dst) - bound
}

// unique drops repeated queues in place and keeps the order.
func unique(queues []*Queue) []*Queue {
	if len(queues) < 2 {
		return queues
	}
	if len(queues) > 32 {
		return uniqueMany(queues)
	}
	kept := queues[:0]
next:
	for _, q := range queues {
		for _, k := range kept {
			if k == q {
				continue next
			}
		}
		kept = append(kept, q)
	}
	return kept
}

func uniqueMany(queues []*Queue) []*Queue {
	seen := make(map[*Queue]struct{}, len(queues))
	kept := queues[:0]
	for _, q := range queues {
		if _, twice := seen[q]; !twice {
			seen[q] = struct{}{}
			kept = append(kept, q)
		}
	}
	return kept
}

// deliverable tells whether a subscription of an identity on pattern may see subject: wildcards in the first token do not reach the
// bus's own subjects and other people's inboxes.
func deliverable(pattern, subject string) bool {
	return !reserved(subject) || !strings.HasPrefix(pattern, "*") && pattern != ">"
}
