package websocket

import (
	"context"
	"time"

	"portico/core"
)

const (
	defaultTimeout = 5 * time.Second // of a request that names none
	maxTimeout     = 5 * time.Minute
	serveGroup     = "serve" // of services that name none
)

// hold reserves a place for something under way that carries n bytes. When the window is full the reader waits here, and
// the client is not read.
func (c *conn) hold(n int) (release func(), err error) {
	weight := min(int64(n)+windowCost, windowBytes)
	if err := c.window.Acquire(c.ctx, weight); err != nil {
		return nil, err
	}
	return func() { c.window.Release(weight) }, nil
}

// publish: pub, and reply, which is the same to a given subject.
func (c *conn) publish(f *frame, subject string) error {
	m := f.message(subject)
	release, err := c.hold(len(m.Data))
	if err != nil {
		return err
	}
	id, start, silent := f.ID, time.Now(), f.Ack != nil && !*f.Ack
	c.bus.PublishAsync(m, func(r core.Receipt, err error) {
		release()
		if err != nil {
			c.fail(id, err)
			return
		}
		c.took(m, start)
		if silent {
			return
		}
		a := ok(id)
		a.Queues, a.Live, a.Duplicate, a.Stream, a.Seq = &r.Queues, &r.Live, r.Duplicate, r.Stream, r.Sequence
		c.done(a)
	})
	return nil
}

// took counts a message that was taken.
func (c *conn) took(m *core.Message, start time.Time) {
	d := c.adapter.metrics
	d.In.Inc()
	d.BytesIn.Add(float64(len(m.Data)))
	d.PublishSeconds.Observe(time.Since(start).Seconds())
}

// reply answers a request that this connection serves.
func (c *conn) reply(f *frame) error {
	if f.Reply == "" {
		return core.Errorf(core.CodeInvalid, "reply: the subject that the request named is missing")
	}
	subject := f.Reply
	f.Reply = ""
	return c.publish(f, subject)
}

// append puts a message into a queue directly.
func (c *conn) append(f *frame) error {
	q, err := c.bus.Queue(f.Queue)
	if err != nil {
		return err
	}
	m := f.message("")
	release, err := c.hold(len(m.Data))
	if err != nil {
		return err
	}
	id, start, silent := f.ID, time.Now(), f.Ack != nil && !*f.Ack
	c.bus.Append(q, m, func(r core.Receipt, err error) {
		release()
		if err != nil {
			c.fail(id, err)
			return
		}
		c.took(m, start)
		if silent {
			return
		}
		a := ok(id)
		a.Duplicate = r.Duplicate
		c.done(a)
	})
	return nil
}

// subscribe: sub, and serve, which gets only what asks for an answer.
func (c *conn) subscribe(f *frame) error {
	if f.Stream != "" || f.Cursor != "" {
		return c.follow(f)
	}
	serves, group := f.Op == "serve", f.Group
	if serves && group == "" {
		group = serveGroup
	}
	lane, err := c.lane(f)
	if err != nil {
		return err
	}
	wanted, end, err := c.extras(f)
	if err != nil {
		return err
	}
	if err := c.claim(f.SID, &c.subs, c.adapter.limits.Subscriptions); err != nil {
		end()
		return err
	}
	sid := f.SID
	open := c.bus.Subscribe
	if serves {
		open = c.bus.Serve
	}
	s, err := open(f.Subject, group, func(m *core.Message) {
		if (!serves || m.Reply != "") && wanted.wants(m) {
			c.live(lane, item{kind: itemMsg, name: sid, message: m, shared: c.adapter.shares.of(m)})
		}
	})
	if err == nil {
		if err = c.attend(f, &end); err != nil {
			s.Unsubscribe()
		}
	}
	if err != nil {
		end()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		delete(c.names, sid)
		c.subs--
		return err
	}
	c.names[sid] = closer{subscription: s, end: end}
	s.OnRefused(func(err error) { c.refused(sid, func(n *closer) bool { return n.subscription == s }, err) })
	c.done(ok(f.ID))
	return nil
}

// refused ends a subscription, or a watch of who is present, that the identity may have no longer, and tells why; is tells whether sid names it still.
func (c *conn) refused(sid string, is func(n *closer) bool, reason error) {
	c.mu.Lock()
	n := c.names[sid]
	if !is(&n) {
		c.mu.Unlock()
		return
	}
	delete(c.names, sid)
	c.subs--
	c.mu.Unlock()
	if n.subscription != nil {
		n.subscription.Unsubscribe()
	}
	if n.end != nil {
		n.end()
	}
	code, detail := shown(core.AsError(reason))
	c.send(answer{Op: "gone", SID: sid, Code: code, Detail: detail})
}

// claim takes a sid and counts what it is for.
func (c *conn) claim(sid string, count *int, limit int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sid == "" {
		return core.Errorf(core.CodeInvalid, "sid is missing")
	}
	if _, taken := c.names[sid]; taken {
		return core.Errorf(core.CodePreconditionFailed, "sid %q is taken", sid)
	}
	if *count >= limit {
		return core.Errorf(core.CodeResourceExhausted, "the connection has %d of these open, the most it may have", limit)
	}
	*count++
	c.names[sid] = closer{}
	return nil
}

// unsub ends a subscription, a service, a cursor or a watch. Nothing of it comes after the ok.
func (c *conn) unsub(f *frame) error {
	c.mu.Lock()
	n := c.names[f.SID]
	switch {
	case n.subscription != nil, n.watch != nil:
		c.subs--
	case n.task != nil:
		c.tasks--
	default:
		c.mu.Unlock()
		return core.Errorf(core.CodeNotFound, "there is no subscription %q", f.SID)
	}
	delete(c.names, f.SID)
	c.mu.Unlock()
	if n.task != nil {
		n.task.stop()
	}
	if n.subscription != nil {
		n.subscription.Unsubscribe()
	}
	if n.end != nil {
		n.end()
	}
	c.done(ok(f.ID))
	return nil
}

// request publishes and lets a goroutine wait for the answer.
func (c *conn) request(f *frame) error {
	timeout := defaultTimeout
	if f.Timeout != 0 {
		timeout = min(time.Duration(f.Timeout), maxTimeout)
	}
	if f.ID == "" {
		return core.Errorf(core.CodeInvalid, "a req needs an id for its answer")
	}
	if err := c.claimRequest(); err != nil {
		return err
	}
	m := f.message(f.Subject)
	m.Reply = ""
	release, err := c.hold(len(m.Data))
	if err != nil {
		c.requestDone()
		return err
	}
	bus, id := c.bus, f.ID
	c.working.Go(func() {
		defer release()
		defer c.requestDone()
		ctx, cancel := context.WithTimeout(c.ctx, timeout)
		defer cancel()
		c.answered(id, m, bus, ctx)
	})
	return nil
}

func (c *conn) answered(id string, m *core.Message, bus *core.Bus, ctx context.Context) {
	c.adapter.metrics.In.Inc()
	c.adapter.metrics.BytesIn.Add(float64(len(m.Data)))
	res, err := bus.Request(ctx, m)
	if err != nil {
		c.fail(id, err)
		return
	}
	c.out.Push(item{kind: itemRes, name: id, message: res})
}

func (c *conn) claimRequest() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests >= maxRequests {
		return core.Errorf(core.CodeResourceExhausted, "%d requests wait for answers, the most a connection may have", maxRequests)
	}
	c.requests++
	return nil
}

func (c *conn) requestDone() {
	c.mu.Lock()
	c.requests--
	c.mu.Unlock()
}
