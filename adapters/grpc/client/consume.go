package client

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// ConsumeOption changes a consumer.
type ConsumeOption func(*porticov1.ConsumeStart)

// Credit is how many deliveries may be held unsettled, those that wait in the client included; default 64. So many messages, whatever their size, may wait in memory.
func Credit(n int) ConsumeOption {
	return func(s *porticov1.ConsumeStart) { s.Credit = credit(n) }
}

// Lease is how long a delivery is held before it goes to somebody else. Without it it is held as long as the connection lives.
func Lease(d time.Duration) ConsumeOption {
	return func(s *porticov1.ConsumeStart) { s.Lease = durationpb.New(d) }
}

// AutoAck has deliveries settled as soon as they leave the queue: what is on its way when the connection is lost is lost.
func AutoAck() ConsumeOption { return func(s *porticov1.ConsumeStart) { s.AutoAck = true } }

// Exclusive refuses (FailedPrecondition) if the queue has other consumers, and keeps others out.
func Exclusive() ConsumeOption { return func(s *porticov1.ConsumeStart) { s.Exclusive = true } }

// Priority says who gets deliveries first: consumers of a lower one get what those of a higher cannot take. Default 0.
func Priority(n int32) ConsumeOption { return func(s *porticov1.ConsumeStart) { s.Priority = n } }

// Consumer takes messages from a queue. Stop must be called, or the client closed.
type Consumer struct{ flow *flow[*Delivery] }

// Consume takes messages from a queue against credit. It is in force when Consume returns. When the connection is lost, what is not settled goes back to the queue at once and is delivered again, here or
// to others: what waits in the client then is dropped, and settling what has been taken is ErrStale.
func (c *Client) Consume(ctx context.Context, queue string, more ...ConsumeOption) (*Consumer, error) {
	start := &porticov1.ConsumeStart{Queue: queue, Credit: 64}
	for _, set := range more {
		set(start)
	}
	f := newFlow[*Delivery](int(start.GetCredit()), c.options.bufferBytes)
	ready := newSignal()
	err := open(ctx, c, "consume", f, ready, func(ctx context.Context) error {
		s := &settling{flow: f, autoAck: start.GetAutoAck(), waiting: map[uint64]chan error{}}
		stream, err := c.api.Consume(ctx)
		if err != nil {
			return err
		}
		s.stream = stream
		if err := stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: start}}); err != nil {
			_, err = stream.Recv()
			return err
		}
		if err := inForce(stream); err != nil {
			return alone(err, start, ready)
		}
		ready.now()
		defer s.over()
		return s.receive(ctx)
	})
	if err != nil {
		return nil, err
	}
	return &Consumer{f}, nil
}

// alone is why a consumer was not let in. An exclusive one that comes back may find that the gateway has not noticed yet that it was gone: then it may try again.
func alone(err error, start *porticov1.ConsumeStart, before *signal) error {
	if start.GetExclusive() && before.happened() && status.Code(err) == codes.FailedPrecondition {
		return status.Error(codes.Unavailable, "the queue is still taken by the consumer that was")
	}
	return err
}

// Next waits for a delivery. ErrClosed after Stop, another error when the gateway has ended the consumer: the queue is gone.
func (c *Consumer) Next(ctx context.Context) (*Delivery, error) {
	for {
		d, err := c.flow.next(ctx)
		if err != nil {
			return nil, err
		}
		if d.taken() {
			return d, nil
		}
	}
}

// All gives one delivery after the other until the consumer is stopped. An error is the last.
func (c *Consumer) All(ctx context.Context) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		for d, err := range c.flow.all(ctx, never) {
			if (err != nil || d.taken()) && !yield(d, err) {
				return
			}
		}
	}
}

// Stop ends the consumer. What has not been settled goes back to the queue. The error is why the gateway had ended it, if it had.
func (c *Consumer) Stop() error { return c.flow.stop() }

// Delivery is a message on its way to a consumer. It is settled once.
type Delivery struct {
	*Message
	Attempt     uint32 // how often it has been delivered, this time included
	Redelivered bool   // somebody may have seen it before

	id   uint64
	from *settling
}

// taken tells a delivery that is still held; with AutoAck it makes room for the next.
func (d *Delivery) taken() bool {
	if d.from.autoAck {
		d.from.refill()
		return true
	}
	d.from.mu.Lock()
	defer d.from.mu.Unlock()
	return !d.from.lost
}

// Ack settles the delivery as done and returns when that is as durable as the queue. ErrStale when it is not held any more: then it is delivered again, unless it had been settled.
func (d *Delivery) Ack(ctx context.Context) error {
	return d.settle(ctx, &porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Ack{Ack: &porticov1.ConsumeAck{Ids: []uint64{d.id}}}})
}

// AckAsync is Ack without waiting: the answer comes by the channel, which has room for it.
func (d *Delivery) AckAsync() <-chan error {
	return d.from.send(d.id, &porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Ack{Ack: &porticov1.ConsumeAck{Ids: []uint64{d.id}}}})
}

