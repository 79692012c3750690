package identity

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Configure puts another configuration in force, whole or not at all. Those who came in by what is no longer there are ended, and the others follow what has changed.
func (d *Directory) Configure(cfg Config) error {
	if err := CheckAll(cfg.Users); err != nil {
		return err
	}
	for _, i := range cfg.Issuers {
		if err := i.Check(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before, renamed := d.config.Users, d.config.Subject != cfg.Subject
	d.config, d.file = cfg, make(map[string]User, len(cfg.Users))
	for _, u := range cfg.Users {
		d.file[u.Name] = u
	}
	for _, u := range slices.Concat(before, cfg.Users) {
		d.settle(u.Name)
	}
	d.openOrClose()
	d.guard.set(cfg.Lockout)
	if renamed {
		d.endCertified()
	}
	d.issuers.configure(cfg.Issuers)
	return nil
}

// endCertified ends those who came in by certificates: what names a user in them is another thing now. mu is held.
func (d *Directory) endCertified() {
	for name, a := range d.accounts {
		next := *a
		next.certified, next.proven = newLive(a.root, nil, time.Time{}), &proven{}
		d.replace(name, a, &next)
		a.certified.end(ErrChanged)
	}
}

// Put adds a managed user, or changes the one of this name. One that the configuration has is not touched, and the managed one waits behind it.
func (d *Directory) Put(u User) error {
	if err := u.Check(); err != nil {
		return err
	}
	if u.Password != "" {
		return fmt.Errorf("user %q: a managed user has a hash", u.Name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, there := d.managed[u.Name]; !there && len(d.managed) >= MaxManaged {
		return fmt.Errorf("there are %d users already", len(d.managed))
	}
	if err := d.keysAreFree(&u); err != nil {
		return err
	}
	d.managed[u.Name] = u
	d.settle(u.Name)
	d.openOrClose()
	return nil
}

// keysAreFree tells whether nobody else has one of a user's NKeys; mu is held.
func (d *Directory) keysAreFree(u *User) error {
	for _, key := range u.Keys {
		if other := d.byKey[key]; other != nil && other.user.Name != u.Name {
			return fmt.Errorf("user %q: nkey %s is another's already", u.Name, key)
		}
	}
	return nil
}

// KeysAreFree tells whether Put would find that somebody else has one of a user's NKeys.
func (d *Directory) KeysAreFree(u *User) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.keysAreFree(u)
}

// Forget removes a managed user. Its tokens let nobody in any more.
func (d *Directory) Forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.managed, name)
	d.settle(name)
	d.openOrClose()
}

// openOrClose lets everybody in while there are no users, and ends those who came in so when there are; mu is held.
func (d *Directory) openOrClose() {
	d.settle(Guest)
	switch open := d.open(); {
	case open && d.anonymous == nil:
		d.anonymous = newLive(nil, &Identity{Tenants: []string{"*"}}, time.Time{})
	case !open && d.anonymous != nil:
		d.anonymous.end(ErrGone)
		d.anonymous = nil
	}
}

// open tells whether there are no users; mu is held.
func (d *Directory) open() bool { return len(d.file)+len(d.managed) == 0 }

// effective is the user of this name that is in force, nil if there is none that may log in; mu is held.
func (d *Directory) effective(name string) *User {
	u, ok := d.file[name]
	if !ok {
		u, ok = d.managed[name]
	}
	if !ok && name == Guest && d.open() {
		u, ok = User{Name: Guest, Password: Guest, Tenants: []string{"*"}}, true
	}
	if !ok || u.Disabled {
		return nil
	}
	return &u
}

// settle makes the account of one name what its user is now; mu is held. Users have been checked.
func (d *Directory) settle(name string) {
	u, before := d.effective(name), d.accounts[name]
	if u != nil && before != nil && sameUser(u, &before.user) {
		return
	}
	var next *account
	if u != nil {
		if before != nil && withdrawn(u, &before.user) { // nobody may stay where the user may not enter any more
			before.root.end(ErrMoved)
			next, _ = newAccount(u, nil)
		} else {
			next, _ = newAccount(u, before)
		}
	}
	d.replace(name, before, next)
	d.tokens.follow(name, next)
}

// replace takes an account out, another one in, or both; mu is held.
func (d *Directory) replace(name string, before, next *account) {
	at, there := slices.BinarySearchFunc(d.names, name, strings.Compare)
	if before != nil {
		for key := range before.keys {
			if d.byKey[key] == before {
				delete(d.byKey, key)
			}
		}
	}
	switch {
	case next == nil && there:
		d.names = slices.Delete(d.names, at, at+1)
	case next != nil && !there:
		d.names = slices.Insert(d.names, at, name)
	}
	if next == nil {
		delete(d.accounts, name)
		if before != nil {
			before.root.end(ErrGone)
		}
		return
	}
	d.accounts[name] = next
	for key := range next.keys {
		d.byKey[key] = next
	}
}
