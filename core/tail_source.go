package core

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	tailHeartbeat = 5 * time.Second // of the consumer when it has nothing
	tailPatience  = 3 * tailHeartbeat
	tailPause     = 50 * time.Millisecond // before the source starts again; and between looks at a work queue
	tailInactive  = 30 * time.Second      // after which the server removes a consumer that nobody listens to
)

var errTailBroken = errors.New("the consumer of a tail has lost messages or is silent")

// run feeds the ring until nobody follows or the stream is gone.
func (t *tail) run(ctx context.Context) {
	for {
		err := t.session(ctx)
		if ctx.Err() != nil {
			t.end(Errorf(CodeUnavailable, "the gateway is stopping"))
			return
		}
		if AsError(err).Code == CodeNotFound {
			t.end(err)
			return
		}
		t.streams.gateway.log.Debug("tail starts again", "stream", t.stream, "err", err)
		select {
		case <-time.After(tailPause):
		case <-ctx.Done():
		}
	}
}

// session finds out where the stream stands and feeds the ring from there until something is wrong.
func (t *tail) session(ctx context.Context) error {
	info, err := t.streams.streamInfo(ctx, t.stream)
	if err != nil {
		return err
	}
	if err := t.begin(info.Created, info.State.FirstSeq, info.State.LastSeq); err != nil {
		return err
	}
	if info.Config.Retention == jetstream.WorkQueuePolicy {
		return t.poll(ctx)
	}
	err = t.consume(ctx)
	switch AsError(err).Code {
	case CodeInvalid, CodePreconditionFailed, CodeResourceExhausted: // the stream takes no consumer like ours, or no more of them
		return t.poll(ctx)
	}
	return err
}

// poll reads a stream again and again. So are work queues, where a consumer would take part in who gets the messages.
func (t *tail) poll(ctx context.Context) error {
	for ctx.Err() == nil {
		b, err := t.streams.read(ctx, t.stream, getRequest{Sequence: t.reach() + 1, Batch: maxReadBatch, MaxBytes: 1 << 20})
		if err != nil {
			return err
		}
		for _, m := range b.messages {
			if err := t.store(ctx, m); err != nil {
				return err
			}
		}
		if b.pending > 0 && len(b.messages) > 0 {
			continue
		}
		select {
		case <-time.After(tailPause):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// store adds a message, having found out whether others before it went unseen.
func (t *tail) store(ctx context.Context, m StoredMessage) error {
	gone := false
	if next := t.reach() + 1; m.Sequence > next { // removed one by one, or all that there were up to here
		info, err := t.streams.streamInfo(ctx, t.stream)
		if err != nil {
			return err
		}
		gone = info.State.FirstSeq > next
	}
	t.add(m, gone)
	return nil
}

// feed is a push consumer without acknowledgements that is replaced as soon as it misses something.
type feed struct {
	tail     *tail
	ctx      context.Context
	sequence uint64      // of the consumer's last delivery; owned by the subscription's goroutine
	broken   chan error  // has room for one
	alive    chan string // something came
}

// consume feeds the ring from a consumer.
func (t *tail) consume(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &feed{tail: t, ctx: ctx, broken: make(chan error, 1), alive: make(chan string, 1)}
	inbox := t.streams.nc.NewInbox()
	sub, err := t.streams.nc.Subscribe(inbox, f.arrived)
	if err != nil {
		return busError(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	name := ownConsumers + strings.TrimPrefix(inbox, inboxes)
	request := jetstream.ConsumerConfig{
		Name: name, DeliverSubject: inbox, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: t.reach() + 1, AckPolicy: jetstream.AckNonePolicy,
		MaxDeliver: 1, FlowControl: true, IdleHeartbeat: tailHeartbeat, InactiveThreshold: tailInactive, MemoryStorage: true, Replicas: 1,
	}
	if err := t.streams.createConsumer(ctx, t.stream, request, "create"); err != nil {
		return err
	}
	defer t.streams.dropConsumer(t.stream, name)
	return f.watch()
}

// watch returns when the consumer is of no use any more.
func (f *feed) watch() error {
	silence := time.NewTimer(tailPatience)
	defer silence.Stop()
	for {
		select {
		case <-f.alive:
			silence.Reset(tailPatience)
		case err := <-f.broken:
			return err
		case <-silence.C:
			return errTailBroken
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

// arrived takes what the consumer sends: messages, heartbeats, and requests to say that we keep up.
func (f *feed) arrived(m *nats.Msg) {
	if f.ctx.Err() != nil || len(f.broken) > 0 {
		return
	}
	select {
	case f.alive <- "":
	default:
	}
	if err := f.take(m); err != nil {
		select {
		case f.broken <- err:
		default:
		}
	}
}

func (f *feed) take(m *nats.Msg) error {
	if len(m.Data) == 0 && m.Header.Get("Status") != "" && !strings.HasPrefix(m.Reply, ackPrefix) {
		return f.control(m)
	}
	place, ok := parseTicket(m.Reply)
	if !ok || place.delivery != f.sequence+1 {
		return errTailBroken
	}
	f.sequence = place.delivery
	h := Header(m.Header)
	if len(h) == 0 {
		h = nil
	}
	return f.tail.store(f.ctx, StoredMessage{
		Message: Message{Subject: m.Subject, Header: withoutInternal(h), Data: m.Data}, Sequence: place.sequence, Time: place.time,
	})
}

// control answers what is not a message.
func (f *feed) control(m *nats.Msg) error {
	if m.Header.Get("Status") != "100" {
		return errTailBroken
	}
	if m.Reply != "" {
		return m.Respond(nil)
	}
	if stalled := m.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		return f.tail.streams.nc.Publish(stalled, nil)
	}
	if last := m.Header.Get("Nats-Last-Consumer"); last != "" && last != strconv.FormatUint(f.sequence, 10) {
		return errTailBroken
	}
	return nil
}
