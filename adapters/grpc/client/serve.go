package client

import (
	"context"
	"sync"
	"time"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
)

// Handler answers a request. Its context ends when the requester has gone or waits no longer, and when the service stops. An answer of nil is none.
type Handler func(ctx context.Context, request *Message) *Message

// Service answers requests on a subject. Stop must be called, or the client closed.
type Service struct{ flow *flow[struct{}] }

// Serve answers requests on a subject, at most Workers at a time; while all are at work no more is read. It is in force when Serve returns. What is asked while the connection is lost goes to others, or finds nobody.
func (c *Client) Serve(ctx context.Context, subject string, handle Handler, more ...SubscribeOption) (*Service, error) {
	how := newSubscribing(more)
	s := &Service{newFlow[struct{}](1, 1)}
	ready := newSignal()
	var lost error
	err := open(ctx, c, "serve", s.flow, ready, func(ctx context.Context) (err error) {
		defer func() { lost = err }()
		alive, cut := context.WithCancel(context.WithoutCancel(ctx)) // when ctx ends the gateway is told, and the stream ends after that
		defer cut()
		opening := context.AfterFunc(ctx, cut)
		stream, err := c.api.Serve(alive)
		if err != nil {
			return err
		}
		start := &porticov1.ServeStart{Subject: subject, Group: how.group}
		if err := stream.Send(&porticov1.ServeRequest{Frame: &porticov1.ServeRequest_Start{Start: start}}); err != nil {
			_, err = stream.Recv()
			return err
		}
		if err := inForce(stream); err != nil {
			return err
		}
		if !opening() {
			return ctx.Err()
		}
		if lost != nil && ready.happened() {
			how.interrupted(lost)
		}
		ready.now()
		w := &serving{stream: stream, handle: handle, slots: make(chan struct{}, how.workers), running: map[uint64]context.CancelFunc{}}
		defer context.AfterFunc(ctx, func() { w.goodbye(alive, cut) })()
		return w.serve(ctx)
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Stop ends the service: when it returns no more requests come; those under way lose their context and their answers. The error is why the gateway had ended it, if it had.
func (s *Service) Stop() error { return s.flow.stop() }

// serving is one stream of a service.
type serving struct {
	// immutable
	stream grpc.BidiStreamingClient[porticov1.ServeRequest, porticov1.ServeResponse]
	handle Handler
	slots  chan struct{} // one for each request at work

	sending sync.Mutex // the stream takes one frame at a time

	// guarded by mu
	mu      sync.Mutex
	running map[uint64]context.CancelFunc // by the request's id
}

// serve answers until the stream ends, and waits for the handlers.
func (s *serving) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	for {
		resp, err := s.stream.Recv()
		if err != nil {
			return err
		}
		switch frame := resp.GetFrame().(type) {
		case *porticov1.ServeResponse_Call:
			select {
			case s.slots <- struct{}{}:
			case <-ctx.Done():
				continue // it comes too late
			}
			each := s.begin(ctx, frame.Call)
			working.Go(func() {
				s.answer(each, frame.Call)
				<-s.slots
			})
		case *porticov1.ServeResponse_Cancelled:
			s.over(frame.Cancelled.GetId())
		}
	}
}

// goodbyeWithin is how long the gateway may take to end a service that stops.
const goodbyeWithin = 5 * time.Second

// goodbye says that the service stops, and gives the gateway a while to send no more.
func (s *serving) goodbye(alive context.Context, cut context.CancelFunc) {
	s.sending.Lock()
	err := s.stream.CloseSend()
	s.sending.Unlock()
	if err != nil || !sleep(alive, goodbyeWithin) {
		return // the stream has ended
	}
	cut()
}

// begin is the context of one request.
func (s *serving) begin(ctx context.Context, call *porticov1.ServeCall) context.Context {
	timeout := call.GetTimeout().AsDuration()
	if timeout <= 0 {
		timeout = time.Hour // nobody waits longer
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[call.GetId()] = cancel
	return ctx
}

func (s *serving) over(id uint64) {
	s.mu.Lock()
	cancel := s.running[id]
	delete(s.running, id)
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

func (s *serving) answer(ctx context.Context, call *porticov1.ServeCall) {
	defer s.over(call.GetId())
	m := s.handle(ctx, fromProto(call.GetMessage()))
	if m == nil || call.GetMessage().GetReply() == "" || ctx.Err() != nil {
		return
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	frame := &porticov1.ServeRequest_Answer{Answer: &porticov1.ServeAnswer{Id: call.GetId(), Message: m.proto()}}
	_ = s.stream.Send(&porticov1.ServeRequest{Frame: frame}) // an error ends the stream, and Recv knows why
}
