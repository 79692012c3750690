package grpcapi

import (
	"context"
	"math"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"
)

const (
	maxFetch     = 1000
	defaultFetch = 10
	maxWait      = time.Minute
	giveBackTime = 10 * time.Second // for what a client did not take; then its lease brings it back
)

func deliverPolicies() vocabulary[porticov1.DeliverPolicy] {
	return vocabulary[porticov1.DeliverPolicy]{
		{porticov1.DeliverPolicy_DELIVER_POLICY_ALL, "all"}, {porticov1.DeliverPolicy_DELIVER_POLICY_NEW, "new"},
		{porticov1.DeliverPolicy_DELIVER_POLICY_LAST, "last"}, {porticov1.DeliverPolicy_DELIVER_POLICY_LAST_PER_SUBJECT, "last_per_subject"},
		{porticov1.DeliverPolicy_DELIVER_POLICY_SEQUENCE, "sequence"}, {porticov1.DeliverPolicy_DELIVER_POLICY_TIME, "time"},
	}
}

// consumerConfig is what c describes.
func consumerConfig(c *porticov1.Consumer) (core.ConsumerConfig, error) {
	if c == nil {
		return core.ConsumerConfig{}, absent("consumer")
	}
	k := checks{prefix: "consumer."}
	k.count("subjects", len(c.GetSubjects()), maxKeptNames)
	if (c.GetDeliver() == porticov1.DeliverPolicy_DELIVER_POLICY_SEQUENCE) != (c.GetStartSequence() > 0) {
		k.fail("start_sequence", "it goes with DELIVER_POLICY_SEQUENCE, and only with that")
	}
	if (c.GetDeliver() == porticov1.DeliverPolicy_DELIVER_POLICY_TIME) != (c.GetStartTime() != nil) {
		k.fail("start_time", "it goes with DELIVER_POLICY_TIME, and only with that")
	}
	cfg := core.ConsumerConfig{
		Name: c.GetName(), Description: c.GetDescription(), Deliver: wordOf(&k, "deliver", deliverPolicies(), c.GetDeliver()), Sequence: c.GetStartSequence(),
		Time: k.time("start_time", c.GetStartTime()), Subjects: c.GetSubjects(), AckWait: k.duration("ack_wait", c.GetAckWait(), time.Millisecond, maxTime),
		MaxDeliver:    int(k.number("max_deliver", uint64(c.GetMaxDeliver()), math.MaxInt32)),
		MaxAckPending: int(k.number("max_ack_pending", uint64(c.GetMaxAckPending()), math.MaxInt32)),
		Inactive:      k.duration("inactive", c.GetInactive(), time.Millisecond, maxTime),
	}
	return cfg, k.err
}

func consumerInfo(c *core.ConsumerInfo) *porticov1.ConsumerInfo {
	return &porticov1.ConsumerInfo{
		Stream: text(c.Stream),
		Consumer: &porticov1.Consumer{
			Name: text(c.Config.Name), Description: text(c.Config.Description), Deliver: deliverPolicies().valueOf(c.Config.Deliver), StartSequence: c.Config.Sequence,
			StartTime: timestamp(c.Config.Time), Subjects: texts(c.Config.Subjects), AckWait: duration(c.Config.AckWait), MaxDeliver: uint32(positive(c.Config.MaxDeliver)),
			MaxAckPending: uint32(positive(c.Config.MaxAckPending)), Inactive: duration(c.Config.Inactive),
		},
		Created: timestamp(c.Created), Delivered: c.Delivered, AckFloor: c.AckFloor, AckPending: uint32(positive(c.AckPending)),
		Redelivered: uint32(positive(c.Redelivered)), Pending: c.Pending, PausedUntil: timestamp(c.PausedUntil),
	}
}

// consumerError names the field that an error of a call on a consumer is about.
func consumerError(ctx context.Context, err error, stream string) error {
	if err == nil || core.AsError(err).Code != core.CodeNotFound {
		return inField(err, "consumer")
	}
	if _, missing := busOf(ctx).Stream(ctx, stream); missing != nil && core.AsError(missing).Code == core.CodeNotFound {
		return inField(err, "stream")
	}
	return inField(err, "consumer")
}

// CreateConsumer implements StreamService.
func (s *streamService) CreateConsumer(ctx context.Context, req *porticov1.CreateConsumerRequest) (*porticov1.CreateConsumerResponse, error) {
	cfg, err := consumerConfig(req.GetConsumer())
	if err != nil {
		return nil, err
	}
	info, created, err := busOf(ctx).CreateConsumer(ctx, req.GetStream(), cfg)
	if err != nil {
		return nil, consumerError(ctx, err, req.GetStream())
	}
	return &porticov1.CreateConsumerResponse{Info: consumerInfo(&info), Created: created}, nil
}

// GetConsumer implements StreamService.
func (s *streamService) GetConsumer(ctx context.Context, req *porticov1.GetConsumerRequest) (*porticov1.GetConsumerResponse, error) {
	info, err := busOf(ctx).Consumer(ctx, req.GetStream(), req.GetConsumer())
	if err != nil {
		return nil, consumerError(ctx, err, req.GetStream())
	}
	return &porticov1.GetConsumerResponse{Info: consumerInfo(&info)}, nil
}

// ListConsumers implements StreamService.
func (s *streamService) ListConsumers(ctx context.Context, req *porticov1.ListConsumersRequest) (*porticov1.ListConsumersResponse, error) {
	list := func(ctx context.Context, after string, limit int) ([]core.ConsumerInfo, error) {
		return busOf(ctx).Consumers(ctx, req.GetStream(), after, limit)
	}
	consumers, next, err := page(ctx, req, func(c core.ConsumerInfo) string { return c.Config.Name }, list)
	if err != nil {
		return nil, inField(err, "stream")
	}
	resp := &porticov1.ListConsumersResponse{NextPageToken: next}
	for i := range consumers {
		resp.Consumers = append(resp.Consumers, consumerInfo(&consumers[i]))
	}
	return resp, nil
}

// DeleteConsumer implements StreamService.
func (s *streamService) DeleteConsumer(ctx context.Context, req *porticov1.DeleteConsumerRequest) (*porticov1.DeleteConsumerResponse, error) {
	if err := busOf(ctx).DeleteConsumer(ctx, req.GetStream(), req.GetConsumer()); err != nil {
		return nil, consumerError(ctx, err, req.GetStream())
	}
	return &porticov1.DeleteConsumerResponse{}, nil
}

// PauseConsumer implements StreamService.
func (s *streamService) PauseConsumer(ctx context.Context, req *porticov1.PauseConsumerRequest) (*porticov1.PauseConsumerResponse, error) {
	var k checks
	until := k.time("until", req.GetUntil())
	if req.GetUntil() != nil && !until.After(time.Now()) {
		k.fail("until", "want a time to come")
	}
	if k.err != nil {
		return nil, k.err
	}
	info, err := busOf(ctx).PauseConsumer(ctx, req.GetStream(), req.GetConsumer(), until)
	if err != nil {
		return nil, consumerError(ctx, err, req.GetStream())
	}
	return &porticov1.PauseConsumerResponse{Info: consumerInfo(&info)}, nil
}
