package core

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
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
	From     uint64    // first sequence number; 1: the oldest there is. 0: the same for ReadStream, and for FollowStream what comes from now on
	Since    time.Time // if set: the first message stored then or later; not together with From
	Subjects []string  // patterns, any of which must match; none: all
	Limit    int       // messages, at least 1
	MaxBytes int       // about as many bytes of payload, but at least one message

	Created time.Time // FollowStream only, if set: the stream must be the one that was created then, else CodeNotFound
	Holes   bool      // FollowStream only: every missing number is told as a gap (see there)
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
	s, err := b.onStream(mayCreateStream, cfg.Name)
	if err != nil {
		return StreamInfo{}, false, err
	}
	want, err := b.wanted(cfg)
	if err != nil {
		return StreamInfo{}, false, err
	}
	js := want.onto(jetstream.StreamConfig{MaxConsumers: -1, AllowDirect: true})
	found, created, err := s.ensure(ctx, js, "stream", cfg.Name, func(js *jetstream.StreamConfig) string {
		there := configOfStream(js)
		return want.differs(&there)
	})
	if err != nil {
		return StreamInfo{}, false, err
	}
	return infoOf(found), created, nil
}

// wanted checks what a stream is to be and fills in the defaults.
func (b *Bus) wanted(cfg StreamConfig) (StreamConfig, error) {
	if ofBucket(cfg.Name) {
		return cfg, Errorf(CodeInvalid, "stream name %q: those that begin with %s and %s belong to buckets", cfg.Name, bucketPrefix, objectPrefix)
	}
	cfg, err := cfg.normal()
	if err != nil {
		return cfg, err
	}
	return cfg, b.checkSubjects(&cfg)
}

// UpdateStream changes the properties of a stream to these: what cfg leaves out is the default again. CodeNotFound; CodeInvalid for what cannot change.
func (b *Bus) UpdateStream(ctx context.Context, cfg StreamConfig) (StreamInfo, error) {
	s, err := b.onStream(mayUpdateStream, cfg.Name)
	if err != nil {
		return StreamInfo{}, err
	}
	want, err := b.wanted(cfg)
	if err != nil {
		return StreamInfo{}, err
	}
	info, err := s.alter(ctx, cfg.Name, want.onto)
	if err != nil {
		return StreamInfo{}, err
	}
	return infoOf(info), nil
}

// Stream describes a stream. CodeNotFound.
func (b *Bus) Stream(ctx context.Context, name string) (StreamInfo, error) {
	s, err := b.onStream(mayReadConfig, name)
	if err != nil {
		return StreamInfo{}, err
	}
	info, err := s.streamInfo(ctx, name)
	if err != nil {
		return StreamInfo{}, err
	}
	return infoOf(info), nil
}

// Streams lists the streams by name, those behind after, at most limit (1 to 1000). Those of buckets and of the gateway itself are not among them.
func (b *Bus) Streams(ctx context.Context, after string, limit int) ([]StreamInfo, error) {
	infos, err := b.listStreams(ctx, after, limit, func(name string) bool { return !ownStream(name) && !ofBucket(name) })
	if err != nil {
		return nil, err
	}
	out := make([]StreamInfo, len(infos))
	for i, info := range infos {
		out[i] = infoOf(info)
	}
	return out, nil
}

// listStreams describes the streams that keep wants.
func (b *Bus) listStreams(ctx context.Context, after string, limit int, keep func(string) bool) ([]*jetstream.StreamInfo, error) {
	s, err := b.jetStream(mayListStreams)
	if err != nil {
		return nil, err
	}
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	names, err := s.streamNames(ctx)
	if err != nil {
		return nil, err
	}
	return s.list(ctx, behind(names, after, limit, keep))
}

// DeleteStream deletes a stream with everything in it. CodeNotFound.
func (b *Bus) DeleteStream(ctx context.Context, name string) error {
	s, err := b.onStream(mayDeleteStream, name)
	if err != nil {
		return err
	}
	return s.remove(ctx, name)
}

// PurgeStream removes messages and tells how many. CodeNotFound, CodeInvalid.
func (b *Bus) PurgeStream(ctx context.Context, name string, what PurgeOptions) (uint64, error) {
	s, err := b.onStream(mayPurgeStream, name)
	if err != nil {
		return 0, err
	}
	if what.Before > 0 && what.Keep > 0 {
		return 0, Errorf(CodeInvalid, "before and keep exclude each other")
	}
	if what.Subject != "" {
		if err := checkPattern(what.Subject); err != nil {
			return 0, err
		}
	}
	purged, err := s.purge(ctx, name, what)
	if err != nil {
		return 0, err
	}
	return purged, s.synced(ctx)
}

// purge removes messages.
func (s *streams) purge(ctx context.Context, name string, what PurgeOptions) (uint64, error) {
	request := struct {
		Filter   string `json:"filter,omitempty"`
		Sequence uint64 `json:"seq,omitempty"`
		Keep     uint64 `json:"keep,omitempty"`
	}{what.Subject, what.Before, what.Keep}
	var answer struct {
		Purged uint64 `json:"purged"`
	}
	if err := s.ask(ctx, "STREAM.PURGE."+name, request, &answer); err != nil {
		return 0, named(err, "stream", name)
	}
	return answer.Purged, nil
}

// StreamMessage returns one message by its sequence number. CodeNotFound.
func (b *Bus) StreamMessage(ctx context.Context, name string, sequence uint64) (StoredMessage, error) {
	s, err := b.onStream(mayReadStream, name)
	if err != nil {
		return StoredMessage{}, err
	}
	if sequence == 0 {
		return StoredMessage{}, Errorf(CodeInvalid, "sequence 0: the first one is 1")
	}
	m, err := s.get(ctx, name, getRequest{Sequence: sequence})
	if err != nil {
		return StoredMessage{}, err
	}
	if err := b.may(maySee, m.Subject); err != nil {
		return StoredMessage{}, err
	}
	return m, nil
}

// LastStreamMessage returns the newest message of a subject. CodeNotFound.
func (b *Bus) LastStreamMessage(ctx context.Context, name, subject string) (StoredMessage, error) {
	if err := checkSubject(subject); err != nil {
		return StoredMessage{}, err
	}
	s, err := b.onStream(mayReadLast, name, subject)
	if err != nil {
		return StoredMessage{}, err
	}
	if err := b.may(maySee, subject); err != nil {
		return StoredMessage{}, err
	}
	return s.get(ctx, name, getRequest{LastOf: subject})
}

// DeleteStreamMessage removes one message. CodeNotFound.
func (b *Bus) DeleteStreamMessage(ctx context.Context, name string, sequence uint64) error {
	s, err := b.onStream(mayDeleteMessage, name)
	if err != nil {
		return err
	}
	request := struct {
		Sequence uint64 `json:"seq"`
		NoErase  bool   `json:"no_erase"`
	}{sequence, true}
	err = s.ask(ctx, "STREAM.MSG.DELETE."+name, request, nil)
	switch {
	case isAPIError(err, 10057): // what the server says of a message that is not there
		return Errorf(CodeNotFound, "stream %q has no message %d, or does not let it be deleted", name, sequence)
	case err != nil:
		return named(err, "stream", name)
	}
	return s.synced(ctx)
}
