package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What a change of a key says of itself (KV-Operation); a value says nothing.
const (
	hdrOperation             = "KV-Operation"
	hdrMarker                = "Nats-Marker-Reason" // of a deletion that the stream noted itself
	markDelete, markPurge    = "DEL", "PURGE"
	opPut, opDelete, opPurge = "put", "delete", "purge"
	maxHistoryBytes          = 64 << 20 // of one answer
	absentTries              = 10       // while others delete and create the same key
)

// Conflict is the cause (Err) of the CodePreconditionFailed of Put and DeleteKey.
type Conflict struct {
	Revision uint64 // of the present value; 0: there is none
}

// Error implements error.
func (c *Conflict) Error() string { return fmt.Sprintf("the present revision is %d", c.Revision) }

// keySubject returns the subject of a key, CodeInvalid if it can be none: letters, digits and -/_=. in tokens between dots.
func keySubject(bucket, key string) (string, error) { return bucketSubject(bucket, key, "key", false) }

// keyPattern is keySubject for a pattern of keys.
func keyPattern(bucket, pattern string) (string, error) {
	return bucketSubject(bucket, pattern, "pattern", true)
}

func bucketSubject(bucket, key, what string, wildcards bool) (string, error) {
	if err := checkBucket(bucket); err != nil {
		return "", err
	}
	for i := range len(key) {
		c := key[i]
		if !letter(c) && strings.IndexByte("-/_=.", c) < 0 && (!wildcards || c != '*' && c != '>') {
			return "", Errorf(CodeInvalid, "%s %q: want letters, digits and -/_=.", what, key)
		}
	}
	subject := "$KV." + bucket + "." + key
	if len(apiPrefix)+len(subject)+2*maxStreamName > maxSubject {
		return "", Errorf(CodeInvalid, "%s of %d bytes is too long", what, len(key))
	}
	if err := checkTokens(what, key, wildcards); err != nil {
		return "", err
	}
	return subject, nil
}

// Get returns the value of a key, or with a revision other than 0 what it was then. CodeNotFound, also for a deleted one.
func (b *Bus) Get(ctx context.Context, bucket, key string, revision uint64) (KVEntry, error) {
	subject, err := keySubject(bucket, key)
	if err != nil {
		return KVEntry{}, err
	}
	request := getRequest{LastOf: subject}
	s, err := b.jetStream(mayGetKey, bucket, bucket, key)
	if revision > 0 {
		request = getRequest{Sequence: revision}
		s, err = b.jetStream(mayReadStream, bucketPrefix+bucket)
	}
	if err != nil {
		return KVEntry{}, err
	}
	m, err := s.get(ctx, bucketPrefix+bucket, request)
	if err != nil {
		return KVEntry{}, noKey(err, bucket, key)
	}
	e := keyEntry(bucket, &m)
	if m.Subject != subject || e.Operation != opPut {
		return KVEntry{}, noKey(Errorf(CodeNotFound, "deleted"), bucket, key)
	}
	return e, nil
}

// noKey says what was not found: the key, or the bucket.
func noKey(err error, bucket, key string) error {
	switch {
	case codeOf(err) != CodeNotFound:
		return err
	case isAPIError(err, 10059):
		return noBucket(err, bucket)
	}
	return &Error{Code: CodeNotFound, Detail: "there is no key " + quote(key) + " in bucket " + quote(bucket), Err: err}
}

// keyEntry reads a message of a bucket.
func keyEntry(bucket string, m *StoredMessage) KVEntry {
	e := KVEntry{Key: strings.TrimPrefix(m.Subject, "$KV."+bucket+"."), Revision: m.Sequence, Created: m.Time, Operation: opPut}
	switch reason := m.Header.Get(hdrMarker); {
	case m.Header.Get(hdrOperation) == markDelete, reason == "Remove":
		e.Operation = opDelete
	case m.Header.Get(hdrOperation) == markPurge, reason == "MaxAge", reason == "Purge":
		e.Operation = opPurge
	default:
		e.Value = present(m.Data)
	}
	return e
}

