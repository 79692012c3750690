package grpcapi

import (
	"context"
	"strings"
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
	if err := bus.Allow("publish", core.QueueSubject(req.GetQueue())); err != nil {
		return nil, err
	}
	q, err := bus.Queue(req.GetQueue())
	if err != nil {
		return nil, err
	}
	if err := s.admit(bus, m); err != nil {
		return nil, err
	}
	s.received(m)
	begun := time.Now()
	kept := make(chan error, 1)
	q.AppendFunc(core.Seal(m), func(err error) { kept <- err })
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

// admit applies to a direct append what Publish checks by itself: alarms, size, headers; and takes off the headers that a client may not
// set.
func (a *Adapter) admit(bus *core.Bus, m *core.Message) error {
	if alarms := a.gateway.Alarms(); len(alarms) > 0 {
		return core.Errorf(core.CodeResourceExhausted, "no messages are taken now: %s", alarms[0].Detail)
	}
	size := len(m.Data)
	for name, values := range m.Header {
		if reserved(name) || strings.EqualFold(name, core.HeaderUserID) && (len(values) != 1 || values[0] != bus.User()) {
			delete(m.Header, name)
			continue
		}
		if name == "" || strings.ContainsFunc(name, notInName) {
			return core.Errorf(core.CodeInvalid, "header name %q has a character that is not allowed", name)
		}
		for _, value := range values {
			if strings.ContainsAny(value, "\r\n\x00") {
				return core.Errorf(core.CodeInvalid, "the value of header %q is not a single line", name)
			}
			size += len(name) + len(value)
		}
	}
	if limit := a.gateway.MaxMessage(); size > limit {
		return core.Errorf(core.CodeTooLarge, "a message of %d bytes: at most %d", size, limit)
	}
	return nil
}

func notInName(c rune) bool { return c <= ' ' || c >= 0x7f || c == ':' }

// reserved tells whether a header is a command to the bus or the gateway's own.
func reserved(name string) bool {
	lower := strings.ToLower(name)
	switch lower {
	case "nats-msg-id", "nats-ttl":
		return false
	}
	for _, property := range []string{
		core.HeaderMessageID, core.HeaderCorrelationID, core.HeaderType, core.HeaderAppID, core.HeaderUserID,
		core.HeaderTimestamp, core.HeaderExpiration, core.HeaderPriority, core.HeaderDeliveryMode, core.HeaderReplyTo,
	} {
		if strings.EqualFold(name, property) {
			return false
		}
	}
	return lower == "kv-operation" || strings.HasPrefix(lower, "portico-") || strings.HasPrefix(lower, "nmqtt-") ||
		strings.HasPrefix(lower, "nats-") && !strings.HasPrefix(lower, "nats-expected-")
}
