package amqp

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"portico/core"
)

// consumerInfo is a consumer as it is told.
type consumerInfo struct {
	Tag         string         `json:"consumer_tag"`
	Queue       resourceInfo   `json:"queue"`
	Channel     memberInfo     `json:"channel_details"`
	AckRequired bool           `json:"ack_required"`
	Exclusive   bool           `json:"exclusive"`
	Active      *bool          `json:"active"`          // gets deliveries; null: not known
	Activity    string         `json:"activity_status"` // up; of a queue with a single active consumer: single_active, waiting or unknown
	Prefetch    int            `json:"prefetch_count"`
	Priority    int            `json:"priority"`
	Arguments   map[string]any `json:"arguments"`
}

// resourceInfo names a queue.
type resourceInfo struct {
	Name  string `json:"name"`
	Vhost string `json:"vhost"`
}

// memberInfo names a channel of a connection.
type memberInfo struct {
	Name       string `json:"name"`
	Number     uint16 `json:"number"`
	Connection string `json:"connection_name"`
	PeerHost   string `json:"peer_host"`
	PeerPort   int    `json:"peer_port"`
	User       string `json:"user"`
}

// info describes k. Any goroutine may call it.
func (k *consumer) info() consumerInfo {
	ch := k.channel
	peer := ch.conn.peer()
	info := consumerInfo{
		Tag: k.tag, Queue: resourceInfo{k.queue.Name(), ch.vhost().name}, AckRequired: !k.noAck, Exclusive: k.exclusive,
		Channel:  memberInfo{ch.name(), ch.id, peer.Name, peer.PeerHost, peer.PeerPort, ch.conn.user},
		Prefetch: k.prefetch, Priority: k.priority, Arguments: shownTable(k.arguments),
	}
	info.Active, info.Activity = activity(k.queue)
	return info
}

// activity tells whether a consumer of q gets deliveries. Which of several is the single active one only the queue knows.
func activity(q *core.Queue) (active *bool, status string) {
	yes := true
	if !q.Config().SingleActive {
		return &yes, "up"
	}
	if s, err := q.Stats(); err == nil && s.Consumers == 1 {
		return &yes, "single_active"
	}
	return nil, "unknown"
}

// allConsumers are the consumers of all channels that keep wants, by queue and tag.
func (a *Adapter) allConsumers(v *vhost, keep func(*consumer) bool) []*consumer {
	var all []*consumer
	for _, ch := range a.openChannels(v) {
		ch.mu.Lock()
		for _, k := range ch.consumers {
			if k.started && keep(k) {
				all = append(all, k)
			}
		}
		ch.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b *consumer) int {
		return cmp.Or(strings.Compare(a.queue.Name(), b.queue.Name()), strings.Compare(a.tag, b.tag))
	})
	return all
}

func shownConsumers(consumers []*consumer) []consumerInfo {
	all := []consumerInfo{}
	for _, k := range consumers {
		all = append(all, k.info())
	}
	return all
}

// consumersOf describes the AMQP consumers of q.
func (a *Adapter) consumersOf(v *vhost, q *core.Queue) []consumerInfo {
	return shownConsumers(a.allConsumers(v, func(k *consumer) bool { return k.queue == q }))
}

// consumers: GET consumers: those of AMQP clients.
func (c *call) consumers() (int, any, error) {
	return http.StatusOK, shownConsumers(c.door.allConsumers(c.vhost, func(*consumer) bool { return true })), nil
}
