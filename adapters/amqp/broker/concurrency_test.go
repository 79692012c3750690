package broker_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
)

// Readers see every exchange either with all of a change or without it, and what
// nobody touches all the time.
func TestRoutingWhileTheTopologyChanges(t *testing.T) {
	v := broker.New("/")
	exchanges := []string{"amq.direct", "amq.topic", "amq.fanout", "amq.match"}
	arguments := wire.Table{"h": "v"}
	for _, x := range exchanges {
		mustBind(t, v, broker.Binding{Source: x, Destination: "fixed", Key: "a.b", Arguments: arguments})
	}
	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			var dst []string
			for n := 0; !stop.Load() || n < 100; n++ {
				got, err := v.Route(exchanges[n%len(exchanges)], "a.b", withHeaders(arguments), dst[:0])
				if err != nil || !slices.Contains(got, "fixed") {
					t.Errorf("reached %v, %v", got, err)
					return
				}
				seen := slices.Clone(got)
				slices.Sort(seen)
				if len(slices.Compact(seen)) != len(got) {
					t.Errorf("doubles in %v", got)
					return
				}
				v.RouteFrom("temporary", "a.b", nil, nil)
				v.Generation()
				dst = got
			}
		})
	}
	for w := range 3 {
		writers.Go(func() {
			for i := range 300 {
				queue := fmt.Sprint("q", w, "-", i)
				declareOrFind(t, v, "temporary")
				for _, x := range exchanges {
					bindNew(t, v, broker.Binding{Source: x, Destination: queue, Key: "a.b", Arguments: arguments})
					bindNew(t, v, broker.Binding{Source: x, Destination: queue, Key: "#"})
				}
				_, _ = v.Bind(broker.Binding{Source: "temporary", Destination: queue, Key: "a.b"}) // may be gone again
				if got, _ := v.Route("amq.topic", "a.b", nil, nil); !slices.Contains(got, queue) {
					t.Errorf("bound, but %s is not reached", queue)
				}
				if len(v.QueueBindings(queue)) < 8 || len(v.Bindings()) == 0 || len(v.BusPatterns()) == 0 {
					t.Error("bindings missing from a listing")
				}
				v.DeleteQueue(queue)
				if got, _ := v.Route("amq.fanout", "a.b", nil, nil); slices.Contains(got, queue) {
					t.Errorf("deleted, but %s is reached", queue)
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	if got := v.Bindings(); len(got) != len(exchanges) {
		t.Fatalf("%d bindings left", len(got))
	}
}

func declareOrFind(t *testing.T, v *broker.VHost, name string) {
	if _, err := v.DeclareExchange(broker.Exchange{Name: name, Type: broker.Topic, AutoDelete: true}); err != nil {
		t.Error(err)
	}
}

func bindNew(t *testing.T, v *broker.VHost, b broker.Binding) {
	if created, err := v.Bind(b); !created || err != nil {
		t.Errorf("bind %+v: %v, %v", b, created, err)
	}
}
