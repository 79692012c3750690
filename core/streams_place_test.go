package core_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"portico/core"
	"portico/core/coretest"
)

// sparse makes the stream S of n messages on s.0 to s.4, of which some are gone again, and returns the numbers that are left by subject.
func sparse(t *testing.T, b *core.Bus, n int, random *rand.Rand) map[string][]uint64 {
	t.Helper()
	if _, _, err := b.CreateStream(t.Context(), core.StreamConfig{Name: "S", Subjects: []string{"s.*"}}); err != nil {
		t.Fatal(err)
	}
	left := map[string][]uint64{}
	for i := 1; i <= n; i++ {
		subject := fmt.Sprintf("s.%d", min(random.IntN(8), 4)) // s.4 is the most frequent
		if _, err := b.Publish(t.Context(), &core.Message{Subject: subject, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if i <= n/10 || random.IntN(10) == 0 && i < n {
			continue
		}
		left[subject] = append(left[subject], uint64(i))
		left[""] = append(left[""], uint64(i))
	}
	if _, err := b.PurgeStream(t.Context(), "S", core.PurgeOptions{Before: uint64(n/10 + 1)}); err != nil {
		t.Fatal(err)
	}
	for i := n/10 + 1; i < n; i++ {
		if _, there := slices.BinarySearch(left[""], uint64(i)); !there {
			if err := b.DeleteStreamMessage(t.Context(), "S", uint64(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return left
}

func TestReadBack(t *testing.T) {
	b := coretest.Start(t, func(c *core.Config) { c.Durability = "os" }).System()
	random := rand.New(rand.NewPCG(3, 4))
	left := sparse(t, b, 600, random)
	for subject, all := range left {
		for range 20 {
			o := core.ReadOptions{From: random.Uint64N(650), Limit: 1 + random.IntN(70), MaxBytes: 1 << 20}
			if subject != "" {
				o.Subjects = []string{subject}
			}
			want := slices.Clone(all)
			if o.From > 0 {
				want = slices.DeleteFunc(want, func(n uint64) bool { return n > o.From })
			}
			slices.Reverse(want)
			var have []uint64
			for pages := 0; ; pages++ {
				messages, next, err := b.ReadStreamBack(t.Context(), "S", o)
				if err != nil || len(messages) > o.Limit || pages > 1000 {
					t.Fatalf("%d messages, %v", len(messages), err)
				}
				for _, m := range messages {
					have = append(have, m.Sequence)
				}
				if next == 0 {
					break
				}
				o.From = next
			}
			if !slices.Equal(have, want) {
				t.Fatalf("%q, %d a page: %v, want %v", subject, o.Limit, have, want)
			}
		}
	}
	if _, _, err := b.ReadStreamBack(t.Context(), "NONE", core.ReadOptions{Limit: 1, MaxBytes: 1}); code(err) != core.CodeNotFound {
		t.Errorf("no stream: %v", err)
	}
}

func TestStreamStart(t *testing.T) {
	b := coretest.Start(t, func(c *core.Config) { c.Durability = "os" }).System()
	left := sparse(t, b, 300, rand.New(rand.NewPCG(5, 6)))
	for subject, all := range left {
		var subjects []string
		if subject != "" {
			subjects = []string{subject}
		}
		if n, err := b.StreamStart(t.Context(), "S", time.Time{}, subjects); err != nil || n != all[len(all)-1] {
			t.Errorf("newest of %q: %d, %v, want %d", subject, n, err, all[len(all)-1])
		}
	}
	if n, err := b.StreamStart(t.Context(), "S", time.Time{}, []string{"s.9"}); err != nil || n != 301 {
		t.Errorf("of none: %d, %v", n, err)
	}
}

// TestHoles: what is delivered and what is named as missing is every number.
func TestHoles(t *testing.T) {
	b := coretest.Start(t, func(c *core.Config) { c.Durability = "os" }).System()
	left := sparse(t, b, 600, rand.New(rand.NewPCG(7, 8)))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := errors.New("done")
	var have []uint64
	last := uint64(0)
	err := b.FollowStream(ctx, "S", core.ReadOptions{From: 1, Holes: true}, func(batch []core.StoredMessage) error {
		for _, m := range batch {
			if m.Sequence != last+1 {
				return fmt.Errorf("behind %d came %d", last, m.Sequence)
			}
			last = m.Sequence
			have = append(have, last)
		}
		if last == 600 {
			return done
		}
		return nil
	}, func(from, to uint64) error {
		if from != last+1 || to < from {
			return fmt.Errorf("behind %d came gap %d to %d", last, from, to)
		}
		last = to
		return nil
	})
	if !errors.Is(err, done) || !slices.Equal(have, left[""]) {
		t.Errorf("%v: %d of %d", err, len(have), len(left[""]))
	}
	other := core.ReadOptions{From: 1, Holes: true, Created: time.Now()}
	if err := b.FollowStream(ctx, "S", other, func([]core.StoredMessage) error { return done }, nil); code(err) != core.CodeNotFound {
		t.Errorf("another stream of that name: %v", err)
	}
}

func TestStreamKeeping(t *testing.T) {
	b := coretest.Start(t).System()
	for name, subject := range map[string]string{"A": "a.>", "B": "b.*", "C": "c.*.x"} {
		if _, _, err := b.CreateStream(t.Context(), core.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	for subject, want := range map[string]string{"a.b": "A", "a.*.c": "A", "b.>": "B", "b.1": "B", "*.1.x": "", "c.>": "C", "c.1.y": "", "d": "", ">": ""} {
		if got, err := b.StreamKeeping(subject); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", subject, got, err, want)
		}
	}
}

func TestCursorsAreKept(t *testing.T) {
	g := coretest.Start(t, coretest.Users(core.User{Name: "ann", Password: "p"}, core.User{Name: "bob", Password: "p"}))
	ann, bob := loginAs(t, g, "ann", "p"), loginAs(t, g, "bob", "p")
	stream := func() time.Time {
		t.Helper()
		if _, _, err := ann.CreateStream(t.Context(), core.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		place, err := ann.StreamPlace(t.Context(), "S", nil)
		if err != nil {
			t.Fatal(err)
		}
		return place.Created
	}
	born := stream()
	save := func(sequence uint64, created time.Time) core.Cursor {
		t.Helper()
		c, err := ann.SaveCursor(t.Context(), core.Cursor{Stream: "S", Name: "c", Sequence: sequence, Created: created})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := save(5, born); c.Sequence != 5 {
		t.Errorf("%+v", c)
	}
	if c := save(3, born); c.Sequence != 5 {
		t.Errorf("it went back: %+v", c)
	}
	if err := ann.DeleteStream(t.Context(), "S"); err != nil {
		t.Fatal(err)
	}
	anew := stream()
	if c := save(1, anew); c.Sequence != 1 {
		t.Errorf("another stream: %+v", c)
	}
	if _, err := ann.SaveCursor(t.Context(), core.Cursor{Stream: "S", Name: "c", Sequence: 9, Created: born}); code(err) != core.CodeNotFound {
		t.Errorf("in the stream before: %v", err)
	}
	if c, err := ann.Cursor(t.Context(), "S", "c"); err != nil || c.Sequence != 1 || !c.Created.Equal(anew) {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := bob.Cursor(t.Context(), "S", "c"); code(err) != core.CodeNotFound {
		t.Errorf("somebody else's: %v", err)
	}
	if err := ann.DeleteCursor(t.Context(), "S", "c"); err != nil {
		t.Error(err)
	}
	if _, err := ann.Cursor(t.Context(), "S", "c"); code(err) != core.CodeNotFound {
		t.Errorf("deleted: %v", err)
	}
	if c := save(2, born); c.Sequence != 2 {
		t.Errorf("anew: %+v", c)
	}
	for _, name := range []string{"", "a b", "a/b", "a\x00b"} {
		if _, err := ann.SaveCursor(t.Context(), core.Cursor{Stream: "S", Name: name, Sequence: 1}); code(err) != core.CodeInvalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}
