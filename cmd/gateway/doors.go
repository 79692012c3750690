package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"text/tabwriter"

	"portico/adapters/amqp"
	grpcapi "portico/adapters/grpc"
	"portico/adapters/grpc/proxy"
	httpapi "portico/adapters/http"
	"portico/adapters/http/webhook"
	"portico/adapters/websocket"
	"portico/core"
	"portico/core/certs"
	"portico/web"
)

// doors are what is open: the adapters to run, and the signs that tell where each door is.
type doors struct {
	adapters []core.Adapter
	signs    []sign
	amqp     *amqp.Adapter    // nil: off
	grpc     *grpcapi.Adapter // nil: off
	stomp    *websocket.STOMP // nil: off
	webhooks *webhook.Courier
	tls      *certs.Store // nil: no door speaks TLS
	changes  *reloader    // nil: the configuration is not read again
}

// A sign tells where a door is and one line to try it.
type sign struct{ door, address, try string }

// openDoors opens every door that is not off. On an error it returns those that are open already.
// This list is where a new protocol comes in.
func openDoors(cfg *Config, g *core.Gateway, secrets *certs.Store, changes *reloader, log *slog.Logger) (*doors, error) {
	d := &doors{tls: secrets, changes: changes}
	if secrets != nil {
		d.adapters = append(d.adapters, tlsWatch{secrets})
	}
	who := whoFor(cfg)
	for _, open := range []func(*Config, *core.Gateway, *slog.Logger, credentials) error{
		d.openAMQP,     // before HTTP, where its resources are served
		d.openWebhooks, // likewise
		d.openHTTP,
		d.openGRPC,
		d.tellAMQP,
		d.openSTOMP,
	} {
		if err := open(cfg, g, log, who); err != nil {
			return d, err
		}
	}
	d.signs = append(d.signs, embeddedSigns(cfg, g, who)...)
	return d, nil
}

// openWebhooks makes what delivers to webhooks, whether or not the HTTP door is open.
func (d *doors) openWebhooks(cfg *Config, g *core.Gateway, log *slog.Logger, _ credentials) (err error) {
	if d.webhooks, err = webhook.New(webhook.Config{AllowNetworks: cfg.Webhooks.networks()}, g, log); err != nil {
		return err
	}
	d.adapters = append(d.adapters, d.webhooks)
	return nil
}

// openHTTP opens the HTTP door with the WebSocket door and the page on it.
func (d *doors) openHTTP(cfg *Config, g *core.Gateway, log *slog.Logger, who credentials) error {
	if cfg.HTTP.Listen == off {
		return nil
	}
	page, err := web.Assets()
	if err != nil {
		return err
	}
	carries := cfg.WebSocket.door(cfg.HTTP.AllowedOrigins)
	if d.amqp != nil {
		carries.AMQP = d.amqp.ServeConn
	}
	ws, err := websocket.New(carries, g, log)
	if err != nil {
		return err
	}
	d.adapters = append(d.adapters, ws)
	extensions := map[string]httpapi.Extension{}
	if d.amqp != nil {
		extensions["amqp"] = d.amqp.API()
	}
	a, err := httpapi.New(httpapi.Config{Listen: cfg.HTTP.Listen, AdminListen: cfg.Admin.address(), MaxConnections: cfg.WebSocket.httpConnections(), TLS: d.secure(cfg, cfg.HTTP.TLS), Hooks: cfg.doorHooks(), Webhooks: d.webhooks, WebSocket: ws, RPC: http.HandlerFunc(d.serveRPC), Web: page, Extensions: extensions, Reload: d.changes.forDoor(), AllowedOrigins: cfg.HTTP.AllowedOrigins, Doors: d.addresses}, g, log)
	if err != nil {
		return err
	}
	d.adapters = append(d.adapters, a)
	d.tellAdmin(cfg, a)
	at := reachable(a.Addr())
	s, curl := "", who.curl
	if cfg.TLS.mode(cfg.HTTP.TLS) == certs.Required {
		s, curl = "s", cfg.TLS.trust(" --cacert ")+who.curl
	}
	d.signs = append(d.signs,
		sign{"page", "http" + s + "://" + at + "/", "open it in a browser"},
		sign{"HTTP", "http" + s + "://" + at, fmt.Sprintf("curl%s -d hello http%s://%s/v1/publish/greet.you", curl, s, at)},
		sign{"WebSocket", "ws" + s + "://" + at + "/ws", fmt.Sprintf("websocat%s --protocol portico.v1.json ws%s://%s/ws", who.websocat, s, at)},
	)
	return nil
}

// serveRPC hands the HTTP port's gRPC calls to the gRPC door, which is opened later, but before the first request is served.
func (d *doors) serveRPC(w http.ResponseWriter, r *http.Request) {
	if d.grpc == nil {
		http.NotFound(w, r)
		return
	}
	d.grpc.Web().ServeHTTP(w, r)
}

// addresses are those of the doors that have a listener of their own, by name. All are open before the first request is served.
func (d *doors) addresses() map[string]string {
	out := map[string]string{}
	if d.amqp != nil {
		out["amqp"] = d.amqp.Addr()
	}
	if d.grpc != nil {
		out["grpc"] = d.grpc.Addr()
	}
	if d.stomp != nil {
		out["stomp"] = d.stomp.Addr()
	}
	return out
}

