package jslog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"

	"portico/core/queue"
)

// patience is how many ticks in a row without an answer are a timeout.
const patience = 4

// phase says what may be done with a log's stream.
type phase uint8

const (
	live     phase = iota // next is where the stream stands
	stale                 // something failed: nobody knows where it stands, and nobody asked
	learning              // relearn is asking
	ended                 // closed or fenced: fate says which
)

// streamLog is the log of one queue, a queue.Log.
type streamLog struct {
	// immutable
	s       *Store
	name    string
	id      string
	stream  string
	subject string
	writer  string // starts the ids of our entries; another for every Open

	// guarded by mu
	mu      sync.Mutex
	phase   phase
	fate    error  // refuses appends when set: closing, closed or fenced
	epoch   string // last token of the subject that answers are expected on
	epochs  uint64
	acked   uint64 // last sequence number known to be ours and written
	next    uint64 // the sequence number predicted for the last append sent
	pending []pendingAppend
	head    int // pending[head:] is unanswered
	sent    int // so many of those are under way
	sentLen int // bytes of them
	msg     nats.Msg
	waits   int  // ticks without an answer
	moved   bool // an answer came, or the first append left, since the last tick
	untold  int  // appends whose done has not returned
	trim    trim
	quiet   sync.Cond // signalled when untold comes to 0, and after every turn of trimming
}

// pendingAppend is an append without answer, or one refused that waits for its turn to be told.
type pendingAppend struct {
	entry   []byte
	done    func(uint64, error)
	refused error
}

func newStreamLog(s *Store, name, id, hash string, last uint64) *streamLog {
	l := &streamLog{s: s, name: name, id: id, stream: streamPrefix + hash, subject: subjectPrefix + hash, writer: token() + ".", acked: last, next: last}
	l.quiet.L = &l.mu
	l.msg = nats.Msg{Subject: l.subject, Header: nats.Header{}}
	l.nextEpoch()
	return l
}

// nextEpoch makes answers to earlier appends strangers. mu is held.
func (l *streamLog) nextEpoch() {
	l.epochs++
	l.epoch = strconv.FormatUint(l.epochs, 36)
	l.msg.Reply = l.s.answers + l.id + "." + l.epoch
}

