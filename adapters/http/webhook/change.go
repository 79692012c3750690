package webhook

import (
	"context"
	"errors"
	"time"

	"portico/core"
)

// Put creates an endpoint, or gives the one that is there another specification. key is the secret: "" makes one, or keeps the one that is there. It is returned when the
// endpoint was created, and never again. The user needs permission to subscribe to the subjects and to the endpoint's queue, and to publish to the dead-letter queue, which has to be there. CodeInvalid,
// CodePermissionDenied, CodeNotFound, CodePreconditionFailed (what cannot change), CodeResourceExhausted.
func (c *Courier) Put(ctx context.Context, bus *core.Bus, name string, spec Spec, key string) (v Endpoint, shown string, created bool, err error) {
	spec.complete()
	if err := c.may(bus, name, &spec, key); err != nil {
		return v, "", false, err
	}
	done, err := c.change(ctx)
	if err != nil {
		return v, "", false, err
	}
	defer done()
	c.mu.Lock()
	e, n := c.endpoints[name], len(c.endpoints)
	c.mu.Unlock()
	switch {
	case e != nil:
		err = c.update(ctx, e, spec, key)
	case n >= maxEndpoints:
		err = core.Errorf(core.CodeResourceExhausted, "there are %d webhooks already", n)
	default:
		e, shown, err = c.create(ctx, name, spec, key)
		created = err == nil
	}
	if err != nil {
		return v, "", false, err
	}
	return c.view(e), shown, created, nil
}

// may checks what a user wants of an endpoint.
func (c *Courier) may(bus *core.Bus, name string, spec *Spec, key string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := spec.check(c.guard); err != nil {
		return err
	}
	if key != "" {
		if err := checkSecret(key); err != nil {
			return err
		}
	}
	if err := bus.Allow("subscribe", core.QueueSubject(queueOf(name))); err != nil {
		return err
	}
	for _, pattern := range spec.Subjects {
		if err := bus.MayFeed(pattern); err != nil {
			return err
		}
	}
	if dead := spec.DeadLetterQueue; dead != "" {
		if err := bus.Allow("publish", core.QueueSubject(dead)); err != nil {
			return err
		}
		if c.gateway.System().Lookup(dead) == nil {
			return core.Errorf(core.CodeNotFound, "dead_letter_queue: there is no queue %q", dead)
		}
	}
	return nil
}

