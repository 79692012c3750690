package amqp

import (
	"time"

	"portico/adapters/amqp/wire"
)

// writeLoop writes whatever gathers in the outbox, sleeps when there is nothing, and sends a heartbeat when half an
// interval went by without a byte. It ends when the outbox is closed and empty, or the socket fails.
func (c *conn) writeLoop() {
	var beat <-chan time.Time
	if c.heartbeat > 0 {
		t := time.NewTicker(c.heartbeat / 2)
		defer t.Stop()
		beat = t.C
	}
	quiet := true
	for {
		b, closed := c.out.take()
		if b != nil {
			quiet = false
			if !c.write(b) {
				return
			}
			continue
		}
		if closed {
			return
		}
		select {
		case <-c.out.wakeup:
		case <-beat:
			if quiet {
				c.out.end(wire.AppendHeartbeat(c.out.begin()))
			}
			quiet = true
		}
	}
}

func (c *conn) write(b *buffer) bool {
	if _, err := c.net.Write(b.b); err != nil {
		c.fail(err)
		return false
	}
	if c.out.written(b) {
		c.wakeConsumers()
	}
	return true
}

// send appends one method frame.
func (c *conn) send(channel uint16, m wire.Method) {
	c.out.end(wire.AppendMethod(c.out.begin(), channel, m))
}

// wakeConsumers makes the queues ask again whether there is room.
func (c *conn) wakeConsumers() {
	c.mu.Lock()
	woken := make([]*consumer, 0, len(c.consumers))
	for k := range c.consumers {
		woken = append(woken, k)
	}
	c.mu.Unlock()
	for _, k := range woken {
		k.source.Wake()
	}
}
