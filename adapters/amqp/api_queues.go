package amqp

import (
	"net/http"
	"strings"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
)

// queueInfo is a queue as it is told.
type queueInfo struct {
	Name           string         `json:"name"`
	Vhost          string         `json:"vhost"`
	Type           string         `json:"type"`
	Durable        bool           `json:"durable"`
	AutoDelete     bool           `json:"auto_delete"`
	Exclusive      bool           `json:"exclusive"`
	Owner          *peerInfo      `json:"owner_pid_details,omitempty"` // the connection of an exclusive queue
	Arguments      map[string]any `json:"arguments"`
	Policy         *string        `json:"policy"`
	OperatorPolicy *string        `json:"operator_policy"`
	Effective      map[string]any `json:"effective_policy_definition"`
	Ready          int            `json:"messages_ready"`
	Unacknowledged int            `json:"messages_unacknowledged"`
	Messages       int            `json:"messages"`
	Bytes          int64          `json:"message_bytes"`
	Consumers      int            `json:"consumers"` // those of other doors too
	State          string         `json:"state"`
	Details        []consumerInfo `json:"consumer_details,omitzero"` // of one queue alone
}

// queueInfo asks q how it is. owners are the connections that own queues.
func (v *vhost) queueInfo(q *core.Queue, owners map[string]*conn) (queueInfo, error) {
	s, err := q.Stats()
	if err != nil {
		return queueInfo{}, err
	}
	cfg := q.Config()
	applied := v.appliedTo(&cfg)
	info := queueInfo{
		Name: cfg.Name, Vhost: v.name, Type: string(arguments(&cfg).Type), Durable: cfg.Durable, AutoDelete: cfg.AutoDelete, Exclusive: cfg.Owner != "",
		Arguments: shownTable(queueArguments(q)), Policy: policyName(applied.User), OperatorPolicy: policyName(applied.Operator), Effective: applied.Definition(),
		Ready: s.Ready, Unacknowledged: s.Unacked, Messages: s.Ready + s.Unacked, Bytes: s.Bytes, Consumers: s.Consumers, State: "running",
	}
	if info.Effective == nil {
		info.Effective = map[string]any{}
	}
	if owner := owners[cfg.Owner]; owner != nil {
		info.Owner = owner.peer()
	}
	return info, nil
}

// appliedTo are the policies of a queue.
func (v *vhost) appliedTo(c *core.QueueConfig) broker.Applied {
	return v.policies.For(c.Name, arguments(c).Type)
}

// queues: GET queues. One that goes away meanwhile is left out.
func (c *call) queues() (int, any, error) {
	owners := c.door.owners(c.vhost)
	all := []queueInfo{}
	for _, q := range c.vhost.bus.Queues() {
		if info, err := c.vhost.queueInfo(q, owners); err == nil {
			all = append(all, info)
		}
	}
	return listed(c, all, func(q queueInfo) string { return q.Name })
}

// queueNamed is the queue that the path's name i names, whoever owns it.
func (c *call) queueNamed(i int) (*core.Queue, error) {
	name := broker.CleanName(c.names[i])
	q := c.vhost.bus.Lookup(name)
	if q == nil {
		return nil, noQueue(name, c.vhost.name)
	}
	return q, nil
}

// queue: GET queues/{name}.
func (c *call) queue() (int, any, error) {
	q, err := c.queueNamed(0)
	if err != nil {
		return 0, nil, err
	}
	info, err := c.vhost.queueInfo(q, c.door.owners(c.vhost))
	info.Details = c.door.consumersOf(c.vhost, q)
	return http.StatusOK, info, err
}

// queueRequest is the body of a new queue.
type queueRequest struct {
	Durable    jsonBool  `json:"durable"`
	AutoDelete jsonBool  `json:"auto_delete"`
	Arguments  jsonTable `json:"arguments"`
}

// putQueue: PUT queues/{name}: 201, or 204 when there is an equivalent one.
func (c *call) putQueue() (int, any, error) {
	var d queueRequest
	if err := c.read(&d); err != nil {
		return 0, nil, err
	}
	if strings.HasPrefix(c.names[0], directReplyTo) {
		return 0, nil, wire.ChanErrorf(wire.AccessRefused, "queue name '%s' contains reserved prefix 'amq.*'", c.names[0])
	}
	_, missing := c.queueNamed(0)
	err := c.do(&wire.QueueDeclare{
		Queue: c.names[0], Durable: bool(d.Durable), AutoDelete: bool(d.AutoDelete), NoWait: true, Arguments: wire.Table(d.Arguments),
	})
	if missing != nil {
		err = invalid(err)
	}
	return createdOr(missing == nil), nil, err
}

// deleteQueue: DELETE queues/{name}?if-unused=true&if-empty=true.
func (c *call) deleteQueue() (int, any, error) {
	q, err := c.queueNamed(0)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, c.do(&wire.QueueDelete{
		Queue: q.Name(), IfUnused: c.flag("if-unused"), IfEmpty: c.flag("if-empty"), NoWait: true,
	})
}

// purge: DELETE queues/{name}/contents.
func (c *call) purge() (int, any, error) {
	q, err := c.queueNamed(0)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, c.do(&wire.QueuePurge{Queue: q.Name(), NoWait: true})
}
