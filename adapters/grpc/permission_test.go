package grpcapi_test

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	grpcapi "portico/adapters/grpc"
	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// as is a connection of somebody who logs in with each call.
func (h *house) as(user string) *grpc.ClientConn {
	h.Helper()
	login := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+user))
	return h.dial(
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(metadata.AppendToOutgoingContext(ctx, "authorization", login), method, req, reply, cc, opts...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return stream(metadata.AppendToOutgoingContext(ctx, "authorization", login), desc, cc, method, opts...)
		}))
}

// startWithUsers is a house where boss may do everything, follower follow stream a without looking at it, and nobody next to nothing.
func startWithUsers(t *testing.T) (h *house, follower, nobody *grpc.ClientConn) {
	h = startWith(t, core.Config{Users: []core.User{
		{Name: "boss", Password: "boss"},
		{Name: "follower", Password: "follower", Publish: []string{"$JS.API.CONSUMER.CREATE.a.>"}, Subscribe: []string{"a.>"}},
		{Name: "nobody", Password: "nobody", Publish: []string{"plain"}, Subscribe: []string{"plain"}},
	}}, grpcapi.Config{})
	h.conn = h.as("boss")
	h.client = porticov1.NewPorticoServiceClient(h.conn)
	return h, h.as("follower"), h.as("nobody")
}

func TestWhoMayNotIsTold(t *testing.T) {
	h, _, nobody := startWithUsers(t)
	h.stream("a", 1)
	h.bucket(&porticov1.Bucket{Name: "b"})
	h.objectBucket()
	h.declare(&porticov1.Queue{Name: "q"})
	h.conn = nobody
	client := porticov1.NewPorticoServiceClient(nobody)
	for name, test := range map[string]struct {
		field string
		call  func() error
	}{
		"publish": {"message.subject", func() error {
			_, err := client.Publish(h.ctx(), &porticov1.PublishRequest{Message: message("s", "x")})
			return err
		}},
		"subscribe": {"subjects[0]", func() error {
			return last(client.Subscribe(h.ctx(), &porticov1.SubscribeRequest{Subjects: []string{"s"}}))
		}},
		"fetch": {"queue", func() error { _, err := client.Fetch(h.ctx(), &porticov1.FetchRequest{Queue: "q"}); return err }},
		"settle": {"queue", func() error {
			_, err := client.Settle(h.ctx(), &porticov1.SettleRequest{Queue: "q", Outcome: 1, Tokens: []string{"x"}})
			return err
		}},
		"create stream": {"stream", func() error { return h.tryStream(&porticov1.Stream{Name: "x"}) }},
		"read stream": {"stream", func() error {
			_, err := h.streams().ReadMessages(h.ctx(), &porticov1.ReadMessagesRequest{Stream: "a"})
			return err
		}},
		"follow stream": {"stream", func() error {
			return last(h.streams().FollowStream(h.ctx(), &porticov1.FollowStreamRequest{Stream: "a"}))
		}},
		"fetch from stream": {"consumer", func() error {
			_, err := h.streams().FetchMessages(h.ctx(), &porticov1.FetchMessagesRequest{Stream: "a", Consumer: "c"})
			return err
		}},
		"put value": {"bucket", func() error {
			_, err := h.kv().PutValue(h.ctx(), &porticov1.PutValueRequest{Bucket: "b", Key: "k"})
			return err
		}},
		"watch keys": {"bucket", func() error { return last(h.kv().WatchKeys(h.ctx(), &porticov1.WatchKeysRequest{Bucket: "b"})) }},
		"put object": {"start.bucket", func() error {
			_, err := h.upload(&porticov1.PutObjectStart{Bucket: "b", Name: "o"}, []byte("x"), nil)
			return err
		}},
		"get object": {"bucket", func() error { _, _, err := h.download(&porticov1.GetObjectRequest{Bucket: "b", Name: "o"}); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			err := test.call()
			want(t, err, codes.PermissionDenied, "permission-denied")
			wantField(t, err, test.field)
		})
	}
}