// Append implements queue.Log. It sends at once up to a window and keeps the rest, up to maxWaiting, for later; more are refused with ErrBusy. done must not block.
func (l *streamLog) Append(entry []byte, done func(seq uint64, err error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	refused := l.refusal(len(entry))
	if refused != nil {
		entry = nil
	}
	l.untold++
	l.moved = l.moved || len(l.pending) == l.head
	l.pending = append(l.pending, pendingAppend{entry, done, refused})
	l.passRefused()
	l.send()
}

// refusal says why an entry of n bytes cannot be appended. mu is held.
func (l *streamLog) refusal(n int) error {
	switch {
	case l.fate != nil:
		return l.fate
	case n > l.s.opts.MaxEntry:
		return fmt.Errorf("%w: %d bytes of %d", ErrTooLarge, n, l.s.opts.MaxEntry)
	case len(l.pending)-l.head >= maxWaiting:
		return ErrBusy
	}
	return l.s.failure()
}

// send sends what the window has room for. mu is held.
func (l *streamLog) send() {
	for l.head+l.sent < len(l.pending) {
		p := &l.pending[l.head+l.sent]
		if l.phase == stale {
			l.phase = learning
			if !l.s.spawn(l.relearn) {
				l.fail(queue.ErrClosed, stale)
			}
		}
		if l.phase != live || l.sent >= maxWindow || l.sent > 0 && l.sentLen+len(p.entry) > maxWindowLen {
			return
		}
		l.sent++
		l.sentLen += len(p.entry)
		if p.refused != nil {
			continue
		}
		if err := l.publish(p.entry); err != nil {
			err = fmt.Errorf("%w: %w", ErrUnavailable, err)
			l.fail(err, stale)
			l.s.report(err)
		}
	}
}

// publish sends an entry with the conditions that it is written under: behind sequence number next, and, if that is not known to be ours yet, behind our entry there. mu is held.
func (l *streamLog) publish(entry []byte) error {
	h := l.msg.Header
	if delete(h, expectedID); l.next > l.acked {
		h[expectedID] = h[entryID]
	}
	h[expectedLast] = []string{strconv.FormatUint(l.next, 10)}
	l.next++
	h[entryID] = []string{l.writer + strconv.FormatUint(l.next, 36)}
	l.msg.Data = entry
	return l.s.nc.PublishMsg(&l.msg)
}

// answered takes the server's answer to the oldest append under way.
func (l *streamLog) answered(epoch string, m *nats.Msg) {
	defer l.s.tell(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	if epoch != l.epoch || l.sent == 0 {
		return
	}
	seq, err := parseAnswer(m)
	switch {
	case errors.Is(err, queue.ErrFenced):
		l.fence(err)
	case err == nil && seq != l.acked+1:
		err = fmt.Errorf("%w: answer for %d instead of %d", ErrUnavailable, seq, l.acked+1)
		fallthrough
	case err != nil:
		l.fail(err, stale)
		l.s.report(err)
	default:
		l.acked, l.moved = seq, true
		l.pop(seq, nil)
		l.passRefused()
		l.send()
	}
}

// pop answers the oldest append. mu is held.
func (l *streamLog) pop(seq uint64, err error) {
	p := l.pending[l.head]
	l.pending[l.head] = pendingAppend{}
	l.head++
	if l.sent > 0 {
		l.sent--
		l.sentLen -= len(p.entry)
	}
	switch {
	case l.head == len(l.pending):
		l.pending, l.head = l.pending[:0], 0
	case l.head >= maxWindow && 2*l.head >= len(l.pending):
		n := copy(l.pending, l.pending[l.head:])
		clear(l.pending[n:])
		l.pending, l.head = l.pending[:n], 0
	}
	l.s.finish(outcome{log: l, done: p.done, seq: seq, err: err})
}

// passRefused answers appends that were refused and have become the oldest. mu is held.
func (l *streamLog) passRefused() {
	for l.head < len(l.pending) && l.pending[l.head].refused != nil {
		l.pop(0, l.pending[l.head].refused)
		l.s.tell(false)
	}
}

// fail answers everything unanswered with err, or with its own refusal, and leaves the log in a phase. mu is held.
func (l *streamLog) fail(err error, next phase) {
	for l.head < len(l.pending) {
		if refused := l.pending[l.head].refused; refused != nil {
			l.pop(0, refused)
			continue
		}
		l.pop(0, err)
	}
	if l.phase != ended {
		l.phase = next
	}
	l.nextEpoch()
	l.s.tell(false)
}

// fence ends the log for good: somebody else writes it. mu is held.
func (l *streamLog) fence(err error) {
	if l.phase != ended {
		l.fate = err
	}
	l.trim = trim{}
	l.fail(err, ended)
}

// end fails what is unanswered and refuses everything from now on.
func (l *streamLog) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fate == nil || errors.Is(l.fate, queue.ErrClosed) {
		l.fate = err
	}
	l.fail(err, ended)
}

// interrupted fails what is under way because the connection broke; what waits for relearn goes on waiting.
func (l *streamLog) interrupted(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phase == live {
		l.fail(err, stale)
	}
}

// tick fails what is under way when no answer has come for a while.
func (l *streamLog) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waits++; l.moved || l.sent == 0 {
		l.waits, l.moved = 0, false
	}
	if l.waits >= patience {
		err := fmt.Errorf("%w within %v", ErrUnavailable, l.s.opts.AckTimeout)
		l.waits = 0
		l.fail(err, stale)
		l.s.report(err)
	}
}

// told counts a done that has returned.
func (l *streamLog) told() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.untold--; l.untold == 0 {
		l.quiet.Broadcast()
	}
}

// Close implements queue.Log: no more appends (queue.ErrClosed), those under way are answered and told, what was to be trimmed is trimmed if it takes no
// longer than Options.AckTimeout, or with drop the stream is deleted. It must not be called from a done. Closing again does nothing but drop.
func (l *streamLog) Close(drop bool) error {
	l.mu.Lock()
	if l.fate == nil {
		l.fate = queue.ErrClosed
	}
	for l.untold > 0 {
		l.quiet.Wait()
	}
	if drop {
		l.trim = trim{}
	}
	l.awaitTrim()
	l.mu.Unlock()
	l.end(queue.ErrClosed)
	l.s.logs.Delete(l.id)
	if !drop {
		return nil
	}
	return l.s.Drop(context.Background(), l.name)
}
