package core

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"portico/core/queue"
)

// bury returns the engine's dead-letter function for a queue.
func (t *tenant) bury(q *Queue, to DeadLetter) func(queue.Dead, func(error)) {
	switch {
	case to.Queue != "":
		return func(d queue.Dead, done func(error)) { t.buryInQueue(q, to.Queue, d, done) }
	case to.Subject != "":
		return func(d queue.Dead, done func(error)) { t.buryOnSubject(q, to.Subject, d, done) }
	case to.Exchange.Set:
		return func(d queue.Dead, done func(error)) { t.buryInExchange(q, to, d, done) }
	}
	return nil
}

func (t *tenant) buryInExchange(q *Queue, to DeadLetter, d queue.Dead, done func(error)) {
	r := t.currentRouter()
	if r == nil { // not yet, or no longer
		done(Errorf(CodeUnavailable, "nobody knows exchanges"))
		return
	}
	r.Bury(q, to, d, done)
}

func (t *tenant) buryInQueue(q *Queue, to string, d queue.Dead, done func(error)) {
	target := t.queues.lookup(to)
	if target == nil {
		done(nil)
		return
	}
	record, err := t.deathCertificate(q.config.Name, d)
	if err != nil {
		done(err)
		return
	}
	target.AppendFunc(queue.Record{Data: record, Priority: d.Priority}, func(err error) { done(deadLetterError(err)) })
}

// deadLetterError is what a failed append of a dead letter means: a queue that has gone, or that refuses what is above its limit, does not want it.
func deadLetterError(err error) error {
	if errors.Is(err, queue.ErrDeleted) || errors.Is(err, queue.ErrOverflow) {
		return nil
	}
	return err
}

// Bury appends a dead letter to queues, as Router.Bury has to: done is called when all have it. A queue that has gone, or that refuses what is above its limit, does not
// count.
func (b *Bus) Bury(queues []*Queue, r queue.Record, done func(error)) {
	if len(queues) == 0 {
		done(nil)
		return
	}
	r.ID = queue.ID{} // it may come again, by another way
	all := &joint{done: func(_ bool, err error) { done(err) }, meaning: deadLetterError}
	all.left.Store(int64(len(queues)))
	for _, q := range queues {
		q.AppendFunc(r, all.one)
	}
}

func (t *tenant) buryOnSubject(q *Queue, subject string, d queue.Dead, done func(error)) {
	m, err := t.gateway.Message(d.Record)
	if err != nil {
		done(err)
		return
	}
	m = &Message{Subject: subject, Header: withDeath(m.Header, q.config.Name, d), Data: m.Data}
	queues, _ := t.route(m, nil)
	keep := func(err error) {
		if err != nil {
			done(err)
			return
		}
		t.keep(m, queue.ID{}, queues, func(_ bool, err error) { done(err) })
	}
	switch live := unnamed(m); {
	case !t.interest(subject):
		keep(nil)
	case t.streamOf(subject) == "":
		keep(t.publishLive(live, false))
	default:
		t.publishToStream(live, false, func(_ pubAck, err error) { keep(streamGraveError(err)) })
	}
}

// unnamed returns m without what makes a stream refuse it as one that it has had, or at that moment: it died, and comes by another way.
func unnamed(m *Message) *Message {
	h := Header{}
	for name, values := range m.Header {
		if !strings.EqualFold(name, headerMsgID) && !hasPrefixFold(name, expectPrefix) {
			h[name] = values
		}
	}
	return &Message{Subject: m.Subject, Header: h, Data: m.Data}
}

// streamGraveError is what a stream's refusal of a dead letter means: one that is full, or does not take what is as large, does not want it.
func streamGraveError(err error) error {
	if err == nil {
		return nil
	}
	if code := AsError(err).Code; code == CodeUnavailable || errors.Is(err, errManyAcks) {
		return err
	}
	return nil
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
	if x := h.Get(HeaderExpiration); x != "" { // it would die of it again
		h.Del(HeaderExpiration)
		h.Set(HeaderOriginalExpiration, x)
	}
	h.Set(HeaderDeathReason, d.Reason.String())
	h.Set(HeaderDeathQueue, EncodeKey(name)) // a queue's name may be any bytes, a header value may not
	h.Set(HeaderDeathCount, strconv.FormatUint(uint64(d.Count), 10))
	return h
}
