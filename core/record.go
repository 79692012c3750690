package core

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"portico/core/audit"
	"portico/core/identity"
	"portico/core/limits"
	"portico/core/policy"
)

// Record writes an event into the audit log, if there is one.
func (g *Gateway) Record(e audit.Event) { g.cfg.Audit.Record(e) }

// Gate is what bounds connections and messages; nil: nothing does.
func (g *Gateway) Gate() *limits.Gate { return g.cfg.Gate }

// recordLogin writes down who came in, or did not.
func recordLogin(log *audit.Log, c *Credentials, live *identity.Live, err error) {
	if log == nil {
		return
	}
	e := audit.Event{Kind: audit.Login, Door: c.Door, Remote: c.Remote, User: c.User, Action: shownAs(c), Target: c.Tenant}
	if live != nil {
		e.User = live.Identity().Name
	}
	if err != nil {
		e.Kind, e.Reason = audit.Refused, err.Error()
	}
	log.Record(e)
}

// shownAs says what kind of credential was shown.
func shownAs(c *Credentials) string {
	switch {
	case c.Token != "":
		return "token"
	case c.PublicKey != "":
		return "nkey"
	case !c.Anonymous:
		return "password"
	case c.Certificate != nil:
		return "certificate"
	}
	return "nothing"
}

// recordDenied writes down what somebody who is in was refused.
func (b *Bus) recordDenied(a policy.Action, target, rule string) {
	b.tenant.gateway.Record(audit.Event{Kind: audit.Denied, User: b.User(), Action: a.String(), Target: target, Reason: rule})
}

// RecordChange writes down that the identity has changed how the gateway is run: action is such as "user.put", target its object. err is why it has not; nil: it has.
func (b *Bus) RecordChange(action, target string, err error) {
	e := audit.Event{Kind: audit.Changed, User: b.User(), Action: action, Target: target}
	if err != nil {
		e.Reason = "failed: " + AsError(err).Code.String()
	}
	b.tenant.gateway.Record(e)
}

// pace holds a publisher up that is faster than it or its tenant may be.
func (b *Bus) pace() error {
	if err := b.paceUser(); err != nil {
		return err
	}
	return b.tenant.quota.pace()
}

// paceUser holds a publisher up that is faster than it may be, a second at most.
func (b *Bus) paceUser() error {
	if b.system {
		return nil
	}
	gate, until := b.tenant.gateway.cfg.Gate, time.Now().Add(paceFor)
	for {
		wait, ok := gate.Message(b.User())
		if ok {
			return nil
		}
		if time.Now().Add(wait).After(until) {
			return &Error{Code: CodeResourceExhausted, Detail: "this user publishes too fast", Err: limits.ErrMessageRate}
		}
		time.Sleep(wait)
	}
}

// crowd counts the NATS and MQTT clients for the gate: the server does not tell when one has left.
type crowd struct {
	gate   *limits.Gate // immutable; nil: nothing is counted
	server *embedded    // likewise

	mu sync.Mutex
	in map[uint64]func() // guarded by mu: what gives a client's place back
}

// crowdEvery is how soon the place of a client that has left is free.
const crowdEvery = time.Second

func newCrowd(gate *limits.Gate, e *embedded) *crowd {
	return &crowd{gate: gate, server: e, in: map[uint64]func(){}}
}

// enter counts a client that has logged in.
func (c *crowd) enter(id uint64, remote, user string) error {
	if c.gate == nil {
		return nil
	}
	leave := func() {}
	if at, err := netip.ParseAddrPort(remote); err == nil && !c.server.own.at(remote) { // others have been counted at the door they came by
		if leave, err = c.gate.Enter(at.String()); err != nil {
			return err
		}
	}
	release, err := c.gate.Hold(user)
	if err != nil {
		leave()
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.in[id]; before != nil {
		before()
	}
	c.in[id] = func() { release(); leave() }
	return nil
}

// watch gives back the places of those who have left, until ctx ends.
func (c *crowd) watch(ctx context.Context) {
	tick := time.NewTicker(crowdEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.sweep()
		}
	}
}

func (c *crowd) sweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, release := range c.in {
		if c.server.GetClient(id) == nil {
			release()
			delete(c.in, id)
		}
	}
}

// tooMany is the error of a gate with the code that doors know; nil stays nil.
func tooMany(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, limits.ErrUser) {
		return &Error{Code: CodeResourceExhausted, Detail: "this user has all the connections it may", Err: err}
	}
	return &Error{Code: CodeResourceExhausted, Detail: err.Error(), Err: err}
}
