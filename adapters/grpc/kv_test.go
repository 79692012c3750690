package grpcapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func (h *house) kv() porticov1.KeyValueServiceClient {
	return porticov1.NewKeyValueServiceClient(h.conn)
}

func (h *house) bucket(b *porticov1.Bucket) {
	h.Helper()
	b.Storage = porticov1.Storage_STORAGE_MEMORY
	if _, err := h.kv().CreateBucket(h.ctx(), &porticov1.CreateBucketRequest{Bucket: b}); err != nil {
		h.Fatal(err)
	}
}

func (h *house) put(key, value string) uint64 {
	h.Helper()
	resp, err := h.kv().PutValue(h.ctx(), &porticov1.PutValueRequest{Bucket: "b", Key: key, Value: []byte(value)})
	if err != nil {
		h.Fatal(err)
	}
	return resp.GetRevision()
}

// revision is what an error says that the present one is.
func revision(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()["revision"]
		}
	}
	return ""
}

func TestBucketIsDescribedChangedAndDeleted(t *testing.T) {
	h := start(t)
	h.bucket(&porticov1.Bucket{Name: "b", History: 3})
	again, err := h.kv().CreateBucket(h.ctx(), &porticov1.CreateBucketRequest{Bucket: &porticov1.Bucket{Name: "b", History: 3, Storage: porticov1.Storage_STORAGE_MEMORY}})
	if err != nil || again.GetCreated() {
		t.Errorf("created again: %v, %v", again, err)
	}
	_, err = h.kv().CreateBucket(h.ctx(), &porticov1.CreateBucketRequest{Bucket: &porticov1.Bucket{Name: "b", History: 4, Storage: porticov1.Storage_STORAGE_MEMORY}})
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	changed, err := h.kv().UpdateBucket(h.ctx(), &porticov1.UpdateBucketRequest{Bucket: &porticov1.Bucket{
		Name: "b", History: 5, Ttl: durationpb.New(time.Hour), Storage: porticov1.Storage_STORAGE_MEMORY,
	}})
	if got := changed.GetInfo().GetBucket(); err != nil || got.GetHistory() != 5 || got.GetTtl().AsDuration() != time.Hour {
		t.Errorf("changed to %v, %v", changed, err)
	}
	h.put("k", "v")
	info, err := h.kv().GetBucket(h.ctx(), &porticov1.GetBucketRequest{Bucket: "b"})
	if err != nil || info.GetInfo().GetValues() != 1 {
		t.Errorf("bucket %v, %v", info, err)
	}
	list, err := h.kv().ListBuckets(h.ctx(), &porticov1.ListBucketsRequest{})
	if err != nil || len(list.GetBuckets()) != 1 {
		t.Errorf("buckets %v, %v", list, err)
	}
	if _, err := h.kv().DeleteBucket(h.ctx(), &porticov1.DeleteBucketRequest{Bucket: "b"}); err != nil {
		t.Error(err)
	}
	_, err = h.kv().GetBucket(h.ctx(), &porticov1.GetBucketRequest{Bucket: "b"})
	want(t, err, codes.NotFound, "not-found")
}

