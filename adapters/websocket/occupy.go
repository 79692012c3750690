package websocket

import "portico/core"

// occupy counts the connection as one of the identity's user and tenant. Showing newer credentials of the same user changes nothing. CodeResourceExhausted.
func (c *conn) occupy(bus *core.Bus) error {
	if c.place != nil && c.bus != nil && c.bus.User() == bus.User() && c.bus.Tenant() == bus.Tenant() {
		return nil
	}
	leave, err := bus.Connect()
	if err != nil {
		return err
	}
	c.vacate()
	c.place = leave
	return nil
}

// vacate gives the place back.
func (c *conn) vacate() {
	if c.place != nil {
		c.place()
		c.place = nil
	}
}
