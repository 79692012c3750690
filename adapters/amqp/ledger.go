package amqp

import (
	"errors"
	"sync"
	"time"

	"portico/adapters/amqp/wire"
	"portico/core/queue"
)

// ledger keeps what a channel has published until all its queues have answered: it gives the connection's window back, and in
// confirm mode tells the client. It is the queues' queue.Publisher; tags are numbers in order of publishing, from 1.
type ledger struct {
	// immutable
	conn    *conn
	channel uint16

	// guarded by mu
	mu         sync.Mutex
	closed     bool // nothing is sent any more
	confirming bool
	before     uint64 // publishes made before confirm.select: the delivery tag is the number less this
	next       uint64 // number of the next publish
	first      uint64 // number of the first publish in ring
	ring       []entry
	settled    []uint64 // scratch of Appended
	sample     uint64   // the publish whose time is taken; 0: none
	sampled    time.Time
}

// entry is one publish. Its place in ring is its number modulo the length.
type entry struct {
	size   uint32
	left   int32 // queues that have not answered; fewer than any int32
	failed bool
}

// The ledger takes the time of one publish in sampleEvery, and keeps a ring of up to ringKept places when it is empty.
const (
	sampleEvery = 64
	ringFirst   = 16
	ringKept    = 1024
)

func (l *ledger) init(c *conn, channel uint16) {
	l.conn, l.channel, l.next, l.first = c, channel, 1, 1
}

// open enters a publish of size bytes to n queues, at least one, and returns its number.
func (l *ledger) open(n, size int) uint64 {
	l.mu.Lock()
	seq := l.enter(entry{size: uint32(size), left: int32(n)})
	if l.sample == 0 && seq%sampleEvery == 0 {
		l.sample, l.sampled = seq, time.Now()
	}
	l.mu.Unlock()
	l.conn.window.take(int64(size))
	return seq
}

// skip enters a publish that no queue takes; it is confirmed at once [RMQ: unroutable messages are acked].
func (l *ledger) skip() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.confirming {
		return
	}
	l.settled = append(l.settled[:0], l.enter(entry{}))
	l.advance()
}

func (l *ledger) enter(e entry) uint64 {
	if n := l.next - l.first; n == uint64(len(l.ring)) {
		l.grow()
	}
	seq := l.next
	l.next++
	l.ring[seq&uint64(len(l.ring)-1)] = e
	return seq
}

func (l *ledger) grow() {
	ring := make([]entry, max(2*len(l.ring), ringFirst))
	for seq := l.first; seq < l.next; seq++ {
		ring[seq&uint64(len(ring)-1)] = l.ring[seq&uint64(len(l.ring)-1)]
	}
	l.ring = ring
}

func (l *ledger) at(seq uint64) *entry { return &l.ring[seq&uint64(len(l.ring)-1)] }

// Appended implements queue.Publisher.
func (l *ledger) Appended(tags []uint64, err error) {
	failed := err != nil && !errors.Is(err, queue.ErrDeleted) // a deleted queue keeps nothing, and that is as it should be
	var count, bytes int64
	l.mu.Lock()
	l.settled = l.settled[:0]
	for _, seq := range tags {
		e := l.at(seq)
		e.failed = e.failed || failed
		if e.left--; e.left > 0 {
			continue
		}
		count++
		bytes += int64(e.size)
		l.settled = append(l.settled, seq)
	}
	if count > 0 {
		l.advance()
	}
	l.mu.Unlock()
	if count > 0 {
		l.conn.window.give(count, bytes)
	}
	if failed {
		l.conn.log.Debug("publish not kept", "channel", l.channel, "count", len(tags), "error", err)
	}
}

// advance moves the beginning over what is settled and confirms the entries in settled. The caller holds mu.
func (l *ledger) advance() {
	for l.first < l.next && l.at(l.first).left == 0 {
		l.first++
	}
	for _, seq := range l.settled {
		if seq == l.sample {
			l.conn.adapter.metrics.PublishSeconds.Observe(time.Since(l.sampled).Seconds())
			l.sample = 0
		}
	}
	if l.confirming && !l.closed {
		l.confirm()
	}
	if l.first == l.next && len(l.ring) > ringKept {
		l.ring = nil
	}
}

// confirm tells the client of the entries in settled: failures one by one, then everything below first at once, then the rest one
// by one.
func (l *ledger) confirm() {
	out := l.conn.out
	b := out.begin()
	var below, last uint64 // how many are acked below first, and the highest of them
	for _, seq := range l.settled {
		switch {
		case seq <= l.before:
		case l.at(seq).failed:
			b = wire.AppendBasicNack(b, l.channel, seq-l.before, false, false)
		case seq < l.first:
			below++
			last = max(last, seq)
		}
	}
	switch {
	case below == 1:
		b = wire.AppendBasicAck(b, l.channel, last-l.before, false)
	case below > 1:
		b = wire.AppendBasicAck(b, l.channel, last-l.before, true)
	}
	for _, seq := range l.settled {
		if seq > l.before && seq >= l.first && !l.at(seq).failed {
			b = wire.AppendBasicAck(b, l.channel, seq-l.before, false)
		}
	}
	out.end(b)
}

// confirm mode begins with the next publish.
func (l *ledger) startConfirming() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.confirming {
		l.confirming, l.before = true, l.next-1
	}
}

func (l *ledger) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
}

// confirmSelect puts the channel into confirm mode.
func (ch *channel) confirmSelect(m *wire.ConfirmSelect) error {
	if ch.tx != nil {
		return wire.ChanErrorf(wire.PreconditionFailed, "cannot switch from tx to confirm mode")
	}
	ch.ledger.startConfirming()
	ch.answer(m.NoWait, &wire.ConfirmSelectOk{})
	return nil
}

func (l *ledger) inConfirmMode() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.confirming
}
