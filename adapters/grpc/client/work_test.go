package client_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"portico/adapters/grpc/client"
	porticov1 "portico/proto/portico/v1"

	"google.golang.org/grpc/codes"
)

func (h *house) info(queue string) *porticov1.QueueInfo {
	h.Helper()
	return must[*porticov1.GetQueueResponse](h)(h.api.GetQueue(h.ctx(), &porticov1.GetQueueRequest{Queue: queue})).GetInfo()
}

func (h *house) take(c *client.Consumer) *client.Delivery {
	h.Helper()
	return must[*client.Delivery](h)(c.Next(h.ctx()))
}

func TestConsumeSettles(t *testing.T) {
	h := start(t)
	h.queue(&porticov1.Queue{Name: "dead"})
	h.queue(&porticov1.Queue{Name: "q", DeadLetter: &porticov1.DeadLetter{Target: &porticov1.DeadLetter_Queue{Queue: "dead"}}}, "w.*")
	h.publish("w.x", "1", "2", "3", "4")
	c := must[*client.Consumer](t)(h.Consume(h.ctx(), "q", client.Credit(2), client.Lease(time.Minute)))
	one, two := h.take(c), h.take(c)
	if i := h.info("q"); i.GetUnacked() != 2 || i.GetReady() != 2 {
		t.Errorf("with a credit of 2: %v", i)
	}
	if err := one.Extend(h.ctx(), time.Hour); err != nil {
		t.Error(err)
	}
	if err := one.Ack(h.ctx()); err != nil {
		t.Error(err)
	}
	if err := one.Ack(h.ctx()); !errors.Is(err, client.ErrStale) {
		t.Errorf("settled twice: %v", err)
	}
	if err := two.DeadLetter(h.ctx()); err != nil {
		t.Error(err)
	}
	three := h.take(c)
	if err := three.Nack(h.ctx()); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for range 2 { // 3 again, and 4
		d := h.take(c)
		seen[string(d.Data)] = d.Redelivered
		if err := <-d.AckAsync(); err != nil {
			t.Error(err)
		}
	}
	if len(seen) != 2 || !seen["3"] || seen["4"] {
		t.Errorf("got, and whether it was delivered before: %v", seen)
	}
	if q, dead := h.info("q"), h.info("dead"); q.GetUnacked()+q.GetReady() != 0 || dead.GetReady() != 1 {
		t.Errorf("left: %v, dead: %v", q, dead)
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func TestLeaseThatRunsOut(t *testing.T) {
	h := start(t)
	h.queue(&porticov1.Queue{Name: "q"}, "w")
	h.publish("w", "1")
	c := must[*client.Consumer](t)(h.Consume(h.ctx(), "q", client.Lease(20*time.Millisecond)))
	first := h.take(c)
	second := h.take(c) // its lease has run out, so it comes again
	if second.Attempt < 2 {
		t.Errorf("attempt %d", second.Attempt)
	}
	if err := first.Ack(h.ctx()); !errors.Is(err, client.ErrStale) {
		t.Errorf("the first: %v", err)
	}
}

// TestStopGivesBack: what was not settled is delivered to the next consumer.
func TestStopGivesBack(t *testing.T) {
	h := start(t)
	h.queue(&porticov1.Queue{Name: "q"}, "w")
	h.publish("w", "1", "2")
	c := must[*client.Consumer](t)(h.Consume(h.ctx(), "q"))
	d := h.take(c)
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.Ack(h.ctx()); !errors.Is(err, client.ErrStale) {
		t.Errorf("after Stop: %v", err)
	}
	next := must[*client.Consumer](t)(h.Consume(h.ctx(), "q"))
	if d := h.take(next); string(d.Data) != "1" || !d.Redelivered {
		t.Errorf("got %q, redelivered %v", d.Data, d.Redelivered)
	}
}

// TestAutoAck: more than the credit, which is given again as deliveries are taken.
func TestAutoAck(t *testing.T) {
	const n = 500
	h := start(t)
	h.queue(&porticov1.Queue{Name: "q"}, "w")
	var sent, got []string
	for i := range n {
		sent = append(sent, fmt.Sprint(i))
	}
	h.publish("w", sent...)
	c := must[*client.Consumer](t)(h.Consume(h.ctx(), "q", client.AutoAck(), client.Credit(8)))
	for d, err := range c.All(h.ctx()) {
		if got = append(got, string(must[*client.Delivery](t)(d, err).Data)); len(got) == n {
			break
		}
	}
	if !slices.Equal(sent, got) {
		t.Errorf("got %d in another order", len(got))
	}
	if err := <-h.takeNothing(c); err == nil {
		t.Error("settled although it is automatic: no error")
	}
}

// takeNothing settles a delivery of an automatic consumer.
func (h *house) takeNothing(c *client.Consumer) <-chan error {
	h.Helper()
	h.publish("w", "last")
	return h.take(c).AckAsync()
}

func TestQueueThatIsDeleted(t *testing.T) {
	h := start(t)
	h.queue(&porticov1.Queue{Name: "q"})
	c := must[*client.Consumer](t)(h.Consume(h.ctx(), "q"))
	if _, err := h.api.DeleteQueue(h.ctx(), &porticov1.DeleteQueueRequest{Queue: "q"}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Next(h.ctx())
	want(t, err, codes.NotFound, "not-found")
	want(t, c.Stop(), codes.NotFound, "not-found")
}

func TestFollow(t *testing.T) {
	h := start(t, client.WithBuffer(2, 1<<20))
	h.stream("S", "s.>")
	h.publish("s.a", "1", "2")
	h.publish("s.b", "3")
	h.publish("s.a", "4")
	f := must[*client.Follower](t)(h.Follow(h.ctx(), "S", client.From(1), client.Only("s.a")))
	var got []string
	for m, err := range f.All(h.ctx()) {
		if got = append(got, fmt.Sprintf("%d:%s", must[*client.Stored](t)(m, err).Sequence, m.Data)); len(got) == 3 {
			break
		}
	}
	if !slices.Equal(got, []string{"1:1", "2:2", "4:4"}) {
		t.Errorf("got %q", got)
	}
	if f.Cursor() == "" {
		t.Fatal("no cursor")
	}
	h.publish("s.a", "5")
	on := must[*client.Follower](t)(h.Follow(h.ctx(), "S", client.After(f.Cursor())))
	if m := must[*client.Stored](t)(on.Next(h.ctx())); m.Sequence != 5 {
		t.Errorf("goes on at %d", m.Sequence)
	}
	_, err := h.Follow(h.ctx(), "S", client.After("nonsense"))
	if codeOf(err) != codes.InvalidArgument && codeOf(err) != codes.FailedPrecondition {
		t.Errorf("a cursor that is none: %v", err)
	}
}

// TestFollowTellsGaps: what was removed before it could be read.
func TestFollowTellsGaps(t *testing.T) {
	h := start(t)
	h.stream("S", "s")
	h.publish("s", "1")
	f := must[*client.Follower](t)(h.Follow(h.ctx(), "S", client.From(1)))
	must[*client.Stored](t)(f.Next(h.ctx()))
	cursor := f.Cursor()
	if err := f.Stop(); err != nil {
		t.Fatal(err)
	}
	h.publish("s", "2", "3", "4")
	if _, err := h.streams.PurgeStream(h.ctx(), &porticov1.PurgeStreamRequest{Stream: "S", Before: 4}); err != nil {
		t.Fatal(err)
	}
	on := must[*client.Follower](t)(h.Follow(h.ctx(), "S", client.After(cursor)))
	_, err := on.Next(h.ctx())
	if gap := (*client.GapError)(nil); !errors.As(err, &gap) || gap.From != 2 || gap.To != 3 {
		t.Fatalf("got %v, want that 2 and 3 are missing", err)
	}
	if m := must[*client.Stored](t)(on.Next(h.ctx())); m.Sequence != 4 {
		t.Errorf("goes on at %d", m.Sequence)
	}
}

func TestKV(t *testing.T) {
	h := start(t)
	api := porticov1.NewKeyValueServiceClient(h.Conn())
	if _, err := api.CreateBucket(h.ctx(), &porticov1.CreateBucketRequest{Bucket: &porticov1.Bucket{Name: "b", History: 5}}); err != nil {
		t.Fatal(err)
	}
	kv := h.KV("b")
	first := must[uint64](t)(kv.Create(h.ctx(), "k", []byte("1")))
	_, err := kv.Create(h.ctx(), "k", []byte("2"))
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	w := must[*client.Watcher](t)(kv.Watch(h.ctx(), ""))
	if e := must[*client.Entry](t)(w.Next(h.ctx())); e.Key != "k" || string(e.Value) != "1" {
		t.Errorf("watch begins with %v", e)
	}
	if e := must[*client.Entry](t)(w.Next(h.ctx())); e != nil {
		t.Errorf("watch: %v before it has caught up", e)
	}
	second := must[uint64](t)(kv.Update(h.ctx(), "k", []byte("2"), first))
	_, err = kv.Update(h.ctx(), "k", []byte("3"), first)
	want(t, err, codes.FailedPrecondition, "precondition-failed")
	if e := must[*client.Entry](t)(kv.Get(h.ctx(), "k")); e.Revision != second || string(e.Value) != "2" {
		t.Errorf("got %v", e)
	}
	must[uint64](t)(kv.Put(h.ctx(), "l", []byte("x")))
	var keys []string
	for key, err := range kv.Keys(h.ctx(), "") {
		keys = append(keys, must[string](t)(key, err))
	}
	if !slices.Equal(keys, []string{"k", "l"}) {
		t.Errorf("keys: %q", keys)
	}
	if err := kv.Delete(h.ctx(), "k", second); err != nil {
		t.Fatal(err)
	}
	if all := must[[]*client.Entry](t)(kv.History(h.ctx(), "k")); len(all) != 3 || !all[2].Gone {
		t.Errorf("history: %v", all)
	}
	_, err = kv.Get(h.ctx(), "k")
	want(t, err, codes.NotFound, "not-found")
	for _, c := range []string{"k 2 false", "l x false", "k  true"} {
		e := must[*client.Entry](t)(w.Next(h.ctx()))
		if got := fmt.Sprintf("%s %s %v", e.Key, e.Value, e.Gone); got != c {
			t.Errorf("watched %q, want %q", got, c)
		}
	}
	if err := kv.Purge(h.ctx(), "l", 0); err != nil {
		t.Error(err)
	}
}
