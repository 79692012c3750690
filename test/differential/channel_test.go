package differential

import (
	"fmt"
	"slices"
	"time"

	"portico/adapters/amqp/wire"
)

// An event is a method that came on a channel, with its content if it has one.
type event struct {
	method wire.Method
	size   uint64 // of the body to come
	props  wire.Properties
	body   []byte
}

// asked tells whether the method answers a request; the others come when they like.
func (e event) asked() bool {
	switch e.method.ID() {
	case wire.IDBasicDeliver, wire.IDBasicReturn, wire.IDBasicAck, wire.IDBasicNack, wire.IDBasicCancel:
		return false
	}
	return true
}

// hasContent tells whether a header and body frames follow the method.
func (e event) hasContent() bool {
	switch e.method.ID() {
	case wire.IDBasicDeliver, wire.IDBasicReturn, wire.IDBasicGetOk:
		return true
	}
	return false
}

// A channel is one channel of a conn. When an error has closed it or its connection, the next operation opens it again under the same number.
type channel struct {
	conn       *conn
	id         uint16
	open       bool
	closed     string // how the server closed it, until it is opened again
	told       bool   // whether closed has been noted
	confirming bool   // confirm.select is said again after a reopening
	published  uint64 // since confirm.select
	settled    uint64 // the highest publish that is confirmed, all before it included
	events     []event
	partial    *event // its content is still coming
}

// forget is for a connection that begins anew.
func (ch *channel) forget() {
	ch.open, ch.events, ch.partial, ch.published, ch.settled = false, nil, nil, 0, 0
}

func (ch *channel) take(f wire.Frame) {
	switch f.Type {
	case wire.FrameMethod:
		ch.takeMethod(f)
	case wire.FrameHeader:
		ch.takeHeader(f)
	case wire.FrameBody:
		if ch.partial != nil {
			ch.partial.body = append(ch.partial.body, f.Payload...)
		}
	}
	if p := ch.partial; p != nil && f.Type != wire.FrameMethod && uint64(len(p.body)) >= p.size {
		ch.events = append(ch.events, *p)
		ch.partial = nil
	}
}

func (ch *channel) takeMethod(f wire.Frame) {
	m, err := wire.DecodeMethod(f.Payload)
	if err != nil {
		ch.conn.end("unreadable: " + err.Error())
		return
	}
	e := event{method: m}
	switch m := m.(type) {
	case *wire.ChannelClose:
		ch.conn.send(ch.id, &wire.ChannelCloseOk{})
		ch.open, ch.told, ch.partial = false, false, nil
		ch.closed = "channel " + closeText(m.ReplyCode, m.ReplyText, m.ClassID, m.MethodID)
	default:
		if e.hasContent() {
			ch.partial = &e
			return
		}
		ch.events = append(ch.events, e)
	}
}

func (ch *channel) takeHeader(f wire.Frame) {
	_, size, raw, err := wire.DecodeHeader(f.Payload)
	if err == nil && ch.partial != nil {
		ch.partial.size = size
		ch.partial.props, err = wire.DecodeProperties(raw)
	}
	if err != nil {
		ch.conn.end("unreadable: " + err.Error())
	}
}

// ready opens the channel, and its connection, if they are not open.
func (ch *channel) ready() {
	if ch.conn.ended != "" {
		ch.conn.dial(login{})
	}
	if ch.open || ch.conn.ended != "" {
		return
	}
	ch.closed = ""
	ch.events, ch.published, ch.settled = nil, 0, 0
	ch.open = true
	ch.roundTrip(&wire.ChannelOpen{})
	if ch.confirming {
		ch.roundTrip(&wire.ConfirmSelect{})
	}
}

// await takes the first event that is wanted, in the order of arrival; "" as the reason when there is one, else why there is none.
func (ch *channel) await(limit time.Time, wanted func(event) bool) (event, string) {
	for {
		if e, ok := ch.arrived(wanted); ok {
			return e, ""
		}
		if why := ch.over(); why != "" {
			return event{}, why
		}
		if !ch.conn.read(limit) && ch.over() == "" {
			return event{}, "nothing came"
		}
	}
}

// arrived takes the first event that is wanted out of those that are there.
func (ch *channel) arrived(wanted func(event) bool) (event, bool) {
	i := slices.IndexFunc(ch.events, wanted)
	if i < 0 {
		return event{}, false
	}
	e := ch.events[i]
	ch.events = slices.Delete(ch.events, i, i+1)
	return e, true
}

// over is why nothing more comes, or "".
func (ch *channel) over() string {
	switch {
	case ch.conn.ended != "":
		return ch.conn.ended
	case !ch.open && ch.closed == "":
		return "channel is not open"
	}
	return ch.closed
}

// roundTrip sends a method and waits for its answer. An error is reported as text.
func (ch *channel) roundTrip(m wire.Method) (event, string) {
	ch.conn.send(ch.id, m)
	return ch.await(time.Now().Add(patience), event.asked)
}

// barrier waits until everything sent on this channel has been seen to: "" unless it was an error.
func (ch *channel) barrier() string {
	_, why := ch.roundTrip(&wire.ChannelFlow{Active: true})
	return why
}

// confirmed waits for the confirms of publishes up to seq and returns them, with what was returned.
func (ch *channel) confirmed(seq uint64) (all []string) {
	limit := time.Now().Add(patience)
	for ch.settled < seq {
		e, why := ch.await(limit, isSettlement)
		if why != "" {
			return append(all, why)
		}
		switch m := e.method.(type) {
		case *wire.BasicReturn:
			all = append(all, returned(e))
		case *wire.BasicAck:
			all = ch.settle(all, "ack", m.DeliveryTag, m.Multiple)
		case *wire.BasicNack:
			all = ch.settle(all, "nack", m.DeliveryTag, m.Multiple)
		}
	}
	return all
}

// settle notes a confirm. Scripts wait for each publish before the next, or send a batch whose confirms come in order: another order is told.
func (ch *channel) settle(all []string, what string, tag uint64, multiple bool) []string {
	if !multiple && tag != ch.settled+1 {
		ch.settled++
		return append(all, fmt.Sprintf("%s of %d out of turn", what, tag))
	}
	for ; ch.settled < tag; ch.settled++ {
		all = append(all, what)
	}
	return all
}

func isSettlement(e event) bool {
	id := e.method.ID()
	return id == wire.IDBasicReturn || id == wire.IDBasicAck || id == wire.IDBasicNack
}

func isReturn(e event) bool { return e.method.ID() == wire.IDBasicReturn }

func isDelivery(e event) bool {
	id := e.method.ID()
	return id == wire.IDBasicDeliver || id == wire.IDBasicCancel
}
