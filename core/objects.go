package core

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"
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
	s, err := b.onBucket(mayCreateStream, cfg.Name, objectPrefix+cfg.Name)
	if err != nil {
		return ObjectBucketInfo{}, false, err
	}
	cfg.Storage, cfg.Replicas = cmp.Or(cfg.Storage, storeFile), cmp.Or(cfg.Replicas, 1)
	if err := checkStore(cfg.Description, cfg.Storage, cfg.TTL, cfg.MaxBytes, cfg.Replicas); err != nil {
		return ObjectBucketInfo{}, false, err
	}
	js := jetstream.StreamConfig{
		Name: objectPrefix + cfg.Name, Subjects: []string{"$O." + cfg.Name + ".C.>", "$O." + cfg.Name + ".M.>"}, Description: cfg.Description, MaxAge: cfg.TTL,
		MaxBytes: limited(cfg.MaxBytes), Storage: storageOf(cfg.Storage), Replicas: cfg.Replicas, Discard: jetstream.DiscardNew, AllowRollup: true, AllowDirect: true,
		MaxMsgs: -1, MaxConsumers: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1,
	}
	found, created, err := s.ensure(ctx, js, "bucket", cfg.Name, func(js *jetstream.StreamConfig) string {
		there := configOfObjects(js)
		return cfg.differs(&there)
	})
	if err != nil {
		return ObjectBucketInfo{}, false, err
	}
	return ObjectBucketInfo{Config: configOfObjects(&found.Config), Bytes: found.State.Bytes}, created, nil
}

func configOfObjects(js *jetstream.StreamConfig) ObjectBucketConfig {
	return ObjectBucketConfig{
		Name: strings.TrimPrefix(js.Name, objectPrefix), Description: js.Description, TTL: js.MaxAge, MaxBytes: unlimited(js.MaxBytes), Storage: storageWord(js.Storage), Replicas: js.Replicas,
	}
}

// differs names the first property in which two buckets differ, "" if there is none.
func (cfg *ObjectBucketConfig) differs(from *ObjectBucketConfig) string {
	switch {
	case cfg.Description != from.Description:
		return "description"
	case cfg.TTL != from.TTL:
		return "ttl"
	case cfg.MaxBytes != from.MaxBytes:
		return "max_bytes"
	case cfg.Storage != from.Storage:
		return "storage"
	case cfg.Replicas != from.Replicas:
		return "replicas"
	}
	return ""
}

// ObjectBucket describes a bucket. CodeNotFound.
func (b *Bus) ObjectBucket(ctx context.Context, name string) (ObjectBucketInfo, error) {
	s, err := b.onBucket(mayReadConfig, name, objectPrefix+name)
	if err != nil {
		return ObjectBucketInfo{}, err
	}
	info, err := s.streamInfo(ctx, objectPrefix+name)
	if err != nil {
		return ObjectBucketInfo{}, noBucket(err, name)
	}
	return ObjectBucketInfo{Config: configOfObjects(&info.Config), Bytes: info.State.Bytes}, nil
}

// ObjectBuckets lists the buckets by name, those behind after, at most limit (1 to 1000).
func (b *Bus) ObjectBuckets(ctx context.Context, after string, limit int) ([]ObjectBucketInfo, error) {
	infos, err := b.listStreams(ctx, objectPrefix+after, limit, func(name string) bool { return strings.HasPrefix(name, objectPrefix) })
	if err != nil {
		return nil, err
	}
	out := make([]ObjectBucketInfo, len(infos))
	for i, info := range infos {
		out[i] = ObjectBucketInfo{Config: configOfObjects(&info.Config), Bytes: info.State.Bytes}
	}
	return out, nil
}

// DeleteObjectBucket deletes a bucket with everything in it. CodeNotFound.
func (b *Bus) DeleteObjectBucket(ctx context.Context, name string) error {
	s, err := b.onBucket(mayDeleteStream, name, objectPrefix+name)
	if err != nil {
		return err
	}
	return noBucket(s.remove(ctx, objectPrefix+name), name)
}

// object names an object.
type object struct {
	streams      *streams
	bucket, name string
}

const maxObjectName = 1024

// object returns the object of that name if this identity has the right.
func (b *Bus) object(right, bucket, name string) (*object, error) {
	s, err := b.onBucket(right, bucket, bucket)
	if err != nil {
		return nil, err
	}
	if name == "" || len(name) > maxObjectName || !utf8.ValidString(name) {
		return nil, Errorf(CodeInvalid, "object name of %d bytes: want 1 to %d, in UTF-8", len(name), maxObjectName)
	}
	return &object{streams: s, bucket: bucket, name: name}, nil
}

func (o *object) stream() string { return objectPrefix + o.bucket }

func (o *object) metaSubject() string {
	return "$O." + o.bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(o.name))
}

func chunkSubject(bucket, id string) string { return "$O." + bucket + ".C." + id }

// meta is what the store has of an object, as NATS clients write it, and where.
type meta struct {
	jetstream.ObjectInfo
	sequence uint64 // of its message; 0: there was never one
}

