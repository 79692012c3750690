package core

import (
	"encoding/json"
	"strings"
	"time"

	"portico/core/queue"
)

// QueueConfig describes a queue.
type QueueConfig struct {
	Name         string            `json:"name"` // any bytes 1..255 without NUL
	Type         QueueType         `json:"type"`
	Durable      bool              `json:"durable"`
	AutoDelete   bool              `json:"auto_delete"`            // deleted when its last consumer goes
	Owner        string            `json:"-"`                      // "" or the connection that alone may use it; such queues are never durable
	MaxPriority  uint8             `json:"max_priority,omitempty"` // messages of a higher priority come first, up to this one; 0: none does
	SingleActive bool              `json:"single_active_consumer,omitempty"`
	Attributes   map[string]string `json:"attributes,omitempty"` // any bytes; for the door that declared it, core does not look
	QueueRules
}

// QueueRules are the part of a description that a policy may add to while the queue lives.
type QueueRules struct {
	MaxDeliveries uint32         `json:"max_deliveries"` // 0: no limit. A message delivered so often dies instead of being requeued.
	DeadLetter    DeadLetter     `json:"dead_letter"`
	TTL           queue.Bound    `json:"message_ttl,omitzero"`      // milliseconds
	Expires       queue.Bound    `json:"expires,omitzero"`          // milliseconds without use after which the queue is deleted
	MaxLength     queue.Bound    `json:"max_length,omitzero"`       // ready messages
	MaxBytes      queue.Bound    `json:"max_length_bytes,omitzero"` // of the payloads of ready messages; in a stream of all that is kept, above it the oldest goes
	MaxAge        queue.Bound    `json:"max_age,omitzero"`          // milliseconds that a stream keeps a message
	Overflow      queue.Overflow `json:"overflow,omitzero"`
}

// QueueType says what keeps a queue's messages.
type QueueType string

// The queue types. On one node a quorum queue is kept as a classic one is, but it counts deliveries over restarts. A stream keeps what it has delivered: every consumer
// reads from a place of its own (queue.Offset), and nothing can be taken from it.
const (
	ClassicQueue QueueType = ""
	QuorumQueue  QueueType = "quorum"
	StreamQueue  QueueType = "stream"
)

// DeadLetter says where dead messages go; at most one of Queue, Subject and Exchange is set. None: they are removed. A queue or exchange that does not exist (any more) drops
// them, as RabbitMQ does. Delivery is at least once: a message leaves its queue when the others have it, so after a failure between the two it may be in both.
type DeadLetter struct {
	Queue      string `json:"queue,omitempty"`
	Subject    string `json:"subject,omitempty"`
	Exchange   Text   `json:"exchange,omitzero"`    // for the router; "" is the default exchange
	RoutingKey Text   `json:"routing_key,omitzero"` // with Exchange; not set: the message's own
}

// Text is a string that may be missing, which is not the same as empty. JSON has null for that.
type Text struct {
	Set bool
	V   string
}

// Some returns the text s.
func Some(s string) Text { return Text{Set: true, V: s} }

// MarshalJSON implements json.Marshaler.
func (t Text) MarshalJSON() ([]byte, error) {
	if !t.Set {
		return []byte("null"), nil
	}
	return json.Marshal(t.V)
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *Text) UnmarshalJSON(b []byte) error {
	*t = Text{Set: string(b) != "null"}
	if !t.Set {
		return nil
	}
	return json.Unmarshal(b, &t.V)
}

const (
	maxQueueName = 255
	maxMillis    = 315_360_000_000 // ten years, RabbitMQ's longest time
)

func (c *QueueConfig) check() error {
	switch {
	case c.Name == "" || len(c.Name) > maxQueueName || strings.Contains(c.Name, "\x00"):
		return Errorf(CodeInvalid, "queue name: want 1 to %d bytes, none of them NUL", maxQueueName)
	case c.Owner != "" && c.Durable:
		return Errorf(CodeInvalid, "a queue with an owner cannot be durable")
	case c.Type != ClassicQueue && c.Type != QuorumQueue && c.Type != StreamQueue:
		return Errorf(CodeInvalid, "queue type %q: want none, %q or %q", c.Type, QuorumQueue, StreamQueue)
	case c.Type != ClassicQueue && (!c.Durable || c.AutoDelete || c.Owner != ""):
		return Errorf(CodeInvalid, "a %s queue is durable, and neither exclusive nor auto-delete", c.Type)
	}
	if err := c.checkType(); err != nil {
		return err
	}
	return c.QueueRules.check()
}

