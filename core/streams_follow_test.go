package core_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"

	"github.com/nats-io/nats.go/jetstream"
)

// follow follows a stream in a goroutine; what it gets and how it ended come by the channels. It ends with the test.
func follow(t testing.TB, b *core.Bus, name string, o core.ReadOptions) (got <-chan core.StoredMessage, gaps <-chan [2]uint64, ended <-chan error) {
	t.Helper()
	messages, missing, over := make(chan core.StoredMessage, 10000), make(chan [2]uint64, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		over <- b.FollowStream(ctx, name, o, func(batch []core.StoredMessage) error {
			for _, m := range batch {
				messages <- m
			}
			return nil
		}, func(from, to uint64) error { missing <- [2]uint64{from, to}; return nil })
	})
	return messages, missing, over
}

func expectSequences(t testing.TB, got <-chan core.StoredMessage, want ...uint64) {
	t.Helper()
	for _, w := range want {
		if m := receive(t, got); m.Sequence != w {
			t.Fatalf("got message %d, want %d", m.Sequence, w)
		}
	}
}

// TestFollowStream: what is there, then what comes, filtered, from all the places one can begin at.
func TestFollowStream(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	for name, retention := range map[string]string{"limits": "limits", "work": "workqueue", "interest": "interest"} {
		stream(t, b, core.StreamConfig{Name: name, Subjects: []string{name + ".>"}, Retention: retention})
		if _, _, err := b.CreateConsumer(t.Context(), name, core.ConsumerConfig{Name: "c"}); err != nil { // somebody's interest
			t.Fatal(err)
		}
		keep(t, js, name+".", 3)
		all, _, _ := follow(t, b, name, core.ReadOptions{From: 1})
		later, _, _ := follow(t, b, name, core.ReadOptions{From: 3})
		ones, _, _ := follow(t, b, name, core.ReadOptions{From: 1, Subjects: []string{name + ".1", name + ".one"}})
		since, _, _ := follow(t, b, name, core.ReadOptions{Since: time.Now().Add(-time.Hour)})
		expectSequences(t, all, 1, 2, 3)
		expectSequences(t, later, 3)
		expectSequences(t, ones, 2)
		keep(t, js, name+".", 3)
		expectSequences(t, all, 4, 5, 6)
		expectSequences(t, later, 4, 5, 6)
		expectSequences(t, ones, 5)
		expectSequences(t, since, 1, 2, 3, 4, 5, 6)
	}
}

// TestFollowWithoutConsumer: a stream that takes no more consumers is followed all the same.
func TestFollowWithoutConsumer(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	makeStream(t, js, jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}, MaxConsumers: 1})
	if _, _, err := b.CreateConsumer(t.Context(), "s", core.ConsumerConfig{Name: "c"}); err != nil {
		t.Fatal(err)
	}
	got, _, _ := follow(t, b, "s", core.ReadOptions{From: 1})
	keep(t, js, "s.", 3)
	expectSequences(t, got, 1, 2, 3)
}

// TestFollowFromNow: 0 is what comes from now on.
func TestFollowFromNow(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	stream(t, b, core.StreamConfig{Name: "s", Subjects: []string{"s.>"}})
	keep(t, js, "s.", 3)
	got, _, _ := follow(t, b, "s", core.ReadOptions{})
	var m core.StoredMessage
	eventually(t, "the follower is there", func() bool {
		keep(t, js, "s.", 1)
		select {
		case m = <-got:
			return true
		case <-time.After(moment):
			return false
		}
	})
	if m.Sequence <= 3 {
		t.Errorf("got message %d", m.Sequence)
	}
}

// keepMany publishes n messages without waiting for each.
func keepMany(t testing.TB, js jetstream.JetStream, n int, subject func(int) string) {
	t.Helper()
	for i := range n {
		if _, err := js.PublishAsync(subject(i), []byte("x")); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 999 {
			receive(t, js.PublishAsyncComplete())
		}
	}
	receive(t, js.PublishAsyncComplete())
}

// TestFollowersDropAndResume: 200 followers over 5,000 messages, who go at random and come back, see each message once and in order.
func TestFollowersDropAndResume(t *testing.T) {
	const followers, messages = 200, 5000
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	stream(t, b, core.StreamConfig{Name: "s", Subjects: []string{"s.>"}, Storage: "memory"})
	var all sync.WaitGroup
	for i := range followers {
		all.Go(func() {
			subjects := []string(nil)
			if i%3 == 0 {
				subjects = []string{"s.0.*", "s.1.*"} // all of them, too
			}
			if err := followDropping(t.Context(), b, subjects, messages); err != nil {
				t.Error(err)
			}
		})
	}
	keepMany(t, js, messages, func(i int) string { return fmt.Sprintf("s.%d.%d", i%2, i) })
	all.Wait()
}

