package core

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"portico/core/identity"
	"portico/core/policy"
)

// Permissions are what a user may do, as they are written down.
type Permissions = policy.Spec

// Token is a bearer token as the gateway keeps it; its secret is not there.
type Token = identity.Token

// Person is a user as administrators see one. Its Password and PasswordHash are empty.
type Person struct {
	User
	Managed bool // at run time; false: by the configuration, which alone can change it
	Secret  bool // there is a password
}

// People manages users and tokens at run time. Changes are answered when they are on disk and in force on this node.
type People struct {
	gateway *Gateway
	by      *Bus // who changes something
}

// longestToken is the longest life of a token that has an end.
const longestToken = 10 * 365 * 24 * time.Hour

const (
	peopleTimeout = 20 * time.Second // for a change to be on disk and in force
	sweepTokens   = time.Hour        // how often tokens are deleted that ended longer than tokensKept ago
	tokensKept    = 24 * time.Hour
)

// People returns what manages users and tokens. CodePermissionDenied for who is no administrator.
func (b *Bus) People() (*People, error) {
	if err := b.Administrator(); err != nil {
		return nil, err
	}
	return &People{b.tenant.gateway, b}, nil
}

// List returns everybody, by name.
func (p *People) List() []Person {
	all := p.gateway.users.All()
	out := make([]Person, 0, len(all))
	for _, u := range all {
		out = append(out, personOf(u))
	}
	return out
}

func personOf(k identity.Known) Person {
	out := Person{User: k.User, Managed: k.Managed, Secret: k.User.Password != "" || k.User.PasswordHash != ""}
	out.Password, out.PasswordHash, out.Algorithm = "", "", ""
	return out
}

// Get returns one. CodeNotFound.
func (p *People) Get(name string) (Person, error) {
	known, ok := p.gateway.users.User(name)
	if !ok {
		return Person{}, Errorf(CodeNotFound, "there is no user %q", name)
	}
	return personOf(known), nil
}

// Put adds a user or changes the one of this name. A Password is kept as a hash; with neither it nor a hash the one that the user has stays. What else is empty is empty then. CodeInvalid,
// CodePermissionDenied for a user of the configuration, CodePreconditionFailed if nobody would be an administrator any more, CodeResourceExhausted.
func (p *People) Put(ctx context.Context, u User) (created bool, err error) {
	return p.change(ctx, u.Name, func(User) (User, error) { return u, nil })
}

// change makes another user of the one of this name, whom nobody else changes meanwhile. Without one next gets the zero value.
func (p *People) change(ctx context.Context, name string, next func(User) (User, error)) (created bool, err error) {
	defer func() { p.by.RecordChange("user.put", name, err) }()
	s := p.gateway.people
	if err := s.begin(ctx); err != nil {
		return false, err
	}
	defer s.end()
	before, there := p.gateway.users.User(name)
	u, err := next(before.User)
	if err != nil {
		return false, err
	}
	if there && !before.Managed {
		return false, Errorf(CodePermissionDenied, "user %q is of the configuration file and can only be changed there", u.Name)
	}
	if u.Password == "" && u.PasswordHash == "" {
		u.PasswordHash, u.Algorithm = before.PasswordHash, before.Algorithm
	}
	if err := p.check(&u, there); err != nil {
		return false, err
	}
	if u.Password != "" {
		u.PasswordHash, u.Algorithm, u.Password = identity.HashPassword(u.Password), "", ""
	}
	return !there, s.putUser(ctx, &u)
}

func (p *People) check(u *User, there bool) error {
	err := checkUsers([]User{*u})
	switch {
	case err != nil:
		return &Error{Code: CodeInvalid, Detail: err.Error()}
	case p.gateway.users.KeysAreFree(u) != nil:
		return &Error{Code: CodeInvalid, Detail: p.gateway.users.KeysAreFree(u).Error()}
	case !there && p.gateway.users.Full():
		return Errorf(CodeResourceExhausted, "there are %d users already", identity.MaxManaged)
	case p.gateway.users.LocksOut(u.Name, u):
		return Errorf(CodePreconditionFailed, "nobody would be an administrator then: give user %q the role administrator, or another one first", u.Name)
	}
	return nil
}

// Delete removes a managed user with its tokens, and ends those who are in by it. Codes as Put's, and CodeNotFound.
func (p *People) Delete(ctx context.Context, name string) (err error) {
	defer func() { p.by.RecordChange("user.delete", name, err) }()
	s := p.gateway.people
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	known, ok := p.gateway.users.User(name)
	switch {
	case !ok:
		return Errorf(CodeNotFound, "there is no user %q", name)
	case !known.Managed:
		return Errorf(CodePermissionDenied, "user %q is of the configuration file and can only be deleted there", name)
	case p.gateway.users.LocksOut(name, nil):
		return Errorf(CodePreconditionFailed, "nobody would be an administrator then")
	}
	for _, t := range p.gateway.users.Tokens(name) { // first: a later user of this name must not have them
		if err := s.deleteToken(ctx, t.ID); err != nil {
			return err
		}
	}
	return s.deleteUser(ctx, name)
}

// Tokens are those of a user, in the order in which they were made. CodeNotFound.
func (p *People) Tokens(owner string) ([]Token, error) {
	if _, err := p.Get(owner); err != nil {
		return nil, err
	}
	return p.gateway.users.Tokens(owner), nil
}

