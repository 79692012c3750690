package jslog_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"portico/core/jslog"
	"portico/core/queue"
)

// appendWindow appends n copies of entry, 16 under way, and returns when all are kept.
func appendWindow(b *testing.B, l queue.Log, entry []byte, n int) {
	window := make(chan struct{}, 16)
	for range n {
		window <- struct{}{}
		l.Append(entry, func(_ uint64, err error) {
			if err != nil {
				b.Error(err)
			}
			<-window
		})
	}
	for range cap(window) {
		window <- struct{}{}
	}
}

// BenchmarkAppend: chunks are 64 records of 190 bytes; alone is one small record after the other.
func BenchmarkAppend(b *testing.B) {
	for _, durability := range []string{"sync", "os"} {
		for _, logs := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/chunks/logs=%d", durability, logs), func(b *testing.B) {
				bus := startBus(b, b.TempDir(), unlimited)
				s := bus.store(b, jslog.Options{Sync: durability == "sync"})
				entry := make([]byte, 12<<10)
				b.SetBytes(int64(len(entry)))
				var wg sync.WaitGroup
				b.ResetTimer()
				for i := range logs {
					l := open(b, s, fmt.Sprint(i))
					wg.Go(func() { appendWindow(b, l, entry, (b.N+logs-1)/logs) })
				}
				wg.Wait()
				b.ReportMetric(float64(b.N)*64/b.Elapsed().Seconds(), "records/s")
			})
		}
		b.Run(durability+"/alone", func(b *testing.B) {
			bus := startBus(b, b.TempDir(), unlimited)
			l := open(b, bus.store(b, jslog.Options{Sync: durability == "sync"}), "q")
			entry, kept := make([]byte, 190), make(chan error)
			for b.Loop() {
				l.Append(entry, func(_ uint64, err error) { kept <- err })
				if err := <-kept; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	bus := startBus(b, b.TempDir(), unlimited)
	l := open(b, bus.store(b, jslog.Options{}), "q")
	entry := make([]byte, 12<<10)
	const chunks = 8192
	appendWindow(b, l, entry, chunks)
	b.SetBytes(int64(len(entry)))
	for n := 0; n < b.N; {
		for from := uint64(1); n < b.N; {
			got, err := l.Read(b.Context(), from, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			if len(got) == 0 {
				break
			}
			n += len(got)
			from = got[len(got)-1].Seq + 1
		}
	}
	b.ReportMetric(float64(b.N)*64/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkOpen(b *testing.B) {
	b.Run("new", func(b *testing.B) {
		s := startBus(b, b.TempDir(), unlimited).store(b, jslog.Options{})
		for n := range b.N {
			open(b, s, fmt.Sprint(n))
		}
	})
	b.Run("existing", func(b *testing.B) {
		s := startBus(b, b.TempDir(), unlimited).store(b, jslog.Options{})
		open(b, s, "q")
		for b.Loop() {
			open(b, s, "q")
		}
	})
}

func unlimited(o *server.Options) { o.JetStreamMaxStore = 1 << 40 }
