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
	room   *cancelRoom

	// guarded by mu
	mu      sync.Mutex
	lastID  uint64
	open    map[uint64]asked // requests that may still be answered
	leaving bool             // the door drains: the stream ends when all have been answered
}

// asked is a request that waits for its answer.
type asked struct {
	reply, cancel string // subjects; cancel may be empty
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
		open:    make(map[uint64]asked),
	}
	if r.room, err = s.cancels.join(r.bus.Tenant()); err != nil {
		return err
	}
	defer s.cancels.leave(r.bus.Tenant(), r.room)
	defer r.forgetAll()
	subscription, err := r.bus.Serve(start.GetSubject(), start.GetGroup(), func(m *core.Message) {
		if !r.call(m) {
			end(errSlowConsumer)
		}
	})
	if err != nil {
		return subscribeError(r.bus, err, "start.subject", start.GetSubject())
	}
	defer subscription.Unsubscribe()
	subscription.OnRefused(end)
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
	call := &porticov1.ServeCall{Id: id, Message: toProto(m), Timeout: timeoutOf(m)}
	delete(call.Message.Headers, core.HeaderDeadline) // timeout and cancelled say it
	delete(call.Message.Headers, core.HeaderCancel)
	if !r.box.offer(&porticov1.ServeResponse{Frame: &porticov1.ServeResponse_Call{Call: call}}, weigh(m)) {
		return false
	}
	r.lastID = id
	if m.Reply != "" {
		a := asked{reply: m.Reply, cancel: cancelSubject(m)}
		r.open[id] = a
		if a.cancel != "" {
			r.room.await(a.cancel, r, func() { r.cancelled(id) })
		}
	}
	r.forget(id - uint64(r.cfg.HeldMessages)) // its requester has long given up
	return true
}

// forget drops a request. It needs mu.
func (r *serving) forget(id uint64) (a asked, ok bool) {
	if a, ok = r.open[id]; ok {
		delete(r.open, id)
		if a.cancel != "" {
			r.room.forget(a.cancel, r)
		}
	}
	return a, ok
}

func (r *serving) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.open {
		r.forget(id)
	}
}

// cancelled tells the client that nobody waits for an answer any more. A client that does not read is not told: it would not hear of it.
func (r *serving) cancelled(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.open[id]; !ok {
		return
	}
	delete(r.open, id)
	r.box.offer(&porticov1.ServeResponse{Frame: &porticov1.ServeResponse_Cancelled{Cancelled: &porticov1.ServeCancelled{Id: id}}}, failureSize)
	if r.leaving && len(r.open) == 0 {
		r.box.finish(errDraining)
	}
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
		return badField("frame", "after the first frame all must be answers")
	}
	id := answer.GetId()
	m, err := fromProto(answer.GetMessage())
	if err != nil {
		r.refuse(id, err)
		return nil
	}
	reply, ok := r.reply(id)
	if !ok {
		r.refuse(id, &refusal{core.Errorf(core.CodeNotFound, "no such request waits for an answer"), "answer.id"})
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
	a, ok := r.forget(id)
	return a.reply, ok
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
	if r.leaving && len(r.open) == 0 {
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
