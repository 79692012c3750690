package grpcapi

import (
	"context"
	"slices"
	"strings"

	"portico/core"
	"portico/core/policy"
	porticov1 "portico/proto/portico/v1"
)

// DeclareQueue implements PorticoService.
func (s *service) DeclareQueue(ctx context.Context, req *porticov1.DeclareQueueRequest) (*porticov1.DeclareQueueResponse, error) {
	wanted := req.GetQueue()
	if wanted == nil {
		return nil, absent("queue")
	}
	cfg, err := queueConfig(wanted)
	if err != nil {
		return nil, err
	}
	q, created, err := busOf(ctx).DeclareQueue(ctx, cfg)
	if err == nil && q.Config().Owner != "" {
		err = core.Errorf(core.CodeLocked, "the queue belongs to one connection of another door")
	}
	if err != nil {
		return nil, inField(err, "queue")
	}
	return &porticov1.DeclareQueueResponse{Created: created}, nil
}

// DeleteQueue implements PorticoService.
func (s *service) DeleteQueue(ctx context.Context, req *porticov1.DeleteQueueRequest) (*porticov1.DeleteQueueResponse, error) {
	bus := busOf(ctx)
	if _, err := bus.Queue(req.GetQueue()); err != nil {
		return nil, inField(err, "queue")
	}
	ready, err := bus.DeleteQueue(ctx, req.GetQueue())
	if err != nil {
		return nil, inField(err, "queue")
	}
	return &porticov1.DeleteQueueResponse{Ready: uint64(ready)}, nil
}

// GetQueue implements PorticoService.
func (s *service) GetQueue(ctx context.Context, req *porticov1.GetQueueRequest) (*porticov1.GetQueueResponse, error) {
	bus := busOf(ctx)
	q, err := bus.Queue(req.GetQueue())
	if err != nil {
		return nil, inField(err, "queue")
	}
	info, err := describe(bus, q)
	if err != nil {
		return nil, err
	}
	return &porticov1.GetQueueResponse{Info: info}, nil
}

// visibleQueues are those that the caller may consume: the others are not told of.
func visibleQueues(bus *core.Bus) []*core.Queue {
	return slices.DeleteFunc(bus.Queues(), func(q *core.Queue) bool { return !bus.Decide(policy.Consume, policy.Resource{Name: q.Name()}).Allowed })
}

// ListQueues implements PorticoService.
func (s *service) ListQueues(ctx context.Context, req *porticov1.ListQueuesRequest) (*porticov1.ListQueuesResponse, error) {
	after, size, err := pageOf(req)
	if err != nil {
		return nil, err
	}
	bus := busOf(ctx)
	queues := visibleQueues(bus)
	if len(after) > 0 {
		from, found := slices.BinarySearchFunc(queues, after, func(q *core.Queue, name string) int {
			return strings.Compare(q.Config().Name, name)
		})
		if found {
			from++
		}
		queues = queues[from:]
	}
	resp := &porticov1.ListQueuesResponse{}
	if len(queues) > size {
		queues = queues[:size]
		resp.NextPageToken = pageToken(queues[size-1].Config().Name)
	}
	for _, q := range queues {
		if info, err := describe(bus, q); err == nil { // else it has been deleted meanwhile
			resp.Queues = append(resp.Queues, info)
		}
	}
	return resp, nil
}

func describe(bus *core.Bus, q *core.Queue) (*porticov1.QueueInfo, error) {
	stats, err := q.Stats()
	if err != nil {
		return nil, err
	}
	cfg, rules := q.Config(), q.Rules()
	info := &porticov1.QueueInfo{
		Queue:     toQueue(&cfg, &cfg.QueueRules),
		Ready:     uint64(stats.Ready),
		Unacked:   uint64(stats.Unacked),
		Consumers: uint32(stats.Consumers),
		Bytes:     uint64(stats.Bytes),
		Exclusive: cfg.Owner != "",
	}
	if rules != cfg.QueueRules {
		info.Effective = toQueue(&cfg, &rules)
	}
	for _, binding := range bus.Bindings(cfg.Name) {
		info.Bindings = append(info.Bindings, text(binding.Pattern))
	}
	return info, nil
}

// consumable returns a queue that the caller may take messages from.
func consumable(bus *core.Bus, name string) (*core.Queue, error) {
	return queueTo(policy.Consume, bus, name)
}

// queueTo returns a queue that the caller may do a with.
func queueTo(a policy.Action, bus *core.Bus, name string) (*core.Queue, error) {
	if err := bus.May(a, name); err != nil {
		return nil, inField(err, "queue")
	}
	q, err := bus.Queue(name)
	return q, inField(err, "queue")
}

// PurgeQueue implements PorticoService.
func (s *service) PurgeQueue(ctx context.Context, req *porticov1.PurgeQueueRequest) (*porticov1.PurgeQueueResponse, error) {
	q, err := queueTo(policy.Purge, busOf(ctx), req.GetQueue())
	if err != nil {
		return nil, err
	}
	purged, err := q.Purge()
	if err != nil {
		return nil, err
	}
	return &porticov1.PurgeQueueResponse{Purged: uint64(purged)}, nil
}

// bindError names the field that an error of binding is about: the queue, or else the pattern.
func bindError(bus *core.Bus, err error, pattern string) error {
	field := "queue"
	if bus.Allow("subscribe", pattern) != nil {
		field = "pattern"
	}
	return inField(err, field)
}

// Bind implements PorticoService.
func (s *service) Bind(ctx context.Context, req *porticov1.BindRequest) (*porticov1.BindResponse, error) {
	if err := busOf(ctx).Bind(ctx, core.Binding{Pattern: req.GetPattern(), Queue: req.GetQueue()}); err != nil {
		return nil, bindError(busOf(ctx), err, req.GetPattern())
	}
	return &porticov1.BindResponse{}, nil
}

// Unbind implements PorticoService.
func (s *service) Unbind(ctx context.Context, req *porticov1.UnbindRequest) (*porticov1.UnbindResponse, error) {
	if err := busOf(ctx).Unbind(ctx, core.Binding{Pattern: req.GetPattern(), Queue: req.GetQueue()}); err != nil {
		return nil, bindError(busOf(ctx), err, req.GetPattern())
	}
	return &porticov1.UnbindResponse{}, nil
}
