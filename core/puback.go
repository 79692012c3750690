package core

import (
	"context"
	"encoding/json"
	"errors"
	mathrand "math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// What a door publishes on a stream's subject is acknowledged by the stream: the live copy travels with an inbox of ours as its reply subject, and the publisher hears what comes there,
// once that is on disk. The inboxes are those of requests, with a mark. Subscribers of doors do not see them (see shownReply). NATS clients do, as they see the inboxes of
// each other's publishes to streams; an inbox counts once, and only for what a stream would say.
const (
	ackMark     = "ack-"
	maxAcks     = 1 << 16         // publishes of a tenant that wait for streams, or for the disk
	ackPatience = 5 * time.Second // what a stream has for its acknowledgement
)

var errManyAcks = errors.New("too many unacknowledged publishes")

// shownReply is what a subscriber of a door may see of a reply subject: not where a stream acknowledges.
func shownReply(reply string) string {
	if strings.HasPrefix(reply, ownInboxes) && strings.Contains(reply[len(ownInboxes):], "."+ackMark) {
		return ""
	}
	return reply
}

// pubAck is what a stream says of a message.
type pubAck struct {
	Stream    string              `json:"stream"`
	Sequence  uint64              `json:"seq"`
	Duplicate bool                `json:"duplicate"`
	Error     *jetstream.APIError `json:"error"`
}

// parsePubAck reads an acknowledgement; false: it is none.
func parsePubAck(data []byte) (a pubAck, ok bool) {
	if json.Unmarshal(data, &a) != nil || a.Stream == "" || (a.Error == nil) == (a.Sequence == 0) {
		return pubAck{}, false
	}
	return a, true
}

// failure is the error in a, nil if the stream keeps the message.
func (a *pubAck) failure() error {
	switch e := a.Error; {
	case e == nil:
		return nil
	case e.ErrorCode == 10077 && strings.HasPrefix(e.Description, "maximum "): // store failed: messages, bytes or messages per subject
		return &Error{Code: CodeResourceExhausted, Detail: e.Description, Err: e}
	case e.ErrorCode == 10158: // the first message of that name is being stored
		return &Error{Code: CodeUnavailable, Detail: e.Description, Err: e}
	default:
		return apiError(e)
	}
}

// acks are the publishes that wait for a stream's acknowledgement.
type acks struct {
	// guarded by mu
	mu          sync.Mutex
	waiting     map[uint64]*ackWait
	first, last *ackWait // of waiting, in the order of their deadlines
	open        int      // waiting, or acknowledged and not on disk yet
	timer       *time.Timer
}

// ackWait is one of them.
type ackWait struct {
	number         uint64
	until          time.Time
	done           func(pubAck, error)
	earlier, later *ackWait
}

// expect returns the tail of a new inbox, below the tenant's prefix. done is called once, with what the stream says or CodeUnavailable when it says nothing in time; it must not block,
// and is to be followed by settle. CodeResourceExhausted.
func (a *acks) expect(done func(pubAck, error)) (tail string, number uint64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open >= maxAcks {
		return "", 0, &Error{Code: CodeResourceExhausted, Detail: "too many messages wait for streams: try again", Err: errManyAcks}
	}
	if a.waiting == nil {
		a.waiting = map[uint64]*ackWait{}
	}
	for number = mathrand.Uint64(); a.waiting[number] != nil; number++ {
	}
	w := &ackWait{number: number, until: time.Now().Add(ackPatience), done: done, earlier: a.last}
	if a.last == nil {
		a.first = w
	} else {
		a.last.later = w
	}
	a.last, a.waiting[number] = w, w
	a.open++
	if a.timer == nil {
		a.timer = time.AfterFunc(ackPatience, a.expire)
	}
	return ackMark + strconv.FormatUint(number, 36), number, nil
}

// take returns who waits under a number and forgets it; nil if nobody does.
func (a *acks) take(number uint64) *ackWait {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.waiting[number]
	if w != nil {
		a.remove(w)
	}
	return w
}

// remove takes w out. The caller holds mu.
func (a *acks) remove(w *ackWait) {
	delete(a.waiting, w.number)
	if w.earlier == nil {
		a.first = w.later
	} else {
		w.earlier.later = w.later
	}
	if w.later == nil {
		a.last = w.earlier
	} else {
		w.later.earlier = w.earlier
	}
}

// settle makes room for another publish.
func (a *acks) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
}

// arrived takes what came to an inbox; what no stream would say is passed over.
func (a *acks) arrived(tail string, data []byte) {
	number, err := strconv.ParseUint(tail, 36, 64)
	if err != nil {
		return
	}
	ack, ok := parsePubAck(data)
	if !ok {
		return
	}
	if w := a.take(number); w != nil {
		w.done(ack, ack.failure())
	}
}

// expire tells those whose time is over.
func (a *acks) expire() {
	var late []*ackWait
	a.mu.Lock()
	now := time.Now()
	for a.first != nil && !now.Before(a.first.until) {
		late = append(late, a.first)
		a.remove(a.first)
	}
	a.timer = nil
	if a.first != nil {
		a.timer = time.AfterFunc(a.first.until.Sub(now), a.expire)
	}
	a.mu.Unlock()
	for _, w := range late {
		w.done(pubAck{}, Errorf(CodeUnavailable, "the stream does not answer"))
	}
}

// publishToStream hands the live copy of m to the server and calls done once with what the stream says, when that is on disk. done may come before it returns, and must not block.
func (t *tenant) publishToStream(m *Message, mayWait bool, done func(pubAck, error)) {
	waiting := &t.requests.acks
	tail, number, err := waiting.expect(func(a pubAck, err error) {
		tell := func(synced error) {
			waiting.settle()
			done(a, errors.Join(err, synced))
		}
		if err != nil {
			tell(nil)
			return
		}
		t.synced.wait(t.gateway.store.Sync, tell)
	})
	if err != nil {
		done(pubAck{}, err)
		return
	}
	if err := t.publishCopy(m, t.requests.prefix+tail, mayWait); err != nil && waiting.take(number) != nil {
		waiting.settle()
		done(pubAck{}, err)
	}
}

// syncs lets one sync of the disk do for all who wait. The zero value is ready.
type syncs struct {
	// guarded by mu
	mu      sync.Mutex
	waiting []func(error)
	running bool
}

// wait calls done, from a goroutine of its own, when what has been written before is on disk, or CodeUnavailable. sync must return when the disk is given up.
func (s *syncs) wait(sync func(context.Context) error, done func(error)) {
	s.mu.Lock()
	s.waiting = append(s.waiting, done)
	start := !s.running
	s.running = true
	s.mu.Unlock()
	if start {
		go s.run(sync)
	}
}

// run syncs until nobody waits.
func (s *syncs) run(sync func(context.Context) error) {
	for {
		s.mu.Lock()
		batch := s.waiting
		s.waiting, s.running = nil, len(batch) > 0
		s.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		err := sync(context.Background())
		if err != nil {
			err = &Error{Code: CodeUnavailable, Detail: "the disk did not take the message", Err: err}
		}
		for _, done := range batch {
			done(err)
		}
	}
}

// streamOf is Bus.StreamOf.
func (t *tenant) streamOf(subject string) string { return (&Bus{tenant: t}).StreamOf(subject) }
