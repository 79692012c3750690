package core

import (
	"sync"

	"portico/core/queue"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const namespace = "portico"

// DoorMetrics are the counters of one door. A door keeps the pointer: counting needs no look-up.
type DoorMetrics struct {
	Connections                                    prometheus.Gauge
	In, Out, BytesIn, BytesOut, Acks, Redeliveries prometheus.Counter
	PublishSeconds                                 prometheus.Observer // publish to acknowledgement
}

// metrics are what /metrics shows.
type metrics struct {
	// immutable
	registry      *prometheus.Registry
	connections   *prometheus.GaugeVec
	counters      map[string]*prometheus.CounterVec
	seconds       *prometheus.HistogramVec
	events        [queue.EventLost + 1]prometheus.Counter
	ingestDropped prometheus.Counter

	// guarded by mu
	mu    sync.Mutex
	doors map[string]*DoorMetrics
}

// publishBuckets reach from an acknowledgement out of memory to a disk in trouble, in seconds.
var publishBuckets = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}

func newMetrics(g *Gateway) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), doors: map[string]*DoorMetrics{}, counters: map[string]*prometheus.CounterVec{}}
	door := []string{"door"}
	m.connections = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: "connections", Help: "Open client connections."}, door)
	m.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "publish_seconds",
		Help: "Time from a publish to its acknowledgement.", Buckets: publishBuckets}, door)
	m.registry.MustRegister(&connectionCollector{GaugeVec: m.connections, server: g.server}, m.seconds)
	for name, help := range map[string]string{
		"messages_in_total": "Messages published by clients.", "messages_out_total": "Messages delivered to clients.",
		"bytes_in_total": "Payload bytes published by clients.", "bytes_out_total": "Payload bytes delivered to clients.",
		"acks_total": "Deliveries acknowledged by clients.", "redeliveries_total": "Deliveries that were not the first of their message.",
	} {
		m.counters[name] = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, door)
		m.registry.MustRegister(m.counters[name])
	}
	m.countQueueEvents()
	m.ingestDropped = prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "native_publishes_dropped_total",
		Help: "Publishes of NATS and MQTT clients that no queue could keep."})
	m.registry.MustRegister(m.ingestDropped, &gatewayCollector{gateway: g}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) countQueueEvents() {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "queue_events_total",
		Help: "What happened to the messages of all queues."}, []string{"event"})
	m.registry.MustRegister(events)
	for e, name := range map[queue.Event]string{
		queue.EventAppended: "appended", queue.EventDelivered: "delivered", queue.EventRedelivered: "redelivered",
		queue.EventAcked: "acked", queue.EventDead: "dead", queue.EventLost: "lost",
	} {
		m.events[e] = events.WithLabelValues(name)
	}
}

// observe counts what a queue reports. It is called from queues' goroutines.
func (m *metrics) observe(e queue.Event, n int) { m.events[e].Add(float64(n)) }

// Door returns the counters of one door, made on first use. Keep them.
func (g *Gateway) Door(name string) *DoorMetrics {
	m := g.metrics
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.doors[name]
	if d == nil {
		counter := func(metric string) prometheus.Counter { return m.counters[metric].WithLabelValues(name) }
		d = &DoorMetrics{
			Connections: m.connections.WithLabelValues(name), PublishSeconds: m.seconds.WithLabelValues(name),
			In: counter("messages_in_total"), Out: counter("messages_out_total"),
			BytesIn: counter("bytes_in_total"), BytesOut: counter("bytes_out_total"),
			Acks: counter("acks_total"), Redeliveries: counter("redeliveries_total"),
		}
		m.doors[name] = d
	}
	return d
}
