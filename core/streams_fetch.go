package core

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	maxFetch      = 1000    // messages of one fetch
	maxFetchBytes = 8 << 20 // of about so many bytes
	maxFetchWait  = time.Hour
	fetchAgain    = 20 * time.Millisecond  // between requests while others wait for the same messages
	fetchLate     = 200 * time.Millisecond // beyond the wait, after which the consumer is looked at
	fetchGrace    = 3 * time.Second        // for the server's last word then
)

// Fetch lends up to max messages (1 to 1000) of at most about maxBytes (0 or above 8 MiB: 8 MiB; one message always fits), waiting up to wait (at most an hour) for the first (0: not at all).
// When ctx ends meanwhile nothing is lent: what had come already goes back at once, and is counted as delivered once more. Errors: ctx's, CodeNotFound, CodeInvalid,
// CodePreconditionFailed (not a pull consumer), CodeResourceExhausted (too many wait already), CodePermissionDenied (also when a message comes that this identity may not see: then all that came go
// back), CodeUnavailable.
func (b *Bus) Fetch(ctx context.Context, stream, consumer string, max, maxBytes int, wait time.Duration) ([]Lent, error) {
	s, err := b.onConsumer(mayFetch, stream, consumer)
	if err != nil {
		return nil, err
	}
	switch {
	case max < 1 || max > maxFetch:
		return nil, Errorf(CodeInvalid, "max %d: want 1 to %d", max, maxFetch)
	case wait < 0 || wait > maxFetchWait:
		return nil, Errorf(CodeInvalid, "wait %v: want 0 to %v", wait, maxFetchWait)
	case maxBytes < 0:
		return nil, Errorf(CodeInvalid, "max_bytes %d: it cannot be negative", maxBytes)
	case maxBytes == 0 || maxBytes > maxFetchBytes:
		maxBytes = maxFetchBytes
	}
	f := &fetch{streams: s, subject: apiPrefix + "CONSUMER.MSG.NEXT." + stream + "." + consumer, stream: stream, consumer: consumer, seen: b.sight()}
	return f.run(ctx, pullRequest{Batch: max, MaxBytes: maxBytes, NoWait: true}, time.Now().Add(wait))
}

// pullRequest is what the server is asked for. With NoWait it sends what there is; with Expires too, it waits for the first so long.
type pullRequest struct {
	Batch    int           `json:"batch"`
	MaxBytes int           `json:"max_bytes,omitempty"`
	NoWait   bool          `json:"no_wait,omitempty"`
	Expires  time.Duration `json:"expires,omitempty"`
}

// fetch is one call of Fetch. It belongs to its goroutine.
type fetch struct {
	streams                   *streams
	subject, stream, consumer string
	seen                      *sight
}

// run asks until there is something, or the time is over.
func (f *fetch) run(ctx context.Context, request pullRequest, deadline time.Time) ([]Lent, error) {
	for {
		if request.Expires = time.Until(deadline).Truncate(time.Millisecond); request.Expires < 10*time.Millisecond {
			request.Expires = 0
		}
		lent, end, err := f.ask(ctx, request)
		if err != nil || len(lent) > 0 {
			return lent, err
		}
		switch {
		case end == endTooLarge && request.MaxBytes > 0:
			request.Batch, request.MaxBytes = 1, 0 // one message always fits
			continue
		case request.Expires == 0:
			return nil, nil
		}
		select {
		case <-time.After(fetchAgain):
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.streams.ctx.Done():
			return nil, Errorf(CodeUnavailable, "the gateway is stopping")
		}
	}
}

// How a request ends.
type pullEnd uint8

const (
	endNone     pullEnd = iota // the messages are there
	endEmpty                   // no more now
	endTooLarge                // the next message is too large
)

// ask makes one request and collects what comes for it.
func (f *fetch) ask(ctx context.Context, request pullRequest) ([]Lent, pullEnd, error) {
	body, err := encodeRequest(request)
	if err != nil {
		return nil, endNone, err
	}
	in := &intake{wake: make(chan struct{}, 1)}
	inbox := f.streams.nc.NewInbox()
	sub, err := f.streams.nc.Subscribe(inbox, in.arrived)
	if err != nil {
		return nil, endNone, busError(err)
	}
	if err := f.streams.nc.PublishRequest(f.subject, inbox, body); err != nil {
		_ = sub.Unsubscribe()
		return nil, endNone, busError(err)
	}
	got, end, err := f.collect(ctx, in, request)
	if err == nil && slices.ContainsFunc(got, func(m *nats.Msg) bool { return !f.seen.may(m.Subject) }) {
		err = Errorf(CodePermissionDenied, "consumer %q has messages that may not be read", f.consumer)
	}
	if err != nil {
		in.giveBack()
		_ = sub.Drain() // what is on its way still comes, and goes back
		if errors.Is(err, errPaused) {
			return nil, endEmpty, nil
		}
		return nil, endNone, err
	}
	_ = sub.Unsubscribe()
	lent, err := f.open(got)
	return lent, end, err
}

