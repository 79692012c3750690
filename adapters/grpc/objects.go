package grpcapi

import (
	"context"
	"math"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"
)

// objectService implements the generated interface on an Adapter.
type objectService struct {
	porticov1.UnimplementedObjectServiceServer
	*Adapter
}

// objectBucketConfig is what b describes.
func objectBucketConfig(b *porticov1.ObjectBucket) (core.ObjectBucketConfig, error) {
	if b == nil {
		return core.ObjectBucketConfig{}, absent("bucket")
	}
	k := checks{prefix: "bucket."}
	cfg := core.ObjectBucketConfig{
		Name: b.GetName(), Description: b.GetDescription(), TTL: k.duration("ttl", b.GetTtl(), time.Millisecond, maxTime),
		MaxBytes: k.number("max_bytes", b.GetMaxBytes(), math.MaxInt64), Storage: wordOf(&k, "storage", storages(), b.GetStorage()),
		Replicas: int(k.number("replicas", uint64(b.GetReplicas()), maxReplicas)),
	}
	return cfg, k.err
}

func objectBucketInfo(b *core.ObjectBucketInfo) *porticov1.ObjectBucketInfo {
	c := &b.Config
	return &porticov1.ObjectBucketInfo{
		Bucket: &porticov1.ObjectBucket{
			Name: text(c.Name), Description: text(c.Description), Ttl: duration(c.TTL), MaxBytes: positive(c.MaxBytes), Storage: storages().valueOf(c.Storage),
			Replicas: uint32(positive(c.Replicas)),
		},
		Bytes: b.Bytes,
	}
}

func objectInfo(o *core.ObjectInfo) *porticov1.ObjectInfo {
	return &porticov1.ObjectInfo{
		Name: text(o.Name), Description: text(o.Description), Headers: toHeaders(o.Header), Size: positive(o.Size), Modified: timestamp(o.Modified),
		Sha256: o.SHA256, Version: text(o.ID),
	}
}

// objectError names the field that an error of a call on an object is about.
func objectError(ctx context.Context, err error, bucket string) error {
	if err == nil {
		return nil
	}
	if _, missing := busOf(ctx).ObjectBucket(ctx, bucket); missing != nil {
		return inField(err, "bucket")
	}
	return inField(err, "name")
}

// CreateObjectBucket implements ObjectService.
func (s *objectService) CreateObjectBucket(ctx context.Context, req *porticov1.CreateObjectBucketRequest) (*porticov1.CreateObjectBucketResponse, error) {
	cfg, err := objectBucketConfig(req.GetBucket())
	if err != nil {
		return nil, err
	}
	info, created, err := busOf(ctx).CreateObjectBucket(ctx, cfg)
	return refused(&porticov1.CreateObjectBucketResponse{Info: objectBucketInfo(&info), Created: created}, err, "bucket")
}

// GetObjectBucket implements ObjectService.
func (s *objectService) GetObjectBucket(ctx context.Context, req *porticov1.GetObjectBucketRequest) (*porticov1.GetObjectBucketResponse, error) {
	info, err := busOf(ctx).ObjectBucket(ctx, req.GetBucket())
	return refused(&porticov1.GetObjectBucketResponse{Info: objectBucketInfo(&info)}, err, "bucket")
}

// ListObjectBuckets implements ObjectService.
func (s *objectService) ListObjectBuckets(ctx context.Context, req *porticov1.ListObjectBucketsRequest) (*porticov1.ListObjectBucketsResponse, error) {
	buckets, next, err := page(ctx, req, func(b core.ObjectBucketInfo) string { return b.Config.Name }, busOf(ctx).ObjectBuckets)
	if err != nil {
		return nil, err
	}
	resp := &porticov1.ListObjectBucketsResponse{NextPageToken: next}
	for i := range buckets {
		resp.Buckets = append(resp.Buckets, objectBucketInfo(&buckets[i]))
	}
	return resp, nil
}

// DeleteObjectBucket implements ObjectService.
func (s *objectService) DeleteObjectBucket(ctx context.Context, req *porticov1.DeleteObjectBucketRequest) (*porticov1.DeleteObjectBucketResponse, error) {
	return refused(&porticov1.DeleteObjectBucketResponse{}, busOf(ctx).DeleteObjectBucket(ctx, req.GetBucket()), "bucket")
}

// GetObjectInfo implements ObjectService.
func (s *objectService) GetObjectInfo(ctx context.Context, req *porticov1.GetObjectInfoRequest) (*porticov1.GetObjectInfoResponse, error) {
	info, err := busOf(ctx).ObjectInfo(ctx, req.GetBucket(), req.GetName())
	if err != nil {
		return nil, objectError(ctx, err, req.GetBucket())
	}
	return &porticov1.GetObjectInfoResponse{Info: objectInfo(&info)}, nil
}

// ListObjects implements ObjectService.
func (s *objectService) ListObjects(ctx context.Context, req *porticov1.ListObjectsRequest) (*porticov1.ListObjectsResponse, error) {
	list := func(ctx context.Context, after string, limit int) ([]core.ObjectInfo, error) {
		return busOf(ctx).Objects(ctx, req.GetBucket(), after, limit)
	}
	objects, next, err := page(ctx, req, func(o core.ObjectInfo) string { return o.Name }, list)
	if err != nil {
		return nil, inField(err, "bucket")
	}
	resp := &porticov1.ListObjectsResponse{NextPageToken: next}
	for i := range objects {
		resp.Objects = append(resp.Objects, objectInfo(&objects[i]))
	}
	return resp, nil
}

// DeleteObject implements ObjectService.
func (s *objectService) DeleteObject(ctx context.Context, req *porticov1.DeleteObjectRequest) (*porticov1.DeleteObjectResponse, error) {
	if err := busOf(ctx).DeleteObject(ctx, req.GetBucket(), req.GetName()); err != nil {
		return nil, objectError(ctx, err, req.GetBucket())
	}
	return &porticov1.DeleteObjectResponse{}, nil
}
