package grpcapi

import (
	"context"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
)

const maxSubjects = 256

var errSlowConsumer = core.Errorf(core.CodeSlowConsumer, "the client did not read fast enough")

// subscriptions are those of one stream.
type subscriptions []*core.Subscription

func (s *subscriptions) open(bus *core.Bus, subject, group string, deliver func(*core.Message)) error {
	subscription, err := bus.Subscribe(subject, group, deliver)
	if err != nil {
		return err
	}
	*s = append(*s, subscription)
	return nil
}

func (s *subscriptions) end() {
	for _, subscription := range *s {
		subscription.Unsubscribe()
	}
}

// Subscribe implements PorticoService.
func (s *service) Subscribe(req *porticov1.SubscribeRequest, stream grpc.ServerStreamingServer[porticov1.SubscribeResponse]) error {
	if n := len(req.GetSubjects()); n == 0 || n > maxSubjects {
		return core.Errorf(core.CodeInvalid, "%d subjects: one to %d are allowed", n, maxSubjects)
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	box := newOutbox[*core.Message](s.cfg)
	deliver := func(m *core.Message) {
		if !box.offer(m, weigh(m)) {
			end(errSlowConsumer)
		}
	}
	var live subscriptions
	defer live.end()
	for _, subject := range req.GetSubjects() {
		if err := live.open(busOf(ctx), subject, req.GetGroup(), deliver); err != nil {
			return err
		}
	}
	if err := opened(stream); err != nil {
		return err
	}
	defer s.onDrain(func() {
		live.end()
		box.finish(errDraining)
	})()
	return s.run(ctx, func() error {
		return box.write(ctx, func(chunk []*core.Message) error {
			for _, m := range chunk {
				if err := stream.Send(&porticov1.SubscribeResponse{Message: toProto(m)}); err != nil {
					return err
				}
				s.sent(m.Data)
			}
			return nil
		})
	})
}
