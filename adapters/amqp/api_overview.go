package amqp

import (
	"net/http"

	"portico/adapters/amqp/broker"
)

// clusterName is what clients are told; there is one node.
const clusterName = "portico"

// overviewInfo is what there is, in numbers.
type overviewInfo struct {
	ProductName     string         `json:"product_name"`
	ProductVersion  string         `json:"product_version"`
	RabbitMQVersion string         `json:"rabbitmq_version"` // what clients are told
	ClusterName     string         `json:"cluster_name"`
	ExchangeTypes   []typeInfo     `json:"exchange_types"`
	Objects         objectTotals   `json:"object_totals"`
	Messages        messageTotals  `json:"queue_totals"`
	Listeners       []listenerInfo `json:"listeners"`
}

type typeInfo struct {
	Name    string `json:"name"`
	Enabled bool   `json:"enabled"`
}

type objectTotals struct {
	Connections int `json:"connections"`
	Channels    int `json:"channels"`
	Consumers   int `json:"consumers"` // of all queues, those of other doors too
	Exchanges   int `json:"exchanges"`
	Queues      int `json:"queues"`
	Bindings    int `json:"bindings"` // but for those of the default exchange
}

type messageTotals struct {
	Messages       int `json:"messages"`
	Ready          int `json:"messages_ready"`
	Unacknowledged int `json:"messages_unacknowledged"`
}

type listenerInfo struct {
	Protocol string `json:"protocol"`
	Address  string `json:"ip_address"`
	Port     int    `json:"port"`
}

// overview: GET overview.
func (c *call) overview() (int, any, error) {
	cfg := c.door.cfg
	info := overviewInfo{ProductName: cfg.Product, ProductVersion: cfg.Version, RabbitMQVersion: cfg.Version, ClusterName: clusterName}
	for _, name := range []string{broker.Direct, broker.Fanout, broker.Headers, broker.Topic, broker.ConsistentHash, broker.ModulusHash, broker.Random, broker.DelayedMessage} {
		info.ExchangeTypes = append(info.ExchangeTypes, typeInfo{name, true})
	}
	host, port := hostPort(c.door.listener.Addr())
	info.Listeners = []listenerInfo{{"amqp", host, port}}
	info.Objects, info.Messages = c.vhost.totals(c.door.opened(c.vhost))
	return http.StatusOK, info, nil
}

// totals counts.
func (v *vhost) totals(opened []*conn) (o objectTotals, m messageTotals) {
	for _, c := range opened {
		o.Channels += len(c.openChannels())
	}
	for _, q := range v.bus.Queues() {
		s, err := q.Stats()
		if err != nil {
			continue // it goes away at this moment
		}
		o.Queues++
		o.Consumers += s.Consumers
		m.Ready += s.Ready
		m.Unacknowledged += s.Unacked
	}
	m.Messages = m.Ready + m.Unacknowledged
	o.Connections, o.Exchanges, o.Bindings = len(opened), len(v.broker.Exchanges()), len(v.broker.Bindings())
	return o, m
}
