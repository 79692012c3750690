package core

import (
	"context"
	"sync/atomic"
	"time"

	"portico/core/audit"
	"portico/core/queue"

	"golang.org/x/time/rate"
)

// TenantLimits are what a tenant may have on a node; 0 is no limit.
type TenantLimits struct {
	Connections  int     `json:"connections,omitempty" yaml:"connections,omitempty"`     // at the doors that have such: AMQP, STOMP, WebSocket, NATS, MQTT
	Queues       int     `json:"queues,omitempty" yaml:"queues,omitempty"`               // all types
	Bytes        int64   `json:"bytes,omitempty" yaml:"bytes,omitempty"`                 // that all queues keep, and again that all streams, buckets and objects keep. Looked at once a second
	MessageRate  float64 `json:"message_rate,omitempty" yaml:"message_rate,omitempty"`   // messages a second through the doors of this gateway, NATS and MQTT left out; a second's worth may come at once
	MessageBytes int     `json:"message_bytes,omitempty" yaml:"message_bytes,omitempty"` // of one message's payload and headers; the gateway's own limit holds, too
}

func (l *TenantLimits) check() error {
	if l.Connections < 0 || l.Queues < 0 || l.Bytes < 0 || l.MessageRate < 0 || l.MessageBytes < 0 {
		return Errorf(CodeInvalid, "a limit cannot be negative")
	}
	return nil
}

// quota keeps a tenant within its limits.
type quota struct {
	limits      atomic.Pointer[TenantLimits]
	rate        atomic.Pointer[rate.Limiter] // nil: none
	full        atomic.Bool                  // its queues keep all they may
	connections atomic.Int64                 // at the doors of this gateway, NATS and MQTT left out
}

func (q *quota) set(l TenantLimits) {
	q.limits.Store(&l)
	if l.MessageRate == 0 {
		q.rate.Store(nil)
		return
	}
	q.rate.Store(rate.NewLimiter(rate.Limit(l.MessageRate), max(1, int(l.MessageRate))))
}

// paceFor is how long somebody who publishes faster than the tenant may is made to wait; what would have to wait longer is refused.
const paceFor = time.Second

// pace holds a publisher up that is faster than its tenant may be.
func (q *quota) pace() error {
	limiter := q.rate.Load()
	if limiter == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), paceFor)
	defer cancel()
	if limiter.Wait(ctx) != nil {
		return Errorf(CodeResourceExhausted, "the tenant publishes more than %g messages a second", float64(limiter.Limit()))
	}
	return nil
}

// accepts tells whether a message for so many queues may be taken in: the node has room, and the tenant.
func (t *tenant) accepts(queues int) error {
	if err := t.quota.mayKeep(queues); err != nil {
		return err
	}
	return t.gateway.accepts(queues)
}

func (q *quota) mayKeep(queues int) error {
	if queues > 0 && q.full.Load() {
		return Errorf(CodeResourceExhausted, "the tenant's queues keep %d bytes, which is all they may", q.limits.Load().Bytes)
	}
	return nil
}

// Admit waits until the tenant may publish another message, a second at most, and tells whether it may keep it in so many queues. It is for adapters that append to queues by
// themselves; the node's alarms are theirs to look at. CodeResourceExhausted.
func (b *Bus) Admit(queues int) error {
	if err := b.pace(); err != nil {
		return err
	}
	return b.tenant.quota.mayKeep(queues)
}

// MaxMessage is the limit on payload plus headers of the tenant's messages, in bytes.
func (b *Bus) MaxMessage() int { return b.tenant.maxMessage() }

func (t *tenant) maxMessage() int {
	limit := t.gateway.cfg.MaxMessage
	if own := t.quota.limits.Load().MessageBytes; own > 0 {
		limit = min(limit, own)
	}
	return limit
}

// mayHaveAnother tells whether a queue more may be declared. Declarations at the same moment may exceed the limit by as many.
func (t *tenant) mayHaveAnother() error {
	if most := t.quota.limits.Load().Queues; most > 0 && len(t.queues.all()) >= most {
		return Errorf(CodeResourceExhausted, "the tenant has %d queues, which is all it may", most)
	}
	return nil
}

// weigh looks how much the queues keep.
func (t *tenant) weigh() {
	most := t.quota.limits.Load().Bytes
	if most == 0 {
		t.quota.full.Store(false)
		return
	}
	t.quota.full.Store(t.kept().Bytes >= most)
}

// kept adds up what the queues keep.
func (t *tenant) kept() (sum queue.Stats) {
	for _, q := range t.queues.all() {
		s, err := q.Stats()
		if err != nil {
			continue // it has just been deleted
		}
		sum.Ready += s.Ready
		sum.Unacked += s.Unacked
		sum.Bytes += s.Bytes
		sum.Consumers += s.Consumers
	}
	return sum
}

// Connect counts a connection of this tenant and this user until release is called, which may be done twice. CodeResourceExhausted when either has all it may.
func (b *Bus) Connect() (release func(), err error) {
	q := &b.tenant.quota
	if most, now := q.limits.Load().Connections, q.connections.Add(1); most > 0 && now+b.tenant.nativeConnections() > int64(most) {
		q.connections.Add(-1)
		return nil, Errorf(CodeResourceExhausted, "the tenant has %d connections, which is all it may", most)
	}
	leave, err := b.tenant.gateway.cfg.Gate.Hold(b.User())
	if err != nil {
		q.connections.Add(-1)
		b.tenant.gateway.Record(audit.Event{Kind: audit.Limited, User: b.User(), Reason: err.Error()})
		return nil, tooMany(err)
	}
	var over atomic.Bool
	return func() {
		if !over.Swap(true) {
			q.connections.Add(-1)
			leave()
		}
	}, nil
}

// nativeConnections counts NATS and MQTT clients: those of the account but for the gateway's two.
func (t *tenant) nativeConnections() int64 {
	account, err := t.server.LookupAccount(t.accounts.own)
	if err != nil {
		return 0
	}
	return int64(max(0, account.NumLocalConnections()-2))
}
