package core

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// How messages are read without a consumer: by direct gets, which the stream answers without its API's queue, many messages to a request; from a stream that was made without
// them, one by one through the API.

// getRequest is what JetStream is asked for a message, or for several.
type getRequest struct {
	Sequence uint64     `json:"seq,omitempty"`
	Since    *time.Time `json:"start_time,omitempty"`
	LastOf   string     `json:"last_by_subj,omitempty"`
	NextOf   string     `json:"next_by_subj,omitempty"`
	Batch    int        `json:"batch,omitempty"`
	MaxBytes int        `json:"max_bytes,omitempty"`
}

const (
	maxReadBatch = 1000    // messages of one read
	maxReadBytes = 4 << 20 // bytes one read asks for; it may bring one message more
	// A read is counted with this part of the largest message beside what it asks for: most messages are far smaller, and reads of several of the largest at once are few.
	overshoot = 8
)

// The headers that tell where a message was in its stream. A message may have brought some of its own: the server's come last.
const (
	hdrStream, hdrSubject, hdrSequence = "Nats-Stream", "Nats-Subject", "Nats-Sequence"
	hdrTime, hdrPending, hdrLast       = "Nats-Time-Stamp", "Nats-Num-Pending", "Nats-Last-Sequence"
)

// errNoDirect says that a stream does not answer direct gets: it has gone, or its configuration has changed.
var errNoDirect = errors.New("no answer to a direct get")

// lookup finds out how a stream is read.
func (s *streams) lookup(ctx context.Context, name string) (*knownStream, error) {
	if k := s.directory.lookup(name); k != nil {
		return k, nil
	}
	info, err := s.directory.refresh(ctx, name)
	if err != nil {
		return nil, err
	}
	return known(info), nil
}

// reading calls read with what is known of the stream, and once more if that was out of date.
func (s *streams) reading(ctx context.Context, name string, read func(direct bool) error) error {
	k, err := s.lookup(ctx, name)
	if err != nil {
		return err
	}
	if err = read(k.direct); !errors.Is(err, errNoDirect) {
		return err
	}
	info, err := s.directory.refresh(ctx, name)
	if err != nil {
		return err
	}
	if err = read(info.Config.AllowDirect); errors.Is(err, errNoDirect) {
		return unavailable(err)
	}
	return err
}

// get reads one message. CodeNotFound.
func (s *streams) get(ctx context.Context, name string, request getRequest) (m StoredMessage, err error) {
	err = s.reading(ctx, name, func(direct bool) error {
		if !direct {
			m, err = s.getByAPI(ctx, name, request)
		} else {
			m, err = s.getDirect(ctx, name, request)
		}
		return err
	})
	return m, err
}

func (s *streams) getDirect(ctx context.Context, name string, request getRequest) (StoredMessage, error) {
	subject := apiPrefix + "DIRECT.GET." + name
	var body []byte
	if request.LastOf != "" {
		subject += "." + request.LastOf
	} else {
		var err error
		if body, err = encodeRequest(request); err != nil {
			return StoredMessage{}, err
		}
	}
	answer, err := s.send(ctx, nats.NewMsg(subject), body)
	if errors.Is(err, nats.ErrNoResponders) {
		return StoredMessage{}, errNoDirect
	}
	if err != nil {
		return StoredMessage{}, err
	}
	if status := answer.Header.Get("Status"); status != "" && answer.Header[hdrSequence] == nil {
		return StoredMessage{}, statusError(status, answer.Header.Get("Description"))
	}
	return storedMessage(answer)
}

// statusError is what a status in place of a message means.
func statusError(status, description string) error {
	if status == "404" {
		return Errorf(CodeNotFound, "there is no such message")
	}
	return &Error{Code: CodeUnavailable, Detail: "the stream cannot be read now", Err: errors.New(status + " " + description)}
}

