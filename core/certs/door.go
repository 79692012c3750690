package certs

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

// HandshakeTimeout is how long a client may take from its connection to the end of the TLS handshake, where the door has no shorter limit of its own.
const HandshakeTimeout = 10 * time.Second

// Door is what one door does about TLS. The zero value speaks none.
type Door struct {
	Store *Store // nil: Mode must be Off or ""
	Mode  Mode   // "" is Off
}

// On tells whether TLS is spoken at all.
func (d Door) On() bool { return d.Store != nil && (d.Mode == Optional || d.Mode == Required) }

// Listener puts TLS around a listener. Its connections are *tls.Conn whose handshake has not begun, or plain ones where the mode allows that. They have no
// deadline: whoever takes them sets one before the first read. l is closed with the listener that is returned.
func (d Door) Listener(l net.Listener, protocols ...string) net.Listener {
	switch {
	case !d.On():
		return l
	case d.Mode == Required:
		return tls.NewListener(l, d.Store.TLS(protocols...))
	}
	return newSniffer(l, d.Store.TLS(protocols...))
}

// Handshake ends the TLS handshake of a connection of a Door's listener within HandshakeTimeout; a plain connection has none. It is for doors that read and write at the same time: a write would
// wait for a handshake that hangs in a read, deadline or not. Afterwards the connection has no deadline.
func Handshake(c net.Conn) error {
	secure, ok := c.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), HandshakeTimeout)
	defer cancel()
	return secure.HandshakeContext(ctx)
}

// ConnState is the state of a connection of a Door's listener, nil for a plain one. It is complete when the handshake is over.
func ConnState(c net.Conn) *tls.ConnectionState {
	secure, ok := c.(*tls.Conn)
	if !ok {
		return nil
	}
	state := secure.ConnectionState()
	return &state
}
