package queue_test

import (
	"sync"
	"testing"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// BenchmarkStream measures a record's way through a stream of 64 MiB: append alone, append → deliver → ack to one consumer and to eight, and a replay of what is in
// memory and of what is read back.
func BenchmarkStream(b *testing.B) {
	for name, readers := range map[string]int{"append": 0, "one consumer": 1, "eight consumers": 8} {
		b.Run(name, func(b *testing.B) {
			q := benchStream(b, 0)
			done := make([]*sync.WaitGroup, readers)
			for i := range done {
				done[i] = benchReader(b, q, queue.Offset{}, b.N)
			}
			benchFill(q, b.N)
			for _, d := range done {
				d.Wait()
			}
		})
	}
	for name, resident := range map[string]int64{"replay from memory": 1 << 40, "replay from the log": 1} {
		b.Run(name, func(b *testing.B) {
			q := benchStream(b, resident)
			benchFill(q, b.N)
			b.ResetTimer()
			benchReader(b, q, first(), b.N).Wait()
		})
	}
}

func benchStream(b *testing.B, resident int64) *queue.Queue {
	rules := queue.Rules{MaxBytes: queue.AtMost(64 << 20)}
	if resident > 0 {
		rules = queue.Rules{} // all is read
	}
	q, err := queue.Open(queue.Config{Stream: true, Resident: resident, Rules: rules}, (&queuetest.Disk{}).OpenInline())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = q.Delete(false, false) })
	b.ReportAllocs()
	b.ResetTimer()
	return q
}

func benchFill(q *queue.Queue, n int) {
	record := make([]byte, 190)
	p := newPublisher()
	for i := 0; i < n; i += 16 {
		p.take(16)
		for range 16 {
			q.Append(queue.Record{Data: record}, p, 0)
		}
	}
	p.wait()
}

// benchReader reads n records and acknowledges 64 at once; the group is done when it has.
func benchReader(b *testing.B, q *queue.Queue, from queue.Offset, n int) *sync.WaitGroup {
	var done sync.WaitGroup
	done.Add(1)
	var acks []queue.Handle
	_, err := q.Consume(queue.ConsumerConfig{Offset: from, Credit: 1000, Window: true, Deliver: func(ds []queue.Delivery) {
		before := n
		n -= len(ds)
		for i := range ds {
			acks = append(acks, ds[i].Handle)
		}
		if len(acks) >= 64 {
			q.Settle(queue.Ack, acks, nil)
			acks = acks[:0]
		}
		if before > 0 && n <= 0 {
			done.Done()
		}
	}})
	if err != nil {
		b.Fatal(err)
	}
	return &done
}
