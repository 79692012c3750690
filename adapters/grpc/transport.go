package grpcapi

import (
	"context"
	"crypto/x509"
	"errors"
	"net"

	"portico/core/certs"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
)

// transport is the server's half of a connection's security. With certs.Optional the first octet tells which of the two a client speaks.
type transport struct {
	credentials.TransportCredentials                                  // plain
	secure                           credentials.TransportCredentials // nil: TLS is not spoken
	optional                         bool
}

func newTransport(d certs.Door) credentials.TransportCredentials {
	t := &transport{TransportCredentials: insecure.NewCredentials(), optional: d.Mode == certs.Optional}
	if d.On() {
		t.secure = credentials.NewTLS(d.Store.TLS("h2"))
	}
	return t
}

// ServerHandshake implements credentials.TransportCredentials. The server has set a deadline.
func (t *transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if t.secure == nil {
		return t.TransportCredentials.ServerHandshake(raw)
	}
	if t.optional {
		conn, secure, err := certs.Peek(raw)
		if err != nil {
			return nil, nil, err
		}
		if raw = conn; !secure {
			return t.TransportCredentials.ServerHandshake(raw)
		}
	}
	return t.secure.ServerHandshake(raw)
}

// ClientHandshake implements credentials.TransportCredentials; this is a server's half.
func (t *transport) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.ErrUnsupported
}

// Clone implements credentials.TransportCredentials. It has no state.
func (t *transport) Clone() credentials.TransportCredentials { return t }

// certificate is what the client of a call has shown and what was verified; nil: nothing.
func certificate(ctx context.Context) *x509.Certificate {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil
	}
	return certs.ClientCertificate(&info.State)
}
