package stomp

import (
	"strconv"
	"strings"

	"portico/core"
	"portico/core/queue"
)

// held is a delivery that waits for its acknowledgement.
type held struct {
	sub    *subscription
	handle queue.Handle
}

// deliver queues a batch; called from the queue's goroutine.
func (x *subscription) deliver(batch []queue.Delivery) {
	s := x.session
	items := make([]item, 0, len(batch))
	s.mu.Lock()
	for _, d := range batch {
		s.lastTag++
		items = append(items, item{sub: x, record: d.Record, tag: s.lastTag, redelivered: d.Redelivered})
		if x.mode == ackAuto {
			continue
		}
		s.held[s.lastTag] = held{sub: x, handle: d.Handle}
		if x.mode == ackClient {
			x.pending = append(x.pending, s.lastTag)
		}
	}
	s.mu.Unlock()
	s.out.Push(items...)
}

// gone ends the session when a queue that it consumes has gone: the client waits for messages that cannot come. Called from the queue's goroutine.
func (x *subscription) gone(reason error) {
	s := x.session
	s.mu.Lock()
	open := s.subs[x.key] == x
	x.ended = reason
	s.mu.Unlock()
	if open {
		e := core.AsError(reason)
		s.fail("", core.Errorf(e.Code, "subscription %q has ended: %s", x.key, e.Detail))
	}
}

// room tells queues whether the session can take more deliveries; called from their goroutines.
func (s *Session) room() bool {
	if s.hasRoom() {
		return true
	}
	s.starved.Store(true)
	return s.hasRoom() // it may have come back before starved was seen
}

func (s *Session) hasRoom() bool {
	s.mu.Lock()
	n := len(s.held)
	s.mu.Unlock()
	return n < maxUnacked && s.out.HasRoom()
}

// unstarve wakes the consumers if one of them was told that there is no room, and there is again.
func (s *Session) unstarve() {
	if !s.starved.Load() || !s.hasRoom() || !s.starved.CompareAndSwap(true, false) {
		return
	}
	subs, _ := s.opened()
	for _, x := range subs {
		x.consumer.Wake()
	}
}

// messageID names a delivery: the session, so that no later one can settle it, and the tag.
func (s *Session) messageID(tag uint64) string { return s.id + "-" + strconv.FormatUint(tag, 10) }

// tagOf is the tag in a message id of this session.
func (s *Session) tagOf(id string) (uint64, bool) {
	digits, ours := strings.CutPrefix(id, s.id+"-")
	tag, err := strconv.ParseUint(digits, 10, 64)
	return tag, ours && err == nil
}

// messageFrame is the MESSAGE for a delivery.
func (s *Session) messageFrame(i *item, m *core.Message) *Frame {
	x := i.sub
	fields := make([]Field, 0, len(m.Header)+8)
	if x.id != "" {
		fields = append(fields, Field{"subscription", x.id})
	}
	id := s.messageID(i.tag)
	fields = append(fields, Field{"destination", x.destination.tell(m.Subject)}, Field{"message-id", id}, Field{"redelivered", strconv.FormatBool(i.redelivered)})
	if x.mode != ackAuto && s.speaks() == V12 {
		fields = append(fields, Field{"ack", id})
	}
	if reply := replyTo(m); reply != "" {
		fields = append(fields, Field{"reply-to", reply})
	}
	return &Frame{Command: "MESSAGE", Fields: outgoing(fields, m.Header), Body: m.Data}
}

// unwanted settles a message that only the queue's pattern matches, and not the destination's.
func (s *Session) unwanted(i *item, m *core.Message) bool {
	x := i.sub
	if x.exact || x.destination.kind != kindSubjects || x.destination.covers(m.Subject) {
		return false
	}
	if h, known := s.takeOne(i.tag); known {
		x.queue.Settle(queue.Ack, []queue.Handle{h.handle}, nil)
	}
	return true
}

// poisoned rejects a delivery that cannot be shown, so that it does not come back for ever.
func (s *Session) poisoned(tag uint64, err error) {
	s.log.Error("a record cannot be read and is rejected", "tag", tag, "err", err)
	if h, known := s.takeOne(tag); known {
		h.sub.queue.Settle(queue.Reject, []queue.Handle{h.handle}, nil)
	}
}
