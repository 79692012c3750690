package core

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Table is a small durable map: a JetStream key-value bucket in the internal account. Its methods may be called from any goroutine.
type Table struct {
	gateway *Gateway
	kv      jetstream.KeyValue
}

// TableEntry is what a table has under a key.
type TableEntry struct {
	Key      string
	Value    []byte // nil: deleted
	Revision uint64 // grows with every change of the table
}

// tables are the open ones by bucket.
type tables struct {
	mu   sync.Mutex
	open map[string]*Table // guarded by mu
}

// markerLife is how long a deletion is remembered, for watchers that were away. While it is, it costs memory: who declares and deletes all the time notices.
const markerLife = time.Minute

// Table opens (creating it if needed) the named table; name is [a-z0-9-]+. CodeInvalid, CodeUnavailable.
func (b *Bus) Table(ctx context.Context, name string) (*Table, error) {
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return nil, Errorf(CodeInvalid, "table name %q: want lower-case letters, digits and -", name)
	}
	g := b.tenant.gateway
	bucket := tablesOf(b.tenant.name) + name
	g.tables.mu.Lock()
	defer g.tables.mu.Unlock()
	if t := g.tables.open[bucket]; t != nil {
		return t, nil
	}
	kv, err := g.js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = g.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket, History: 1, Storage: jetstream.FileStorage, LimitMarkerTTL: markerLife})
	}
	if err != nil {
		return nil, tableError("open", err)
	}
	t := &Table{gateway: g, kv: kv}
	if g.tables.open == nil {
		g.tables.open = map[string]*Table{}
	}
	g.tables.open[bucket] = t
	return t, nil
}

// Keys may be any bytes; a bucket's may not.
func bucketKey(key string) string { return "k" + base64.RawURLEncoding.EncodeToString([]byte(key)) }

func keyOf(bucketKey string) (string, bool) {
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(bucketKey, "k"))
	return string(key), err == nil
}

// Get returns the entry under key. CodeNotFound.
func (t *Table) Get(ctx context.Context, key string) (TableEntry, error) {
	e, err := t.kv.Get(ctx, bucketKey(key))
	if err != nil {
		return TableEntry{}, tableError("get", err)
	}
	return TableEntry{Key: key, Value: present(e.Value()), Revision: e.Revision()}, nil
}

// present makes an empty value distinguishable from none.
func present(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}

// Put sets key and returns its revision when that is on disk.
func (t *Table) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := t.kv.Put(ctx, bucketKey(key), value)
	return t.written(ctx, "put", revision, err)
}

// Update sets key if its revision is still the one given, 0 meaning that there is none, and returns the new one when that is on
// disk. CodePreconditionFailed.
func (t *Table) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	var next uint64
	var err error
	if revision == 0 {
		next, err = t.kv.Create(ctx, bucketKey(key), value)
	} else {
		next, err = t.kv.Update(ctx, bucketKey(key), value, revision)
	}
	return t.written(ctx, "update", next, err)
}

// Delete removes key; it need not exist. It returns when that is on disk.
func (t *Table) Delete(ctx context.Context, key string) error {
	_, err := t.written(ctx, "delete", 0, t.kv.Purge(ctx, bucketKey(key), jetstream.PurgeTTL(markerLife)))
	return err
}

func (t *Table) written(ctx context.Context, verb string, revision uint64, err error) (uint64, error) {
	if err == nil {
		err = t.gateway.store.Sync(ctx)
	}
	if err != nil {
		return 0, tableError(verb, err)
	}
	return revision, nil
}

// List returns all entries, in no order.
func (t *Table) List(ctx context.Context) ([]TableEntry, error) {
	w, err := t.kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, tableError("list", err)
	}
	defer w.Stop()
	var all []TableEntry
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return nil, tableError("list", context.Cause(ctx))
			}
			if e == nil {
				return all, nil
			}
			if entry, ok := entryOf(e); ok {
				all = append(all, entry)
			}
		case <-ctx.Done():
			return nil, tableError("list", ctx.Err())
		}
	}
}

// Watch calls changed with the present entries first, then with every change, in the caller's goroutine, until ctx ends; then it returns nil.
func (t *Table) Watch(ctx context.Context, changed func(TableEntry)) error {
	w, err := t.kv.WatchAll(ctx)
	if err != nil {
		return tableError("watch", err)
	}
	defer w.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return nil
			}
			if e == nil {
				continue // the present entries are complete
			}
			if entry, ok := entryOf(e); ok {
				changed(entry)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func entryOf(e jetstream.KeyValueEntry) (TableEntry, bool) {
	key, ok := keyOf(e.Key())
	entry := TableEntry{Key: key, Revision: e.Revision()}
	if e.Operation() == jetstream.KeyValuePut {
		entry.Value = present(e.Value())
	}
	return entry, ok
}

// tableError gives a bucket's error its code.
func tableError(verb string, err error) error {
	code, detail := CodeUnavailable, "the table cannot be reached"
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted):
		code, detail = CodeNotFound, "no such key"
	case errors.Is(err, jetstream.ErrKeyExists), wrongRevision(err):
		code, detail = CodePreconditionFailed, "somebody else has changed it"
	case errors.Is(err, context.DeadlineExceeded):
		code, detail = CodeTimeout, "the table did not answer in time"
	}
	return &Error{Code: code, Detail: verb + ": " + detail, Err: err}
}

func wrongRevision(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}