// errPaused says that a consumer does not answer because it is paused.
var errPaused = errors.New("paused")

// collect waits until the request has ended.
func (f *fetch) collect(ctx context.Context, in *intake, request pullRequest) ([]*nats.Msg, pullEnd, error) {
	late := time.NewTimer(request.Expires + fetchLate)
	defer late.Stop()
	for asked := false; ; {
		messages, status := in.look()
		if len(messages) >= request.Batch {
			return messages, endNone, nil
		}
		if status != nil {
			end, err := f.judge(status)
			if len(messages) > 0 {
				err = nil // the next fetch is told
			}
			return messages, end, err
		}
		select {
		case <-in.wake:
		case <-ctx.Done():
			return nil, endNone, ctx.Err()
		case <-f.streams.ctx.Done():
			return nil, endNone, Errorf(CodeUnavailable, "the gateway is stopping")
		case <-late.C:
			if asked {
				return nil, endNone, Errorf(CodeUnavailable, "consumer %q does not answer", f.consumer)
			}
			if info, err := f.streams.consumerInfo(ctx, f.stream, f.consumer); err != nil || info.Paused {
				return nil, endNone, cmp.Or(err, errPaused)
			}
			asked = true
			late.Reset(fetchGrace)
		}
	}
}

// judge says what the status that ends a request means.
func (f *fetch) judge(status *nats.Msg) (pullEnd, error) {
	code, text := status.Header.Get("Status"), strings.ToLower(status.Header.Get("Description"))
	switch {
	case code == "404" || code == "408":
		return endEmpty, nil
	case strings.Contains(text, "message size exceeds"), strings.Contains(text, "maxbytes") && !strings.Contains(text, "maxrequest"):
		return endTooLarge, nil
	case code == "503", strings.Contains(text, "consumer deleted"), strings.Contains(text, "stream deleted"):
		return endNone, Errorf(CodeNotFound, "there is no consumer %q of a stream %q", f.consumer, f.stream)
	case strings.Contains(text, "push based"):
		return endNone, Errorf(CodePreconditionFailed, "consumer %q is not a pull consumer", f.consumer)
	case strings.Contains(text, "maxwaiting"):
		return endNone, Errorf(CodeResourceExhausted, "too many wait for consumer %q already", f.consumer)
	case code == "400" || strings.Contains(text, "maxrequest"):
		return endNone, Errorf(CodeInvalid, "consumer %q: %s", f.consumer, text)
	}
	return endNone, &Error{Code: CodeUnavailable, Detail: "the consumer does not deliver now", Err: errors.New(code + " " + text)}
}

// open makes lent messages of what came.
func (f *fetch) open(got []*nats.Msg) ([]Lent, error) {
	lent := make([]Lent, 0, len(got))
	for _, m := range got {
		t, ok := parseTicket(m.Reply)
		if !ok {
			return nil, &Error{Code: CodeInternal, Detail: "internal error", Err: errors.New("delivery without a place")}
		}
		h := Header(m.Header)
		if len(h) == 0 {
			h = nil
		}
		lent = append(lent, Lent{
			StoredMessage: StoredMessage{Message: Message{Subject: m.Subject, Header: withoutInternal(h), Data: m.Data}, Sequence: t.sequence, Time: t.time},
			Attempt:       t.attempt, Pending: t.pending, Ticket: m.Reply,
		})
	}
	return lent, nil
}

// intake is where a request's messages arrive, until nobody wants them any more; then they go back at once.
type intake struct {
	wake chan struct{}

	// guarded by mu
	mu       sync.Mutex
	messages []*nats.Msg
	status   *nats.Msg
	over     bool
}

func (in *intake) arrived(m *nats.Msg) {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case !strings.HasPrefix(m.Reply, ackPrefix):
		if m.Header.Get("Status") != "100" {
			in.status = m
		}
	case in.over:
		_ = m.Respond([]byte("-NAK"))
	default:
		in.messages = append(in.messages, m)
	}
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

