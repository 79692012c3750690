package queue_test

import (
	"sync"
	"testing"

	"portico/core/queue"
	"portico/core/queue/queuetest"
)

// benchWindow is how many records a benchmark's publisher has appended and not heard of.
const benchWindow = 1024

// publisher counts what it is told, so that a benchmark can wait for it.
type publisher struct {
	mu   sync.Mutex
	more sync.Cond
	open int
}

func newPublisher() *publisher {
	p := &publisher{}
	p.more.L = &p.mu
	return p
}

// Appended implements queue.Publisher.
func (p *publisher) Appended(tags []uint64, _ error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open -= len(tags)
	if p.open <= benchWindow/2 {
		p.more.Signal()
	}
}

// take takes n places of the window, once there are so many.
func (p *publisher) take(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.open+n > benchWindow {
		p.more.Wait()
	}
	p.open += n
}

// wait waits until everything has been told.
func (p *publisher) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.open > 0 {
		p.more.Wait()
	}
}

// BenchmarkQueue measures a message's way through a queue: append alone, and append → deliver → ack with AutoAck, single and batched acks.
func BenchmarkQueue(b *testing.B) {
	stores := map[string]func() queue.Log{
		"memory": func() queue.Log { return nil },
		"log":    func() queue.Log { return (&queuetest.Disk{}).OpenInline() },
	}
	ways := map[string]func(b *testing.B, q *queue.Queue){
		"append": func(b *testing.B, q *queue.Queue) { appendAll(b, q) },
		"autoack": func(b *testing.B, q *queue.Queue) {
			flow(b, q, queue.ConsumerConfig{AutoAck: true, Credit: queue.Unlimited}, 0)
		},
		"ack":     func(b *testing.B, q *queue.Queue) { flow(b, q, queue.ConsumerConfig{Credit: 1000, Window: true}, 1) },
		"batched": func(b *testing.B, q *queue.Queue) { flow(b, q, queue.ConsumerConfig{Credit: 1000, Window: true}, 64) },
	}
	for store, log := range stores {
		for way, run := range ways {
			b.Run(store+"/"+way, func(b *testing.B) {
				q, err := queue.Open(queue.Config{Name: "b", Budget: queue.NewBudget(1 << 40)}, log())
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				run(b, q)
				b.StopTimer()
				if _, err := q.Delete(false, false); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// BenchmarkRules measures append → deliver → ack in a memory queue with rules that do not bite.
func BenchmarkRules(b *testing.B) {
	for name, cfg := range map[string]queue.Config{
		"none":       {},
		"ttl":        {Rules: queue.Rules{TTL: queue.AtMost(1 << 40)}},
		"length":     {Rules: queue.Rules{MaxLength: queue.AtMost(1 << 40)}},
		"bytes":      {Rules: queue.Rules{MaxBytes: queue.AtMost(1 << 40)}},
		"priorities": {MaxPriority: 5},
	} {
		b.Run(name, func(b *testing.B) {
			q, err := queue.Open(cfg, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			flow(b, q, queue.ConsumerConfig{Credit: 1000, Window: true}, 64)
			if _, err := q.Delete(false, false); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func appendAll(b *testing.B, q *queue.Queue) {
	record := make([]byte, 190)
	p := newPublisher()
	for i := 0; i < b.N; i += 16 {
		p.take(16)
		for range 16 {
			q.Append(queue.Record{Data: record}, p, 0)
		}
		if i%100_000 < 16 {
			if _, err := q.Purge(); err != nil { // so that it does not measure the machine's memory
				b.Fatal(err)
			}
		}
	}
	p.wait()
}

// flow sends b.N records through a consumer that acknowledges so many at once; 0: it need not.
func flow(b *testing.B, q *queue.Queue, cfg queue.ConsumerConfig, batch int) {
	done := make(chan struct{})
	n := 0
	var acks []queue.Handle
	cfg.Deliver = func(ds []queue.Delivery) {
		n += len(ds)
		for i := range ds {
			if batch > 0 {
				acks = append(acks, ds[i].Handle)
			}
			if batch > 0 && (len(acks) >= batch || n >= b.N) {
				q.Settle(queue.Ack, acks, nil)
				acks = acks[:0]
			}
		}
		if n >= b.N {
			n = -1 << 62
			close(done)
		}
	}
	if _, err := q.Consume(cfg); err != nil {
		b.Fatal(err)
	}
	record := make([]byte, 190)
	p := newPublisher()
	for i := 0; i < b.N; i += 16 {
		p.take(16)
		for range 16 {
			q.Append(queue.Record{Data: record}, p, 0)
		}
	}
	<-done
	p.wait()
}
