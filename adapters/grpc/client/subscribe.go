package client

import (
	"context"
	"iter"

	porticov1 "portico/proto/portico/v1"
)

// SubscribeOption changes a subscription or a service.
type SubscribeOption func(*subscribing)

type subscribing struct {
	group       string
	workers     int
	interrupted func(error)
}

// Group shares the messages among all who name the same group: one of them gets each.
func Group(name string) SubscribeOption { return func(s *subscribing) { s.group = name } }

// Interrupted is called whenever the subscription has been opened again after it was lost: what was published meanwhile has been missed. It must not block.
func Interrupted(told func(why error)) SubscribeOption {
	return func(s *subscribing) { s.interrupted = told }
}

// Workers bounds the requests that a service answers at a time; default 64.
func Workers(n int) SubscribeOption { return func(s *subscribing) { s.workers = max(n, 1) } }

func newSubscribing(more []SubscribeOption) subscribing {
	s := subscribing{workers: 64, interrupted: func(error) {}}
	for _, set := range more {
		set(&s)
	}
	return s
}

// Subscription is what is published on some subjects, from now on. Stop must be called, or the client closed.
type Subscription struct{ flow *flow[*Message] }

// Subscribe listens to a subject; `*` stands for a token, a final `>` for one or more. It is in force when Subscribe returns. Who takes messages too slowly has the subscription ended
// by the gateway: reason "slow-consumer".
func (c *Client) Subscribe(ctx context.Context, subject string, more ...SubscribeOption) (*Subscription, error) {
	how := newSubscribing(more)
	s := &Subscription{newFlow[*Message](c.options.buffer, c.options.bufferBytes)}
	req := &porticov1.SubscribeRequest{Subjects: []string{subject}, Group: how.group}
	ready := newSignal()
	var lost error
	err := open(ctx, c, "subscribe", s.flow, ready, func(ctx context.Context) (err error) {
		defer func() { lost = err }()
		stream, err := c.api.Subscribe(ctx, req)
		if err != nil {
			return err
		}
		if err := inForce(stream); err != nil {
			return err
		}
		if lost != nil && ready.happened() {
			how.interrupted(lost)
		}
		ready.now()
		for {
			resp, err := stream.Recv()
			if err != nil {
				return err
			}
			m := fromProto(resp.GetMessage())
			if err := s.flow.put(ctx, m, m.size()); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// SubscribeFunc is Subscribe with a function that is called with each message, one at a time. What it does not return from in time holds up the subscription.
func (c *Client) SubscribeFunc(ctx context.Context, subject string, take func(*Message), more ...SubscribeOption) (*Subscription, error) {
	s, err := c.Subscribe(ctx, subject, more...)
	if err != nil {
		return nil, err
	}
	started := c.run(func() {
		for {
			m, err := s.flow.next(context.Background()) // it ends with the subscription
			if err != nil {
				return
			}
			take(m)
		}
	})
	if !started {
		return nil, ErrClosed
	}
	return s, nil
}

// Next waits for a message. ErrClosed after Stop, another error when the gateway has ended the subscription.
func (s *Subscription) Next(ctx context.Context) (*Message, error) { return s.flow.next(ctx) }

// All gives one message after the other until the subscription is stopped. An error is the last.
func (s *Subscription) All(ctx context.Context) iter.Seq2[*Message, error] {
	return s.flow.all(ctx, never)
}

// Chan gives the messages by a channel, which is closed when the subscription has ended: Stop tells why. It takes the messages itself, so it is for who does not use Next or All; ctx ends it too.
func (s *Subscription) Chan(ctx context.Context) <-chan *Message {
	out := make(chan *Message)
	go func() {
		defer close(out)
		for {
			m, err := s.flow.next(ctx)
			if err != nil {
				return
			}
			select {
			case out <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// Ended is closed when no more comes. What has come can still be taken.
func (s *Subscription) Ended() <-chan struct{} { return s.flow.ended }

// Stop ends the subscription. What has come can still be taken. The error is why the gateway had ended it, if it had.
func (s *Subscription) Stop() error { return s.flow.stop() }