func (c *Courier) create(ctx context.Context, name string, spec Spec, key string) (*endpoint, string, error) {
	if key == "" {
		key = newSecret()
	}
	now := time.Now()
	d := &definition{Spec: spec, Name: name, Owner: newOwner(), Secrets: []secret{{Key: key}}, Created: now, Updated: now}
	e := newEndpoint(c, d)
	fresh := c.gateway.System().Lookup(queueOf(name)) == nil
	err := e.prepare(ctx, d, false)
	if err == nil {
		err = c.store(ctx, e, d)
	}
	if err != nil {
		if fresh {
			err = errors.Join(err, c.deleteQueues(context.WithoutCancel(ctx), name))
		}
		return nil, "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endpoints[name] = e
	c.begin(e)
	return e, key, nil
}

// update gives e another specification. What subjects it had and has no more are unbound when the new definition is kept.
func (c *Courier) update(ctx context.Context, e *endpoint, spec Spec, key string) error {
	before := e.definition.Load()
	d := *before
	if key != "" && d.Secrets[0].Key != key {
		return core.Errorf(core.CodePreconditionFailed, "secret: that of a webhook is changed by rotate-secret, so that the one before goes on for a while")
	}
	if spec.DeadLetterQueue != d.DeadLetterQueue {
		return core.Errorf(core.CodePreconditionFailed, "dead_letter_queue: found %q, but it cannot change from %q; delete the webhook first", spec.DeadLetterQueue, d.DeadLetterQueue)
	}
	d.Spec, d.Updated = spec, time.Now()
	if err := e.prepare(ctx, &d, false); err != nil {
		return err
	}
	if err := c.store(ctx, e, &d); err != nil {
		return err
	}
	return e.prepare(ctx, &d, true)
}

// Delete deletes an endpoint with its queue and its log. Requests under way are cut. CodeNotFound, CodePermissionDenied.
func (c *Courier) Delete(ctx context.Context, bus *core.Bus, name string) error {
	if _, err := c.find(bus, name); err != nil {
		return err
	}
	done, err := c.change(ctx)
	if err != nil {
		return err
	}
	defer done()
	e, err := c.find(bus, name)
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	c.end(e)
	if err := c.deleteQueues(ctx, name); err != nil {
		return c.restart(e, err)
	}
	if err := c.table.Delete(ctx, name); err != nil {
		return c.restart(e, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.endpoints, name)
	return nil
}

// end stops an endpoint and waits for it.
func (c *Courier) end(e *endpoint) {
	c.mu.Lock()
	started := e.started
	c.mu.Unlock()
	if !started {
		return
	}
	e.stop()
	e.cut()
	<-e.ended
}

// restart puts another in the place of an endpoint that could not be deleted.
func (c *Courier) restart(e *endpoint, err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := newEndpoint(c, e.definition.Load())
	c.endpoints[e.name] = again
	c.begin(again)
	return err
}

func (c *Courier) deleteQueues(ctx context.Context, name string) error {
	var failed error
	for _, q := range []string{queueOf(name), logOf(name)} {
		if _, err := c.gateway.System().DeleteQueue(ctx, q); err != nil && core.AsError(err).Code != core.CodeNotFound {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

// Enable lets an endpoint deliver, whatever pause it is in, or (false) stops it; what is published meanwhile waits in its queue. CodeNotFound, CodePermissionDenied.
func (c *Courier) Enable(ctx context.Context, bus *core.Bus, name string, enable bool) (Endpoint, error) {
	e, err := c.edit(ctx, bus, name, func(e *endpoint, d *definition) error {
		d.Disabled, d.Reason = !enable, ""
		if !enable {
			d.Reason = "by " + by(bus)
			return nil
		}
		return e.prepare(ctx, d, true)
	})
	if err != nil {
		return Endpoint{}, err
	}
	if enable {
		e.post(e.enabled)
	}
	return c.view(e), nil
}

func by(bus *core.Bus) string {
	if bus.User() == "" {
		return "a user"
	}
	return "user " + bus.User()
}

// Rotate makes a new secret and returns it. The one before signs too for the time of overlap, up to 7 days, so that receivers can be told at leisure. At most 5 sign at once: CodeResourceExhausted.
func (c *Courier) Rotate(ctx context.Context, bus *core.Bus, name, key string, overlap time.Duration) (v Endpoint, shown string, err error) {
	if overlap < 0 || overlap > MaxOverlap {
		return v, "", invalid("overlap", overlap.Milliseconds(), "milliseconds from 0 to %d", MaxOverlap.Milliseconds())
	}
	if key == "" {
		key = newSecret()
	} else if err := checkSecret(key); err != nil {
		return v, "", err
	}
	e, err := c.edit(ctx, bus, name, func(_ *endpoint, d *definition) error {
		now := time.Now()
		secrets := []secret{{Key: key}}
		for _, s := range living(d.Secrets, now) {
			if s.Until.IsZero() {
				s.Until = now.Add(overlap)
			}
			secrets = append(secrets, s)
		}
		if secrets = living(secrets, now); len(secrets) > maxSecrets {
			return core.Errorf(core.CodeResourceExhausted, "%d secrets sign already: wait until one has run out", maxSecrets)
		}
		d.Secrets = secrets
		return nil
	})
	if err != nil {
		return v, "", err
	}
	return c.view(e), key, nil
}

// edit changes a copy of an endpoint's definition, and puts it in force.
func (c *Courier) edit(ctx context.Context, bus *core.Bus, name string, f func(*endpoint, *definition) error) (*endpoint, error) {
	if _, err := c.find(bus, name); err != nil {
		return nil, err
	}
	done, err := c.change(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	e, err := c.find(bus, name)
	if err != nil {
		return nil, err
	}
	d := *e.definition.Load()
	d.Updated = time.Now()
	if err := f(e, &d); err != nil {
		return nil, err
	}
	return e, c.store(ctx, e, &d)
}