// NewToken makes a token for a user, whoever's it is: secret is told this once. life 0 is without end. CodeNotFound, CodeInvalid, CodeResourceExhausted.
func (p *People) NewToken(ctx context.Context, owner, label string, life time.Duration) (t Token, secret string, err error) {
	defer func() { p.by.RecordChange("token.new", owner+"/"+t.ID, err) }()
	s := p.gateway.people
	if err := s.begin(ctx); err != nil {
		return t, "", err
	}
	defer s.end()
	all, err := p.Tokens(owner)
	switch {
	case err != nil:
		return t, "", err
	case life < 0 || life > longestToken || life > 0 && life < time.Second:
		return t, "", Errorf(CodeInvalid, "a token's life is from a second to ten years, or without end")
	case len(label) > identity.MaxLabel || strings.ContainsFunc(label, func(r rune) bool { return r < ' ' }):
		return t, "", Errorf(CodeInvalid, "a label has at most %d bytes and no control characters", identity.MaxLabel)
	case len(all) >= identity.MaxTokens:
		return t, "", Errorf(CodeResourceExhausted, "user %q has %d tokens already: revoke one", owner, len(all))
	}
	var expires time.Time
	if life > 0 {
		expires = time.Now().Add(life).UTC().Round(0)
	}
	t, secret = identity.NewToken(owner, label, expires)
	return t, secret, s.putToken(ctx, &t)
}

// Revoke ends a token of a user, and those who are in by it. CodeNotFound.
func (p *People) Revoke(ctx context.Context, owner, id string) (err error) {
	defer func() { p.by.RecordChange("token.revoke", owner+"/"+id, err) }()
	s := p.gateway.people
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	for _, t := range p.gateway.users.Tokens(owner) {
		if t.ID == id {
			return s.deleteToken(ctx, id)
		}
	}
	return Errorf(CodeNotFound, "user %q has no token %q", owner, id)
}

// people keeps managed users and tokens in tables, and what the directory knows follows the tables: a change of another node comes in the same way.
type people struct {
	// immutable
	gateway *Gateway
	users   *Table
	tokens  *Table
	turn    chan struct{} // holds one: whoever changes something takes it

	usersSeen atomic.Uint64 // the newest revision of users that is in force

	mu      sync.Mutex
	applied chan struct{} // guarded by mu; closed at the next change that is in force
}

// openPeople reads the tables and follows them until the gateway stops.
func (g *Gateway) openPeople(ctx context.Context) (err error) {
	p := &people{gateway: g, turn: make(chan struct{}, 1), applied: make(chan struct{})}
	p.turn <- struct{}{}
	if p.users, err = g.System().Table(ctx, "users"); err != nil {
		return fmt.Errorf("open the table of users: %w", err)
	}
	if p.tokens, err = g.System().Table(ctx, "tokens"); err != nil {
		return fmt.Errorf("open the table of tokens: %w", err)
	}
	for _, k := range p.kept() {
		if err := k.load(ctx); err != nil {
			return err
		}
		g.loops.Go(func() { k.follow(g.ctx) })
	}
	g.people = p
	g.loops.Go(func() { p.sweep(g.ctx) })
	return nil
}

// sweep deletes tokens that have expired. For some time who shows one is told that it has.
func (p *people) sweep(ctx context.Context) {
	every := time.NewTicker(sweepTokens)
	defer every.Stop()
	for {
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
		for _, id := range p.gateway.users.Expired(time.Now().Add(-tokensKept)) {
			if err := p.tokens.Delete(ctx, id); err != nil {
				p.gateway.log.Warn("an expired token is not deleted; it is tried again", "token", id, "error", err)
			}
		}
	}
}

func (p *people) begin(ctx context.Context) error {
	select {
	case <-p.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *people) end() { p.turn <- struct{}{} }

func (p *people) putUser(ctx context.Context, u *User) error {
	value, err := json.Marshal(u)
	if err != nil {
		return err
	}
	var revision uint64
	return p.change(ctx, func() (err error) { revision, err = p.users.Put(ctx, u.Name, value); return err }, func() bool { return p.usersSeen.Load() >= revision })
}

func (p *people) deleteUser(ctx context.Context, name string) error {
	return p.change(ctx, func() error { return p.users.Delete(ctx, name) }, func() bool {
		k, ok := p.gateway.users.User(name)
		return !ok || !k.Managed
	})
}

func (p *people) putToken(ctx context.Context, t *Token) error {
	value, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return p.change(ctx, func() error { _, err := p.tokens.Put(ctx, t.ID, value); return err }, func() bool { return p.gateway.users.HasToken(t.ID) })
}

func (p *people) deleteToken(ctx context.Context, id string) error {
	return p.change(ctx, func() error { return p.tokens.Delete(ctx, id) }, func() bool { return !p.gateway.users.HasToken(id) })
}

// change changes a table and waits until that is in force here.
func (p *people) change(ctx context.Context, do func() error, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, peopleTimeout)
	defer cancel()
	if err := do(); err != nil {
		return err
	}
	for {
		p.mu.Lock()
		applied := p.applied
		p.mu.Unlock()
		if done() {
			return nil
		}
		select {
		case <-applied:
		case <-ctx.Done():
			return ctx.Err()
		case <-p.gateway.ctx.Done():
			return Errorf(CodeUnavailable, "the gateway stops")
		}
	}
}

func (p *people) tell() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.applied)
	p.applied = make(chan struct{})
}
