package soak

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	beat        = 10 * time.Millisecond
	perBeat     = 5      // messages that a publisher sends in it: 500/s
	burst       = 200    // the same shortly before a kill, so that much is on its way
	unconfirmed = 256    // publishes of one publisher that wait for their confirm
	enough      = 20_000 // confirmed messages that nobody has acknowledged: publishers wait for the consumers
	headSize    = 12     // of a body: number, length
)

// visit is how long a client stays, but for those who come to grief.
func visit(rnd *rand.Rand) time.Duration { return time.Duration(100+rnd.IntN(2000)) * time.Millisecond }

// publishing is a publisher's one connection.
type publishing struct {
	world  *world
	link   *link
	ch     *amqp.Channel
	rnd    *rand.Rand
	window chan pending
	done   chan struct{} // closed when nothing waits for its confirm any more
}

type pending struct {
	id      uint32
	confirm *amqp.DeferredConfirmation
}

// publisher connects and publishes, again and again.
func (w *world) publisher(ctx context.Context, rnd *rand.Rand) {
	for ctx.Err() == nil {
		l := w.dial(ctx)
		if l == nil {
			return
		}
		p := &publishing{world: w, link: l, rnd: rnd}
		if err := p.session(ctx); err != nil {
			w.unexpected(l, "publisher", err)
		}
		l.close()
	}
}

func (p *publishing) session(ctx context.Context) error {
	var err error
	if p.ch, err = p.link.conn.Channel(); err != nil {
		return err
	}
	if err := p.ch.Confirm(false); err != nil {
		return err
	}
	closed, returns := p.ch.NotifyClose(make(chan *amqp.Error, 1)), p.ch.NotifyReturn(make(chan amqp.Return, 16))
	p.window, p.done = make(chan pending, unconfirmed), make(chan struct{})
	go p.collect(returns)
	if err = p.publishFor(ctx, visit(p.rnd)); err == nil {
		err = p.finish(ctx, closed)
	}
	close(p.window)
	if err != nil { // it is the first fault: what follows from it, and nobody waits for confirms that will not come
		p.world.unexpected(p.link, "publisher", err)
		p.link.vanish(p.rnd)
	}
	<-p.done
	return nil
}

// publishFor publishes at its own pace for so long.
func (p *publishing) publishFor(ctx context.Context, d time.Duration) error {
	tick, over := time.NewTicker(beat), time.After(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			return nil
		case <-tick.C:
		}
		if p.world.ledger.backlog() > enough {
			p.world.count("publisher waited for consumers")
			continue
		}
		n := perBeat
		if p.world.hurry.Load() {
			n = burst
		}
		for range n {
			if err := p.publish(); err != nil {
				return err
			}
		}
	}
}

func (p *publishing) publish() error {
	m := compose(p.rnd)
	id := p.world.ledger.send(m.want)
	m.Body = body(id, p.rnd)
	confirm, err := p.ch.PublishWithDeferredConfirm(m.exchange, m.key, true, false, m.Publishing)
	if err != nil {
		return err
	}
	select {
	case p.window <- pending{id, confirm}:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%d publishes wait for their confirm for %v", unconfirmed, patience)
	}
}

// collect notes the confirms. A refused publish, a returned one, and a confirm that does not come are faults.
func (p *publishing) collect(returns <-chan amqp.Return) {
	defer close(p.done)
	for m := range p.window {
		select {
		case <-m.confirm.Done():
		case r, ok := <-returns:
			if returns = nil; ok {
				p.world.fault("a publish to %q with %q was returned: %s", r.Exchange, r.RoutingKey, r.ReplyText)
			}
			<-m.confirm.Done()
		case <-time.After(patience):
			p.world.unexpected(p.link, "publisher", fmt.Errorf("message %d was not confirmed within %v", m.id, patience))
			continue
		}
		switch {
		case m.confirm.Acked():
			p.world.ledger.confirm(m.id)
		case !p.ch.IsClosed():
			p.world.fault("message %d was refused", m.id)
		}
	}
}

// finish ends the session in one of several ways.
func (p *publishing) finish(ctx context.Context, closed <-chan *amqp.Error) error {
	how := p.world.turns.publisher.Add(1) % 5
	switch {
	case how == 0 || ctx.Err() != nil:
		p.world.count("publisher closed")
		return p.settle()
	case how == 1:
		p.world.count("publisher vanished")
		p.link.vanish(p.rnd)
	case how == 2:
		p.world.count("publisher named a missing exchange")
		if err := p.ch.Publish(exchangeMissing, "", false, false, amqp.Publishing{}); err != nil {
			return err
		}
		p.world.refusal(p.link, closed, "publishing to a missing exchange", amqp.NotFound)
	default:
		p.world.count("publisher cut in a frame")
		p.link.cut(p.rnd.IntN(3000))
		for i := 0; p.publish() == nil; i++ {
			if i == 100 { // the cut lets through far less
				return errors.New("the connection was not cut")
			}
		}
	}
	return nil
}

// settle closes the channel when everything is confirmed.
func (p *publishing) settle() error {
	for i := 0; len(p.window) > 0; i++ {
		if i > int(patience/beat) {
			return fmt.Errorf("%d publishes were not confirmed within %v", len(p.window), patience)
		}
		<-time.After(beat)
	}
	return p.ch.Close()
}

// body is a message's: number, length, and the number's last byte over and over.
func body(id uint32, rnd *rand.Rand) []byte {
	size := headSize + rnd.IntN(500)
	switch n := rnd.IntN(1000); {
	case n == 0:
		size = 200_000 // two frames
	case n < 20:
		size = 16 << 10
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(id)
	}
	binary.BigEndian.PutUint32(b, id)
	binary.BigEndian.PutUint64(b[4:], uint64(size))
	return b
}

// numberOf reads a body, and tells whether it is as it was sent.
func numberOf(b []byte) (id uint32, whole bool) {
	if len(b) < headSize || binary.BigEndian.Uint64(b[4:]) != uint64(len(b)) {
		return 0, false
	}
	id = binary.BigEndian.Uint32(b)
	for _, x := range b[headSize:] {
		if x != byte(id) {
			return id, false
		}
	}
	return id, true
}
