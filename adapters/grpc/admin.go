package grpcapi

import (
	"context"
	"maps"
	"slices"
	"strings"

	"portico/core"
	"portico/core/policy"
	porticov1 "portico/proto/portico/v1"
)

// adminService implements the generated interface on an Adapter.
type adminService struct {
	porticov1.UnimplementedAdminServiceServer
	*Adapter
}

// GetStatus implements AdminService.
func (s *adminService) GetStatus(ctx context.Context, _ *porticov1.GetStatusRequest) (*porticov1.GetStatusResponse, error) {
	resp := &porticov1.GetStatusResponse{Ready: true, User: text(busOf(ctx).User()), MaxMessage: uint64(s.gateway.MaxMessage())}
	if err := s.gateway.Ready(); err != nil {
		resp.Ready, resp.Reason = false, detailOf(core.AsError(err))
	}
	for _, alarm := range s.gateway.Alarms() {
		resp.Alarms = append(resp.Alarms, &porticov1.Alarm{Name: text(alarm.Name), Detail: text(alarm.Detail)})
	}
	return resp, nil
}

// doorFields are the metrics of a door that are told.
func doorFields() map[string]func(*porticov1.Door) *uint64 {
	return map[string]func(*porticov1.Door) *uint64{
		"portico_connections":        func(d *porticov1.Door) *uint64 { return &d.Connections },
		"portico_messages_in_total":  func(d *porticov1.Door) *uint64 { return &d.MessagesIn },
		"portico_messages_out_total": func(d *porticov1.Door) *uint64 { return &d.MessagesOut },
		"portico_bytes_in_total":     func(d *porticov1.Door) *uint64 { return &d.BytesIn },
		"portico_bytes_out_total":    func(d *porticov1.Door) *uint64 { return &d.BytesOut },
		"portico_acks_total":         func(d *porticov1.Door) *uint64 { return &d.Acks },
		"portico_redeliveries_total": func(d *porticov1.Door) *uint64 { return &d.Redeliveries },
	}
}

// ListDoors implements AdminService.
func (s *adminService) ListDoors(ctx context.Context, _ *porticov1.ListDoorsRequest) (*porticov1.ListDoorsResponse, error) {
	if !busOf(ctx).Decide(policy.Monitor, policy.Resource{}).Allowed {
		return nil, core.Errorf(core.CodePermissionDenied, "whoever looks at the doors has to be allowed everything, or to have the role monitoring or administrator")
	}
	families, err := s.gateway.Registry().Gather()
	if err != nil {
		return nil, err
	}
	doors, fields := map[string]*porticov1.Door{}, doorFields()
	for _, family := range families {
		field, ok := fields[family.GetName()]
		if !ok {
			continue
		}
		for _, metric := range family.GetMetric() {
			name := ""
			for _, label := range metric.GetLabel() {
				if label.GetName() == "door" {
					name = label.GetValue()
				}
			}
			if doors[name] == nil {
				doors[name] = &porticov1.Door{Name: text(name)}
			}
			*field(doors[name]) = uint64(max(0, metric.GetCounter().GetValue()+metric.GetGauge().GetValue()))
		}
	}
	resp := &porticov1.ListDoorsResponse{}
	for _, name := range slices.Sorted(maps.Keys(doors)) {
		resp.Doors = append(resp.Doors, doors[name])
	}
	return resp, nil
}

// ListBindings implements AdminService. A page is found by its place in the order of queues and patterns, so that what is bound meanwhile does not matter.
func (s *adminService) ListBindings(ctx context.Context, req *porticov1.ListBindingsRequest) (*porticov1.ListBindingsResponse, error) {
	bus := busOf(ctx)
	var queues []*core.Queue
	if req.GetQueue() == "" {
		queues = visibleQueues(bus)
	} else {
		q, err := bus.Queue(req.GetQueue())
		if err != nil {
			return nil, inField(err, "queue")
		}
		queues = []*core.Queue{q}
	}
	list := func(_ context.Context, after string, limit int) ([]core.Binding, error) {
		queue, pattern, _ := strings.Cut(after, "\x00")
		return bindingsBehind(bus, queues, core.Binding{Queue: queue, Pattern: pattern}, limit), nil
	}
	bindings, next, err := page(ctx, req, func(b core.Binding) string { return b.Queue + "\x00" + b.Pattern }, list)
	if err != nil {
		return nil, err
	}
	resp := &porticov1.ListBindingsResponse{NextPageToken: next}
	for _, b := range bindings {
		resp.Bindings = append(resp.Bindings, &porticov1.QueueBinding{Queue: text(b.Queue), Pattern: text(b.Pattern)})
	}
	return resp, nil
}

// bindingsBehind are up to limit bindings of queues, which are sorted, behind one.
func bindingsBehind(bus *core.Bus, queues []*core.Queue, after core.Binding, limit int) []core.Binding {
	var found []core.Binding
	from, _ := slices.BinarySearchFunc(queues, after.Queue, func(q *core.Queue, name string) int { return strings.Compare(q.Name(), name) })
	for _, q := range queues[from:] {
		for _, b := range bus.Bindings(q.Name()) {
			if q.Name() == after.Queue && b.Pattern <= after.Pattern {
				continue
			}
			if found = append(found, b); len(found) == limit {
				return found
			}
		}
	}
	return found
}
