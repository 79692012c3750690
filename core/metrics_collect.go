package core

import (
	"cmp"
	"slices"

	"portico/core/queue"

	"github.com/prometheus/client_golang/prometheus"
)

// maxQueueSeries bounds the queues that have series of their own: those with the most messages. The totals count all.
const maxQueueSeries = 1000

// gatewayCollector asks queues and embedded server when somebody scrapes.
type gatewayCollector struct{ gateway *Gateway }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	descQueues      = describe("queues", "Queues.")
	descReady       = describe("queue_ready_messages", "Messages in all queues that wait for a consumer.")
	descUnacked     = describe("queue_unacked_messages", "Messages in all queues that are with a consumer.")
	descBytes       = describe("queue_bytes", "Bytes of the messages in all queues.")
	descResident    = describe("queue_resident_bytes", "Bytes of them in memory.")
	descDepth       = describe("queue_depth", "Messages in a queue; the deepest queues only.", "tenant", "queue", "state")
	descConsumers   = describe("queue_consumers", "Consumers of a queue; the deepest queues only.", "tenant", "queue")
	descAlarm       = describe("alarm", "1 while the alarm is raised.", "alarm")
	descServerConns = describe("server_connections", "Connections of the embedded server: NATS and MQTT clients and the gateway's own.")
	descServerSubs  = describe("server_subscriptions", "Subscriptions in the embedded server.")
	descServerMsgs  = describe("server_messages_total", "Messages that went through the embedded server.", "direction")
	descServerBytes = describe("server_bytes_total", "Bytes that went through the embedded server.", "direction")
	descServerSlow  = describe("server_slow_consumers_total", "Clients that the embedded server cut because they did not read.")
	descStoreBytes  = describe("store_bytes", "Bytes that JetStream keeps on disk.")
)

// Describe implements prometheus.Collector.
func (c *gatewayCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descQueues, descReady, descUnacked, descBytes, descResident, descDepth, descConsumers, descAlarm,
		descServerConns, descServerSubs, descServerMsgs, descServerBytes, descServerSlow, descStoreBytes,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *gatewayCollector) Collect(out chan<- prometheus.Metric) {
	c.collectQueues(out)
	c.collectServer(out)
	active := c.gateway.Alarms()
	for _, name := range []string{alarmDisk, alarmStore} {
		raised := 0
		if slices.ContainsFunc(active, func(a Alarm) bool { return a.Name == name }) {
			raised = 1
		}
		out <- gauge(descAlarm, raised, name)
	}
}

func gauge[N int | int64 | uint32 | uint64](d *prometheus.Desc, v N, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
}

func counter(d *prometheus.Desc, v int64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (c *gatewayCollector) collectQueues(out chan<- prometheus.Metric) {
	type depth struct {
		tenant, name string
		queue.Stats
	}
	var total queue.Stats
	var depths []depth
	for _, t := range c.gateway.tenants.all() {
		for _, q := range t.queues.all() {
			s, err := q.Stats()
			if err != nil {
				continue // it has just been deleted
			}
			total.Ready += s.Ready
			total.Unacked += s.Unacked
			total.Bytes += s.Bytes
			total.Resident += s.Resident
			depths = append(depths, depth{EncodeKey(t.name), EncodeKey(q.config.Name), s})
		}
	}
	out <- gauge(descQueues, len(depths))
	out <- gauge(descReady, total.Ready)
	out <- gauge(descUnacked, total.Unacked)
	out <- gauge(descBytes, total.Bytes)
	out <- gauge(descResident, total.Resident)
	slices.SortStableFunc(depths, func(a, b depth) int { return cmp.Compare(b.Ready+b.Unacked, a.Ready+a.Unacked) })
	for _, d := range depths[:min(len(depths), maxQueueSeries)] {
		out <- gauge(descDepth, d.Ready, d.tenant, d.name, "ready")
		out <- gauge(descDepth, d.Unacked, d.tenant, d.name, "unacked")
		out <- gauge(descConsumers, d.Consumers, d.tenant, d.name)
	}
}

// connectionCollector adds the doors of the embedded server to the connections that the adapters count.
type connectionCollector struct {
	*prometheus.GaugeVec
	server *embedded
}

// Collect implements prometheus.Collector.
func (c *connectionCollector) Collect(out chan<- prometheus.Metric) {
	if nats, mqtt, err := c.server.clients(); err == nil {
		c.WithLabelValues("nats").Set(float64(nats))
		c.WithLabelValues("mqtt").Set(float64(mqtt))
	}
	c.GaugeVec.Collect(out)
}

func (c *gatewayCollector) collectServer(out chan<- prometheus.Metric) {
	v, err := c.gateway.server.Varz(nil)
	if err != nil {
		return
	}
	out <- gauge(descServerConns, v.Connections)
	out <- gauge(descServerSubs, v.Subscriptions)
	out <- counter(descServerMsgs, v.InMsgs, "in")
	out <- counter(descServerMsgs, v.OutMsgs, "out")
	out <- counter(descServerBytes, v.InBytes, "in")
	out <- counter(descServerBytes, v.OutBytes, "out")
	out <- counter(descServerSlow, v.SlowConsumers)
	if js := v.JetStream.Stats; js != nil {
		out <- gauge(descStoreBytes, js.Store)
	}
}