// Nack puts the message back to its place in the queue, to be delivered again. Errors as Ack.
func (d *Delivery) Nack(ctx context.Context) error {
	return d.settle(ctx, &porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Nack{Nack: &porticov1.ConsumeNack{Ids: []uint64{d.id}, Requeue: true}}})
}

// DeadLetter gives the message up: it goes to the queue's dead letters, or away if there are none. Errors as Ack.
func (d *Delivery) DeadLetter(ctx context.Context) error {
	return d.settle(ctx, &porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Nack{Nack: &porticov1.ConsumeNack{Ids: []uint64{d.id}}}})
}

// Extend lengthens the lease to so long from now. Errors as Ack, and InvalidArgument when the consumer has no leases.
func (d *Delivery) Extend(ctx context.Context, lease time.Duration) error {
	return d.settle(ctx, &porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Extend{Extend: &porticov1.ConsumeExtend{Ids: []uint64{d.id}, Lease: durationpb.New(lease)}}})
}

func (d *Delivery) settle(ctx context.Context, frame *porticov1.ConsumeRequest) error {
	select {
	case err := <-d.from.send(d.id, frame):
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settling is one stream of a consumer. Deliveries that have to be settled never wait for room here, so that answers to settlements are read whatever the owner does: credit bounds them.
type settling struct {
	// immutable
	flow    *flow[*Delivery]
	stream  grpc.BidiStreamingClient[porticov1.ConsumeRequest, porticov1.ConsumeResponse]
	autoAck bool

	sending sync.Mutex // the stream takes one frame at a time

	// guarded by mu
	mu      sync.Mutex
	lost    bool                  // the stream is over
	waiting map[uint64]chan error // for the answer to a frame about a delivery, by its id
	used    uint32                // with autoAck: taken since credit was given
}

// receive takes deliveries and answers until the stream ends.
func (s *settling) receive(ctx context.Context) error {
	for {
		resp, err := s.stream.Recv()
		if err != nil {
			return err
		}
		switch frame := resp.GetFrame().(type) {
		case *porticov1.ConsumeResponse_Deliveries:
			if err := s.deliver(ctx, frame.Deliveries.GetDeliveries()); err != nil {
				return err
			}
		case *porticov1.ConsumeResponse_Settled:
			s.answer(frame.Settled.GetIds(), nil)
		case *porticov1.ConsumeResponse_Extended:
			s.answer(frame.Extended.GetIds(), nil)
		case *porticov1.ConsumeResponse_Failure:
			s.answer(frame.Failure.GetIds(), staleness(failure(frame.Failure.GetFailure())))
		}
	}
}

// staleness marks what the gateway says of a delivery that is not held any more.
func staleness(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) && e.Code == codes.FailedPrecondition {
		e.cause = ErrStale
	}
	return err
}

// deliver brings a batch to its taker. With autoAck there are no answers to read, and it may wait for room.
func (s *settling) deliver(ctx context.Context, batch []*porticov1.Delivery) error {
	for _, d := range batch {
		out := &Delivery{Message: fromProto(d.GetMessage()), Attempt: d.GetAttempt(), Redelivered: d.GetRedelivered(), id: d.GetId(), from: s}
		if s.autoAck {
			if err := s.flow.put(ctx, out, out.size()); err != nil {
				return err
			}
			continue
		}
		if !s.flow.offer(out, (*Delivery).lapsed) {
			return status.Error(codes.ResourceExhausted, "the gateway delivered more than there was credit for")
		}
	}
	return nil
}

// lapsed tells a delivery that nobody can settle any more.
func (d *Delivery) lapsed() bool {
	d.from.mu.Lock()
	defer d.from.mu.Unlock()
	return d.from.lost && !d.from.autoAck
}

// refill gives credit for what has been taken, half of it at a time.
func (s *settling) refill() {
	s.mu.Lock()
	s.used++
	due := uint32(0)
	if s.used >= uint32((cap(s.flow.items)+1)/2) && !s.lost { //nolint:gosec // it was a uint32
		due, s.used = s.used, 0
	}
	s.mu.Unlock()
	if due == 0 {
		return
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	_ = s.stream.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Credit{Credit: &porticov1.ConsumeCredit{Credit: due}}}) // an error ends the stream
}

// send sends a frame about a delivery. The answer comes by the channel.
func (s *settling) send(id uint64, frame *porticov1.ConsumeRequest) <-chan error {
	got := make(chan error, 1)
	s.mu.Lock()
	_, busy := s.waiting[id]
	switch {
	case s.autoAck, busy:
		got <- &Error{Code: codes.FailedPrecondition, Reason: "precondition-failed", Detail: "the delivery is settled already, or about to be"}
	case s.lost:
		got <- ErrStale
	default:
		s.waiting[id] = got
	}
	full := len(got) > 0
	s.mu.Unlock()
	if full {
		return got
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	_ = s.stream.Send(frame) // an error ends the stream, and that the waiting
	return got
}

func (s *settling) answer(ids []uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if got := s.waiting[id]; got != nil {
			got <- err
			delete(s.waiting, id)
		}
	}
}

// over says that the stream has ended: nothing of it can be settled any more.
func (s *settling) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = true
	for id, got := range s.waiting {
		got <- ErrStale
		delete(s.waiting, id)
	}
}
