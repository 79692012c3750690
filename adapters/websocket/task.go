package websocket

import (
	"context"

	"portico/core"
)

// task is what a sid names when it has a goroutine of its own: a cursor or a watch.
type task struct {
	// immutable once it is open
	cursor *cursor // nil: not one
	answer answer
	end    func()                          // nil, or called once when the sid is free again
	run    func(ctx context.Context) error // until ctx ends, or its end is an error
	cancel context.CancelFunc
	over   chan struct{} // closed when run has returned
}

// opening claims the frame's sid, lets prepare find out whether the task may begin, answers, and begins it.
func (c *conn) opening(f *frame, prepare func() (*task, error)) error {
	if err := c.claim(f.SID, &c.tasks, maxCursors); err != nil {
		return err
	}
	t, err := prepare()
	c.mu.Lock()
	if err != nil {
		delete(c.names, f.SID)
		c.tasks--
		c.mu.Unlock()
		return err
	}
	ctx, cancel := context.WithCancel(c.ctx)
	t.cancel, t.over = cancel, make(chan struct{})
	c.names[f.SID] = closer{task: t, end: t.end}
	c.mu.Unlock()
	c.done(t.answer)
	sid := f.SID
	c.working.Go(func() {
		defer close(t.over)
		defer cancel()
		c.ended(sid, t, t.run(ctx), ctx)
	})
	return nil
}

// ended tells the client of a task that has come to an end by itself; its sid is free.
func (c *conn) ended(sid string, t *task, err error, ctx context.Context) {
	if err == nil || ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	known := c.names[sid].task == t
	if known {
		delete(c.names, sid)
		c.tasks--
	}
	c.mu.Unlock()
	if !known {
		return
	}
	if t.end != nil {
		t.end()
	}
	e := core.AsError(err)
	if e.Code == core.CodeInternal {
		c.adapter.log.Error("a subscription has failed", "door", door, "remote", c.remote, "err", err)
	}
	code, detail := shown(e)
	c.send(answer{Op: "gone", SID: sid, Code: code, Detail: detail})
}

// stop ends the task. Nothing of it is queued afterwards.
func (t *task) stop() {
	t.cancel()
	<-t.over
}

// cancelTasks ends what has goroutines of its own, without waiting for it.
func (c *conn) cancelTasks() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.names {
		if n.task != nil {
			n.task.cancel()
		}
	}
}

// endAll does what is left to do for the subscriptions of a connection that has ended.
func (c *conn) endAll() {
	c.mu.Lock()
	names := c.names
	c.names = nil
	c.mu.Unlock()
	for _, n := range names {
		if n.end != nil {
			n.end()
		}
	}
}

// awaitRoom waits until the client has read enough for more to be queued. ctx's error.
func (c *conn) awaitRoom(ctx context.Context) error {
	if err := c.out.Room(ctx); err != nil {
		return err
	}
	return ctx.Err()
}

// turns are pieces of work that a connection has asked for and that are done one after the other.
type turns struct {
	waiting []func() // at most maxRequests, which claimRequest sees to
	running bool
}

// inTurn does work behind what was given to inTurn before, with n bytes of its frame counted as under way. An error of it is the answer to id.
func (c *conn) inTurn(n int, id string, work func(ctx context.Context) error) error {
	if err := c.claimRequest(); err != nil {
		return err
	}
	release, err := c.hold(n)
	if err != nil {
		c.requestDone()
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns.waiting = append(c.turns.waiting, func() {
		defer release()
		defer c.requestDone()
		if err := work(c.ctx); err != nil {
			c.fail(id, err)
		}
	})
	if !c.turns.running {
		c.turns.running = true
		c.working.Go(c.takeTurns)
	}
	return nil
}

// takeTurns works until nothing waits.
func (c *conn) takeTurns() {
	for {
		c.mu.Lock()
		if len(c.turns.waiting) == 0 {
			c.turns = turns{}
			c.mu.Unlock()
			return
		}
		work := c.turns.waiting[0]
		c.turns.waiting = c.turns.waiting[1:]
		c.mu.Unlock()
		work()
	}
}

// beside does work in a goroutine of its own, with n bytes counted as under way.
func (c *conn) beside(n int, id string, work func(ctx context.Context) error) error {
	if err := c.claimRequest(); err != nil {
		return err
	}
	release, err := c.hold(n)
	if err != nil {
		c.requestDone()
		return err
	}
	c.working.Go(func() {
		defer release()
		defer c.requestDone()
		if err := work(c.ctx); err != nil {
			c.fail(id, err)
		}
	})
	return nil
}
