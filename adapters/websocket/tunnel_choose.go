package websocket

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"portico/core"

	"github.com/gorilla/websocket"
)

// The subprotocols of other protocols. NATS has none: its clients offer nothing and connect at / or /nats.
const (
	protocolMQTT    = "mqtt"
	protocolMQTT31  = "mqttv3.1"
	protocolAMQP    = "amqp"
	protocolSTOMP10 = "v10.stomp"
	protocolSTOMP11 = "v11.stomp"
	protocolSTOMP12 = "v12.stomp"
)

// spoken are the subprotocols other than Portico's own, those first that are taken before others.
var spoken = [...]string{protocolSTOMP12, protocolSTOMP11, protocolSTOMP10, protocolMQTT, protocolMQTT31, protocolAMQP}

// atPath is what a client speaks that offers no subprotocol, by where it connects; "" is Portico's own.
func atPath(path string) string {
	switch path {
	case "/", "/nats", "/ws/nats":
		return "nats"
	case "/mqtt", "/ws/mqtt":
		return protocolMQTT
	case "/amqp", "/ws/amqp":
		return protocolAMQP
	case "/stomp", "/ws/stomp":
		return protocolSTOMP12
	}
	return ""
}

// other tells which protocol other than Portico's own the client wants; own: none. The subprotocol decides, then the path. answer is the subprotocol to confirm.
func other(r *http.Request) (protocol, answer string, own bool) {
	offered := websocket.Subprotocols(r)
	if len(offered) == 0 {
		protocol = atPath(r.URL.Path)
		return protocol, "", protocol == ""
	}
	if slices.Contains(offered, Protocol) || slices.Contains(offered, ProtocolCBOR) {
		return "", "", true
	}
	for _, s := range spoken {
		if slices.Contains(offered, s) {
			return s, s, false
		}
	}
	return "", "", true // Portico's own, or none that is spoken here
}

// serveOther serves a connection that speaks another protocol.
func (a *Adapter) serveOther(w http.ResponseWriter, r *http.Request, protocol, answer string) {
	switch {
	case strings.HasSuffix(protocol, ".stomp"):
		a.serveSTOMP(w, r, answer)
	case strings.HasPrefix(protocol, protocolMQTT):
		a.serveTunnel(w, r, answer, carried{name: "mqtt", binary: true, dial: func(r *http.Request) (net.Conn, error) { return a.gateway.DialMQTT(r.Context(), r.RemoteAddr) }})
	case protocol == protocolAMQP:
		a.serveTunnel(w, r, answer, carried{name: "amqp", binary: true, drains: true, dial: a.dialAMQP})
	default:
		a.serveTunnel(w, r, answer, carried{name: "nats", dial: func(*http.Request) (net.Conn, error) { return a.gateway.DialNATS() }})
	}
}

// dialAMQP hands one end of a pipe to the AMQP door.
func (a *Adapter) dialAMQP(r *http.Request) (net.Conn, error) {
	if a.amqp == nil {
		return nil, core.Errorf(core.CodeUnavailable, "the AMQP door is closed")
	}
	near, far := net.Pipe()
	end := named{Conn: far, remote: address(r.RemoteAddr), local: far.LocalAddr()}
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		end.local = at
	}
	a.amqp(end)
	return near, nil
}

// named is a connection that tells other addresses than its own.
type named struct {
	net.Conn
	remote, local net.Addr
}

// RemoteAddr implements net.Conn.
func (n named) RemoteAddr() net.Addr { return n.remote }

// LocalAddr implements net.Conn.
func (n named) LocalAddr() net.Addr { return n.local }

// address is text as an address of the network tcp.
type address string

// Network implements net.Addr.
func (address) Network() string { return "tcp" }

// String implements net.Addr.
func (a address) String() string { return string(a) }
