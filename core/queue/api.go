package queue

import (
	"context"
	"errors"
	"time"
)

// Errors of the engine. The core maps them to its codes.
var (
	ErrClosed   = errors.New("queue closed")                    // the gateway is stopping, or the queue has lost its log to another owner
	ErrDeleted  = errors.New("queue deleted")                   // somebody deleted it
	ErrStale    = errors.New("delivery is no longer held")      // settled already, its lease ran out, or it went to another consumer
	ErrFenced   = errors.New("another owner writes this log")   // the log refused an append: this owner steps down
	ErrFull     = errors.New("queue memory is full")            // see Config.Budget
	ErrInUse    = errors.New("queue is exclusively consumed")   // an exclusive consumer is there, or one is asked for beside others
	ErrNotEmpty = errors.New("queue is not empty")              // Delete with ifEmpty
	ErrCorrupt  = errors.New("queue log entry is not readable") // bad version, checksum or length
)

// Log is the durable record of one queue: an append-only sequence of entries, each with a sequence number that the log gives.
// It has one writer. The implementation on JetStream is in core; the one in memory, which can be torn, delayed and refused, in queuetest.
type Log interface {
	// Append writes entry behind all earlier ones. It does not block; done is called once, from any goroutine, in the order of the appends:
	// with the entry's sequence number when the entry is as durable as the log promises, else with an error, and then the
	// entry may or may not be there. entry belongs to the log until done is called.
	Append(entry []byte, done func(seq uint64, err error))
	// Read returns the entries from sequence number from on (or the next that exists), in order, about maxBytes of them and at least one if there is one.
	// The caller owns what it gets.
	Read(ctx context.Context, from uint64, maxBytes int) ([]Entry, error)
	// Trim removes all entries below a sequence number, lowest first, and the named ones in any order. It does not block and may fail silently: what stays is
	// recognised on recovery.
	Trim(below uint64, also []uint64)
	// Close lets go of the log (drop: and removes it from disk), after the appends under way have been answered.
	Close(drop bool) error
}

// Entry is one entry of a Log.
type Entry struct {
	Seq  uint64
	Data []byte
}

// Publisher is told what became of the records it appended. It is compared with ==: use a pointer.
type Publisher interface {
	// Appended reports that the records with these tags are kept (err nil) or are not (err says why). It is called from the
	// queue's goroutine and must not block; tags is valid during the call only.
	Appended(tags []uint64, err error)
}

// Handle names one delivery of one record: a settlement for an earlier attempt is stale.
type Handle struct {
	Seq     uint64 // the record's number in its queue, from 1
	Attempt uint32 // how often it had been delivered when this delivery was made, from 1
}

// Delivery is a record on its way to a consumer.
type Delivery struct {
	Handle
	Record      []byte // shared and immutable; valid as long as it is referenced
	Redelivered bool   // it may have been seen by somebody before
	Ready       int    // how many ready records are left behind it; set by Get only
}

// Outcome is what a consumer says of a delivery.
type Outcome uint8

// The outcomes.
const (
	Ack     Outcome = iota // done: remove it
	Requeue                // not done: back to its original position, redelivered
	Reject                 // will never be done: dead-letter it, or remove it where no dead letters are kept
)

// Reason says why a record died.
type Reason uint8

// The reasons, with RabbitMQ's words as their String.
const (
	Rejected      Reason = iota // Reject
	DeliveryLimit               // delivered Config.MaxDeliveries times and requeued once more
)

// String returns RabbitMQ's word for the reason.
func (r Reason) String() string { return [...]string{"rejected", "delivery_limit"}[r] }

// Dead is a record that leaves its queue without having been acknowledged.
type Dead struct {
	Record []byte
	Reason Reason
	Seq    uint64
	Count  uint32 // deliveries made
}

// Config says how a queue behaves.
type Config struct {
	Name          string
	MaxDeliveries uint32                         // 0: no limit. A record that has been delivered so often dies instead of being requeued.
	DeadLetter    func(d Dead, done func(error)) // nil: dead records are removed. Must not block; done may be called from any goroutine. After an error it is tried again.
	Budget        *Budget                        // nil: unbounded. Memory for records, shared by the queues of a node.
	Resident      int64                          // bytes of records a durable queue may keep in memory; 0: 32 MiB
	Idle          func()                         // called in a goroutine of its own when the last consumer has gone (nil: not)
	Observe       func(Event, int)               // counts events for the metrics (nil: not); called from the queue's goroutine, must not block
	Now           func() time.Time               // nil: time.Now
}

// Event is something worth counting.
type Event uint8

// The events.
const (
	EventAppended Event = iota
	EventDelivered
	EventRedelivered
	EventAcked
	EventDead
	EventLost // records whose log entry has vanished: the store has lost them
)

// ConsumerConfig says how a consumer wants its deliveries.
type ConsumerConfig struct {
	// Deliver hands over a batch, in order. It is called from the queue's goroutine and must not block; the slice is valid during the call, the records longer.
	Deliver func([]Delivery)
	// Room, if set, tells whether the consumer's connection can take more now. When it says no, the queue passes the consumer over until Wake. Must not block.
	Room func() bool
	// Limit, if set, is a window shared with other consumers, possibly of other queues (AMQP's channel-wide prefetch): the queue takes
	// from it for each delivery and gives back when that is settled or returned. AutoAck consumers do not use it.
	Limit *Limit
	// Gone is called once if the queue ends (deleted, closed, fenced) before the consumer does. Must not block.
	Gone      func(error)
	AutoAck   bool          // settled by being delivered; each delivery uses up credit for good, Window or not
	Exclusive bool          // alone, or ErrInUse
	Lease     time.Duration // 0: deliveries are held until settled. Else they return to the queue after so long, unless extended.
	Credit    int           // deliveries allowed before any Grant; Unlimited for no bound
	Window    bool          // credit comes back by itself when a delivery is settled or returned: Credit (plus Grants) is then a bound on what is held, as AMQP's prefetch is
}

// Unlimited is a credit without bound.
const Unlimited = 1 << 62

// Stats are a queue's counters, exact at the moment its goroutine answered.
type Stats struct {
	Ready     int
	Unacked   int
	Consumers int
	Bytes     int64 // of the records that are ready or unacked
	Resident  int64 // of those, in memory
}
