package grpcapi

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

func small() *outbox[int] {
	return newOutbox[int](Config{OutboundMessages: 3, OutboundBytes: 100})
}

func TestOutboxBounds(t *testing.T) {
	for name, test := range map[string]struct {
		sizes []int
		taken []bool
	}{
		"by number":                          {[]int{1, 1, 1, 1}, []bool{true, true, true, false}},
		"by bytes":                           {[]int{60, 60, 40}, []bool{true, false, true}},
		"an empty one takes one of any size": {[]int{1000, 1}, []bool{true, false}},
	} {
		t.Run(name, func(t *testing.T) {
			box := small()
			for i, size := range test.sizes {
				if got := box.offer(i, size); got != test.taken[i] {
					t.Errorf("item %d of %d bytes: taken %v", i, size, got)
				}
			}
			if box.hasRoom() && !test.taken[len(test.taken)-1] {
				t.Error("it has room and refused the last item")
			}
		})
	}
}

func TestOutboxWritesInOrderInChunks(t *testing.T) {
	box := newOutbox[int](Config{OutboundMessages: 100, OutboundBytes: 1 << 20})
	for i := range 10 {
		box.add(i, writeChunk/4)
	}
	box.finish(nil)
	var got []int
	err := box.write(t.Context(), func(chunk []int) error {
		if len(chunk) > 4 {
			t.Errorf("a chunk of %d items", len(chunk))
		}
		got = append(got, chunk...)
		return nil
	})
	if err != nil || !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Errorf("wrote %v, %v", got, err)
	}
}

func TestOutboxFinishWaitsForWhatIsExpected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, last := small(), errors.New("the end")
		box.expect(2)
		box.finish(last)
		box.finish(nil) // the first one counts
		var got []int
		var err error
		ended := false
		go func() {
			err = box.write(t.Context(), func(chunk []int) error { got = append(got, chunk...); return nil })
			ended = true
		}()
		synctest.Wait()
		box.addExpected(1, 1)
		synctest.Wait()
		if ended {
			t.Fatal("ended with one item missing")
		}
		box.expect(-1)
		synctest.Wait()
		if !ended || !errors.Is(err, last) || !slices.Equal(got, []int{1}) {
			t.Errorf("ended %v, %v, wrote %v", ended, err, got)
		}
	})
}

func TestOutboxMakesRoomWhenWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		box, gone := small(), errors.New("gone")
		box.add(1, 200)
		waited := make(chan error, 1)
		go func() { waited <- box.await(ctx, box.hasRoom) }()
		synctest.Wait()
		select {
		case <-waited:
			t.Fatal("room in a full outbox")
		default:
		}
		written := make(chan error, 1)
		go func() { written <- box.write(ctx, func([]int) error { return nil }) }()
		if err := <-waited; err != nil {
			t.Error(err)
		}
		cancel(gone)
		if err := <-written; !errors.Is(err, gone) {
			t.Errorf("the writer ended with %v", err)
		}
	})
}

func TestOutboxWriterStopsWhenSendFails(t *testing.T) {
	box, broken := small(), errors.New("broken")
	box.add(1, 1)
	if err := box.write(t.Context(), func([]int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("ended with %v", err)
	}
}
