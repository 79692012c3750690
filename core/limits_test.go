package core_test

import (
	"sync/atomic"
	"testing"

	"portico/core"
	"portico/core/coretest"
	"portico/core/queue"
)

// TestSmallMaxMessage: the limit on messages is none on the log entries that many of them share.
func TestSmallMaxMessage(t *testing.T) {
	g := coretest.Start(t, func(cfg *core.Config) { cfg.MaxMessage = 1000 })
	q, _, err := g.System().DeclareQueue(t.Context(), core.QueueConfig{Name: "small", Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	const records = 5000
	var failed, left atomic.Int64
	left.Store(records)
	all := make(chan struct{})
	for range records {
		q.AppendFunc(queue.Record{Data: make([]byte, 190)}, func(err error) {
			if err != nil {
				failed.Add(1)
			}
			if left.Add(-1) == 0 {
				close(all)
			}
		})
	}
	<-all
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d records were refused", n, records)
	}
}
