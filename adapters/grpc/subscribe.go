package grpcapi

import (
	"context"
	"strconv"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
)

const maxSubjects = 256

var errSlowConsumer = core.Errorf(core.CodeSlowConsumer, "the client did not read fast enough")

// subscriptions are those of one stream.
type subscriptions []*core.Subscription

func (s *subscriptions) open(bus *core.Bus, subject, group string, deliver func(*core.Message), refused func(error)) error {
	subscription, err := bus.Subscribe(subject, group, deliver)
	if err != nil {
		return err
	}
	subscription.OnRefused(refused)
	*s = append(*s, subscription)
	return nil
}

func (s *subscriptions) end() {
	for _, subscription := range *s {
		subscription.Unsubscribe()
	}
}

// subscribeError names the field that an error of subscribing is about: the subject, or else the group.
func subscribeError(bus *core.Bus, err error, field, subject string) error {
	if core.AsError(err).Code == core.CodeInvalid && bus.Allow("subscribe", subject) == nil {
		field = "group"
	}
	return inField(err, field)
}

// Subscribe implements PorticoService.
func (s *service) Subscribe(req *porticov1.SubscribeRequest, stream grpc.ServerStreamingServer[porticov1.SubscribeResponse]) error {
	if n := len(req.GetSubjects()); n == 0 || n > maxSubjects {
		return badField("subjects", "%d of them: one to %d are allowed", n, maxSubjects)
	}
	wanted, err := newFilters(req.GetFilters())
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	box := newOutbox[*shared](s.cfg)
	deliver := func(m *core.Message) {
		if wanted.let(m) && !box.offer(s.sharing.of(m), weigh(m)) {
			end(errSlowConsumer)
		}
	}
	var live subscriptions
	defer live.end()
	for i, subject := range req.GetSubjects() {
		if err := live.open(busOf(ctx), subject, req.GetGroup(), deliver, end); err != nil {
			return subscribeError(busOf(ctx), err, "subjects["+strconv.Itoa(i)+"]", subject)
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
		return box.write(ctx, func(chunk []*shared) error { return s.send(stream, chunk) })
	})
}

// send sends messages to one subscriber.
func (s *service) send(stream grpc.ServerStream, chunk []*shared) error {
	bytes := 0
	for _, x := range chunk {
		if err := stream.SendMsg(x); err != nil {
			return err
		}
		bytes += len(x.message.Data)
	}
	s.metrics.Out.Add(float64(len(chunk)))
	s.metrics.BytesOut.Add(float64(bytes))
	s.sharing.forget(chunk[len(chunk)-1])
	return nil
}
