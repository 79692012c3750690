package core

import (
	"errors"
	"maps"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"

	"portico/core/queue"
)

// distribute gives m to the queues and to whoever listens, a stream among them.
func (t *tenant) distribute(m *Message, id queue.ID, queues []*Queue, done func(Receipt, error)) {
	receipt := Receipt{Queues: len(queues), Live: t.interest(m.Subject)}
	stream := ""
	if receipt.Live && m.Reply == "" {
		stream = t.streamOf(m.Subject)
	}
	size, err := t.enter(m, len(queues), stream)
	if err != nil {
		done(Receipt{}, err)
		return
	}
	if stream != "" || id != (queue.ID{}) {
		once := receipt // which stays on the stack otherwise
		t.distributeOnce(m, id, queues, stream, &once, func(r Receipt, err error) {
			t.gateway.underway.leave(size)
			done(r, err)
		})
		return
	}
	if receipt.Live {
		if err := t.publishLive(m, true); err != nil {
			t.gateway.underway.leave(size)
			done(Receipt{}, err)
			return
		}
	}
	t.keep(m, id, queues, func(_ bool, err error) {
		t.gateway.underway.leave(size)
		if err != nil {
			done(Receipt{}, err)
			return
		}
		done(receipt, nil)
	})
}

// distributeOnce is distribute of what has a name, or is for a stream.
func (t *tenant) distributeOnce(m *Message, id queue.ID, queues []*Queue, stream string, receipt *Receipt, done func(Receipt, error)) {
	named := id != queue.ID{} && len(queues) > 0
	fresh := !named || t.publishing.begin(id) && !repeats(id, queues)
	finish := func(duplicate bool, err error) {
		if named {
			t.publishing.end(id)
		}
		if err != nil {
			done(Receipt{}, err)
			return
		}
		receipt.Duplicate = duplicate
		done(*receipt, nil)
	}
	switch {
	case stream != "":
		t.distributeWithStream(m, id, queues, receipt, finish)
		return
	case !fresh:
		receipt.Live = false
	case receipt.Live:
		if err := t.publishLive(m, true); err != nil {
			finish(false, err)
			return
		}
	}
	t.keep(m, id, queues, finish)
}

// enter counts a message in that so many queues and a stream ("": none) are to keep. size is what underway counts.
func (t *tenant) enter(m *Message, queues int, stream string) (size int64, err error) {
	keepers := queues
	if stream != "" {
		keepers++
	}
	if err := t.accepts(keepers); err != nil {
		return 0, err
	}
	if queues > 0 {
		size = int64(len(m.Data))
	}
	return size, t.gateway.underway.enter(size)
}

// distributeWithStream is distribute where a stream keeps m too. Whether it has had m only the stream knows, so it gets m again, and with it those who listen. A publisher that expects something of
// the stream wants the queues to have m only if that is so.
func (t *tenant) distributeWithStream(m *Message, id queue.ID, queues []*Queue, receipt *Receipt, finish func(bool, error)) {
	both := &joint{done: finish, meaning: func(err error) error { return err }}
	both.left.Store(2)
	keep := func() { t.keep(m, id, queues, both.part) }
	first := expectsState(m.Header)
	if len(queues) == 0 {
		both.left.Store(1)
		keep = func() {}
	}
	t.publishToStream(spelled(m), true, func(a pubAck, err error) {
		receipt.Stream, receipt.Sequence = a.Stream, a.Sequence
		switch {
		case !first:
		case err == nil:
			keep()
		default:
			both.left.Store(1)
		}
		both.part(a.Duplicate, err)
	})
	if !first {
		keep()
	}
}

// spelled returns m with the names of headers that mean something to a stream as streams spell them: they know no other spelling.
func spelled(m *Message) *Message {
	var h Header
	for name, values := range m.Header {
		right := textproto.CanonicalMIMEHeaderKey(name)
		if right == "Nats-Ttl" {
			right = "Nats-TTL"
		}
		if name == right || !strings.HasPrefix(right, "Nats-") {
			continue
		}
		if h == nil {
			h = maps.Clone(m.Header)
		}
		delete(h, name)
		h[right] = values
	}
	if h == nil {
		return m
	}
	return &Message{Subject: m.Subject, Reply: m.Reply, Header: h, Data: m.Data}
}

// expectsState tells whether a publisher says what it thinks is the state of a stream.
func expectsState(h Header) bool {
	for name := range h {
		if hasPrefixFold(name, expectPrefix) {
			return true
		}
	}
	return false
}

// keep appends one record of m to all queues and calls done when all of them have it, with the first error if there was one; duplicate: all of them had it before. A queue that
// was deleted meanwhile counts as if the message had come a moment earlier.
func (t *tenant) keep(m *Message, id queue.ID, queues []*Queue, done func(duplicate bool, err error)) {
	if len(queues) == 0 {
		done(false, nil)
		return
	}
	record := SealRecord(m)
	record.ID = id
	if len(queues) == 1 {
		queues[0].AppendFunc(record, func(err error) {
			if errors.Is(err, queue.ErrDuplicate) {
				done(true, nil)
				return
			}
			done(false, appendError(err))
		})
		return
	}
	all := &joint{done: done, meaning: appendError}
	all.left.Store(int64(len(queues)))
	for _, q := range queues {
		q.AppendFunc(record, all.one)
	}
}

// joint calls done when all of several appends were answered.
type joint struct {
	done    func(duplicate bool, err error)
	meaning func(error) error // of a failed append to done
	left    atomic.Int64
	fresh   atomic.Bool // one was no duplicate
	again   atomic.Bool // one was

	mu  sync.Mutex
	err error // guarded by mu
}

// one takes the answer to an append.
func (j *joint) one(err error) {
	switch {
	case err == nil:
		j.fresh.Store(true)
	case errors.Is(err, queue.ErrDuplicate):
		j.again.Store(true)
	default:
		j.fail(j.meaning(err))
	}
	j.answered()
}

// part takes the answer to several.
func (j *joint) part(duplicate bool, err error) {
	if duplicate && err == nil {
		err = queue.ErrDuplicate
	}
	j.one(err)
}

func (j *joint) fail(err error) {
	if err == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err == nil {
		j.err = err
	}
}

func (j *joint) answered() {
	if j.left.Add(-1) == 0 {
		j.done(j.err == nil && j.again.Load() && !j.fresh.Load(), j.err) // all writers are done with it
	}
}

// appendError is what a failed append means to a publisher, who named no queue: one that has gone meanwhile is none it was bound to.
func appendError(err error) error {
	if err == nil || errors.Is(err, queue.ErrDeleted) {
		return nil
	}
	return appendFailed(err)
}

// appendFailed gives a failed append its code. What the store says is for the log alone: to the publisher the queue is not available now.
func appendFailed(err error) error {
	if e := AsError(err); e.Code != CodeInternal {
		return e
	}
	return &Error{Code: CodeUnavailable, Detail: "the queue could not keep the message", Err: err}
}
