package websocket

import (
	"encoding/json"

	"portico/core"
)

const maxListed = 1000 // members that an answer lists

// attend makes the connection present on the frame's subject if it wants to be; end then leaves, too.
func (c *conn) attend(f *frame, end *func()) error {
	if !f.Presence {
		if f.Info != nil {
			return core.Errorf(core.CodeInvalid, "info goes with presence")
		}
		return nil
	}
	leave, err := c.bus.Attend(f.Subject, c.client, json.RawMessage(f.Info))
	if err != nil {
		return err
	}
	before := *end
	*end = func() { leave(); before() }
	return nil
}

// presence tells who is on a subject, and with watch who comes and goes.
func (c *conn) presence(f *frame) error {
	if !f.Watch {
		members, count, err := c.bus.Present(f.Subject, maxListed)
		if err != nil {
			return err
		}
		c.done(present(f.ID, members, count))
		return nil
	}
	if err := c.claim(f.SID, &c.subs, c.adapter.limits.Subscriptions); err != nil {
		return err
	}
	id, sid, subject, bus := f.ID, f.SID, f.Subject, c.bus
	begin := func(members []core.Member, count int) { c.done(present(id, members, count)) }
	stop, err := bus.WatchPresence(subject, maxListed, begin, func(e core.PresenceEvent) {
		a := &answer{Op: "leave", SID: sid, Subject: subject, Member: &e.Member}
		if e.Joined {
			a.Op = "join"
		}
		c.out.Live(item{kind: itemAnswer, answer: a}, slow())
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		delete(c.names, sid)
		c.subs--
		return err
	}
	w := &watch{stop: stop}
	c.names[sid] = closer{watch: w, end: w.end}
	w.unguard = bus.Guard(func() error { return bus.Allow("subscribe", subject) }, func(err error) { c.refused(sid, func(n *closer) bool { return n.watch == w }, err) })
	return nil
}

// watch is somebody's look at who is present, for as long as the identity may.
type watch struct{ stop, unguard func() }

func (w *watch) end() {
	w.unguard()
	w.stop()
}

func present(id string, members []core.Member, count int) answer {
	a := ok(id)
	a.Members, a.Count = &members, &count
	return a
}
