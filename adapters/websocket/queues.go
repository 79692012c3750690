package websocket

import (
	"portico/core"
	"portico/core/policy"
)

// classic is how the default type is called by those who name it.
const classic = "classic"

// description is the queue that f declares.
func (f *frame) description() core.QueueConfig {
	cfg := core.QueueConfig{
		Name: f.Queue, Type: f.Type, Durable: f.Durable == nil || *f.Durable, AutoDelete: f.AutoDelete,
		MaxPriority: f.MaxPriority, SingleActive: f.SingleActive, QueueRules: f.QueueRules,
	}
	cfg.DeadLetter = f.Death.where
	if f.Type == classic {
		cfg.Type = core.ClassicQueue
	}
	return cfg
}

// declare creates a queue, or finds it.
func (c *conn) declare(f *frame) error {
	if err := c.bus.May(policy.Declare, f.Queue); err != nil {
		return err
	}
	q, created, err := c.bus.DeclareQueue(c.ctx, f.description())
	if err != nil {
		return err
	}
	if q.Config().Owner != "" {
		return core.Errorf(core.CodeLocked, "queue %q belongs to one connection alone", f.Queue)
	}
	a := ok(f.ID)
	a.Created = &created
	c.done(a)
	return nil
}

// queue finds a queue that this identity may do a with.
func (c *conn) queue(a policy.Action, name string) (*core.Queue, error) {
	if err := c.bus.May(a, name); err != nil {
		return nil, err
	}
	return c.bus.Queue(name)
}

func (c *conn) deleteQueue(f *frame) error {
	if _, err := c.queue(policy.Delete, f.Queue); err != nil {
		return err
	}
	ready, err := c.bus.DeleteQueue(c.ctx, f.Queue)
	return c.counted(f.ID, ready, err)
}

func (c *conn) purge(f *frame) error {
	q, err := c.queue(policy.Purge, f.Queue)
	if err != nil {
		return err
	}
	n, err := q.Purge()
	return c.counted(f.ID, n, err)
}

func (c *conn) counted(id string, n int, err error) error {
	if err != nil {
		return err
	}
	a := ok(id)
	a.Ready = &n
	c.done(a)
	return nil
}

// bind: bind and unbind.
func (c *conn) bind(f *frame) error {
	if _, err := c.queue(policy.Bind, f.Queue); err != nil {
		return err
	}
	change := c.bus.Bind
	if f.Op == "unbind" {
		change = c.bus.Unbind
	}
	if err := change(c.ctx, core.Binding{Pattern: f.Subject, Queue: f.Queue}); err != nil {
		return err
	}
	c.done(ok(f.ID))
	return nil
}
