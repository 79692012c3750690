package amqp

import (
	"encoding/binary"

	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/queue"
)

// parcel is a record as a client gets it.
type parcel struct {
	exchange, key []byte
	properties    []byte // flags and list, as in a content header
	body          []byte
}

// headerOverhead is a header frame's octets around the property list.
const headerOverhead = wire.FrameOverhead + 2 + 2 + 8

// open turns a record of q into what this connection's client gets. Records that came by AMQP keep their property list octet for octet, unless a frame of this
// connection cannot hold it.
func (c *conn) open(q *core.Queue, d *queue.Delivery) parcel {
	e, err := core.OpenEnvelope(d.Record)
	if err != nil {
		return parcel{key: []byte(q.Name()), properties: []byte{0, 0}, body: d.Record}
	}
	var p parcel
	if e.Form == core.FormAMQP {
		p.exchange, p.key, p.properties, _ = splitProps(e.Props)
		p.body = e.Data
	} else {
		p = c.vhost.textParcel(q.Name(), e)
	}
	if d.Attempt > 1 && q.Type() == core.QuorumQueue {
		p.properties = withDeliveryCount(p.properties, d.Attempt-1)
	}
	if q.Type() == core.StreamQueue {
		p.properties = withOffset(p.properties, d.Seq-1)
	}
	if len(p.properties)+headerOverhead > int(c.frameMax) {
		p.properties = withoutHeaders(p.properties)
	}
	return p
}

// withDeliveryCount adds how often a message of a quorum queue had been delivered before [RMQ: x-delivery-count].
func withDeliveryCount(raw []byte, n uint32) []byte {
	p, err := wire.DecodeProperties(raw)
	if err != nil {
		return raw
	}
	if p.Headers == nil {
		p.Headers = wire.Table{}
	}
	p.Headers["x-delivery-count"] = int64(n)
	return p.Append(nil)
}

// withoutHeaders drops the headers table: a content header must fit into one frame, and a smaller one than the publisher's was negotiated here.
func withoutHeaders(raw []byte) []byte {
	p, err := wire.DecodeProperties(raw)
	if err != nil {
		return []byte{0, 0}
	}
	p.Headers, p.Flags = nil, p.Flags&^wire.FlagHeaders
	return p.Append(nil)
}

// textParcel builds what AMQP needs from a message that came by another door: its exchange is the one its subject belongs to; without a subject it was
// appended to the queue itself.
func (v *vhost) textParcel(queue string, e core.Envelope) parcel {
	p := parcel{key: []byte(queue), body: e.Data}
	if subject := string(e.Subject); subject != "" {
		exchange, key := v.published(subject)
		p.exchange, p.key = []byte(exchange), []byte(key[:min(len(key), 255)])
	}
	h, err := core.DecodeHeader(e.Props)
	if err != nil {
		h = nil
	}
	p.properties = v.textProperties(h, string(e.Reply))
	return p
}

// published is the exchange and key that subject stands for.
func (v *vhost) published(subject string) (exchange, key string) {
	if exchange, key, ok := v.subjectExchange(subject); ok {
		return exchange, key
	}
	key, _ = core.DecodeKey(subject)
	return amqTopic, key
}

// textProperties is the property list for a header, with reply_to naming the bus subject reply if there is one.
func (v *vhost) textProperties(h core.Header, reply string) []byte {
	if raw := intactProperties(h); raw != nil && (reply == "" || binary.BigEndian.Uint16(raw)&wire.FlagReplyTo != 0) {
		return raw
	}
	p := headerProperties(h)
	if reply != "" {
		if name := replyPrefix + v.replies.seal(reply); len(name) <= 255 {
			p.ReplyTo = name
		}
	}
	return p.Append(nil)
}
