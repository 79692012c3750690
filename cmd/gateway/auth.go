package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"portico/core"
	"portico/core/identity"
	"portico/core/policy"

	"go.yaml.in/yaml/v3"
)

// AuthConfig says how people come in, beside the list of users.
type AuthConfig struct {
	Lockout         int      `koanf:"lockout"` // failed logins; 0: no lockout
	LoopbackUsers   []string `koanf:"loopback_users"`
	CertificateName string   `koanf:"certificate_name"`
	Issuers         []Issuer `koanf:"issuers"`
}

// Issuer is one whose JSON web tokens are taken.
type Issuer struct {
	Issuer      string            `yaml:"issuer"`
	JWKSURL     string            `yaml:"jwks_url,omitempty"`
	Audience    []string          `yaml:"audience"`
	Algorithms  []string          `yaml:"algorithms,omitempty"`
	ClockSkew   time.Duration     `yaml:"clock_skew"`
	ScopePrefix string            `yaml:"scope_prefix,omitempty"`
	Claims      map[string]string `yaml:"claims,omitempty"`
	Permissions *policy.Spec      `yaml:"permissions,omitempty"`
}

const defaultClockSkew = 30 * time.Second

// authOptions are the keys of how people come in.
func authOptions() []option {
	return []option{
		switchable(number("auth.lockout", "10", "failed logins of one name from one address, after which there is none for a while; off = no lockout", 1, 1_000_000), 0),
		preset(list("auth.loopback_users", "users who may come in from the gateway's own machine only"), identity.Guest),
		choice("auth.certificate_name", "what of a client certificate names its user", identity.CertificateNames()...),
		{
			key: "auth.issuers", help: "whose JSON web tokens are taken (OpenID Connect), as YAML or JSON text",
			expects: "a list of issuers, each with issuer and audience", parse: func(v any) (any, error) { return parseIssuers(v) },
		},
	}
}

func preset(o option, value string) option {
	o.preset = value
	return o
}

// parseIssuers reads the list from YAML's values, or from YAML text.
func parseIssuers(v any) ([]Issuer, error) {
	if s, ok := v.(string); ok {
		v = nil
		if err := yaml.Unmarshal([]byte(s), &v); err != nil {
			return nil, &badUser{"auth.issuers", "text that is no YAML", "a list of issuers"}
		}
	}
	items, ok := v.([]any)
	if !ok && v != nil {
		return nil, &badUser{"auth.issuers", shapeOf(v), "a list of issuers"}
	}
	if len(items) > identity.MaxIssuers {
		return nil, fmt.Errorf("auth.issuers: found %d, expected at most %d", len(items), identity.MaxIssuers)
	}
	var issuers []Issuer
	for i, item := range items {
		at := fmt.Sprintf("auth.issuers[%d]", i)
		one, err := parseIssuer(at, item)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(issuers, func(other Issuer) bool { return other.Issuer == one.Issuer }) {
			return nil, fmt.Errorf("%s.issuer: found %q a second time, expected each once", at, one.Issuer)
		}
		issuers = append(issuers, one)
	}
	return issuers, nil
}

// claimNames are the keys of an issuer's claims.
var claimNames = []string{"user", "tenant", "roles", "publish", "subscribe", "scopes"} //nolint:gochecknoglobals // is never changed

func parseIssuer(at string, v any) (i Issuer, err error) {
	i.ClockSkew, i.Claims = defaultClockSkew, map[string]string{}
	err = readFields(at, v, "a section with issuer and audience", map[string]field{
		"issuer": textField(&i.Issuer), "jwks_url": textField(&i.JWKSURL), "scope_prefix": textField(&i.ScopePrefix),
		"audience":   fitting("a list of text", func(v any) (ok bool) { i.Audience, ok = textList(v); return ok }),
		"algorithms": fitting("a list of "+strings.Join(identity.Algorithms(), ", "), func(v any) (ok bool) { i.Algorithms, ok = textList(v); return ok }),
		"clock_skew": fitting("a duration such as 30s, at most 1h", func(v any) bool {
			s, _ := v.(string)
			d, err := time.ParseDuration(s)
			i.ClockSkew = d
			return err == nil
		}),
		"claims": {read: func(at string, v any) error {
			fields := map[string]field{}
			for _, name := range claimNames {
				fields[name] = fitting("text in quotes", func(v any) bool {
					s, ok := v.(string)
					i.Claims[name] = s
					return ok
				})
			}
			return readFields(at, v, "a section with user, roles, …", fields)
		}},
		"permissions": {read: func(at string, v any) (err error) {
			i.Permissions, err = parsePermissions(at, v)
			return err
		}},
	})
	if err != nil {
		return i, err
	}
	own := i.identity()
	if err := own.Check(); err != nil {
		return i, fmt.Errorf("%s: %w", at, err)
	}
	return i, nil
}

func (i Issuer) identity() identity.Issuer {
	c := i.Claims
	return identity.Issuer{
		URL: i.Issuer, JWKS: i.JWKSURL, Audience: i.Audience, Algorithms: i.Algorithms, Skew: i.ClockSkew, ScopePrefix: i.ScopePrefix, Permissions: i.Permissions,
		Claims: identity.Claims{User: c["user"], Tenant: c["tenant"], Roles: c["roles"], Publish: c["publish"], Subscribe: c["subscribe"], Scopes: c["scopes"]},
	}
}

// auth is the part of the configuration that says who comes in how.
func (c *Config) auth() core.AuthConfig {
	out := core.AuthConfig{Lockout: c.Auth.Lockout, Loopback: append([]string{}, c.Auth.LoopbackUsers...), Certificate: c.Auth.CertificateName}
	if c.Auth.Lockout == 0 {
		out.Lockout = -1 // core reads 0 as its default
	}
	for _, i := range c.Auth.Issuers {
		out.Issuers = append(out.Issuers, i.identity())
	}
	return out
}

// users are the configured ones.
func (c *Config) users() []core.User {
	all := make([]core.User, 0, len(c.Users))
	for _, u := range c.Users {
		all = append(all, u.core())
	}
	return all
}