// load reads an object's meta data; without any, and for a deleted object, there is no ID that counts.
func (o *object) load(ctx context.Context) (*meta, error) {
	m, err := o.streams.get(ctx, o.stream(), getRequest{LastOf: o.metaSubject()})
	switch {
	case err == nil:
		return readMeta(&m)
	case codeOf(err) == CodeNotFound && !isAPIError(err, 10059):
		return &meta{ObjectInfo: jetstream.ObjectInfo{Deleted: true}}, nil
	}
	return nil, o.missing(err)
}

// missing says what was not found: the object, or the bucket.
func (o *object) missing(err error) error {
	if err != nil && isAPIError(err, 10059) {
		return noBucket(err, o.bucket)
	}
	return named(err, "object", o.name)
}

func readMeta(m *StoredMessage) (*meta, error) {
	out := &meta{sequence: m.Sequence}
	if err := json.Unmarshal(m.Data, &out.ObjectInfo); err != nil {
		return nil, &Error{Code: CodeInternal, Detail: "internal error", Err: fmt.Errorf("meta data of an object: %w", err)}
	}
	out.ModTime = m.Time
	if out.Size > 1<<62 || strings.ContainsAny(out.NUID, " .*>\r\n") {
		return nil, &Error{Code: CodeInternal, Detail: "internal error", Err: errors.New("meta data of an object make no sense")}
	}
	return out, nil
}

// info is meta data in our words. Headers that no door could pass on are left out.
func (m *meta) info() ObjectInfo {
	out := ObjectInfo{
		ObjectMeta: ObjectMeta{Name: m.Name, Description: m.Description}, Size: int64(m.Size), Modified: m.ModTime, ID: m.NUID,
	}
	out.SHA256, _ = jetstream.DecodeObjectDigest(m.Digest)
	for name, values := range m.Headers {
		if headerName(name) && !slices.ContainsFunc(values, func(v string) bool { return !headerValue(v) }) {
			if out.Header == nil {
				out.Header = Header{}
			}
			out.Header[name] = values
		}
	}
	return out
}

func (m *meta) link() *jetstream.ObjectLink {
	if m.Opts == nil {
		return nil
	}
	return m.Opts.Link
}

// ObjectInfo describes an object. CodeNotFound.
func (b *Bus) ObjectInfo(ctx context.Context, bucket, name string) (ObjectInfo, error) {
	_, m, err := b.present(ctx, bucket, name)
	if err != nil {
		return ObjectInfo{}, err
	}
	info := m.info()
	info.Name = name
	return info, nil
}

// present finds an object that is not deleted. A link that a NATS client has made leads to its object, if that may be read, too.
func (b *Bus) present(ctx context.Context, bucket, name string) (*object, *meta, error) {
	for range 2 {
		o, err := b.object(mayGetObject, bucket, name)
		if err != nil {
			return nil, nil, err
		}
		m, err := o.load(ctx)
		if err != nil {
			return nil, nil, err
		}
		if m.Deleted {
			return nil, nil, o.missing(Errorf(CodeNotFound, "deleted"))
		}
		link := m.link()
		if link == nil {
			return o, m, nil
		}
		if link.Name == "" {
			return nil, nil, Errorf(CodeUnimplemented, "object %q is a link to a bucket", name)
		}
		bucket, name = link.Bucket, link.Name
	}
	return nil, nil, Errorf(CodeUnimplemented, "object %q is a link to a link", name)
}

// Objects lists objects by name, those behind after, at most limit (1 to 1000). Each call looks at all objects of the bucket. CodeNotFound.
func (b *Bus) Objects(ctx context.Context, bucket, after string, limit int) ([]ObjectInfo, error) {
	s, err := b.onBucket(mayGetObject, bucket, bucket)
	if err != nil {
		return nil, err
	}
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	var found []ObjectInfo // the first of those that were seen
	for place, more := uint64(1), true; more; {
		var messages []StoredMessage
		if messages, more, err = s.readFrom(ctx, objectPrefix+bucket, place, []string{"$O." + bucket + ".M.>"}, maxReadBatch, maxReadBytes); err != nil {
			return nil, noBucket(err, bucket)
		}
		for i := range messages {
			place = messages[i].Sequence + 1
			m, err := readMeta(&messages[i])
			if err != nil || m.Deleted || m.Name <= after {
				continue // what makes no sense is not an object
			}
			found = insertObject(found, m.info(), limit)
		}
		more = more && len(messages) > 0
	}
	return found, nil
}

// insertObject puts an object into its place among the first limit ones.
func insertObject(sorted []ObjectInfo, o ObjectInfo, limit int) []ObjectInfo {
	at, there := slices.BinarySearchFunc(sorted, o.Name, func(a ObjectInfo, name string) int { return cmp.Compare(a.Name, name) })
	switch {
	case there: // replaced while we read
		sorted[at] = o
	case at < limit:
		sorted = slices.Insert(sorted, at, o)
	}
	return sorted[:min(len(sorted), limit)]
}
