package stomp

import (
	"slices"

	"portico/core"
	"portico/core/queue"
)

// settle acts on ACK and NACK; done is called once when the queue has the settlement on disk, or has not, unless an error is returned.
func (s *Session) settle(f *Frame, done func(error)) error {
	requeue, err := f.flag("requeue", true)
	if err != nil {
		return err
	}
	outcome := queue.Ack
	switch {
	case f.Command == "ACK":
	case s.speaks() == V10:
		return core.Errorf(core.CodeInvalid, "STOMP 1.0 has no NACK")
	case requeue:
		outcome = queue.Requeue
	default:
		outcome = queue.Reject
	}
	tag, err := s.settled(f)
	if err != nil {
		return err
	}
	release, err := s.hold(0)
	if err != nil {
		return err
	}
	x, handles, err := s.take(f, tag)
	if err != nil {
		release()
		return err
	}
	x.queue.Settle(outcome, handles, func(err error) {
		if err == nil && outcome == queue.Ack {
			s.server.metrics.Acks.Add(float64(len(handles)))
		}
		done(err)
		release()
	})
	s.unstarve()
	return nil
}

// settled is the tag that a frame names: by id in 1.2, by message-id before.
func (s *Session) settled(f *Frame) (uint64, error) {
	name := "message-id"
	if s.speaks() == V12 {
		name = "id"
	}
	id, there := f.Lookup(name)
	if !there {
		return 0, core.Errorf(core.CodeInvalid, "%s without %s", f.Command, name)
	}
	tag, ok := s.tagOf(id)
	if !ok {
		return 0, core.Errorf(core.CodeNotFound, "%s of %.64q, which is no message of this session", f.Command, id)
	}
	return tag, nil
}

// take takes a tag out of what is held, and with ack:client all before it that came by the same subscription.
func (s *Session) take(f *Frame, tag uint64) (*subscription, []queue.Handle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, known := s.held[tag]
	if !known {
		return nil, nil, core.Errorf(core.CodePreconditionFailed, "%s of a message that is not held: it is settled already, or was not to be acknowledged", f.Command)
	}
	x := h.sub
	if id, named := f.Lookup("subscription"); named && s.speaks() == V11 && id != x.id {
		return nil, nil, core.Errorf(core.CodeInvalid, "%s: the message came by subscription %.64q, not %.64q", f.Command, x.id, id)
	}
	if x.mode != ackClient {
		delete(s.held, tag)
		return x, []queue.Handle{h.handle}, nil
	}
	n, _ := slices.BinarySearch(x.pending, tag)
	handles := make([]queue.Handle, 0, n+1)
	for _, t := range x.pending[:min(n+1, len(x.pending))] {
		if h, known := s.held[t]; known {
			handles = append(handles, h.handle)
			delete(s.held, t)
		}
	}
	x.pending = slices.Delete(x.pending, 0, min(n+1, len(x.pending)))
	return x, handles, nil
}

// takeOne takes one tag out of what is held.
func (s *Session) takeOne(tag uint64) (held, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, known := s.held[tag]
	delete(s.held, tag)
	if known && h.sub.mode == ackClient {
		if i, there := slices.BinarySearch(h.sub.pending, tag); there {
			h.sub.pending = slices.Delete(h.sub.pending, i, i+1)
		}
	}
	return h, known
}
