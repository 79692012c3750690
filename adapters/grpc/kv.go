package grpcapi

import (
	"context"
	"math"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
)

// kvService implements the generated interface on an Adapter.
type kvService struct {
	porticov1.UnimplementedKeyValueServiceServer
	*Adapter
}

const maxHistory = 64

// bucketConfig is what b describes.
func bucketConfig(b *porticov1.Bucket) (core.BucketConfig, error) {
	if b == nil {
		return core.BucketConfig{}, absent("bucket")
	}
	k := checks{prefix: "bucket."}
	cfg := core.BucketConfig{
		Name: b.GetName(), Description: b.GetDescription(), History: uint8(k.number("history", uint64(b.GetHistory()), maxHistory)),
		TTL:          k.duration("ttl", b.GetTtl(), time.Millisecond, maxTime),
		MaxBytes:     k.number("max_bytes", b.GetMaxBytes(), math.MaxInt64),
		MaxValueSize: int32(k.number("max_value_size", uint64(b.GetMaxValueSize()), math.MaxInt32)),
		Storage:      wordOf(&k, "storage", storages(), b.GetStorage()), Replicas: int(k.number("replicas", uint64(b.GetReplicas()), maxReplicas)),
	}
	return cfg, k.err
}

func bucketInfo(b *core.BucketInfo) *porticov1.BucketInfo {
	c := &b.Config
	return &porticov1.BucketInfo{
		Bucket: &porticov1.Bucket{
			Name: text(c.Name), Description: text(c.Description), History: uint32(c.History), Ttl: duration(c.TTL), MaxBytes: positive(c.MaxBytes),
			MaxValueSize: uint32(positive(c.MaxValueSize)), Storage: storages().valueOf(c.Storage), Replicas: uint32(positive(c.Replicas)),
		},
		Values: b.Values, Bytes: b.Bytes,
	}
}

// CreateBucket implements KeyValueService.
func (s *kvService) CreateBucket(ctx context.Context, req *porticov1.CreateBucketRequest) (*porticov1.CreateBucketResponse, error) {
	cfg, err := bucketConfig(req.GetBucket())
	if err != nil {
		return nil, err
	}
	info, created, err := busOf(ctx).CreateBucket(ctx, cfg)
	return refused(&porticov1.CreateBucketResponse{Info: bucketInfo(&info), Created: created}, err, "bucket")
}

// UpdateBucket implements KeyValueService.
func (s *kvService) UpdateBucket(ctx context.Context, req *porticov1.UpdateBucketRequest) (*porticov1.UpdateBucketResponse, error) {
	cfg, err := bucketConfig(req.GetBucket())
	if err != nil {
		return nil, err
	}
	info, err := busOf(ctx).UpdateBucket(ctx, cfg)
	return refused(&porticov1.UpdateBucketResponse{Info: bucketInfo(&info)}, err, "bucket")
}

// GetBucket implements KeyValueService.
func (s *kvService) GetBucket(ctx context.Context, req *porticov1.GetBucketRequest) (*porticov1.GetBucketResponse, error) {
	info, err := busOf(ctx).Bucket(ctx, req.GetBucket())
	return refused(&porticov1.GetBucketResponse{Info: bucketInfo(&info)}, err, "bucket")
}

// ListBuckets implements KeyValueService.
func (s *kvService) ListBuckets(ctx context.Context, req *porticov1.ListBucketsRequest) (*porticov1.ListBucketsResponse, error) {
	buckets, next, err := page(ctx, req, func(b core.BucketInfo) string { return b.Config.Name }, busOf(ctx).Buckets)
	if err != nil {
		return nil, err
	}
	resp := &porticov1.ListBucketsResponse{NextPageToken: next}
	for i := range buckets {
		resp.Buckets = append(resp.Buckets, bucketInfo(&buckets[i]))
	}
	return resp, nil
}

// DeleteBucket implements KeyValueService.
func (s *kvService) DeleteBucket(ctx context.Context, req *porticov1.DeleteBucketRequest) (*porticov1.DeleteBucketResponse, error) {
	return refused(&porticov1.DeleteBucketResponse{}, busOf(ctx).DeleteBucket(ctx, req.GetBucket()), "bucket")
}

// ListKeys implements KeyValueService.
func (s *kvService) ListKeys(ctx context.Context, req *porticov1.ListKeysRequest) (*porticov1.ListKeysResponse, error) {
	list := func(ctx context.Context, after string, limit int) ([]string, error) {
		return busOf(ctx).Keys(ctx, req.GetBucket(), keyPattern(req.GetPattern()), after, limit)
	}
	keys, next, err := page(ctx, req, func(key string) string { return key }, list)
	return refused(&porticov1.ListKeysResponse{Keys: texts(keys), NextPageToken: next}, err, patternField(err))
}

func keyPattern(pattern string) string {
	if pattern == "" {
		return ">"
	}
	return pattern
}

// patternField is the field that an error of a call with a bucket and a pattern is about.
func patternField(err error) string {
	if err != nil && core.AsError(err).Code == core.CodeInvalid {
		return "pattern"
	}
	return "bucket"
}

// WatchKeys implements KeyValueService.
func (s *kvService) WatchKeys(req *porticov1.WatchKeysRequest, stream grpc.ServerStreamingServer[porticov1.WatchKeysResponse]) error {
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	defer s.onDrain(func() { end(errDraining) })()
	return s.run(ctx, func() error {
		err := busOf(ctx).Watch(ctx, req.GetBucket(), keyPattern(req.GetPattern()), req.GetAfterRevision(), func(e *core.KVEntry) error {
			if e == nil {
				return stream.Send(&porticov1.WatchKeysResponse{Frame: &porticov1.WatchKeysResponse_CaughtUp{CaughtUp: &porticov1.WatchCaughtUp{}}})
			}
			s.sent(e.Value)
			return stream.Send(&porticov1.WatchKeysResponse{Frame: &porticov1.WatchKeysResponse_Entry{Entry: keyValue(e)}})
		})
		switch {
		case err == nil:
			return context.Cause(ctx)
		case core.AsError(err).Code == core.CodePreconditionFailed:
			return inField(err, "after_revision")
		}
		return inField(err, patternField(err))
	})
}
