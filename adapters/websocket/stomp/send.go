package stomp

import (
	"time"

	"portico/core"
)

// send acts on SEND; done is called once when everybody who keeps the message has it, or it failed, unless an error is returned.
func (s *Session) send(f *Frame, done func(error)) error {
	d, err := parseDestination(f.Get("destination"))
	if err != nil {
		return err
	}
	m := &core.Message{Header: incoming(f), Data: f.Body}
	if err := s.wantAnswer(m, f.Get("reply-to")); err != nil {
		return err
	}
	var queue *core.Queue
	switch d.kind {
	case kindTemp:
		return core.Errorf(core.CodeInvalid, "%s: a temporary queue is named in reply-to, and sent to by the /reply-queue/ that its messages carry", d.text)
	case kindQueue:
		queue, err = s.queueFor(f, d.name)
	case kindAMQQueue:
		queue, err = s.bus.Queue(d.name)
	case kindReply:
		m.Subject = d.name
	default:
		m.Subject = d.subject()
	}
	if err != nil {
		return err
	}
	return s.publish(queue, m, done)
}

// queueFor finds the queue, or makes it as f describes it.
func (s *Session) queueFor(f *Frame, name string) (*core.Queue, error) {
	if q := s.bus.Lookup(name); q != nil && !described(f) {
		return s.bus.Queue(name)
	}
	cfg, err := describe(f, name, true)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.bus.DeclareQueue(s.ctx, cfg); err != nil {
		return nil, err
	}
	return s.bus.Queue(name)
}

// publish hands m to a queue, or to the bus if there is none.
func (s *Session) publish(queue *core.Queue, m *core.Message, done func(error)) error {
	release, err := s.hold(len(m.Data))
	if err != nil {
		return err
	}
	start, d := time.Now(), s.server.metrics
	after := func(_ core.Receipt, err error) {
		if err == nil {
			d.In.Inc()
			d.BytesIn.Add(float64(len(m.Data)))
			d.PublishSeconds.Observe(time.Since(start).Seconds())
		}
		done(err) // before release: what waits for the window finds the receipt queued
		release()
	}
	if queue == nil {
		s.bus.PublishAsync(m, after)
	} else {
		s.bus.Append(queue, m, after)
	}
	return nil
}

// wantAnswer makes m ask for an answer at the place that a reply-to names: a subject if it has one, else a header for clients that know queues.
func (s *Session) wantAnswer(m *core.Message, text string) error {
	if text == "" {
		return nil
	}
	d, unknown := parseDestination(text)
	if unknown != nil { // whatever it is, both ends know
		d = destination{kind: kindAMQQueue, name: text}
	}
	var err error
	switch d.kind {
	case kindQueue, kindAMQQueue:
		m.Header[core.HeaderReplyTo] = []string{d.name}
	case kindTemp:
		m.Reply, err = s.inbox(d)
	case kindReply:
		m.Reply = d.name
	case kindSubjects:
		m.Reply = d.subject()
	}
	return err
}
