package main

import (
	"errors"
	"fmt"
	"strings"

	"portico/core"
	"portico/core/identity"
	"portico/core/policy"

	"go.yaml.in/yaml/v3"
)

// usersOption is the list of users. In the environment it is the same list as YAML or JSON text.
func usersOption() option {
	return option{
		key:     "users",
		help:    "who may log in, as YAML or JSON text; other processes can read flags, prefer the file or the environment",
		expects: "a list of users, each with name, password or password_hash, publish, subscribe, permissions",
		parse:   func(v any) (any, error) { return parseUsers(v) },
	}
}

// badUser is an error inside the list: it names the entry.
type badUser struct{ at, found, expected string }

func (e *badUser) Error() string {
	return fmt.Sprintf("%s: found %s, expected %s", e.at, e.found, e.expected)
}

// parseUsers reads the list from YAML's values, or from YAML text. Values are never part of an error: they may be passwords.
func parseUsers(v any) ([]User, error) {
	if s, ok := v.(string); ok {
		v = nil
		if err := yaml.Unmarshal([]byte(s), &v); err != nil {
			return nil, &badUser{"users", "text that is no YAML", "a list of users"}
		}
	}
	items, ok := v.([]any)
	if !ok && v != nil {
		return nil, &badUser{"users", shapeOf(v), "a list of users"}
	}
	var users []User
	for i, item := range items {
		u, err := parseUser(fmt.Sprintf("users[%d]", i), item)
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, nil
}

// User may log in at every door. At most one of Password and PasswordHash is set; with neither there are nkeys or certificates.
type User struct {
	Name         string
	Password     Secret
	PasswordHash Secret // bcrypt, argon2id, or RabbitMQ's
	Algorithm    string // RabbitMQ's name of how PasswordHash was made; "": it shows
	NKeys        []string
	Certificates []string // names in client certificates, beside the user's own
	Roles        []string
	Disabled     bool
	Tenant       string
	Tenants      []string
	Publish      []string // subject patterns; empty: all
	Subscribe    []string // subject patterns; empty: all

	Permissions *policy.Spec `yaml:"permissions,omitempty"` // beside the two lists; nil: no others
}

func parseUser(at string, v any) (u User, err error) {
	texts := func(to *[]string, what string) field {
		return fitting("a list of "+what, func(v any) (ok bool) { *to, ok = textList(v); return ok })
	}
	return u, readFields(at, v, "a section with name and password", map[string]field{
		"name": textField(&u.Name), "hashing_algorithm": textField(&u.Algorithm), "tenant": textField(&u.Tenant),
		"password":      fitting("text in quotes", func(v any) bool { return secret(&u.Password, v) }),
		"password_hash": fitting("text in quotes", func(v any) bool { return secret(&u.PasswordHash, v) }),
		"nkeys":         texts(&u.NKeys, "public NKeys (U…)"),
		"certificates":  texts(&u.Certificates, "names in certificates"),
		"roles":         texts(&u.Roles, "roles"),
		"tenants":       texts(&u.Tenants, "tenants"),
		"publish":       texts(&u.Publish, "subject patterns"),
		"subscribe":     texts(&u.Subscribe, "subject patterns"),
		"disabled":      fitting("true or false", func(v any) (ok bool) { u.Disabled, ok = v.(bool); return ok }),
		"permissions": {read: func(at string, v any) (err error) {
			u.Permissions, err = parsePermissions(at, v)
			return err
		}},
	})
}

func (u User) check(where string) error {
	switch {
	case u.Name == "":
		return fmt.Errorf("%s.name: found nothing, expected a name", where)
	case u.Password != "" && u.PasswordHash != "", u.Password == "" && u.PasswordHash == "" && len(u.NKeys) == 0 && len(u.Certificates) == 0:
		return fmt.Errorf("%s (%s): expected one of password and password_hash, or nkeys or certificates", where, u.Name)
	case u.Password != "" && !strings.HasPrefix(string(u.Password), "$2") && !strings.HasPrefix(string(u.Password), "$argon2id$"):
	case u.Password != "" && identity.CheckHash(string(u.Password), "") == nil:
		return fmt.Errorf("%s.password (%s): found a hash, expected it under password_hash", where, u.Name)
	case u.PasswordHash != "":
		if err := identity.CheckHash(string(u.PasswordHash), u.Algorithm); err != nil {
			return fmt.Errorf("%s.password_hash (%s): expected a bcrypt hash ($2a$… or $2b$…), argon2id ($argon2id$…), or RabbitMQ's: %w", where, u.Name, err)
		}
	}
	if err := errors.Join(checkPatterns(where+".publish", u.Publish), checkPatterns(where+".subscribe", u.Subscribe)); err != nil {
		return err
	}
	own := u.core()
	if err := own.Check(); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

// core is the user as core knows it.
func (u User) core() core.User {
	return core.User{
		Name: u.Name, Password: string(u.Password), PasswordHash: string(u.PasswordHash), Algorithm: u.Algorithm, Keys: u.NKeys, Certificates: u.Certificates, Roles: u.Roles,
		Disabled: u.Disabled, Tenant: u.Tenant, Tenants: u.Tenants, Publish: u.Publish, Subscribe: u.Subscribe, Permissions: u.Permissions,
	}
}

// redacted is the list of users in the file's form, without their secrets.
func redacted(users []User) []map[string]any {
	out := make([]map[string]any, 0, len(users))
	for _, u := range users {
		entry := map[string]any{"name": u.Name}
		for field, s := range map[string]string{
			"password": u.Password.String(), "password_hash": u.PasswordHash.String(), "hashing_algorithm": u.Algorithm, "tenant": u.Tenant,
		} {
			if s != "" {
				entry[field] = s
			}
		}
		for field, list := range map[string][]string{
			"publish": u.Publish, "subscribe": u.Subscribe, "nkeys": u.NKeys, "certificates": u.Certificates, "roles": u.Roles, "tenants": u.Tenants,
		} {
			if len(list) > 0 {
				entry[field] = list
			}
		}
		if u.Disabled {
			entry["disabled"] = true
		}
		if u.Permissions != nil {
			entry["permissions"] = u.Permissions
		}
		out = append(out, entry)
	}
	return out
}

func secret(to *Secret, v any) bool {
	s, ok := v.(string)
	*to = Secret(s)
	return ok
}

// shapeOf describes a value without showing it.
func shapeOf(v any) string {
	switch v.(type) {
	case nil:
		return "nothing"
	case string:
		return "text"
	case []any:
		return "a list"
	case map[string]any:
		return "a section"
	}
	return "something that is not text"
}
