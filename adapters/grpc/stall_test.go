package grpcapi_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	grpcapi "portico/adapters/grpc"
	"portico/core"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc"
)

// TestStalledStreamsDelayNobody: for each kind of stream one client that never reads and one that does, on the same connection.
func TestStalledStreamsDelayNobody(t *testing.T) {
	const n, size = 250, 16 << 10
	h := startWith(t, core.Config{}, grpcapi.Config{OutboundBytes: 512 << 10})
	h.conn = h.dial(grpc.WithInitialWindowSize(64<<10), grpc.WithInitialConnWindowSize(1<<20)) // windows that do not grow, and hold a part of what comes
	h.client = porticov1.NewPorticoServiceClient(h.conn)
	h.stream("a", 0)
	h.bucket(&porticov1.Bucket{Name: "b"})
	for _, queue := range []string{"stalled", "alive"} {
		h.declare(&porticov1.Queue{Name: queue})
		if _, err := h.client.Bind(h.ctx(), &porticov1.BindRequest{Queue: queue, Pattern: "a.>"}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	alive := map[string]func() (int, error){}
	for _, reads := range []bool{false, true} {
		queue := map[bool]string{false: "stalled", true: "alive"}[reads]
		live, err := h.client.Subscribe(ctx, &porticov1.SubscribeRequest{Subjects: []string{"a.>"}})
		alive["Subscribe"] = func() (int, error) { _, err := live.Recv(); return 1, err }
		follower, err2 := h.streams().FollowStream(ctx, &porticov1.FollowStreamRequest{Stream: "a"})
		alive["FollowStream"] = func() (int, error) { resp, err := follower.Recv(); return len(resp.GetMessages().GetMessages()), err }
		watcher, err3 := h.kv().WatchKeys(ctx, &porticov1.WatchKeysRequest{Bucket: "b"})
		alive["WatchKeys"] = func() (int, error) {
			resp, err := watcher.Recv()
			if resp.GetEntry() == nil {
				return 0, err
			}
			return 1, err
		}
		c := h.consume(&porticov1.ConsumeStart{Queue: queue, AutoAck: true})
		alive["Consume"] = func() (int, error) { resp, err := c.Recv(); return len(resp.GetDeliveries().GetDeliveries()), err }
		r := h.serve("a.n0", "")
		alive["Serve"] = func() (int, error) { _, err := r.Recv(); return 2, err } // every second message
		for _, err := range []error{err, err2, err3} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, stream := range []grpc.ClientStream{live, follower, watcher} {
			if _, err := stream.Header(); reads && err != nil && stream != watcher {
				t.Fatal(err)
			}
		}
	}
	results := make(chan string, len(alive))
	progress := map[string]*atomic.Int64{}
	for name, receive := range alive {
		seen := &atomic.Int64{}
		progress[name] = seen
		go func() {
			got := 0
			for got < n {
				more, err := receive()
				if err != nil {
					results <- fmt.Sprintf("%s got %d of %d: %v", name, got, n, err)
					return
				}
				got += more
				seen.Store(int64(got))
			}
			results <- ""
		}()
	}
	load := bytes.Repeat([]byte("x"), size)
	for i := range n {
		for name, seen := range progress { // live streams have no more patience than their outbox: whoever reads must be given the time to
			h.eventuallyIn(time.Minute, name+" gets on", func() bool { return seen.Load() >= int64(i-10) })
		}
		m := &porticov1.Message{Subject: "a.n" + strconv.Itoa(i%2), Data: load}
		if _, err := h.client.Publish(ctx, &porticov1.PublishRequest{Message: m}); err != nil {
			t.Fatal(err)
		}
		if _, err := h.kv().PutValue(ctx, &porticov1.PutValueRequest{Bucket: "b", Key: "k" + strconv.Itoa(i), Value: load}); err != nil {
			t.Fatal(err)
		}
	}
	for range alive {
		if failed := <-results; failed != "" {
			t.Error(failed)
		}
	}
}

// TestCancelledStreamsLeaveNothing: streams of all kinds, cancelled at once.
func TestCancelledStreamsLeaveNothing(t *testing.T) {
	const connections, kinds = 20, 5
	n := scaled(1_000, 10_000)
	h := start(t)
	h.stream("a", 1)
	h.bucket(&porticov1.Bucket{Name: "b"})
	h.declare(&porticov1.Queue{Name: "q"})
	conns := make([]*grpc.ClientConn, connections)
	for i := range conns {
		conns[i] = h.dial()
		if _, err := porticov1.NewPorticoServiceClient(conns[i]).GetQueue(h.ctx(), &porticov1.GetQueueRequest{Queue: "q"}); err != nil {
			t.Fatal(err)
		}
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for i := range n {
		conn := conns[i/kinds%connections]
		if err := openOne(ctx, conn, i%kinds); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	during := runtime.NumGoroutine()
	if got := int(h.info("q").GetConsumers()); got != n/kinds || during < before+n || !h.bus.Interest("live.x") || !h.bus.Interest("served") {
		t.Errorf("%d consumers, %d goroutines: these are not %d streams", got, during-before, n)
	}
	cancel()
	h.eventuallyIn(time.Minute, "no subscription and no consumer", func() bool {
		return !h.bus.Interest("live.x") && !h.bus.Interest("served") && h.info("q").GetConsumers() == 0
	})
	h.eventuallyIn(time.Minute, "no goroutine", func() bool { return runtime.NumGoroutine() <= before+5 })
	t.Logf("%d streams on %d connections: goroutines %d before, %d with them, %d after", n, connections, before, during, runtime.NumGoroutine())
}

// openOne opens a stream of a kind and waits until it is in place.
func openOne(ctx context.Context, conn *grpc.ClientConn, kind int) error {
	client := porticov1.NewPorticoServiceClient(conn)
	var stream grpc.ClientStream
	var err error
	switch kind {
	case 0:
		stream, err = client.Subscribe(ctx, &porticov1.SubscribeRequest{Subjects: []string{"live.>"}})
	case 1:
		var s grpc.BidiStreamingClient[porticov1.ConsumeRequest, porticov1.ConsumeResponse]
		if s, err = client.Consume(ctx); err == nil {
			err = s.Send(&porticov1.ConsumeRequest{Frame: &porticov1.ConsumeRequest_Start{Start: &porticov1.ConsumeStart{Queue: "q"}}})
		}
		stream = s
	case 2:
		var s grpc.BidiStreamingClient[porticov1.ServeRequest, porticov1.ServeResponse]
		if s, err = client.Serve(ctx); err == nil {
			err = s.Send(&porticov1.ServeRequest{Frame: &porticov1.ServeRequest_Start{Start: &porticov1.ServeStart{Subject: "served"}}})
		}
		stream = s
	case 3:
		stream, err = porticov1.NewStreamServiceClient(conn).FollowStream(ctx, &porticov1.FollowStreamRequest{Stream: "a"})
	case 4:
		stream, err = porticov1.NewKeyValueServiceClient(conn).WatchKeys(ctx, &porticov1.WatchKeysRequest{Bucket: "b"})
	}
	if err == nil {
		_, err = stream.Header()
	}
	return err
}