func (in *intake) look() ([]*nats.Msg, *nats.Msg) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.messages, in.status
}

// giveBack returns what has come, and what comes from now on.
func (in *intake) giveBack() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.over = true
	for _, m := range in.messages {
		_ = m.Respond([]byte("-NAK"))
	}
	in.messages = nil
}

// SettleLent settles one lent message by its ticket and returns when the stream has it (for all but StreamExtend). JetStream writes down what a consumer knows some 100 ms later: after a
// crash what was settled just before may be lent once more. CodePreconditionFailed when it is no longer lent, as far as the consumer
// can tell: it knows up to where everything is settled, and takes what comes late as if it were in time. CodeInvalid for a ticket that is none. delay counts for StreamNak.
func (b *Bus) SettleLent(ctx context.Context, ticket string, what StreamOutcome, delay time.Duration) error {
	return b.SettleAllLent(ctx, []string{ticket}, what, delay)[0]
}

// SettleAllLent is SettleLent for many tickets (at most 1000) at the cost of one wait for the disk. It returns an error, or nil, for each.
func (b *Bus) SettleAllLent(ctx context.Context, tickets []string, what StreamOutcome, delay time.Duration) []error {
	errs := make([]error, len(tickets))
	command, err := outcomeCommand(what, delay)
	if err == nil && len(tickets) > maxFetch {
		err = Errorf(CodeInvalid, "%d tickets: at most %d", len(tickets), maxFetch)
	}
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	settled := map[string]*settling{} // by stream and consumer
	good := false
	for i, text := range tickets {
		errs[i] = b.settleOne(ctx, text, command, settled)
		good = good || errs[i] == nil
	}
	if !good || what == StreamExtend {
		return errs
	}
	if err := b.tenant.streams.synced(ctx); err != nil {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = err
			}
		}
	}
	return errs
}

// outcomeCommand is what JetStream is told.
func outcomeCommand(what StreamOutcome, delay time.Duration) ([]byte, error) {
	if delay < 0 || delay > maxStreamTime {
		return nil, Errorf(CodeInvalid, "delay %v: it cannot be negative", delay)
	}
	switch what {
	case StreamAck:
		return []byte("+ACK"), nil
	case StreamNak:
		if delay == 0 {
			return []byte("-NAK"), nil
		}
		body, err := json.Marshal(map[string]int64{"delay": int64(delay)})
		return append([]byte("-NAK "), body...), err
	case StreamTerm:
		return []byte("+TERM"), nil
	case StreamExtend:
		return []byte("+WPI"), nil
	}
	return nil, Errorf(CodeInvalid, "outcome %d: there is none of that number", what)
}

// settling is what is known of a consumer while tickets of it are settled.
type settling struct {
	floor, delivered uint64
	err              error
}

func (b *Bus) settleOne(ctx context.Context, text string, command []byte, known map[string]*settling) error {
	t, ok := parseTicket(text)
	if !ok || ownStream(t.stream) || ownConsumer(t.consumer) {
		return Errorf(CodeInvalid, "not a ticket of a lent message")
	}
	if err := b.may(maySettle, text); err != nil && b.may(mayFetch, t.stream, t.consumer) != nil { // who was given a message may answer, over NATS too
		return err
	}
	s := b.tenant.streams
	key := t.stream + "." + t.consumer
	of := known[key]
	if of == nil {
		of = s.settling(ctx, &t)
		known[key] = of
	}
	switch {
	case of.err != nil:
		return of.err
	case t.sequence <= of.floor || t.sequence > of.delivered:
		return Errorf(CodePreconditionFailed, "the message is no longer lent")
	}
	m := nats.NewMsg(text)
	if _, err := s.send(ctx, m, command); err != nil {
		if codeOf(err) == CodeNotFound {
			return Errorf(CodePreconditionFailed, "the message is no longer lent: its consumer is gone")
		}
		return err
	}
	return nil
}

// settling asks where a ticket's consumer stands.
func (s *streams) settling(ctx context.Context, t *ticket) *settling {
	info, err := s.consumerInfo(ctx, t.stream, t.consumer)
	switch {
	case err == nil:
		return &settling{floor: info.AckFloor.Stream, delivered: info.Delivered.Stream}
	case codeOf(err) == CodeNotFound:
		return &settling{err: Errorf(CodePreconditionFailed, "the message is no longer lent: its consumer is gone")}
	}
	return &settling{err: err}
}
