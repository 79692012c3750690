package amqp

import (
	"errors"
	"sync"

	"portico/adapters/amqp/wire"
	"portico/core/queue"
)

// Bounds on what the transactions of one connection hold back. Above them the channel is closed with 406.
const (
	txMessages = 65536
	txBytes    = 64 << 20
)

// transaction is a channel in tx mode: publishes and settlements wait for tx.commit [0-9-1 tx]. Publishes to several queues are not atomic,
// as they are not in RabbitMQ.
type transaction struct {
	messages []message
	bytes    int
	settled  []txSettlement
}

// txHeld is what the transactions of a connection hold back.
type txHeld struct{ messages, bytes int }

type txSettlement struct {
	outcome queue.Outcome
	delivered
}

// txSelect puts the channel into tx mode.
func (ch *channel) txSelect() error {
	if ch.ledger.inConfirmMode() {
		return wire.ChanErrorf(wire.PreconditionFailed, "cannot switch from confirm to tx mode")
	}
	if ch.tx == nil {
		ch.tx = &transaction{}
	}
	ch.send(&wire.TxSelectOk{})
	return nil
}

// add holds m back. What would fail at once without tx fails at once here.
func (tx *transaction) add(ch *channel, m message) error {
	if _, err := ch.route(m); err != nil {
		return err
	}
	held := &ch.conn.txHeld
	if held.messages >= txMessages || held.bytes+len(m.record.Data) > txBytes {
		return wire.ChanErrorf(wire.PreconditionFailed, "transactions are larger than %d messages or %d octets", txMessages, txBytes)
	}
	held.messages++
	held.bytes += len(m.record.Data)
	m.route = append([]byte(nil), m.route...)
	tx.messages = append(tx.messages, m)
	tx.bytes += len(m.record.Data)
	return nil
}

// settle holds a settlement back.
func (tx *transaction) settle(ch *channel, o queue.Outcome, tag uint64, multiple bool) error {
	ch.mu.Lock()
	ok := ch.unacked.take(tag, multiple, func(d delivered) { tx.settled = append(tx.settled, txSettlement{o, d}) })
	ch.mu.Unlock()
	if !ok {
		return unknownTag(tag)
	}
	return nil
}

// txCommit publishes and settles what was held back and answers when all of it is kept.
func (ch *channel) txCommit() error {
	tx := ch.tx
	if tx == nil {
		return wire.ChanErrorf(wire.PreconditionFailed, "channel is not transactional")
	}
	c := newCommit()
	for _, m := range tx.messages {
		if err := ch.publishIn(c, m); err != nil {
			return err
		}
	}
	for _, s := range tx.settled {
		if s.outcome == queue.Ack {
			ch.conn.tally.acks++
		}
		c.add(1)
		s.to.queue.Settle(s.outcome, []queue.Handle{s.handle}, c.settled)
	}
	tx.empty(ch.conn)
	c.done()
	select {
	case <-c.finished:
	case <-ch.conn.done:
		return errGone
	}
	if err := c.failure(); errors.Is(err, queue.ErrOverflow) {
		return wire.ChanErrorf(wire.PreconditionFailed, "partial tx completion")
	} else if err != nil {
		return wire.ConnErrorf(wire.InternalError, "commit failed")
	}
	ch.send(&wire.TxCommitOk{})
	return nil
}

// publishIn is publish with c in place of the ledger.
func (ch *channel) publishIn(c *commit, m message) error {
	r, err := ch.route(m)
	if err != nil {
		return err
	}
	if r.delays && ch.hold(r, m, func() (queue.Publisher, uint64) { c.add(1); return c, 0 }) {
		return nil
	}
	live := ch.live(r)
	for _, q := range r.queues {
		c.add(1)
		q.Append(m.record, c, 0)
	}
	if len(r.queues) > 0 {
		if live {
			ch.publishLive(r.subject, m.record.Data)
		}
		return nil
	}
	reached, err := ch.elsewhere(r, m, live)
	if err == nil && !reached && m.mandatory {
		ch.giveBack(m.record.Data)
	}
	return err
}

// txRollback drops what was held back; deliveries are unacknowledged again and are not requeued [RMQ: tx].
func (ch *channel) txRollback() error {
	if ch.tx == nil {
		return wire.ChanErrorf(wire.PreconditionFailed, "channel is not transactional")
	}
	ch.tx.abandon(ch)
	ch.send(&wire.TxRollbackOk{})
	return nil
}

// abandon empties the transaction. tx may be nil.
func (tx *transaction) abandon(ch *channel) {
	if tx == nil {
		return
	}
	back := make([]delivered, 0, len(tx.settled))
	for _, s := range tx.settled {
		back = append(back, s.delivered)
	}
	tx.empty(ch.conn)
	if len(back) == 0 {
		return
	}
	ch.mu.Lock()
	ch.unacked.restore(back)
	ch.mu.Unlock()
}

func (tx *transaction) empty(c *conn) {
	c.txHeld.messages -= len(tx.messages)
	c.txHeld.bytes -= tx.bytes
	*tx = transaction{}
}

// commit waits for the answers of one tx.commit. It is a queue.Publisher.
type commit struct {
	finished chan struct{} // closed when all have answered

	// guarded by mu
	mu   sync.Mutex
	left int
	err  error
}

func newCommit() *commit { return &commit{finished: make(chan struct{}), left: 1} }

func (c *commit) add(n int) {
	c.mu.Lock()
	c.left += n
	c.mu.Unlock()
}

// done takes back the one that newCommit counted, so that finished is not closed before everything is under way.
func (c *commit) done() { c.answered(1, nil) }

// Appended implements queue.Publisher.
func (c *commit) Appended(tags []uint64, err error) { c.answered(len(tags), err) }

func (c *commit) settled(err error) {
	if errors.Is(err, queue.ErrStale) || errors.Is(err, queue.ErrDeleted) {
		err = nil // what is settled is gone already
	}
	c.answered(1, err)
}

func (c *commit) answered(n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && !errors.Is(err, queue.ErrDeleted) && c.err == nil {
		c.err = err
	}
	if c.left -= n; c.left == 0 {
		close(c.finished)
	}
}

func (c *commit) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
