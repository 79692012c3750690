package core

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"portico/core/identity"
	"portico/core/policy"
)

// User may log in. See identity.User.
type User = identity.User

// Credentials are what a client showed at a door.
type Credentials = identity.Credentials

// AuthConfig says how people may come in, beside the list of users.
type AuthConfig struct {
	Issuers     []identity.Issuer // of JSON web tokens
	Lockout     int               // failed logins of one name from one address, after which there is none for a while; 0: 10, negative: never
	Loopback    []string          // users who may come in from the gateway's own machine only; nil: guest
	Certificate string            // what of a client certificate names its user, one of identity.CertificateNames; "": its common name
}

const defaultLockout = 10

// directory is the configuration of the directory of users.
func (c *Config) directory() identity.Config {
	out := identity.Config{Users: c.Users, Issuers: c.Auth.Issuers, Lockout: max(0, orDefault(c.Auth.Lockout, defaultLockout)), Loopback: c.Auth.Loopback, Subject: c.Auth.Certificate}
	if out.Loopback == nil {
		out.Loopback = []string{identity.Guest}
	}
	return out
}

// checkUsers finds what cannot be in the configured users.
func checkUsers(configured []User) error {
	for _, u := range configured {
		if strings.HasPrefix(u.Name, bootPrefix) {
			return fmt.Errorf("user %q: not a name", u.Name)
		}
	}
	return identity.CheckAll(configured)
}

// Login returns the bus as this identity may use it. Without users everybody without credentials is let in, except over AMQP, whose clients always show some. CodeUnauthenticated if refused;
// CodeNotFound for an unknown tenant; CodeUnavailable if there are too many logins at once.
func (g *Gateway) Login(ctx context.Context, c Credentials) (*Bus, error) {
	live, err := g.users.Login(ctx, c)
	if err != nil {
		recordLogin(g.cfg.Audit, &c, nil, err)
		return nil, loginError(err)
	}
	bus, err := g.enter(live, c.Tenant)
	recordLogin(g.cfg.Audit, &c, live, err)
	return bus, err
}

// loginError gives a refusal its code. What was wrong stays unsaid where that would help to guess.
func loginError(err error) error {
	code := CodeUnauthenticated
	switch {
	case errors.Is(err, identity.ErrBusy):
		code = CodeUnavailable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	}
	return &Error{Code: code, Detail: err.Error(), Err: errors.Unwrap(err)}
}

// Open tells whether there are no users: everybody who can reach a door may do everything.
func (g *Gateway) Open() bool { return g.users.Open() }

// System is the bus as the gateway itself uses it: everything is allowed, reserved subjects too, and no header is taken off.
func (g *Gateway) System() *Bus { return &Bus{tenant: g.tenant, system: true} }

// User is the identity's name, "" for anonymous and for the gateway itself.
func (b *Bus) User() string {
	if b.live == nil {
		return ""
	}
	return b.live.Identity().Name
}

// who is the identity as it is now.
func (b *Bus) who() *identity.Identity {
	if b.live == nil {
		return new(identity.Identity)
	}
	return b.live.Identity()
}

// Ended is closed when what the client showed is good no longer: the user deleted or disabled, the password changed, the token revoked or expired. Doors end what they have open for it
// then, in their protocol's words. It is nil, which never ends, for the gateway itself.
func (b *Bus) Ended() <-chan struct{} {
	if b.live == nil {
		return nil
	}
	return b.live.Ended()
}

// AfterEnd calls f, in a goroutine of its own, when Ended is closed, unless stop is called before. Whoever calls it must call stop when the client has gone.
func (b *Bus) AfterEnd(f func()) (stop func() bool) {
	if b.live == nil {
		return func() bool { return true }
	}
	return b.live.AfterEnd(f)
}

// Err is nil as long as what the client showed is good, then an Error of CodeUnauthenticated that says why it is not. Doors that keep a Bus from one request to the next ask before each.
func (b *Bus) Err() error {
	if b.live == nil {
		return nil
	}
	if err := b.live.Err(); err != nil {
		return &Error{Code: CodeUnauthenticated, Detail: err.Error()}
	}
	return nil
}

// Changed is closed when the identity next gets other permissions. Ask for it before asking what is allowed, so that no change is missed. It is nil for the gateway itself.
func (b *Bus) Changed() <-chan struct{} {
	if b.live == nil {
		return nil
	}
	return b.live.Changed()
}

// Administrator is an Error of CodePermissionDenied unless the identity may manage users, tokens and the gateway.
func (b *Bus) Administrator() error {
	if d := b.Decide(policy.Administer, policy.Resource{}); !d.Allowed || !b.system && b.who().Foreign() {
		return Errorf(CodePermissionDenied, "only who has the role %s may do this", policy.RoleAdministrator)
	}
	return nil
}

// Tenant is the name of the tenant the bus belongs to; "/" is the default one.
func (b *Bus) Tenant() string { return b.tenant.name }

// Expires is when what the client showed ends by itself; zero: never.
func (b *Bus) Expires() time.Time {
	if b.live == nil {
		return time.Time{}
	}
	return b.live.Expires()
}
