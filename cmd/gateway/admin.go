package main

import (
	httpapi "portico/adapters/http"
	"portico/core/certs"
)

// AdminConfig is where administrators go.
type AdminConfig struct {
	Listen string `koanf:"listen"` // host:port, or off
}

func adminOption() option {
	o := address("admin.listen", off, "users, tenants, configuration and metrics, which are not at http.listen then")
	o.help = "address of its own for users, tenants, configuration and metrics, which are not at http.listen then; off = they are there"
	return o
}

// address is where they go, "" if they have no address of their own.
func (c AdminConfig) address() string {
	if c.Listen == off {
		return ""
	}
	return c.Listen
}

// tellAdmin tells where they go.
func (d *doors) tellAdmin(cfg *Config, a *httpapi.Adapter) {
	if a.AdminAddr() == "" {
		return
	}
	at, scheme := reachable(a.AdminAddr()), "http://"
	if cfg.TLS.mode(cfg.HTTP.TLS) == certs.Required {
		scheme = "https://"
	}
	d.signs = append(d.signs, sign{"admin", scheme + at, "curl " + scheme + at + "/metrics"})
}
