package client

import (
	"context"
	"crypto/rand"
	"math"
	mathrand "math/rand/v2"

	porticov1 "portico/proto/portico/v1"
)

// Receipt tells where a message went.
type Receipt struct {
	Queues    int    // how many queues keep it
	Live      bool   // a live subscriber was there
	Stream    string // that keeps it; empty if none does
	Sequence  uint64 // its number in that stream
	Duplicate bool   // it had been published under its name before
}

// PublishOption changes how one message is published.
type PublishOption func(*publishing)

type publishing struct{ id string }

// MsgID names the message, with at most 255 bytes: published again under the same name it is kept once. So the client sends it again when a connection is lost before it is answered.
func MsgID(id string) PublishOption { return func(p *publishing) { p.id = id } }

// NewID is a name for MsgID that nobody else has.
func NewID() string { return rand.Text() }

func newPublishing(more []PublishOption) (p publishing) {
	for _, set := range more {
		set(&p)
	}
	return p
}

// Publish publishes a message and returns when every queue and stream that takes its subject keeps it. With MsgID it is tried again while the gateway cannot be reached, until ctx ends; otherwise an
// error whose code is Unavailable leaves open whether it was published.
func (c *Client) Publish(ctx context.Context, m *Message, more ...PublishOption) (Receipt, error) {
	how := newPublishing(more)
	req := &porticov1.PublishRequest{Message: m.proto(), MsgId: how.id}
	for bound := c.options.firstWait; ; bound = min(2*bound, c.options.longestWait) {
		resp, err := c.api.Publish(ctx, req)
		if err == nil {
			return Receipt{Queues: int(resp.GetQueues()), Live: resp.GetLive(), Stream: resp.GetStream(), Sequence: resp.GetSequence(), Duplicate: resp.GetDuplicate()}, nil
		}
		if how.id == "" || !passing(err) || !sleep(ctx, mathrand.N(bound)) {
			return Receipt{}, wrap(ctx, err)
		}
	}
}

// Append puts a message into a queue, whatever its subject, and returns when the queue keeps it.
func (c *Client) Append(ctx context.Context, queue string, m *Message) error {
	_, err := c.api.Append(ctx, &porticov1.AppendRequest{Queue: queue, Message: m.proto()})
	return wrap(ctx, err)
}

// Request publishes a message and returns the first answer. Without a deadline the gateway waits 30 s. Reason "no-responders" at once when nobody takes it.
func (c *Client) Request(ctx context.Context, m *Message) (*Message, error) {
	resp, err := c.api.Request(ctx, &porticov1.RequestRequest{Message: m.proto()})
	if err != nil {
		return nil, wrap(ctx, err)
	}
	return fromProto(resp.GetMessage()), nil
}

// Future is the answer to a message of PublishAsync.
type Future struct {
	// immutable
	id      uint64
	name    string // MsgID
	message *porticov1.Message
	weight  int64
	done    chan struct{}

	// valid when done is closed
	receipt Receipt
	err     error
}

// Done is closed when the answer is there.
func (f *Future) Done() <-chan struct{} { return f.done }

// Result waits for the answer.
func (f *Future) Result(ctx context.Context) (Receipt, error) {
	select {
	case <-f.done:
		return f.receipt, f.err
	case <-ctx.Done():
		return Receipt{}, context.Cause(ctx)
	}
}

// PublishAsync publishes a message without waiting for the answer, after all that were given to it before. While too much is unanswered (WithInFlight) it waits for room, at most until ctx ends.
func (c *Client) PublishAsync(ctx context.Context, m *Message, more ...PublishOption) (*Future, error) {
	p, err := c.publishes()
	if err != nil {
		return nil, err
	}
	how := newPublishing(more)
	f := &Future{name: how.id, message: m.proto(), weight: min(int64(m.size())+int64(len(how.id)), c.options.inFlightBytes), done: make(chan struct{})}
	return f, p.enter(ctx, f)
}

// Flush waits until everything that was given to PublishAsync before has its answer, whatever that is.
func (c *Client) Flush(ctx context.Context) error {
	c.mu.Lock()
	p := c.publisher
	c.mu.Unlock()
	if p == nil {
		return nil
	}
	for _, f := range p.unanswered() {
		select {
		case <-f.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// credit is n as the protocol has it.
func credit(n int) uint32 { return uint32(min(max(n, 1), math.MaxInt32)) }
