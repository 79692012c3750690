package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"portico/adapters/grpc/proxy"

	"golang.org/x/crypto/bcrypt"
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

	HTTP HTTPConfig `koanf:"http"`
	GRPC GRPCConfig `koanf:"grpc"`
	AMQP AMQPConfig `koanf:"amqp"`
	NATS DoorConfig `koanf:"nats"`
	MQTT DoorConfig `koanf:"mqtt"`

	STOMP DoorConfig `koanf:"stomp"`

	WebSocket WebSocketConfig `koanf:"websocket"`
	Webhooks  WebhooksConfig  `koanf:"webhooks"`

	Hooks []Hook `koanf:"hooks"`
	Users []User `koanf:"users"`
}

// LogConfig says what is logged, and how.
type LogConfig struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
}

// DoorConfig is what the doors have in common.
type DoorConfig struct {
	Listen string `koanf:"listen"` // host:port, or off
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
		Backends Backends `koanf:"backends"`
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

// WebSocketConfig is what the WebSocket door needs beside the HTTP port it lives on.
type WebSocketConfig struct {
	AllowedOrigins []string `koanf:"allowed_origins"`
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

// User may log in at every door. Exactly one of Password and PasswordHash is set.
type User struct {
	Name         string   `koanf:"name"`
	Password     Secret   `koanf:"password"`
	PasswordHash Secret   `koanf:"password_hash"` // bcrypt
	Publish      []string `koanf:"publish"`       // subject patterns; empty: all
	Subscribe    []string `koanf:"subscribe"`     // subject patterns; empty: all
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

// doorAddresses are the addresses by key, in the order in which they are told.
func (c *Config) doorAddresses() []struct{ key, listen string } {
	return []struct{ key, listen string }{
		{"http.listen", c.HTTP.Listen},
		{"grpc.listen", c.GRPC.Listen},
		{"amqp.listen", c.AMQP.Listen},
		{"nats.listen", c.NATS.Listen},
		{"mqtt.listen", c.MQTT.Listen},
		{"stomp.listen", c.STOMP.Listen},
	}
}

// check finds what no single value can show: public doors without users, users that contradict themselves.
func (c *Config) check() error {
	var all []error
	for _, d := range c.doorAddresses() {
		if len(c.Users) == 0 && d.listen != off && !loopback(d.listen) {
			all = append(all, fmt.Errorf("%s: found %q, which others can reach, but no users are configured: expected a loopback address such as 127.0.0.1, or entries under users", d.key, d.listen))
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

func (u User) check(where string) error {
	switch {
	case u.Name == "":
		return fmt.Errorf("%s.name: found nothing, expected a name", where)
	case (u.Password == "") == (u.PasswordHash == ""):
		return fmt.Errorf("%s (%s): expected one of password and password_hash", where, u.Name)
	case bcryptHash(string(u.Password)):
		return fmt.Errorf("%s.password (%s): found a bcrypt hash, expected it under password_hash", where, u.Name)
	case u.PasswordHash != "" && !bcryptHash(string(u.PasswordHash)):
		return fmt.Errorf("%s.password_hash (%s): expected a bcrypt hash ($2a$… or $2b$…)", where, u.Name)
	}
	return errors.Join(checkPatterns(where+".publish", u.Publish), checkPatterns(where+".subscribe", u.Subscribe))
}

func bcryptHash(s string) bool {
	_, err := bcrypt.Cost([]byte(s))
	return err == nil
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
