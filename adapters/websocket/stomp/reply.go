package stomp

import (
	"crypto/rand"

	"portico/core"
)

// temp is a /temp-queue destination: an inbox on the bus that answers of any door come to. It lasts as long as the session.
type temp struct {
	destination  destination
	inbox        string
	subscription *core.Subscription
}

// inbox returns the subject of a temporary queue, made when it is named first.
func (s *Session) inbox(d destination) (string, error) {
	s.mu.Lock()
	x, n := s.temps[d.name], len(s.temps)
	s.mu.Unlock()
	if x != nil {
		return x.inbox, nil
	}
	if n >= maxTemps {
		return "", core.Errorf(core.CodeResourceExhausted, "the session has %d temporary queues, the most it may have", maxTemps)
	}
	x = &temp{destination: d, inbox: inboxPrefix + "stomp" + rand.Text()}
	sub, err := s.bus.Subscribe(x.inbox, "", func(m *core.Message) {
		s.out.Live(item{temp: x, message: m}, s.slow)
	})
	if err != nil {
		return "", err
	}
	x.subscription = sub
	s.mu.Lock()
	s.temps[d.name] = x
	s.mu.Unlock()
	return x.inbox, nil
}

// answerFrame is the MESSAGE for an answer: its subscription is the temporary queue's destination.
func (s *Session) answerFrame(x *temp, m *core.Message) *Frame {
	s.mu.Lock()
	s.lastTag++
	id := s.messageID(s.lastTag)
	s.mu.Unlock()
	fields := []Field{{"subscription", x.destination.text}, {"destination", x.destination.text}, {"message-id", id}, {"redelivered", "false"}}
	if reply := replyTo(m); reply != "" {
		fields = append(fields, Field{"reply-to", reply})
	}
	return &Frame{Command: "MESSAGE", Fields: outgoing(fields, m.Header), Body: m.Data}
}