// PutCondition is what must be true for a change of a key. The zero value: nothing.
type PutCondition struct {
	Absent   bool   // there is no value (deleted counts as none)
	Revision uint64 // the value's revision is this; 0: whatever
}

func (w PutCondition) check() error {
	if w.Absent && w.Revision > 0 {
		return Errorf(CodeInvalid, "revision %d: a value cannot be absent and have a revision", w.Revision)
	}
	return nil
}

// Put sets a key's value when the condition holds and returns the new revision when it is on disk. CodePreconditionFailed (a *Conflict) with the present revision in the detail, CodeNotFound
// without the bucket, CodeTooLarge, CodeInvalid, CodeResourceExhausted.
func (b *Bus) Put(ctx context.Context, bucket, key string, value []byte, when PutCondition) (uint64, error) {
	subject, err := keySubject(bucket, key)
	if err != nil {
		return 0, err
	}
	s, err := b.jetStream(mayPutKey, bucket, key)
	if err != nil {
		return 0, err
	}
	if err := when.check(); err != nil {
		return 0, err
	}
	if err := b.tenant.checkSize(len(value)); err != nil {
		return 0, err
	}
	if err := b.tenant.accepts(1); err != nil {
		return 0, err
	}
	k := keyWriter{streams: s, bucket: bucket, key: key, subject: subject}
	if when.Revision > 0 { // the stream would take a deletion's number for a value's
		if last, err := k.last(ctx); err != nil {
			return 0, err
		} else if last.Operation != opPut {
			return 0, k.conflict(&last)
		}
	}
	revision, err := k.write(ctx, nats.Header{}, value, when)
	if err != nil {
		return 0, err
	}
	return revision, s.synced(ctx)
}

// keyWriter changes one key.
type keyWriter struct {
	streams              *streams
	bucket, key, subject string
}

// write stores a message of the key when the condition holds.
func (k *keyWriter) write(ctx context.Context, h nats.Header, value []byte, when PutCondition) (uint64, error) {
	expected, conditional := when.Revision, when.Absent || when.Revision > 0
	for range absentTries {
		m := &nats.Msg{Subject: k.subject, Header: nats.Header{}}
		for name, values := range h {
			m.Header[name] = values
		}
		if conditional {
			m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expected, 10))
		}
		ack, err := k.streams.store(ctx, bucketPrefix+k.bucket, m, value)
		if err == nil {
			return ack, nil
		}
		if !conditional || !isAPIError(err, 10071, 10164) {
			return 0, noKey(err, k.bucket, k.key)
		}
		last, err := k.last(ctx)
		if err != nil {
			return 0, err
		}
		if !when.Absent || last.Operation == opPut {
			return 0, k.conflict(&last)
		}
		expected = last.Revision // of a deletion, or 0
	}
	return 0, &Error{Code: CodeUnavailable, Detail: "key " + quote(k.key) + " changes too quickly"}
}

// last is the newest entry of the key, with Revision 0 if there is none.
func (k *keyWriter) last(ctx context.Context) (KVEntry, error) {
	m, err := k.streams.get(ctx, bucketPrefix+k.bucket, getRequest{LastOf: k.subject})
	switch {
	case err == nil:
		return keyEntry(k.bucket, &m), nil
	case codeOf(err) == CodeNotFound && !isAPIError(err, 10059):
		return KVEntry{}, nil
	}
	return KVEntry{}, noKey(err, k.bucket, k.key)
}

// conflict says that a condition does not hold.
func (k *keyWriter) conflict(last *KVEntry) error {
	c := &Conflict{}
	if last.Operation == opPut {
		c.Revision = last.Revision
		return &Error{Code: CodePreconditionFailed, Detail: fmt.Sprintf("key %q: the present revision is %d", k.key, c.Revision), Err: c}
	}
	return &Error{Code: CodePreconditionFailed, Detail: fmt.Sprintf("key %q has no value", k.key), Err: c}
}

