package grpcapi

import (
	"context"
	"sync/atomic"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"
)

// service implements the generated interface on an Adapter.
type service struct {
	porticov1.UnimplementedPorticoServiceServer
	*Adapter
}

// received counts a message that came in.
func (a *Adapter) received(m *core.Message) {
	a.metrics.In.Inc()
	a.metrics.BytesIn.Add(float64(len(m.Data)))
}

// sent counts a message that went out.
func (a *Adapter) sent(data []byte) {
	a.metrics.Out.Inc()
	a.metrics.BytesOut.Add(float64(len(data)))
}

const (
	headerMsgID = "Nats-Msg-Id"
	maxMsgID    = 255
	maxBatch    = 1000
)

// toPublish is a request to publish a message, perhaps under a name.
type toPublish interface {
	GetMessage() *porticov1.Message
	GetMsgId() string
}

// publishable makes a core.Message of a request, with the headers that the call's metadata have for it.
func publishable(req toPublish, extra core.Header) (*core.Message, error) {
	m, err := fromProto(req.GetMessage())
	if err != nil {
		return nil, err
	}
	return m, name(m, req.GetMsgId(), extra)
}

// name gives a message its name for those who keep it, and the headers that the call has for it.
func name(m *core.Message, id string, extra core.Header) error {
	if len(id) > maxMsgID {
		return badField("msg_id", "%d bytes: at most %d", len(id), maxMsgID)
	}
	for header, values := range extra {
		if len(m.Header.Values(header)) == 0 {
			m.Header[header] = values
		}
	}
	if id != "" {
		m.Header.Set(headerMsgID, id)
	}
	return nil
}

// publishError names the field that an error of publishing m is about.
func publishError(bus *core.Bus, m *core.Message, err error) error {
	if err == nil {
		return nil
	}
	switch core.AsError(err).Code {
	case core.CodeTooLarge:
		return inField(err, "message.data")
	case core.CodeInvalid, core.CodePermissionDenied:
		return inField(err, publishField(bus, m, core.AsError(err).Code == core.CodeInvalid))
	case core.CodePreconditionFailed:
		return inField(err, "message.headers") // Nats-Expected-…
	}
	return err
}

// publishField is what of a message is invalid, or not allowed.
func publishField(bus *core.Bus, m *core.Message, invalid bool) string {
	switch {
	case bus.Allow("publish", m.Subject) != nil:
		return "message.subject"
	case m.Reply != "" && bus.Allow("publish", m.Reply) != nil:
		return "message.reply"
	case invalid:
		return "message.headers"
	}
	return "message.subject" // for this kind of use
}

// Publish implements PorticoService.
func (s *service) Publish(ctx context.Context, req *porticov1.PublishRequest) (*porticov1.PublishResponse, error) {
	m, err := publishable(req, metadataOf(ctx))
	if err != nil {
		return nil, err
	}
	s.received(m)
	begun := time.Now()
	r, err := busOf(ctx).Publish(ctx, m)
	if err != nil {
		return nil, publishError(busOf(ctx), m, err)
	}
	s.metrics.PublishSeconds.Observe(time.Since(begun).Seconds())
	return &porticov1.PublishResponse{Queues: uint32(r.Queues), Live: r.Live, Stream: text(r.Stream), Sequence: r.Sequence, Duplicate: r.Duplicate}, nil
}

// publishResult is the answer to one message of many.
func publishResult(id uint64, r core.Receipt, err error) *porticov1.PublishResult {
	if err != nil {
		return &porticov1.PublishResult{Id: id, Failure: toFailure(err)}
	}
	return &porticov1.PublishResult{Id: id, Queues: uint32(r.Queues), Live: r.Live, Stream: text(r.Stream), Sequence: r.Sequence, Duplicate: r.Duplicate}
}

// PublishBatch implements PorticoService.
func (s *service) PublishBatch(ctx context.Context, req *porticov1.PublishBatchRequest) (*porticov1.PublishBatchResponse, error) {
	n := len(req.GetMessages())
	if n == 0 || n > maxBatch {
		return nil, badField("messages", "%d of them: want 1 to %d", n, maxBatch)
	}
	results := make([]*porticov1.PublishResult, n)
	var open atomic.Int64
	open.Store(int64(n))
	kept := make(chan struct{})
	bus, extra := busOf(ctx), metadataOfMany(ctx)
	for i, one := range req.GetMessages() {
		s.publishOne(bus, one, extra, func(r core.Receipt, err error) {
			results[i] = publishResult(uint64(i), r, err)
			if open.Add(-1) == 0 {
				close(kept)
			}
		})
	}
	select {
	case <-kept:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	resp := &porticov1.PublishBatchResponse{Results: results}
	for _, result := range results {
		if result.GetFailure() != nil {
			resp.Failed++
		}
	}
	return resp, nil
}

// publishOne publishes one message of many and calls done once, from any goroutine, perhaps before it returns.
func (s *service) publishOne(bus *core.Bus, req toPublish, extra core.Header, done func(core.Receipt, error)) {
	m, err := publishable(req, extra)
	if err != nil {
		done(core.Receipt{}, err)
		return
	}
	s.received(m)
	begun := time.Now()
	bus.PublishAsync(m, func(r core.Receipt, err error) {
		if err == nil {
			s.metrics.PublishSeconds.Observe(time.Since(begun).Seconds())
		}
		done(r, publishError(bus, m, err))
	})
}
