package core

import (
	"context"
	"time"
)

// A stream is JetStream's own: a log of the messages on its subjects, in the tenant's account, where NATS clients see the same streams under the same names. What
// a Bus may do with it is what its identity may do over NATS: each call needs the permission to publish on the API subject that a NATS client would use for it
// ($JS.API.STREAM.CREATE.name and so on), and to read messages also that to subscribe to the subjects asked for.

// StreamConfig describes a stream.
type StreamConfig struct {
	Name            string        `json:"name"` // 1 to 255 bytes without blanks, dots, wildcards and slashes
	Description     string        `json:"description,omitempty"`
	Subjects        []string      `json:"subjects,omitempty"`         // patterns; none: the stream's name
	Retention       string        `json:"retention,omitempty"`        // "limits" (default), "interest", "workqueue"
	Storage         string        `json:"storage,omitempty"`          // "file" (default), "memory"
	Discard         string        `json:"discard,omitempty"`          // at a limit: "old" messages go (default), or "new" ones are refused
	MaxMessages     int64         `json:"max_messages,omitempty"`     // 0: no limit
	MaxPerSubject   int64         `json:"max_per_subject,omitempty"`  // 0: no limit
	MaxBytes        int64         `json:"max_bytes,omitempty"`        // 0: no limit
	MaxMessageSize  int32         `json:"max_message_size,omitempty"` // 0: the gateway's
	MaxAge          time.Duration `json:"max_age,omitempty"`          // 0: for ever
	DuplicateWindow time.Duration `json:"duplicate_window,omitempty"` // how long message ids are remembered; 0: 2 minutes, or MaxAge if that is less
	Replicas        int           `json:"replicas,omitempty"`         // 0: 1
}

// StreamInfo is a stream and what it holds.
type StreamInfo struct {
	Config        StreamConfig
	Created       time.Time
	Messages      uint64
	Bytes         uint64
	FirstSequence uint64 // of the oldest message; one more than LastSequence when there is none
	LastSequence  uint64 // of the newest message there ever was; 0: there was none
	LastTime      time.Time
	Consumers     int
	Subjects      uint64 // how many different ones its messages have
}

// StoredMessage is a message with its place in a stream.
type StoredMessage struct {
	Message
	Sequence uint64
	Time     time.Time // when it was stored
}

// PurgeOptions say what goes. The zero value: everything.
type PurgeOptions struct {
	Subject string // only messages that match this pattern
	Before  uint64 // only those below this sequence number; not together with Keep
	Keep    uint64 // all but the newest so many
}

// ReadOptions say where to read a stream, and how much.
type ReadOptions struct {
	From     uint64    // first sequence number; 0 and 1: the oldest there is
	Since    time.Time // if set: the first message stored then or later; not together with From
	Subjects []string  // patterns, any of which must match; none: all
	Limit    int       // messages, at least 1
	MaxBytes int       // about as many bytes of payload, but at least one message
}

// ConsumerConfig describes a pull consumer of a stream: a named place in it that is kept, with what was fetched and is not settled.
type ConsumerConfig struct {
	Name          string        `json:"name"`
	Description   string        `json:"description,omitempty"`
	Deliver       string        `json:"deliver,omitempty"` // "all" (default), "new", "last", "last_per_subject", "sequence", "time"
	Sequence      uint64        `json:"sequence,omitempty"`
	Time          time.Time     `json:"time,omitzero"`
	Subjects      []string      `json:"subjects,omitempty"`        // patterns; none: all
	AckWait       time.Duration `json:"ack_wait,omitempty"`        // how long a fetched message is lent; 0: 30 s
	MaxDeliver    int           `json:"max_deliver,omitempty"`     // 0: no limit
	MaxAckPending int           `json:"max_ack_pending,omitempty"` // lent at once; 0: 1000
	Inactive      time.Duration `json:"inactive,omitempty"`        // deleted when unused for so long; 0: never
}

// ConsumerInfo is a consumer and where it stands.
type ConsumerInfo struct {
	Stream      string
	Config      ConsumerConfig
	Created     time.Time
	Delivered   uint64    // the highest sequence number of the stream that was delivered
	AckFloor    uint64    // everything up to here is settled
	AckPending  int       // lent
	Redelivered int       // lent again
	Pending     uint64    // not delivered yet
	PausedUntil time.Time // zero: not paused
}

// Lent is a message that a consumer fetched and has to settle.
type Lent struct {
	StoredMessage
	Attempt uint64 // from 1
	Pending uint64 // messages behind it for this consumer
	Ticket  string // for SettleLent; names stream, consumer and delivery. Not secret and not proof of anything: a door seals it.
}

// StreamOutcome is what becomes of a lent message.
type StreamOutcome uint8

// The outcomes.
const (
	StreamAck    StreamOutcome = iota // done
	StreamNak                         // back, delivered again after a delay
	StreamTerm                        // never again
	StreamExtend                      // lent anew for AckWait from now
)

// CreateStream creates a stream, or finds the one of that name and those properties; created tells which. CodePreconditionFailed when it is there with others, or when its
// subjects overlap another stream's; CodeInvalid, CodePermissionDenied, CodeUnavailable. It is on disk when CreateStream returns.
func (b *Bus) CreateStream(ctx context.Context, cfg StreamConfig) (info StreamInfo, created bool, err error) {
	return StreamInfo{}, false, Errorf(CodeUnimplemented, "streams")
}

