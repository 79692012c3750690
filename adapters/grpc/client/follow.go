package client

import (
	"context"
	"iter"
	"sync"
	"time"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// FollowOption says where to begin in a stream, and with what.
type FollowOption func(*porticov1.FollowStreamRequest)

// From begins with this sequence number; 1 is the oldest message. Without a beginning a follower gets what comes from now on.
func From(sequence uint64) FollowOption {
	return func(r *porticov1.FollowStreamRequest) {
		r.Start = &porticov1.FollowStreamRequest_FromSequence{FromSequence: sequence}
	}
}

// Since begins with the first message stored then or later.
func Since(t time.Time) FollowOption {
	return func(r *porticov1.FollowStreamRequest) {
		r.Start = &porticov1.FollowStreamRequest_Since{Since: timestamppb.New(t)}
	}
}

// After goes on where an earlier follower was, by a message's Cursor.
func After(cursor string) FollowOption {
	return func(r *porticov1.FollowStreamRequest) {
		r.Start = &porticov1.FollowStreamRequest_AfterCursor{AfterCursor: cursor}
	}
}

// Only gives messages of these subjects, at most 256 patterns; any of them must match.
func Only(subjects ...string) FollowOption {
	return func(r *porticov1.FollowStreamRequest) { r.Subjects = subjects }
}

// Stored is a message with its place in a stream.
type Stored struct {
	*Message
	Sequence uint64
	Time     time.Time
	Cursor   string // for After. It is that of the last message that came together with this one: empty for the others
}

// Follower gives a stream's messages in order, each once. Stop must be called, or the client closed.
type Follower struct {
	flow *flow[*Stored]

	// guarded by mu
	mu     sync.Mutex
	cursor string // of what was taken last
}

// Follow reads a stream from a place on, and then what comes. When the connection is lost it goes on behind the last message that came.
func (c *Client) Follow(ctx context.Context, stream string, more ...FollowOption) (*Follower, error) {
	req := &porticov1.FollowStreamRequest{Stream: stream}
	for _, set := range more {
		set(req)
	}
	f := &Follower{flow: newFlow[*Stored](c.options.buffer, c.options.bufferBytes)}
	api, ready := porticov1.NewStreamServiceClient(c.conn), newSignal()
	err := open(ctx, c, "follow", f.flow, ready, func(ctx context.Context) error {
		frames, err := api.FollowStream(ctx, req)
		if err != nil {
			return err
		}
		return f.receive(ctx, frames, req, ready)
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// receive takes frames until the stream ends. Each leaves req where the next stream goes on.
func (f *Follower) receive(ctx context.Context, frames grpc.ServerStreamingClient[porticov1.FollowStreamResponse], req *porticov1.FollowStreamRequest, ready *signal) error {
	for {
		resp, err := frames.Recv()
		if err != nil {
			return err
		}
		switch frame := resp.GetFrame().(type) {
		case *porticov1.FollowStreamResponse_Messages:
			err = f.take(ctx, frame.Messages.GetMessages(), resp.GetCursor())
		case *porticov1.FollowStreamResponse_Gap:
			err = f.flow.tell(ctx, &GapError{From: frame.Gap.GetFromSequence(), To: frame.Gap.GetToSequence()})
		}
		if err != nil {
			return err
		}
		if cursor := resp.GetCursor(); cursor != "" {
			After(cursor)(req)
		}
		ready.now()
	}
}

// take gives messages out.
func (f *Follower) take(ctx context.Context, batch []*porticov1.StoredMessage, cursor string) error {
	for i, m := range batch {
		out := &Stored{Message: fromProto(m.GetMessage()), Sequence: m.GetSequence(), Time: m.GetTime().AsTime()}
		if i == len(batch)-1 {
			out.Cursor = cursor
		}
		if err := f.flow.put(ctx, out, out.size()); err != nil {
			return err
		}
	}
	return nil
}

// Next waits for a message. A *GapError says that some are missing: the next call goes on behind them. ErrClosed after Stop, another error when the gateway has ended it: the stream is gone.
func (f *Follower) Next(ctx context.Context) (*Stored, error) {
	m, err := f.flow.next(ctx)
	f.passed(m)
	return m, err
}

// All gives one message after the other until the follower is stopped. A *GapError stands where messages are missing, and more follow; any other error is the last.
func (f *Follower) All(ctx context.Context) iter.Seq2[*Stored, error] {
	return func(yield func(*Stored, error) bool) {
		for m, err := range f.flow.all(ctx, gaps) {
			f.passed(m)
			if !yield(m, err) {
				return
			}
		}
	}
}

func (f *Follower) passed(m *Stored) {
	if m == nil || m.Cursor == "" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cursor = m.Cursor
}

// Cursor is where another follower can go on (After): behind the last message taken that had one. What was taken since comes again. Empty at first.
func (f *Follower) Cursor() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cursor
}

// Stop ends the follower. What has come can still be taken. The error is why the gateway had ended it, if it had.
func (f *Follower) Stop() error { return f.flow.stop() }
