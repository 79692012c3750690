package core

import (
	"errors"
	"strconv"
	"time"

	"portico/core/queue"
)

// DeadLetter says where dead records go; at most one is set. Neither: they are removed. A queue that does not exist (any more) drops them, as RabbitMQ
// does. Delivery is at least once: a record leaves its queue when the other has it, so after a failure between the two it may be in both.
type DeadLetter struct {
	Queue   string `json:"queue,omitempty"`
	Subject string `json:"subject,omitempty"`
}

// bury returns the engine's dead-letter function for a queue.
func (t *tenant) bury(cfg *QueueConfig) func(queue.Dead, func(error)) {
	switch {
	case cfg.DeadLetter.Queue != "":
		return func(d queue.Dead, done func(error)) { t.buryInQueue(cfg, d, done) }
	case cfg.DeadLetter.Subject != "":
		return func(d queue.Dead, done func(error)) { t.buryOnSubject(cfg, d, done) }
	}
	return nil
}

func (t *tenant) buryInQueue(cfg *QueueConfig, d queue.Dead, done func(error)) {
	target := t.queues.lookup(cfg.DeadLetter.Queue)
	if target == nil {
		done(nil)
		return
	}
	record, err := t.deathCertificate(cfg.Name, d)
	if err != nil {
		done(err)
		return
	}
	target.AppendFunc(record, func(err error) {
		if errors.Is(err, queue.ErrDeleted) {
			err = nil
		}
		done(err)
	})
}

func (t *tenant) buryOnSubject(cfg *QueueConfig, d queue.Dead, done func(error)) {
	m, err := t.gateway.Message(d.Record)
	if err != nil {
		done(err)
		return
	}
	m = &Message{Subject: cfg.DeadLetter.Subject, Header: withDeath(m.Header, cfg.Name, d), Data: m.Data}
	queues, _ := t.route(m, nil)
	if t.interest(m.Subject) {
		if err := t.publishLive(m, false); err != nil {
			done(err)
			return
		}
	}
	t.keep(m, queues, done)
}

// deathCertificate returns a dead record with the circumstances added, in its own form.
func (t *tenant) deathCertificate(name string, d queue.Dead) ([]byte, error) {
	e, err := OpenEnvelope(d.Record)
	if err != nil {
		return nil, err
	}
	props := e.Props
	if e.Form == FormText {
		h, err := DecodeHeader(e.Props)
		if err != nil {
			return nil, err
		}
		props = AppendHeader(nil, withDeath(h, name, d))
	} else if m, ok := t.gateway.translators.of(e.Form).(DeathTranslator); ok {
		props = m.Death(e.Props, name, d.Reason.String(), d.Count, time.Now())
	}
	record := make([]byte, 0, len(d.Record)+len(props)-len(e.Props)+8)
	record = AppendEnvelope(record, e.Form, string(e.Subject), string(e.Reply), props)
	return append(record, e.Data...), nil
}

// withDeath returns h, which is its own, with the death headers.
func withDeath(h Header, name string, d queue.Dead) Header {
	if h == nil {
		h = Header{}
	}
	h.Set(HeaderDeathReason, d.Reason.String())
	h.Set(HeaderDeathQueue, EncodeKey(name)) // a queue's name may be any bytes, a header value may not
	h.Set(HeaderDeathCount, strconv.FormatUint(uint64(d.Count), 10))
	return h
}
