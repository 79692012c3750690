package websocket

import (
	"portico/core"
)

// auth logs in, or shows newer credentials of the same user. What is open was allowed to somebody: another user must come before anything is.
func (c *conn) auth(f *frame) error {
	shown := core.Credentials{Door: door, Remote: c.remote, User: f.User, Password: f.Password, Token: f.Token, Tenant: c.tenant}
	if f.Token != "" && (f.User != "" || f.Password != "") {
		return core.Errorf(core.CodeInvalid, "auth has a token, or a user and a password")
	}
	bus, err := c.adapter.gateway.Login(c.ctx, shown)
	switch {
	case err != nil && c.known():
		return err
	case err != nil:
		c.fail(f.ID, err)
		c.finish(closeUnauthenticated, core.CodeUnauthenticated.String())
		return nil
	case c.bus != nil && (bus.User() != c.bus.User() || bus.Tenant() != c.bus.Tenant()) && c.busy():
		return core.Errorf(core.CodePermissionDenied, "what is open was allowed to another user: close it first, or connect anew")
	}
	if err := c.occupy(bus); err != nil {
		return err
	}
	if c.authTimer != nil && !c.authTimer.Stop() {
		return core.Errorf(core.CodeUnauthenticated, "too late")
	}
	c.authTimer = nil
	c.enter(bus)
	user := bus.User()
	a := ok(f.ID)
	a.User, a.Expires = &user, expiry(bus)
	c.done(a)
	return nil
}

// known tells whether the client is somebody who stays that when what it shows now is refused.
func (c *conn) known() bool { return c.bus != nil && (c.bus.User() != "" || c.busy()) }

// busy tells whether anything is open or under way.
func (c *conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.names) > 0 || len(c.consumers) > 0 || c.requests > 0
}

// enter makes bus the connection's. The wheel sees when what the client showed for it is good no longer.
func (c *conn) enter(bus *core.Bus) {
	c.bus = bus
	ended := bus.Ended()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shownEnds = ended
}

// revoked tells whether what the client showed is good no longer.
func (c *conn) revoked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.shownEnds:
		return true
	default:
		return false // also without a channel
	}
}

// expiry is when a bus ends by itself, as frames say it; "" for never.
func expiry(bus *core.Bus) string {
	if at := bus.Expires(); !at.IsZero() {
		return stamp(at)
	}
	return ""
}
