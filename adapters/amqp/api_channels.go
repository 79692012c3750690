package amqp

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"portico/adapters/amqp/wire"
	"portico/core"
)

// shown are a channel's settings, which its reader owns, for those who list channels.
type shown struct {
	prefetch, global atomic.Uint32
	tx               atomic.Bool
}

// note takes over what m has set.
func (s *shown) note(m wire.Method) {
	switch m := m.(type) {
	case *wire.BasicQos:
		if m.Global {
			s.global.Store(uint32(m.PrefetchCount))
		} else {
			s.prefetch.Store(uint32(m.PrefetchCount))
		}
	case *wire.TxSelect:
		s.tx.Store(true)
	}
}

// channelInfo is a channel as it is told.
type channelInfo struct {
	Name           string   `json:"name"`
	Number         uint16   `json:"number"`
	Connection     peerInfo `json:"connection_details"`
	Vhost          string   `json:"vhost"`
	User           string   `json:"user"`
	Confirm        bool     `json:"confirm"`
	Transactional  bool     `json:"transactional"`
	Prefetch       uint32   `json:"prefetch_count"`        // of consumers to come; 0: no limit
	GlobalPrefetch uint32   `json:"global_prefetch_count"` // shared by all consumers; 0: no limit
	Consumers      int      `json:"consumer_count"`
	Unacknowledged int      `json:"messages_unacknowledged"`
	Unconfirmed    int      `json:"messages_unconfirmed"`
	State          string   `json:"state"` // running or closing
}

// name is the channel's, as RabbitMQ writes it.
func (ch *channel) name() string { return fmt.Sprintf("%s (%d)", ch.conn.name(), ch.id) }

// channelInfo describes ch. Any goroutine may call it.
func (ch *channel) channelInfo() channelInfo {
	info := channelInfo{
		Name: ch.name(), Number: ch.id, Connection: *ch.conn.peer(), Vhost: ch.vhost().name, User: ch.conn.user, Confirm: ch.ledger.inConfirmMode(),
		Transactional: ch.shown.tx.Load(), Prefetch: ch.shown.prefetch.Load(), GlobalPrefetch: ch.shown.global.Load(),
		Unconfirmed: ch.ledger.unconfirmed(), State: "running",
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	info.Consumers, info.Unacknowledged = len(ch.consumers), ch.unacked.len()
	if ch.ended {
		info.State = "closing"
	}
	return info
}

// unconfirmed is how many publishes, from the first one whose confirm is due, have been made.
func (l *ledger) unconfirmed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.confirming {
		return 0
	}
	return int(l.next - max(l.first, l.before+1))
}

// openChannels are the channels of all connections to a virtual host.
func (a *Adapter) openChannels(v *vhost) (all []*channel) {
	for _, c := range a.opened(v) {
		all = append(all, c.openChannels()...)
	}
	return all
}

func (c *call) channelList(channels []*channel) (int, any, error) {
	all := []channelInfo{}
	for _, ch := range channels {
		all = append(all, ch.channelInfo())
	}
	return listed(c, all, func(ch channelInfo) string { return ch.Name })
}

// channels: GET channels.
func (c *call) channels() (int, any, error) { return c.channelList(c.door.openChannels(c.vhost)) }

// connectionChannels: GET connections/{name}/channels.
func (c *call) connectionChannels() (int, any, error) {
	k, err := c.connectionNamed()
	if err != nil {
		return 0, nil, err
	}
	return c.channelList(k.openChannels())
}

// channel: GET channels/{name}.
func (c *call) channel() (int, any, error) {
	for _, ch := range c.door.openChannels(c.vhost) {
		if ch.name() == c.names[0] {
			return http.StatusOK, ch.channelInfo(), nil
		}
	}
	return 0, nil, core.Errorf(core.CodeNotFound, "there is no channel %q", c.names[0])
}
