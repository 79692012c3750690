package webhook

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what all endpoints count.
type metrics struct {
	attempts *prometheus.CounterVec
	seconds  prometheus.Histogram
	waiting  prometheus.Gauge
	filtered prometheus.Counter
}

func newMetrics(registry *prometheus.Registry) *metrics {
	name := func(n, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "portico", Subsystem: "webhook", Name: n, Help: help}
	}
	return &metrics{
		attempts: registered(registry, prometheus.NewCounterVec(prometheus.CounterOpts(name("attempts_total", "Requests to webhook endpoints by what they meant for their message.")), []string{"result"})),
		seconds: registered(registry, prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "portico", Subsystem: "webhook", Name: "attempt_seconds",
			Help: "Time from a request to a webhook endpoint to the end of its answer.", Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60}})),
		waiting:  registered(registry, prometheus.NewGauge(prometheus.GaugeOpts(name("waiting_messages", "Messages that wait for their next attempt.")))),
		filtered: registered(registry, prometheus.NewCounter(prometheus.CounterOpts(name("filtered_total", "Messages that an endpoint's filter did not let through.")))),
	}
}

// registered registers c, or returns the one that is registered already: of a courier before on the same gateway.
func registered[C prometheus.Collector](registry *prometheus.Registry, c C) C {
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](registry.Register(c)); ok {
		if old, same := there.ExistingCollector.(C); same {
			return old
		}
	}
	return c
}

func (m *metrics) attempted(a Attempt) {
	m.attempts.WithLabelValues(string(a.Result)).Inc()
	m.seconds.Observe((time.Duration(a.Latency) * time.Millisecond).Seconds())
}
