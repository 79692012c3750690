package grpcapi

import (
	"context"
	"strings"

	"portico/core"

	"google.golang.org/grpc/metadata"
)

// headerFor is the header that an entry of a call's metadata becomes in what the call publishes, "" if it is none: tracing, CloudEvents attributes, and what names a message for those who
// keep it. A header of the message itself counts more.
func headerFor(entry string) string {
	switch entry {
	case "traceparent", "tracestate", "baggage":
		return entry
	case "idempotency-key":
		return headerMsgID
	case "portico-message-id":
		return core.HeaderMessageID
	case "portico-correlation-id":
		return core.HeaderCorrelationID
	case "portico-type":
		return core.HeaderType
	case "portico-app-id":
		return core.HeaderAppID
	}
	if strings.HasPrefix(entry, "ce-") && !strings.HasSuffix(entry, "-bin") {
		return entry
	}
	return ""
}

// metadataOf are the headers that a call's metadata have for what it publishes, nil if none.
func metadataOf(ctx context.Context) core.Header {
	md, ok := metadata.FromIncomingContext(ctx)
	if !ok {
		return nil
	}
	var h core.Header
	for entry, values := range md {
		name := headerFor(entry)
		if name == "" {
			continue
		}
		if h == nil {
			h = core.Header{}
		}
		h[name] = values
	}
	return h
}

// metadataOfMany is metadataOf for a call that publishes many messages: what names one of them is for none.
func metadataOfMany(ctx context.Context) core.Header {
	h := metadataOf(ctx)
	for _, name := range []string{headerMsgID, core.HeaderMessageID, "ce-id"} {
		delete(h, name)
	}
	return h
}