// UpdateStream changes the properties of a stream. CodeNotFound; CodeInvalid for what cannot change.
func (b *Bus) UpdateStream(ctx context.Context, cfg StreamConfig) (StreamInfo, error) {
	return StreamInfo{}, Errorf(CodeUnimplemented, "streams")
}

// Stream describes a stream. CodeNotFound.
func (b *Bus) Stream(ctx context.Context, name string) (StreamInfo, error) {
	return StreamInfo{}, Errorf(CodeUnimplemented, "streams")
}

// Streams lists the streams by name, those behind after, at most limit. Those of buckets and of the gateway itself are not among them.
func (b *Bus) Streams(ctx context.Context, after string, limit int) ([]StreamInfo, error) {
	return nil, Errorf(CodeUnimplemented, "streams")
}

// DeleteStream deletes a stream with everything in it. CodeNotFound.
func (b *Bus) DeleteStream(ctx context.Context, name string) error {
	return Errorf(CodeUnimplemented, "streams")
}

// PurgeStream removes messages and tells how many. CodeNotFound, CodeInvalid.
func (b *Bus) PurgeStream(ctx context.Context, name string, what PurgeOptions) (uint64, error) {
	return 0, Errorf(CodeUnimplemented, "streams")
}

// StreamMessage returns one message by its sequence number. CodeNotFound.
func (b *Bus) StreamMessage(ctx context.Context, name string, sequence uint64) (StoredMessage, error) {
	return StoredMessage{}, Errorf(CodeUnimplemented, "streams")
}

// LastStreamMessage returns the newest message of a subject. CodeNotFound.
func (b *Bus) LastStreamMessage(ctx context.Context, name, subject string) (StoredMessage, error) {
	return StoredMessage{}, Errorf(CodeUnimplemented, "streams")
}

// DeleteStreamMessage removes one message. CodeNotFound.
func (b *Bus) DeleteStreamMessage(ctx context.Context, name string, sequence uint64) error {
	return Errorf(CodeUnimplemented, "streams")
}

// ReadStream reads messages in order, without a consumer and without waiting: fewer than the limit when there are no more now. next is the sequence number to go on from.
func (b *Bus) ReadStream(ctx context.Context, name string, o ReadOptions) (messages []StoredMessage, next uint64, err error) {
	return nil, 0, Errorf(CodeUnimplemented, "streams")
}

// FollowStream calls deliver with the messages that match, from o.From (or o.Since) on, in order and each once, first those that are there, then those that come, until ctx
// ends (nil), deliver returns an error (that error), or the stream is gone (CodeNotFound). from 0 means: what comes from now on. If messages behind the place have been
// removed meanwhile, gap is called first with the sequence numbers from and to (both included) that are missing; it may be nil. Many may follow one stream at little cost:
// they share what has just been stored. o.Limit and o.MaxBytes are not used.
func (b *Bus) FollowStream(ctx context.Context, name string, o ReadOptions, deliver func([]StoredMessage) error, gap func(from, to uint64) error) error {
	return Errorf(CodeUnimplemented, "streams")
}

// StreamOf returns the name of the stream that keeps what is published on subject, "" if there is none. It waits for nothing.
func (b *Bus) StreamOf(subject string) string { return "" }

// CreateConsumer creates a pull consumer, or finds the one of that name and those properties. CodeNotFound without the stream, CodePreconditionFailed, CodeInvalid.
func (b *Bus) CreateConsumer(ctx context.Context, stream string, cfg ConsumerConfig) (info ConsumerInfo, created bool, err error) {
	return ConsumerInfo{}, false, Errorf(CodeUnimplemented, "streams")
}

// Consumer describes a consumer. CodeNotFound.
func (b *Bus) Consumer(ctx context.Context, stream, name string) (ConsumerInfo, error) {
	return ConsumerInfo{}, Errorf(CodeUnimplemented, "streams")
}

// Consumers lists a stream's consumers by name, those behind after, at most limit. CodeNotFound without the stream.
func (b *Bus) Consumers(ctx context.Context, stream, after string, limit int) ([]ConsumerInfo, error) {
	return nil, Errorf(CodeUnimplemented, "streams")
}

// DeleteConsumer deletes a consumer. CodeNotFound.
func (b *Bus) DeleteConsumer(ctx context.Context, stream, name string) error {
	return Errorf(CodeUnimplemented, "streams")
}

// PauseConsumer stops deliveries until then; the zero time resumes them. CodeNotFound.
func (b *Bus) PauseConsumer(ctx context.Context, stream, name string, until time.Time) (ConsumerInfo, error) {
	return ConsumerInfo{}, Errorf(CodeUnimplemented, "streams")
}

// Fetch lends up to max messages of at most about maxBytes, waiting up to wait for the first (0: not at all). What is on its way when ctx ends returns by itself after AckWait.
func (b *Bus) Fetch(ctx context.Context, stream, consumer string, max, maxBytes int, wait time.Duration) ([]Lent, error) {
	return nil, Errorf(CodeUnimplemented, "streams")
}

// SettleLent settles one lent message by its ticket and returns when the stream has it (for all but StreamExtend). CodePreconditionFailed when it is no longer lent, CodeInvalid for a
// ticket that is none. delay counts for StreamNak.
func (b *Bus) SettleLent(ctx context.Context, ticket string, what StreamOutcome, delay time.Duration) error {
	return Errorf(CodeUnimplemented, "streams")
}
