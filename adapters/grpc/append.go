package grpcapi

import (
	"context"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"
)

// Append implements PorticoService.
func (s *service) Append(ctx context.Context, req *porticov1.AppendRequest) (*porticov1.AppendResponse, error) {
	m, err := fromProto(req.GetMessage())
	if err != nil {
		return nil, err
	}
	bus := busOf(ctx)
	q, err := bus.Queue(req.GetQueue())
	if err != nil {
		return nil, err
	}
	s.received(m)
	begun := time.Now()
	kept := make(chan error, 1)
	bus.Append(q, m, func(_ core.Receipt, err error) { kept <- err })
	select {
	case err = <-kept:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	s.metrics.PublishSeconds.Observe(time.Since(begun).Seconds())
	return &porticov1.AppendResponse{}, nil
}
