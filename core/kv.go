package core

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
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

// maxHistory is how many values of a key a bucket can keep.
const maxHistory = 64

// CreateBucket creates a bucket, or finds the one of that name and those properties. CodePreconditionFailed when it is there with others, CodeInvalid, CodePermissionDenied.
func (b *Bus) CreateBucket(ctx context.Context, cfg BucketConfig) (info BucketInfo, created bool, err error) {
	s, err := b.onBucket(mayCreateStream, cfg.Name, bucketPrefix+cfg.Name)
	if err != nil {
		return BucketInfo{}, false, err
	}
	if cfg, err = cfg.normal(); err != nil {
		return BucketInfo{}, false, err
	}
	js := cfg.onto(jetstream.StreamConfig{
		Name: bucketPrefix + cfg.Name, Subjects: []string{"$KV." + cfg.Name + ".>"}, MaxMsgs: -1, MaxConsumers: -1, AllowDirect: true, AllowRollup: true, DenyDelete: true,
		Discard: jetstream.DiscardNew,
	})
	found, created, err := s.ensure(ctx, js, "bucket", cfg.Name, func(js *jetstream.StreamConfig) string {
		there := configOfBucket(js)
		return cfg.differs(&there)
	})
	if err != nil {
		return BucketInfo{}, false, err
	}
	return bucketOf(found), created, nil
}

// UpdateBucket changes the properties of a bucket to these: what cfg leaves out is the default again. CodeNotFound, CodeInvalid.
func (b *Bus) UpdateBucket(ctx context.Context, cfg BucketConfig) (BucketInfo, error) {
	s, err := b.onBucket(mayUpdateStream, cfg.Name, bucketPrefix+cfg.Name)
	if err != nil {
		return BucketInfo{}, err
	}
	if cfg, err = cfg.normal(); err != nil {
		return BucketInfo{}, err
	}
	info, err := s.alter(ctx, bucketPrefix+cfg.Name, cfg.onto)
	if err != nil {
		return BucketInfo{}, noBucket(err, cfg.Name)
	}
	return bucketOf(info), nil
}

// Bucket describes a bucket. CodeNotFound.
func (b *Bus) Bucket(ctx context.Context, name string) (BucketInfo, error) {
	s, err := b.onBucket(mayReadConfig, name, bucketPrefix+name)
	if err != nil {
		return BucketInfo{}, err
	}
	info, err := s.streamInfo(ctx, bucketPrefix+name)
	if err != nil {
		return BucketInfo{}, noBucket(err, name)
	}
	return bucketOf(info), nil
}

// Buckets lists the buckets by name, those behind after, at most limit (1 to 1000).
func (b *Bus) Buckets(ctx context.Context, after string, limit int) ([]BucketInfo, error) {
	infos, err := b.listStreams(ctx, bucketPrefix+after, limit, func(name string) bool { return strings.HasPrefix(name, bucketPrefix) })
	if err != nil {
		return nil, err
	}
	out := make([]BucketInfo, len(infos))
	for i, info := range infos {
		out[i] = bucketOf(info)
	}
	return out, nil
}

// DeleteBucket deletes a bucket with everything in it. CodeNotFound.
func (b *Bus) DeleteBucket(ctx context.Context, name string) error {
	s, err := b.onBucket(mayDeleteStream, name, bucketPrefix+name)
	if err != nil {
		return err
	}
	return noBucket(s.remove(ctx, bucketPrefix+name), name)
}

// noBucket says that there is no bucket where its stream was not found. Other errors, and nil, stay as they are.
func noBucket(err error, bucket string) error {
	if err == nil || codeOf(err) != CodeNotFound {
		return err
	}
	return &Error{Code: CodeNotFound, Detail: "there is no bucket " + quote(bucket), Err: err}
}

// normal returns cfg with its defaults filled in, or CodeInvalid for what it cannot be.
func (cfg BucketConfig) normal() (BucketConfig, error) {
	cfg.History, cfg.Storage, cfg.Replicas = cmp.Or(cfg.History, 1), cmp.Or(cfg.Storage, storeFile), cmp.Or(cfg.Replicas, 1)
	if cfg.History > maxHistory {
		return cfg, Errorf(CodeInvalid, "history %d: want 1 to %d", cfg.History, maxHistory)
	}
	if cfg.MaxValueSize < 0 {
		return cfg, Errorf(CodeInvalid, "max_value_size %d: it cannot be negative", cfg.MaxValueSize)
	}
	return cfg, checkStore(cfg.Description, cfg.Storage, cfg.TTL, cfg.MaxBytes, cfg.Replicas)
}

// checkStore checks what buckets of both kinds have.
func checkStore(description, storage string, ttl time.Duration, maxBytes int64, replicas int) error {
	switch {
	case storage != storeFile && storage != storeMemory:
		return Errorf(CodeInvalid, "storage %q: want one of %q", storage, []string{storeFile, storeMemory})
	case ttl < 0 || ttl > maxStreamTime:
		return Errorf(CodeInvalid, "ttl %v: it cannot be negative", ttl)
	case maxBytes < 0:
		return Errorf(CodeInvalid, "max_bytes %d: it cannot be negative", maxBytes)
	case replicas < 0:
		return Errorf(CodeInvalid, "replicas %d: it cannot be negative", replicas)
	}
	return checkDescription(description)
}

// onto is what StreamConfig.onto is.
func (cfg *BucketConfig) onto(js jetstream.StreamConfig) jetstream.StreamConfig {
	js.Description, js.MaxMsgsPerSubject, js.MaxAge, js.Duplicates = cfg.Description, int64(cfg.History), cfg.TTL, defaultDuplicates
	if cfg.TTL > 0 {
		js.Duplicates = min(js.Duplicates, cfg.TTL)
	}
	js.MaxBytes, js.MaxMsgSize, js.Storage, js.Replicas = limited(cfg.MaxBytes), limited(cfg.MaxValueSize), storageOf(cfg.Storage), cfg.Replicas
	return js
}

func configOfBucket(js *jetstream.StreamConfig) BucketConfig {
	return BucketConfig{
		Name: strings.TrimPrefix(js.Name, bucketPrefix), Description: js.Description, History: uint8(min(max(js.MaxMsgsPerSubject, 0), 255)), TTL: js.MaxAge,
		MaxBytes: unlimited(js.MaxBytes), MaxValueSize: unlimited(js.MaxMsgSize), Storage: storageWord(js.Storage), Replicas: js.Replicas,
	}
}

// differs names the first property in which two buckets differ, "" if there is none.
func (cfg *BucketConfig) differs(from *BucketConfig) string {
	for _, p := range []struct {
		field string
		same  bool
	}{
		{"description", cfg.Description == from.Description}, {"history", cfg.History == from.History}, {"ttl", cfg.TTL == from.TTL}, {"max_bytes", cfg.MaxBytes == from.MaxBytes},
		{"max_value_size", cfg.MaxValueSize == from.MaxValueSize}, {"storage", cfg.Storage == from.Storage}, {"replicas", cfg.Replicas == from.Replicas},
	} {
		if !p.same {
			return p.field
		}
	}
	return ""
}

func bucketOf(info *jetstream.StreamInfo) BucketInfo {
	return BucketInfo{Config: configOfBucket(&info.Config), Values: info.State.Msgs, Bytes: info.State.Bytes}
}
