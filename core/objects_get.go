package core

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

const (
	objectAhead  = 1 << 20 // bytes that a reader has in memory, and a chunk
	locateProbes = 80      // more than a search among all sequence numbers takes
)

// GetObject reads length bytes of an object from offset on; length below 0, or more than there is: to its end. The caller closes the reader, which is for one goroutine and ends with ctx.
// It reads ahead 1 MiB. A whole object is checked against its digest at the end: the last Read fails if it does not fit. What is before the offset is not read, but for objects that a
// NATS client has put, whose chunks may be of any size. CodeNotFound, CodeInvalid for an offset that is negative or behind the end.
func (b *Bus) GetObject(ctx context.Context, bucket, name string, offset, length int64) (ObjectInfo, io.ReadCloser, error) {
	o, m, err := b.hold(ctx, bucket, name)
	if err != nil {
		return ObjectInfo{}, nil, err
	}
	info := m.info()
	info.Name = name
	if offset < 0 || offset > info.Size {
		o.streams.objects.done(o, m.NUID)
		return ObjectInfo{}, nil, Errorf(CodeInvalid, "offset %d: want 0 to %d", offset, info.Size)
	}
	if length < 0 || length > info.Size-offset {
		length = info.Size - offset
	}
	r := &objectReader{ctx: ctx, object: o, id: m.NUID, place: 1, skip: offset, left: length, digest: info.SHA256}
	if offset == 0 && length == info.Size && len(info.SHA256) == sha256.Size {
		r.sum = sha256.New()
	}
	if err := r.seek(m); err != nil {
		_ = r.Close()
		return ObjectInfo{}, nil, err
	}
	return info, r, nil
}

// hold finds an object and counts a reader of it in, so that its chunks stay when it is replaced.
func (b *Bus) hold(ctx context.Context, bucket, name string) (*object, *meta, error) {
	for range commitTries {
		o, m, err := b.present(ctx, bucket, name)
		if err != nil {
			return nil, nil, err
		}
		o.streams.objects.read(o, m.NUID)
		now, err := o.load(ctx)
		if err == nil && now.sequence == m.sequence { // not replaced before it was held
			return o, m, nil
		}
		o.streams.objects.done(o, m.NUID)
		if err != nil {
			return nil, nil, err
		}
	}
	return nil, nil, Errorf(CodeUnavailable, "object %q changes too quickly", name)
}

// objectReader reads the chunks of one version of an object.
type objectReader struct {
	ctx    context.Context
	object *object
	id     string
	place  uint64 // sequence number from which on the next chunk is
	skip   int64  // bytes of it and its followers that are not wanted
	left   int64  // bytes that are
	ahead  []StoredMessage
	rest   []byte // of the chunk at hand
	sum    hash.Hash
	digest []byte
	err    error
	closed bool
}

// seek finds the chunk where the wanted bytes begin, if that can be known.
func (r *objectReader) seek(m *meta) error {
	even := m.Metadata[evenChunks] == "even" && m.Opts != nil && m.Opts.ChunkSize > 0
	if !even || r.left == 0 || r.skip < int64(m.Opts.ChunkSize) {
		return nil
	}
	k, err := r.object.streams.lookup(r.ctx, r.object.stream())
	if err != nil || !k.direct {
		return err
	}
	size := int64(m.Opts.ChunkSize)
	f := finder{reader: r, chunks: uint64(m.Chunks)}
	place, err := f.find(uint64(r.skip / size))
	if err != nil {
		return err
	}
	r.place, r.skip = place, r.skip%size
	return nil
}

// finder finds a chunk by its number. The stream tells with each chunk how many are behind it; other messages may lie between them.
type finder struct {
	reader *objectReader
	chunks uint64
}

// find returns the sequence number of chunk n.
func (f *finder) find(n uint64) (uint64, error) {
	first, number, err := f.probe(1)
	if err != nil {
		return 0, err
	}
	if number != 0 {
		return 0, errChunks()
	}
	info, err := f.reader.object.streams.streamInfo(f.reader.ctx, f.reader.object.stream())
	if err != nil {
		return 0, err
	}
	low, high := first+n, info.State.LastSeq // chunk n is not outside
	for guess := low; low <= high; guess = low + (high-low)/2 {
		at, number, err := f.probe(guess)
		switch {
		case err != nil:
			return 0, err
		case at != 0 && number == n:
			return at, nil
		case at != 0 && number < n:
			low = at + n - number
		default:
			high = guess - 1
		}
	}
	return 0, errChunks()
}

// probe returns the first chunk from a sequence number on, and its number; 0, 0 without any.
func (f *finder) probe(from uint64) (at, number uint64, err error) {
	r := f.reader
	b, err := r.object.streams.read(r.ctx, r.object.stream(), getRequest{Sequence: from, NextOf: chunkSubject(r.object.bucket, r.id), Batch: 1})
	if err != nil || len(b.messages) == 0 {
		return 0, 0, err
	}
	if b.pending >= f.chunks {
		return 0, 0, errChunks()
	}
	return b.messages[0].Sequence, f.chunks - 1 - b.pending, nil
}

// errChunks says that an object is not whole any more: it was replaced by a NATS client, or chunks were deleted one by one.
func errChunks() error {
	return &Error{Code: CodeUnavailable, Detail: "the object has changed while it was read", Err: errors.New("chunks of an object are missing")}
}

// Read implements io.Reader.
func (r *objectReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil && len(r.rest) == 0 {
		r.err = r.next()
	}
	if r.err != nil {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next takes the next chunk in hand. io.EOF behind the last wanted byte.
func (r *objectReader) next() error {
	switch {
	case r.closed:
		return errors.New("read from a closed object")
	case r.left == 0 && r.sum != nil && !bytes.Equal(r.sum.Sum(nil), r.digest):
		return &Error{Code: CodeUnavailable, Detail: "the object does not have its digest"}
	case r.left == 0:
		return io.EOF
	}
	if len(r.ahead) == 0 {
		request := getRequest{Sequence: r.place, NextOf: chunkSubject(r.object.bucket, r.id), Batch: maxReadBatch, MaxBytes: objectAhead}
		b, err := r.object.streams.read(r.ctx, r.object.stream(), request)
		if err != nil {
			return r.object.missing(err)
		}
		if len(b.messages) == 0 {
			return errChunks()
		}
		r.ahead = b.messages
	}
	chunk := r.ahead[0]
	r.ahead[0] = StoredMessage{}
	r.ahead, r.place = r.ahead[1:], chunk.Sequence+1
	data := chunk.Data
	skipped := min(r.skip, int64(len(data)))
	r.skip -= skipped
	data = data[skipped:]
	data = data[:min(r.left, int64(len(data)))]
	r.left -= int64(len(data))
	if r.sum != nil {
		r.sum.Write(data)
	}
	r.rest = data
	return nil
}

// Close implements io.Closer. It may be called twice.
func (r *objectReader) Close() error {
	if r.closed {
		return nil
	}
	r.closed, r.ahead, r.rest = true, nil, nil
	if r.err == nil {
		r.err = errors.New("read from a closed object")
	}
	r.object.streams.objects.done(r.object, r.id)
	return nil
}
