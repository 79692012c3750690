package websocket

import (
	"errors"
	"strings"

	"portico/core"
)

// handle answers one frame.
func (c *conn) handle(b []byte) {
	f, err := c.wire.decode(b)
	if err == nil {
		err = c.fits(&f)
	}
	if err == nil {
		err = c.dispatch(&f)
	}
	if err != nil {
		c.fail(f.ID, err)
	}
}

// fits checks a message against the door's own limit, which may be below the gateway's.
func (c *conn) fits(f *frame) error {
	n, most := len(f.data), c.adapter.limits.Message
	for name, values := range f.Headers {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	if n > most {
		return core.Errorf(core.CodeTooLarge, "payload and headers have %d bytes, the limit is %d", n, most)
	}
	return nil
}

// fail answers with an error, and logs what only the operator may know.
func (c *conn) fail(id string, err error) {
	e := core.AsError(err)
	if e.Code == core.CodeInternal {
		c.adapter.log.Error("operation failed", "door", door, "remote", c.remote, "err", err)
	}
	code, detail := shown(e)
	a := answer{Op: "err", ID: id, Code: code, Detail: detail}
	if conflict, ok := errors.AsType[*core.Conflict](err); ok {
		a.Revision = &conflict.Revision
	}
	c.send(a)
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
	case "options":
		return c.options(f)
	case "ping":
		c.send(answer{Op: "pong", ID: f.ID})
		return nil
	}
	if c.bus == nil {
		return core.Errorf(core.CodeUnauthenticated, "log in first: {\"op\":\"auth\",\"user\":…,\"password\":…}")
	}
	if err := c.bus.Err(); err != nil { // the wheel comes round a moment later
		c.finish(closeUnauthenticated, core.CodeUnauthenticated.String())
		return err
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
	case "history":
		return c.history(f)
	case "commit":
		return c.commit(f)
	case "forget":
		return c.forgetCursor(f)
	case "presence":
		return c.presence(f)
	}
	if strings.HasPrefix(f.Op, kvOps) {
		return c.keyValue(f)
	}
	return core.Errorf(core.CodeInvalid, "unknown op %q", f.Op)
}

func (c *conn) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}
