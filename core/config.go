package core

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"portico/core/audit"
	"portico/core/certs"
	"portico/core/limits"
)

// Config is what core needs. The zero value of every field but DataDir is its default.
type Config struct {
	DataDir      string       // where everything durable is kept; required, one process at a time
	NATSListen   string       // address of the NATS door; "" or "off" keeps it closed (the server then listens on a random loopback port that lets nobody in)
	MQTTListen   string       // address of the MQTT door; "" or "off" keeps it closed
	Durability   string       // "sync" (default): acknowledged means synced to disk. "os": written to the operating system
	MaxMessage   int          // bytes of payload and headers a message may have; default 16 MiB, at most 128 MiB
	QueueMemory  int64        // bytes of records all queues together may keep in memory; default 512 MiB
	DiskFree     int64        // below so many free bytes on DataDir's disk publishing is blocked; 0: 50 MB, negative: never
	TLS          *certs.Store // for the NATS and MQTT doors; nil: they speak none
	NATSTLS      certs.Mode   // "": off
	MQTTTLS      certs.Mode   // "": off
	Gate         *limits.Gate // bounds connections and messages; nil: nothing does
	Audit        *audit.Log   // nil: none. The gateway writes it, and does not close it
	ServerName   string       // default: a stable name kept in DataDir
	Users        []User       // none: the development identity (guest/guest; anonymous where a door knows no login)
	Auth         AuthConfig
	Tenants      []TenantConfig // beside the default one, which may be described here, too; others come and go at run time
	DrainTimeout time.Duration  // how long a door may let work in flight settle when the gateway stops; default 10 s
}

const (
	off = "off" // a listen address that keeps a door closed

	durabilitySync = "sync"
	durabilityOS   = "os"

	defaultMaxMessage   = 16 << 20
	largestMaxMessage   = 128 << 20
	defaultQueueMemory  = 512 << 20
	defaultDiskFree     = 50_000_000
	defaultDrainTimeout = 10 * time.Second

	// headerRoom is what the embedded server accepts above MaxMessage: control headers that are not the client's.
	headerRoom = 64 << 10
)

// withDefaults fills in what was left out and refuses what cannot be.
func (c Config) withDefaults() (Config, error) {
	c.Durability = orDefault(c.Durability, durabilitySync)
	c.MaxMessage = orDefault(c.MaxMessage, defaultMaxMessage)
	c.QueueMemory = orDefault(c.QueueMemory, defaultQueueMemory)
	c.DiskFree = orDefault(c.DiskFree, defaultDiskFree)
	c.DrainTimeout = orDefault(c.DrainTimeout, defaultDrainTimeout)
	c.NATSListen = orDefault(c.NATSListen, off)
	c.MQTTListen = orDefault(c.MQTTListen, off)
	switch {
	case c.DataDir == "":
		return c, fmt.Errorf("data directory: none given")
	case c.Durability != durabilitySync && c.Durability != durabilityOS:
		return c, fmt.Errorf("durability %q: want sync or os", c.Durability)
	case c.MaxMessage < 0 || c.MaxMessage > largestMaxMessage:
		return c, fmt.Errorf("maximal message size %d: want 1 to %d", c.MaxMessage, largestMaxMessage)
	case c.QueueMemory < 0 || c.DrainTimeout < 0:
		return c, fmt.Errorf("queue memory and drain timeout cannot be negative")
	}
	return c, errors.Join(c.checkTLS(), checkUsers(c.Users), CheckTenants(c.Tenants))
}

func orDefault[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// listenAt splits a listen address for the embedded server, which writes "any free port" as -1.
func listenAt(door, address string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, fmt.Errorf("%s listen address %q: %w", door, address, err)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%s listen address %q: port must be 0 to 65535", door, address)
	}
	if port == 0 {
		port = -1
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return host, port, nil
}
