package outbound

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

type letter struct {
	name string
	size int
	lost int
}

func (l letter) Size() int { return l.size }

// opened is a queue whose writer is the test.
func opened(limit int) (*Queue[letter, string], *int) {
	q, starts := &Queue[letter, string]{}, 0
	q.Open(limit, func() { starts++ })
	return q, &starts
}

func lane(p Policy, buffer int) *Lane[letter] {
	return NewLane(p, buffer, func(n int) letter { return letter{name: fmt.Sprintf("lost %d", n), lost: n} })
}

func names(items []letter) (all []string) {
	for _, i := range items {
		all = append(all, i.name)
	}
	return all
}

func TestPolicies(t *testing.T) {
	for name, test := range map[string]struct {
		policy Policy
		limit  int
		want   []string
		end    string
	}{
		"close":               {Close, 0, nil, "slow"},
		"drop oldest":         {DropOldest, 0, []string{"before", "lost 3", "4", "5"}, ""},
		"drop newest":         {DropNewest, 0, []string{"before", "1", "2", "lost 3"}, ""},
		"oldest by bytes":     {DropOldest, 25, []string{"before", "lost 4", "5"}, ""},
		"newest by bytes":     {DropNewest, 25, []string{"before", "1", "lost 4"}, ""},
		"oldest without room": {DropOldest, 10, []string{"before", "lost 5"}, ""},
		"newest without room": {DropNewest, 10, []string{"before", "lost 5"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			q, _ := opened(test.limit)
			l := lane(test.policy, 2)
			q.Push(letter{name: "before", size: 10})
			for i := range 5 {
				q.Offer(l, letter{name: fmt.Sprint(i + 1), size: 10}, "slow")
			}
			items, end, last := q.Take(nil)
			if got := names(items); !slices.Equal(got, test.want) || end != test.end || last != (end != "") {
				t.Errorf("took %q, %q, %v", got, end, last)
			}
			if q.bytes != 0 || len(q.lossy) != 0 || l.places != 0 && end == "" {
				t.Errorf("left: %d bytes, %d to tell, %d places", q.bytes, len(q.lossy), l.places)
			}
		})
	}
}

// TestLossIsToldInItsPlace: what is left out between two messages is told between them.
func TestLossIsToldInItsPlace(t *testing.T) {
	q, _ := opened(0)
	l := lane(DropNewest, takeItems+1)
	for i := range takeItems + 3 {
		q.Offer(l, letter{name: fmt.Sprint(i)}, "")
	}
	first, _, _ := q.Take(nil) // leaves one
	q.Offer(l, letter{name: "behind"}, "")
	second, _, _ := q.Take(nil)
	if len(first) != takeItems || !slices.Equal(names(second), []string{fmt.Sprint(takeItems), "lost 2", "behind"}) {
		t.Errorf("took %d, then %q", len(first), names(second))
	}
}

// TestNothingGoesMissingUnsaid: whatever order things happen in, each item of a lane is taken or counted, in order, and the bounds hold.
func TestNothingGoesMissingUnsaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, _ := opened(rapid.IntRange(1, 200).Draw(t, "limit"))
		lanes := []*Lane[letter]{lane(DropOldest, rapid.IntRange(1, 5).Draw(t, "a")), lane(DropNewest, rapid.IntRange(1, 5).Draw(t, "b"))}
		var offered, seen, lost [2]int
		last := [2]int{-1, -1}
		take := func() {
			items, _, _ := q.Take(nil)
			for _, i := range items {
				var n int
				var which int
				if i.lost > 0 {
					continue
				}
				if _, err := fmt.Sscanf(i.name, "%d.%d", &which, &n); err != nil {
					t.Fatal(err)
				}
				if n <= last[which] {
					t.Fatalf("%d after %d", n, last[which])
				}
				last[which] = n
				seen[which]++
			}
		}
		for i := range lanes {
			lanes[i].tell = func(n int) letter { lost[i] += n; return letter{lost: n} }
		}
		t.Repeat(map[string]func(*rapid.T){
			"offer": func(t *rapid.T) {
				which := rapid.IntRange(0, 1).Draw(t, "lane")
				q.Offer(lanes[which], letter{name: fmt.Sprintf("%d.%d", which, offered[which]), size: rapid.IntRange(0, 50).Draw(t, "size")}, "")
				offered[which]++
			},
			"take": func(*rapid.T) { take() },
			"": func(t *rapid.T) {
				if q.waiting() > 12 || q.waiting() > 1 && q.bytes > q.limit+50 {
					t.Fatalf("%d entries, %d of %d bytes", q.waiting(), q.bytes, q.limit)
				}
			},
		})
		for !q.Rest() {
			take()
		}
		for i := range lanes {
			if seen[i]+lost[i] != offered[i] {
				t.Fatalf("lane %d: offered %d, seen %d, told of %d", i, offered[i], seen[i], lost[i])
			}
		}
		if q.bytes != 0 {
			t.Fatalf("%d bytes are left in an empty queue", q.bytes)
		}
	})
}

func TestLiveEndsASlowClient(t *testing.T) {
	q, _ := opened(100)
	q.Live(letter{name: "huge", size: 1000}, "slow") // an empty queue takes anything
	if q.IsClosing() {
		t.Fatal("closed by the first")
	}
	q.Live(letter{size: 1}, "slow")
	if items, end, last := q.Take(nil); len(items) != 0 || end != "slow" || !last {
		t.Errorf("took %v, %q, %v", items, end, last)
	}
	q.Push(letter{})
	q.Live(letter{}, "again")
	q.Offer(lane(DropOldest, 1), letter{}, "again")
	q.Finish("later")
	if items, end, _ := q.Take(nil); len(items) != 0 || end != "slow" {
		t.Errorf("after the end: %v, %q", items, end)
	}
}

// TestItemsAreBounded: what has no size is bounded by its number.
func TestItemsAreBounded(t *testing.T) {
	q, _ := opened(0)
	for range maxItems {
		q.Live(letter{}, "slow")
	}
	if q.IsClosing() || q.HasRoom() {
		t.Errorf("closing %t, room %t", q.IsClosing(), q.HasRoom())
	}
	q.Live(letter{}, "slow")
	if end, closing := q.Ending(); !closing || end != "slow" || !q.HasRoom() {
		t.Errorf("closing %t with %q", closing, end)
	}
}

// TestOneWriter: it is started once, however much comes, and again when it has rested.
func TestOneWriter(t *testing.T) {
	q, starts := opened(0)
	q.Push(letter{}, letter{})
	q.Kick()
	if q.Rest() {
		t.Error("rests though something waits")
	}
	q.Take(nil)
	if *starts != 1 || !q.Rest() {
		t.Errorf("%d starts", *starts)
	}
	q.Kick()
	if q.Rest() {
		t.Error("rests though it was kicked")
	}
	q.Take(nil)
	if *starts != 2 || !q.Rest() {
		t.Errorf("%d starts", *starts)
	}
	q.Finish("end")
	if _, end, last := q.Take(nil); *starts != 3 || end != "end" || !last || q.Rest() {
		t.Errorf("%d starts, %q, %v", *starts, end, last)
	}
}

func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, _ := opened(100)
		q.Push(letter{size: 60})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := q.Room(ctx); err == nil {
			t.Error("room in a full queue")
		}
		done := make(chan error, 2)
		for range cap(done) {
			go func() { done <- q.Room(t.Context()) }()
		}
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("did not wait")
		}
		q.Take(nil)
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}
