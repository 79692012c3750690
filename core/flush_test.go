package core_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"portico/core"
	"portico/core/coretest"
)

// What was published before Flush has been handed over when it returns.
func TestFlush(t *testing.T) {
	b := login(t, coretest.Start(t))
	var got atomic.Int64
	for _, pattern := range []string{"orders.>", "orders.*"} {
		s, err := b.Subscribe(pattern, "", func(*core.Message) { got.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		defer s.Unsubscribe()
	}
	for round := int64(1); round <= 200; round++ {
		if _, err := b.Publish(t.Context(), &core.Message{Subject: "orders." + strconv.FormatInt(round, 10)}); err != nil {
			t.Fatal(err)
		}
		if err := b.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := got.Load(); n != 2*round {
			t.Fatalf("after %d messages to two subscribers: %d deliveries", round, n)
		}
	}
}
