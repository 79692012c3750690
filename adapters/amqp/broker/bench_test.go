package broker_test

import (
	"fmt"
	"testing"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

// spread binds n queues such that one message reaches one of them, and for fanout
// all of them.
func spread(t fataler, exchangeType string, n int) (v *broker.VHost, exchange, key string, headers wire.Table) {
	v = broker.New("/")
	exchange = "amq." + exchangeType
	for i := range n {
		b := broker.Binding{Source: exchange, Destination: fmt.Sprint("queue-", i)}
		switch exchangeType {
		case broker.Direct:
			b.Key = fmt.Sprint("orders.", i)
		case broker.Topic:
			b.Key = fmt.Sprintf("orders.*.%d.#", i)
		case broker.Headers:
			b.Arguments = wire.Table{"kind": "order", "shop": int32(i)}
		}
		mustBind(t, v, b)
	}
	last := n - 1
	switch exchangeType {
	case broker.Direct:
		key = fmt.Sprint("orders.", last)
	case broker.Topic:
		key = fmt.Sprintf("orders.eu.%d.created", last)
	case broker.Headers:
		headers = wire.Table{"kind": "order", "shop": int64(last), "trace": "abc"}
	}
	return v, exchange, key, headers
}

func BenchmarkRoute(b *testing.B) {
	for _, kind := range []string{broker.Direct, broker.Topic, broker.Headers, broker.Fanout} {
		for _, n := range []int{1, 1000, 10000} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				v, exchange, key, table := spread(b, kind, n)
				headers := withHeaders(table)
				var dst []string
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if dst, err = v.Route(exchange, key, headers, dst[:0]); err != nil || len(dst) == 0 {
						b.Fatal(dst, err)
					}
				}
			})
		}
	}
}

func BenchmarkRouteParallel(b *testing.B) {
	v, exchange, key, _ := spread(b, broker.Direct, 1000)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		var dst []string
		for p.Next() {
			dst, _ = v.Route(exchange, key, nil, dst[:0])
		}
	})
}

// The time for each binding must not grow with their number.
func BenchmarkBind(b *testing.B) {
	for _, kind := range []string{broker.Direct, broker.Topic, broker.Headers, broker.Fanout} {
		for _, n := range []int{1000, 10000, 100000} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				for b.Loop() {
					spread(b, kind, n)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/binding")
			})
		}
	}
}

func BenchmarkUnbind(b *testing.B) {
	for _, kind := range []string{broker.Direct, broker.Topic, broker.Headers, broker.Fanout} {
		b.Run(kind, func(b *testing.B) {
			const n = 10000
			for b.Loop() {
				b.StopTimer()
				v, _, _, _ := spread(b, kind, n)
				b.StartTimer()
				for i := range n {
					v.DeleteQueue(fmt.Sprint("queue-", i))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/queue")
		})
	}
}

func TestRouteAllocatesNothing(t *testing.T) {
	for _, kind := range []string{broker.Direct, broker.Topic, broker.Fanout} {
		t.Run(kind, func(t *testing.T) {
			v, exchange, key, _ := spread(t, kind, 1000)
			bind(t, v, exchange, "second", key)
			dst := make([]string, 0, 2000)
			var err error
			if n := testing.AllocsPerRun(200, func() { dst, err = v.Route(exchange, key, nil, dst[:0]) }); n > 0 && !raceEnabled {
				t.Errorf("%v allocations", n)
			}
			if err != nil || len(dst) < 2 {
				t.Fatal(dst, err)
			}
		})
	}
}
