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
	id, start := f.ID, time.Now()
	c.bus.PublishAsync(m, func(r core.Receipt, err error) {
		release()
		if err != nil {
			c.fail(id, err)
			return
		}
		c.took(m, start)
		a := ok(id)
		a.Queues, a.Live = &r.Queues, &r.Live
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
	id, start := f.ID, time.Now()
	c.bus.Append(q, m, func(_ core.Receipt, err error) {
		release()
		if err != nil {
			c.fail(id, err)
			return
		}
		c.took(m, start)
		c.done(ok(id))
	})
	return nil
}

// subscribe: sub, and serve, which gets only what asks for an answer.
func (c *conn) subscribe(f *frame) error {
	serves, group := f.Op == "serve", f.Group
	if serves && group == "" {
		group = serveGroup
	}
	if err := c.claim(f.SID, &c.subs, maxSubscriptions); err != nil {
		return err
	}
	sid := f.SID
	s, err := c.bus.Subscribe(f.Subject, group, func(m *core.Message) {
		if !serves || m.Reply != "" {
			c.out.live(item{kind: itemMsg, name: sid, message: m})
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		delete(c.names, sid)
		c.subs--
		return err
	}
	c.names[sid] = closer{subscription: s}
	c.done(ok(f.ID))
	return nil
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

// unsub ends a subscription or a service. Nothing of it comes after the ok.
func (c *conn) unsub(f *frame) error {
	c.mu.Lock()
	n := c.names[f.SID]
	if n.subscription == nil {
		c.mu.Unlock()
		return core.Errorf(core.CodeNotFound, "there is no subscription %q", f.SID)
	}
	delete(c.names, f.SID)
	c.subs--
	c.mu.Unlock()
	n.subscription.Unsubscribe()
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
	c.out.push(item{kind: itemRes, name: id, message: res})
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
