package amqp

import (
	"context"
	"strings"

	"portico/adapters/amqp/wire"
	"portico/core"
)

// alarm is a time during which nothing is taken in from publishers.
type alarm struct {
	reason  string
	cleared chan struct{}
}

// watchAlarms keeps the adapter's alarm true until ctx ends.
func (a *Adapter) watchAlarms(ctx context.Context) {
	for {
		changed := a.gateway.AlarmsChanged()
		present, current := a.gateway.Alarms(), a.alarm.Load()
		switch {
		case len(present) > 0 && current == nil:
			a.alarm.Store(&alarm{reason: alarmReason(present), cleared: make(chan struct{})})
		case len(present) == 0 && current != nil:
			a.alarm.Store(nil)
			close(current.cleared)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// alarmReason is the reason in connection.blocked, in RabbitMQ's words where it has them.
func alarmReason(alarms []core.Alarm) string {
	reasons := make([]string, 0, len(alarms))
	for _, al := range alarms {
		switch al.Name {
		case "disk", "memory":
			reasons = append(reasons, "low on "+al.Name)
		default:
			reasons = append(reasons, al.Name+" alarm")
		}
	}
	text := strings.Join(reasons, " & ")
	return text[:min(len(text), 255)]
}

// throttle holds a publisher back while there is an alarm, and tells it so if it wants to know [RMQ: connection.blocked].
// Connections that only consume never come here.
func (c *conn) throttle() error {
	for {
		al := c.adapter.alarm.Load()
		if al == nil {
			return nil
		}
		c.settleAll()
		if c.can.blocked {
			c.send(0, &wire.ConnectionBlocked{Reason: al.reason})
		}
		if err := await(c, al.cleared); err != nil {
			return err
		}
		if c.can.blocked {
			c.send(0, &wire.ConnectionUnblocked{})
		}
	}
}
