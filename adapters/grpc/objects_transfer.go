package grpcapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"time"

	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
)

const (
	maxObject       = 5 << 30          // bytes
	maxTransfers    = 256              // objects on their way at once; each has a few chunks in memory. When full, RESOURCE_EXHAUSTED
	transferTimeout = 30 * time.Second // that a client may let an upload or a download rest
	objectChunk     = 64 << 10         // bytes of a frame to the client
)

var (
	errStalled   = core.Errorf(core.CodeTimeout, "nothing moved for %v", transferTimeout)
	errTransfers = core.Errorf(core.CodeResourceExhausted, "%d objects are on their way: try again", maxTransfers)
)

// upload is one PutObject: an io.Reader of what the client sends.
type upload struct {
	stream grpc.ClientStreamingServer[porticov1.PutObjectRequest, porticov1.PutObjectResponse]
	pulse  *time.Timer // ends the call when it fires
	rest   []byte
	size   int64
	sum    hash.Hash
	end    error // what Read returns when rest is empty
}

// PutObject implements ObjectService.
func (s *objectService) PutObject(stream grpc.ClientStreamingServer[porticov1.PutObjectRequest, porticov1.PutObjectResponse]) error {
	if !s.transfers.TryAcquire(1) {
		return errTransfers
	}
	defer s.transfers.Release(1)
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	u := &upload{stream: stream, pulse: time.AfterFunc(transferTimeout, func() { end(errStalled) }), sum: sha256.New()}
	defer u.pulse.Stop()
	return s.run(ctx, func() error {
		start, err := firstFrame(stream, (*porticov1.PutObjectRequest).GetStart)
		if err != nil {
			return err
		}
		info, err := u.put(ctx, start)
		if err != nil {
			return err
		}
		s.metrics.In.Inc()
		s.metrics.BytesIn.Add(float64(u.size))
		return stream.SendAndClose(&porticov1.PutObjectResponse{Info: objectInfo(&info)})
	})
}

func (u *upload) put(ctx context.Context, start *porticov1.PutObjectStart) (core.ObjectInfo, error) {
	digest := start.GetSha256()
	if len(digest) != 0 && len(digest) != sha256.Size {
		return core.ObjectInfo{}, badField("start.sha256", "%d bytes: a SHA-256 has %d", len(digest), sha256.Size)
	}
	if len(digest) == 0 {
		digest = nil
	}
	header, err := fromHeaders("start.headers", start.GetHeaders())
	if err != nil {
		return core.ObjectInfo{}, err
	}
	about := core.ObjectMeta{Name: start.GetName(), Description: start.GetDescription(), Header: header}
	info, err := busOf(ctx).PutObject(ctx, start.GetBucket(), about, u, digest)
	switch {
	case err == nil:
		return info, nil
	case u.end != nil && !errors.Is(u.end, io.EOF):
		return info, u.end // of the client's making, and not of the store's
	case core.AsError(err).Code == core.CodePreconditionFailed && digest != nil:
		return info, inField(err, "start.sha256")
	}
	if _, missing := busOf(ctx).ObjectBucket(ctx, start.GetBucket()); missing != nil {
		return info, inField(err, "start.bucket")
	}
	return info, inField(err, "start.name")
}

// Read implements io.Reader.
func (u *upload) Read(p []byte) (int, error) {
	for len(u.rest) == 0 {
		if u.end != nil {
			return 0, u.end
		}
		u.end = u.receive()
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// receive takes a frame; an error is the end.
func (u *upload) receive() error {
	u.pulse.Reset(transferTimeout)
	frame, err := u.stream.Recv()
	u.pulse.Stop() // what we take to store it does not count
	if err != nil {
		return err
	}
	switch frame := frame.GetFrame().(type) {
	case *porticov1.PutObjectRequest_Data:
		u.rest = frame.Data
		u.size += int64(len(frame.Data))
		u.sum.Write(frame.Data)
		if u.size > maxObject {
			return &refusal{core.Errorf(core.CodeTooLarge, "data: more than %d bytes", int64(maxObject)), "data"}
		}
		return nil
	case *porticov1.PutObjectRequest_Finish:
		return u.finish(frame.Finish.GetSha256())
	}
	return badField("frame", "after start all must be data or finish")
}

// finish holds what came against its digest.
func (u *upload) finish(digest []byte) error {
	switch {
	case len(digest) != 0 && len(digest) != sha256.Size:
		return badField("finish.sha256", "%d bytes: a SHA-256 has %d", len(digest), sha256.Size)
	case len(digest) != 0 && !bytes.Equal(digest, u.sum.Sum(nil)):
		return &refusal{core.Errorf(core.CodePreconditionFailed, "finish.sha256: it is not that of the bytes that came"), "finish.sha256"}
	}
	return io.EOF
}

// GetObject implements ObjectService.
func (s *objectService) GetObject(req *porticov1.GetObjectRequest, stream grpc.ServerStreamingServer[porticov1.GetObjectResponse]) error {
	if !s.transfers.TryAcquire(1) {
		return errTransfers
	}
	defer s.transfers.Release(1)
	var k checks
	offset, length := k.number("offset", req.GetOffset(), maxObject), k.number("length", req.GetLength(), maxObject)
	if k.err != nil {
		return k.err
	}
	if length == 0 {
		length = -1
	}
	ctx, end := context.WithCancelCause(stream.Context())
	defer end(nil)
	info, body, err := busOf(ctx).GetObject(ctx, req.GetBucket(), req.GetName(), offset, length)
	if err != nil {
		if core.AsError(err).Code == core.CodeInvalid && offset > 0 {
			return inField(err, "offset")
		}
		return objectError(ctx, err, req.GetBucket())
	}
	d := &download{stream: stream, pulse: time.AfterFunc(transferTimeout, func() { end(errStalled) })}
	defer d.pulse.Stop()
	return s.run(ctx, func() error {
		defer body.Close()
		err := d.send(&porticov1.GetObjectResponse{Frame: &porticov1.GetObjectResponse_Info{Info: objectInfo(&info)}})
		if err == nil {
			err = d.relay(body)
		}
		s.metrics.Out.Inc()
		s.metrics.BytesOut.Add(float64(d.size))
		return err
	})
}

// download is one GetObject.
type download struct {
	stream grpc.ServerStreamingServer[porticov1.GetObjectResponse]
	pulse  *time.Timer // ends the call when it fires
	size   int64
}

func (d *download) send(frame *porticov1.GetObjectResponse) error {
	d.pulse.Reset(transferTimeout)
	err := d.stream.Send(frame)
	d.pulse.Stop() // what the store takes does not count
	return err
}

// relay sends body, always one chunk behind what it has read: the last one goes out when the store has said that all is well.
func (d *download) relay(body io.Reader) error {
	var held []byte
	for {
		fresh := make([]byte, objectChunk)
		n, err := io.ReadFull(body, fresh)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return err
		}
		if err := d.data(held); err != nil {
			return err
		}
		if ended {
			return d.data(fresh[:n])
		}
		held = fresh
	}
}

func (d *download) data(chunk []byte) error {
	if len(chunk) == 0 {
		return nil
	}
	d.size += int64(len(chunk))
	return d.send(&porticov1.GetObjectResponse{Frame: &porticov1.GetObjectResponse_Data{Data: chunk}})
}
