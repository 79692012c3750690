package core

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Keys lists keys that have a value and match pattern (">" is all), in order, those behind after, at most limit (1 to 1000). Each call looks at all keys that match. CodeNotFound.
func (b *Bus) Keys(ctx context.Context, bucket, pattern, after string, limit int) ([]string, error) {
	if _, err := keyPattern(bucket, pattern); err != nil {
		return nil, err
	}
	s, err := b.jetStream(mayWatchKey, bucket, pattern)
	if err != nil {
		return nil, err
	}
	if err := checkLimit(limit); err != nil {
		return nil, err
	}
	var keys []string // the first of those that were seen
	err = s.present(ctx, bucket, pattern, []jetstream.WatchOpt{jetstream.MetaOnly(), jetstream.IgnoreDeletes()}, func(e jetstream.KeyValueEntry) error {
		key := e.Key()
		if key <= after || len(keys) == limit && key >= keys[limit-1] {
			return nil
		}
		if at, found := slices.BinarySearch(keys, key); !found {
			if len(keys) == limit {
				keys = keys[:limit-1]
			}
			keys = slices.Insert(keys, at, strings.Clone(key))
		}
		return nil
	})
	return keys, err
}

// present calls each with the newest entries of the keys that match pattern, and perhaps some that follow meanwhile.
func (s *streams) present(ctx context.Context, bucket, pattern string, options []jetstream.WatchOpt, each func(jetstream.KeyValueEntry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	js, err := jetstream.New(s.nc)
	if err != nil {
		return busError(err)
	}
	asking, stop := s.patient(ctx)
	defer stop()
	kv, err := js.KeyValue(asking, bucket)
	if err != nil {
		return kvError(err, bucket)
	}
	w, err := kv.Watch(ctx, pattern, options...)
	if err != nil {
		return kvError(err, bucket)
	}
	defer func() {
		_ = w.Stop()
		for range w.Updates() { // it would wait for ever with the rest in hand
		}
	}()
	silence := time.NewTimer(streamPatience)
	defer silence.Stop()
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return Errorf(CodeUnavailable, "bucket %q cannot be read now", bucket)
			case e == nil:
				return nil
			}
			if err := each(e); err != nil {
				return err
			}
			silence.Reset(streamPatience)
		case <-silence.C:
			return Errorf(CodeUnavailable, "bucket %q does not answer", bucket)
		case <-ctx.Done():
			return busError(ctx.Err())
		case <-s.ctx.Done():
			return Errorf(CodeUnavailable, "the gateway is stopping")
		}
	}
}

// kvError gives an error of the client library its code.
func kvError(err error, bucket string) error {
	if api := apiCause(err); api != nil {
		return noBucket(apiError(api), bucket)
	}
	return busError(err)
}

// Watch calls changed with the present values of the keys that match pattern (from 0), or with the changes behind revision from, deletions included, and then with every change, until ctx ends
// (nil), changed returns an error, or the bucket is gone (CodeNotFound). After the values that were there when it began changed is called once with nil. Values that were replaced or ran out
// meanwhile may be passed over. changed may take its time and must not change the value. CodePreconditionFailed when from is above the bucket's newest revision: it is another bucket.
func (b *Bus) Watch(ctx context.Context, bucket, pattern string, from uint64, changed func(*KVEntry) error) error {
	subject, err := keyPattern(bucket, pattern)
	if err != nil {
		return err
	}
	s, err := b.jetStream(mayWatchKey, bucket, pattern)
	if err != nil {
		return err
	}
	ctx, stop := b.guarded(ctx, func() error { _, err := b.jetStream(mayWatchKey, bucket, pattern); return err })
	defer stop()
	w := &watch{streams: s, bucket: bucket, pattern: pattern, changed: changed}
	w.follower = &follower{streams: s, stream: bucketPrefix + bucket, subjects: []string{subject}, deliver: w.deliver, reached: func() error { return w.tell(nil) }}
	err = w.follower.follow(ctx, func() (uint64, error) { return w.start(ctx, from) })
	if refused := lost(ctx); refused != nil {
		return refused
	}
	if over(ctx) {
		return nil
	}
	if w.failed {
		return err
	}
	return noBucket(err, bucket)
}

// watch is one call of Watch.
type watch struct {
	streams         *streams
	bucket, pattern string
	changed         func(*KVEntry) error
	follower        *follower
	failed          bool // changed has returned an error, which is the caller's own
}

func (w *watch) tell(e *KVEntry) error {
	err := w.changed(e)
	w.failed = err != nil
	return err
}

func (w *watch) deliver(messages []StoredMessage) error {
	for i := range messages {
		e := keyEntry(w.bucket, &messages[i])
		if err := w.tell(&e); err != nil {
			return err
		}
	}
	return nil
}

// start hands over the present values, without a place to begin at, and returns the place from which on changes follow.
func (w *watch) start(ctx context.Context, from uint64) (uint64, error) {
	info, err := w.streams.streamInfo(ctx, bucketPrefix+w.bucket)
	if err != nil {
		return 0, err
	}
	last := info.State.LastSeq
	w.follower.until = last
	if from > last {
		return 0, Errorf(CodePreconditionFailed, "from %d: the newest revision of bucket %q is %d", from, w.bucket, last)
	}
	if from > 0 {
		return from + 1, nil
	}
	begun := last
	err = w.streams.present(ctx, w.bucket, w.pattern, nil, func(e jetstream.KeyValueEntry) error {
		last = max(last, e.Revision())
		told := KVEntry{Key: e.Key(), Revision: e.Revision(), Created: e.Created(), Operation: opPut}
		switch e.Operation() {
		case jetstream.KeyValueDelete:
			told.Operation = opDelete
		case jetstream.KeyValuePurge:
			told.Operation = opPurge
		default:
			told.Value = present(e.Value())
		}
		if told.Operation != opPut && told.Revision <= begun {
			return nil // there was no value when it began
		}
		return w.tell(&told)
	})
	return last + 1, err
}

// MayWatch returns the error that Watch would begin with: CodeNotFound without the bucket, CodeInvalid, CodePermissionDenied.
func (b *Bus) MayWatch(ctx context.Context, bucket, pattern string) error {
	if _, err := keyPattern(bucket, pattern); err != nil {
		return err
	}
	s, err := b.jetStream(mayWatchKey, bucket, pattern)
	if err != nil {
		return err
	}
	_, err = s.lookup(ctx, bucketPrefix+bucket)
	return noBucket(err, bucket)
}
