package amqp

import (
	"sync"

	"portico/adapters/amqp/wire"
	"portico/core/queue"
)

// channel is one channel. A new one is made each time its number is opened.
type channel struct {
	// immutable
	conn *conn
	id   uint16

	// owned by the reader
	closing   bool          // channel.close was sent: everything but the answer is swallowed
	current   wire.MethodID // for error replies
	in        content
	lastQueue string // what an empty queue name means
	prefetch  int    // of consumers to come; 0: no limit
	limit     *queue.Limit
	global    bool // a channel-wide prefetch is set
	tx        *transaction
	holders   map[string]*consumer // who holds what basic.get took, by queue
	gathered  []settlement
	reply     *replyConsumer
	answersTo struct{ queue, inbox string } // the last reply_to that named a queue

	ledger ledger
	shown  shown // for listings

	// guarded by mu
	mu        sync.Mutex
	ended     bool
	tag       uint64 // the last delivery tag
	unacked   unacked
	consumers map[string]*consumer
}

func newChannel(c *conn, id uint16) *channel {
	ch := &channel{conn: c, id: id}
	ch.ledger.init(c, id)
	return ch
}

// handle acts on one frame of this channel.
func (ch *channel) handle(f wire.Frame) error {
	if ch.closing {
		return ch.swallow(f)
	}
	switch f.Type {
	case wire.FrameMethod:
		if ch.in.stage != betweenMessages {
			return wire.ConnErrorf(wire.UnexpectedFrame, "expected content %s, got method frame instead", ch.in.stage)
		}
		return ch.method(f.Payload)
	case wire.FrameHeader:
		if ch.in.stage != beforeHeader {
			return wire.ConnErrorf(wire.UnexpectedFrame, "expected %s frame, got content header frame instead", ch.in.stage)
		}
		return ch.header(f.Payload)
	default:
		if ch.in.stage != inBody {
			return wire.ConnErrorf(wire.UnexpectedFrame, "expected %s frame, got content body frame instead", ch.in.stage)
		}
		return ch.body(f.Payload)
	}
}

// swallow waits for the end of a channel that the server has closed [RMQ: late frames are ignored].
func (ch *channel) swallow(f wire.Frame) error {
	if f.Type != wire.FrameMethod {
		return nil
	}
	switch id, _ := wire.PeekMethod(f.Payload); id {
	case wire.IDChannelClose:
		ch.conn.send(ch.id, &wire.ChannelCloseOk{})
		ch.conn.dropChannel(ch)
	case wire.IDChannelCloseOk:
		ch.conn.dropChannel(ch)
	}
	return nil
}

// method acts on a method frame. The methods of every message go around the structs.
func (ch *channel) method(payload []byte) error {
	id, _ := wire.PeekMethod(payload)
	ch.current = id
	switch id {
	case wire.IDBasicPublish:
		return ch.basicPublish(payload)
	case wire.IDBasicAck:
		tag, multiple, err := wire.DecodeAck(payload)
		if err != nil {
			return err
		}
		return ch.settle(queue.Ack, tag, multiple)
	case wire.IDBasicNack:
		tag, multiple, requeue, err := wire.DecodeNack(payload)
		if err != nil {
			return err
		}
		return ch.settle(refusal(requeue), tag, multiple)
	case wire.IDBasicReject:
		tag, requeue, err := wire.DecodeReject(payload)
		if err != nil {
			return err
		}
		return ch.settle(refusal(requeue), tag, false)
	}
	m, err := wire.DecodeMethod(payload)
	if err != nil {
		return err
	}
	ch.conn.settleAll()
	if err := ch.dispatch(m); err != nil {
		return err
	}
	ch.shown.note(m)
	return nil
}

func refusal(requeue bool) queue.Outcome {
	if requeue {
		return queue.Requeue
	}
	return queue.Reject
}

