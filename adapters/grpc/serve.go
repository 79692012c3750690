package grpcapi

import (
	"context"
	"sync"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
)

// serving is one Serve stream: a responder.
type serving struct {
	*Adapter
	// immutable
	stream grpc.BidiStreamingServer[porticov1.ServeRequest, porticov1.ServeResponse]
	bus    *core.Bus
	window *window
	box    *outbox[*porticov1.ServeResponse]

	// guarded by mu
	mu      sync.Mutex
	lastID  uint64
	replies map[uint64]string // of requests that may still be answered
	leaving bool              // the door drains: the stream ends when all have been answered
}

const failureSize = 128

// Serve implements PorticoService.
func (s *service) Serve(stream grpc.BidiStreamingServer[porticov1.ServeRequest, porticov1.ServeResponse]) error {
	start, err := firstFrame(stream, (*porticov1.ServeRequest).GetStart)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	r := &serving{
		Adapter: s.Adapter,
		stream:  stream,
		bus:     busOf(ctx),
		window:  newWindow(),
		box:     newOutbox[*porticov1.ServeResponse](s.cfg),
		replies: make(map[uint64]string),
	}
	subscription, err := r.bus.Subscribe(start.GetSubject(), start.GetGroup(), func(m *core.Message) {
		if !r.call(m) {
			end(errSlowConsumer)
		}
	})
	if err != nil {
		return err
	}
	defer subscription.Unsubscribe()
	if err := opened(stream); err != nil {
		return err
	}
	defer s.onDrain(func() {
		subscription.Unsubscribe()
		r.leave()
	})()
	return s.run(ctx,
		func() error { return r.read(ctx) },
		func() error { return r.box.write(ctx, r.write) })
}

// call hands a request to the client; false if the client is too slow. Called by the subscription, one at a time.
func (r *serving) call(m *core.Message) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.lastID + 1
	call := &porticov1.ServeResponse{Frame: &porticov1.ServeResponse_Call{Call: &porticov1.ServeCall{Id: id, Message: toProto(m)}}}
	if !r.box.offer(call, weigh(m)) {
		return false
	}
	r.lastID = id
	if m.Reply != "" {
		r.replies[id] = m.Reply
	}
	delete(r.replies, id-uint64(r.cfg.HeldMessages)) // its requester has long given up
	return true
}

// read sends answers until the client half-closes.
func (r *serving) read(ctx context.Context) error {
	room := func() error { return r.box.await(ctx, r.box.hasRoom) }
	if err := readFrames(r.stream, room, func(req *porticov1.ServeRequest) error { return r.answer(ctx, req.GetAnswer()) }); err != nil {
		return err
	}
	r.box.finish(nil)
	return nil
}

func (r *serving) answer(ctx context.Context, answer *porticov1.ServeAnswer) error {
	if answer == nil {
		return core.Errorf(core.CodeInvalid, "after the first frame all must be answers")
	}
	id := answer.GetId()
	m, err := fromProto(answer.GetMessage())
	if err != nil {
		r.refuse(id, err)
		return nil
	}
	reply, ok := r.reply(id)
	if !ok {
		r.refuse(id, core.Errorf(core.CodeNotFound, "no such request waits for an answer"))
		return nil
	}
	m.Subject, m.Reply = reply, ""
	weight, err := r.window.enter(ctx, m)
	if err != nil {
		return err
	}
	r.received(m)
	r.box.expect(1)
	r.bus.PublishAsync(m, func(_ core.Receipt, err error) {
		r.window.leave(weight)
		if err != nil {
			r.refuse(id, err)
		}
		r.answered()
		r.box.expect(-1)
	})
	return nil
}

func (r *serving) reply(id uint64) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reply, ok := r.replies[id]
	delete(r.replies, id)
	return reply, ok
}

func (r *serving) refuse(id uint64, err error) {
	r.box.add(&porticov1.ServeResponse{Frame: &porticov1.ServeResponse_Failure{
		Failure: &porticov1.ServeFailure{Id: id, Failure: toFailure(err)},
	}}, failureSize)
}

// leave ends the stream when all requests have been answered.
func (r *serving) leave() {
	r.mu.Lock()
	r.leaving = true
	r.mu.Unlock()
	r.answered()
}

func (r *serving) answered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leaving && len(r.replies) == 0 {
		r.box.finish(errDraining)
	}
}

func (r *serving) write(chunk []*porticov1.ServeResponse) error {
	for _, frame := range chunk {
		if err := r.stream.Send(frame); err != nil {
			return err
		}
		if call := frame.GetCall(); call != nil {
			r.sent(call.GetMessage().GetData())
		}
	}
	return nil
}
