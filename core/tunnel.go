package core

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
)

// DialNATS opens a connection to the embedded server that speaks the NATS client protocol, as one accepted at the NATS door does: whoever is behind it logs in by
// its CONNECT. To failed logins all who come by it are at one address, on another machine. It is for doors that carry that protocol inside another. The caller closes it; it ends with the gateway. Writes wait until the server has read
// them. CodeUnavailable when the NATS door is closed or the server is stopping.
func (g *Gateway) DialNATS() (net.Conn, error) {
	if g.server.natsAddr == "" {
		return nil, Errorf(CodeUnavailable, "the NATS door is closed")
	}
	conn, err := g.server.InProcessConn()
	if err != nil {
		return nil, &Error{Code: CodeUnavailable, Detail: "the gateway is stopping", Err: err}
	}
	return conn, nil
}

// DialMQTT is DialNATS for MQTT 3.1.1: a connection to the MQTT door, over the machine's own network. remote is the address of whoever is behind it, host:port.
func (g *Gateway) DialMQTT(ctx context.Context, remote string) (net.Conn, error) {
	if g.server.mqttAddr == "" {
		return nil, Errorf(CodeUnavailable, "the MQTT door is closed")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", dialable(g.server.mqttAddr))
	if err != nil {
		return nil, &Error{Code: CodeUnavailable, Detail: "the MQTT door does not answer", Err: err}
	}
	conn = g.server.own.keep(conn, remote)
	if door := g.cfg.mqttTLS(); door.On() {
		return tls.Client(conn, door.Store.Own()), nil
	}
	return conn, nil
}

// dialable is address with the machine itself in place of "every address of it".
func dialable(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().IsUnspecified() {
		return address
	}
	self := netip.IPv6Loopback()
	if at.Addr().Is4() {
		self = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(self, at.Port()).String()
}
