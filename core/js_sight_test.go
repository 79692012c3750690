package core_test

import (
	"context"
	"fmt"
	"testing"

	"portico/core"
	"portico/core/coretest"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// sighted is somebody who may see s.> and nothing else.
func sighted() core.User {
	return core.User{Name: "some", Password: "p", Publish: []string{"$JS.>"}, Subscribe: []string{"s.>"}}
}

// TestStreamsHideWhatMayNotBeSeen: messages of other subjects that a stream has from before, or gets while somebody follows, are left out; places and the end are found all the same.
func TestStreamsHideWhatMayNotBeSeen(t *testing.T) {
	g := coretest.Start(t, coretest.Users(sighted(), core.User{Name: "all", Password: "p"}), func(c *core.Config) { c.Durability = "os" })
	all, some := loginAs(t, g, "all", "p"), loginAs(t, g, "some", "p")
	put := func(subjects ...string) {
		t.Helper()
		for _, subject := range subjects {
			info, err := all.Stream(t.Context(), "S")
			if err != nil {
				t.Fatal(err)
			}
			publish(t, all, &core.Message{Subject: subject})
			eventually(t, "it is stored", func() bool {
				now, err := all.Stream(t.Context(), "S")
				return err == nil && now.LastSequence > info.LastSequence
			})
		}
	}
	stream(t, all, core.StreamConfig{Name: "S", Subjects: []string{"s.>", "secret"}})
	put("secret", "secret", "s.1", "secret")
	update := func(subjects ...string) {
		t.Helper()
		if _, err := all.UpdateStream(t.Context(), core.StreamConfig{Name: "S", Subjects: subjects}); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := some.ReadStream(t.Context(), "S", core.ReadOptions{Limit: 1})
	wantCode(t, "while the stream says so", err, core.CodePermissionDenied)
	update("s.>")
	got, _, ended := follow(t, some, "S", core.ReadOptions{From: 1})
	everything, _, _ := follow(t, all, "S", core.ReadOptions{From: 1})
	expectSequences(t, got, 3)
	expectSequences(t, everything, 1, 2, 3, 4)
	for from, want := range map[uint64]string{1: "[3] 4", 4: "[] 5", 5: "[] 5"} {
		messages, next, err := some.ReadStream(t.Context(), "S", core.ReadOptions{From: from, Limit: 1})
		var sequences []uint64
		for _, m := range messages {
			sequences = append(sequences, m.Sequence)
		}
		if text := fmt.Sprint(sequences, next); err != nil || text != want {
			t.Errorf("from %d: %s, %v, want %s", from, text, err, want)
		}
	}
	update("s.>", "secret") // while they follow
	put("secret", "s.2", "secret", "s.3")
	expectSequences(t, everything, 5, 6, 7, 8)
	expectSequences(t, got, 6, 8)
	if len(ended) > 0 {
		t.Errorf("it has ended: %v", <-ended)
	}
}

// TestFetchHidesWhatMayNotBeSeen: a consumer that somebody else has made lends nothing to whom may not see it; it goes back and is lent to others.
func TestFetchHidesWhatMayNotBeSeen(t *testing.T) {
	g := coretest.Start(t, coretest.Users(sighted(), core.User{Name: "all", Password: "p"}), func(c *core.Config) { c.Durability = "os" })
	all, some := loginAs(t, g, "all", "p"), loginAs(t, g, "some", "p")
	stream(t, all, core.StreamConfig{Name: "S", Subjects: []string{"s.>", "secret"}})
	if _, _, err := all.CreateConsumer(t.Context(), "S", core.ConsumerConfig{Name: "c"}); err != nil {
		t.Fatal(err)
	}
	for i, subject := range []string{"s.1", "secret"} {
		publish(t, all, &core.Message{Subject: subject})
		eventually(t, "it is stored", func() bool {
			now, err := all.Stream(t.Context(), "S")
			return err == nil && now.LastSequence > uint64(i)
		})
	}
	lent, err := some.Fetch(t.Context(), "S", "c", 1, 0, patience)
	if err != nil || len(lent) != 1 || lent[0].Subject != "s.1" {
		t.Fatalf("what may be seen: %+v, %v", lent, err)
	}
	_, err = some.Fetch(t.Context(), "S", "c", 10, 0, patience)
	wantCode(t, "what may not", err, core.CodePermissionDenied)
	lent, err = all.Fetch(t.Context(), "S", "c", 10, 0, patience)
	if err != nil || len(lent) != 1 || lent[0].Subject != "secret" || lent[0].Attempt != 2 {
		t.Errorf("to others: %+v, %v", lent, err)
	}
}

// TestSightIsBounded: many subjects are looked at one by one.
func TestSightIsBounded(t *testing.T) {
	g := coretest.Start(t, coretest.Users(sighted(), core.User{Name: "all", Password: "p"}), func(c *core.Config) { c.Durability = "os" })
	js, err := jetstream.New(connectNATSAs(t, g, "all"))
	if err != nil {
		t.Fatal(err)
	}
	makeStream(t, js, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>", "t.>"}})
	const n = 3000
	for i := range n {
		if _, err := js.PublishAsync(fmt.Sprint([]string{"s.", "t."}[i%2], i), nil); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	if _, err := js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change is known", func() bool { return loginAs(t, g, "all", "p").StreamOf("t.1") == "" })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	count := 0
	err = loginAs(t, g, "some", "p").FollowStream(ctx, "S", core.ReadOptions{From: 1}, func(messages []core.StoredMessage) error {
		for _, m := range messages {
			if m.Subject[:2] != "s." {
				t.Errorf("%s may not be seen", m.Subject)
			}
		}
		if count += len(messages); count >= n/2 {
			cancel()
		}
		return nil
	}, nil)
	if err != nil || count != n/2 {
		t.Errorf("%d messages, %v", count, err)
	}
}

func connectNATSAs(t testing.TB, g *core.Gateway, user string) *nats.Conn {
	t.Helper()
	return connectNATS(t, g, nats.UserInfo(user, "p"))
}
