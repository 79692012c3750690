package grpcapi

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
)

const (
	inboxPrefix  = "_INBOX."
	cancelPrefix = inboxPrefix + "portico-cancel." // and a random word: where a requester says that it has gone
	defaultIdle  = time.Second
	maxIdle      = time.Hour
)

// asking makes a request of a message: it carries until when the requester waits, and where it would say that it has gone. leave must be called with why the wait is over.
func asking(ctx context.Context, bus *core.Bus, m *core.Message) (leave func(err error)) {
	if deadline, ok := ctx.Deadline(); ok {
		m.Header.Set(core.HeaderDeadline, strconv.FormatInt(deadline.UnixMilli(), 10))
	}
	gone := cancelPrefix + rand.Text()
	m.Header.Set(core.HeaderCancel, gone)
	return func(err error) {
		if err != nil && ctx.Err() != nil {
			_ = bus.PublishLive(&core.Message{Subject: gone}) // who answers all the same is not heard, that is all
		}
	}
}

// withPatience is ctx with the time that a requester waits who has named none.
func (s *service) withPatience(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.cfg.RequestTimeout)
}

// Request implements PorticoService.
func (s *service) Request(ctx context.Context, req *porticov1.RequestRequest) (*porticov1.RequestResponse, error) {
	m, err := fromProto(req.GetMessage())
	if err == nil {
		err = name(m, "", metadataOf(ctx))
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.withPatience(ctx)
	defer cancel()
	s.received(m)
	m.Reply = ""
	bus := busOf(ctx)
	leave := asking(ctx, bus, m)
	answer, err := bus.Request(ctx, m)
	leave(err)
	if err != nil {
		return nil, publishError(bus, m, err)
	}
	s.sent(answer.Data)
	return &porticov1.RequestResponse{Message: toProto(answer)}, nil
}

// RequestMany implements PorticoService.
func (s *service) RequestMany(req *porticov1.RequestManyRequest, stream grpc.ServerStreamingServer[porticov1.RequestManyResponse]) error {
	m, err := fromProto(req.GetMessage())
	if err == nil {
		err = name(m, "", metadataOf(stream.Context()))
	}
	var k checks
	idle := k.duration("idle", req.GetIdle(), time.Millisecond, maxIdle)
	if err == nil {
		err = k.err
	}
	if err != nil {
		return err
	}
	timed, cancel := s.withPatience(stream.Context())
	defer cancel()
	ctx, end := context.WithCancelCause(timed)
	defer end(nil)
	r := &requesting{service: s, stream: stream, left: req.GetMaxReplies(), limited: req.GetMaxReplies() > 0, idle: idle, box: newOutbox[*core.Message](s.cfg)}
	return r.serve(ctx, end, m)
}

// requesting is one RequestMany.
type requesting struct {
	*service
	stream  grpc.ServerStreamingServer[porticov1.RequestManyResponse]
	box     *outbox[*core.Message]
	idle    time.Duration
	limited bool
	left    uint32      // answers that are still wanted
	silence *time.Timer // ends the call when it fires
}

// serve publishes the request and sends what is answered. Only the writer counts answers, so that the last one is always sent.
func (r *requesting) serve(ctx context.Context, end context.CancelCauseFunc, m *core.Message) error {
	bus := busOf(ctx)
	m.Reply = inboxPrefix + "portico-many." + rand.Text()
	answers, err := bus.Subscribe(m.Reply, "", func(answer *core.Message) {
		if !r.box.offer(answer, weigh(answer)) {
			end(errSlowConsumer)
		}
	})
	if err != nil {
		return err
	}
	defer answers.Unsubscribe()
	first := r.idle
	if r.idle == 0 {
		r.idle, first = defaultIdle, maxIdle
	}
	r.silence = time.AfterFunc(first, func() { r.box.finish(nil) })
	defer r.silence.Stop()
	leave := asking(ctx, bus, m)
	r.received(m)
	receipt, err := bus.Publish(ctx, m)
	switch {
	case err != nil:
		return publishError(bus, m, err)
	case receipt.Queues == 0 && !receipt.Live:
		return core.Errorf(core.CodeNoResponders, "nobody takes messages on %q", m.Subject)
	}
	if err := opened(r.stream); err != nil {
		return err
	}
	defer r.onDrain(func() { r.box.finish(errDraining) })()
	err = r.run(ctx, func() error { return r.box.write(ctx, r.write) })
	if ctx.Err() != nil {
		leave(ctx.Err())
	}
	return err
}

func (r *requesting) write(chunk []*core.Message) error {
	for _, m := range chunk {
		if r.limited && r.left == 0 {
			return nil
		}
		if err := r.stream.Send(&porticov1.RequestManyResponse{Message: toProto(m)}); err != nil {
			return err
		}
		r.sent(m.Data)
		if r.left--; r.limited && r.left == 0 {
			r.box.finish(nil)
			return nil
		}
	}
	r.silence.Reset(r.idle)
	return nil
}
