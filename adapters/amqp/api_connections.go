package amqp

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"portico/core"
)

// peerInfo names a connection.
type peerInfo struct {
	Name     string `json:"name"`
	PeerHost string `json:"peer_host"`
	PeerPort int    `json:"peer_port"`
}

// connectionInfo is a connection as it is told.
type connectionInfo struct {
	peerInfo
	Host             string         `json:"host"`
	Port             int            `json:"port"`
	Vhost            string         `json:"vhost"`
	User             string         `json:"user"`
	UserProvidedName *string        `json:"user_provided_name"` // connection_name of the client-properties
	ClientProperties map[string]any `json:"client_properties"`
	AuthMechanism    string         `json:"auth_mechanism"`
	Protocol         string         `json:"protocol"`
	Type             string         `json:"type"`
	SSL              bool           `json:"ssl"`
	ChannelMax       uint16         `json:"channel_max"`
	FrameMax         uint32         `json:"frame_max"`
	Timeout          int            `json:"timeout"`      // heartbeat, seconds
	ConnectedAt      int64          `json:"connected_at"` // milliseconds since 1970
	Channels         int            `json:"channels"`
	State            string         `json:"state"` // running or closing
}

// peer names c as RabbitMQ does: from where to where.
func (c *conn) peer() *peerInfo {
	host, port := hostPort(c.net.RemoteAddr())
	return &peerInfo{Name: c.name(), PeerHost: host, PeerPort: port}
}

func (c *conn) name() string { return fmt.Sprintf("%s -> %s", c.net.RemoteAddr(), c.net.LocalAddr()) }

func hostPort(at net.Addr) (host string, port int) {
	host, text, err := net.SplitHostPort(at.String())
	if err != nil {
		return at.String(), 0
	}
	port, _ = strconv.Atoi(text) // it is one, the address is the kernel's
	return host, port
}

// connectionInfo describes an opened connection. Any goroutine may call it.
func (c *conn) connectionInfo() connectionInfo {
	host, port := hostPort(c.net.LocalAddr())
	info := connectionInfo{
		peerInfo: *c.peer(), Host: host, Port: port, Vhost: c.vhost.name, User: c.user, ClientProperties: shownTable(c.client),
		AuthMechanism: c.mechanism, Protocol: "AMQP 0-9-1", Type: "network", ChannelMax: c.channelMax, FrameMax: c.frameMax,
		Timeout: int(c.heartbeat / time.Second), ConnectedAt: c.opened.Load(), Channels: len(c.openChannels()), State: "running",
	}
	if name, ok := c.client["connection_name"].(string); ok {
		info.UserProvidedName = &name
	}
	if c.isStopping() {
		info.State = "closing"
	}
	return info
}

// openChannels are c's channels, by number. Any goroutine may call it.
func (c *conn) openChannels() []*channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*channel, 0, len(c.channels))
	for _, ch := range c.channels {
		all = append(all, ch)
	}
	slices.SortFunc(all, func(a, b *channel) int { return cmp.Compare(a.id, b.id) })
	return all
}

// opened are the connections that have been through the handshake, by name.
func (a *Adapter) opened(v *vhost) (all []*conn) {
	a.each(func(c *conn) {
		if c.opened.Load() > 0 && c.vhost == v {
			all = append(all, c)
		}
	})
	slices.SortFunc(all, func(a, b *conn) int { return strings.Compare(a.name(), b.name()) })
	return all
}

// owners are the connections to a virtual host by what queues call their owner.
func (a *Adapter) owners(v *vhost) map[string]*conn {
	all := map[string]*conn{}
	for _, c := range a.opened(v) {
		all[c.id] = c
	}
	return all
}

// connections: GET connections.
func (c *call) connections() (int, any, error) {
	all := []connectionInfo{}
	for _, k := range c.door.opened(c.vhost) {
		all = append(all, k.connectionInfo())
	}
	return listed(c, all, func(k connectionInfo) string { return k.Name })
}

// connectionNamed is the connection that the path names.
func (c *call) connectionNamed() (*conn, error) {
	for _, k := range c.door.opened(c.vhost) {
		if k.name() == c.names[0] {
			return k, nil
		}
	}
	return nil, core.Errorf(core.CodeNotFound, "there is no connection %q", c.names[0])
}

// connection: GET connections/{name}.
func (c *call) connection() (int, any, error) {
	k, err := c.connectionNamed()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, k.connectionInfo(), nil
}

// closeConnection: DELETE connections/{name}: the client is told 320 and the header X-Reason; it may take a moment until the connection is gone.
func (c *call) closeConnection() (int, any, error) {
	k, err := c.connectionNamed()
	if err != nil {
		return 0, nil, err
	}
	reason := cmp.Or(c.http.Header.Get("X-Reason"), "Closed via management plugin")
	c.door.log.Info("connection is closed by order", "door", "amqp", "connection", k.name(), "user", k.user, "by", c.bus.User(), "reason", reason)
	k.shutdown(time.Now().Add(closeTimeout), reason)
	return http.StatusNoContent, nil, nil
}
