package client

import (
	"context"
	"iter"
	"time"

	porticov1 "portico/proto/portico/v1"
)

// KV is a key-value bucket.
type KV struct {
	client *Client
	api    porticov1.KeyValueServiceClient
	bucket string
}

// KV is the bucket of a name. Whether it exists is found out by its calls: NotFound.
func (c *Client) KV(bucket string) *KV {
	return &KV{client: c, api: porticov1.NewKeyValueServiceClient(c.conn), bucket: bucket}
}

// Entry is a value of a key, or its end.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	Created  time.Time
	Gone     bool // the value was taken away
}

func entryOf(v *porticov1.KeyValue) *Entry {
	return &Entry{
		Key: v.GetKey(), Value: v.GetValue(), Revision: v.GetRevision(), Created: v.GetCreated().AsTime(),
		Gone: v.GetOperation() == porticov1.KeyOperation_KEY_OPERATION_DELETE || v.GetOperation() == porticov1.KeyOperation_KEY_OPERATION_PURGE,
	}
}

// Get is the value of a key. NotFound if there is none.
func (k *KV) Get(ctx context.Context, key string) (*Entry, error) {
	resp, err := k.api.GetValue(ctx, &porticov1.GetValueRequest{Bucket: k.bucket, Key: key})
	if err != nil {
		return nil, wrap(ctx, err)
	}
	return entryOf(resp.GetEntry()), nil
}

// Put sets a value, whatever it was, and returns its revision.
func (k *KV) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	resp, err := k.api.PutValue(ctx, &porticov1.PutValueRequest{Bucket: k.bucket, Key: key, Value: value})
	return resp.GetRevision(), wrap(ctx, err)
}

// Create sets the value of a key that has none. FailedPrecondition if it has one.
func (k *KV) Create(ctx context.Context, key string, value []byte) (uint64, error) {
	resp, err := k.api.CreateValue(ctx, &porticov1.CreateValueRequest{Bucket: k.bucket, Key: key, Value: value})
	return resp.GetRevision(), wrap(ctx, err)
}

// Update sets the value of a key whose revision is known. FailedPrecondition if that is another now.
func (k *KV) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	resp, err := k.api.UpdateValue(ctx, &porticov1.UpdateValueRequest{Bucket: k.bucket, Key: key, Value: value, Revision: revision})
	return resp.GetRevision(), wrap(ctx, err)
}

// Delete takes the value of a key away; its history stays. revision is what the key's must be, 0 whatever.
func (k *KV) Delete(ctx context.Context, key string, revision uint64) error {
	_, err := k.api.DeleteValue(ctx, &porticov1.DeleteValueRequest{Bucket: k.bucket, Key: key, Revision: revision})
	return wrap(ctx, err)
}

// Purge is Delete that takes the history away too.
func (k *KV) Purge(ctx context.Context, key string, revision uint64) error {
	_, err := k.api.PurgeValue(ctx, &porticov1.PurgeValueRequest{Bucket: k.bucket, Key: key, Revision: revision})
	return wrap(ctx, err)
}

// Keys gives the keys that have a value, in order; pattern has the wildcards of subjects, empty stands for all. An error is the last.
func (k *KV) Keys(ctx context.Context, pattern string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for page := ""; ; {
			resp, err := k.api.ListKeys(ctx, &porticov1.ListKeysRequest{Bucket: k.bucket, Pattern: pattern, PageToken: page})
			if err != nil {
				yield("", wrap(ctx, err))
				return
			}
			for _, key := range resp.GetKeys() {
				if !yield(key, nil) {
					return
				}
			}
			if page = resp.GetNextPageToken(); page == "" {
				return
			}
		}
	}
}

// History is what the bucket has kept of a key, oldest first.
func (k *KV) History(ctx context.Context, key string) ([]*Entry, error) {
	resp, err := k.api.GetHistory(ctx, &porticov1.GetHistoryRequest{Bucket: k.bucket, Key: key})
	if err != nil {
		return nil, wrap(ctx, err)
	}
	out := make([]*Entry, 0, len(resp.GetEntries()))
	for _, v := range resp.GetEntries() {
		out = append(out, entryOf(v))
	}
	return out, nil
}

// Watcher gives the present values of keys and then each change. Stop must be called, or the client closed.
type Watcher struct{ flow *flow[*Entry] }

// Watch watches the keys of a pattern; empty stands for all. When the connection is lost it goes on behind the last change that came.
func (k *KV) Watch(ctx context.Context, pattern string) (*Watcher, error) {
	w := &Watcher{newFlow[*Entry](k.client.options.buffer, k.client.options.bufferBytes)}
	ready := newSignal()
	var after, newest uint64 // of what has come; after counts once all that was there has
	told := false
	err := open(ctx, k.client, "watch", w.flow, ready, func(ctx context.Context) error {
		frames, err := k.api.WatchKeys(ctx, &porticov1.WatchKeysRequest{Bucket: k.bucket, Pattern: pattern, AfterRevision: after})
		if err != nil {
			return err
		}
		if err := inForce(frames); err != nil {
			return err
		}
		for ready.now(); ; {
			resp, err := frames.Recv()
			if err != nil {
				return err
			}
			switch frame := resp.GetFrame().(type) {
			case *porticov1.WatchKeysResponse_Entry:
				e := entryOf(frame.Entry)
				if err := w.flow.put(ctx, e, len(e.Key)+len(e.Value)); err != nil {
					return err
				}
				if newest = max(newest, e.Revision); told {
					after = newest
				}
			case *porticov1.WatchKeysResponse_CaughtUp:
				if after = newest; told {
					continue // it has been said
				}
				if err := w.flow.put(ctx, nil, 0); err != nil {
					return err
				}
				told = true
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// Next waits for a value or a change. Once it is nil: what there was when the watch began has been given. ErrClosed after Stop.
func (w *Watcher) Next(ctx context.Context) (*Entry, error) { return w.flow.next(ctx) }

// All gives one after the other, as Next does, until the watcher is stopped. An error is the last.
func (w *Watcher) All(ctx context.Context) iter.Seq2[*Entry, error] { return w.flow.all(ctx, never) }

// Stop ends the watcher. What has come can still be taken. The error is why the gateway had ended it, if it had.
func (w *Watcher) Stop() error { return w.flow.stop() }
