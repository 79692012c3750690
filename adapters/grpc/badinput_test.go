package grpcapi_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	porticov1 "portico/proto/portico/v1"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// last receives until the stream ends, and returns why.
func last[T any](stream grpc.ServerStreamingClient[T], err error) error {
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// said is what a bidirectional stream ends with after some frames.
func said[Q, R any](stream grpc.BidiStreamingClient[Q, R], err error, frames ...*Q) error {
	for _, frame := range frames {
		if err == nil {
			err = stream.Send(frame)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for err = nil; err == nil; {
		_, err = stream.Recv()
	}
	return err
}

// TestBadInput: each with the right code, and a detail that names the field.
func TestBadInput(t *testing.T) {
	h := start(t)
	bystander := h.subscribe("", "s")
	h.declare(&porticov1.Queue{Name: "q"})
	h.stream("a", 1)
	h.bucket(&porticov1.Bucket{Name: "b"})
	h.objectBucket()
	if _, err := h.streams().CreateConsumer(h.ctx(), &porticov1.CreateConsumerRequest{Stream: "a", Consumer: &porticov1.Consumer{Name: "c"}}); err != nil {
		t.Fatal(err)
	}
	const invalid, missing, failed = codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition
	for name, test := range map[string]struct {
		code  codes.Code
		field string
		call  func() error
	}{
		"no message":          {invalid, "message", func() error { return h.tryPublish(&porticov1.PublishRequest{}) }},
		"empty subject":       {invalid, "message.subject", func() error { return h.tryPublish(&porticov1.PublishRequest{Message: message("", "x")}) }},
		"wildcard in subject": {invalid, "message.subject", func() error { return h.tryPublish(&porticov1.PublishRequest{Message: message("a.*", "x")}) }},
		"reserved subject":    {codes.PermissionDenied, "message.subject", func() error { return h.tryPublish(&porticov1.PublishRequest{Message: message("$JS.API.INFO", "x")}) }},
		"reply of the bus": {codes.PermissionDenied, "message.reply", func() error {
			return h.tryPublish(&porticov1.PublishRequest{Message: &porticov1.Message{Subject: "s", Reply: "$JS.x"}})
		}},
		"header of two lines": {invalid, "message.headers", func() error {
			return h.tryPublish(&porticov1.PublishRequest{Message: &porticov1.Message{Subject: "s", Headers: map[string]*porticov1.HeaderValues{"k": header("a\nb")}}})
		}},
		"header name": {invalid, "message.headers", func() error {
			return h.tryPublish(&porticov1.PublishRequest{Message: &porticov1.Message{Subject: "s", Headers: map[string]*porticov1.HeaderValues{"a b": header("x")}}})
		}},
		"headers too long": {codes.ResourceExhausted, "message.data", func() error {
			return h.tryPublish(&porticov1.PublishRequest{Message: &porticov1.Message{Subject: "s", Headers: map[string]*porticov1.HeaderValues{"k": header(strings.Repeat("x", 65<<10))}}})
		}},
		"too large": {codes.ResourceExhausted, "message.data", func() error {
			return h.tryPublish(&porticov1.PublishRequest{Message: &porticov1.Message{Subject: "s", Data: make([]byte, h.gateway.MaxMessage()+1)}})
		}},
		"long msg_id": {invalid, "msg_id", func() error {
			return h.tryPublish(&porticov1.PublishRequest{Message: message("s", "x"), MsgId: strings.Repeat("x", 256)})
		}},
		"empty batch": {invalid, "messages", func() error { _, err := h.client.PublishBatch(h.ctx(), &porticov1.PublishBatchRequest{}); return err }},
		"request nowhere": {invalid, "message.subject", func() error {
			_, err := h.client.Request(h.ctx(), &porticov1.RequestRequest{Message: message("a..b", "x")})
			return err
		}},
		"idle below zero": {invalid, "idle", func() error {
			return last(h.client.RequestMany(h.ctx(), &porticov1.RequestManyRequest{Message: message("s", "x"), Idle: durationpb.New(-1)}))
		}},

		"no subjects": {invalid, "subjects", func() error { return last(h.client.Subscribe(h.ctx(), &porticov1.SubscribeRequest{})) }},
		"bad wildcard": {invalid, "subjects[1]", func() error {
			return last(h.client.Subscribe(h.ctx(), &porticov1.SubscribeRequest{Subjects: []string{"a", "b.>.c"}}))
		}},
		"bad group": {invalid, "group", func() error {
			return last(h.client.Subscribe(h.ctx(), &porticov1.SubscribeRequest{Subjects: []string{"a"}, Group: "a b"}))
		}},
		"filter of nobody": {invalid, "filters[0].name", func() error {
			return last(h.client.Subscribe(h.ctx(), &porticov1.SubscribeRequest{Subjects: []string{"a"}, Filters: []*porticov1.HeaderFilter{{}}}))
		}},
		"filter for nothing": {invalid, "filters[0]", func() error {
			return last(h.client.Subscribe(h.ctx(), &porticov1.SubscribeRequest{Subjects: []string{"a"}, Filters: []*porticov1.HeaderFilter{{Name: "k"}}}))
		}},
		"no start of serve": {invalid, "start", func() error { s, err := h.client.Serve(h.ctx()); return said(s, err, &porticov1.ServeRequest{}) }},
		"serve nowhere": {invalid, "start.subject", func() error {
			s, err := h.client.Serve(h.ctx())
			return said(s, err, &porticov1.ServeRequest{Frame: &porticov1.ServeRequest_Start{Start: &porticov1.ServeStart{}}})
		}},

		"wrong queue type":     {invalid, "queue.type", func() error { return h.tryDeclare(&porticov1.Queue{Name: "x", Type: 99}) }},
		"wrong overflow":       {invalid, "queue.overflow", func() error { return h.tryDeclare(&porticov1.Queue{Name: "x", Overflow: -1}) }},
		"queue without a name": {invalid, "queue", func() error { return h.tryDeclare(&porticov1.Queue{}) }},
		"another description":  {failed, "queue", func() error { return h.tryDeclare(&porticov1.Queue{Name: "q", MaxPriority: 3}) }},
		"unknown queue": {missing, "queue", func() error {
			_, err := h.client.GetQueue(h.ctx(), &porticov1.GetQueueRequest{Queue: "none"})
			return err
		}},
		"append to nothing": {missing, "queue", func() error {
			_, err := h.client.Append(h.ctx(), &porticov1.AppendRequest{Queue: "none", Message: message("", "x")})
			return err
		}},
		"bind badly": {invalid, "pattern", func() error {
			_, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: "q", Pattern: "a.>.b"})
			return err
		}},
		"bind to nothing": {missing, "queue", func() error {
			_, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: "none", Pattern: "a"})
			return err
		}},
		"page of nobody": {invalid, "page_token", func() error {
			_, err := h.client.ListQueues(h.ctx(), &porticov1.ListQueuesRequest{PageToken: "!"})
			return err
		}},
		"consume nothing": {missing, "queue", func() error { return h.tryConsume(&porticov1.ConsumeStart{Queue: "none"}) }},
		"lease too long": {invalid, "start.lease", func() error {
			return h.tryConsume(&porticov1.ConsumeStart{Queue: "q", Lease: durationpb.New(25 * time.Hour)})
		}},
		"extend without lease": {invalid, "extend.lease", func() error {
			return h.tryConsume(&porticov1.ConsumeStart{Queue: "q"}, &porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Extend{Extend: &porticov1.ConsumeExtend{Ids: []uint64{1}}}})
		}},
		"start twice": {invalid, "frame", func() error {
			return h.tryConsume(&porticov1.ConsumeStart{Queue: "q"}, &porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: &porticov1.ConsumeStart{}}})
		}},
		"fetch too many": {invalid, "max", func() error {
			_, err := h.client.Fetch(h.ctx(), &porticov1.FetchRequest{Queue: "q", Max: 1001})
			return err
		}},
		"fetch too long": {invalid, "wait", func() error {
			_, err := h.client.Fetch(h.ctx(), &porticov1.FetchRequest{Queue: "q", Wait: durationpb.New(time.Hour)})
			return err
		}},
		"fetch nothing": {missing, "queue", func() error { _, err := h.client.Fetch(h.ctx(), &porticov1.FetchRequest{Queue: "none"}); return err }},
		"settle no outcome": {invalid, "outcome", func() error {
			_, err := h.client.Settle(h.ctx(), &porticov1.SettleRequest{Queue: "q", Tokens: []string{"x"}})
			return err
		}},
		"settle no tokens": {invalid, "tokens", func() error {
			_, err := h.client.Settle(h.ctx(), &porticov1.SettleRequest{Queue: "q", Outcome: 1})
			return err
		}},
		"lease of an ack": {invalid, "lease", func() error {
			_, err := h.client.Settle(h.ctx(), &porticov1.SettleRequest{Queue: "q", Tokens: []string{"x"}, Outcome: 1, Lease: durationpb.New(time.Second)})
			return err
		}},
		"bindings of nobody": {missing, "queue", func() error {
			_, err := porticov1.NewAdminServiceClient(h.conn).ListBindings(h.ctx(), &porticov1.ListBindingsRequest{Queue: "none"})
			return err
		}},

		"no stream": {invalid, "stream", func() error {
			_, err := h.streams().CreateStream(h.ctx(), &porticov1.CreateStreamRequest{})
			return err
		}},
		"wrong retention":     {invalid, "stream.retention", func() error { return h.tryStream(&porticov1.Stream{Name: "x", Retention: 9}) }},
		"wrong storage":       {invalid, "stream.storage", func() error { return h.tryStream(&porticov1.Stream{Name: "x", Storage: 9}) }},
		"age below zero":      {invalid, "stream.max_age", func() error { return h.tryStream(&porticov1.Stream{Name: "x", MaxAge: durationpb.New(-time.Second)}) }},
		"bytes beyond bounds": {invalid, "stream.max_bytes", func() error { return h.tryStream(&porticov1.Stream{Name: "x", MaxBytes: 1 << 63}) }},
		"stream name":         {invalid, "stream", func() error { return h.tryStream(&porticov1.Stream{Name: "a.b"}) }},
		"overlapping":         {failed, "stream", func() error { return h.tryStream(&porticov1.Stream{Name: "x", Subjects: []string{"a.n0"}}) }},
		"unknown stream": {missing, "stream", func() error {
			_, err := h.streams().GetStream(h.ctx(), &porticov1.GetStreamRequest{Stream: "none"})
			return err
		}},
		"purge both ways": {invalid, "keep", func() error {
			_, err := h.streams().PurgeStream(h.ctx(), &porticov1.PurgeStreamRequest{Stream: "a", Before: 1, Keep: 1})
			return err
		}},
		"read too much": {invalid, "limit", func() error {
			_, err := h.streams().ReadMessages(h.ctx(), &porticov1.ReadMessagesRequest{Stream: "a", Limit: 1001})
			return err
		}},
		"read badly": {invalid, "subjects", func() error {
			_, err := h.streams().ReadMessages(h.ctx(), &porticov1.ReadMessagesRequest{Stream: "a", Subjects: []string{"a..b"}})
			return err
		}},
		"before 1970": {invalid, "since", func() error {
			_, err := h.streams().ReadMessages(h.ctx(), &porticov1.ReadMessagesRequest{Stream: "a", Start: &porticov1.ReadMessagesRequest_Since{Since: &timestamppb.Timestamp{Seconds: -1}}})
			return err
		}},
		"which message": {invalid, "sequence", func() error {
			_, err := h.streams().GetMessage(h.ctx(), &porticov1.GetMessageRequest{Stream: "a"})
			return err
		}},
		"no such message": {missing, "sequence", func() error {
			_, err := h.streams().DeleteMessage(h.ctx(), &porticov1.DeleteMessageRequest{Stream: "a", Sequence: 9})
			return err
		}},
		"cursor of nobody": {invalid, "after_cursor", func() error { return last(h.streams().FollowStream(h.ctx(), after("!"))) }},
		"stale cursor":     {failed, "after_cursor", func() error { return last(h.streams().FollowStream(h.ctx(), after("AAAAAAAAAAEAAAAAAAAAAQ"))) }},
		"follow nothing": {missing, "stream", func() error {
			return last(h.streams().FollowStream(h.ctx(), &porticov1.FollowStreamRequest{Stream: "none"}))
		}},
		"wrong policy": {invalid, "consumer.deliver", func() error {
			_, err := h.streams().CreateConsumer(h.ctx(), &porticov1.CreateConsumerRequest{Stream: "a", Consumer: &porticov1.Consumer{Name: "x", Deliver: 9}})
			return err
		}},
		"sequence for all": {invalid, "consumer.start_sequence", func() error {
			_, err := h.streams().CreateConsumer(h.ctx(), &porticov1.CreateConsumerRequest{Stream: "a", Consumer: &porticov1.Consumer{Name: "x", StartSequence: 1}})
			return err
		}},
		"consumer of nothing": {missing, "stream", func() error {
			_, err := h.streams().CreateConsumer(h.ctx(), &porticov1.CreateConsumerRequest{Stream: "none", Consumer: &porticov1.Consumer{Name: "x"}})
			return err
		}},
		"unknown consumer": {missing, "consumer", func() error {
			_, err := h.streams().FetchMessages(h.ctx(), &porticov1.FetchMessagesRequest{Stream: "a", Consumer: "none"})
			return err
		}},
		"pause until then": {invalid, "until", func() error {
			_, err := h.streams().PauseConsumer(h.ctx(), &porticov1.PauseConsumerRequest{Stream: "a", Consumer: "c", Until: timestamppb.New(time.Unix(1, 0))})
			return err
		}},
		"wrong lent outcome": {invalid, "outcome", func() error {
			_, err := h.streams().SettleMessages(h.ctx(), &porticov1.SettleMessagesRequest{Stream: "a", Consumer: "c", Tokens: []string{"x"}, Outcome: 9})
			return err
		}},
		"delayed ack": {invalid, "delay", func() error {
			_, err := h.streams().SettleMessages(h.ctx(), &porticov1.SettleMessagesRequest{Stream: "a", Consumer: "c", Tokens: []string{"x"}, Outcome: 1, Delay: durationpb.New(1)})
			return err
		}},

		"history too long": {invalid, "bucket.history", func() error {
			_, err := h.kv().CreateBucket(h.ctx(), &porticov1.CreateBucketRequest{Bucket: &porticov1.Bucket{Name: "x", History: 65}})
			return err
		}},
		"bucket name": {invalid, "bucket", func() error {
			_, err := h.kv().CreateBucket(h.ctx(), &porticov1.CreateBucketRequest{Bucket: &porticov1.Bucket{Name: "a b"}})
			return err
		}},
		"unknown bucket": {missing, "bucket", func() error {
			_, err := h.kv().PutValue(h.ctx(), &porticov1.PutValueRequest{Bucket: "none", Key: "k"})
			return err
		}},
		"empty key": {invalid, "key", func() error { _, err := h.kv().PutValue(h.ctx(), &porticov1.PutValueRequest{Bucket: "b"}); return err }},
		"no revision": {invalid, "revision", func() error {
			_, err := h.kv().UpdateValue(h.ctx(), &porticov1.UpdateValueRequest{Bucket: "b", Key: "k"})
			return err
		}},
		"keys badly": {invalid, "pattern", func() error {
			_, err := h.kv().ListKeys(h.ctx(), &porticov1.ListKeysRequest{Bucket: "b", Pattern: "a b"})
			return err
		}},
		"watch badly": {invalid, "pattern", func() error {
			return last(h.kv().WatchKeys(h.ctx(), &porticov1.WatchKeysRequest{Bucket: "b", Pattern: "a..b"}))
		}},
		"watch nothing": {missing, "bucket", func() error { return last(h.kv().WatchKeys(h.ctx(), &porticov1.WatchKeysRequest{Bucket: "none"})) }},

		"object without name": {invalid, "start.name", func() error { _, err := h.upload(&porticov1.PutObjectStart{Bucket: "b"}, []byte("x"), nil); return err }},
		"short digest": {invalid, "start.sha256", func() error {
			_, err := h.upload(&porticov1.PutObjectStart{Bucket: "b", Name: "o", Sha256: []byte("x")}, nil, nil)
			return err
		}},
		"unknown object": {missing, "name", func() error {
			_, _, err := h.download(&porticov1.GetObjectRequest{Bucket: "b", Name: "none"})
			return err
		}},
		"objects of nobody": {missing, "bucket", func() error {
			_, err := h.objects().ListObjects(h.ctx(), &porticov1.ListObjectsRequest{Bucket: "none"})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.call()
			if got := status.Code(err); got != test.code {
				t.Errorf("got %v, want %v", err, test.code)
			}
			wantField(t, err, test.field)
		})
	}
	if _, err := h.client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("s", "x")}); err != nil {
		t.Errorf("the connection is not what it was: %v", err)
	}
	if resp, err := bystander.Recv(); err != nil || string(resp.GetMessage().GetData()) != "x" {
		t.Errorf("another stream of the connection got %v, %v", resp, err)
	}
}

func (h *house) tryPublish(req *porticov1.PublishRequest) error {
	_, err := h.client.Publish(h.ctx(), req)
	return err
}

func (h *house) tryStream(s *porticov1.Stream) error {
	_, err := h.streams().CreateStream(h.ctx(), &porticov1.CreateStreamRequest{Stream: s})
	return err
}

func TestFullQueueSaysWhenToTryAgain(t *testing.T) {
	h := start(t)
	one := uint64(1)
	h.declare(&porticov1.Queue{Name: "q", MaxLength: &one, Overflow: porticov1.Overflow_OVERFLOW_REJECT_PUBLISH})
	h.append("q", "a")
	_, err := h.client.Append(h.ctx(), &porticov1.AppendRequest{Queue: "q", Message: message("", "b")})
	want(t, err, codes.ResourceExhausted, "resource-exhausted")
	for _, detail := range status.Convert(err).Details() {
		if retry, ok := detail.(*errdetails.RetryInfo); ok && retry.GetRetryDelay().AsDuration() > 0 {
			return
		}
	}
	t.Errorf("no RetryInfo in %v", status.Convert(err).Details())
}