// followDropping follows "s" from 1 to last, and drops out now and then.
func followDropping(ctx context.Context, b *core.Bus, subjects []string, last uint64) error {
	errDrop := errors.New("drop")
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for next := uint64(1); next <= last; {
		err := b.FollowStream(ctx, "s", core.ReadOptions{From: next, Subjects: subjects}, func(batch []core.StoredMessage) error {
			for _, m := range batch {
				if m.Sequence != next {
					return fmt.Errorf("got %d, want %d", m.Sequence, next)
				}
				if next++; next > last || rand.IntN(1000) == 0 {
					return errDrop
				}
			}
			return nil
		}, func(from, to uint64) error { return fmt.Errorf("gap from %d to %d", from, to) })
		if !errors.Is(err, errDrop) {
			return fmt.Errorf("followed until %d: %w", next, errors.Join(err, ctx.Err()))
		}
	}
	return nil
}

// TestFollowGap: who comes back too late is told what is missing; numbers that were never its subject's are no gap.
func TestFollowGap(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	stream(t, b, core.StreamConfig{Name: "s", Subjects: []string{"s.>"}, MaxMessages: 10})
	keep(t, js, "s.", 30)
	got, gaps, _ := follow(t, b, "s", core.ReadOptions{From: 5})
	if gap := receive(t, gaps); gap != [2]uint64{5, 20} {
		t.Errorf("gap %v, want 5 to 20", gap)
	}
	expectSequences(t, got, 21, 22, 23)
	got, gaps, _ = follow(t, b, "s", core.ReadOptions{From: 25, Subjects: []string{"s.28"}})
	expectSequences(t, got, 29)
	nothing(t, gaps)
	got, gaps, _ = follow(t, b, "s", core.ReadOptions{From: 1})
	expectSequences(t, got, 21)
	nothing(t, gaps)
}

// TestFollowSlow: a follower that blocks holds nobody up, and finds out what it has missed.
func TestFollowSlow(t *testing.T) {
	g := coretest.Start(t, func(c *core.Config) { c.Durability = "os" })
	b, js := login(t, g), connectStreams(t, g)
	stream(t, b, core.StreamConfig{Name: "s", Subjects: []string{"s.>"}, MaxMessages: 100})
	keep(t, js, "s.", 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	blocked, release, over := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var seen []uint64
	var gap [2]uint64
	go func() {
		over <- b.FollowStream(ctx, "s", core.ReadOptions{From: 1}, func(batch []core.StoredMessage) error {
			if seen == nil {
				close(blocked)
				<-release
			}
			for _, m := range batch {
				seen = append(seen, m.Sequence)
			}
			if seen[len(seen)-1] == 6001 {
				return errTest
			}
			return nil
		}, func(from, to uint64) error { gap = [2]uint64{from, to}; return nil })
	}()
	receive(t, blocked)
	got, _, _ := follow(t, b, "s", core.ReadOptions{From: 2})
	keepMany(t, js, 6000, func(i int) string { return fmt.Sprintf("s.%d", i) })
	for last := uint64(0); last != 6001; {
		last = receive(t, got).Sequence
	}
	close(release)
	if err := receive(t, over); err != errTest {
		t.Fatal(err)
	}
	if gap[0] != 2 || uint64(len(seen)) != 6001-(gap[1]-gap[0]+1) {
		t.Errorf("saw %d messages, gap %v", len(seen), gap)
	}
}

// TestFollowEnds: with the stream, with the context, with an error; a stream of the same name is another one.
func TestFollowEnds(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	for name, remove := range map[string]func() error{
		"ours":     func() error { return b.DeleteStream(t.Context(), "s") },
		"a client": func() error { return js.DeleteStream(t.Context(), "s") },
		"replaced": func() error {
			err := js.DeleteStream(t.Context(), "s")
			makeStream(t, js, jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}})
			return err
		},
	} {
		stream(t, b, core.StreamConfig{Name: "s", Subjects: []string{"s.>"}, DuplicateWindow: time.Minute})
		keep(t, js, "s.", 1)
		got, _, over := follow(t, b, "s", core.ReadOptions{From: 1})
		expectSequences(t, got, 1)
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		wantCode(t, name, receive(t, over), core.CodeNotFound)
		_ = js.DeleteStream(t.Context(), "s")
		eventually(t, "it is gone", func() bool { return b.StreamOf("s.x") == "" })
	}
	_, _, over := follow(t, b, "none", core.ReadOptions{})
	wantCode(t, "no stream", receive(t, over), core.CodeNotFound)
	stream(t, b, core.StreamConfig{Name: "s"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.FollowStream(ctx, "s", core.ReadOptions{}, nil, nil); err != nil {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestFollowSurvivesItsConsumer: somebody deletes the consumer that feeds the followers, and the connection breaks.
func TestFollowSurvivesItsConsumer(t *testing.T) {
	g := coretest.Start(t)
	b, js := login(t, g), connectStreams(t, g)
	stream(t, b, core.StreamConfig{Name: "s", Subjects: []string{"s.>"}})
	got, _, _ := follow(t, b, "s", core.ReadOptions{From: 1})
	keep(t, js, "s.", 1)
	expectSequences(t, got, 1)
	if list, err := b.Consumers(t.Context(), "s", "", 10); err != nil || len(list) != 0 {
		t.Errorf("our own consumer is listed: %v, %v", list, err)
	}
	g.CutStreams()
	keep(t, js, "s.", 2)
	expectSequences(t, got, 2, 3)
}
