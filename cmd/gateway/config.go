package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"portico/adapters/grpc/proxy"
	"portico/core"
)

// Config is everything that can be configured. The koanf tags are the keys of the file; docs/configuration.md explains each.
type Config struct {
	DataDir      string        `koanf:"data_dir"`
	Durability   string        `koanf:"durability"`
	DrainTimeout time.Duration `koanf:"drain_timeout"`
	Log          LogConfig     `koanf:"log"`

	MaxMessage  int64 `koanf:"max_message"`  // bytes
	QueueMemory int64 `koanf:"queue_memory"` // bytes
	DiskFree    int64 `koanf:"disk_free"`    // bytes; 0 switches the check off

	TLS    TLSConfig    `koanf:"tls"`
	Limits LimitsConfig `koanf:"limits"`
	Audit  AuditConfig  `koanf:"audit"`

	HTTP  HTTPConfig  `koanf:"http"`
	Admin AdminConfig `koanf:"admin"`
	GRPC  GRPCConfig  `koanf:"grpc"`
	AMQP  AMQPConfig  `koanf:"amqp"`
	NATS  DoorConfig  `koanf:"nats"`
	MQTT  DoorConfig  `koanf:"mqtt"`

	STOMP DoorConfig `koanf:"stomp"`

	WebSocket WebSocketConfig `koanf:"websocket"`
	Webhooks  WebhooksConfig  `koanf:"webhooks"`

	Hooks []Hook `koanf:"hooks"`
	Users []User `koanf:"users"`

	Auth AuthConfig `koanf:"auth"`

	Tenants []core.TenantConfig `koanf:"tenants"`
}

// LogConfig says what is logged, and how.
type LogConfig struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
}

// DoorConfig is what the doors have in common.
type DoorConfig struct {
	Listen string `koanf:"listen"` // host:port, or off
	TLS    string `koanf:"tls"`    // off, optional, required, or auto
}

// HTTPConfig is what the HTTP door needs.
type HTTPConfig struct {
	DoorConfig     `koanf:",squash"`
	AllowedOrigins []string `koanf:"allowed_origins"`
}

// GRPCConfig is what the gRPC door needs.
type GRPCConfig struct {
	DoorConfig `koanf:",squash"`
	Proxy      struct {
		Backends      Backends `koanf:"backends"`
		Authorization string   `koanf:"authorization"` // drop or pass
	} `koanf:"proxy"`
}

// Backends are the gRPC servers that the gateway dials.
type Backends struct{ List []proxy.Backend }

// MarshalYAML writes them as they stand in the file.
func (b Backends) MarshalYAML() (any, error) {
	out := make([]map[string]any, 0, len(b.List))
	for _, one := range b.List {
		entry := map[string]any{"address": one.Address}
		if len(one.Services) > 0 {
			entry["services"] = one.Services
		}
		if one.TLS {
			entry["tls"] = true
		}
		for key, value := range map[string]string{"ca_file": one.CAFile, "cert_file": one.CertFile, "key_file": one.KeyFile, "server_name": one.ServerName} {
			if value != "" {
				entry[key] = value
			}
		}
		out = append(out, entry)
	}
	return out, nil
}

// AMQPConfig is what the AMQP door needs.
type AMQPConfig struct {
	DoorConfig       `koanf:",squash"`
	Product          string        `koanf:"product"`
	Version          string        `koanf:"version"`
	Heartbeat        time.Duration `koanf:"heartbeat"` // 0: none
	FrameMax         int64         `koanf:"frame_max"` // bytes
	ChannelMax       int           `koanf:"channel_max"`
	HandshakeTimeout time.Duration `koanf:"handshake_timeout"`
	ConsumerTimeout  time.Duration `koanf:"consumer_timeout"` // 0: never
}

// WebhooksConfig is what outbound webhooks need.
type WebhooksConfig struct {
	AllowNetworks []string `koanf:"allow_networks"` // in CIDR notation; beside the public internet
}

// networks are AllowNetworks, which were checked when they were read.
func (w WebhooksConfig) networks() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range w.AllowNetworks {
		if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p.Masked())
		}
	}
	return all
}

// Secret is text that never shows itself.
type Secret string

// String implements fmt.Stringer; it hides the text. Convert to string to use it.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "[redacted]"
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// doorAddress is where a door listens, and what it says about TLS.
type doorAddress struct{ door, listen, tls string }

// doorAddresses are the addresses by door, in the order in which they are told.
func (c *Config) doorAddresses() []doorAddress {
	return []doorAddress{
		{"http", c.HTTP.Listen, c.HTTP.TLS},
		{"admin", c.Admin.Listen, c.HTTP.TLS},
		{"grpc", c.GRPC.Listen, c.GRPC.TLS},
		{"amqp", c.AMQP.Listen, c.AMQP.TLS},
		{"nats", c.NATS.Listen, c.NATS.TLS},
		{"mqtt", c.MQTT.Listen, c.MQTT.TLS},
		{"stomp", c.STOMP.Listen, c.STOMP.TLS},
	}
}

// check finds what no single value can show: public doors without users, users that contradict themselves.
func (c *Config) check() error {
	var all []error
	for _, d := range c.doorAddresses() {
		if len(c.Users) == 0 && d.listen != off && !loopback(d.listen) {
			all = append(all, fmt.Errorf("%s.listen: found %q, which others can reach, but no users are configured: expected a loopback address such as 127.0.0.1, or entries under users", d.door, d.listen))
		}
	}
	all = append(all, c.checkHooks()...)
	seen := map[string]bool{}
	for i, u := range c.Users {
		where := fmt.Sprintf("users[%d]", i)
		if seen[u.Name] {
			all = append(all, fmt.Errorf("%s.name: found %q a second time, expected each name once", where, u.Name))
		}
		seen[u.Name] = true
		all = append(all, u.check(where))
	}
	return errors.Join(all...)
}

// checkPatterns checks that each is a subject pattern: tokens between dots, none empty, * and > as whole tokens, > last.
func checkPatterns(key string, patterns []string) error {
	for i, p := range patterns {
		tokens := strings.Split(p, ".")
		for j, t := range tokens {
			wild := strings.ContainsAny(t, "*>") && len(t) > 1
			if t == "" || wild || t == ">" && j < len(tokens)-1 || strings.ContainsAny(t, " \t\r\n\x00") {
				return fmt.Errorf("%s[%d]: found %q, expected a subject pattern such as orders.* or orders.>", key, i, p)
			}
		}
	}
	return nil
}

// loopback tells whether only this machine can reach an address (host:port). A host name other than localhost may point anywhere.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
