package identity

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"portico/core/policy"
)

// User may log in. Patterns use NATS wildcards; an empty list means everything.
type User struct {
	Name string `json:"name"`

	// Password is plain text, which only users of the configuration have. PasswordHash is one of: bcrypt ("$2b$…"), argon2id in the PHC string format, or RabbitMQ's salted SHA-256 or
	// SHA-512 in base64, Algorithm then being RabbitMQ's name of it or "". Neither: the user comes in by other credentials only.
	Password     string `json:"-"`
	PasswordHash string `json:"password_hash,omitempty"`
	Algorithm    string `json:"hashing_algorithm,omitempty"`

	Keys         []string `json:"nkeys,omitempty"`        // public NKeys ("U…") of NATS clients
	Certificates []string `json:"certificates,omitempty"` // names in client certificates, beside the user's own
	Roles        []string `json:"roles,omitempty"`
	Disabled     bool     `json:"disabled,omitempty"` // may not log in

	Tenant  string   `json:"tenant,omitempty"`  // "" is "/"
	Tenants []string `json:"tenants,omitempty"` // others that the user may enter; "*": all

	// Besides its lists a user may always publish to and subscribe to inboxes, which is how answers travel. Queues are named in the lists as core.QueueSubject writes them.
	Publish   []string `json:"publish,omitempty"`
	Subscribe []string `json:"subscribe,omitempty"`

	Permissions *policy.Spec `json:"permissions,omitempty"` // beside the two lists; its roles are added to Roles
}

// Bounds of a user.
const (
	maxKeys         = 16
	maxCertificates = 16
)

// Check tells what is wrong with a user.
func (u *User) Check() error {
	switch {
	case u.Name == "" || len(u.Name) > MaxName || !utf8.ValidString(u.Name) || strings.ContainsFunc(u.Name, control):
		return fmt.Errorf("user %q: want a name of 1 to %d bytes without control characters", u.Name, MaxName)
	case len(u.Password) > MaxPassword:
		return fmt.Errorf("user %q: want a password of at most %d bytes", u.Name, MaxPassword)
	case strings.HasPrefix(u.Password, TokenPrefix):
		return fmt.Errorf("user %q: a password cannot begin with %s, as tokens do", u.Name, TokenPrefix)
	case u.Password != "" && u.PasswordHash != "":
		return fmt.Errorf("user %q: want a password or a hash, not both", u.Name)
	case len(u.Keys) > maxKeys || len(u.Certificates) > maxCertificates:
		return fmt.Errorf("user %q: at most %d nkeys and %d certificates", u.Name, maxKeys, maxCertificates)
	}
	if _, err := u.hash(); err != nil {
		return fmt.Errorf("user %q: %w", u.Name, err)
	}
	for _, key := range u.Keys {
		if !publicKey(key) {
			return fmt.Errorf("user %q: nkey %q: want the public key of a user (U…)", u.Name, key)
		}
	}
	for _, name := range u.Certificates {
		if name == "" || len(name) > MaxName {
			return fmt.Errorf("user %q: want names of 1 to %d bytes for certificates", u.Name, MaxName)
		}
	}
	if _, err := u.identity(); err != nil {
		return fmt.Errorf("user %q: %w", u.Name, err)
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// publicKey tells whether text has the form of a user's public NKey. Whether its checksum is right shows when somebody signs by it.
func publicKey(text string) bool {
	return len(text) == 56 && text[0] == 'U' && strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

var errNoPassword = errors.New("want a password, a hash, an nkey or a certificate")

func (u *User) hash() (hash, error) {
	switch {
	case u.PasswordHash != "":
		return parseHash(u.PasswordHash, u.Algorithm)
	case strings.HasPrefix(u.Password, "$2") || strings.HasPrefix(u.Password, "$argon2id$"):
		if h, err := parseHash(u.Password, ""); err == nil {
			return h, nil
		}
	}
	if u.Password == "" {
		return noHash{}, nil
	}
	return plainHash(sha256.Sum256([]byte(u.Password))), nil
}

// identity is who somebody is who came in as this user.
func (u *User) identity() (*Identity, error) {
	spec := u.Spec()
	p, err := policy.New(u.Name, u.Tenant, spec)
	if err != nil {
		return nil, err
	}
	return &Identity{Name: u.Name, Tenant: u.Tenant, Tenants: u.Tenants, Roles: spec.Roles, Permissions: p}, nil
}

// Spec are all permissions of a user, in the one form.
func (u *User) Spec() *policy.Spec {
	spec := u.Permissions.With(u.Publish, u.Subscribe)
	spec.Roles = slices.Compact(slices.Sorted(slices.Values(slices.Concat(spec.Roles, u.Roles))))
	if some := u.Tenant != "" || len(u.Tenants) > 0; some && len(spec.Roles) == 0 && !slices.Contains(u.Tenants, "*") { // who belongs somewhere is no administrator of everything unless that is said
		spec.Roles = []string{policy.RoleNone}
	}
	return spec
}

// samePermissions tells whether a change of a user leaves everybody who is in with the rights they have.
func samePermissions(a, b *User) bool {
	return a.Tenant == b.Tenant && slices.Equal(a.Tenants, b.Tenants) && reflect.DeepEqual(a.Spec(), b.Spec())
}

// withdrawn tells whether a user may be in fewer tenants than before, or belongs to another one.
func withdrawn(now, before *User) bool {
	who, was := Identity{Tenant: now.Tenant, Tenants: now.Tenants}, Identity{Tenant: before.Tenant}
	return who.Home() != was.Home() || slices.ContainsFunc(before.Tenants, func(t string) bool { return !who.MayEnter(t) })
}

func sameUser(a, b *User) bool { return reflect.DeepEqual(a, b) }

// CheckAll tells what is wrong with users that the configuration has: each by itself, and a name that is there twice.
func CheckAll(users []User) error {
	names, keys := map[string]bool{}, map[string]bool{}
	for _, u := range users {
		if err := u.Check(); err != nil {
			return err
		}
		if u.Password == "" && u.PasswordHash == "" && len(u.Keys) == 0 && len(u.Certificates) == 0 {
			return fmt.Errorf("user %q: %w", u.Name, errNoPassword)
		}
		if names[u.Name] {
			return fmt.Errorf("user %q: named twice", u.Name)
		}
		names[u.Name] = true
		for _, key := range u.Keys {
			if keys[key] {
				return fmt.Errorf("user %q: nkey %s is another's too", u.Name, key)
			}
			keys[key] = true
		}
	}
	return nil
}
