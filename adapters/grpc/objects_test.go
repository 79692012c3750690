package grpcapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc/codes"
)

func (h *house) objects() porticov1.ObjectServiceClient {
	return porticov1.NewObjectServiceClient(h.conn)
}

func (h *house) objectBucket() {
	h.Helper()
	b := &porticov1.ObjectBucket{Name: "b", Storage: porticov1.Storage_STORAGE_MEMORY}
	if _, err := h.objects().CreateObjectBucket(h.ctx(), &porticov1.CreateObjectBucketRequest{Bucket: b}); err != nil {
		h.Fatal(err)
	}
}

// upload sends start, data in chunks of 32 KiB, and finish if it is not nil.
func (h *house) upload(start *porticov1.PutObjectStart, data []byte, finish *porticov1.PutObjectFinish) (*porticov1.ObjectInfo, error) {
	stream, err := h.objects().PutObject(h.ctx())
	if err != nil {
		return nil, err
	}
	frames := []*porticov1.PutObjectRequest{{Frame: &porticov1.PutObjectRequest_Start{Start: start}}}
	for chunk := range chunks(data) {
		frames = append(frames, &porticov1.PutObjectRequest{Frame: &porticov1.PutObjectRequest_Data{Data: chunk}})
	}
	if finish != nil {
		frames = append(frames, &porticov1.PutObjectRequest{Frame: &porticov1.PutObjectRequest_Finish{Finish: finish}})
	}
	for _, frame := range frames {
		if stream.Send(frame) != nil {
			break // CloseAndRecv tells why
		}
	}
	resp, err := stream.CloseAndRecv()
	return resp.GetInfo(), err
}

func chunks(data []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			n := min(len(data), 32<<10)
			if !yield(data[:n]) {
				return
			}
			data = data[n:]
		}
	}
}

func (h *house) download(req *porticov1.GetObjectRequest) (info *porticov1.ObjectInfo, data []byte, err error) {
	stream, err := h.objects().GetObject(h.ctx(), req)
	if err != nil {
		return nil, nil, err
	}
	for {
		resp, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return info, data, nil
		case err != nil:
			return info, data, err
		case resp.GetInfo() != nil:
			info = resp.GetInfo()
		default:
			data = append(data, resp.GetData()...)
		}
	}
}

func TestObjectsComeAndGo(t *testing.T) {
	h := start(t)
	h.objectBucket()
	data := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	sum := sha256.Sum256(data)
	headers := map[string]*porticov1.HeaderValues{"Content-Type": {Values: []string{"text/plain"}}}
	put, err := h.upload(&porticov1.PutObjectStart{Bucket: "b", Name: "o", Description: "d", Headers: headers}, data, &porticov1.PutObjectFinish{Sha256: sum[:]})
	if err != nil || put.GetSize() != uint64(len(data)) || !bytes.Equal(put.GetSha256(), sum[:]) {
		t.Fatalf("put %v, %v", put, err)
	}
	for name, test := range map[string]struct {
		offset, length uint64
		want           []byte
	}{
		"all": {0, 0, data}, "from": {100_000, 0, data[100_000:]}, "part": {5, 100_000, data[5:100_005]}, "one": {7, 1, data[7:8]}, "end": {uint64(len(data)), 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			info, got, err := h.download(&porticov1.GetObjectRequest{Bucket: "b", Name: "o", Offset: test.offset, Length: test.length})
			if err != nil || !bytes.Equal(got, test.want) || info.GetVersion() != put.GetVersion() {
				t.Errorf("%d bytes of %v, %v", len(got), info, err)
			}
		})
	}
	info, err := h.objects().GetObjectInfo(h.ctx(), &porticov1.GetObjectInfoRequest{Bucket: "b", Name: "o"})
	if err != nil || info.GetInfo().GetDescription() != "d" || info.GetInfo().GetHeaders()["Content-Type"].GetValues()[0] != "text/plain" {
		t.Errorf("info %v, %v", info, err)
	}
	list, err := h.objects().ListObjects(h.ctx(), &porticov1.ListObjectsRequest{Bucket: "b"})
	if err != nil || len(list.GetObjects()) != 1 {
		t.Errorf("objects %v, %v", list, err)
	}
	if _, err := h.objects().DeleteObject(h.ctx(), &porticov1.DeleteObjectRequest{Bucket: "b", Name: "o"}); err != nil {
		t.Error(err)
	}
	_, _, err = h.download(&porticov1.GetObjectRequest{Bucket: "b", Name: "o"})
	want(t, err, codes.NotFound, "not-found")
	wantField(t, err, "name")
}

func TestObjectWithWrongDigestChangesNothing(t *testing.T) {
	h := start(t)
	h.objectBucket()
	right, wrong := sha256.Sum256([]byte("right")), make([]byte, sha256.Size)
	if _, err := h.upload(&porticov1.PutObjectStart{Bucket: "b", Name: "o", Sha256: right[:]}, []byte("right"), nil); err != nil {
		t.Fatal(err)
	}
	_, err := h.upload(&porticov1.PutObjectStart{Bucket: "b", Name: "o", Sha256: wrong}, []byte("x"), nil)
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	wantField(t, err, "start.sha256")
	_, err = h.upload(&porticov1.PutObjectStart{Bucket: "b", Name: "o"}, []byte("x"), &porticov1.PutObjectFinish{Sha256: wrong})
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	wantField(t, err, "finish.sha256")
	if _, got, err := h.download(&porticov1.GetObjectRequest{Bucket: "b", Name: "o"}); err != nil || string(got) != "right" {
		t.Errorf("it is %q now, %v", got, err)
	}
}

func TestBrokenOffUploadChangesNothing(t *testing.T) {
	h := start(t)
	h.objectBucket()
	ctx, cancel := context.WithCancel(h.ctx())
	stream, err := h.objects().PutObject(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, frame := range []*porticov1.PutObjectRequest{
		{Frame: &porticov1.PutObjectRequest_Start{Start: &porticov1.PutObjectStart{Bucket: "b", Name: "o"}}}, {Frame: &porticov1.PutObjectRequest_Data{Data: []byte("half")}},
	} {
		if err := stream.Send(frame); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	_, err = stream.CloseAndRecv()
	want(t, err, codes.Canceled, "")
	_, err = h.objects().GetObjectInfo(h.ctx(), &porticov1.GetObjectInfoRequest{Bucket: "b", Name: "o"})
	want(t, err, codes.NotFound, "not-found")
}

func TestObjectBuckets(t *testing.T) {
	h := start(t)
	h.objectBucket()
	if got, err := h.objects().GetObjectBucket(h.ctx(), &porticov1.GetObjectBucketRequest{Bucket: "b"}); err != nil || got.GetInfo().GetBucket().GetStorage() != porticov1.Storage_STORAGE_MEMORY {
		t.Errorf("bucket %v, %v", got, err)
	}
	if list, err := h.objects().ListObjectBuckets(h.ctx(), &porticov1.ListObjectBucketsRequest{}); err != nil || len(list.GetBuckets()) != 1 {
		t.Errorf("buckets %v, %v", list, err)
	}
	if _, err := h.objects().DeleteObjectBucket(h.ctx(), &porticov1.DeleteObjectBucketRequest{Bucket: "b"}); err != nil {
		t.Error(err)
	}
	_, err := h.upload(&porticov1.PutObjectStart{Bucket: "b", Name: "o"}, []byte("x"), nil)
	want(t, err, codes.NotFound, "not-found")
	wantField(t, err, "start.bucket")
}