// store publishes m with data in its stream and returns its sequence number. It is written, not synced. CodeNotFound when no stream takes it.
func (s *streams) store(ctx context.Context, stream string, m *nats.Msg, data []byte) (uint64, error) {
	if len(m.Header) == 0 {
		m.Header = nil
	}
	answer, err := s.send(ctx, m, data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return 0, named(&Error{Code: CodeNotFound, Err: &jetstream.APIError{ErrorCode: 10059}}, "stream", stream)
	case err != nil:
		return 0, err
	}
	if err := publishError(answer); err != nil {
		return 0, err
	}
	var ack struct {
		Stream   string `json:"stream"`
		Sequence uint64 `json:"seq"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, &Error{Code: CodeInternal, Detail: "internal error", Err: fmt.Errorf("publish acknowledgement: %w", err)}
	}
	if ack.Stream != stream {
		return 0, &Error{Code: CodeUnavailable, Detail: "another stream has taken it", Err: errors.New(ack.Stream)}
	}
	return ack.Sequence, nil
}

// DeleteKey deletes a key's value (purge: and its history) when the condition holds. CodeNotFound without the bucket; a key without value is no error. CodePreconditionFailed (a *Conflict).
func (b *Bus) DeleteKey(ctx context.Context, bucket, key string, purge bool, when PutCondition) error {
	subject, err := keySubject(bucket, key)
	if err != nil {
		return err
	}
	s, err := b.jetStream(mayPutKey, bucket, key)
	if err != nil {
		return err
	}
	if err := when.check(); err != nil {
		return err
	}
	k := keyWriter{streams: s, bucket: bucket, key: key, subject: subject}
	last, err := k.last(ctx)
	if err != nil {
		return err
	}
	switch {
	case when.Absent && last.Operation == opPut, when.Revision > 0 && (last.Operation != opPut || last.Revision != when.Revision):
		return k.conflict(&last)
	case last.Revision == 0, last.Operation == opPurge, last.Operation == opDelete && !purge:
		return s.synced(ctx) // who deleted it may not have waited
	}
	h := nats.Header{hdrOperation: {markDelete}}
	if purge {
		h = nats.Header{hdrOperation: {markPurge}, jetstream.MsgRollup: {jetstream.MsgRollupSubject}}
	}
	if _, err := k.write(ctx, h, nil, when); err != nil {
		return err
	}
	return s.synced(ctx)
}

// History returns what a bucket has kept of a key, oldest first. CodeNotFound; CodeTooLarge above 64 MiB, when each has to be got by its revision.
func (b *Bus) History(ctx context.Context, bucket, key string) ([]KVEntry, error) {
	subject, err := keySubject(bucket, key)
	if err != nil {
		return nil, err
	}
	s, err := b.jetStream(mayWatchKey, bucket, key)
	if err != nil {
		return nil, err
	}
	var entries []KVEntry
	for place, more, size := uint64(1), true, 0; more; {
		var messages []StoredMessage
		if messages, more, err = s.readFrom(ctx, bucketPrefix+bucket, place, []string{subject}, maxReadBatch, maxReadBytes); err != nil {
			return nil, noKey(err, bucket, key)
		}
		for i := range messages {
			entries = append(entries, keyEntry(bucket, &messages[i]))
			size, place = size+len(messages[i].Data), messages[i].Sequence+1
		}
		if size > maxHistoryBytes {
			return nil, Errorf(CodeTooLarge, "the history of key %q has more than %d bytes", key, maxHistoryBytes)
		}
		more = more && len(messages) > 0
	}
	if len(entries) == 0 {
		return nil, noKey(Errorf(CodeNotFound, "none"), bucket, key)
	}
	return entries, nil
}