// checkType checks what only some types of queues have.
func (c *QueueConfig) checkType() error {
	switch r := c.QueueRules; {
	case c.Type != StreamQueue && c.MaxAge.Set:
		return Errorf(CodeInvalid, "max_age is a stream's")
	case c.Type == QuorumQueue && (c.MaxPriority > 0 || c.Overflow == queue.RejectPublishDLX):
		return Errorf(CodeInvalid, "a quorum queue has neither priorities nor the overflow reject-publish-dlx")
	case c.Type == StreamQueue && (c.MaxPriority > 0 || c.SingleActive || r != QueueRules{MaxBytes: r.MaxBytes, MaxAge: r.MaxAge}):
		return Errorf(CodeInvalid, "of all rules and properties a stream has max_length_bytes and max_age only")
	}
	return nil
}

func (r *QueueRules) check() error {
	for name, x := range map[string]struct {
		queue.Bound
		least, most int64
	}{
		"message_ttl": {r.TTL, 0, maxMillis}, "expires": {r.Expires, 1, maxMillis},
		"max_length": {r.MaxLength, 0, 1 << 62}, "max_length_bytes": {r.MaxBytes, 0, 1 << 62}, "max_age": {r.MaxAge, 1, 1 << 62},
	} {
		if x.Set && (x.N < x.least || x.N > x.most) {
			return Errorf(CodeInvalid, "%s %d: want %d to %d", name, x.N, x.least, x.most)
		}
	}
	return r.DeadLetter.check()
}

func (d *DeadLetter) check() error {
	n := 0
	for _, set := range []bool{d.Queue != "", d.Subject != "", d.Exchange.Set} {
		if set {
			n++
		}
	}
	switch {
	case n > 1:
		return Errorf(CodeInvalid, "dead letters go to a queue, to a subject or to an exchange, not to several")
	case d.RoutingKey.Set && !d.Exchange.Set:
		return Errorf(CodeInvalid, "a routing key for dead letters needs an exchange")
	case len(d.Exchange.V) > 255 || len(d.RoutingKey.V) > 255:
		return Errorf(CodeInvalid, "the exchange and the routing key of dead letters have at most 255 bytes")
	case d.Subject != "":
		return checkSubject(d.Subject)
	}
	return nil
}

// sameAs returns CodePreconditionFailed if a queue described by c cannot be taken for one described by o.
func (c *QueueConfig) sameAs(o *QueueConfig) error {
	for _, x := range []struct {
		name string
		same bool
	}{
		{"durable", c.Durable == o.Durable}, {"auto_delete", c.AutoDelete == o.AutoDelete}, {"type", c.Type == o.Type},
		{"max_priority", c.MaxPriority == o.MaxPriority}, {"single_active_consumer", c.SingleActive == o.SingleActive},
		{"max_deliveries", c.MaxDeliveries == o.MaxDeliveries}, {"dead_letter", c.DeadLetter == o.DeadLetter},
		{"message_ttl", c.TTL == o.TTL}, {"expires", c.Expires == o.Expires}, {"max_length", c.MaxLength == o.MaxLength},
		{"max_length_bytes", c.MaxBytes == o.MaxBytes}, {"overflow", c.Overflow == o.Overflow}, {"max_age", c.MaxAge == o.MaxAge},
	} {
		if !x.same {
			return Errorf(CodePreconditionFailed, "queue %q exists with another %s", c.Name, x.name)
		}
	}
	return nil
}

// Name is the queue's name.
func (q *Queue) Name() string { return q.config.Name }

// Tenant is the name of the tenant that it belongs to.
func (q *Queue) Tenant() string { return q.tenant.name }

// Type is the queue's type.
func (q *Queue) Type() QueueType { return q.config.Type }

// Config is the description as it was declared; do not change its map.
func (q *Queue) Config() QueueConfig { return q.config }

// Rules are the rules in force: those declared, with what policies add.
func (q *Queue) Rules() QueueRules {
	if r := q.rules.Load(); r != nil {
		return *r
	}
	return q.config.QueueRules
}

// engineRules are the rules in force for q, as its engine takes them.
func (t *tenant) engineRules(q *Queue) queue.Rules {
	r := q.config.QueueRules
	if router := t.currentRouter(); router != nil {
		r = router.Rules(&q.config)
	}
	q.rules.Store(&r)
	return queue.Rules{
		MaxDeliveries: r.MaxDeliveries, DeadLetter: t.bury(q, r.DeadLetter), TTL: r.TTL, MaxLength: r.MaxLength, MaxBytes: r.MaxBytes, MaxAge: r.MaxAge, Overflow: r.Overflow,
		Expires: time.Duration(r.Expires.N) * time.Millisecond,
	}
}

// Regovern asks the router for the rules of all queues anew and applies them. It waits for the queues.
func (b *Bus) Regovern() {
	for _, q := range b.tenant.queues.all() {
		_ = q.Govern(b.tenant.engineRules(q)) // one that has ended needs none
	}
}

// weigh is what a record counts for max_length_bytes: its payload.
func weigh(record []byte) int {
	e, err := OpenEnvelope(record)
	if err != nil {
		return len(record)
	}
	return len(e.Data)
}
