package grpcapi

import (
	"context"
	"errors"
	"io"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
)

// service implements the generated interface on an Adapter.
type service struct {
	porticov1.UnimplementedPorticoServiceServer
	*Adapter
}

// received counts a message that came in.
func (a *Adapter) received(m *core.Message) {
	a.metrics.In.Inc()
	a.metrics.BytesIn.Add(float64(len(m.Data)))
}

// sent counts a message that went out.
func (a *Adapter) sent(data []byte) {
	a.metrics.Out.Inc()
	a.metrics.BytesOut.Add(float64(len(data)))
}

// Publish implements PorticoService.
func (s *service) Publish(ctx context.Context, req *porticov1.PublishRequest) (*porticov1.PublishResponse, error) {
	m, err := fromProto(req.GetMessage())
	if err != nil {
		return nil, err
	}
	s.received(m)
	begun := time.Now()
	receipt, err := busOf(ctx).Publish(ctx, m)
	if err != nil {
		return nil, err
	}
	s.metrics.PublishSeconds.Observe(time.Since(begun).Seconds())
	return &porticov1.PublishResponse{Queues: uint32(receipt.Queues), Live: receipt.Live}, nil
}

// Request implements PorticoService.
func (s *service) Request(ctx context.Context, req *porticov1.RequestRequest) (*porticov1.RequestResponse, error) {
	m, err := fromProto(req.GetMessage())
	if err != nil {
		return nil, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.cfg.RequestTimeout)
		defer cancel()
	}
	s.received(m)
	m.Reply = ""
	answer, err := busOf(ctx).Request(ctx, m)
	if err != nil {
		return nil, err
	}
	s.sent(answer.Data)
	return &porticov1.RequestResponse{Message: toProto(answer)}, nil
}

// publishing is one PublishStream.
type publishing struct {
	*Adapter
	stream grpc.BidiStreamingServer[porticov1.PublishStreamRequest, porticov1.PublishStreamResponse]
	bus    *core.Bus
	window *window
	box    *outbox[published]
}

// published is the answer to one message, and the room it takes in the window until it has been written.
type published struct {
	result *porticov1.PublishResult
	weight int64
}

const resultSize = 64

// PublishStream implements PorticoService.
func (s *service) PublishStream(stream grpc.BidiStreamingServer[porticov1.PublishStreamRequest, porticov1.PublishStreamResponse]) error {
	ctx := stream.Context()
	p := &publishing{
		Adapter: s.Adapter,
		stream:  stream,
		bus:     busOf(ctx),
		window:  newWindow(),
		box:     newOutbox[published](s.cfg),
	}
	defer s.onDrain(func() { p.box.finish(errDraining) })()
	return s.run(ctx,
		func() error { return p.read(ctx) },
		func() error { return p.box.write(ctx, p.write) })
}

// read publishes until the client half-closes or the door drains.
func (p *publishing) read(ctx context.Context) error {
	for p.draining.Err() == nil {
		req, err := p.stream.Recv()
		if errors.Is(err, io.EOF) {
			p.box.finish(nil)
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.publish(ctx, req); err != nil {
			return err
		}
	}
	return nil
}

func (p *publishing) publish(ctx context.Context, req *porticov1.PublishStreamRequest) error {
	m, refused := fromProto(req.GetMessage())
	if refused != nil {
		m = &core.Message{}
	}
	weight, err := p.window.enter(ctx, m)
	if err != nil {
		return err
	}
	p.box.expect(1)
	begun := time.Now()
	done := func(receipt core.Receipt, err error) {
		result := &porticov1.PublishResult{Id: req.GetId(), Queues: uint32(receipt.Queues), Live: receipt.Live}
		if err != nil {
			result.Failure = toFailure(err)
		} else {
			p.metrics.PublishSeconds.Observe(time.Since(begun).Seconds())
		}
		p.box.addExpected(published{result, weight}, resultSize)
	}
	if refused != nil {
		done(core.Receipt{}, refused)
		return nil
	}
	p.received(m)
	p.bus.PublishAsync(m, done)
	return nil
}

func (p *publishing) write(chunk []published) error {
	resp := &porticov1.PublishStreamResponse{Results: make([]*porticov1.PublishResult, len(chunk))}
	var weight int64
	for i, answer := range chunk {
		resp.Results[i] = answer.result
		weight += answer.weight
	}
	if err := p.stream.Send(resp); err != nil {
		return err
	}
	p.window.leave(weight)
	return nil
}
