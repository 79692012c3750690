package websocket

import (
	"portico/adapters/websocket/outbound"
	"portico/core"
)

// itemCost is what a waiting frame is counted at, beside its payload and headers, in bytes.
const itemCost = 128

type itemKind uint8

const (
	itemAnswer itemKind = iota
	itemMsg
	itemRes
	itemDelivery
	itemStored
)

// item is a frame that waits to be written. Messages are shared with the bus and encoded at the last moment.
type item struct {
	kind      itemKind
	name      string // sid; the request's id for itemRes
	answer    *answer
	message   *core.Message
	shared    *shared             // itemMsg; message is its message
	stored    *core.StoredMessage // itemStored; message is its message
	source    *source             // itemStored
	*delivery                     // itemDelivery
}

// delivery is what an item needs only when it is one.
type delivery struct {
	redelivered bool
	attempt     uint32
	tag         uint64
	record      []byte
}

// Size implements outbound.Item.
func (i item) Size() int {
	n := itemCost
	if i.delivery != nil {
		n += len(i.record)
	}
	switch {
	case i.shared != nil:
		n += i.shared.weight
	case i.message != nil:
		n += weight(i.message)
	}
	if i.answer != nil {
		n += i.answer.weight()
	}
	return n
}

// weight is the bytes of what a message carries. Its headers may be as large as its payload.
func weight(m *core.Message) int {
	n := len(m.Data)
	for name, values := range m.Header {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return n
}

// ending is why a connection ends, as its close frame says it.
type ending struct {
	code   int
	reason string
}

// slow ends a client that does not read its subscriptions fast enough.
func slow() ending { return ending{closeSlowConsumer, core.CodeSlowConsumer.String()} }

// finish ends the connection when what is queued has been written. The first reason counts.
func (c *conn) finish(code int, reason string) { c.out.Finish(ending{code, reason}) }

// live queues a message of a subscription, in its lane if it has one.
func (c *conn) live(lane *outbound.Lane[item], i item) {
	if lane == nil {
		c.out.Live(i, slow())
		return
	}
	c.out.Offer(lane, i, slow())
}
