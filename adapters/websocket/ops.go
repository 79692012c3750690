package websocket

import (
	"portico/core"
)

// handle answers one frame.
func (c *conn) handle(b []byte) {
	f, err := decodeFrame(b)
	if err == nil {
		err = c.dispatch(&f)
	}
	if err != nil {
		c.fail(f.ID, err)
	}
}

// fail answers with an error, and logs what only the operator may know.
func (c *conn) fail(id string, err error) {
	e := core.AsError(err)
	if e.Code == core.CodeInternal {
		c.adapter.log.Error("operation failed", "door", door, "remote", c.remote, "err", err)
	}
	code, detail := shown(e)
	c.send(answer{Op: "err", ID: id, Code: code, Detail: detail})
}

// done answers ok, if an answer is wanted.
func (c *conn) done(a answer) {
	if a.ID != "" {
		c.send(a)
	}
}

// dispatch is the table of operations.
func (c *conn) dispatch(f *frame) error {
	switch f.Op {
	case "auth":
		return c.auth(f)
	case "ping":
		c.send(answer{Op: "pong", ID: f.ID})
		return nil
	}
	if c.bus == nil {
		return core.Errorf(core.CodeUnauthenticated, "log in first: {\"op\":\"auth\",\"user\":…,\"password\":…}")
	}
	switch f.Op {
	case "reply":
		return c.reply(f)
	case "ack", "nack":
		return c.settle(f)
	case "extend":
		return c.extend(f)
	case "unsub":
		return c.unsub(f)
	case "cancel":
		return c.cancelConsumer(f)
	}
	if c.isDraining() {
		return core.Errorf(core.CodeUnavailable, "the gateway stops")
	}
	return c.begin(f)
}

// begin is the part of the table that is closed while the gateway drains: what begins something new.
func (c *conn) begin(f *frame) error {
	switch f.Op {
	case "pub":
		return c.publish(f, f.Subject)
	case "sub", "serve":
		return c.subscribe(f)
	case "req":
		return c.request(f)
	case "append":
		return c.append(f)
	case "consume":
		return c.consume(f)
	case "credit":
		return c.credit(f)
	case "declare":
		return c.declare(f)
	case "delete":
		return c.deleteQueue(f)
	case "purge":
		return c.purge(f)
	case "bind", "unbind":
		return c.bind(f)
	case "":
		return core.Errorf(core.CodeInvalid, "the frame has no op")
	}
	return core.Errorf(core.CodeInvalid, "unknown op %q", f.Op)
}

func (c *conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// auth logs in. It must come before anything is open, since what is open was allowed to somebody else.
func (c *conn) auth(f *frame) error {
	if c.busy() {
		return core.Errorf(core.CodePreconditionFailed, "auth must come before anything is open")
	}
	bus, err := c.adapter.gateway.Login(c.ctx, core.Credentials{Door: door, Remote: c.remote, User: f.User, Password: f.Password})
	if err != nil {
		c.fail(f.ID, err)
		c.out.finish(closeUnauthenticated, core.CodeUnauthenticated.String())
		return nil
	}
	if c.authTimer != nil && !c.authTimer.Stop() {
		return core.Errorf(core.CodeUnauthenticated, "too late")
	}
	c.bus, c.authTimer = bus, nil
	c.done(ok(f.ID))
	return nil
}

// busy tells whether anything is open or under way.
func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.names) > 0 || len(c.consumers) > 0 || c.requests > 0
}
