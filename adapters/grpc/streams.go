package grpcapi

import (
	"context"
	"math"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"
)

// streamService implements the generated interface on an Adapter.
type streamService struct {
	porticov1.UnimplementedStreamServiceServer
	*Adapter
}

func storages() vocabulary[porticov1.Storage] {
	return vocabulary[porticov1.Storage]{{porticov1.Storage_STORAGE_FILE, "file"}, {porticov1.Storage_STORAGE_MEMORY, "memory"}}
}

func retentions() vocabulary[porticov1.Retention] {
	return vocabulary[porticov1.Retention]{
		{porticov1.Retention_RETENTION_LIMITS, "limits"}, {porticov1.Retention_RETENTION_INTEREST, "interest"},
		{porticov1.Retention_RETENTION_WORK_QUEUE, "workqueue"},
	}
}

func discards() vocabulary[porticov1.Discard] {
	return vocabulary[porticov1.Discard]{{porticov1.Discard_DISCARD_OLD, "old"}, {porticov1.Discard_DISCARD_NEW, "new"}}
}

// streamConfig is what s describes.
func streamConfig(s *porticov1.Stream) (core.StreamConfig, error) {
	if s == nil {
		return core.StreamConfig{}, absent("stream")
	}
	k := checks{prefix: "stream."}
	k.count("subjects", len(s.GetSubjects()), maxKeptNames)
	cfg := core.StreamConfig{
		Name: s.GetName(), Description: s.GetDescription(), Subjects: s.GetSubjects(),
		Retention: wordOf(&k, "retention", retentions(), s.GetRetention()), Storage: wordOf(&k, "storage", storages(), s.GetStorage()),
		Discard:     wordOf(&k, "discard", discards(), s.GetDiscard()),
		MaxMessages: k.number("max_messages", s.GetMaxMessages(), math.MaxInt64), MaxPerSubject: k.number("max_per_subject", s.GetMaxPerSubject(), math.MaxInt64),
		MaxBytes: k.number("max_bytes", s.GetMaxBytes(), math.MaxInt64), MaxMessageSize: int32(k.number("max_message_size", uint64(s.GetMaxMessageSize()), math.MaxInt32)),
		MaxAge:          k.duration("max_age", s.GetMaxAge(), time.Millisecond, maxTime),
		DuplicateWindow: k.duration("duplicate_window", s.GetDuplicateWindow(), time.Millisecond, maxTime),
		Replicas:        int(k.number("replicas", uint64(s.GetReplicas()), maxReplicas)),
	}
	return cfg, k.err
}

func streamInfo(s *core.StreamInfo) *porticov1.StreamInfo {
	c := &s.Config
	return &porticov1.StreamInfo{
		Stream: &porticov1.Stream{
			Name: text(c.Name), Description: text(c.Description), Subjects: texts(c.Subjects), Retention: retentions().valueOf(c.Retention),
			Storage: storages().valueOf(c.Storage), Discard: discards().valueOf(c.Discard), MaxMessages: positive(c.MaxMessages), MaxPerSubject: positive(c.MaxPerSubject),
			MaxBytes: positive(c.MaxBytes), MaxMessageSize: uint32(positive(c.MaxMessageSize)), MaxAge: duration(c.MaxAge), DuplicateWindow: duration(c.DuplicateWindow),
			Replicas: uint32(positive(c.Replicas)),
		},
		Created: timestamp(s.Created), Messages: s.Messages, Bytes: s.Bytes, FirstSequence: s.FirstSequence, LastSequence: s.LastSequence,
		LastTime: timestamp(s.LastTime), Consumers: uint32(positive(s.Consumers)), Subjects: s.Subjects,
	}
}

// CreateStream implements StreamService.
func (s *streamService) CreateStream(ctx context.Context, req *porticov1.CreateStreamRequest) (*porticov1.CreateStreamResponse, error) {
	cfg, err := streamConfig(req.GetStream())
	if err != nil {
		return nil, err
	}
	info, created, err := busOf(ctx).CreateStream(ctx, cfg)
	return refused(&porticov1.CreateStreamResponse{Info: streamInfo(&info), Created: created}, err, "stream")
}

// UpdateStream implements StreamService.
func (s *streamService) UpdateStream(ctx context.Context, req *porticov1.UpdateStreamRequest) (*porticov1.UpdateStreamResponse, error) {
	cfg, err := streamConfig(req.GetStream())
	if err != nil {
		return nil, err
	}
	info, err := busOf(ctx).UpdateStream(ctx, cfg)
	return refused(&porticov1.UpdateStreamResponse{Info: streamInfo(&info)}, err, "stream")
}

// GetStream implements StreamService.
func (s *streamService) GetStream(ctx context.Context, req *porticov1.GetStreamRequest) (*porticov1.GetStreamResponse, error) {
	info, err := busOf(ctx).Stream(ctx, req.GetStream())
	return refused(&porticov1.GetStreamResponse{Info: streamInfo(&info)}, err, "stream")
}

// ListStreams implements StreamService.
func (s *streamService) ListStreams(ctx context.Context, req *porticov1.ListStreamsRequest) (*porticov1.ListStreamsResponse, error) {
	streams, next, err := page(ctx, req, func(s core.StreamInfo) string { return s.Config.Name }, busOf(ctx).Streams)
	if err != nil {
		return nil, err
	}
	resp := &porticov1.ListStreamsResponse{NextPageToken: next}
	for i := range streams {
		resp.Streams = append(resp.Streams, streamInfo(&streams[i]))
	}
	return resp, nil
}

// DeleteStream implements StreamService.
func (s *streamService) DeleteStream(ctx context.Context, req *porticov1.DeleteStreamRequest) (*porticov1.DeleteStreamResponse, error) {
	return refused(&porticov1.DeleteStreamResponse{}, busOf(ctx).DeleteStream(ctx, req.GetStream()), "stream")
}

// PurgeStream implements StreamService.
func (s *streamService) PurgeStream(ctx context.Context, req *porticov1.PurgeStreamRequest) (*porticov1.PurgeStreamResponse, error) {
	if req.GetBefore() > 0 && req.GetKeep() > 0 {
		return nil, badField("keep", "before and keep exclude each other")
	}
	purged, err := busOf(ctx).PurgeStream(ctx, req.GetStream(), core.PurgeOptions{Subject: req.GetSubject(), Before: req.GetBefore(), Keep: req.GetKeep()})
	field := "stream"
	if err != nil && core.AsError(err).Code == core.CodeInvalid && req.GetSubject() != "" {
		field = "subject"
	}
	return refused(&porticov1.PurgeStreamResponse{Purged: purged}, err, field)
}
