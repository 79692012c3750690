package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"portico/core/certs"
)

// TLSConfig is what all doors have in common about TLS.
type TLSConfig struct {
	Cert       string `koanf:"cert"`
	Key        string `koanf:"key"`
	ClientCA   string `koanf:"client_ca"`
	CRL        string `koanf:"crl"`
	ClientAuth string `koanf:"client_auth"`
	MinVersion string `koanf:"min_version"`
	SelfSigned bool   `koanf:"self_signed"`
}

// auto is a door's mode when none is chosen: required where there is a certificate, else off.
const auto = "auto"

// tlsEvery is how often the files are looked at.
const tlsEvery = 2 * time.Second

// tlsOptions are the keys that all doors have in common about TLS.
func tlsOptions() []option {
	return []option{
		file("tls.cert", "file of the certificate, PEM, with those of the authorities between it and a root; every door speaks TLS then"),
		file("tls.key", "file of the certificate's private key, PEM"),
		boolean("tls.self_signed", "false", "for development: make a certificate for this machine, in data_dir"),
		numeral(choice("tls.min_version", "oldest version of TLS that is spoken", "1.2", "1.3")),
		file("tls.client_ca", "file of the authorities whose client certificates are believed, PEM"),
		choice("tls.client_auth", "whether clients show certificates: none = not asked, request = they may, require = they must", "none", "request", "require"),
		file("tls.crl", "file of revocation lists of client certificates, PEM or DER"),
	}
}

// tlsMode is a door's own key.
func tlsMode(door string) option {
	return choice(door+".tls", "TLS at this door: auto = required if there is a certificate, else off; optional = both, on one port", auto, "off", "optional", "required")
}

// file is the name of a file; it may be left out.
func file(key, help string) option {
	return option{key: key, help: help, expects: "the name of a file", parse: func(v any) (any, error) {
		s, ok := v.(string)
		return fit(s, ok)
	}}
}

// boolean is true or false.
func boolean(key, preset, help string) option {
	return option{key: key, preset: preset, help: help, expects: "true or false", parse: func(v any) (any, error) {
		switch v {
		case true, "true":
			return true, nil
		case false, "false":
			return false, nil
		}
		return nil, errUnfit
	}}
}

// numeral lets a choice stand without quotes in the file, although it looks like a number.
func numeral(o option) option {
	parse := o.parse
	o.parse = func(v any) (any, error) {
		if n, ok := v.(float64); ok {
			v = strconv.FormatFloat(n, 'f', -1, 64)
		}
		return parse(v)
	}
	return o
}

// secure tells whether there is a certificate.
func (c TLSConfig) secure() bool { return c.Cert != "" || c.Key != "" || c.SelfSigned }

// mode is what a door does whose key says this.
func (c TLSConfig) mode(said string) certs.Mode {
	switch {
	case said != auto && said != "":
		return certs.Mode(said)
	case c.secure():
		return certs.Required
	}
	return certs.Off
}

// checkTLS finds keys that contradict each other.
func (c *Config) checkTLS() error {
	t := c.TLS
	switch {
	case t.SelfSigned && (t.Cert != "" || t.Key != ""):
		return errors.New("tls.self_signed: found true beside tls.cert or tls.key, expected one of the two")
	case (t.Cert == "") != (t.Key == ""):
		return errors.New("tls: expected both of tls.cert and tls.key, or none")
	case !t.secure() && (t.ClientCA != "" || t.CRL != "" || t.ClientAuth != "none"):
		return errors.New("tls: client certificates are asked for, but no door speaks TLS: expected tls.cert and tls.key")
	}
	for _, d := range c.doorAddresses() {
		if mode := t.mode(d.tls); !t.secure() && d.listen != off && mode != certs.Off {
			return fmt.Errorf("%s.tls: found %q, but there is no certificate: expected tls.cert and tls.key, or tls.self_signed", d.door, mode)
		}
	}
	return nil
}

// openTLS reads the certificates, or makes some; nil: no door speaks TLS.
func (c *Config) openTLS(log *slog.Logger) (*certs.Store, error) {
	if err := c.checkTLS(); err != nil {
		return nil, err
	}
	t := &c.TLS
	if !t.secure() {
		return nil, nil
	}
	if t.SelfSigned {
		var err error
		if t.Cert, t.Key, err = certs.SelfSigned(filepath.Join(c.DataDir, "tls")); err != nil {
			return nil, err
		}
	}
	version := uint16(tls.VersionTLS12)
	if t.MinVersion == "1.3" {
		version = tls.VersionTLS13
	}
	return certs.New(certs.Config{
		Cert: t.Cert, Key: t.Key, ClientCA: t.ClientCA, CRL: t.CRL, ClientAuth: certs.ClientAuth(t.ClientAuth), MinVersion: version,
	}, log)
}

// warnPlain tells of doors that others can reach and where passwords travel in the clear.
func (c *Config) warnPlain(log *slog.Logger) {
	for _, d := range c.doorAddresses() {
		if d.listen != off && !loopback(d.listen) && c.TLS.mode(d.tls) != certs.Required {
			log.Warn("others can reach this door without TLS: what they say can be read and changed on the way", "door", d.door, "listen", d.listen, "tls", c.TLS.mode(d.tls))
		}
	}
}

// tlsWatch reads the files again when they change. It implements core.Adapter.
type tlsWatch struct{ *certs.Store }

// Serve implements core.Adapter.
func (w tlsWatch) Serve(ctx context.Context) error {
	w.Watch(ctx, tlsEvery)
	return nil
}

// secure is what a door does whose key says this.
func (d *doors) secure(cfg *Config, said string) certs.Door {
	return certs.Door{Store: d.tls, Mode: cfg.TLS.mode(said)}
}

// scheme is how an address of a door begins whose key says this, such as amqps://.
func (c TLSConfig) scheme(plain, said string) string {
	switch {
	case c.mode(said) != certs.Required:
		return plain + "://"
	case plain == "stomp":
		return "stomp+ssl://"
	}
	return plain + "s://"
}

// trust is the part of a command line that names a certificate to believe, after the tool's own flag; "" if it is one that is believed anyway.
func (c TLSConfig) trust(flag string) string {
	if !c.SelfSigned {
		return ""
	}
	return flag + c.Cert
}
