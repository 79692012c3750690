package client

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	porticov1 "portico/proto/portico/v1"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// publisher is what stands behind PublishAsync: one stream of messages at a time, and what has not been answered.
type publisher struct {
	// immutable
	client *Client
	slots  *semaphore.Weighted // messages unanswered
	room   *semaphore.Weighted // and their bytes
	filled chan struct{}       // has a token when there may be something to send

	// guarded by mu
	mu     sync.Mutex
	last   uint64
	unsent []*Future          // in order
	sent   map[uint64]*Future // on the present stream
	ended  error              // no more is taken
}

// publishes is the publisher, which is started with the first message.
func (c *Client) publishes() (*publisher, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	if c.publisher == nil {
		p := &publisher{
			client: c, slots: semaphore.NewWeighted(int64(c.options.inFlight)), room: semaphore.NewWeighted(c.options.inFlightBytes),
			filled: make(chan struct{}, 1), sent: map[uint64]*Future{},
		}
		c.publisher = p
		c.running.Go(p.run)
	}
	return c.publisher, nil
}

// run keeps the stream. An error that another attempt would not change (a password that is not right any more) fails what is there, and what comes is tried anew.
func (p *publisher) run() {
	for {
		err := p.client.keep(p.client.ctx, "publish", p.stream)
		if p.client.ctx.Err() != nil {
			return
		}
		p.drop(err)
		select {
		case <-p.filled:
			p.wake()
		case <-p.client.ctx.Done():
			return
		}
	}
}

func (p *publisher) enter(ctx context.Context, f *Future) error {
	if err := p.slots.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	if err := p.room.Acquire(ctx, f.weight); err != nil {
		p.slots.Release(1)
		return context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended != nil {
		p.leave(f)
		return p.ended
	}
	p.last++
	f.id = p.last
	p.unsent = append(p.unsent, f)
	p.wake()
	return nil
}

func (p *publisher) leave(f *Future) {
	p.room.Release(f.weight)
	p.slots.Release(1)
}

func (p *publisher) wake() {
	select {
	case p.filled <- struct{}{}:
	default:
	}
}

// stream sends until it fails. What had been sent before on another stream goes first.
func (p *publisher) stream(ctx context.Context) error {
	p.again()
	stream, err := p.client.api.PublishStream(ctx)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- p.receive(stream) }()
	err = p.send(ctx, stream, failed)
	return err
}

// again prepares for another stream: what was under way and has a name is sent again, the rest fails.
func (p *publisher) again() {
	p.mu.Lock()
	lost := p.underWay()
	p.sent = map[uint64]*Future{}
	var named []*Future
	for _, f := range lost {
		if f.name != "" {
			named = append(named, f)
		}
	}
	p.unsent = append(named, p.unsent...)
	p.mu.Unlock()
	for _, f := range lost {
		if f.name == "" {
			p.answer(f, Receipt{}, &Error{Code: codes.Unavailable, Reason: "unavailable", Detail: "the connection was lost before the message was answered"})
		}
	}
}

// underWay is what has been sent and not answered, in order. The caller holds mu.
func (p *publisher) underWay() []*Future {
	all := make([]*Future, 0, len(p.sent))
	for _, f := range p.sent {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *Future) int { return int(int64(a.id) - int64(b.id)) }) //nolint:gosec // ids are counted from 1
	return all
}

// send sends what comes until the stream fails or ctx ends. It returns when nobody receives any more.
func (p *publisher) send(ctx context.Context, stream grpc.BidiStreamingClient[porticov1.PublishStreamRequest, porticov1.PublishStreamResponse], failed chan error) error {
	for {
		for f := p.next(); f != nil; f = p.next() {
			if err := stream.Send(&porticov1.PublishStreamRequest{Id: f.id, Message: f.message, MsgId: f.name}); err != nil {
				return <-failed // it knows why
			}
		}
		select {
		case <-p.filled:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return errors.Join(ctx.Err(), <-failed)
		}
	}
}

// next is the next message to send.
func (p *publisher) next() *Future {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.unsent) == 0 {
		p.unsent = nil
		return nil
	}
	f := p.unsent[0]
	p.unsent[0] = nil
	p.unsent = p.unsent[1:]
	p.sent[f.id] = f
	return f
}

// receive takes answers until the stream ends.
func (p *publisher) receive(stream grpc.BidiStreamingClient[porticov1.PublishStreamRequest, porticov1.PublishStreamResponse]) error {
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Unavailable, "the gateway ended the stream")
		}
		if err != nil {
			return err
		}
		for _, r := range resp.GetResults() {
			if f := p.found(r.GetId()); f != nil {
				p.answer(f, Receipt{Queues: int(r.GetQueues()), Live: r.GetLive(), Stream: r.GetStream(), Sequence: r.GetSequence(), Duplicate: r.GetDuplicate()}, failure(r.GetFailure()))
			}
		}
	}
}

func (p *publisher) found(id uint64) *Future {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.sent[id]
	delete(p.sent, id)
	return f
}

func (p *publisher) answer(f *Future, receipt Receipt, err error) {
	f.receipt, f.err = receipt, err
	if err != nil {
		f.receipt = Receipt{}
	}
	close(f.done)
	p.leave(f)
}

// unanswered is all that waits for its answer.
func (p *publisher) unanswered() []*Future {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(p.underWay(), p.unsent...)
}

// drop fails what is there.
func (p *publisher) drop(err error) {
	p.mu.Lock()
	all := append(p.underWay(), p.unsent...)
	p.sent, p.unsent = map[uint64]*Future{}, nil
	p.mu.Unlock()
	for _, f := range all {
		p.answer(f, Receipt{}, err)
	}
}

// fail fails what is there and what comes.
func (p *publisher) fail(err error) {
	p.mu.Lock()
	p.ended = err
	p.mu.Unlock()
	p.drop(err)
}
