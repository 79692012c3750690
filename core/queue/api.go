package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Errors of the engine. The core maps them to its codes.
var (
	ErrClosed   = errors.New("queue closed")                    // the gateway is stopping, or the queue has lost its log to another owner
	ErrDeleted  = errors.New("queue deleted")                   // somebody deleted it
	ErrStale    = errors.New("delivery is no longer held")      // settled already, its lease ran out, or it went to another consumer
	ErrFenced   = errors.New("another owner writes this log")   // the log refused an append: this owner steps down
	ErrFull     = errors.New("queue memory is full")            // see Config.Budget
	ErrInUse    = errors.New("queue is exclusively consumed")   // an exclusive consumer is there, or one is asked for beside others or with Config.SingleActive
	ErrNotEmpty = errors.New("queue is not empty")              // Delete with ifEmpty
	ErrOverflow = errors.New("queue has reached its limit")     // see Rules.Overflow
	ErrCorrupt  = errors.New("queue log entry is not readable") // bad version, checksum or length
	ErrStream   = errors.New("not possible with a stream")      // nothing is taken from a stream, so nothing returns to it: see Config.Stream
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

// Record is what is appended.
type Record struct {
	Data     []byte // belongs to the queue from then on, must not be changed and may be shared with other queues
	TTL      Bound  // milliseconds that it may wait, beside Rules.TTL
	Priority uint8  // counts in queues with priorities; above Config.MaxPriority is that
	ID       ID     // if set: of the records with this ID that come within Config.Remember the queue keeps the first, and refuses the others with ErrDuplicate
}

// Bound is a number that may be missing: the zero value is no bound.
type Bound struct {
	Set bool
	N   int64
}

// AtMost returns the bound n.
func AtMost(n int64) Bound { return Bound{Set: true, N: n} }

// MarshalJSON implements json.Marshaler: null is no bound.
func (b Bound) MarshalJSON() ([]byte, error) {
	if !b.Set {
		return []byte("null"), nil
	}
	return strconv.AppendInt(nil, b.N, 10), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bound) UnmarshalJSON(text []byte) (err error) {
	*b = Bound{Set: string(text) != "null"}
	if b.Set {
		err = json.Unmarshal(text, &b.N)
	}
	return err
}

// Publisher is told what became of the records it appended. It is compared with ==: use a pointer.
type Publisher interface {
	// Appended reports that the records with these tags are kept (err nil) or are not (err says why). It is called from the
	// queue's goroutine and must not block; tags is valid during the call only. ErrDuplicate says that others with the same ID are kept, as durably as the queue
	// promises: nothing is wrong.
	Appended(tags []uint64, err error)
}

// Handle names one delivery of one record: a settlement for an earlier attempt is stale.
type Handle struct {
	Seq     uint64 // the record's number in its queue, from 1
	Attempt uint32 // how often it had been delivered when this delivery was made, from 1; of a stream always 1
	reader  uint32 // of a stream: the consumer's id
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
	DeliveryLimit               // delivered Rules.MaxDeliveries times and requeued once more
	Expired                     // its time to live was over when its turn came
	MaxLength                   // the queue had reached Rules.MaxLength or MaxBytes
)

// String returns RabbitMQ's word for the reason.
func (r Reason) String() string {
	return [...]string{"rejected", "delivery_limit", "expired", "maxlen"}[r]
}

// Dead is a record that leaves its queue without having been acknowledged.
type Dead struct {
	Record   []byte
	Reason   Reason
	Seq      uint64 // 0: it was refused, see RejectPublishDLX
	Count    uint32 // deliveries made
	Priority uint8
}

// Config says how a queue behaves.
type Config struct {
	Rules
	Name        string
	MaxPriority uint8 // records of a higher priority come first, up to this one; 0: order alone counts
	ByExpiry    bool  // records stand in the order in which they expire, whenever they came. Not with MaxPriority.
	// Stream makes a log that is read and not emptied: records stay until MaxBytes or MaxAge drops them, and every consumer reads from a place of its own (its Offset) what
	// has been written. Settlements give credit back and nothing else. It needs a Log. There is no Get, Holder, Purge and Extend, no consumer with AutoAck or a Lease: ErrStream.
	// Priorities and times to live, of consumers and records, mean nothing, nor do the other rules.
	Stream       bool
	SingleActive bool               // only the consumer that came first gets deliveries; when it goes, of those of the highest priority the one that came first
	Weigh        func(d []byte) int // bytes of a record as Rules.MaxBytes counts them (nil: all). Called from the queue's goroutine and by Open, must not block.
	Budget       *Budget            // nil: unbounded. Memory for records, shared by the queues of a node.
	Remember     time.Duration      // how long the ID of a record is remembered from when the record is kept; 0: 2 minutes. Restarts included, unless the queue is in memory.
	Resident     int64              // bytes of records a durable queue may keep in memory; 0: 32 MiB
	Idle         func()             // called in a goroutine of its own when the last consumer has gone (nil: not)
	Unused       func()             // likewise when nobody has used the queue for Rules.Expires; again after as long
	Observe      func(Event, int)   // counts events for the metrics (nil: not); called from the queue's goroutine, must not block
	Now          func() time.Time   // nil: time.Now
}

// Rules are the part of a Config that may change while the queue lives; see Queue.Govern.
type Rules struct {
	MaxDeliveries uint32                         // 0: no limit. A record that has been delivered so often dies instead of being requeued.
	DeadLetter    func(d Dead, done func(error)) // nil: dead records are removed. Must not block; done must be called, from any goroutine: Close waits for it. After an error it is tried again.
	TTL           Bound                          // milliseconds that a record may wait from its append on. It dies when it is over and its turn has come.
	MaxLength     Bound                          // ready records
	MaxBytes      Bound                          // of ready records, as Config.Weigh has it; of a stream, all bytes of its records: above it the first chunks go, but never the last one
	MaxAge        Bound                          // milliseconds. Chunks of a stream that were written so long ago go, but never the last one.
	Overflow      Overflow                       // what happens above MaxLength and MaxBytes
	Expires       time.Duration                  // Config.Unused is called after so long without consumers, Get, Touch and Govern; 0: never
}

// Overflow is what a queue does when it has reached MaxLength or MaxBytes.
type Overflow uint8

// The overflows, RabbitMQ's.
const (
	DropHead         Overflow = iota // the first records die until it fits, the new one last
	RejectPublish                    // the new one is refused with ErrOverflow
	RejectPublishDLX                 // likewise, and it goes to the dead letters before its publisher is told, whether they take it or not
)

// String returns RabbitMQ's word for the overflow.
func (o Overflow) String() string {
	return [...]string{"drop-head", "reject-publish", "reject-publish-dlx"}[o]
}

// MarshalText implements encoding.TextMarshaler.
func (o Overflow) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *Overflow) UnmarshalText(text []byte) error {
	for _, x := range []Overflow{DropHead, RejectPublish, RejectPublishDLX} {
		if x.String() == string(text) {
			*o = x
			return nil
		}
	}
	return fmt.Errorf("overflow %q: want drop-head, reject-publish or reject-publish-dlx", text)
}

