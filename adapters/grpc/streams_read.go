package grpcapi

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	defaultRead = 100
	batchBytes  = 2 << 20 // of one answer with many messages: clients take 4 MiB unless they have been told otherwise
)

// storedMessage is a message with its place, for a client that gets it now.
func (a *Adapter) storedMessage(m *core.StoredMessage) *porticov1.StoredMessage {
	a.sent(m.Data)
	return &porticov1.StoredMessage{Sequence: m.Sequence, Time: timestamp(m.Time), Message: toProto(&m.Message)}
}

// readingFields are what ReadMessages and FollowStream have in common.
type readingFields interface {
	GetFromSequence() uint64
	GetSince() *timestamppb.Timestamp
	GetSubjects() []string
}

func readOptions(req readingFields) (core.ReadOptions, error) {
	var k checks
	k.count("subjects", len(req.GetSubjects()), maxSubjects)
	o := core.ReadOptions{From: req.GetFromSequence(), Since: k.time("since", req.GetSince()), Subjects: req.GetSubjects()}
	return o, k.err
}

// ReadMessages implements StreamService.
func (s *streamService) ReadMessages(ctx context.Context, req *porticov1.ReadMessagesRequest) (*porticov1.ReadMessagesResponse, error) {
	o, err := readOptions(req)
	if err != nil {
		return nil, err
	}
	if o.Limit, o.MaxBytes = int(req.GetLimit()), batchBytes; o.Limit == 0 {
		o.Limit = defaultRead
	}
	if o.Limit > maxPage {
		return nil, badField("limit", "%d: want 1 to %d", req.GetLimit(), maxPage)
	}
	messages, next, err := busOf(ctx).ReadStream(ctx, req.GetStream(), o)
	if err != nil {
		return nil, readError(err, req.GetSubjects())
	}
	resp := &porticov1.ReadMessagesResponse{NextSequence: next}
	for i := range messages {
		resp.Messages = append(resp.Messages, s.storedMessage(&messages[i]))
	}
	return resp, nil
}

// readError names the field that an error of reading is about.
func readError(err error, subjects []string) error {
	if core.AsError(err).Code == core.CodeInvalid && len(subjects) > 0 {
		return inField(err, "subjects")
	}
	return inField(err, "stream")
}

// GetMessage implements StreamService.
func (s *streamService) GetMessage(ctx context.Context, req *porticov1.GetMessageRequest) (*porticov1.GetMessageResponse, error) {
	var m core.StoredMessage
	var err error
	field := "sequence"
	switch which := req.GetMessage().(type) {
	case *porticov1.GetMessageRequest_Sequence:
		m, err = busOf(ctx).StreamMessage(ctx, req.GetStream(), which.Sequence)
	case *porticov1.GetMessageRequest_LastSubject:
		field = "last_subject"
		m, err = busOf(ctx).LastStreamMessage(ctx, req.GetStream(), which.LastSubject)
	default:
		return nil, badField("sequence", "either sequence or last_subject is wanted")
	}
	if err != nil {
		return nil, inField(err, field)
	}
	return &porticov1.GetMessageResponse{Message: s.storedMessage(&m)}, nil
}

// DeleteMessage implements StreamService.
func (s *streamService) DeleteMessage(ctx context.Context, req *porticov1.DeleteMessageRequest) (*porticov1.DeleteMessageResponse, error) {
	err := busOf(ctx).DeleteStreamMessage(ctx, req.GetStream(), req.GetSequence())
	return refused(&porticov1.DeleteMessageResponse{}, err, "sequence")
}

// following is one FollowStream.
type following struct {
	*Adapter
	stream  grpc.ServerStreamingServer[porticov1.FollowStreamResponse]
	created time.Time // of the stream: which of those that had its name
}

// FollowStream implements StreamService.
func (s *streamService) FollowStream(req *porticov1.FollowStreamRequest, stream grpc.ServerStreamingServer[porticov1.FollowStreamResponse]) error {
	o, err := readOptions(req)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	defer s.onDrain(func() { end(errDraining) })()
	f := &following{Adapter: s.Adapter, stream: stream}
	started, err := f.start(ctx, req, &o)
	if err != nil {
		return err
	}
	return s.run(ctx, func() error {
		if err := f.send(&porticov1.FollowStreamResponse{Frame: &porticov1.FollowStreamResponse_Started{Started: started}}, started.GetNextSequence()-1); err != nil {
			return err
		}
		if err := busOf(ctx).FollowStream(ctx, req.GetStream(), o, f.deliver, f.gap); err != nil {
			return readError(err, req.GetSubjects())
		}
		return context.Cause(ctx)
	})
}

