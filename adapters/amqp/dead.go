package amqp

import (
	"time"

	"portico/adapters/amqp/broker"
	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/queue"
)

// letter is a message on its way through an exchange that no client is waiting for: a dead letter, or one whose delay is over.
type letter struct {
	exchange   string
	keys       []string // the first is its routing key
	blind      []string // those of keys that are BCC's
	properties wire.Properties
	reply      string
	body       []byte
	avoid      func(queue string) bool // nil: nobody
}

// Bury implements core.Router: the dead message goes to the dead letter exchange with its history in headers [RMQ: dead lettering]. An exchange that does not exist
// drops it.
func (v *vhost) Bury(q *core.Queue, to core.DeadLetter, d queue.Dead, done func(error)) {
	l, blind, err := v.reopen(q.Name(), d.Record)
	if err != nil {
		v.log.Warn("dead letter dropped: not a message", "door", "amqp", "queue", q.Name(), "error", err)
		done(nil)
		return
	}
	reason := d.Reason.String()
	l.properties = broker.DeadLetter(l.properties, broker.Death{
		Queue: q.Name(), Reason: reason, Exchange: l.exchange, Keys: l.keys, Blind: blind, At: time.Now(),
	})
	l.exchange, l.keys = to.Exchange.V, broker.DeadLetterKeys(pointer(to.RoutingKey), l.keys)
	if !to.RoutingKey.Set {
		l.blind = blind
	}
	l.avoid = func(queue string) bool { return broker.Cycle(l.properties.Headers, queue, reason) }
	v.send(l, queue.Record{Priority: d.Priority}, done)
}

// reopen takes a record of queue apart, whatever door it came by.
func (v *vhost) reopen(queue string, record []byte) (l *letter, blind []string, err error) {
	e, err := core.OpenEnvelope(record)
	if err != nil {
		return nil, nil, err
	}
	var p parcel
	if e.Form == core.FormAMQP {
		p.exchange, p.key, p.properties, _ = splitProps(e.Props)
		blind = blindKeys(e.Props)
	} else {
		p = v.textParcel(queue, e)
	}
	l = &letter{exchange: string(p.exchange), reply: string(e.Reply), body: e.Data}
	if l.properties, err = wire.DecodeProperties(p.properties); err != nil {
		return nil, nil, err
	}
	l.keys = routedBy(string(p.key), &l.properties, blind)
	return l, blind, nil
}

// send routes l and calls done when its queues have it, each as r, whose data it fills in.
func (v *vhost) send(l *letter, r queue.Record, done func(error)) {
	properties := func() wire.Properties { return l.properties }
	var names []string
	for _, key := range l.keys {
		names = v.broker.RouteFrom(l.exchange, key, properties, names)
	}
	queues := v.lookUp(names, nil)
	if l.avoid != nil {
		kept := queues[:0]
		for _, q := range queues {
			if !l.avoid(q.Name()) {
				kept = append(kept, q)
			}
		}
		queues = kept
	}
	r.Data = l.record()
	for _, key := range l.keys {
		subject := exchangeSubject(l.exchange, key)
		if subject == "" {
			continue
		}
		queues = v.bus.Bound(subject, queues)
		if v.bus.Interest(subject) {
			v.sendLive(subject, r.Data)
		}
	}
	v.bus.Bury(distinct(queues), r, done)
}

func (v *vhost) sendLive(subject string, record []byte) {
	m, err := liveMessage(subject, record)
	if err == nil {
		err = v.bus.PublishLive(m)
	}
	if err != nil {
		v.log.Warn("dead letter not heard on the bus", "door", "amqp", "subject", subject, "error", err)
	}
}

// record is l as queues keep it.
func (l *letter) record() []byte {
	props := appendRoute(nil, []byte(l.exchange), []byte(l.keys[0]))
	props = l.properties.Append(appendBlind(props, l.blind))
	record := make([]byte, 0, len(props)+len(l.reply)+len(l.body)+16)
	return append(core.AppendEnvelope(record, core.FormAMQP, "", l.reply, props), l.body...)
}
