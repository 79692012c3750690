package core

import (
	"context"
	"io"
	"time"
)

// Object buckets are JetStream's object stores, in the tenant's account. To put and delete needs the permission to publish on $O.bucket.>, to get and list that to subscribe to it.

// ObjectBucketConfig describes an object bucket.
type ObjectBucketConfig struct {
	Name        string        `json:"name"` // [A-Za-z0-9_-]+
	Description string        `json:"description,omitempty"`
	TTL         time.Duration `json:"ttl,omitempty"` // 0: for ever
	MaxBytes    int64         `json:"max_bytes,omitempty"`
	Storage     string        `json:"storage,omitempty"` // "file" (default), "memory"
	Replicas    int           `json:"replicas,omitempty"`
}

// ObjectBucketInfo is an object bucket and what it holds.
type ObjectBucketInfo struct {
	Config ObjectBucketConfig
	Bytes  uint64
}

// ObjectMeta is what a client says of an object.
type ObjectMeta struct {
	Name        string // any text of 1 to 1024 bytes
	Description string
	Header      Header // Content-Type and its kin
}

// ObjectInfo is an object without its bytes.
type ObjectInfo struct {
	ObjectMeta
	Size     int64
	Modified time.Time
	SHA256   []byte
	ID       string // of this version of it
}

// CreateObjectBucket creates a bucket, or finds the one of that name and those properties. CodePreconditionFailed, CodeInvalid, CodePermissionDenied.
func (b *Bus) CreateObjectBucket(ctx context.Context, cfg ObjectBucketConfig) (info ObjectBucketInfo, created bool, err error) {
	return ObjectBucketInfo{}, false, Errorf(CodeUnimplemented, "objects")
}

// ObjectBucket describes a bucket. CodeNotFound.
func (b *Bus) ObjectBucket(ctx context.Context, name string) (ObjectBucketInfo, error) {
	return ObjectBucketInfo{}, Errorf(CodeUnimplemented, "objects")
}

// ObjectBuckets lists the buckets by name, those behind after, at most limit.
func (b *Bus) ObjectBuckets(ctx context.Context, after string, limit int) ([]ObjectBucketInfo, error) {
	return nil, Errorf(CodeUnimplemented, "objects")
}

// DeleteObjectBucket deletes a bucket with everything in it. CodeNotFound.
func (b *Bus) DeleteObjectBucket(ctx context.Context, name string) error {
	return Errorf(CodeUnimplemented, "objects")
}

// PutObject stores what body has to its end, in place of the object of that name if there is one, and returns when it is on disk. digest, if not nil, is the SHA-256 that it must have
// (CodePreconditionFailed, and nothing has changed). An error of body is returned as it is, wrapped, and nothing has changed. CodeNotFound without the bucket.
func (b *Bus) PutObject(ctx context.Context, bucket string, meta ObjectMeta, body io.Reader, digest []byte) (ObjectInfo, error) {
	return ObjectInfo{}, Errorf(CodeUnimplemented, "objects")
}

// ObjectInfo describes an object. CodeNotFound.
func (b *Bus) ObjectInfo(ctx context.Context, bucket, name string) (ObjectInfo, error) {
	return ObjectInfo{}, Errorf(CodeUnimplemented, "objects")
}

// GetObject reads length bytes of an object from offset on; length below 0: to its end. The caller closes the reader. A whole object is checked against its digest at the end: the last Read
// fails if it does not fit. CodeNotFound.
func (b *Bus) GetObject(ctx context.Context, bucket, name string, offset, length int64) (ObjectInfo, io.ReadCloser, error) {
	return ObjectInfo{}, nil, Errorf(CodeUnimplemented, "objects")
}

// DeleteObject deletes an object. CodeNotFound.
func (b *Bus) DeleteObject(ctx context.Context, bucket, name string) error {
	return Errorf(CodeUnimplemented, "objects")
}

// Objects lists objects by name, those behind after, at most limit.
func (b *Bus) Objects(ctx context.Context, bucket, after string, limit int) ([]ObjectInfo, error) {
	return nil, Errorf(CodeUnimplemented, "objects")
}
