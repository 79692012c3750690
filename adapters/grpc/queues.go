package grpcapi

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"portico/core"
	porticov1 "portico/proto/portico/v1"
)

// DeclareQueue implements PorticoService.
func (s *service) DeclareQueue(ctx context.Context, req *porticov1.DeclareQueueRequest) (*porticov1.DeclareQueueResponse, error) {
	wanted := req.GetQueue()
	if wanted == nil {
		return nil, core.Errorf(core.CodeInvalid, "the queue is missing")
	}
	cfg, err := queueConfig(wanted)
	if err != nil {
		return nil, err
	}
	q, created, err := busOf(ctx).DeclareQueue(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if q.Config().Owner != "" {
		return nil, core.Errorf(core.CodeLocked, "the queue belongs to one connection of another door")
	}
	return &porticov1.DeclareQueueResponse{Created: created}, nil
}

// DeleteQueue implements PorticoService.
func (s *service) DeleteQueue(ctx context.Context, req *porticov1.DeleteQueueRequest) (*porticov1.DeleteQueueResponse, error) {
	bus := busOf(ctx)
	if _, err := bus.Queue(req.GetQueue()); err != nil {
		return nil, err
	}
	ready, err := bus.DeleteQueue(ctx, req.GetQueue())
	if err != nil {
		return nil, err
	}
	return &porticov1.DeleteQueueResponse{Ready: uint64(ready)}, nil
}

// GetQueue implements PorticoService.
func (s *service) GetQueue(ctx context.Context, req *porticov1.GetQueueRequest) (*porticov1.GetQueueResponse, error) {
	bus := busOf(ctx)
	q, err := bus.Queue(req.GetQueue())
	if err != nil {
		return nil, err
	}
	info, err := describe(bus, q)
	if err != nil {
		return nil, err
	}
	return &porticov1.GetQueueResponse{Info: info}, nil
}

const maxPage = 1000

// ListQueues implements PorticoService.
func (s *service) ListQueues(ctx context.Context, req *porticov1.ListQueuesRequest) (*porticov1.ListQueuesResponse, error) {
	after, err := base64.RawURLEncoding.DecodeString(req.GetPageToken())
	if err != nil {
		return nil, core.Errorf(core.CodeInvalid, "the page token is not one of ours")
	}
	size := int(min(req.GetPageSize(), maxPage))
	if size == 0 {
		size = maxPage
	}
	bus := busOf(ctx)
	queues := bus.Queues()
	if len(after) > 0 {
		from, found := slices.BinarySearchFunc(queues, string(after), func(q *core.Queue, name string) int {
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
		resp.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(queues[size-1].Config().Name))
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
	if err := bus.Allow("subscribe", core.QueueSubject(name)); err != nil {
		return nil, err
	}
	return bus.Queue(name)
}

// PurgeQueue implements PorticoService.
func (s *service) PurgeQueue(ctx context.Context, req *porticov1.PurgeQueueRequest) (*porticov1.PurgeQueueResponse, error) {
	q, err := consumable(busOf(ctx), req.GetQueue())
	if err != nil {
		return nil, err
	}
	purged, err := q.Purge()
	if err != nil {
		return nil, err
	}
	return &porticov1.PurgeQueueResponse{Purged: uint64(purged)}, nil
}

// Bind implements PorticoService.
func (s *service) Bind(ctx context.Context, req *porticov1.BindRequest) (*porticov1.BindResponse, error) {
	if err := busOf(ctx).Bind(ctx, core.Binding{Pattern: req.GetPattern(), Queue: req.GetQueue()}); err != nil {
		return nil, err
	}
	return &porticov1.BindResponse{}, nil
}

// Unbind implements PorticoService.
func (s *service) Unbind(ctx context.Context, req *porticov1.UnbindRequest) (*porticov1.UnbindResponse, error) {
	if err := busOf(ctx).Unbind(ctx, core.Binding{Pattern: req.GetPattern(), Queue: req.GetQueue()}); err != nil {
		return nil, err
	}
	return &porticov1.UnbindResponse{}, nil
}
