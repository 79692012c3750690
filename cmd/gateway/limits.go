package main

import (
	"log/slog"
	"math"

	"portico/core/audit"
	"portico/core/limits"
)

// LimitsConfig is what one address and one user may take; 0 is no limit.
type LimitsConfig struct {
	Connections           int `koanf:"connections"`
	ConnectionsPerAddress int `koanf:"connections_per_address"`
	ConnectionsPerUser    int `koanf:"connections_per_user"`
	ConnectRate           int `koanf:"connect_rate"` // a second, of one address
	MessageRate           int `koanf:"message_rate"` // a second, of one user
}

// AuditConfig says where it is written down who came in, who was refused what, and who changed something.
type AuditConfig struct {
	File    string `koanf:"file"`
	MaxSize int64  `koanf:"max_size"` // bytes
}

func limitOptions() []option {
	most := func(key, help string) option {
		return switchable(number(key, off, help+"; off = no limit", 1, math.MaxInt32), 0)
	}
	return []option{
		most("limits.connections", "connections at once, over all doors"),
		most("limits.connections_per_address", "connections at once from one address"),
		most("limits.connections_per_user", "connections at once of one user"),
		most("limits.connect_rate", "new connections a second from one address"),
		most("limits.message_rate", "messages a second that one user publishes"),
		file("audit.file", "file for logins, denials and administrative changes"),
		size("audit.max_size", "16MiB", "size of the audit file at which the next is begun; four older ones are kept", 64<<10, 1<<40),
	}
}

// gate is the part of the configuration that bounds connections and messages.
func (c *Config) gate() limits.Config {
	l := c.Limits
	return limits.Config{
		Connections: l.Connections, ConnectionsAddress: l.ConnectionsPerAddress, ConnectionsUser: l.ConnectionsPerUser,
		ConnectRate: float64(l.ConnectRate), MessageRate: float64(l.MessageRate),
	}
}

// tellLimited writes refused connections down.
func tellLimited(record *audit.Log) func(remote string, reason error) {
	return func(remote string, reason error) {
		record.Record(audit.Event{Kind: audit.Limited, Remote: remote, Reason: reason.Error()})
	}
}

func (c *Config) openAudit(log *slog.Logger) (*audit.Log, error) {
	return audit.Open(audit.Config{File: c.Audit.File, MaxSize: c.Audit.MaxSize}, log)
}
