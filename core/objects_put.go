package core

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	objectChunk    = 128 << 10 // bytes of all chunks of an object but its last
	uploadWindow   = 16        // chunks that are not acknowledged yet
	uploadPatience = 10 * time.Second
	cleanPatience  = 10 * time.Second // for what has to be done although the caller has gone
	storePatience  = 10 * time.Second // for meta data, likewise: who has gone must not leave it open whether they are there
	commitTries    = 10               // while others replace the same object
	evenChunks     = "portico-chunks" // meta data of objects whose chunks are known to be of one size: "even"
)

// PutObject stores what body has to its end, in place of the object of that name if there is one, and returns when it is on disk. digest, if not nil, is the SHA-256 that it must have
// (CodePreconditionFailed, and nothing has changed). An error of body is returned as it is, wrapped, and nothing has changed. CodeNotFound without the bucket, CodeInvalid,
// CodeResourceExhausted when bucket or disk are full. It keeps some 100 KiB in memory, and 2 MiB under way. Whoever reads the former object goes on reading it.
func (b *Bus) PutObject(ctx context.Context, bucket string, about ObjectMeta, body io.Reader, digest []byte) (ObjectInfo, error) {
	o, err := b.object(mayPutObject, bucket, about.Name)
	if err != nil {
		return ObjectInfo{}, err
	}
	if err := checkObject(&about, digest); err != nil {
		return ObjectInfo{}, err
	}
	if _, err := o.streams.lookup(ctx, o.stream()); err != nil {
		return ObjectInfo{}, noBucket(err, bucket)
	}
	u := &upload{object: o, id: rand.Text(), sum: sha256.New()}
	if err := u.take(ctx, body); err != nil {
		u.discard()
		return ObjectInfo{}, err
	}
	if digest != nil && !bytes.Equal(digest, u.sum.Sum(nil)) {
		u.discard()
		return ObjectInfo{}, Errorf(CodePreconditionFailed, "the object's SHA-256 is not the one that was promised")
	}
	m, err := u.commit(ctx, &about)
	if err != nil {
		return ObjectInfo{}, err
	}
	return m.info(), nil
}

func checkObject(about *ObjectMeta, digest []byte) error {
	if digest != nil && len(digest) != sha256.Size {
		return Errorf(CodeInvalid, "digest of %d bytes: a SHA-256 has %d", len(digest), sha256.Size)
	}
	if _, err := checkHeader(about.Header); err != nil {
		return err
	}
	return checkDescription(about.Description)
}

// upload is an object on its way into the store. Nobody sees it before commit.
type upload struct {
	object *object
	id     string
	sum    hash.Hash
	size   int64
	chunks uint32

	sub     *nats.Subscription
	acks    chan *nats.Msg
	waiting int
}

// take stores the chunks and returns when the stream has all of them.
func (u *upload) take(ctx context.Context, body io.Reader) error {
	s := u.object.streams
	inbox := s.nc.NewInbox()
	u.acks = make(chan *nats.Msg, uploadWindow+1)
	var err error
	if u.sub, err = s.nc.ChanSubscribe(inbox, u.acks); err != nil {
		return busError(err)
	}
	defer func() { _ = u.sub.Unsubscribe() }()
	if err = u.copy(ctx, inbox, body); err != nil {
		u.quiesce()
	}
	return err
}

// quiesce waits for the answers that are still to come after an error: what is stored later would not be removed with the rest.
func (u *upload) quiesce() {
	ctx, cancel := context.WithTimeout(u.object.streams.ctx, cleanPatience)
	defer cancel()
	for u.waiting > 0 {
		select {
		case <-u.acks:
			u.waiting--
		case <-ctx.Done():
			return
		}
	}
}

// copy stores body in chunks.
func (u *upload) copy(ctx context.Context, inbox string, body io.Reader) error {
	chunk := make([]byte, objectChunk)
	for {
		n, failed := io.ReadFull(body, chunk)
		if failed != nil && failed != io.EOF && failed != io.ErrUnexpectedEOF {
			return fmt.Errorf("read the object: %w", failed)
		}
		if n > 0 {
			if err := u.put(ctx, inbox, chunk[:n]); err != nil {
				return err
			}
		}
		if failed != nil {
			break
		}
	}
	for u.waiting > 0 {
		if err := u.acknowledged(ctx); err != nil {
			return err
		}
	}
	return nil
}

// put stores one chunk, when there is room in the window.
func (u *upload) put(ctx context.Context, inbox string, chunk []byte) error {
	s := u.object.streams
	if err := s.gateway.accepts(1); err != nil {
		return err
	}
	for u.waiting >= uploadWindow {
		if err := u.acknowledged(ctx); err != nil {
			return err
		}
	}
	if err := s.nc.PublishRequest(chunkSubject(u.object.bucket, u.id), inbox, chunk); err != nil {
		return busError(err)
	}
	u.sum.Write(chunk)
	u.size += int64(len(chunk))
	u.chunks++
	u.waiting++
	return nil
}

// acknowledged waits for the answer to one chunk.
func (u *upload) acknowledged(ctx context.Context) error {
	late := time.NewTimer(uploadPatience)
	defer late.Stop()
	select {
	case m := <-u.acks:
		u.waiting--
		return u.object.missing(publishError(m))
	case <-ctx.Done():
		return busError(ctx.Err())
	case <-late.C:
		return Errorf(CodeTimeout, "the bucket did not answer in time")
	case <-u.object.streams.ctx.Done():
		return Errorf(CodeUnavailable, "the gateway is stopping")
	}
}

