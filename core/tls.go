package core

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"portico/core/certs"

	"github.com/nats-io/nats-server/v2/server"
)

// checkTLS finds what the embedded server cannot do: it has one word for "plain connections too", which counts for NATS and MQTT alike.
func (c Config) checkTLS() error {
	if c.natsTLS().Mode == certs.Required && c.mqttTLS().Mode == certs.Optional {
		return fmt.Errorf("TLS of MQTT cannot be optional where that of NATS is required: make both optional, or both required")
	}
	return nil
}

// natsTLS is what the NATS door does about TLS.
func (c Config) natsTLS() certs.Door {
	if c.NATSListen == off || c.TLS == nil {
		return certs.Door{}
	}
	return certs.Door{Store: c.TLS, Mode: c.NATSTLS}
}

// mqttTLS is what the MQTT door does about TLS.
func (c Config) mqttTLS() certs.Door {
	if c.MQTTListen == off || c.TLS == nil {
		return certs.Door{}
	}
	return certs.Door{Store: c.TLS, Mode: c.MQTTTLS}
}

// nativeAuthTimeout is how long a NATS or MQTT client may take to log in.
const nativeAuthTimeout = 2 * time.Second

// secure puts TLS into the server's options. Connections in the process have none: the server lets them choose.
func (c Config) secure(opts *server.Options, own *ownConns) {
	nats, mqtt := c.natsTLS(), c.mqttTLS()
	opts.AuthTimeout = nativeAuthTimeout.Seconds() // from the end of the TLS handshake; the server's own default would be longer with TLS
	opts.AllowNonTLS = nats.Mode == certs.Optional || mqtt.Mode == certs.Optional
	if nats.On() {
		opts.TLSConfig, opts.TLSTimeout = nats.Store.TLS(), certs.HandshakeTimeout.Seconds()
	}
	if mqtt.On() {
		opts.MQTT.TLSConfig, opts.MQTT.TLSTimeout = own.excused(mqtt.Store), certs.HandshakeTimeout.Seconds()
	}
}

// ownConns are the connections that the gateway has made to its own MQTT door, by their address there. Their clients are at another door, and no certificate
// is asked of the gateway by itself.
type ownConns struct {
	mu  sync.Mutex
	all map[string]string // what is there, and where whoever is behind it comes from
}

func newOwnConns() *ownConns { return &ownConns{all: map[string]string{}} }

// excused is the store's TLS, without client certificates for the gateway's own connections.
func (o *ownConns) excused(store *certs.Store) *tls.Config {
	config, anonymous := store.TLS(), store.Anonymous()
	ask := config.GetConfigForClient
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if hello.Conn != nil && o.has(hello.Conn.RemoteAddr()) {
			return anonymous, nil
		}
		return ask(hello)
	}
	return config
}

func (o *ownConns) has(address net.Addr) bool { return o.at(address.String()) }

func (o *ownConns) at(address string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, ok := o.all[address]
	return ok
}

// somewhere is the address of those who came by another door and whose address the server cannot know: on another machine, perhaps, and all of them one.
const somewhere = "0.0.0.0:0"

// behind is where the client at address of the NATS or MQTT door comes from.
func (o *ownConns) behind(address string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if from, own := o.all[address]; own {
		return from
	}
	if _, err := netip.ParseAddrPort(address); err != nil { // a pipe: see DialNATS
		return somewhere
	}
	return address
}

// keep notes a connection for whoever comes from an address until it is closed.
func (o *ownConns) keep(conn net.Conn, from string) net.Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[conn.LocalAddr().String()] = from
	return &ownConn{Conn: conn, own: o}
}

type ownConn struct {
	net.Conn
	own *ownConns
}

// Close implements net.Conn.
func (c *ownConn) Close() error {
	c.own.mu.Lock()
	delete(c.own.all, c.LocalAddr().String())
	c.own.mu.Unlock()
	return c.Conn.Close()
}
