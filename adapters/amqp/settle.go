package amqp

import (
	"portico/adapters/amqp/wire"
	"portico/core"
	"portico/core/queue"
)

// settlement is what a channel has gathered for one queue.
type settlement struct {
	queue   *core.Queue
	outcome queue.Outcome
	handles []queue.Handle
}

// gatherMost is how many settlements of one queue are gathered before they are handed over.
const gatherMost = 512

// settle acts on basic.ack, basic.nack and basic.reject. Settlements are gathered until the reader would block or a method
// comes whose order to them matters.
func (ch *channel) settle(o queue.Outcome, tag uint64, multiple bool) error {
	if ch.tx != nil {
		return ch.tx.settle(ch, o, tag, multiple)
	}
	ch.mu.Lock()
	ok := ch.unacked.take(tag, multiple, func(d delivered) { ch.gather(o, d) })
	ch.mu.Unlock()
	if !ok {
		return unknownTag(tag)
	}
	return nil
}

func unknownTag(tag uint64) error {
	return wire.ChanErrorf(wire.PreconditionFailed, "unknown delivery tag %d", tag)
}

// gather adds one settlement. The caller is the reader.
func (ch *channel) gather(o queue.Outcome, d delivered) {
	if len(ch.gathered) == 0 {
		ch.conn.dirty = append(ch.conn.dirty, ch)
	}
	if o == queue.Ack {
		ch.conn.tally.acks++
	}
	s := ch.settlementFor(d.to.queue, o)
	s.handles = append(s.handles, d.handle)
	if len(s.handles) >= gatherMost {
		s.queue.Settle(s.outcome, s.handles, nil)
		s.handles = s.handles[:0]
	}
}

func (ch *channel) settlementFor(q *core.Queue, o queue.Outcome) *settlement {
	for i := range ch.gathered {
		if s := &ch.gathered[i]; s.queue == q && s.outcome == o {
			return s
		}
	}
	n := len(ch.gathered)
	if n < cap(ch.gathered) {
		ch.gathered = ch.gathered[:n+1] // keeps the slice of handles that was there
		ch.gathered[n].queue, ch.gathered[n].outcome = q, o
	} else {
		ch.gathered = append(ch.gathered, settlement{queue: q, outcome: o})
	}
	return &ch.gathered[n]
}

// settleGathered hands what was gathered to the queues.
func (ch *channel) settleGathered() {
	for i := range ch.gathered {
		s := &ch.gathered[i]
		if len(s.handles) > 0 {
			s.queue.Settle(s.outcome, s.handles, nil)
		}
		s.queue, s.handles = nil, s.handles[:0]
		if cap(s.handles) > gatherMost {
			s.handles = nil
		}
	}
	ch.gathered = ch.gathered[:0]
}

// basicRecover returns everything unacknowledged to its queues [0-9-1 basic.recover; RMQ: requeue=false is 540].
func (ch *channel) basicRecover(requeue, answer bool) error {
	if !requeue {
		return wire.ConnErrorf(wire.NotImplemented, "requeue=false")
	}
	ch.mu.Lock()
	ch.unacked.take(0, true, func(d delivered) { ch.gather(queue.Requeue, d) })
	ch.mu.Unlock()
	ch.conn.settleAll()
	if answer {
		ch.send(&wire.BasicRecoverOk{})
	}
	return nil
}