func (d *doors) openGRPC(cfg *Config, g *core.Gateway, log *slog.Logger, who credentials) error {
	if cfg.GRPC.Listen == off {
		return nil
	}
	a, carry, err := grpcapi.NewWithProxy(grpcapi.Config{Listen: cfg.GRPC.Listen, TLS: d.secure(cfg, cfg.GRPC.TLS)}, proxy.Config{Backends: cfg.GRPC.Proxy.Backends.List, Authorization: cfg.GRPC.Proxy.Authorization == "pass"}, g, log)
	if err != nil {
		return err
	}
	d.grpc = a
	d.adapters = append(d.adapters, a, carry)
	at := reachable(a.Addr())
	how := " -plaintext"
	if cfg.TLS.mode(cfg.GRPC.TLS) == certs.Required {
		how = cfg.TLS.trust(" -cacert ")
	}
	d.signs = append(d.signs, sign{"gRPC", at, fmt.Sprintf(
		`grpcurl%s%s -d '{"message":{"subject":"greet.you","data":"aGVsbG8="}}' %s portico.v1.PorticoService/Publish`, who.grpcurl, how, at)})
	return nil
}

func (d *doors) openAMQP(cfg *Config, g *core.Gateway, log *slog.Logger, _ credentials) (err error) {
	if cfg.AMQP.Listen == off {
		return nil
	}
	door := cfg.AMQP.door()
	door.TLS = d.secure(cfg, cfg.AMQP.TLS)
	if d.amqp, err = amqp.New(door, g, log); err != nil {
		return err
	}
	d.adapters = append(d.adapters, d.amqp)
	return nil
}

func (d *doors) tellAMQP(cfg *Config, _ *core.Gateway, _ *slog.Logger, who credentials) error {
	if d.amqp == nil {
		return nil
	}
	url := cfg.TLS.scheme("amqp", cfg.AMQP.TLS) + who.amqp + "@" + reachable(d.amqp.Addr())
	d.signs = append(d.signs, sign{"AMQP", url, fmt.Sprintf("amqp-publish --url=%s -e amq.topic -r greet.you -b hello", url)})
	return nil
}

// openSTOMP opens the STOMP door on TCP; over WebSocket STOMP is there as long as HTTP is.
func (d *doors) openSTOMP(cfg *Config, g *core.Gateway, log *slog.Logger, who credentials) error {
	if cfg.STOMP.Listen == off {
		return nil
	}
	a, err := websocket.NewSTOMP(websocket.STOMPConfig{Listen: cfg.STOMP.Listen, TLS: d.secure(cfg, cfg.STOMP.TLS)}, g, log)
	if err != nil {
		return err
	}
	d.stomp = a
	d.adapters = append(d.adapters, a)
	at := reachable(a.Addr())
	try := "curl -s telnet://" + at
	if cfg.TLS.mode(cfg.STOMP.TLS) == certs.Required {
		try = "openssl s_client -quiet -connect " + at
	}
	d.signs = append(d.signs, sign{"STOMP", cfg.TLS.scheme("stomp", cfg.STOMP.TLS) + at, fmt.Sprintf(
		`printf 'CONNECT\n%s\n\000SEND\ndestination:/topic/greet.you\n\nhello\000DISCONNECT\n\n\000' | %s`, who.stomp, try)})
	return nil
}

// embeddedSigns are those of the doors that the embedded server opens by itself.
func embeddedSigns(cfg *Config, g *core.Gateway, who credentials) (signs []sign) {
	if addr := g.NATSAddr(); addr != "" {
		url, ca := "nats://"+who.nats+reachable(addr), ""
		if cfg.TLS.mode(cfg.NATS.TLS) == certs.Required {
			ca = cfg.TLS.trust(" --tlsca ")
		}
		signs = append(signs, sign{"NATS", url, fmt.Sprintf("nats pub -s %s%s greet.you hello", url, ca)})
	}
	if addr := g.MQTTAddr(); addr != "" {
		at := reachable(addr)
		host, port, _ := net.SplitHostPort(at)
		ca := ""
		if cfg.TLS.mode(cfg.MQTT.TLS) == certs.Required {
			ca = cfg.TLS.trust(" --cafile ")
		}
		signs = append(signs, sign{"MQTT", cfg.TLS.scheme("mqtt", cfg.MQTT.TLS) + at, fmt.Sprintf("mosquitto_pub%s%s -h %s -p %s -t greet/you -m hello", who.mosquitto, ca, host, port)})
	}
	return signs
}

// credentials are what each tool needs to log in, as one writes it on its command line.
type credentials struct{ curl, websocat, grpcurl, amqp, nats, mosquitto, stomp string }

// whoFor returns the development identity, or a place-holder when users are configured.
func whoFor(cfg *Config) credentials {
	if len(cfg.Users) == 0 {
		return credentials{amqp: "guest:guest"}
	}
	return credentials{
		curl:      " -u USER:PASSWORD",
		websocat:  " --basic-auth USER:PASSWORD",
		grpcurl:   ` -H "authorization: Basic $(printf USER:PASSWORD | base64)"`,
		amqp:      "USER:PASSWORD",
		nats:      "USER:PASSWORD@",
		mosquitto: " -u USER -P PASSWORD",
		stomp:     `login:USER\npasscode:PASSWORD\n`,
	}
}

// reachable is an address that a client on this machine can use: a wildcard address is none.
func reachable(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().IsUnspecified() {
		return address
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()).String()
}

// tell writes where the doors are.
func (d doors) tell(w io.Writer, cfg *Config) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Portico is open. Data is kept in %s. Ctrl-C closes it.\n", cfg.DataDir)
	if cfg.TLS.SelfSigned {
		fmt.Fprintf(t, "TLS is by a self-signed certificate, which clients have to be told to believe: %s\n", cfg.TLS.Cert)
	}
	fmt.Fprintln(t)
	for _, s := range d.signs {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", s.door, s.address, s.try)
	}
	fmt.Fprintln(t)
	return t.Flush() // reports what the lines above could not write
}