// Event is something worth counting.
type Event uint8

// The events.
const (
	EventAppended Event = iota
	EventDelivered
	EventRedelivered
	EventAcked
	EventDead // died of whatever Reason; see Dead
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
	// Gone is called once if the queue ends (deleted, closed, fenced) before the consumer does, or Revoke ends it. Must not block.
	Gone func(error)
	// Left is called once when the consumer ends, whatever the reason, from the queue's goroutine. Must not block.
	Left      func()
	Offset    Offset        // where in a stream it begins
	AutoAck   bool          // settled by being delivered; each delivery uses up credit for good, Window or not
	Exclusive bool          // alone, or ErrInUse
	Priority  int           // consumers of a lower one get what those of a higher one cannot take
	Lease     time.Duration // 0: deliveries are held until settled. Else they return to the queue after so long, unless extended.
	Credit    int           // deliveries allowed before any Grant; Unlimited for no bound
	Window    bool          // credit comes back by itself when a delivery is settled or returned: Credit (plus Grants) is then a bound on what is held, as AMQP's prefetch is
}

// Unlimited is a credit without bound.
const Unlimited = 1 << 62

// Stats are a queue's counters, exact at the moment its goroutine answered.
type Stats struct {
	Ready     int
	Unacked   int // of a stream 0
	Dying     int // on their way to the dead letters
	Consumers int
	Bytes     int64 // of the records that are ready or unacked
	Resident  int64 // of those, in memory
}
