package core

import (
	"context"
	"strings"
	"time"
)

// Chunks that no object has any more are left behind when the gateway is killed in the middle of an upload or a deletion, or stops while a version that was replaced is still being read, or when the store
// does not answer.
// They are looked for now and then, and removed when nothing was added to them for a long time: before, they may be an upload of a NATS client that goes on.
const (
	sweepEvery = time.Hour
	sweepAge   = 6 * time.Hour
)

// sweeping looks for chunks without an object at the start, and then from time to time.
func (s *streams) sweeping() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		s.sweep(s.ctx, sweepAge)
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

// sweep removes the chunks of all buckets that no object has and that are older than age.
func (s *streams) sweep(ctx context.Context, age time.Duration) {
	names, err := s.streamNames(ctx)
	for _, name := range names {
		bucket, ok := strings.CutPrefix(name, objectPrefix)
		if !ok || ctx.Err() != nil {
			continue
		}
		if err := s.sweepBucket(ctx, bucket, age); err != nil && codeOf(err) != CodeNotFound && ctx.Err() == nil {
			s.gateway.log.Warn("bucket not looked through", "bucket", bucket, "err", err)
		}
	}
	if err != nil && ctx.Err() == nil {
		s.gateway.log.Warn("buckets not looked through", "err", err)
	}
}

func (s *streams) sweepBucket(ctx context.Context, bucket string, age time.Duration) error {
	orphans, err := s.chunkIDs(ctx, bucket)
	if err != nil || len(orphans) == 0 {
		return err
	}
	for place, more := uint64(1), true; more && len(orphans) > 0; {
		var messages []StoredMessage
		if messages, more, err = s.readFrom(ctx, objectPrefix+bucket, place, []string{"$O." + bucket + ".M.>"}, maxReadBatch, maxReadBytes); err != nil {
			return err
		}
		for i := range messages {
			place = messages[i].Sequence + 1
			m, err := readMeta(&messages[i])
			if err != nil {
				return err // whose chunks those are is not known
			}
			if !m.Deleted { // that one has none, though it says whose it was
				delete(orphans, m.NUID)
			}
		}
		more = more && len(messages) > 0
	}
	o := &object{streams: s, bucket: bucket}
	for id := range orphans {
		last, err := s.get(ctx, objectPrefix+bucket, getRequest{LastOf: chunkSubject(bucket, id)})
		if err == nil && time.Since(last.Time) > age && !s.objects.reading(o, id) {
			o.dropChunks(ctx, id)
		}
	}
	return nil
}

// chunkIDs lists the versions of which a bucket has chunks, at most some 100,000.
func (s *streams) chunkIDs(ctx context.Context, bucket string) (map[string]struct{}, error) {
	prefix := chunkSubject(bucket, "")
	var answer struct {
		State struct {
			Subjects map[string]uint64 `json:"subjects"`
		} `json:"state"`
	}
	if err := s.ask(ctx, "STREAM.INFO."+objectPrefix+bucket, map[string]string{"subjects_filter": prefix + ">"}, &answer); err != nil {
		return nil, err
	}
	ids := make(map[string]struct{}, len(answer.State.Subjects))
	for subject := range answer.State.Subjects {
		ids[strings.TrimPrefix(subject, prefix)] = struct{}{}
	}
	return ids, nil
}

// reading tells whether a version has readers.
func (l *objectLocks) reading(o *object, id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.readers[version{o.bucket, id}] != nil
}