// dispatch is the list of what a client may ask for on a channel.
func (ch *channel) dispatch(m wire.Method) error {
	switch m := m.(type) {
	case *wire.ChannelOpen:
		return wire.ConnErrorf(wire.ChannelError, "second 'channel.open' seen")
	case *wire.ChannelClose:
		return ch.channelClose()
	case *wire.ChannelCloseOk:
		return nil
	case *wire.ChannelFlow:
		return ch.channelFlow(m)
	case *wire.ChannelFlowOk:
		return nil
	case *wire.AccessRequest:
		ch.send(&wire.AccessRequestOk{Ticket: 1})
		return nil
	case *wire.ExchangeDeclare:
		return ch.exchangeDeclare(m)
	case *wire.ExchangeDelete:
		return ch.exchangeDelete(m)
	case *wire.ExchangeBind:
		return ch.exchangeBind(m)
	case *wire.ExchangeUnbind:
		return ch.exchangeUnbind(m)
	case *wire.QueueDeclare:
		return ch.queueDeclare(m)
	case *wire.QueueBind:
		return ch.queueBind(m)
	case *wire.QueueUnbind:
		return ch.queueUnbind(m)
	case *wire.QueuePurge:
		return ch.queuePurge(m)
	case *wire.QueueDelete:
		return ch.queueDelete(m)
	case *wire.ConfirmSelect:
		return ch.confirmSelect(m)
	case *wire.TxSelect:
		return ch.txSelect()
	case *wire.TxCommit:
		return ch.txCommit()
	case *wire.TxRollback:
		return ch.txRollback()
	}
	return ch.dispatchBasic(m)
}

func (ch *channel) dispatchBasic(m wire.Method) error {
	switch m := m.(type) {
	case *wire.BasicQos:
		return ch.basicQos(m)
	case *wire.BasicConsume:
		return ch.basicConsume(m)
	case *wire.BasicCancel:
		return ch.basicCancel(m)
	case *wire.BasicCancelOk:
		return nil
	case *wire.BasicGet:
		return ch.basicGet(m)
	case *wire.BasicRecover:
		return ch.basicRecover(m.Requeue, true)
	case *wire.BasicRecoverAsync:
		return ch.basicRecover(m.Requeue, false)
	}
	return wire.ConnErrorf(wire.CommandInvalid, "unimplemented method %s", m.Name())
}

// send appends one method frame on this channel.
func (ch *channel) send(m wire.Method) { ch.conn.send(ch.id, m) }

// answer sends m unless the client did not want to wait for it.
func (ch *channel) answer(noWait bool, m wire.Method) {
	if !noWait {
		ch.send(m)
	}
}

// channelClose is the client's channel.close: what it holds is back in its queues before close-ok.
func (ch *channel) channelClose() error {
	ch.end()
	ch.send(&wire.ChannelCloseOk{})
	ch.conn.dropChannel(ch)
	return nil
}

// channelFlow answers channel.flow; a client cannot stop deliveries [RMQ: active=false is 540].
func (ch *channel) channelFlow(m *wire.ChannelFlow) error {
	if !m.Active {
		return wire.ConnErrorf(wire.NotImplemented, "active=false")
	}
	ch.send(&wire.ChannelFlowOk{Active: true})
	return nil
}

// end stops deliveries and confirms on this channel and returns what it holds. Nothing is sent on it afterwards but
// channel.close or close-ok. It may be called more than once.
func (ch *channel) end() {
	ch.conn.settleAll()
	ch.ledger.close()
	ch.tx.abandon(ch)
	ch.mu.Lock()
	ended := ch.ended
	ch.ended = true
	consumers := ch.consumers
	ch.unacked.take(0, true, func(d delivered) {
		if d.to.cancelled {
			ch.gather(queue.Requeue, d) // the others return what they hold when they are closed
		}
	})
	ch.consumers, ch.unacked = nil, unacked{}
	ch.mu.Unlock()
	if ended {
		return
	}
	ch.conn.settleAll()
	ch.endReply()
	for _, k := range consumers {
		k.unwatch()
		ch.conn.unregister(k)
		k.source.Close()
		ch.conn.bus.DeleteIdle(k.queue)
	}
	for _, k := range ch.holders {
		k.source.Close()
	}
	ch.conn.partial -= ch.in.arrived()
	ch.holders, ch.tx, ch.in = nil, nil, content{}
}

func (ch *channel) vhost() *vhost { return ch.conn.vhost }
