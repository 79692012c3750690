package core

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// User may log in. Patterns use NATS wildcards; an empty list means everything. Besides its lists a user may always publish to
// and subscribe to inboxes, which is how answers travel. Queues are named in the lists as QueueSubject writes them.
type User struct {
	Name      string
	Password  string // plain, or a bcrypt hash ("$2a$…", "$2b$…")
	Publish   []string
	Subscribe []string
}

// Credentials are what a client showed at a door.
type Credentials struct {
	Door      string // "http", "websocket", "grpc", "amqp"
	Remote    string // address, for the log
	User      string
	Password  string
	Anonymous bool   // nothing was shown
	Tenant    string // AMQP vhost; "" is "/"
}

// The actions that Bus.Allow knows.
const (
	actionPublish   = "publish"
	actionSubscribe = "subscribe"
)

// devUser is who may log in while no users are configured.
const devUser = "guest"

// maxCredential bounds a name or password that is looked at.
const maxCredential = 1024

// users decides who may come in, for every door: the adapters' through Login, NATS and MQTT through the embedded server. Immutable.
type users struct {
	byName map[string]*User
	dev    bool // no users are configured: guest/guest, and anonymous where a door knows no login
}

func newUsers(configured []User) *users {
	if len(configured) == 0 {
		return &users{byName: map[string]*User{devUser: {Name: devUser, Password: devUser}}, dev: true}
	}
	u := &users{byName: make(map[string]*User, len(configured))}
	for _, user := range configured {
		u.byName[user.Name] = &user
	}
	return u
}

// checkUsers finds what cannot be in the configured users.
func checkUsers(configured []User) error {
	seen := map[string]bool{}
	for _, u := range configured {
		switch {
		case u.Name == "" || len(u.Name) > maxCredential || strings.HasPrefix(u.Name, bootPrefix):
			return fmt.Errorf("user %q: not a name", u.Name)
		case seen[u.Name]:
			return fmt.Errorf("user %q: named twice", u.Name)
		case u.Password == "" || len(u.Password) > maxCredential:
			return fmt.Errorf("user %q: want a password of 1 to %d bytes", u.Name, maxCredential)
		}
		seen[u.Name] = true
		for _, pattern := range slices.Concat(u.Publish, u.Subscribe) {
			if err := checkPattern(pattern); err != nil {
				return fmt.Errorf("user %q: %w", u.Name, err)
			}
		}
	}
	return nil
}

// check returns the user of this name if the password is its own. It takes as long whether or not the name exists, as far as that is in our hands.
func (u *users) check(name, password string) (*User, bool) {
	if len(name) > maxCredential || len(password) > maxCredential {
		return nil, false
	}
	user := u.byName[name]
	if user == nil {
		samePassword("", password)
		return nil, false
	}
	return user, samePassword(user.Password, password)
}

// anonymous returns who somebody without credentials is, if that is allowed.
func (u *users) anonymous() (*User, bool) { return &User{}, u.dev }

func samePassword(kept, shown string) bool {
	if hashed(kept) {
		return bcrypt.CompareHashAndPassword([]byte(kept), []byte(shown)) == nil
	}
	a, b := sha256.Sum256([]byte(kept)), sha256.Sum256([]byte(shown))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func hashed(password string) bool {
	_, err := bcrypt.Cost([]byte(password))
	return err == nil
}

// Login returns the bus as this identity may use it. Without configured users everybody without credentials is let in, except over AMQP, whose
// clients always show some. CodeUnauthenticated if refused; CodeNotFound for an unknown tenant.
func (g *Gateway) Login(_ context.Context, c Credentials) (*Bus, error) {
	user, ok := g.users.check(c.User, c.Password)
	if c.Anonymous {
		user, ok = g.users.anonymous()
		ok = ok && c.Door != "amqp"
	}
	if !ok {
		return nil, Errorf(CodeUnauthenticated, "unknown user or wrong password")
	}
	if c.Tenant != "" && c.Tenant != g.tenant.name {
		return nil, Errorf(CodeNotFound, "there is no tenant %q", c.Tenant)
	}
	return &Bus{tenant: g.tenant, user: user.Name, publish: user.Publish, subscribe: user.Subscribe}, nil
}

// System is the bus as the gateway itself uses it: everything is allowed, reserved subjects too, and no header is taken off.
func (g *Gateway) System() *Bus { return &Bus{tenant: g.tenant, system: true} }

// QueueSubject is what a queue is called in permissions: "publish" on it is appending, "subscribe" is consuming, declaring, deleting and binding.
func QueueSubject(name string) string { return queueResource + EncodeToken(name) }

const queueResource = "$queue."

// Allow checks a permission without using it. action is "publish" or "subscribe"; subject may have wildcards for the latter, and may be a queue's
// (QueueSubject). CodePermissionDenied if refused, CodeInvalid if subject is none.
func (b *Bus) Allow(action, subject string) error {
	switch {
	case strings.HasPrefix(subject, queueResource):
		return b.mayUse(action, subject)
	case action == actionPublish:
		return b.mayPublish(subject)
	}
	return b.maySubscribe(subject)
}

func (b *Bus) mayPublish(subject string) error {
	if err := checkSubject(subject); err != nil {
		return err
	}
	if b.system || strings.HasPrefix(subject, inboxes) {
		return nil
	}
	return b.permit(actionPublish, subject)
}

func (b *Bus) maySubscribe(pattern string) error {
	if err := checkPattern(pattern); err != nil {
		return err
	}
	if b.system {
		return nil
	}
	if tail, ok := strings.CutPrefix(pattern, inboxes); ok {
		if name := firstWord(tail); hasWildcard(name) {
			return Errorf(CodePermissionDenied, "subscribe to %q: an inbox must be named", pattern)
		}
		return nil
	}
	return b.permit(actionSubscribe, pattern)
}

// permit looks for subject in the lists; nobody but the gateway itself uses the bus's own subjects.
func (b *Bus) permit(action, subject string) error {
	if strings.HasPrefix(subject, "$") {
		return Errorf(CodePermissionDenied, "%s to %q: subjects that begin with $ belong to the bus", action, subject)
	}
	return b.listed(action, subject)
}

// mayUse checks the permission on a queue, given by its QueueSubject.
func (b *Bus) mayUse(action, queue string) error {
	if err := checkSubject(queue); err != nil {
		return err
	}
	if b.system {
		return nil
	}
	return b.listed(action, queue)
}

func (b *Bus) listed(action, subject string) error {
	allowed := b.subscribe
	if action == actionPublish {
		allowed = b.publish
	}
	if len(allowed) == 0 || slices.ContainsFunc(allowed, func(pattern string) bool { return covers(pattern, subject) }) {
		return nil
	}
	return Errorf(CodePermissionDenied, "%s to %q is not allowed", action, subject)
}

// User is the identity's name, "" for anonymous and for the gateway itself.
func (b *Bus) User() string { return b.user }

// Tenant is the name of the tenant the bus belongs to; "/" is the default one.
func (b *Bus) Tenant() string { return b.tenant.name }
