package grpcproxy

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"portico/adapters/grpc/client"
	porticov1 "portico/proto/portico/v1"
	"portico/test/gateway"
)

// TestClientOutlivesTheGateway: the gateway is killed and started again at the same address while a client publishes, follows, consumes, watches, listens and serves. Nothing that was published is lost, the
// follower gets everything once and in order, and all that streams goes on by itself.
func TestClientOutlivesTheGateway(t *testing.T) {
	const messages, kills = 3000, 2
	dir, at, program := t.TempDir(), free(t), command(t, "gateway")
	run := func() *gateway.Gateway {
		return gateway.RunIn(t, dir, exec.Command(program, "--grpc-listen", at))
	}
	g := run()
	c, err := client.Connect(at, client.WithReconnect(10*time.Millisecond, 200*time.Millisecond), client.WithInFlight(100, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	l := &lasting{T: t, ctx: ctx, client: c, want: messages, acked: map[string]bool{}}
	l.open()

	var working sync.WaitGroup
	working.Go(l.follow)
	working.Go(l.consume)
	working.Go(func() { l.publish(messages) })
	for i := range kills {
		l.await((i + 1) * messages / (kills + 2))
		g.Signal(t, syscall.SIGKILL)
		g.Wait(t)
		g = run()
	}
	working.Wait()
	l.stillOpen()
}

// lasting is a client with one stream of each kind.
type lasting struct {
	*testing.T
	ctx    context.Context
	client *client.Client
	want   int

	subscription *client.Subscription
	follower     *client.Follower
	consumer     *client.Consumer
	watcher      *client.Watcher

	// guarded by mu
	mu      sync.Mutex
	changed chan struct{} // closed when followed grows; nil: nobody waits
	follows int
	acked   map[string]bool
}

func check[T any](l *lasting) func(T, error) T {
	return func(v T, err error) T {
		l.Helper()
		if err != nil {
			l.Fatal(err)
		}
		return v
	}
}

// open makes what is used and opens the streams.
func (l *lasting) open() {
	api, streams, kv := porticov1.NewPorticoServiceClient(l.client.Conn()), porticov1.NewStreamServiceClient(l.client.Conn()), porticov1.NewKeyValueServiceClient(l.client.Conn())
	check[*porticov1.DeclareQueueResponse](l)(api.DeclareQueue(l.ctx, &porticov1.DeclareQueueRequest{Queue: &porticov1.Queue{Name: "q", Durable: true}}))
	check[*porticov1.BindResponse](l)(api.Bind(l.ctx, &porticov1.BindRequest{Queue: "q", Pattern: "work.>"}))
	check[*porticov1.CreateStreamResponse](l)(streams.CreateStream(l.ctx, &porticov1.CreateStreamRequest{Stream: &porticov1.Stream{Name: "S", Subjects: []string{"work.>"}}}))
	check[*porticov1.CreateBucketResponse](l)(kv.CreateBucket(l.ctx, &porticov1.CreateBucketRequest{Bucket: &porticov1.Bucket{Name: "b"}}))
	l.subscription = check[*client.Subscription](l)(l.client.Subscribe(l.ctx, "live"))
	l.follower = check[*client.Follower](l)(l.client.Follow(l.ctx, "S", client.From(1)))
	l.consumer = check[*client.Consumer](l)(l.client.Consume(l.ctx, "q", client.Credit(32), client.Lease(time.Minute)))
	l.watcher = check[*client.Watcher](l)(l.client.KV("b").Watch(l.ctx, ""))
	check[*client.Service](l)(l.client.Serve(l.ctx, "ask", func(context.Context, *client.Message) *client.Message { return &client.Message{Data: []byte("yes")} }))
}

// publish publishes with names, and wants every message answered without an error.
func (l *lasting) publish(n int) {
	futures := make([]*client.Future, 0, n)
	for i := range n {
		f, err := l.client.PublishAsync(l.ctx, &client.Message{Subject: "work.x", Data: fmt.Appendf(nil, "%d", i)}, client.MsgID(fmt.Sprintf("m%d", i)))
		if err != nil {
			l.Errorf("message %d: %v", i, err)
			return
		}
		futures = append(futures, f)
	}
	for i, f := range futures {
		if _, err := f.Result(l.ctx); err != nil {
			l.Errorf("message %d: %v", i, err)
			return
		}
	}
}

// follow wants every message once and in order.
func (l *lasting) follow() {
	for i := range l.want {
		m, err := l.follower.Next(l.ctx)
		if err != nil || string(m.Data) != fmt.Sprint(i) {
			l.Errorf("followed, at %d: %v, %v", i, m, err)
			return
		}
		l.mu.Lock()
		if l.follows++; l.changed != nil {
			close(l.changed)
			l.changed = nil
		}
		l.mu.Unlock()
	}
}

// await waits until n messages have been followed.
func (l *lasting) await(n int) {
	l.Helper()
	for {
		l.mu.Lock()
		if l.follows >= n {
			l.mu.Unlock()
			return
		}
		l.changed = make(chan struct{})
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-l.ctx.Done():
			l.Fatalf("no more than %d of %d came", l.follows, n)
		}
	}
}

// consume settles until everything has been settled once. What was about to be settled when the gateway was killed may have been, or comes again.
func (l *lasting) consume() {
	unsure := map[string]bool{}
	for len(l.acked)+len(unsure) < l.want || !l.empty() {
		d, err := l.delivery()
		switch {
		case err != nil:
			l.Errorf("consumed %d: %v", len(l.acked), err)
			return
		case d == nil:
			continue
		}
		text := string(d.Data)
		switch err := d.Ack(l.ctx); {
		case errors.Is(err, client.ErrStale):
			if !l.acked[text] {
				unsure[text] = true
			}
		case err != nil:
			l.Errorf("ack: %v", err)
			return
		case l.acked[text]:
			l.Errorf("%s was settled twice", text)
		default:
			l.acked[text] = true
			delete(unsure, text)
		}
	}
	l.Logf("%d settled, of %d nobody knows", len(l.acked), len(unsure))
}

// delivery is the next one; nil when none has come for a while.
func (l *lasting) delivery() (*client.Delivery, error) {
	ctx, cancel := context.WithTimeout(l.ctx, 100*time.Millisecond)
	defer cancel()
	d, err := l.consumer.Next(ctx)
	if err != nil && ctx.Err() != nil && l.ctx.Err() == nil {
		return nil, nil
	}
	return d, err
}

// empty asks whether the queue has nothing left.
func (l *lasting) empty() bool {
	resp, err := porticov1.NewPorticoServiceClient(l.client.Conn()).GetQueue(l.ctx, &porticov1.GetQueueRequest{Queue: "q"})
	return err != nil || resp.GetInfo().GetReady()+resp.GetInfo().GetUnacked() == 0
}

// stillOpen shows that what lives for ever does, after all that.
func (l *lasting) stillOpen() {
	check[uint64](l)(l.client.KV("b").Put(l.ctx, "k", []byte("v")))
	for {
		if e := check[*client.Entry](l)(l.watcher.Next(l.ctx)); e != nil && e.Key == "k" {
			break
		}
	}
	for { // whose subscription may take a moment longer
		r, err := l.client.Publish(l.ctx, &client.Message{Subject: "live", Data: []byte("x")})
		if err == nil && r.Live {
			break
		}
	}
	check[*client.Message](l)(l.subscription.Next(l.ctx))
	for {
		m, err := l.client.Request(l.ctx, &client.Message{Subject: "ask"})
		if err == nil && string(m.Data) == "yes" {
			return
		}
		if client.Reason(err) != "no-responders" {
			l.Fatalf("asked: %v, %v", m, err)
		}
	}
}