// discard removes the chunks of an upload that came to nothing.
func (u *upload) discard() {
	ctx, cancel := context.WithTimeout(context.Background(), cleanPatience)
	defer cancel()
	u.object.dropChunks(ctx, u.id)
}

// dropChunks removes the chunks of a version that nobody can find any more.
func (o *object) dropChunks(ctx context.Context, id string) {
	if id == "" {
		return
	}
	if _, err := o.streams.purge(ctx, o.stream(), PurgeOptions{Subject: chunkSubject(o.bucket, id)}); err != nil {
		o.streams.gateway.log.Warn("chunks of an object not removed", "bucket", o.bucket, "id", id, "err", err)
	}
}

// commit makes the upload the object: for whoever looks, in one step. While it is not known whether that has happened, or will, the chunks stay: asking would not help, since the store answers
// before it has done what was published. If they are nobody's the sweep removes them.
func (u *upload) commit(ctx context.Context, about *ObjectMeta) (*meta, error) {
	m := &meta{ObjectInfo: jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{
			Name: about.Name, Description: about.Description, Headers: nats.Header(about.Header), Metadata: map[string]string{evenChunks: "even"},
			Opts: &jetstream.ObjectMetaOptions{ChunkSize: objectChunk},
		},
		Bucket: u.object.bucket, NUID: u.id, Size: uint64(u.size), Chunks: u.chunks, Digest: "SHA-256=" + base64.URLEncoding.EncodeToString(u.sum.Sum(nil)),
	}}
	stored, err := u.object.replace(ctx, func(*meta) (*meta, error) { return m, nil })
	if err != nil && !stored {
		u.discard()
	}
	return m, err
}

// replace puts what next makes of the present meta data in their place, on disk, and has the chunks of the former version removed when nobody reads them any more. After an error, stored tells that
// they are there all the same, or may be some day. Once they are on their way the end of ctx does not count.
func (o *object) replace(ctx context.Context, next func(*meta) (*meta, error)) (stored bool, err error) {
	unlock, err := o.streams.objects.lock(ctx, o.bucket+"\x00"+o.name)
	if err != nil {
		return false, err
	}
	defer unlock()
	for range commitTries {
		before, err := o.load(ctx)
		if err != nil {
			return false, err
		}
		after, err := next(before)
		if err != nil {
			return false, err
		}
		if over(ctx) {
			return false, busError(ctx.Err())
		}
		if err = o.store(ctx, after, before.sequence); isAPIError(err, 10071, 10164) {
			continue // a NATS client was quicker
		}
		if err != nil {
			return !refused(err), err
		}
		return true, o.settle(ctx, before)
	}
	return false, Errorf(CodeUnavailable, "object %q changes too quickly", o.name)
}

// refused tells an error that JetStream answered with from one that leaves open what it has done or will do.
func refused(err error) bool {
	_, answered := errors.AsType[*jetstream.APIError](err)
	return answered || errors.Is(err, nats.ErrMaxPayload) // which the client library said
}

// settle waits until new meta data are on disk and gives up the version before.
func (o *object) settle(ctx context.Context, before *meta) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storePatience)
	defer cancel()
	if err := o.streams.synced(ctx); err != nil {
		return err
	}
	if before.link() == nil && !before.Deleted {
		o.streams.objects.retire(o, before.NUID)
	}
	return nil
}

// store writes meta data if the last ones are those with this sequence number. It does so although ctx ends meanwhile.
func (o *object) store(ctx context.Context, m *meta, last uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storePatience)
	defer cancel()
	m.ModTime = time.Time{}
	data, err := json.Marshal(&m.ObjectInfo)
	if err != nil {
		return &Error{Code: CodeInternal, Detail: "internal error", Err: err}
	}
	message := &nats.Msg{Subject: o.metaSubject(), Header: nats.Header{
		jetstream.MsgRollup: {jetstream.MsgRollupSubject}, jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(last, 10)},
	}}
	if m.sequence, err = o.streams.store(ctx, o.stream(), message, data); err != nil {
		return o.missing(err)
	}
	m.ModTime = time.Now().UTC()
	return nil
}

// DeleteObject deletes an object. CodeNotFound.
func (b *Bus) DeleteObject(ctx context.Context, bucket, name string) error {
	o, err := b.object(mayPutObject, bucket, name)
	if err != nil {
		return err
	}
	_, err = o.replace(ctx, func(before *meta) (*meta, error) {
		if before.Deleted {
			return nil, o.missing(Errorf(CodeNotFound, "deleted"))
		}
		after := *before
		after.Deleted, after.Size, after.Chunks, after.Digest = true, 0, 0, ""
		return &after, nil
	})
	return err
}

// publishError reads the answer to a publish: nil when the stream has it.
func publishError(m *nats.Msg) error {
	if m.Header.Get("Status") == "503" {
		return &Error{Code: CodeNotFound, Detail: "no stream takes it", Err: &jetstream.APIError{ErrorCode: 10059}}
	}
	var ack apiAnswer
	switch err := json.Unmarshal(m.Data, &ack); {
	case err != nil:
		return &Error{Code: CodeInternal, Detail: "internal error", Err: errors.Join(errors.New("publish acknowledgement"), err)}
	case ack.Error == nil:
		return nil
	case ack.Error.ErrorCode == 10077 && atLimit(ack.Error):
		return &Error{Code: CodeResourceExhausted, Detail: ack.Error.Description, Err: ack.Error}
	}
	return apiError(ack.Error)
}