func (s *streams) getByAPI(ctx context.Context, name string, request getRequest) (StoredMessage, error) {
	var answer struct {
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	err := s.ask(ctx, "STREAM.MSG.GET."+name, request, &answer)
	if isAPIError(err, 10037) {
		return StoredMessage{}, Errorf(CodeNotFound, "there is no such message")
	}
	if err != nil {
		return StoredMessage{}, named(err, "stream", name)
	}
	got := &answer.Message
	h, _ := parseBusHeader(got.Header)
	return StoredMessage{Message: Message{Subject: got.Subject, Header: withoutInternal(h), Data: got.Data}, Sequence: got.Sequence, Time: got.Time}, nil
}

// storedMessage reads the answer to a direct get.
func storedMessage(m *nats.Msg) (StoredMessage, error) {
	h := m.Header
	sequence, err := strconv.ParseUint(lastOf(h[hdrSequence]), 10, 64)
	at, err2 := time.Parse(time.RFC3339Nano, lastOf(h[hdrTime]))
	subject := lastOf(h[hdrSubject])
	if err != nil || err2 != nil || subject == "" {
		return StoredMessage{}, &Error{Code: CodeInternal, Detail: "internal error", Err: errors.New("answer to a direct get without its place")}
	}
	for _, name := range []string{hdrStream, hdrSubject, hdrSequence, hdrTime, hdrPending, hdrLast, "Status", "Description"} {
		delete(h, name)
	}
	if len(h) == 0 {
		h = nil
	}
	return StoredMessage{Message: Message{Subject: subject, Header: withoutInternal(Header(h)), Data: m.Data}, Sequence: sequence, Time: at}, nil
}

func lastOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// batch is what one read brought.
type batch struct {
	messages []StoredMessage
	pending  uint64 // matching messages behind them, at the time; only of direct gets exact, else 1 for "perhaps"
}

// read reads up to request.Batch messages and about request.MaxBytes bytes (at least one message) of those that match request.NextOf ("": all).
func (s *streams) read(ctx context.Context, name string, request getRequest) (b batch, err error) {
	request.Batch, request.MaxBytes = min(max(request.Batch, 1), maxReadBatch), min(max(request.MaxBytes, 1), maxReadBytes)
	ctx, cancel := s.patient(ctx)
	defer cancel()
	weight := min(int64(request.MaxBytes+s.gateway.cfg.MaxMessage/overshoot), maxStreamReads)
	if err := s.reads.Acquire(ctx, weight); err != nil {
		return b, busError(err)
	}
	defer s.reads.Release(weight)
	err = s.reading(ctx, name, func(direct bool) error {
		if !direct {
			b, err = s.readByAPI(ctx, name, request)
		} else {
			b, err = s.readDirect(ctx, name, request)
		}
		return err
	})
	return b, err
}

func (s *streams) readDirect(ctx context.Context, name string, request getRequest) (b batch, err error) {
	body, err := encodeRequest(request)
	if err != nil {
		return b, err
	}
	inbox := s.nc.NewInbox()
	sub, err := s.nc.SubscribeSync(inbox)
	if err != nil {
		return b, busError(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.nc.PublishRequest(apiPrefix+"DIRECT.GET."+name, inbox, body); err != nil {
		return b, busError(err)
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, nats.ErrNoResponders) {
			return b, errNoDirect
		}
		if err != nil {
			return b, busError(err)
		}
		if m.Header[hdrSequence] == nil {
			return b, b.end(m)
		}
		pending := lastOf(m.Header[hdrPending])
		one, err := storedMessage(m)
		if err != nil {
			return b, err
		}
		b.messages = append(b.messages, one)
		b.pending, _ = strconv.ParseUint(pending, 10, 64)
	}
}

// end reads the status that ends a batch.
func (b *batch) end(m *nats.Msg) error {
	switch status := m.Header.Get("Status"); {
	case status == "204":
		b.pending, _ = strconv.ParseUint(m.Header.Get(hdrPending), 10, 64)
		return nil
	case status == "404" && len(b.messages) == 0:
		return nil
	default:
		return statusError(status, m.Header.Get("Description"))
	}
}

// readByAPI is readDirect for streams without direct gets.
func (s *streams) readByAPI(ctx context.Context, name string, request getRequest) (b batch, err error) {
	one := getRequest{Sequence: request.Sequence, Since: request.Since, NextOf: request.NextOf}
	if one.NextOf == "" {
		one.NextOf = ">"
	}
	for bytes := 0; len(b.messages) < request.Batch && bytes < request.MaxBytes; {
		m, err := s.getByAPI(ctx, name, one)
		if err != nil && codeOf(err) == CodeNotFound && !isAPIError(err, 10059) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		b.messages = append(b.messages, m)
		bytes += sizeOf(&m)
		one.Sequence, one.Since = m.Sequence+1, nil
	}
	b.pending = 1
	return b, nil
}

// sizeOf is about what a message takes.
func sizeOf(m *StoredMessage) int {
	size := len(m.Subject) + len(m.Data)
	for name, values := range m.Header {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	return size
}