func TestDoorsAreForThoseWhoMonitor(t *testing.T) {
	h, _, nobody := startWithUsers(t)
	if _, err := porticov1.NewAdminServiceClient(h.conn).ListDoors(h.ctx(), &porticov1.ListDoorsRequest{}); err != nil {
		t.Errorf("boss: %v", err)
	}
	_, err := porticov1.NewAdminServiceClient(nobody).ListDoors(h.ctx(), &porticov1.ListDoorsRequest{})
	want(t, err, codes.PermissionDenied, "permission-denied")
}

func TestWhoMayOnlyFollow(t *testing.T) {
	h, conn, _ := startWithUsers(t)
	h.stream("a", 2)
	h.conn = conn
	f, started := h.follow(&porticov1.FollowStreamRequest{Stream: "a", Start: &porticov1.FollowStreamRequest_FromSequence{FromSequence: 1}})
	if got := f.next(2); got != "12" || started.GetNextSequence() != 1 {
		t.Errorf("got %q from %v", got, started)
	}
	f.cancel()
	h.fill("a", 3, 3)
	f, started = h.follow(after(f.cursor))
	if got := f.next(1); got != "3" || started.GetRecovered() {
		t.Errorf("resumed with %q from %v", got, started)
	}
	if f, started = h.follow(&porticov1.FollowStreamRequest{Stream: "a"}); started.GetNextSequence() != 0 || f.cursor != "" {
		t.Errorf("from now on, which it cannot know: %v with cursor %q", started, f.cursor)
	}
}

// TestFetchEndsWithItsRight: who waits for messages gets none once the right to them is gone, and is told at once.
func TestFetchEndsWithItsRight(t *testing.T) {
	boss, all := core.User{Name: "boss", Password: "boss"}, []string{">", "$queue.>", "$JS.>"}
	bob := core.User{Name: "bob", Password: "bob", Publish: all, Subscribe: all}
	less := bob
	less.Subscribe = []string{"x"}
	for name, c := range map[string]struct {
		users []core.User
		code  codes.Code
	}{
		"no such user": {[]core.User{boss}, codes.Unauthenticated},
		"less allowed": {[]core.User{boss, less}, codes.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			h := startWith(t, core.Config{Users: []core.User{boss, bob}}, grpcapi.Config{})
			h.conn = h.as("boss")
			h.client = porticov1.NewPorticoServiceClient(h.conn)
			h.declare(&porticov1.Queue{Name: "q"})
			h.conn = h.as("bob")
			asBob := *h
			asBob.client = porticov1.NewPorticoServiceClient(h.conn)
			if err := asBob.tryPublish(&porticov1.PublishRequest{Message: message("plain", "")}); err != nil { // bob is in
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(h.ctx(), 20*time.Second)
			defer cancel()
			ended := make(chan error, 1)
			go func() {
				_, err := asBob.client.Fetch(ctx, &porticov1.FetchRequest{Queue: "q", Wait: durationpb.New(time.Minute)})
				ended <- err
			}()
			h.eventually("somebody fetches", func() bool { return h.info("q").GetConsumers() > 0 })
			if err := h.gateway.Reload(core.Config{Users: c.users}); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; status.Code(err) != c.code {
				t.Errorf("got %v, want %v", err, c.code)
			}
		})
	}
}

func TestQueuesOfOthersAreNotTold(t *testing.T) {
	h, _, nobody := startWithUsers(t)
	h.declare(&porticov1.Queue{Name: "q"})
	if _, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: "q", Pattern: "s"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"boss": 1, "nobody": 0} {
		conn := h.conn
		if name == "nobody" {
			conn = nobody
		}
		queues, err := porticov1.NewPorticoServiceClient(conn).ListQueues(h.ctx(), &porticov1.ListQueuesRequest{})
		if err != nil || len(queues.GetQueues()) != want {
			t.Errorf("%s: %v, %v", name, queues, err)
		}
		bindings, err := porticov1.NewAdminServiceClient(conn).ListBindings(h.ctx(), &porticov1.ListBindingsRequest{})
		if err != nil || len(bindings.GetBindings()) != want {
			t.Errorf("%s: %v, %v", name, bindings, err)
		}
	}
}
