package grpcapi

import (
	"context"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"
)

// Append implements PorticoService.
func (s *service) Append(ctx context.Context, req *porticov1.AppendRequest) (*porticov1.AppendResponse, error) {
	m, err := publishable(req, metadataOf(ctx))
	if err != nil {
		return nil, err
	}
	bus := busOf(ctx)
	q, err := bus.Queue(req.GetQueue())
	if err != nil {
		return nil, inField(err, "queue")
	}
	s.received(m)
	begun := time.Now()
	type outcome struct {
		receipt core.Receipt
		err     error
	}
	kept := make(chan outcome, 1)
	bus.Append(q, m, func(r core.Receipt, err error) { kept <- outcome{r, err} })
	select {
	case got := <-kept:
		if got.err != nil {
			return nil, appendError(bus, m, got.err)
		}
		s.metrics.PublishSeconds.Observe(time.Since(begun).Seconds())
		return &porticov1.AppendResponse{Duplicate: got.receipt.Duplicate}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// appendError is publishError for a message whose subject may be empty.
func appendError(bus *core.Bus, m *core.Message, err error) error {
	switch code := core.AsError(err).Code; {
	case code == core.CodePermissionDenied, code == core.CodeNotFound:
		return inField(err, "queue")
	case code == core.CodeInvalid && m.Subject == "":
		return inField(err, "message.headers")
	}
	return publishError(bus, m, err)
}