// start finds where a follower begins. Without any wish that is the next message to come: it must be known, so that a client that loses its connection
// before the first message misses nothing either. Who may follow a stream and not look at it has no place until the first message.
func (f *following) start(ctx context.Context, req *porticov1.FollowStreamRequest, o *core.ReadOptions) (*porticov1.FollowStarted, error) {
	info, err := busOf(ctx).Stream(ctx, req.GetStream())
	unseen := err != nil && core.AsError(err).Code == core.CodePermissionDenied
	if err != nil && !unseen {
		return nil, inField(err, "stream")
	}
	f.created = info.Created
	switch req.GetStart().(type) {
	case *porticov1.FollowStreamRequest_FromSequence:
		o.From = max(o.From, 1)
	case *porticov1.FollowStreamRequest_Since:
		return &porticov1.FollowStarted{}, nil
	case *porticov1.FollowStreamRequest_AfterCursor:
		return f.resume(req.GetAfterCursor(), &info, unseen, o)
	default:
		if unseen {
			return &porticov1.FollowStarted{}, nil
		}
		o.From = info.LastSequence + 1
	}
	return &porticov1.FollowStarted{NextSequence: o.From}, nil
}

// resume begins behind a cursor.
func (f *following) resume(cursor string, info *core.StreamInfo, unseen bool, o *core.ReadOptions) (*porticov1.FollowStarted, error) {
	place, err := f.place(cursor)
	if err == nil && !unseen && place > info.LastSequence {
		err = core.Errorf(core.CodePreconditionFailed, "after_cursor: the stream does not reach so far")
	}
	if err != nil {
		return nil, inField(err, "after_cursor")
	}
	o.From = place + 1
	return &porticov1.FollowStarted{NextSequence: o.From, Recovered: !unseen && o.From >= info.FirstSequence}, nil
}

// A cursor is when the stream was made, and the number of the last message that was sent.
const cursorSize = 16

func (f *following) cursor(sequence uint64) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, cursorSize), f.incarnation())
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(b, sequence))
}

// incarnation names the stream among those that had its name; 0 where that is not known.
func (f *following) incarnation() uint64 {
	if f.created.IsZero() {
		return 0
	}
	return uint64(f.created.UnixNano())
}

// place is the number in a cursor.
func (f *following) place(cursor string) (uint64, error) {
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(b) != cursorSize {
		return 0, core.Errorf(core.CodeInvalid, "after_cursor: it is not one of ours")
	}
	if binary.BigEndian.Uint64(b) != f.incarnation() {
		return 0, core.Errorf(core.CodePreconditionFailed, "after_cursor: it is stale, the stream is another one now")
	}
	return binary.BigEndian.Uint64(b[8:]), nil
}

// send sends a frame with the cursor behind it; sequence is the last number that the client has seen then, or wraps around to say that it is not known.
func (f *following) send(frame *porticov1.FollowStreamResponse, sequence uint64) error {
	if sequence+1 != 0 {
		frame.Cursor = f.cursor(sequence)
	}
	return f.stream.Send(frame)
}

// deliver sends a batch, in frames that clients take. It may wait for the client: nobody else waits for it.
func (f *following) deliver(batch []core.StoredMessage) error {
	for len(batch) > 0 {
		frame, size, n := &porticov1.FollowMessages{}, 0, 0
		for n < len(batch) && (n == 0 || size+weigh(&batch[n].Message) <= writeChunk) {
			size += weigh(&batch[n].Message)
			frame.Messages = append(frame.Messages, f.storedMessage(&batch[n]))
			n++
		}
		err := f.send(&porticov1.FollowStreamResponse{Frame: &porticov1.FollowStreamResponse_Messages{Messages: frame}}, batch[n-1].Sequence)
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

func (f *following) gap(from, to uint64) error {
	gap := &porticov1.FollowGap{FromSequence: from, ToSequence: to}
	return f.send(&porticov1.FollowStreamResponse{Frame: &porticov1.FollowStreamResponse_Gap{Gap: gap}}, to)
}
