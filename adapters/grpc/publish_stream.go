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

// publishing is one PublishStream.
type publishing struct {
	*service
	stream grpc.BidiStreamingServer[porticov1.PublishStreamRequest, porticov1.PublishStreamResponse]
	bus    *core.Bus
	extra  core.Header // what the call's metadata add to each message
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
		service: s,
		stream:  stream,
		bus:     busOf(ctx),
		extra:   metadataOfMany(ctx),
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
	} else {
		refused = name(m, req.GetMsgId(), p.extra)
	}
	weight, err := p.window.enter(ctx, m)
	if err != nil {
		return err
	}
	p.box.expect(1)
	begun := time.Now()
	done := func(receipt core.Receipt, err error) {
		if err == nil {
			p.metrics.PublishSeconds.Observe(time.Since(begun).Seconds())
		}
		p.box.addExpected(published{publishResult(req.GetId(), receipt, err), weight}, resultSize)
	}
	if refused != nil {
		done(core.Receipt{}, refused)
		return nil
	}
	p.received(m)
	p.bus.PublishAsync(m, func(r core.Receipt, err error) { done(r, publishError(p.bus, m, err)) })
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