func TestValuesAndRevisions(t *testing.T) {
	h := start(t)
	h.bucket(&porticov1.Bucket{Name: "b", History: 5})
	created, err := h.kv().CreateValue(h.ctx(), &porticov1.CreateValueRequest{Bucket: "b", Key: "k", Value: []byte("1")})
	if err != nil || created.GetRevision() != 1 {
		t.Fatalf("created %v, %v", created, err)
	}
	_, err = h.kv().CreateValue(h.ctx(), &porticov1.CreateValueRequest{Bucket: "b", Key: "k"})
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	wantField(t, err, "revision")
	if got := revision(err); got != "1" {
		t.Errorf("the present revision is %q", got)
	}
	updated, err := h.kv().UpdateValue(h.ctx(), &porticov1.UpdateValueRequest{Bucket: "b", Key: "k", Value: []byte("2"), Revision: 1})
	if err != nil || updated.GetRevision() != 2 {
		t.Errorf("updated %v, %v", updated, err)
	}
	_, err = h.kv().UpdateValue(h.ctx(), &porticov1.UpdateValueRequest{Bucket: "b", Key: "k", Value: []byte("x"), Revision: 1})
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	_, err = h.kv().DeleteValue(h.ctx(), &porticov1.DeleteValueRequest{Bucket: "b", Key: "k", Revision: 1})
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	h.put("k", "3")
	for revision, value := range map[uint64]string{0: "3", 2: "2"} {
		got, err := h.kv().GetValue(h.ctx(), &porticov1.GetValueRequest{Bucket: "b", Key: "k", Revision: revision})
		if err != nil || string(got.GetEntry().GetValue()) != value {
			t.Errorf("revision %d: %v, %v", revision, got, err)
		}
	}
	if _, err := h.kv().DeleteValue(h.ctx(), &porticov1.DeleteValueRequest{Bucket: "b", Key: "k", Revision: 3}); err != nil {
		t.Error(err)
	}
	history, err := h.kv().GetHistory(h.ctx(), &porticov1.GetHistoryRequest{Bucket: "b", Key: "k"})
	if n := len(history.GetEntries()); err != nil || n != 4 || history.GetEntries()[3].GetOperation() != porticov1.KeyOperation_KEY_OPERATION_DELETE {
		t.Errorf("history %v, %v", history, err)
	}
	_, err = h.kv().GetValue(h.ctx(), &porticov1.GetValueRequest{Bucket: "b", Key: "k"})
	want(t, err, codes.NotFound, "not-found")
	wantField(t, err, "key")
	if _, err := h.kv().PurgeValue(h.ctx(), &porticov1.PurgeValueRequest{Bucket: "b", Key: "k"}); err != nil {
		t.Error(err)
	}
}

func TestKeysAreListedInPages(t *testing.T) {
	h := start(t)
	h.bucket(&porticov1.Bucket{Name: "b"})
	for _, key := range []string{"a.1", "a.2", "a.3", "b.1"} {
		h.put(key, "v")
	}
	var keys []string
	req := &porticov1.ListKeysRequest{Bucket: "b", Pattern: "a.*", PageSize: 2}
	for {
		resp, err := h.kv().ListKeys(h.ctx(), req)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, resp.GetKeys()...)
		if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
			break
		}
	}
	if got := strings.Join(keys, " "); got != "a.1 a.2 a.3" {
		t.Errorf("keys %q", got)
	}
}

// watched returns what the next n frames say: key=value, key! for an end, | for caught up.
func watched(t *testing.T, stream grpc.ServerStreamingClient[porticov1.WatchKeysResponse], n int) string {
	t.Helper()
	var said []string
	for range n {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		switch e := resp.GetEntry(); {
		case resp.GetCaughtUp() != nil:
			said = append(said, "|")
		case e.GetOperation() == porticov1.KeyOperation_KEY_OPERATION_PUT:
			said = append(said, e.GetKey()+"="+string(e.GetValue()))
		default:
			said = append(said, e.GetKey()+"!")
		}
	}
	return strings.Join(said, " ")
}

func TestWatchKeys(t *testing.T) {
	h := start(t)
	h.bucket(&porticov1.Bucket{Name: "b"})
	h.put("a.1", "x")
	seen := h.put("c", "no")
	ctx, cancel := context.WithCancel(h.ctx())
	defer cancel()
	stream, err := h.kv().WatchKeys(ctx, &porticov1.WatchKeysRequest{Bucket: "b", Pattern: "a.>"})
	if err != nil {
		t.Fatal(err)
	}
	if got := watched(t, stream, 2); got != "a.1=x |" {
		t.Errorf("at first %q", got)
	}
	h.put("a.2", "y")
	if _, err := h.kv().DeleteValue(h.ctx(), &porticov1.DeleteValueRequest{Bucket: "b", Key: "a.1"}); err != nil {
		t.Fatal(err)
	}
	if got := watched(t, stream, 2); got != "a.2=y a.1!" {
		t.Errorf("then %q", got)
	}
	resumed, err := h.kv().WatchKeys(ctx, &porticov1.WatchKeysRequest{Bucket: "b", AfterRevision: seen})
	if err != nil {
		t.Fatal(err)
	}
	if got := watched(t, resumed, 3); got != "a.2=y a.1! |" {
		t.Errorf("behind revision %d: %q", seen, got)
	}
	late, err := h.kv().WatchKeys(ctx, &porticov1.WatchKeysRequest{Bucket: "b", AfterRevision: 1000})
	if err == nil {
		_, err = late.Recv()
	}
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	wantField(t, err, "after_revision")
}
