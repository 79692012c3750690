package core

import (
	"context"
	"time"
)

// Key-value buckets are JetStream's own, in the tenant's account. To put needs the permission to publish on $KV.bucket.key, as over NATS; to get that to publish on the API subject
// of a direct get of it, to watch and list that to subscribe to $KV.bucket.key (with the pattern).

// BucketConfig describes a key-value bucket.
type BucketConfig struct {
	Name         string        `json:"name"` // [A-Za-z0-9_-]+
	Description  string        `json:"description,omitempty"`
	History      uint8         `json:"history,omitempty"` // values kept for each key, 1 to 64; 0: 1
	TTL          time.Duration `json:"ttl,omitempty"`     // 0: for ever
	MaxBytes     int64         `json:"max_bytes,omitempty"`
	MaxValueSize int32         `json:"max_value_size,omitempty"`
	Storage      string        `json:"storage,omitempty"` // "file" (default), "memory"
	Replicas     int           `json:"replicas,omitempty"`
}

// BucketInfo is a bucket and what it holds.
type BucketInfo struct {
	Config BucketConfig
	Values uint64 // history and deletions included
	Bytes  uint64
}

// KVEntry is a value of a key.
type KVEntry struct {
	Key       string
	Value     []byte
	Revision  uint64 // grows with every change of the bucket
	Created   time.Time
	Operation string // "put", "delete", "purge"
}

// CreateBucket creates a bucket, or finds the one of that name and those properties. CodePreconditionFailed when it is there with others, CodeInvalid, CodePermissionDenied.
func (b *Bus) CreateBucket(ctx context.Context, cfg BucketConfig) (info BucketInfo, created bool, err error) {
	return BucketInfo{}, false, Errorf(CodeUnimplemented, "key-value")
}

// UpdateBucket changes the properties of a bucket. CodeNotFound, CodeInvalid.
func (b *Bus) UpdateBucket(ctx context.Context, cfg BucketConfig) (BucketInfo, error) {
	return BucketInfo{}, Errorf(CodeUnimplemented, "key-value")
}

// Bucket describes a bucket. CodeNotFound.
func (b *Bus) Bucket(ctx context.Context, name string) (BucketInfo, error) {
	return BucketInfo{}, Errorf(CodeUnimplemented, "key-value")
}

// Buckets lists the buckets by name, those behind after, at most limit.
func (b *Bus) Buckets(ctx context.Context, after string, limit int) ([]BucketInfo, error) {
	return nil, Errorf(CodeUnimplemented, "key-value")
}

// DeleteBucket deletes a bucket with everything in it. CodeNotFound.
func (b *Bus) DeleteBucket(ctx context.Context, name string) error {
	return Errorf(CodeUnimplemented, "key-value")
}

// Get returns the value of a key, or with a revision other than 0 what it was then. CodeNotFound, also for a deleted one.
func (b *Bus) Get(ctx context.Context, bucket, key string, revision uint64) (KVEntry, error) {
	return KVEntry{}, Errorf(CodeUnimplemented, "key-value")
}

// PutCondition is what must be true for a change of a key. The zero value: nothing.
type PutCondition struct {
	Absent   bool   // there is no value (deleted counts as none)
	Revision uint64 // the value's revision is this; 0: whatever
}

// Put sets a key's value when the condition holds and returns the new revision when it is on disk. CodePreconditionFailed with the present revision in the detail, CodeNotFound without
// the bucket, CodeTooLarge, CodeInvalid.
func (b *Bus) Put(ctx context.Context, bucket, key string, value []byte, when PutCondition) (uint64, error) {
	return 0, Errorf(CodeUnimplemented, "key-value")
}

// DeleteKey deletes a key's value (purge: and its history) when the condition holds. CodeNotFound without the bucket; a key without value is no error. CodePreconditionFailed.
func (b *Bus) DeleteKey(ctx context.Context, bucket, key string, purge bool, when PutCondition) error {
	return Errorf(CodeUnimplemented, "key-value")
}

// History returns what a bucket has kept of a key, oldest first. CodeNotFound.
func (b *Bus) History(ctx context.Context, bucket, key string) ([]KVEntry, error) {
	return nil, Errorf(CodeUnimplemented, "key-value")
}

// Keys lists keys that have a value and match pattern (">" is all), in order, those behind after, at most limit.
func (b *Bus) Keys(ctx context.Context, bucket, pattern, after string, limit int) ([]string, error) {
	return nil, Errorf(CodeUnimplemented, "key-value")
}

// Watch calls changed with the present values of the keys that match pattern (from 0), or with the changes behind revision from, and then with every change, until ctx ends (nil), changed
// returns an error, or the bucket is gone (CodeNotFound). After the values that were there when it began changed is called once with nil.
func (b *Bus) Watch(ctx context.Context, bucket, pattern string, from uint64, changed func(*KVEntry) error) error {
	return Errorf(CodeUnimplemented, "key-value")
}
